//! Parameters of a scenario as JSON of the type that this QEMU's schema asks for.

use super::Support;
use super::rules::nearest;
use super::sides::parameter_belongs;
use base::Side;
use base::units::{Bytes, Micros, Rate};
use qmp::Kind;
use scenario::Scenario;
use serde_json::{Map, Value};

/// Parameters that QEMU counts in milliseconds: for these `"300ms"` may be written.
const MILLISECONDS: &[&str] = &[
    "downtime-limit",
    "announce-initial",
    "announce-max",
    "announce-step",
    "x-checkpoint-delay",
    "x-vcpu-dirty-limit-period",
];

/// The parameters for `side`: the modelled ones, and over them the table. What does not fit is
/// added to `reasons`.
pub(super) fn typed(
    side: Side,
    support: &Support,
    scenario: &Scenario,
    reasons: &mut Vec<String>,
) -> Map<String, Value> {
    let mut parameters = Map::new();
    let limits = &scenario.limits;
    let modelled = [
        ("downtime-limit", limits.downtime.map(Micros::as_millis)),
        ("max-bandwidth", limits.bandwidth.map(base::units::Limit::as_qemu)),
        ("max-postcopy-bandwidth", limits.postcopy_bandwidth.map(base::units::Limit::as_qemu)),
    ];
    for (name, value) in modelled {
        if let Some(value) = value.filter(|_| parameter_belongs(side, name)) {
            parameters.insert(name.to_owned(), value.into());
        }
    }
    for (name, value) in &scenario.parameters {
        if !parameter_belongs(side, name) {
            continue;
        }
        match support.parameter(name) {
            None => {
                let hint = nearest(name, support.parameters.iter().map(|m| m.name.as_str()));
                reasons.push(format!(
                    "{side}: this QEMU ({}) has no parameter `{name}`{hint}",
                    support.version
                ));
            }
            Some(kind) => match coerce(name, kind, value) {
                Ok(value) => {
                    parameters.insert(name.clone(), value);
                }
                Err(takes) => {
                    let given = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                    reasons.push(format!("{side}: parameter {name} = {given}: takes {takes}"));
                }
            },
        }
    }
    parameters
}

/// `value` as JSON of that kind, or what it should have been.
fn coerce(name: &str, kind: &Kind, value: &toml::Value) -> Result<Value, String> {
    let text = value.as_str();
    match kind {
        Kind::Bool => match (value.as_bool(), text) {
            (Some(b), _) => Ok(b.into()),
            (None, Some("on")) => Ok(true.into()),
            (None, Some("off")) => Ok(false.into()),
            _ => Err("true or false".to_owned()),
        },
        Kind::Int if MILLISECONDS.contains(&name) => integer(value)
            .or_else(|| text.and_then(|t| t.parse().ok()).map(Micros::as_millis).map(Value::from))
            .ok_or_else(|| {
                "a whole number of milliseconds, or a duration like \"300ms\"".to_owned()
            }),
        Kind::Int => integer(value)
            .or_else(|| text.and_then(|t| t.parse::<Bytes>().ok()).map(|b| b.0.into()))
            .or_else(|| text.and_then(|t| t.parse::<Rate>().ok()).map(|r| r.0.into()))
            .ok_or_else(|| "a whole number, or a size or rate like \"64MiB\"".to_owned()),
        Kind::Number => value
            .as_float()
            .map(Value::from)
            .or_else(|| integer(value))
            .or_else(|| text.and_then(|t| t.parse::<f64>().ok()).map(Value::from))
            .ok_or_else(|| "a number".to_owned()),
        Kind::Str => text.map(Value::from).ok_or_else(|| "text in quotes".to_owned()),
        Kind::Enum(values) => text
            .filter(|t| values.iter().any(|v| v == t))
            .map(Value::from)
            .ok_or_else(|| format!("one of {}", values.join(", "))),
        Kind::Other => serde_json::to_value(value).map_err(|error| error.to_string()),
    }
}

fn integer(value: &toml::Value) -> Option<Value> {
    value
        .as_integer()
        .map(Value::from)
        .or_else(|| value.as_str()?.parse::<u64>().ok().map(Value::from))
}

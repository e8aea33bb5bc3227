//! How a QEMU is set, as a scenario: what the model knows of, and what makes a migration converge
//! or not.

use super::DEADLINE;
use base::units::{Limit, Micros, Rate};
use qmp::{QmpError, Session};
use scenario::Scenario;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Capabilities that make a difference, each with its parameters.
const OF_CAPABILITIES: [(&str, &[&str]); 3] = [
    (
        "auto-converge",
        &[
            "throttle-trigger-threshold",
            "cpu-throttle-initial",
            "cpu-throttle-increment",
            "max-cpu-throttle",
        ],
    ),
    ("xbzrle", &["xbzrle-cache-size"]),
    ("multifd", &["multifd-channels"]),
];
/// Those that a lab guest does not have a counterpart to: said, not copied.
const SAID: [&str; 4] = ["postcopy-ram", "mapped-ram", "dirty-limit", "rdma-pin-all"];

/// Reads it, and what a reader should know.
pub(super) async fn read(session: &Session) -> Result<(Scenario, Vec<String>), QmpError> {
    let parameters: Map<String, Value> =
        session.ask("query-migrate-parameters", json!({}), DEADLINE).await?;
    let capabilities: Vec<Value> =
        session.ask("query-migrate-capabilities", json!({}), DEADLINE).await?;
    let on = |name: &str| {
        capabilities.iter().any(|one| one["capability"] == name && one["state"] == true)
    };
    Ok(scenario(&parameters, on))
}

fn scenario(parameters: &Map<String, Value>, on: impl Fn(&str) -> bool) -> (Scenario, Vec<String>) {
    let number = |name: &str| parameters.get(name).and_then(Value::as_u64);
    let mut scenario = Scenario::default();
    scenario.limits.downtime = number("downtime-limit").map(|ms| Micros(ms * 1000));
    scenario.limits.bandwidth = number("max-bandwidth").map(limit);
    scenario.limits.postcopy_bandwidth = number("max-postcopy-bandwidth").map(limit);
    let mut kept = |name: &str| {
        if let Some(value) =
            number(name).filter(|value| *value > 0).and_then(|value| i64::try_from(value).ok())
        {
            scenario.parameters.insert(name.to_owned(), value.into());
        }
    };
    kept("avail-switchover-bandwidth");
    let mut capabilities = BTreeMap::new();
    for (name, its_parameters) in OF_CAPABILITIES.iter().filter(|(name, _)| on(name)) {
        capabilities.insert((*name).to_owned(), true);
        its_parameters.iter().for_each(|parameter| kept(parameter));
    }
    scenario.capabilities = capabilities;
    let said = SAID.iter().filter(|name| on(name));
    let notes =
        said.map(|name| format!("{name} is on at the source; it is left out here")).collect();
    (scenario, notes)
}

/// 0 is none.
fn limit(bytes_a_second: u64) -> Limit {
    if bytes_a_second == 0 { Limit::Unlimited } else { Limit::At(Rate(bytes_a_second)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_or_not_there_is_left_out() {
        let parameters = json!({"downtime-limit": 300, "max-bandwidth": 134_217_728, "max-postcopy-bandwidth": 0, "avail-switchover-bandwidth": 0,
            "cpu-throttle-initial": 20, "xbzrle-cache-size": 67_108_864, "no-such": 1});
        let (scenario, notes) = scenario(parameters.as_object().unwrap(), |name| {
            matches!(name, "xbzrle" | "postcopy-ram")
        });
        assert_eq!(scenario.limits.downtime, Some(Micros(300_000)));
        assert_eq!(scenario.limits.bandwidth, Some(Limit::At(Rate(134_217_728))));
        assert_eq!(scenario.limits.postcopy_bandwidth, Some(Limit::Unlimited));
        assert_eq!(scenario.parameters.keys().collect::<Vec<_>>(), ["xbzrle-cache-size"]);
        assert_eq!(scenario.capabilities, BTreeMap::from([("xbzrle".to_owned(), true)]));
        assert_eq!(notes, ["postcopy-ram is on at the source; it is left out here"]);
    }
}

//! What a QEMU supports for migration, and what differs between two QEMUs. Changes nothing in them.

use crate::plan::{Support, combinations};
use base::Side;
use qmp::{Result, Session};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The migration settings of one QEMU.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The QMP endpoint, as the user named it.
    pub endpoint: String,
    /// QEMU's version, such as `10.0.2`.
    pub version: String,
    /// The version of the distribution's package; empty if QEMU reports none.
    pub package: String,
    /// Whether out-of-band commands work, which the recovery of post-copy needs.
    pub oob: bool,
    /// Run state of the VM (`query-status`).
    pub run_state: String,
    /// State of the current or the last migration (`query-migrate`).
    pub status: String,
    /// Why it cannot migrate (`blocked-reasons`); empty if it can.
    pub blocked_reasons: Vec<String>,
    /// Whether each capability is on.
    pub capabilities: BTreeMap<String, bool>,
    /// The value of each parameter; `null` if it is not set.
    pub parameters: Map<String, Value>,
    /// Pairs of capabilities that this version refuses to combine, and why.
    pub conflicts: Vec<(String, String, String)>,
}

/// A setting that differs between two QEMUs. A value is `None` if that QEMU does not know the
/// setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Whether it is a capability or a parameter.
    pub kind: SettingKind,
    /// QEMU's name of the setting.
    pub name: String,
    /// The value in the first QEMU.
    pub first: Option<Value>,
    /// The value in the second QEMU.
    pub second: Option<Value>,
}

/// The kind of a migration setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// Set by `migrate-set-capabilities`.
    Capability,
    /// Set by `migrate-set-parameters`.
    Parameter,
}

impl SettingKind {
    /// The kind's name in text and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SettingKind::Capability => "capability",
            SettingKind::Parameter => "parameter",
        }
    }
}

/// Asks one QEMU for its migration settings.
///
/// # Errors
/// The session's error if QEMU does not answer or refuses a command.
pub async fn inspect(endpoint: String, session: &Session) -> Result<Inspection> {
    let support = Support::ask(session, None, ANSWER_TIMEOUT).await?;
    let values: Map<String, Value> =
        session.call(&qapi::qmp::query_migrate_parameters {}, ANSWER_TIMEOUT).await?;
    let names = support.parameters.iter().map(|member| member.name.clone());
    let parameters = names
        .map(|name| (name.clone(), values.get(&name).cloned().unwrap_or(Value::Null)))
        .collect();
    Ok(Inspection {
        endpoint,
        version: support.version.to_string(),
        package: support.package.clone(),
        oob: session.greeting().oob,
        run_state: support.run_state.clone(),
        status: support.status.to_string(),
        blocked_reasons: support.blocked_reasons.clone(),
        conflicts: combinations(&support),
        capabilities: support.capabilities,
        parameters,
    })
}

/// The capabilities and parameters that differ.
#[must_use]
pub fn differences(first: &Inspection, second: &Inspection) -> Vec<Difference> {
    let capabilities = |i: &Inspection| {
        i.capabilities.iter().map(|(k, v)| (k.clone(), Value::from(*v))).collect::<Map<_, _>>()
    };
    let compare = |kind, first: &Map<String, Value>, second: &Map<String, Value>| {
        let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
        let differing = names.into_iter().filter(|name| first.get(*name) != second.get(*name));
        differing
            .map(|name| Difference {
                kind,
                name: name.clone(),
                first: first.get(name).cloned(),
                second: second.get(name).cloned(),
            })
            .collect::<Vec<_>>()
    };
    let mut all = compare(SettingKind::Capability, &capabilities(first), &capabilities(second));
    all.extend(compare(SettingKind::Parameter, &first.parameters, &second.parameters));
    all
}

/// The name of an endpoint's side in errors. The first endpoint is the source.
#[must_use]
pub fn side_name(index: usize) -> &'static str {
    if index == 0 { Side::Source.name() } else { Side::Destination.name() }
}

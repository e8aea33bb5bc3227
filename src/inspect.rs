//! What a QEMU offers for migration, and what differs between two.
//!
//! Takes sessions; gives an [`Inspection`]. Changes nothing.

use crate::plan::{Side, Support, combinations};
use crate::qmp::{Result, Session};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);

/// One QEMU, as far as migration goes.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Where it was asked.
    pub endpoint: String,
    /// `10.0.2`.
    pub version: String,
    /// The distributor's version.
    pub package: String,
    /// Whether out-of-band commands work (recovery needs them).
    pub oob: bool,
    /// Run state of the VM.
    pub run_state: String,
    /// State of its last or present migration.
    pub status: String,
    /// Why it cannot migrate.
    pub blocked_reasons: Vec<String>,
    /// Capabilities, on or off.
    pub capabilities: BTreeMap<String, bool>,
    /// Parameters and their values; `null` for one that is not set.
    pub parameters: Map<String, Value>,
    /// Pairs of capabilities that this version does not take together, and why.
    pub conflicts: Vec<(String, String, String)>,
}

/// A setting that two QEMUs do not have alike. `None`: it does not know it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// `capability` or `parameter`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// On the first.
    pub first: Option<Value>,
    /// On the second.
    pub second: Option<Value>,
}

/// Asks one QEMU.
///
/// # Errors
/// What the session gives.
pub async fn inspect(endpoint: String, session: &Session) -> Result<Inspection> {
    let support = Support::ask(session, None, DEADLINE).await?;
    let values: Map<String, Value> =
        session.call(&qapi::qmp::query_migrate_parameters {}, DEADLINE).await?;
    let names = support.parameters.iter().map(|member| member.name.clone());
    let parameters = names
        .map(|name| (name.clone(), values.get(&name).cloned().unwrap_or(Value::Null)))
        .collect();
    Ok(Inspection {
        endpoint,
        version: support.version_text(),
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

/// What the two do not have alike.
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
    let mut all = compare("capability", &capabilities(first), &capabilities(second));
    all.extend(compare("parameter", &first.parameters, &second.parameters));
    all
}

/// The name for an endpoint's side in errors: the first is the source.
#[must_use]
pub fn side_name(index: usize) -> &'static str {
    if index == 0 { Side::Source.name() } else { Side::Destination.name() }
}

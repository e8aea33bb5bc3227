//! Is this machine able to do all that, and what is missing? Every answer comes from doing it, not from looking for it.
//!
//! Takes a scenario's QEMUs; gives [`Finding`]s. What it starts, it ends.

use crate::clock::monotonic_ns;
use crate::lab::{Accelerator, Lab, LabError, choose_accelerator, try_namespaces};
use crate::qmp::Request;
use crate::record::RunDir;
use crate::scenario::{Accel, Figures, Link, LinkKind, Scenario};
use crate::sockets::unix_pair;
use crate::units::{Bytes, Micros, Rate, human_micros};
use serde::Serialize;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It works.
    Works,
    /// Something is limited; most works.
    Limited,
    /// Labs cannot run.
    Missing,
}

/// One thing that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it is.
    pub health: Health,
    /// What was seen, and what to do where that is not enough.
    pub detail: String,
}

/// Tries everything that a run needs.
pub async fn examine(scenario: &Scenario) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |what, health, detail: String| findings.push(Finding { what, health, detail });
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match cpus {
        1 => add(
            "processors",
            Health::Limited,
            "1: source, destination and observer share it; timings will be poor".to_owned(),
        ),
        n => add("processors", Health::Works, n.to_string()),
    }
    let logs = match scratch() {
        Ok(logs) => logs,
        Err(error) => {
            add(
                "temporary files",
                Health::Missing,
                format!("{error}; set TMPDIR to a directory that can be written"),
            );
            return findings;
        }
    };
    let accelerator = match choose_accelerator(scenario).await {
        Ok(accelerator) => accelerator,
        Err(LabError::Kvm { reason }) => Accelerator { kind: Accel::Tcg, reason },
        Err(error) => {
            add("QEMU", Health::Missing, with_source(&error));
            return findings;
        }
    };
    match accelerator.kind {
        Accel::Kvm => add("KVM", Health::Works, accelerator.reason.clone()),
        _ => add("KVM", Health::Limited, format!("{}; labs run under TCG", accelerator.reason)),
    }
    try_lab(scenario, accelerator, logs.path(), &mut add).await;
    try_links(&mut add);
    findings
}

/// Which links are possible.
fn try_links(add: &mut impl FnMut(&'static str, Health, String)) {
    match try_emulated() {
        Ok(took_us) => add(
            "emulated links",
            Health::Works,
            format!("a byte took {} over 1 ms", human_micros(took_us)),
        ),
        Err(error) => add("emulated links", Health::Limited, error.to_string()),
    }
    let netns = |figures| Link { kind: LinkKind::Netns, figures, ..Link::default() };
    let rate = Figures { rate: Some(Rate(100 << 20)), ..Figures::default() };
    if let Err(error) = try_namespaces(&netns(rate.clone())) {
        let detail = format!(
            "{error}; links of kind netns need root, iproute2, veth and tbf; emulated ones need nothing"
        );
        return add("namespaces", Health::Limited, detail);
    }
    let delay = Figures { delay: Some(Micros(1000)), ..rate };
    match try_namespaces(&netns(delay)) {
        Ok(()) => add(
            "namespaces",
            Health::Works,
            "links of kind netns have a rate, a delay and jitter".to_owned(),
        ),
        Err(error) => {
            let detail = format!(
                "links of kind netns have a rate, but no delay: {error}; emulated ones have both"
            );
            add("namespaces", Health::Limited, detail);
        }
    }
}

/// How long a byte takes over a link of 1 ms, µs.
fn try_emulated() -> std::io::Result<u64> {
    let figures = Figures { delay: Some(Micros(1000)), ..Figures::default() };
    let link = crate::link::Link::start(&Link { figures, ..Link::default() }, |_| ())?;
    let ([here, near], [far, there]) = (unix_pair()?, unix_pair()?);
    link.join([near, far])?;
    let began_ns = monotonic_ns();
    UnixStream::from(here).write_all(&[1])?;
    UnixStream::from(there).read_exact(&mut [0])?;
    Ok((monotonic_ns() - began_ns) / 1000)
}

async fn try_lab(
    scenario: &Scenario,
    accelerator: Accelerator,
    logs: &Path,
    add: &mut impl FnMut(&'static str, Health, String),
) {
    let mut small = scenario.clone();
    small.guest.memory = Bytes(64 << 20);
    small.guest.working_set = Bytes(4 << 20);
    let record = match RunDir::create(&logs.join("run"), "", false) {
        Ok(record) => record,
        Err(error) => return add("run directory", Health::Missing, with_source(&error)),
    };
    match Lab::start(&small, accelerator, &record.sink(), logs, false).await {
        Err(error) => add("lab", Health::Missing, with_source(&error)),
        Ok(lab) => {
            let versions: Vec<String> = [&lab.source, &lab.destination]
                .iter()
                .filter_map(|s| Some(s.end.as_ref()?.session.greeting().version_text()))
                .collect();
            add("QEMU", Health::Works, versions.join(" → "));
            let boot = u64::try_from(lab.boot.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
            add(
                "lab",
                Health::Works,
                format!("a pair starts; first heartbeat after {}", human_micros(boot)),
            );
            let (health, detail) = try_postcopy(&lab).await;
            add("post-copy", health, detail);
            lab.stop().await;
        }
    }
    record.discard();
}

/// Post-copy needs userfaultfd on the destination, which QEMU tries when the capability is set.
async fn try_postcopy(lab: &Lab) -> (Health, String) {
    let Some(end) = &lab.destination.end else { return (Health::Limited, "not tried".to_owned()) };
    let set = json!({"capabilities": [{"capability": "postcopy-ram", "state": true}]});
    match end
        .session
        .execute(Request::raw("migrate-set-capabilities", set), Duration::from_secs(5))
        .await
    {
        Ok(_) => (Health::Works, "the destination takes postcopy-ram".to_owned()),
        Err(error) => {
            let remedy = "run as root, or: sysctl vm.unprivileged_userfaultfd=1";
            (Health::Limited, format!("{error}; {remedy}"))
        }
    }
}

fn scratch() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("switchover-doctor-").tempdir()
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

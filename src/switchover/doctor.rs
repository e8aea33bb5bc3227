//! Finds out what this machine can do by trying it: QEMU, KVM, a lab, post-copy, emulated links and
//! network namespaces. Everything that it starts is stopped again.

use base::causes::with_causes;
use base::clock::monotonic_ns;
use base::units::{Bytes, Micros, Rate, human_micros};
use lab::{Accelerator, Lab, LabError, choose_accelerator, try_namespaces};
use migrate::sockets::unix_pair;
use qmp::Request;
use record::RunDir;
use scenario::{Accel, Figures, Link, LinkKind, Scenario};
use serde::Serialize;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How well something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It works.
    Works,
    /// It works in part, or something slower takes its place.
    Limited,
    /// It does not work, and no lab can run without it.
    Missing,
}

/// The result of one trial.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was tried, such as `KVM` or `post-copy`.
    pub what: &'static str,
    /// How well it works.
    pub health: Health,
    /// What happened, and what to do if that is not enough.
    pub detail: String,
}

/// Tries everything that a run needs, with the scenario's QEMUs.
pub async fn examine(scenario: &Scenario) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |what, health, detail: String| findings.push(Finding { what, health, detail });
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match cpus {
        1 => add(
            "processors",
            Health::Limited,
            "1: source, destination and sampler share it, so timings are inaccurate".to_owned(),
        ),
        n => add("processors", Health::Works, n.to_string()),
    }
    let logs = match create_temporary_directory() {
        Ok(logs) => logs,
        Err(error) => {
            add(
                "temporary files",
                Health::Missing,
                format!("{error}; set TMPDIR to a writable directory"),
            );
            return findings;
        }
    };
    let accelerator = match choose_accelerator(scenario).await {
        Ok(accelerator) => accelerator,
        Err(LabError::Kvm { reason }) => Accelerator { kind: Accel::Tcg, reason },
        Err(error) => {
            add("QEMU", Health::Missing, with_causes(&error));
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

/// Tries an emulated link, and a link between network namespaces without and with a delay.
fn try_links(add: &mut impl FnMut(&'static str, Health, String)) {
    match measure_emulated_link() {
        Ok(delay_us) => add(
            "emulated links",
            Health::Works,
            format!("a byte took {} over a link of 1 ms", human_micros(delay_us)),
        ),
        Err(error) => add("emulated links", Health::Limited, error.to_string()),
    }
    let netns = |figures| Link { kind: LinkKind::Netns, figures, ..Link::default() };
    let rate = Figures { rate: Some(Rate(100 << 20)), ..Figures::default() };
    if let Err(error) = try_namespaces(&netns(rate.clone())) {
        let detail = format!(
            "{error}; links of kind netns need root, iproute2, veth and tbf, which emulated links \
             do not"
        );
        return add("namespaces", Health::Limited, detail);
    }
    let delay = Figures { delay: Some(Micros(1000)), ..rate };
    match try_namespaces(&netns(delay)) {
        Ok(()) => add(
            "namespaces",
            Health::Works,
            "links of kind netns can have a rate, a delay and jitter".to_owned(),
        ),
        Err(error) => {
            let detail = format!(
                "links of kind netns can have a rate, but no delay: {error}; emulated links can \
                 have both"
            );
            add("namespaces", Health::Limited, detail);
        }
    }
}

/// Measures how long a byte takes over an emulated link with a delay of 1 ms. The result is in µs.
fn measure_emulated_link() -> std::io::Result<u64> {
    let figures = Figures { delay: Some(Micros(1000)), ..Figures::default() };
    let link = lab::link::Link::start(&Link { figures, ..Link::default() }, |_| ())?;
    let ([sender, link_in], [link_out, receiver]) = (unix_pair()?, unix_pair()?);
    link.join([link_in, link_out])?;
    let sent_ns = monotonic_ns();
    UnixStream::from(sender).write_all(&[1])?;
    UnixStream::from(receiver).read_exact(&mut [0])?;
    Ok((monotonic_ns() - sent_ns) / 1000)
}

/// Starts a lab with a small guest, and tries post-copy in it.
async fn try_lab(
    scenario: &Scenario,
    accelerator: Accelerator,
    logs: &Path,
    add: &mut impl FnMut(&'static str, Health, String),
) {
    let mut scenario = scenario.clone();
    scenario.guest.memory = Bytes(64 << 20);
    scenario.guest.working_set = Bytes(4 << 20);
    let record = match RunDir::create(&logs.join("run"), "", false) {
        Ok(record) => record,
        Err(error) => return add("run directory", Health::Missing, with_causes(&error)),
    };
    match Lab::start(&scenario, accelerator, &record.sink(), logs, false).await {
        Err(error) => add("lab", Health::Missing, with_causes(&error)),
        Ok(lab) => {
            let versions: Vec<String> = [&lab.source, &lab.destination]
                .iter()
                .filter_map(|s| Some(s.end.as_ref()?.session.greeting().version.to_string()))
                .collect();
            add("QEMU", Health::Works, versions.join(" → "));
            let detail = match lab.boot {
                Some(boot) => {
                    let boot_us = u64::try_from(boot.as_micros()).unwrap_or(u64::MAX);
                    format!("a pair starts; first heartbeat after {}", human_micros(boot_us))
                }
                None => "a pair starts".to_owned(),
            };
            add("lab", Health::Works, detail);
            let (health, detail) = try_postcopy(&lab).await;
            add("post-copy", health, detail);
            lab.stop().await;
        }
    }
    record.discard();
}

/// Tries post-copy, which needs userfaultfd on the destination. QEMU checks that when the
/// capability is set (`postcopy_ram_supported_by_host`).
async fn try_postcopy(lab: &Lab) -> (Health, String) {
    let Some(end) = &lab.destination.end else { return (Health::Limited, "not tried".to_owned()) };
    let set = json!({"capabilities": [{"capability": "postcopy-ram", "state": true}]});
    match end
        .session
        .execute(Request::raw("migrate-set-capabilities", set), Duration::from_secs(5))
        .await
    {
        Ok(_) => (Health::Works, "the destination accepts postcopy-ram".to_owned()),
        Err(error) => {
            let remedy = "run as root, or: sysctl vm.unprivileged_userfaultfd=1";
            (Health::Limited, format!("{error}; {remedy}"))
        }
    }
}

fn create_temporary_directory() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("switchover-doctor-").tempdir()
}

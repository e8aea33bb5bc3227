//! Which figures of run.json a campaign keeps of each run. Pure.

use super::{Metric, Unit};
use crate::record::{Host, Summary, Switchover};
use serde_json::Value;

/// Path in run.json, what sentences call it, and its unit; the most important first.
const METRICS: &[(&str, &str, Unit)] = &[
    ("downtime.best.us", "blackout", Unit::Us),
    ("time_us.total", "total time", Unit::Us),
    ("transfer.total_bytes", "bytes sent", Unit::Bytes),
    ("transfer.passes", "passes", Unit::Count),
    ("guest.dirty_bps_during", "guest's writes during it", Unit::BytesPerSecond),
    ("faults.count", "page faults", Unit::Count),
    ("faults.blocktime_us", "time blocked by page faults", Unit::Us),
    ("faults.p99_us", "page fault, p99", Unit::Us),
    ("faults.max_us", "longest page fault", Unit::Us),
    ("brownout.beats.precopy.max_us", "longest stall in pre-copy", Unit::Us),
    ("brownout.beats.postcopy.max_us", "longest stall in post-copy", Unit::Us),
    ("time_us.setup", "setup", Unit::Us),
    ("time_us.precopy", "pre-copy", Unit::Us),
    ("time_us.switchover", "STOP to RESUME", Unit::Us),
    ("time_us.postcopy", "post-copy", Unit::Us),
    ("downtime.best.uncertainty_us", "uncertainty of the blackout", Unit::Us),
    ("downtime.views.reported_us", "blackout as QEMU reports it", Unit::Us),
    ("downtime.views.events_us", "blackout by events", Unit::Us),
    ("downtime.views.trace_us", "blackout by traces", Unit::Us),
    ("downtime.views.heartbeat_us", "blackout by heartbeat", Unit::Us),
    ("downtime.breakdown_us.stop", "blackout: stopping", Unit::Us),
    ("downtime.breakdown_us.ram", "blackout: RAM", Unit::Us),
    ("downtime.breakdown_us.devices", "blackout: devices", Unit::Us),
    ("downtime.breakdown_us.network", "blackout: network", Unit::Us),
    ("downtime.breakdown_us.load", "blackout: loading", Unit::Us),
    ("downtime.breakdown_us.start", "blackout: starting", Unit::Us),
    ("downtime.breakdown_us.other", "blackout: other", Unit::Us),
    ("transfer.precopy_bytes", "bytes sent in pre-copy", Unit::Bytes),
    ("transfer.downtime_bytes", "bytes sent in the blackout", Unit::Bytes),
    ("transfer.postcopy_bytes", "bytes sent in post-copy", Unit::Bytes),
    ("transfer.mean_bps", "mean rate", Unit::BytesPerSecond),
    ("transfer.peak_bps", "peak rate", Unit::BytesPerSecond),
    ("link.bytes", "bytes over the link", Unit::Bytes),
    ("link.mean_bps", "mean rate of the link", Unit::BytesPerSecond),
    ("guest.dirty_bps_before", "guest's writes before", Unit::BytesPerSecond),
    ("guest.dirty_bps_after", "guest's writes after", Unit::BytesPerSecond),
    ("guest.bad_pages", "pages that are wrong", Unit::Count),
    ("brownout.beats.before.max_us", "longest stall before", Unit::Us),
    ("brownout.beats.after.max_us", "longest stall after", Unit::Us),
    ("stalls.p99_us", "memory access, p99", Unit::Us),
    ("stalls.max_us", "longest memory access", Unit::Us),
    // A journal has values by their place in this list: what is new comes last.
    ("link.peak_bps", "peak rate of the link", Unit::BytesPerSecond),
    ("host.cpu_us", "the machine's CPU time", Unit::Us),
    ("host.others_us", "CPU time that others took", Unit::Us),
    ("time_us.ended", "time to its end", Unit::Us),
];
/// So many of them a comparison shows unless others are named.
const SHOWN: usize = 7;

/// All of them, in their order.
#[must_use]
pub fn all() -> Vec<Metric> {
    METRICS
        .iter()
        .map(|(name, label, unit)| Metric {
            name: (*name).to_owned(),
            label: (*label).to_owned(),
            unit: *unit,
        })
        .collect()
}

/// Those that a comparison shows unless others are named.
#[must_use]
pub fn shown() -> Vec<Metric> {
    all().into_iter().take(SHOWN).collect()
}

/// Of a run of one migration.
#[must_use]
pub fn of_summary(summary: &Summary) -> Vec<Option<f64>> {
    of(&serde_json::to_value(summary).unwrap_or_default())
}

/// Of one migration of a series: what is only known of the whole is not there.
#[must_use]
pub fn of_switchover(switchover: &Switchover) -> Vec<Option<f64>> {
    of(&serde_json::to_value(switchover).unwrap_or_default())
}

/// One of these values, by its path in run.json. Journals of before it was measured have fewer.
pub(super) fn named(values: &[Option<f64>], name: &str) -> Option<f64> {
    let index = METRICS.iter().position(|(path, ..)| *path == name)?;
    values.get(index).copied().flatten()
}

/// What else the machine did, from these values.
pub(super) fn host(values: &[Option<f64>]) -> Host {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "they were whole numbers of µs"
    )]
    let us = |name: &str| named(values, name).map(|us| us as u64);
    Host { cpu_us: us("host.cpu_us"), others_us: us("host.others_us") }
}

fn of(json: &Value) -> Vec<Option<f64>> {
    METRICS
        .iter()
        .map(|(path, ..)| path.split('.').try_fold(json, |at, name| at.get(name))?.as_f64())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TimeUs;

    #[test]
    fn every_path_is_one_of_run_json() {
        let example = crate::record::testing::example_summary();
        let json = serde_json::to_value(&example).unwrap();
        for (path, ..) in METRICS {
            let mut at = &json;
            for name in path.split('.') {
                at = match at {
                    // What hangs below something that was not measured cannot be looked up.
                    Value::Null => &Value::Null,
                    other => other.get(name).unwrap_or_else(|| panic!("run.json has no {path}")),
                };
            }
        }
        assert_eq!(of_summary(&example).len(), METRICS.len());
    }

    #[test]
    fn what_else_the_machine_did_comes_back() {
        let mut summary = crate::record::testing::example_summary();
        summary.host = Host { cpu_us: Some(2_000_000), others_us: Some(1_000_000) };
        assert_eq!(host(&of_summary(&summary)), summary.host);
        assert_eq!(host(&[None; 3]), Host::default());
    }

    #[test]
    fn what_was_not_measured_is_none() {
        let values =
            of(&serde_json::json!({ "time_us": TimeUs { total: Some(7), ..TimeUs::default() } }));
        assert_eq!(values[1], Some(7.0));
        assert_eq!(values.iter().flatten().count(), 1);
    }
}

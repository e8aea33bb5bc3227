//! Which figures of run.json a campaign keeps of each run. Pure.

use super::{Metric, MetricUnit};
use crate::record::{Host, Summary, Switchover};
use serde_json::Value;

/// Path in run.json, what sentences call it, and its unit; the most important first.
const METRICS: &[(&str, &str, MetricUnit)] = &[
    ("downtime.best.us", "blackout", MetricUnit::Us),
    ("time_us.total", "total time", MetricUnit::Us),
    ("transfer.total_bytes", "bytes sent", MetricUnit::Bytes),
    ("transfer.passes", "passes", MetricUnit::Count),
    ("guest.dirty_bps_during", "guest's writes during it", MetricUnit::BytesPerSecond),
    ("faults.count", "page faults", MetricUnit::Count),
    ("faults.blocktime_us", "time blocked by page faults", MetricUnit::Us),
    ("faults.p99_us", "page fault, p99", MetricUnit::Us),
    ("faults.max_us", "longest page fault", MetricUnit::Us),
    ("brownout.beats.precopy.max_us", "longest stall in pre-copy", MetricUnit::Us),
    ("brownout.beats.postcopy.max_us", "longest stall in post-copy", MetricUnit::Us),
    ("time_us.setup", "setup", MetricUnit::Us),
    ("time_us.precopy", "pre-copy", MetricUnit::Us),
    ("time_us.switchover", "STOP to RESUME", MetricUnit::Us),
    ("time_us.postcopy", "post-copy", MetricUnit::Us),
    ("downtime.best.uncertainty_us", "uncertainty of the blackout", MetricUnit::Us),
    ("downtime.views.reported_us", "blackout as QEMU reports it", MetricUnit::Us),
    ("downtime.views.events_us", "blackout by events", MetricUnit::Us),
    ("downtime.views.trace_us", "blackout by traces", MetricUnit::Us),
    ("downtime.views.heartbeat_us", "blackout by heartbeat", MetricUnit::Us),
    ("downtime.breakdown_us.stop", "blackout: stopping", MetricUnit::Us),
    ("downtime.breakdown_us.ram", "blackout: RAM", MetricUnit::Us),
    ("downtime.breakdown_us.devices", "blackout: devices", MetricUnit::Us),
    ("downtime.breakdown_us.network", "blackout: network", MetricUnit::Us),
    ("downtime.breakdown_us.load", "blackout: loading", MetricUnit::Us),
    ("downtime.breakdown_us.start", "blackout: starting", MetricUnit::Us),
    ("downtime.breakdown_us.other", "blackout: other", MetricUnit::Us),
    ("transfer.precopy_bytes", "bytes sent in pre-copy", MetricUnit::Bytes),
    ("transfer.downtime_bytes", "bytes sent in the blackout", MetricUnit::Bytes),
    ("transfer.postcopy_bytes", "bytes sent in post-copy", MetricUnit::Bytes),
    ("transfer.mean_bps", "mean rate", MetricUnit::BytesPerSecond),
    ("transfer.peak_bps", "peak rate", MetricUnit::BytesPerSecond),
    ("link.bytes", "bytes over the link", MetricUnit::Bytes),
    ("link.mean_bps", "mean rate of the link", MetricUnit::BytesPerSecond),
    ("guest.dirty_bps_before", "guest's writes before", MetricUnit::BytesPerSecond),
    ("guest.dirty_bps_after", "guest's writes after", MetricUnit::BytesPerSecond),
    ("guest.bad_pages", "pages that are wrong", MetricUnit::Count),
    ("brownout.beats.before.max_us", "longest stall before", MetricUnit::Us),
    ("brownout.beats.after.max_us", "longest stall after", MetricUnit::Us),
    ("stalls.p99_us", "memory access, p99", MetricUnit::Us),
    ("stalls.max_us", "longest memory access", MetricUnit::Us),
    // A journal has values by their place in this list: what is new comes last.
    ("link.peak_bps", "peak rate of the link", MetricUnit::BytesPerSecond),
    ("host.cpu_us", "the machine's CPU time", MetricUnit::Us),
    ("host.others_us", "CPU time that others took", MetricUnit::Us),
    ("time_us.ended", "time to its end", MetricUnit::Us),
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

//! The figures of run.json that a campaign keeps of each run. Pure.

use super::table::{Metric, MetricUnit};
use record::{Host, Summary, Switchover};
use serde::Serialize;

/// The path in run.json, the name in reports, and the unit; the most important first.
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
    // A journal stores values by their position in this list, so new metrics come last.
    ("link.peak_bps", "peak rate of the link", MetricUnit::BytesPerSecond),
    ("host.cpu_us", "the machine's CPU time", MetricUnit::Us),
    ("host.others_us", "CPU time that others took", MetricUnit::Us),
    ("time_us.ended", "time to its end", MetricUnit::Us),
];
/// The number of metrics that a comparison shows by default.
const DEFAULT_COUNT: usize = 7;

/// Returns all metrics; figures of a row are in this order.
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

/// Returns the metrics that a comparison shows unless `--metric` names others.
#[must_use]
pub fn default_metrics() -> Vec<Metric> {
    all().into_iter().take(DEFAULT_COUNT).collect()
}

/// Takes the figures from the summary of a run with one migration.
#[must_use]
pub fn of_summary(summary: &Summary) -> Vec<Option<f64>> {
    values_of(summary)
}

/// Takes the figures from one migration of a series. Figures that are only measured for the whole
/// series are `None`.
#[must_use]
pub fn of_switchover(switchover: &Switchover) -> Vec<Option<f64>> {
    values_of(switchover)
}

/// Returns one of these values by its path in run.json. A journal that is older than the metric has
/// fewer values, and the result is `None`.
pub(super) fn value_of(values: &[Option<f64>], name: &str) -> Option<f64> {
    let index = METRICS.iter().position(|(path, ..)| *path == name)?;
    values.get(index).copied().flatten()
}

/// Returns the CPU times of the host from these values.
pub(super) fn host_of(values: &[Option<f64>]) -> Host {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the values were whole numbers of µs"
    )]
    let us = |name: &str| value_of(values, name).map(|us| us as u64);
    Host { cpu_us: us("host.cpu_us"), others_us: us("host.others_us") }
}

/// Looks the metrics up by their paths in the JSON form, because these paths are the names that
/// users give to `--metric` and `--fail-if`.
fn values_of(record: &impl Serialize) -> Vec<Option<f64>> {
    let json = serde_json::to_value(record).expect("records have text keys and serialize to JSON");
    METRICS
        .iter()
        .map(|(path, ..)| path.split('.').try_fold(&json, |at, name| at.get(name))?.as_f64())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::TimeUs;
    use serde_json::Value;

    #[test]
    fn every_path_exists_in_run_json() {
        let example = record::testing::example_summary();
        let json = serde_json::to_value(&example).unwrap();
        for (path, ..) in METRICS {
            let mut at = &json;
            for name in path.split('.') {
                at = match at {
                    // Nothing can be looked up below a part that was not measured.
                    Value::Null => &Value::Null,
                    other => other.get(name).unwrap_or_else(|| panic!("run.json has no {path}")),
                };
            }
        }
        assert_eq!(of_summary(&example).len(), METRICS.len());
    }

    #[test]
    fn returns_the_cpu_times_of_the_host() {
        let mut summary = record::testing::example_summary();
        summary.host = Host { cpu_us: Some(2_000_000), others_us: Some(1_000_000) };
        assert_eq!(host_of(&of_summary(&summary)), summary.host);
        assert_eq!(host_of(&[None; 3]), Host::default());
    }

    #[test]
    fn a_figure_that_was_not_measured_is_none() {
        let values = values_of(
            &serde_json::json!({ "time_us": TimeUs { total: Some(7), ..TimeUs::default() } }),
        );
        assert_eq!(values[1], Some(7.0));
        assert_eq!(values.iter().flatten().count(), 1);
    }
}

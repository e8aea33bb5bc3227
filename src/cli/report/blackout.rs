//! The blackout on the summary screen: its views, its breakdown, and the distribution of a series
//! of migrations.

use super::histogram::format_histogram;
use base::units::human_micros;
use record::{
    Breakdown, Distribution, Downtime, Outcome, Quantile, Repeat, Summary, Switchover, ViewKind,
};

/// Width of the histogram in columns.
const WIDTH: usize = 72;
/// The number of devices that are named, those with the longest times first.
const MAX_DEVICES: usize = 4;

/// Formats the lines, each as its label and its text.
pub(super) fn format_blackout(
    run: &Summary,
    switchovers: &[Switchover],
) -> Vec<(&'static str, String)> {
    let mut lines = vec![("blackout", format_best(run))];
    if run.downtime.best.is_some() {
        lines.push(("  views", format_views(&run.downtime)));
        match (&run.downtime.breakdown_us, &run.downtime.trace_missing) {
            (Some(parts), _) => {
                lines.push(("  breakdown", format_breakdown(parts, run.repeat.is_some())));
            }
            (None, Some(missing)) => lines.push(("", format!("no trace view: {missing}"))),
            (None, None) => {}
        }
        if !run.downtime.devices.is_empty() {
            let format_device = |device: &record::DeviceTime| {
                format!("{} {} ({})", device.device, human_micros(device.us), device.side)
            };
            let longest: Vec<String> = run
                .downtime
                .devices
                .iter()
                .filter(|d| d.device != "ram")
                .take(MAX_DEVICES)
                .map(format_device)
                .collect();
            lines.push(("  devices", longest.join(", ")));
        }
    }
    if let Some(repeat) = &run.repeat {
        lines.extend(format_series(repeat, switchovers));
    }
    lines
}

fn format_best(run: &Summary) -> String {
    let Some(best) = &run.downtime.best else {
        return "none: the guest stayed on the source, or was not running".to_owned();
    };
    let uncertainty =
        best.uncertainty_us.map_or_else(String::new, |us| format!(" ± {}", human_micros(us)));
    let method = match best.view {
        ViewKind::Heartbeat => "from the guest's heartbeat",
        ViewKind::Trace => "from QEMU's trace points",
        ViewKind::Events => "from STOP on the source to RESUME on the destination",
        ViewKind::Reported => "as QEMU reports it",
    };
    let typical = if run.repeat.is_some() { "median, " } else { "" };
    format!("{}{uncertainty} ({typical}{method})", human_micros(best.us))
}

fn format_views(downtime: &Downtime) -> String {
    let views = downtime.views;
    let all =
        [("heartbeat", views.heartbeat_us), ("trace", views.trace_us), ("events", views.events_us)];
    let mut text: Vec<String> = all
        .iter()
        .filter_map(|(name, us)| us.map(|us| format!("{name} {}", human_micros(us))))
        .collect();
    text.extend(views.reported_us.map(|us| format!("QEMU itself reports {} ms", us / 1000)));
    text.join(", ")
}

fn format_breakdown(parts: &Breakdown, is_mean: bool) -> String {
    let Breakdown { stop, ram, devices, network, load, start, other } = *parts;
    let all = [
        ("stop", stop),
        ("RAM", ram),
        ("devices", devices),
        ("network", network),
        ("load", load),
        ("start", start),
        ("other", other),
    ];
    let parts: Vec<String> =
        all.iter().map(|(name, us)| format!("{name} {}", human_micros(*us))).collect();
    format!("{}{}", if is_mean { "on average: " } else { "" }, parts.join(", "))
}

fn format_series(repeat: &Repeat, switchovers: &[Switchover]) -> Vec<(&'static str, String)> {
    let mut lines = vec![("", format_distribution(&repeat.best))];
    let completed =
        switchovers.iter().filter(|switchover| switchover.outcome == Outcome::Completed);
    let values: Vec<u64> =
        completed.filter_map(|switchover| Some(switchover.downtime.best.as_ref()?.us)).collect();
    lines.extend(format_histogram(&values, WIDTH).lines().map(|row| ("", row.to_owned())));
    if let Some(a_minute) =
        (u64::from(repeat.completed) * 60_000_000).checked_div(repeat.elapsed_us)
    {
        lines.push((
            "pace",
            format!(
                "{} switchovers in {}, {a_minute} a minute",
                repeat.completed,
                human_micros(repeat.elapsed_us)
            ),
        ));
    }
    lines
}

/// Formats quantiles with their 95 % intervals, or says that there are too few values for one.
fn format_distribution(values: &Distribution) -> String {
    let quantile = |name: &str, quantile: Option<Quantile>| {
        quantile.map(|quantile| match (quantile.low_us, quantile.high_us) {
            (Some(low), Some(high)) => {
                format!(
                    "{name} {} [{}, {}]",
                    human_micros(quantile.us),
                    human_micros(low),
                    human_micros(high)
                )
            }
            _ => format!("{name} {} [too few values]", human_micros(quantile.us)),
        })
    };
    let all =
        [quantile("p50", values.p50), quantile("p90", values.p90), quantile("p99", values.p99)];
    let max = values.max_us.map(|us| format!("max {}", human_micros(us)));
    all.into_iter().flatten().chain(max).collect::<Vec<_>>().join(", ")
}

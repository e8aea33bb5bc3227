//! The blackout on the summary screen: its views, where it went, and of many their distribution.

use super::histogram::format_histogram;
use crate::record::{
    Breakdown, Distribution, Downtime, Outcome, Quantile, Repeat, Summary, Switchover,
};
use crate::units::human_micros;

/// Of the histogram's lines.
const WIDTH: usize = 72;
const DEVICES: usize = 4;

/// Lines: name and text.
pub(super) fn lines(run: &Summary, switchovers: &[Switchover]) -> Vec<(&'static str, String)> {
    let mut lines = vec![("blackout", best(run))];
    if run.downtime.best.is_some() {
        lines.push(("  views", views(&run.downtime)));
        match (&run.downtime.breakdown_us, &run.downtime.trace_missing) {
            (Some(parts), _) => lines.push(("  went to", went_to(parts, run.repeat.is_some()))),
            (None, Some(missing)) => lines.push(("", format!("no view by traces: {missing}"))),
            (None, None) => {}
        }
        if !run.downtime.devices.is_empty() {
            let of = |device: &crate::record::DeviceTime| {
                format!("{} {} ({})", device.device, human_micros(device.us), device.side)
            };
            let dearest: Vec<String> = run
                .downtime
                .devices
                .iter()
                .filter(|d| d.device != "ram")
                .take(DEVICES)
                .map(of)
                .collect();
            lines.push(("  devices", dearest.join(", ")));
        }
    }
    if let Some(repeat) = &run.repeat {
        lines.extend(of_many(repeat, switchovers));
    }
    lines
}

fn best(run: &Summary) -> String {
    let Some(best) = &run.downtime.best else {
        return "none: the guest stayed where it was, or was not running".to_owned();
    };
    let sure = best.uncertainty_us.map(|us| format!(" ± {}", human_micros(us))).unwrap_or_default();
    let how = match best.view.as_str() {
        "heartbeat" => "by the guest's heartbeat",
        "trace" => "by QEMU's trace points",
        "events" => "STOP on the source to RESUME on the destination",
        other => other,
    };
    let typical = if run.repeat.is_some() { "median, " } else { "" };
    format!("{}{sure} ({typical}{how})", human_micros(best.us))
}

fn views(downtime: &Downtime) -> String {
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

fn went_to(parts: &Breakdown, many: bool) -> String {
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
    format!("{}{}", if many { "on average: " } else { "" }, parts.join(", "))
}

fn of_many(repeat: &Repeat, switchovers: &[Switchover]) -> Vec<(&'static str, String)> {
    let mut lines = vec![("", distribution(&repeat.best))];
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

/// Quantiles with their intervals, or that there are too few values for one.
fn distribution(values: &Distribution) -> String {
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
            _ => format!("{name} {} [too few to say]", human_micros(quantile.us)),
        })
    };
    let all =
        [quantile("p50", values.p50), quantile("p90", values.p90), quantile("p99", values.p99)];
    let max = values.max_us.map(|us| format!("max {}", human_micros(us)));
    all.into_iter().flatten().chain(max).collect::<Vec<_>>().join(", ")
}

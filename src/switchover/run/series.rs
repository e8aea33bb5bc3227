//! Many switchovers of one run: what is typical of them, and how they are distributed.

use super::Seen;
use analysis::downtime::{distribution, histogram_of, quantile_ranks};
use record::{
    Best, Breakdown, Downtime, Faults, Host, LinkView, Outcome, Repeat, Switchover, TimeUs,
    Transfer, ViewKind, Views,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What one switchover gives for run.json, and many give by their medians.
#[derive(Clone, Debug, Default)]
pub(super) struct Typical {
    pub(super) downtime: Downtime,
    pub(super) time_us: TimeUs,
    pub(super) faults: Faults,
    pub(super) transfer: Transfer,
    pub(super) link: Option<LinkView>,
    pub(super) host: Host,
}

/// Of one: itself. Of many: medians over the completed ones, of each figure by itself; the
/// breakdown by means, so that it adds up.
pub(super) fn typical(switchovers: &[Switchover]) -> Typical {
    if let [one] = switchovers {
        let Switchover { downtime, time_us, faults, transfer, link, host, .. } = one.clone();
        return Typical { downtime, time_us, faults, transfer, link, host };
    }
    let completed =
        || switchovers.iter().filter(|switchover| switchover.outcome == Outcome::Completed);
    let views: Vec<Views> = completed().map(|switchover| switchover.downtime.views).collect();
    let breakdowns: Vec<Breakdown> =
        completed().filter_map(|switchover| switchover.downtime.breakdown_us).collect();
    let links: Vec<LinkView> = completed().filter_map(|switchover| switchover.link).collect();
    let bests: Vec<&Best> =
        completed().filter_map(|switchover| switchover.downtime.best.as_ref()).collect();
    Typical {
        downtime: Downtime {
            best: typical_best(&bests),
            views: each_by(&views, median),
            disagreements: summed_up(
                &completed().map(|switchover| &switchover.downtime).collect::<Vec<_>>(),
            ),
            trace_missing: completed()
                .find_map(|switchover| switchover.downtime.trace_missing.clone()),
            breakdown_us: (!breakdowns.is_empty()).then(|| each_by(&breakdowns, mean)),
            ..Downtime::default()
        },
        time_us: each_by(
            &completed().map(|switchover| switchover.time_us).collect::<Vec<_>>(),
            median,
        ),
        faults: each_by(
            &completed().map(|switchover| switchover.faults).collect::<Vec<_>>(),
            median,
        ),
        transfer: each_by(
            &completed().map(|switchover| switchover.transfer).collect::<Vec<_>>(),
            median,
        ),
        link: (!links.is_empty()).then(|| each_by(&links, median)),
        host: each_by(&completed().map(|switchover| switchover.host).collect::<Vec<_>>(), median),
    }
}

/// The view that was best most often, and the median over all.
fn typical_best(bests: &[&Best]) -> Option<Best> {
    let count = |view: ViewKind| bests.iter().filter(|best| best.view == view).count();
    let view = bests.iter().max_by_key(|best| count(best.view))?.view;
    let us = median(&mut bests.iter().map(|best| best.us).collect::<Vec<_>>())?;
    let uncertainty_us =
        median(&mut bests.iter().filter_map(|best| best.uncertainty_us).collect::<Vec<_>>());
    Some(Best { view, us, uncertainty_us })
}

fn summed_up(all: &[&Downtime]) -> Vec<String> {
    let with: Vec<&&Downtime> =
        all.iter().filter(|downtime| !downtime.disagreements.is_empty()).collect();
    let Some(example) = with.first().and_then(|downtime| downtime.disagreements.first()) else {
        return Vec::new();
    };
    vec![format!(
        "in {} of {} switchovers views disagree (see switchovers.jsonl); the first: {example}",
        with.len(),
        all.len()
    )]
}

/// Every number of a type by itself, over all items that have it.
fn each_by<T: Serialize + DeserializeOwned + Default>(
    items: &[T],
    by: fn(&mut [u64]) -> Option<u64>,
) -> T {
    let objects: Vec<Map<String, Value>> = items
        .iter()
        .filter_map(|item| serde_json::to_value(item).ok()?.as_object().cloned())
        .collect();
    let Some(first) = objects.first() else { return T::default() };
    let figure = |key: &String| {
        let mut values: Vec<u64> =
            objects.iter().filter_map(|object| object.get(key)?.as_u64()).collect();
        by(&mut values).map_or(Value::Null, Value::from)
    };
    let figures: Map<String, Value> = first.keys().map(|key| (key.clone(), figure(key))).collect();
    serde_json::from_value(Value::Object(figures)).unwrap_or_default()
}

fn median(values: &mut [u64]) -> Option<u64> {
    values.sort_unstable();
    let (rank, next) = quantile_ranks(values.len(), 50)?;
    Some(values.get(rank - 1)?.midpoint(*values.get(next - 1)?))
}

fn mean(values: &mut [u64]) -> Option<u64> {
    values.iter().sum::<u64>().checked_div(u64::try_from(values.len()).ok()?)
}

/// All blackouts by view, for HdrHistogram's tools.
pub(super) fn interval_log(seen: &Seen, switchovers: &[Switchover]) -> Vec<u8> {
    let of = |get: fn(&Switchover) -> Option<u64>| {
        switchovers.iter().filter_map(get).collect::<Vec<u64>>()
    };
    let views = [
        ("heartbeat", of(|switchover| switchover.downtime.views.heartbeat_us)),
        ("trace", of(|switchover| switchover.downtime.views.trace_us)),
        ("events", of(|switchover| switchover.downtime.views.events_us)),
        ("reported", of(|switchover| switchover.downtime.views.reported_us)),
    ];
    let measured = views.iter().filter(|(_, values)| !values.is_empty());
    let histograms: Vec<_> =
        measured.filter_map(|(view, values)| Some((*view, histogram_of(values)?))).collect();
    let tagged: Vec<_> = histograms.iter().map(|(view, histogram)| (*view, histogram)).collect();
    let mut log = Vec::new();
    if let (Some(first), Some(last)) = (seen.migrations.first(), seen.migrations.last()) {
        let (started, ended) = (first.report.started, last.report.ended);
        // Neither our tags nor a Vec to write to can fail.
        let _ =
            analysis::write_interval_log(&mut log, started.wall_ns, ended.since(started), &tagged);
    }
    log
}

/// In a sentence.
pub(super) fn reason(switchovers: &[Switchover], wanted: u32) -> String {
    let completed =
        switchovers.iter().filter(|switchover| switchover.outcome == Outcome::Completed).count();
    let by_postcopy = switchovers
        .iter()
        .filter(|switchover| {
            switchover.postcopy_happened && switchover.outcome == Outcome::Completed
        })
        .count();
    let how = match by_postcopy {
        0 => "by pre-copy".to_owned(),
        all if all == completed => "by post-copy".to_owned(),
        some => format!("{some} of them by post-copy"),
    };
    match switchovers.last().filter(|last| last.outcome != Outcome::Completed) {
        Some(last) => {
            format!("{completed} of {wanted} switchovers completed, {how}; then {}", last.reason)
        }
        None => format!("{completed} of {wanted} switchovers completed, {how}"),
    }
}

/// The distributions.
pub(super) fn repeat(seen: &Seen, switchovers: &[Switchover]) -> Repeat {
    let completed: Vec<&Switchover> =
        switchovers.iter().filter(|switchover| switchover.outcome == Outcome::Completed).collect();
    let of = |get: fn(&Switchover) -> Option<u64>| {
        distribution(&completed.iter().filter_map(|switchover| get(switchover)).collect::<Vec<_>>())
    };
    let count = |list: usize| u32::try_from(list).unwrap_or(u32::MAX);
    let elapsed_ns = match (seen.migrations.first(), seen.migrations.last()) {
        (Some(first), Some(last)) => {
            last.report.ended.mono_ns.saturating_sub(first.report.started.mono_ns)
        }
        _ => 0,
    };
    Repeat {
        wanted: seen.scenario.repeat,
        completed: count(completed.len()),
        by_postcopy: count(
            completed.iter().filter(|switchover| switchover.postcopy_happened).count(),
        ),
        elapsed_us: elapsed_ns / 1000,
        best: of(|switchover| Some(switchover.downtime.best.as_ref()?.us)),
        reported: of(|switchover| switchover.downtime.views.reported_us),
        events: of(|switchover| switchover.downtime.views.events_us),
        trace: of(|switchover| switchover.downtime.views.trace_us),
        heartbeat: of(|switchover| switchover.downtime.views.heartbeat_us),
        total: of(|switchover| switchover.time_us.total),
    }
}

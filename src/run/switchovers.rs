//! Each migration of a run: its own events, samples, beats and traces, put together.

use super::Seen;
use super::digest::Digest;
use super::migration::Migration;
use crate::clock::rfc3339;
use crate::downtime::trace::{self, TraceLog};
use crate::downtime::{self, Beats, Clocks, Evidence, Offset};
use crate::plan::Side;
use crate::record::{Beat, BeatRecord, EventRecord, Faults, Outcome, Run, Switchover, Transfer};
use crate::scenario::Accel;
use std::collections::BTreeMap;

/// What a run directory holds of all migrations.
pub(super) struct Recorded {
    pub(super) events: Vec<EventRecord>,
    /// By VM.
    pub(super) beats: BTreeMap<u32, Vec<Beat>>,
    /// By VM.
    traces: BTreeMap<u32, TraceLog>,
}

impl Recorded {
    pub(super) fn read(run: &Run, migrations: usize) -> Recorded {
        let mut beats: BTreeMap<u32, Vec<Beat>> = BTreeMap::new();
        for BeatRecord { vm, beat } in run.heartbeats().unwrap_or_default() {
            beats.entry(vm).or_default().push(beat);
        }
        let vms = u32::try_from(migrations).unwrap_or(u32::MAX).saturating_add(1);
        let traces = (0..vms).filter_map(|vm| Some((vm, trace::parse(&run.trace(vm).ok()?)))).collect();
        Recorded { events: run.events().unwrap_or_default(), beats, traces }
    }
}

/// One line for each migration; `digests` are of its samples, one each.
pub(super) fn switchovers(seen: &Seen, recorded: &Recorded, digests: &[Digest]) -> Vec<Switchover> {
    let each = seen.migrations.iter().zip(digests).zip(1u32..);
    each.map(|((migration, digest), number)| switchover(seen, recorded, migration, digest, number)).collect()
}

fn switchover(seen: &Seen, recorded: &Recorded, migration: &Migration, digest: &Digest, number: u32) -> Switchover {
    let report = &migration.report;
    let mut digest = digest.clone();
    let last = report.last[0].as_ref();
    digest.reported(last.and_then(|info| info.downtime), last.and_then(|info| info.total_time));
    let events: Vec<EventRecord> = recorded.events.iter().filter(|event| event.migration == number).cloned().collect();
    let postcopy = report.ending.postcopy_happened;
    let time_us = downtime::times(&events, report.started.mono_ns, postcopy);
    let completed = report.ending.outcome == Outcome::Completed;
    let downtime = if completed { measure(seen, recorded, migration, &events, &digest, number) } else { Default::default() };
    Switchover {
        number,
        started: rfc3339(report.started.wall_ns),
        started_mono_ns: report.started.mono_ns,
        outcome: report.ending.outcome,
        reason: report.ending.reason.clone(),
        postcopy_happened: postcopy,
        downtime,
        faults: faults(migration, &digest),
        transfer: transfer(migration, &digest, time_us.total),
        time_us,
    }
}

fn measure(
    seen: &Seen,
    recorded: &Recorded,
    migration: &Migration,
    events: &[EventRecord],
    digest: &Digest,
    number: u32,
) -> crate::record::Downtime {
    let report = &migration.report;
    // Migration n goes from VM n - 1 to VM n.
    let (source, destination) = (number - 1, number);
    let offsets = match seen.clocks {
        Clocks::Shared => Some([Offset::default(); 2]),
        Clocks::Separate => {
            let on_source = downtime::estimate(Side::Source, events, Some(report.started.wall_ns));
            let incoming = migration.incoming_asked.map(|asked| asked.wall_ns);
            on_source.zip(downtime::estimate(Side::Destination, events, incoming)).map(|(s, d)| [s, d])
        }
    };
    let beats_of = |vm: u32| recorded.beats.get(&vm).map_or(&[][..], Vec::as_slice);
    let beats = seen.accelerator.as_ref().map(|accelerator| Beats {
        source: beats_of(source),
        destination: beats_of(destination),
        period_us: seen.scenario.guest.heartbeat.0,
        stands_still: accelerator.kind == Accel::Tcg,
    });
    let traces = match (recorded.traces.get(&source), recorded.traces.get(&destination)) {
        (Some(source), Some(destination)) => Ok([source, destination]),
        _ if seen.accelerator.is_some() => Err("not traced (record.trace = false)"),
        _ => Err("these QEMUs' traces are not known to us"),
    };
    downtime::measure(&Evidence {
        events,
        started_ns: report.started.mono_ns,
        offsets,
        reported_ms: digest.reported_ms,
        return_path: migration.plan.return_path,
        postcopy: report.ending.postcopy_happened,
        beats,
        traces,
    })
}

fn transfer(migration: &Migration, digest: &Digest, total_us: Option<u64>) -> Transfer {
    let last = migration.report.last[0].as_ref().and_then(|info| info.ram.as_ref());
    // A migration that failed or was cancelled no longer tells (facts/qapi.md §1.3): then the last good sample does.
    let Some(ram) = last.or(digest.ram.as_ref()) else { return Transfer::default() };
    let mean = |bytes: u64| {
        let micros = u128::from(total_us.filter(|us| *us > 0)?);
        u64::try_from(u128::from(bytes) * 1_000_000 / micros).ok()
    };
    Transfer {
        total_bytes: ram.transferred,
        precopy_bytes: ram.precopy_bytes,
        downtime_bytes: ram.downtime_bytes,
        postcopy_bytes: ram.postcopy_bytes,
        passes: Some(migration.report.ending.passes).filter(|passes| *passes > 0),
        mean_bps: ram.transferred.and_then(mean),
        peak_bps: digest.peak_bps,
        ram_bytes: ram.total,
    }
}

fn faults(migration: &Migration, digest: &Digest) -> Faults {
    if !migration.report.ending.postcopy_happened {
        return Faults::default();
    }
    let [source, destination] = &migration.report.last;
    let ram = source.as_ref().and_then(|info| info.ram.as_ref());
    let blocktime_ms = destination.as_ref().and_then(|info| info.postcopy_blocktime).or(digest.blocktime_ms);
    Faults {
        count: ram.and_then(|ram| ram.postcopy_requests),
        blocktime_us: blocktime_ms.map(|ms| ms * 1000),
        ..Faults::default()
    }
}

//! Each migration of a run: its own events, samples, beats and traces, put together.

use super::Seen;
use super::digest::Digest;
use super::link_view;
use super::migration::Migration;
use analysis::Timeline;
use analysis::downtime;
use analysis::downtime::brownout::Marks;
use analysis::downtime::trace;
use analysis::downtime::trace::{PageRequest, TraceLog};
use analysis::downtime::{Beats, Clocks, Evidence, Offset, faults};
use base::Side;
use base::clock::rfc3339;
use record::{
    Answered, Beat, BeatRecord, EventRecord, Faults, FlowRecord, Outcome, Run, Switchover, TimeUs,
    Transfer, WriteRate,
};
use scenario::Accel;
use std::collections::BTreeMap;

/// What a run directory holds of all migrations.
pub(super) struct Recorded {
    pub(super) events: Vec<EventRecord>,
    /// By VM.
    pub(super) beats: BTreeMap<u32, Vec<Beat>>,
    /// By VM.
    traces: BTreeMap<u32, TraceLog>,
    /// What the guest said that it had written: arrival in ns, writes.
    pub(super) writes: Vec<(u64, u64)>,
    /// What an application answered.
    pub(super) answers: Vec<Answered>,
    /// What passed over the link.
    flows: Vec<FlowRecord>,
    /// What was decided, in a word each.
    pub(super) decided: Vec<String>,
}

impl Recorded {
    pub(super) fn read(run: &Run, migrations: usize) -> Recorded {
        let mut beats: BTreeMap<u32, Vec<Beat>> = BTreeMap::new();
        for BeatRecord { vm, beat } in run.heartbeats().unwrap_or_default() {
            beats.entry(vm).or_default().push(beat);
        }
        let vms = u32::try_from(migrations).unwrap_or(u32::MAX).saturating_add(1);
        let traces =
            (0..vms).filter_map(|vm| Some((vm, trace::parse(&run.trace(vm).ok()?)))).collect();
        let reports = |(at_ns, line): (u64, String)| {
            Some((at_ns, line.strip_prefix("rate writes=")?.parse().ok()?))
        };
        let writes = (0..vms).flat_map(|vm| run.guest_lines(vm)).filter_map(reports).collect();
        let action = |decision: &serde_json::Value| {
            decision["decision"]["action"].as_str().map(str::to_owned)
        };
        let decided = run.decisions().unwrap_or_default().iter().filter_map(action).collect();
        let answers = run.answers().into_iter().map(|record| record.answered).collect();
        Recorded {
            events: run.events().unwrap_or_default(),
            beats,
            traces,
            writes,
            answers,
            flows: run.flows(),
            decided,
        }
    }

    /// Of one migration.
    fn flows_of(&self, number: u32) -> Vec<FlowRecord> {
        self.flows.iter().filter(|record| record.migration == number).copied().collect()
    }

    /// The last migration over time.
    pub(super) fn timeline(&self, seen: &Seen, write_rate: &[WriteRate]) -> Timeline {
        let number = u32::try_from(seen.migrations.len()).unwrap_or(u32::MAX);
        let marks = self.marks(seen);
        let Some(mark) = marks.last() else { return Timeline::default() };
        let since = |ns: u64| ns.checked_sub(mark.started_ns).map(|ns| ns / 1000);
        let of_source = || {
            self.events
                .iter()
                .filter(|event| event.migration == number && event.side == Side::Source)
        };
        let end_us = since(mark.ended_ns).unwrap_or(0);
        let faults =
            self.traces.get(&number).map(|log| log.page_requests.as_slice()).unwrap_or_default();
        let resumed =
            self.events.iter().find(|event| event.migration == number && event.event == "RESUME");
        let fault = |request: &PageRequest| {
            let ahead =
                i64::try_from(resumed?.wall_ns).ok()? - i64::try_from(resumed?.mono_ns).ok()?;
            since(u64::try_from(i64::try_from(request.wall_us).ok()? * 1000 - ahead).ok()?)
        };
        Timeline {
            total_us: end_us,
            done_us: end_us,
            postcopy: seen
                .migrations
                .last()
                .is_some_and(|migration| migration.report.ending.postcopy_happened),
            active_us: of_source()
                .find(|event| event.status() == Some("active"))
                .and_then(|event| since(event.mono_ns)),
            // QEMU says a pass when it begins; the first is not of interest: it begins with
            // `active`.
            passes_us: of_source()
                .filter(|event| event.pass().is_some_and(|pass| pass > 1))
                .filter_map(|e| since(e.mono_ns))
                .collect(),
            stop_us: mark.stop_ns.and_then(since),
            resume_us: mark.resume_ns.and_then(since),
            faults_us: faults.iter().filter(|request| request.added).filter_map(fault).collect(),
            link_bps: link_view::curve(&self.flows_of(number), mark.started_ns),
            write_bps: write_rate
                .iter()
                .filter_map(|rate| {
                    Some((u64::try_from(rate.at_us).ok().filter(|at| *at <= end_us)?, rate.bps))
                })
                .collect(),
        }
    }

    /// When each migration was where, by the arrival of its events.
    pub(super) fn marks(&self, seen: &Seen) -> Vec<Marks> {
        let mark = |(migration, number): (&Migration, u32)| {
            let of = |side: Side, name: &str| {
                let is = |event: &&EventRecord| {
                    event.migration == number && event.side == side && event.event == name
                };
                self.events.iter().rfind(is).map(|event| event.mono_ns)
            };
            let (started_ns, ended_ns) =
                (migration.report.started.mono_ns, migration.report.ended.mono_ns);
            let (stop_ns, resume_ns) = (of(Side::Source, "STOP"), of(Side::Destination, "RESUME"));
            Marks {
                started_ns,
                stop_ns,
                resume_ns,
                ended_ns,
                postcopy: migration.report.ending.postcopy_happened,
            }
        };
        seen.migrations.iter().zip(1..).map(mark).collect()
    }
}

/// One line for each migration; `digests` are of its samples, one each.
pub(super) fn switchovers(seen: &Seen, recorded: &Recorded, digests: &[Digest]) -> Vec<Switchover> {
    let each = seen.migrations.iter().zip(digests).zip(1u32..);
    each.map(|((migration, digest), number)| switchover(seen, recorded, migration, digest, number))
        .collect()
}

fn switchover(
    seen: &Seen,
    recorded: &Recorded,
    migration: &Migration,
    digest: &Digest,
    number: u32,
) -> Switchover {
    let report = &migration.report;
    let mut digest = digest.clone();
    let last = report.last[0].as_ref();
    digest.reported(last.and_then(|info| info.downtime), last.and_then(|info| info.total_time));
    let events: Vec<EventRecord> =
        recorded.events.iter().filter(|event| event.migration == number).cloned().collect();
    let postcopy = report.ending.postcopy_happened;
    let ended = u64::try_from(report.ended.since(report.started).as_micros()).ok();
    let time_us = TimeUs { ended, ..downtime::times(&events, report.started.mono_ns, postcopy) };
    let completed = report.ending.outcome == Outcome::Completed;
    let downtime = if completed {
        measure(seen, recorded, migration, &events, &digest, number)
    } else {
        Default::default()
    };
    Switchover {
        number,
        started: rfc3339(report.started.wall_ns),
        started_mono_ns: report.started.mono_ns,
        outcome: report.ending.outcome,
        reason: report.ending.reason.clone(),
        postcopy_happened: postcopy,
        downtime,
        faults: faults(migration, &digest, recorded.traces.get(&number)),
        transfer: transfer(migration, &digest, time_us.total.or(time_us.ended)),
        link: link_view::view(migration, &recorded.flows_of(number)),
        host: migration.host,
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
) -> record::Downtime {
    let report = &migration.report;
    // Migration n goes from VM n - 1 to VM n.
    let (source, destination) = (number - 1, number);
    let offsets = match seen.clocks {
        Clocks::Shared => Some([Offset::default(); 2]),
        Clocks::Separate => {
            let on_source = downtime::estimate(Side::Source, events, Some(report.started.wall_ns));
            let incoming = migration.incoming_asked.map(|asked| asked.wall_ns);
            on_source
                .zip(downtime::estimate(Side::Destination, events, incoming))
                .map(|(s, d)| [s, d])
        }
    };
    let beats_of = |vm: u32| recorded.beats.get(&vm).map_or(&[][..], Vec::as_slice);
    let accelerator = seen.accelerator.as_ref().filter(|_| seen.scenario.guest.has_heartbeat());
    let beats = accelerator.map(|accelerator| Beats {
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
    // After a failed or cancelled migration query-migrate has no `ram`: use the last sample that
    // had it (docs/qemu-notes.md, "The answer of `query-migrate`").
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

fn faults(migration: &Migration, digest: &Digest, trace: Option<&TraceLog>) -> Faults {
    if !migration.report.ending.postcopy_happened {
        return Faults::default();
    }
    let [source, destination] = &migration.report.last;
    let ram = source.as_ref().and_then(|info| info.ram.as_ref());
    let destination = destination.as_ref();
    let count = ram.and_then(|ram| ram.postcopy_requests);
    let blocktime_ms = destination.and_then(|info| info.postcopy_blocktime).or(digest.blocktime_ms);
    let longest_ms =
        destination.and_then(|info| info.postcopy_vcpu_blocktime.as_ref()?.iter().max().copied());
    let buckets = destination.and_then(|info| info.postcopy_latency_dist.as_ref());
    let latencies = match (buckets, trace.filter(|log| !log.page_requests.is_empty())) {
        (_, Some(log)) => Some(faults::from_requests(&log.page_requests)),
        (Some(buckets), None) => Some(faults::from_buckets(buckets)),
        (None, None) => None,
    };
    let pages =
        ram.and_then(|ram| Some(ram.postcopy_bytes? / ram.page_size.filter(|size| *size > 0)?));
    Faults {
        count,
        timed: latencies.map(|latencies| latencies.count),
        p50_us: latencies.and_then(|latencies| latencies.p50_us),
        p90_us: latencies.and_then(|latencies| latencies.p90_us),
        p99_us: latencies.and_then(|latencies| latencies.p99_us),
        max_us: latencies.and_then(|latencies| latencies.max_us),
        mean_us: destination.and_then(|info| info.postcopy_latency).map(|ns| ns / 1000),
        blocktime_us: blocktime_ms.map(|ms| ms * 1000),
        vcpu_blocktime_max_us: longest_ms.map(|ms| ms * 1000),
        pushed: pages.zip(count).map(|(pages, count)| pages.saturating_sub(count)),
    }
}

//! run.json from everything that was seen. What was not measured stays `null`.

use super::Seen;
use super::digest::Digest;
use crate::clock::{Stamp, rfc3339};
use crate::downtime::{self, Clocks};
use crate::plan::{Side, Support};
use crate::record::{
    Convergence, Environment, EventRecord, Faults, Guest, Integrity, Outcome, Policy, SCHEMA, Stalls, Summary, Transfer,
};
use crate::scenario::{Scenario, spelling};
use hdrhistogram::Histogram;
use std::fmt::Write;
use std::path::Path;

/// Longer stalls are counted as this long.
const LONGEST_STALL_NS: u64 = 3_600_000_000_000;

/// A name for a run: when, and which process.
pub(super) fn new_id() -> String {
    let now = Stamp::now();
    let when: String = rfc3339(now.wall_ns).chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{when}Z-{:04x}{:03x}", std::process::id() & 0xffff, (now.mono_ns / 1000) & 0xfff)
}

/// Puts the summary together. `directory` is looked at for what QEMU printed.
pub(super) fn summarize(
    id: String,
    scenario: &Scenario,
    seen: &Seen,
    events: &[EventRecord],
    samples: &Digest,
    directory: &Path,
) -> Summary {
    let report = &seen.report;
    let mut digest = samples.clone();
    let last = report.last[0].as_ref();
    digest.reported(last.and_then(|info| info.downtime), last.and_then(|info| info.total_time));
    let time_us = downtime::times(events, report.started.mono_ns, report.ending.postcopy_happened);
    let completed = report.ending.outcome == Outcome::Completed;
    let downtime = if completed { downtime::measure(events, seen.clocks, digest.reported_ms) } else { Default::default() };
    let mut summary = Summary {
        schema: SCHEMA.to_owned(),
        id,
        started: rfc3339(report.started.wall_ns),
        finished: rfc3339(report.ended.wall_ns),
        outcome: report.ending.outcome,
        reason: report.ending.reason.clone(),
        mode: spelling(&scenario.mode),
        postcopy_happened: report.ending.postcopy_happened,
        scenario: serde_json::to_value(scenario).unwrap_or_default(),
        environment: environment(scenario, seen),
        downtime,
        stalls: stalls(&seen.guest.stalls),
        faults: faults(seen, &digest),
        transfer: transfer(seen, &digest, time_us.total),
        time_us,
        sampling: seen.sampling,
        guest: guest(seen),
        convergence: Convergence::default(),
        policy: Policy { name: "rules".to_owned(), decisions: report.decisions },
        checks: Vec::new(),
        warnings: Vec::new(),
    };
    summary.warnings = warnings(&summary, seen, &digest);
    if summary.outcome != Outcome::Completed {
        summary.warnings.extend(last_words(directory));
    }
    summary
}

fn environment(scenario: &Scenario, seen: &Seen) -> Environment {
    let proc = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let qemu = |support: &Support| match support.package.as_str() {
        "" => support.version_text(),
        package => format!("{} ({package})", support.version_text()),
    };
    Environment {
        switchover: env!("CARGO_PKG_VERSION").to_owned(),
        host: proc("hostname"),
        kernel: proc("osrelease"),
        cpus: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        accelerator: seen.accelerator.as_ref().map(|accelerator| spelling(&accelerator.kind)),
        accelerator_reason: seen.accelerator.as_ref().map(|accelerator| accelerator.reason.clone()),
        source_qemu: qemu(&seen.supports[0]),
        destination_qemu: qemu(&seen.supports[1]),
        machine: seen.accelerator.as_ref().map(|_| scenario.qemu.machine.name().to_owned()),
        transport: seen.plan.uri.outgoing.split(':').next().unwrap_or_default().to_owned(),
        return_path: seen.plan.return_path,
    }
}

fn transfer(seen: &Seen, digest: &Digest, total_us: Option<u64>) -> Transfer {
    let last = seen.report.last[0].as_ref().and_then(|info| info.ram.as_ref());
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
        passes: Some(seen.report.ending.passes).filter(|passes| *passes > 0),
        mean_bps: ram.transferred.and_then(mean),
        peak_bps: digest.peak_bps,
        ram_bytes: ram.total,
    }
}

fn faults(seen: &Seen, digest: &Digest) -> Faults {
    if !seen.report.ending.postcopy_happened {
        return Faults::default();
    }
    let ram = seen.report.last[0].as_ref().and_then(|info| info.ram.as_ref());
    let blocktime_ms = seen.report.last[1].as_ref().and_then(|info| info.postcopy_blocktime).or(digest.blocktime_ms);
    Faults {
        count: ram.and_then(|ram| ram.postcopy_requests),
        blocktime_us: blocktime_ms.map(|ms| ms * 1000),
        ..Faults::default()
    }
}

/// The guest's own histogram of stalls: lower bounds of buckets in ns, and counts.
fn stalls(buckets: &[(u64, u64)]) -> Stalls {
    let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, LONGEST_STALL_NS, 3) else { return Stalls::default() };
    let mut total_ns = 0u64;
    for (lower_ns, count) in buckets {
        histogram.saturating_record_n(*lower_ns, *count);
        total_ns = total_ns.saturating_add(lower_ns.saturating_mul(*count));
    }
    if histogram.is_empty() {
        return Stalls::default();
    }
    let quantile = |q| Some(histogram.value_at_quantile(q) / 1000);
    Stalls {
        count: Some(histogram.len()),
        p50_us: quantile(0.5),
        p90_us: quantile(0.9),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        max_us: Some(histogram.max() / 1000),
        total_us: Some(total_ns / 1000),
    }
}

fn guest(seen: &Seen) -> Guest {
    let facts = &seen.guest;
    let gap = |beats: &crate::observe::BeatReport| Some(beats.destination_first_ns?.checked_sub(beats.source_last_ns?)? / 1000);
    Guest {
        integrity: facts.integrity,
        pages_checked: facts.check.map(|check| check.pages),
        bad_pages: facts.check.map(|check| check.bad),
        operations: facts.operations,
        dirty_bps_before: facts.dirty_bps_before,
        dirty_bps_during: facts.dirty_bps_during,
        dirty_bps_after: facts.dirty_bps_after,
        boot_us: seen.boot.and_then(|boot| u64::try_from(boot.as_micros()).ok()),
        beats: seen.beats.map(|beats| beats.beats),
        heartbeat_gap_us: seen.beats.as_ref().and_then(gap),
    }
}

/// The last line that each QEMU printed: what went wrong on the destination is often only there.
fn last_words(directory: &Path) -> Vec<String> {
    let sides = [Side::Source, Side::Destination].into_iter();
    sides
        .filter_map(|side| {
            let text = std::fs::read_to_string(directory.join(format!("qemu.{side}.log"))).ok()?;
            let line = text.lines().rfind(|line| !line.trim().is_empty())?;
            Some(format!("the {side} printed: {line}"))
        })
        .collect()
}

/// In which of its three ways the guest found its memory wrong.
fn corruption(summary: &Summary, seen: &Seen) -> String {
    let injected = summary.scenario["guest"]["inject_fault"] == true;
    let on_purpose = if injected { " (a fault was injected on purpose)" } else { "" };
    let Some(check) = seen.guest.check else { return "the guest's memory is corrupt".to_owned() };
    let mut text = format!(
        "the guest's memory is corrupt: {} pages are wrong, {} were found wrong while it worked{on_purpose}",
        check.bad, check.live_errors
    );
    if check.generations != check.writes {
        let _ = write!(text, "; its table counts {} writes, its counter {}", check.generations, check.writes);
    }
    text
}

/// Why this QEMU may have lost guest writes as a source under TCG: it is known to, measured by a byte comparison of both memories.
fn known_to_lose_writes(version: (u32, u32, u32), postcopy_wanted: bool) -> Option<String> {
    match version {
        v if v < (9, 0, 0) => Some(
            "QEMU 7.2 is known to lose guest writes when it migrates under TCG, most under load (10.0 is not; 9.0 brought \"physmem: Fix \
             migration dirty bitmap coherency with TCG memory access\"); take a newer QEMU, or KVM"
                .to_owned(),
        ),
        v if v >= (11, 0, 0) && postcopy_wanted => {
            Some("QEMU 11.1 is known to lose guest writes under TCG when post-copy is asked for early; 10.0 does not".to_owned())
        }
        _ => None,
    }
}

/// What a reader should know before trusting the numbers.
fn warnings(summary: &Summary, seen: &Seen, digest: &Digest) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |text: String| warnings.push(text);
    if summary.guest.integrity == Integrity::Corrupt {
        warn(corruption(summary, seen));
    }
    if summary.guest.integrity == Integrity::Corrupt && summary.environment.accelerator.as_deref() == Some("tcg") {
        warnings.extend(known_to_lose_writes(seen.supports[0].version, summary.mode != "precopy"));
    }
    let mut warn = |text: String| warnings.push(text);
    if let Some(problem) = &seen.guest.problem {
        warn(format!("the guest's memory could not be checked: {problem}"));
    }
    if let Some(absurd) = digest.reported_absurd {
        warn(format!("QEMU reported a downtime of {absurd} ms, longer than the whole migration; not believed"));
    }
    if seen.clocks == Clocks::Separate {
        warn(
            "the two QEMUs may be on different hosts: the blackout is by the arrival of events here, so it includes the \
              difference of their ways to us"
                .to_owned(),
        );
    }
    if summary.postcopy_happened && summary.outcome == Outcome::Completed && summary.downtime.views.events_us.is_none() {
        warn("no STOP or RESUME was seen: the guest was not running, or the destination was started with -S".to_owned());
    }
    for (side, sampled) in [("source", summary.sampling.source), ("destination", summary.sampling.destination)] {
        if let Some(sampled) = sampled.filter(|s| s.longest_gap_us > 100_000 && s.rate_hz > 50.0) {
            warn(format!("{side}: no sample for {} ms (QEMU was busy or this machine is)", sampled.longest_gap_us / 1000));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_of_all_lengths_are_counted_as_they_were() {
        let stalls = stalls(&[(300, 98), (5_000_000, 1), (40_000_000, 1)]);
        assert_eq!((stalls.count, stalls.p50_us), (Some(100), Some(0)));
        assert!(stalls.max_us.is_some_and(|max| (40_000..40_040).contains(&max)), "{stalls:?}");
        assert_eq!(super::stalls(&[]), Stalls::default());
    }
}

//! run.json from everything that was seen. What was not measured stays `null`.

use super::convergence::convergence;
use super::digest::Digest;
use super::migration::Migration;
use super::switchovers::Recorded;
use super::{Seen, application, recovery, series};
use analysis::downtime::{Clocks, brownout};
use base::Side;
use base::clock::{Stamp, rfc3339};
use base::text::read_tail;
use lab::LoadStatus;
use migrate::plan::{Sockets, Support};
use qmp::QemuVersion;
use record::{
    Application, Brownout, Environment, Guest, Host, Integrity, Outcome, Phases, Policy, SCHEMA,
    Stalls, Summary, Switchover,
};
use scenario::{Scenario, serialized_name};
use std::fmt::Write;
use std::path::Path;

/// A name for a run: when, and which process.
pub(super) fn new_id() -> String {
    let now = Stamp::now();
    let when: String =
        rfc3339(now.wall_ns).chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{when}Z-{:04x}{:03x}", std::process::id() & 0xffff, (now.mono_ns / 1000) & 0xfff)
}

/// Puts the summary together. `directory` is looked at for what QEMU printed.
pub(super) fn summarize(
    id: String,
    seen: &Seen,
    recorded: &Recorded,
    digests: &[Digest],
    switchovers: &[Switchover],
    directory: &Path,
) -> Option<Summary> {
    let scenario = &seen.scenario;
    let (first, last) = (seen.migrations.first()?, seen.migrations.last()?);
    let ending = &last.report.ending;
    let series = switchovers.len() > 1;
    let typical = series::typical(switchovers);
    let mut summary = Summary {
        schema: SCHEMA.to_owned(),
        id,
        started: rfc3339(first.report.started.wall_ns),
        finished: rfc3339(last.report.ended.wall_ns),
        outcome: ending.outcome,
        reason: if series {
            series::reason(switchovers, scenario.repeat)
        } else {
            ending.reason.clone()
        },
        mode: serialized_name(&scenario.mode),
        postcopy_happened: switchovers.iter().any(|switchover| switchover.postcopy_happened),
        scenario: serde_json::to_value(scenario).unwrap_or_default(),
        environment: environment(scenario, seen, first),
        downtime: typical.downtime,
        repeat: series.then(|| series::repeat(seen, switchovers)),
        stalls: brownout::of_buckets(&seen.guest.stalls),
        brownout: brownout(seen, recorded),
        faults: typical.faults,
        recovery: recovery::recovery(recorded),
        transfer: typical.transfer,
        link: typical.link,
        host: typical.host,
        time_us: typical.time_us,
        sampling: last.sampling,
        guest: guest(seen, recorded),
        convergence: convergence(scenario, ending.outcome, ending.postcopy_happened, digests),
        policy: Policy {
            name: "rules".to_owned(),
            decisions: seen.migrations.iter().map(|migration| migration.report.decisions).sum(),
        },
        checks: Vec::new(),
        warnings: Vec::new(),
    };
    summary.warnings = warnings(&summary, seen, digests);
    summary.warnings.extend(neighbours(switchovers));
    if summary.outcome != Outcome::Completed {
        summary.warnings.extend(last_words(directory));
    }
    Some(summary)
}

fn environment(scenario: &Scenario, seen: &Seen, migration: &Migration) -> Environment {
    let proc = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let qemu = |support: &Support| match support.package.as_str() {
        "" => support.version.to_string(),
        package => format!("{} ({package})", support.version),
    };
    Environment {
        switchover: env!("CARGO_PKG_VERSION").to_owned(),
        host: proc("hostname"),
        kernel: proc("osrelease"),
        cpus: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        accelerator: seen
            .accelerator
            .as_ref()
            .map(|accelerator| serialized_name(&accelerator.kind)),
        accelerator_reason: seen.accelerator.as_ref().map(|accelerator| accelerator.reason.clone()),
        source_qemu: qemu(&seen.supports[0]),
        destination_qemu: qemu(&seen.supports[1]),
        machine: seen.accelerator.as_ref().map(|_| scenario.qemu.machine.name().to_owned()),
        transport: transport_name(migration.plan.stream.sockets, migration.plan.stream.scheme()),
        return_path: migration.plan.return_path,
        tls: migration.plan.tls.as_ref().map(|tls| serialized_name(&tls.credentials)),
    }
}

/// `owned` for TCP sockets of ours, else the scheme of QEMU's URI.
fn transport_name(sockets: Sockets, scheme: &str) -> String {
    match sockets {
        Sockets::Tcp | Sockets::OfSource => "owned".to_owned(),
        Sockets::Unix | Sockets::QemusOwn => scheme.to_owned(),
    }
}

fn brownout(seen: &Seen, recorded: &Recorded) -> Brownout {
    let facts = &seen.guest;
    let marks = recorded.marks(seen);
    let (beats, beats_corrected) =
        brownout::between_beats(&recorded.beats, &marks, seen.scenario.guest.heartbeat.0);
    let during = brownout::of_buckets(&brownout::since(&facts.stalls_before, &facts.stalls_at_end));
    let postcopy =
        seen.migrations.iter().any(|migration| migration.report.ending.postcopy_happened);
    let (precopy, postcopy) =
        if postcopy { (Stalls::default(), during) } else { (during, Stalls::default()) };
    let accesses = Phases {
        before: brownout::of_buckets(&facts.stalls_before),
        precopy,
        postcopy,
        after: brownout::of_buckets(&brownout::since(&facts.stalls_at_end, &facts.stalls)),
    };
    let write_rate = match marks.as_slice() {
        [one] => brownout::write_rate(&recorded.writes, one.started_ns),
        _ => Vec::new(),
    };
    Brownout { beats, beats_corrected, accesses, write_rate }
}

fn guest(seen: &Seen, recorded: &Recorded) -> Guest {
    let facts = &seen.guest;
    let last = recorded.beats.get(&0).and_then(|beats| beats.last());
    let first = recorded.beats.get(&1).and_then(|beats| beats.first());
    let gap =
        last.zip(first).and_then(|(last, first)| first.arrived_ns.checked_sub(last.arrived_ns));
    let beats: usize = recorded.beats.values().map(Vec::len).sum();
    Guest {
        integrity: facts.integrity,
        pages_checked: facts.check.map(|check| check.pages),
        bad_pages: facts.check.map(|check| check.bad),
        operations: facts.operations,
        dirty_bps_before: facts.dirty_bps_before,
        dirty_bps_during: facts.dirty_bps_during,
        dirty_bps_after: facts.dirty_bps_after,
        boot_us: seen.boot.and_then(|boot| u64::try_from(boot.as_micros()).ok()),
        beats: u64::try_from(beats).ok().filter(|beats| *beats > 0),
        heartbeat_gap_us: gap.map(|ns| ns / 1000),
        application: application(seen, recorded),
    }
}

fn application(seen: &Seen, recorded: &Recorded) -> Option<Application> {
    let load = Some(seen.scenario.guest.load)
        .filter(|load| seen.accelerator.is_some() && load.is_application())?;
    let marks = recorded.marks(seen);
    let unasked = (LoadStatus::default(), marks.last()?.ended_ns);
    let (status, asked_ns) = seen.guest.load.as_ref().unwrap_or(&unasked);
    Some(application::application(
        serialized_name(&load),
        &recorded.answers,
        &marks,
        status,
        *asked_ns,
    ))
}

/// Where the last line is.
const LAST_WORDS: u64 = 4 << 10;

/// The last line that each QEMU printed: what went wrong on the destination is often only there.
fn last_words(directory: &Path) -> Vec<String> {
    let sides = [Side::Source, Side::Destination].into_iter();
    sides
        .filter_map(|side| {
            let text = read_tail(&directory.join(format!("qemu.{side}.log")), LAST_WORDS);
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
    if let Some(wrong) =
        seen.guest.load.as_ref().and_then(|(load, _)| load.wrong).filter(|wrong| *wrong > 0)
    {
        let _ = write!(text, "; its application gave {wrong} wrong answers");
    }
    if check.generations != check.writes {
        let _ = write!(
            text,
            "; its table counts {} writes, its counter {}",
            check.generations, check.writes
        );
    }
    text
}

/// Why this QEMU may have lost guest writes as a source under TCG: it is known to, measured by a
/// byte comparison of both memories.
fn known_to_lose_writes(version: QemuVersion, postcopy_wanted: bool) -> Option<String> {
    match version {
        v if v < QemuVersion::new(9, 0, 0) => Some(
            "QEMU 7.2 is known to lose guest writes when it migrates under TCG, most under load (10.0 is not; 9.0 brought \"physmem: Fix \
             migration dirty bitmap coherency with TCG memory access\"); take a newer QEMU, or KVM"
                .to_owned(),
        ),
        v if v >= QemuVersion::new(11, 0, 0) && postcopy_wanted => {
            Some("QEMU 11.1 is known to lose guest writes under TCG when post-copy is asked for early; 10.0 does not".to_owned())
        }
        _ => None,
    }
}

/// Others that were busy on this machine.
fn neighbours(switchovers: &[Switchover]) -> Option<String> {
    let (busy, share) = Host::busiest(switchovers.iter().map(|switchover| switchover.host))?;
    let most = 100.0 * share;
    let took = match switchovers.len() {
        1 => format!("{most:.0} % of this machine's CPU time during the migration"),
        all => format!(
            "up to {most:.0} % of this machine's CPU time during {busy} of {all} migrations"
        ),
    };
    Some(format!("others took {took}: measure again when it is quiet"))
}

/// QEMU's texts name what GnuTLS saw, not what to do.
fn distrust(summary: &Summary) -> Option<String> {
    let tls = summary.environment.tls.as_deref()?;
    let failed = summary.outcome == Outcome::Failed
        && ["TLS", "ertificate"].iter().any(|word| summary.reason.contains(word));
    let advice = match tls {
        "psk" => "both sides' keys.psk need the same key for tls.username",
        _ => {
            "each side's ca-cert.pem must have issued the other's certificate, and the destination's must be for tls.hostname"
        }
    };
    failed.then(|| format!("the two sides do not trust each other: {advice}"))
}

/// What a reader should know before trusting the numbers.
fn warnings(summary: &Summary, seen: &Seen, digests: &[Digest]) -> Vec<String> {
    let mut warnings = seen.warnings.clone();
    warnings.extend(
        seen.migrations.iter().flat_map(|migration| migration.report.hook_problems.iter().cloned()),
    );
    warnings
        .extend(seen.migrations.iter().flat_map(|migration| migration.report.not_restored.clone()));
    warnings.extend(distrust(summary));
    let mut warn = |text: String| warnings.push(text);
    if summary.guest.integrity == Integrity::Corrupt {
        warn(corruption(summary, seen));
    }
    if summary.guest.integrity == Integrity::Corrupt
        && summary.environment.accelerator.as_deref() == Some("tcg")
    {
        warnings.extend(known_to_lose_writes(seen.supports[0].version, summary.mode != "precopy"));
    }
    let mut warn = |text: String| warnings.push(text);
    if let Some(problem) = &seen.guest.problem {
        warn(format!("the guest's memory could not be checked: {problem}"));
    }
    if let Some((load, _)) = seen.guest.load.as_ref().filter(|(load, _)| !load.running) {
        let said = load.said.as_deref().unwrap_or("nothing");
        warn(format!("guest.load ended by itself, so the guest was not loaded to the end: {said}"));
    }
    if let Some(absurd) = digests.iter().find_map(|digest| digest.reported_absurd) {
        warn(format!(
            "QEMU reported a downtime of {absurd} ms, longer than the whole migration; not believed"
        ));
    }
    if seen.clocks == Clocks::Separate {
        let spans = &summary.downtime.spans;
        warn(match spans.events.as_ref().and_then(|span| span.uncertainty_us) {
            Some(us) => format!(
                "the two QEMUs may be on different hosts: the difference of their clocks was estimated by the fastest round trips, and is \
                 part of the uncertainty ({us} µs)"
            ),
            None => "the two QEMUs may be on different hosts, and the difference of their clocks could not be estimated: the blackout is by \
                     the arrival of events here, so it includes the difference of their ways to us"
                .to_owned(),
        });
    }
    for finding in &summary.downtime.disagreements {
        warn(finding.clone());
    }
    if summary.postcopy_happened
        && summary.outcome == Outcome::Completed
        && summary.downtime.views.events_us.is_none()
    {
        warn("no STOP or RESUME was seen: the guest was not running, or the destination was started with -S".to_owned());
    }
    for (side, sampled) in
        [("source", summary.sampling.source), ("destination", summary.sampling.destination)]
    {
        if let Some(sampled) = sampled.filter(|s| s.longest_gap_us > 100_000 && s.rate_hz > 50.0) {
            warn(format!(
                "{side}: no sample for {} ms (QEMU was busy or this machine is)",
                sampled.longest_gap_us / 1000
            ));
        }
    }
    warnings
}

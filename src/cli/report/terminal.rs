//! The summary screen of a run: one screen of text without colours.

use super::blackout::format_blackout;
use super::check::format_check;
use super::columns::LabelledLines;
use analysis::{Timeline, format_timeline};
use base::units::{human_bytes, human_micros};
use record::{
    Application, Brownout, Convergence, Environment, Faults, Guest, Integrity, LinkView, Outcome,
    Phases, REQUESTED_ACCELERATOR, Recovery, SampledSide, Stalls, Summary, Switchover,
};
use std::fmt::Write;
use std::path::Path;

/// Width of the labels.
const LABEL_COLUMNS: usize = 11;
/// Width of the timeline in columns.
const WIDTH: usize = 72;
/// At most this many remedies are shown; `switchover diagnose` shows all of them.
const MAX_REMEDIES: usize = 3;

/// Formats the summary: the outcome, the blackout, the transfer, the guest, and where the results
/// are.
#[must_use]
pub fn format_summary(
    run: &Summary,
    switchovers: &[Switchover],
    times: &Timeline,
    directory: &Path,
) -> String {
    let mut lines = LabelledLines::new(LABEL_COLUMNS);
    push_environment(&mut lines, &run.environment);
    for (label, text) in format_blackout(run, switchovers) {
        lines.push(label, text);
    }
    lines.push("total", format_times(run));
    if run.repeat.is_none() && times.done_us > 0 {
        for drawn in format_timeline(times, WIDTH).lines() {
            lines.push("", drawn);
        }
    }
    lines.push("transfer", format_transfer(run));
    lines.push_all("link", run.link.iter().flat_map(format_link));
    push_non_convergence(&mut lines, &run.convergence);
    push_guest(&mut lines, &run.guest);
    lines.push_all("brownout", format_brownout(&run.brownout));
    lines.push_all("faults", format_faults(&run.faults));
    lines.push_all("recovery", run.recovery.map(format_recovery));
    let sampled = [("source", run.sampling.source), ("destination", run.sampling.destination)];
    let sampled = sampled.into_iter().filter_map(|(side, sampled)| Some((side, sampled?)));
    lines.push_all("sampling", sampled.map(|(side, sampled)| format_sampling(side, &sampled)));
    for check in &run.checks {
        lines.push("check", format_check(check));
    }
    for warning in &run.warnings {
        lines.push("warning", warning);
    }
    lines.push("results", directory.display().to_string());
    let outcome = match run.outcome {
        Outcome::Completed => run.reason.clone(),
        other => format!("{}: {}", other.name(), run.reason),
    };
    format!("{outcome}\n{}", lines.into_text())
}

/// Appends the versions of both QEMUs, and how they ran and were connected.
fn push_environment(lines: &mut LabelledLines, environment: &Environment) {
    let Environment { source_qemu, destination_qemu, machine, accelerator, .. } = environment;
    let mut text = format!("{} → {}", short_version(source_qemu), short_version(destination_qemu));
    let parts = [machine.as_deref(), accelerator.as_deref(), Some(&environment.transport)];
    for part in parts.into_iter().flatten() {
        let _ = write!(text, ", {part}");
    }
    if let Some(credentials) = &environment.tls {
        let _ = write!(text, ", TLS ({credentials})");
    }
    lines.push("QEMU", text);
    let reason =
        environment.accelerator_reason.as_ref().filter(|reason| *reason != REQUESTED_ACCELERATOR);
    if let (Some(accelerator), Some(reason)) = (accelerator, reason) {
        lines.push("", format!("{accelerator}: {reason}"));
    }
}

/// The version without the distributor's package: `10.0.2` of `10.0.2 (Debian 1:10.0.2)`.
fn short_version(version: &str) -> &str {
    version.split(' ').next().unwrap_or(version)
}

fn format_times(run: &Summary) -> String {
    let time = run.time_us;
    let parts = [
        ("setup", time.setup),
        ("pre-copy", time.precopy),
        ("switchover", time.switchover),
        ("post-copy", time.postcopy),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter_map(|(name, us)| us.map(|us| format!("{name} {}", human_micros(us))))
        .collect();
    let not_completed = || match time.ended {
        Some(us) => format!("not completed, ended after {}", human_micros(us)),
        None => "not completed".to_owned(),
    };
    let total = time.total.map_or_else(not_completed, human_micros);
    match (time.total, parts.as_slice()) {
        (_, []) | (None, _) => total,
        _ => format!("{total} = {}", parts.join(" + ")),
    }
}

fn format_transfer(run: &Summary) -> String {
    let transfer = run.transfer;
    let Some(total) = transfer.total_bytes else { return "unknown".to_owned() };
    let mut text = human_bytes(total);
    let mut add = |words: String| {
        let _ = write!(text, ", {words}");
    };
    if let Some(ram) = transfer.ram_bytes {
        add(format!("of {} RAM", human_bytes(ram)));
    }
    if let Some(passes) = transfer.passes {
        add(format!("MIGRATION_PASS {passes}"));
    }
    if let Some(mean) = transfer.mean_bps {
        add(format!("mean {}/s", human_bytes(mean)));
    }
    if let Some(peak) = transfer.peak_bps {
        add(format!("peak {}/s", human_bytes(peak)));
    }
    text
}

/// Formats the recovery of a post-copy whose connection broke.
fn format_recovery(recovery: Recovery) -> String {
    let Recovery { attempts, recovered, paused_us } = recovery;
    let result = if recovered > 0 {
        "post-copy's connection broke and was recovered"
    } else {
        "post-copy's connection broke"
    };
    let paused =
        paused_us.map_or_else(String::new, |us| format!(", paused for {}", human_micros(us)));
    format!("{result}: {attempts} attempts{paused}")
}

/// Appends why the migration did not converge, and what would help; nothing if it converged.
fn push_non_convergence(lines: &mut LabelledLines, convergence: &Convergence) {
    let Some(verdict) = convergence.verdict.as_deref().filter(|verdict| *verdict != "converges")
    else {
        return;
    };
    let mut text = verdict.replace('-', " ");
    if let Some(rate) = convergence.dirty_bps {
        let _ = write!(text, ", the guest writes {}/s", human_bytes(rate));
    }
    if let Some(rate) = convergence.bandwidth_bps {
        let _ = write!(text, ", {}/s are sent", human_bytes(rate));
    }
    if let Some(floor) = convergence.pending_floor_bytes {
        let _ = write!(text, ", pending falls to {}", human_bytes(floor));
    }
    if let Some(threshold) = convergence.threshold_bytes {
        let _ = write!(text, ", must fall below {}", human_bytes(threshold));
    }
    lines.push("diagnosis", text);
    let remedies = convergence.remedies.iter().take(MAX_REMEDIES);
    lines.push_all(
        "remedies",
        remedies.map(|remedy| format!("{} → {}", remedy.setting, remedy.effect)),
    );
}

/// Formats what the emulated link measured, beside QEMU's own figure: one line of totals and means,
/// one of maxima. There is no line if no link was measured.
fn format_link(link: &LinkView) -> Vec<String> {
    let Some(bytes) = link.bytes else { return Vec::new() };
    let mut totals = format!("{} to the destination", human_bytes(bytes));
    if let Some(bytes) = link.back_bytes {
        let _ = write!(totals, ", {} back", human_bytes(bytes));
    }
    if let Some(rate) = link.mean_bps {
        let _ = write!(totals, ", mean {}/s", human_bytes(rate));
    }
    if let Some(rate) = link.qemu_bps {
        let _ = write!(totals, " (QEMU reports {}/s)", human_bytes(rate));
    }
    let peak = link.peak_bps.map(|rate| format!("peak {}/s (over 100 ms)", human_bytes(rate)));
    let held = link.held_max_bytes.map(|bytes| format!("at most {} in flight", human_bytes(bytes)));
    let channels = link.channels.filter(|channels| *channels > 1);
    let channels = channels.map(|channels| format!("{channels} channels"));
    let maxima: Vec<String> = [peak, held, channels].into_iter().flatten().collect();
    std::iter::once(totals).chain((!maxima.is_empty()).then(|| maxima.join(", "))).collect()
}

/// Appends whether the guest's memory is intact, what it wrote, and how its application answered.
fn push_guest(lines: &mut LabelledLines, guest: &Guest) {
    lines.push("guest", format_integrity(guest));
    let rates = [
        ("before", guest.dirty_bps_before),
        ("during", guest.dirty_bps_during),
        ("after", guest.dirty_bps_after),
    ];
    let rates: Vec<String> = rates
        .into_iter()
        .filter_map(|(when, rate)| Some(format!("{}/s {when}", human_bytes(rate?))))
        .collect();
    if !rates.is_empty() {
        lines.push("", format!("dirtied {}", rates.join(", ")));
    }
    for text in guest.application.iter().flat_map(format_application) {
        lines.push("", text);
    }
}

fn format_integrity(guest: &Guest) -> String {
    let mut text = match guest.integrity {
        Integrity::Intact => "intact",
        Integrity::Corrupt => "CORRUPT",
        Integrity::Unknown => "memory not checked",
    }
    .to_owned();
    if let Some(pages) = guest.pages_checked {
        let _ = write!(text, ", {pages} pages checked");
    }
    if let Some(bad) = guest.bad_pages.filter(|bad| *bad > 0) {
        let _ = write!(text, ", {bad} wrong");
    }
    if let Some(gap) = guest.heartbeat_gap_us {
        let _ = write!(text, "; heartbeat gap {}", human_micros(gap));
    }
    text
}

/// Formats how often an application in the guest answered in each phase, and its longest gaps.
/// There is no line if the rate was not measured.
fn format_application(application: &Application) -> Vec<String> {
    let phases = [
        ("before", application.rps_before, application.longest_gap_before_us),
        ("during", application.rps_during, application.longest_gap_during_us),
        ("after", application.rps_after, application.longest_gap_after_us),
    ];
    let rates: Vec<String> = phases
        .iter()
        .filter_map(|(when, rate, _)| Some(format!("{}/s {when}", (*rate)?)))
        .collect();
    if rates.is_empty() {
        return Vec::new();
    }
    let gaps: Vec<String> = phases
        .iter()
        .filter_map(|(when, _, gap)| Some(format!("{} {when}", human_micros((*gap)?))))
        .collect();
    let wrong = match application.wrong_answers.filter(|wrong| *wrong > 0) {
        Some(wrong) => format!("; {wrong} answers WRONG"),
        None => String::new(),
    };
    let name = &application.name;
    vec![
        format!("{name} answered {}{wrong}", rates.join(", ")),
        format!("{name}'s longest gaps {}", gaps.join(", ")),
    ]
}

/// Formats the longest stalls of each phase: between heartbeats, and of the guest's memory
/// accesses.
fn format_brownout(brownout: &Brownout) -> Option<String> {
    let longest = |phases: &Phases| {
        let all = [
            ("before", phases.before),
            ("pre-copy", phases.precopy),
            ("post-copy", phases.postcopy),
            ("after", phases.after),
        ];
        let of = |(name, stalls): &(&str, Stalls)| {
            stalls.max_us.map(|us| format!("{} {name}", human_micros(us)))
        };
        all.iter().filter_map(of).collect::<Vec<_>>().join(", ")
    };
    let (beats, accesses) = (longest(&brownout.beats), longest(&brownout.accesses));
    let text = [("longest gap between heartbeats: ", beats), ("longest memory access: ", accesses)];
    let text: Vec<String> = text
        .into_iter()
        .filter(|(_, all)| !all.is_empty())
        .map(|(name, all)| format!("{name}{all}"))
        .collect();
    (!text.is_empty()).then(|| text.join("; "))
}

fn format_faults(faults: &Faults) -> Option<String> {
    let mut text = format!("{} pages requested", faults.count?);
    let mut add = |words: String| {
        let _ = write!(text, ", {words}");
    };
    if let Some(pushed) = faults.pushed {
        add(format!("{pushed} pushed"));
    }
    if let (Some(p50), Some(p99), Some(max)) = (faults.p50_us, faults.p99_us, faults.max_us) {
        add(format!(
            "p50 {}, p99 {}, max {}",
            human_micros(p50),
            human_micros(p99),
            human_micros(max)
        ));
    }
    if let Some(us) = faults.blocktime_us {
        add(format!("all vCPUs blocked for {}", human_micros(us)));
    }
    Some(text)
}

fn format_sampling(side: &str, sampled: &SampledSide) -> String {
    format!(
        "{side}: {} at {:.0} Hz, response time {} (p50), {} (p99), longest gap {}",
        sampled.samples,
        sampled.rate_hz,
        human_micros(sampled.rtt_p50_us),
        human_micros(sampled.rtt_p99_us),
        human_micros(sampled.longest_gap_us)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::testing::example_summary;

    #[test]
    fn the_summary_fits_on_one_screen() {
        let path = Path::new("runs/example");
        let screen = format_summary(&example_summary(), &[], &Timeline::default(), path);
        insta::assert_snapshot!(screen, @r"
completed by pre-copy
  QEMU        10.0.2 → 10.0.2, microvm, tcg, unix
              tcg: no KVM here
  blackout    4.71 ms (from STOP on the source to RESUME on the destination)
    views     events 4.71 ms, QEMU itself reports 2 ms
  total       312 ms = setup 1.20 ms + pre-copy 305 ms + switchover 4.71 ms
  transfer    94.1 MiB, of 256 MiB RAM, MIGRATION_PASS 4, mean 301 MiB/s
  link        94.4 MiB to the destination, 1.95 KiB back, mean 305 MiB/s (QEMU reports 301 MiB/s)
              peak 358 MiB/s (over 100 ms), at most 16.0 MiB in flight
  guest       intact, 16384 pages checked; heartbeat gap 5.60 ms
              dirtied 50.0 MiB/s before
              redis answered 1830/s before, 900/s during, 1790/s after
              redis's longest gaps 2.40 ms before, 11.2 ms during, 2.60 ms after
  sampling    source: 312 at 999 Hz, response time 141 µs (p50), 400 µs (p99), longest gap 2.10 ms
  check       FAILED: downtime.best.us > 1ms, the value is 4710
  warning     the machine is busy
  results     runs/example
");
    }
}

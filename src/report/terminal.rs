//! The summary on one screen, readable without colour.

use super::timeline::{Timeline, format_timeline};
use crate::record::{
    Application, Brownout, Convergence, Faults, Guest, Integrity, LinkView, Outcome, Phases,
    Recovery, SampledSide, Stalls, Summary, Switchover,
};
use crate::units::{human_bytes, human_micros};
use std::fmt::Write;
use std::path::Path;

/// Of a drawing.
const WIDTH: usize = 72;
/// `diagnose` shows all.
const REMEDIES: usize = 3;

/// What was done, the blackout, transfer, guest, and where the rest is.
#[must_use]
pub fn format_summary(
    run: &Summary,
    switchovers: &[Switchover],
    when: &Timeline,
    directory: &Path,
) -> String {
    let mut screen = String::new();
    let env = &run.environment;
    let outcome = match run.outcome {
        Outcome::Completed => run.reason.clone(),
        other => format!("{}: {}", other.name(), run.reason),
    };
    let mut line = |name: &str, text: String| {
        // Writing to a String does not fail.
        let _ = writeln!(screen, "  {name:<11} {text}");
    };
    let on = [env.machine.as_deref(), env.accelerator.as_deref()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    let on = if on.is_empty() { String::new() } else { format!("{on}, ") };
    let tls =
        env.tls.as_ref().map(|credentials| format!(", TLS ({credentials})")).unwrap_or_default();
    line(
        "QEMU",
        format!(
            "{} → {}, {on}{}{tls}",
            short(&env.source_qemu),
            short(&env.destination_qemu),
            env.transport
        ),
    );
    if let Some(reason) = env.accelerator_reason.as_ref().filter(|reason| *reason != "asked for") {
        line("", format!("{}: {reason}", env.accelerator.as_deref().unwrap_or_default()));
    }
    for (name, text) in super::blackout::lines(run, switchovers) {
        line(name, text);
    }
    line("total", time(run));
    if run.repeat.is_none() && when.done_us > 0 {
        for drawn in format_timeline(when, WIDTH).lines() {
            line("", drawn.to_owned());
        }
    }
    line("transfer", transfer(run));
    if let Some(text) = run.link.as_ref().and_then(link) {
        line("link", text);
    }
    for (name, text) in why(&run.convergence) {
        line(name, text);
    }
    line("guest", guest(&run.guest));
    let rates = dirty_rates(&run.guest);
    if !rates.is_empty() {
        line("", rates);
    }
    if let Some(text) = run.guest.application.as_ref().and_then(application) {
        line("", text);
    }
    if let Some(text) = brownout(&run.brownout) {
        line("brownout", text);
    }
    if let Some(text) = faults(&run.faults) {
        line("faults", text);
    }
    if let Some(text) = run.recovery.map(recovery) {
        line("recovery", text);
    }
    for (side, sampled) in
        [("source", run.sampling.source), ("destination", run.sampling.destination)]
    {
        if let Some(sampled) = sampled {
            line(if side == "source" { "sampling" } else { "" }, sampling(side, &sampled));
        }
    }
    for check in &run.checks {
        line(
            "check",
            format!(
                "{}: {} (is {})",
                if check.pass { "held" } else { "BROKEN" },
                check.name,
                check.actual
            ),
        );
    }
    for warning in &run.warnings {
        line("warning", warning.clone());
    }
    line("results", directory.display().to_string());
    format!("{outcome}\n{screen}")
}

fn short(version: &str) -> &str {
    version.split(' ').next().unwrap_or(version)
}

fn time(run: &Summary) -> String {
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

fn transfer(run: &Summary) -> String {
    let transfer = run.transfer;
    let Some(total) = transfer.total_bytes else { return "not known".to_owned() };
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

/// A post-copy that broke.
fn recovery(recovery: Recovery) -> String {
    let Recovery { attempts, recovered, paused_us } = recovery;
    let went_on =
        if recovered > 0 { "post-copy broke and was recovered" } else { "post-copy broke" };
    let paused =
        paused_us.map_or_else(String::new, |us| format!(", paused for {}", human_micros(us)));
    format!("{went_on}: {attempts} attempts{paused}")
}

/// Why it did not converge, and what would help.
fn why(convergence: &Convergence) -> Vec<(&'static str, String)> {
    let Some(verdict) = convergence.verdict.as_deref().filter(|verdict| *verdict != "converges")
    else {
        return Vec::new();
    };
    let mut text = verdict.replace('-', " ");
    let mut add = |figure: Option<u64>, words: &dyn Fn(String) -> String| {
        if let Some(figure) = figure {
            let _ = write!(text, ", {}", words(human_bytes(figure)));
        }
    };
    add(convergence.dirty_bps, &|rate| format!("the guest writes {rate}/s"));
    add(convergence.bandwidth_bps, &|rate| format!("{rate}/s are sent"));
    add(convergence.pending_floor_bytes, &|floor| format!("pending comes down to {floor}"));
    add(convergence.threshold_bytes, &|threshold| format!("must be below {threshold}"));
    let words = |remedy: &serde_json::Value, name: &str| {
        remedy[name].as_str().unwrap_or_default().to_owned()
    };
    let helps = convergence.remedies.iter().take(REMEDIES);
    let helps = helps.enumerate().map(|(index, remedy)| {
        (
            if index == 0 { "helps" } else { "" },
            format!("{} → {}", words(remedy, "setting"), words(remedy, "effect")),
        )
    });
    std::iter::once(("why", text)).chain(helps).collect()
}

/// What the link itself saw, with what QEMU says beside it.
fn link(link: &LinkView) -> Option<String> {
    let mut text = format!("{} to the destination", human_bytes(link.bytes?));
    let mut add = |figure: Option<u64>, words: &dyn Fn(String) -> String| {
        if let Some(figure) = figure {
            let _ = write!(text, "{}", words(human_bytes(figure)));
        }
    };
    add(link.back_bytes, &|bytes| format!(", {bytes} back"));
    add(link.mean_bps, &|rate| format!(", mean {rate}/s"));
    add(link.qemu_bps, &|rate| format!(" (QEMU says {rate}/s)"));
    add(link.peak_bps, &|rate| format!(", busiest 100 ms {rate}/s"));
    add(link.held_max_bytes, &|bytes| format!(", at most {bytes} on the way"));
    if let Some(channels) = link.channels.filter(|channels| *channels > 1) {
        let _ = write!(text, ", {channels} channels");
    }
    Some(text)
}

fn guest(guest: &Guest) -> String {
    let integrity = match guest.integrity {
        Integrity::Intact => "intact",
        Integrity::Corrupt => "CORRUPT",
        Integrity::Unknown => "memory not checked",
    };
    let mut text = integrity.to_owned();
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

fn dirty_rates(guest: &Guest) -> String {
    let rates = [
        ("before", guest.dirty_bps_before),
        ("during", guest.dirty_bps_during),
        ("after", guest.dirty_bps_after),
    ];
    let rates = rates
        .iter()
        .filter_map(|(when, rate)| rate.map(|rate| format!("{}/s {when}", human_bytes(rate))));
    let rates: Vec<String> = rates.collect();
    if rates.is_empty() { String::new() } else { format!("dirtied {}", rates.join(", ")) }
}

/// How often it answered in each phase, and how long it did not.
fn application(application: &Application) -> Option<String> {
    let phases = [
        ("before", application.rps_before, application.longest_gap_before_us),
        ("during", application.rps_during, application.longest_gap_during_us),
        ("after", application.rps_after, application.longest_gap_after_us),
    ];
    let rates: Vec<String> = phases
        .iter()
        .filter_map(|(when, rate, _)| Some(format!("{}/s {when}", (*rate)?)))
        .collect();
    let gaps: Vec<String> = phases
        .iter()
        .filter_map(|(when, _, gap)| Some(format!("{} {when}", human_micros((*gap)?))))
        .collect();
    let wrong = match application.wrong_answers.filter(|wrong| *wrong > 0) {
        Some(wrong) => format!("; {wrong} WRONG"),
        None => String::new(),
    };
    let seen = !rates.is_empty();
    seen.then(|| {
        format!(
            "{} answered {}; longest wait {}{wrong}",
            application.name,
            rates.join(", "),
            gaps.join(", ")
        )
    })
}

/// The longest stalls of each phase, the guest's beats as they came and its own accesses.
fn brownout(brownout: &Brownout) -> Option<String> {
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
    let text = [("longest between beats: ", beats), ("longest memory access: ", accesses)];
    let text: Vec<String> = text
        .into_iter()
        .filter(|(_, all)| !all.is_empty())
        .map(|(name, all)| format!("{name}{all}"))
        .collect();
    (!text.is_empty()).then(|| text.join("; "))
}

fn faults(faults: &Faults) -> Option<String> {
    let mut text = format!("{} pages asked for", faults.count?);
    let mut add = |words: String| {
        let _ = write!(text, ", {words}");
    };
    if let Some(pushed) = faults.pushed {
        add(format!("{pushed} came unasked"));
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

fn sampling(side: &str, sampled: &SampledSide) -> String {
    format!(
        "{side}: {} at {:.0} Hz, answered in {} (p50), {} (p99), longest gap {}",
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
    use crate::record::testing::example_summary;

    #[test]
    fn one_screen_tells_it_all() {
        insta::assert_snapshot!(format_summary(&example_summary(), &[], &Timeline::default(), Path::new("runs/example")), @r"
        completed by pre-copy
          QEMU        10.0.2 → 10.0.2, microvm, tcg, unix
                      tcg: no KVM here
          blackout    4.71 ms (STOP on the source to RESUME on the destination)
            views     events 4.71 ms, QEMU itself reports 2 ms
          total       312 ms = setup 1.20 ms + pre-copy 305 ms + switchover 4.71 ms
          transfer    94.1 MiB, of 256 MiB RAM, MIGRATION_PASS 4, mean 301 MiB/s
          link        94.4 MiB to the destination, 1.95 KiB back, mean 305 MiB/s (QEMU says 301 MiB/s), busiest 100 ms 358 MiB/s, at most 16.0 MiB on the way
          guest       intact, 16384 pages checked; heartbeat gap 5.60 ms
                      dirtied 50.0 MiB/s before
                      redis answered 1830/s before, 900/s during, 1790/s after; longest wait 2.40 ms before, 11.2 ms during, 2.60 ms after
          sampling    source: 312 at 999 Hz, answered in 141 µs (p50), 400 µs (p99), longest gap 2.10 ms
          check       BROKEN: downtime.best.us > 1ms (is 4710)
          warning     the machine is busy
          results     runs/example
        ");
    }
}

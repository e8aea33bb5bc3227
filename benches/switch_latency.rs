//! How quickly the driver starts post-copy: from the MIGRATION_PASS event that the rule waits for
//! to the STOP event of the source.
//!
//! Each measurement is a whole lab (`run::in_lab`, hybrid, transcript on), with each QEMU version.
//! All times are QEMU's own timestamps on the clock of this host, except for the two arrival times,
//! which this process takes. The latency has four parts:
//!
//! - event: from QEMU's MIGRATION_PASS to its arrival here;
//! - decide: from the arrival until `migrate-start-postcopy` is written to the socket. This is the
//!   part that our code determines;
//! - taken: from the command until QEMU's answer arrives here (QEMU's monitor reads one byte a
//!   system call: about 120 µs for these 44 bytes);
//! - stop: from the answer to QEMU's STOP event. It is negative if STOP was first.
//!
//! QEMU's migration thread checks for the request only between two iterations. An iteration sends
//! until the pass is empty, 50 ms are over, or the rate limit is reached (then the thread sleeps
//! for the rest of its window of 100 ms). The total latency therefore depends on the scenario, and
//! there are two:
//!
//! - short passes: the guest writes 512 KiB (newest: 1 MiB) as fast as it can, the rest of its
//!   memory is zero, there is no rate limit, and the downtime-limit is 1 ms. A zero page is sent as
//!   9 bytes. This keeps QEMU's estimate of the bandwidth low, and with it the size at which
//!   pre-copy would finish by itself: a few pages. A pass after the first takes some 100s of µs, so
//!   the migration thread checks all the time: this measures both directions fairly. The first
//!   pass must take longer than QEMU's window of 100 ms, which is why the memory is large: before
//!   the end of the window there is no estimate, and pre-copy finishes at once.
//! - long passes: the guest writes 64 MiB at random at 200 MiB/s against a limit of 100 MiB/s, as
//!   users have it. QEMU's window is 100 ms.
//!
//! Target: short passes, median ≤ 1 ms for each version. On a machine with few CPUs the guest often
//! does not run within a pass; then nothing is dirty and pre-copy finishes first. Such runs are
//! counted and left out, as there is no switchover in them.
//!
//! Options: `--switchovers N` per version (50), `--long N` (10), `--version V` for one version only
//! (7.2, 10.0, newest).

mod support;

use base::Side;
use record::{Integrity, Outcome, Run, TRANSCRIPT};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;
use support::stats::{median, quantile};
use support::{
    Arguments, Result, lab_run, machine, qemu_version, runtime, say, scenario, verdict,
    version_text,
};

const SHORT: [&str; 6] = [
    "mode=hybrid",
    "guest.rate=max",
    "limits.bandwidth=unlimited",
    "limits.downtime=1ms",
    "sampling.source=100Hz",
    "record.transcript=true",
];
const LONG: [&str; 6] = [
    "mode=hybrid",
    "guest.rate=200MiB/s",
    "limits.bandwidth=100MiB/s",
    "limits.downtime=10ms",
    "switch.after_pass=1",
    "record.transcript=true",
];
/// Version, and its memory, working set and pass. Since 11.x the bitmap is read every 50 to 100 ms,
/// so the pass that ends the first round over memory has no fixed number; by this one the passes
/// are short.
const VERSIONS: [(&str, [&str; 3]); 3] = [
    ("7.2", ["guest.memory=2GiB", "guest.working_set=512KiB", "switch.after_pass=1"]),
    ("10.0", ["guest.memory=2GiB", "guest.working_set=512KiB", "switch.after_pass=1"]),
    ("newest", ["guest.memory=1GiB", "guest.working_set=1MiB", "switch.after_pass=10"]),
];
/// So many runs for each switchover that is wanted, at most.
const TRIES: usize = 5;

/// One switchover, µs.
struct Split {
    event: f64,
    decide: f64,
    taken: f64,
    stop: f64,
    whole: f64,
}

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let (short, long) =
        (arguments.number("--switchovers", 50, 2)?, arguments.number("--long", 10, 1)?);
    let only = arguments.value("--version");
    say(
        "switch_latency: from MIGRATION_PASS leaving QEMU to STOP, when post-copy is asked for at \
            that pass",
    );
    say(&machine());
    for (version, more) in
        VERSIONS.into_iter().filter(|(version, _)| only.is_none_or(|only| only == *version))
    {
        let program = qemu_version(version)?;
        say("");
        say(&version_text(&program)?);
        say(
            "  µs, median (quartiles)         event             decide               taken         \
                             stop                     whole",
        );
        let settings: Vec<&str> = SHORT.into_iter().chain(more).collect();
        let splits = measure("short passes", &program, &settings, short)?;
        let _ = measure("long passes", &program, &LONG, long)?;
        if !splits.is_empty() {
            let whole: Vec<f64> = splits.iter().map(|split| split.whole).collect();
            let ours: Vec<f64> = splits.iter().map(|split| split.decide).collect();
            let figure = format!("{:.0} µs, n = {}", median(&whole), whole.len());
            verdict(
                "short passes: MIGRATION_PASS to STOP, median",
                &figure,
                "≤ 1 ms",
                median(&whole) <= 1000.0,
            );
            say(&format!("  of which ours (decide): {:.0} µs", median(&ours)));
        }
    }
    Ok(())
}

/// `wanted` switchovers, and a row about them.
fn measure(name: &str, program: &str, settings: &[&str], wanted: usize) -> Result<Vec<Split>> {
    let runtime = runtime()?;
    let mut splits = Vec::new();
    let (mut finished_first, mut broken) = (0, 0);
    for _ in 0..wanted * TRIES {
        let (finished, _directory) = lab_run(&runtime, scenario(program, settings)?)?;
        let summary = &finished.summary;
        if summary.outcome != Outcome::Completed || summary.guest.integrity != Integrity::Intact {
            broken += 1;
        }
        if summary.postcopy_happened {
            splits.push(split(&finished.path)?);
        } else {
            finished_first += 1;
        }
        if splits.len() == wanted {
            break;
        }
    }
    let cell = |get: fn(&Split) -> f64| {
        let values: Vec<f64> = splits.iter().map(get).collect();
        format!(
            "{:.0} ({:.0}, {:.0})",
            median(&values),
            quantile(&values, 0.25),
            quantile(&values, 0.75)
        )
    };
    let [event, decide, taken] = [cell(|s| s.event), cell(|s| s.decide), cell(|s| s.taken)];
    say(&format!(
        "  {name:<13} {event:>18} {decide:>18} {taken:>19} {:>25} {:>25}",
        cell(|s| s.stop),
        cell(|s| s.whole)
    ));
    if finished_first + broken > 0 {
        say(&format!(
            "      besides: {finished_first} finished by pre-copy first; {broken} did not complete \
                with the guest's memory intact"
        ));
    }
    Ok(splits)
}

/// Puts one switchover together from the record of its run.
fn split(path: &Path) -> Result<Split> {
    let run = Run::open(path);
    let sent = transcript(path, |record| {
        record["direction"] == "sent"
            && record["line"].as_str().is_some_and(|line| line.contains("migrate-start-postcopy"))
    })?;
    let id =
        serde_json::from_str::<Value>(sent["line"].as_str().unwrap_or_default())?["id"].clone();
    let answered = transcript(path, |record| {
        let line = || {
            serde_json::from_str::<Value>(record["line"].as_str().unwrap_or_default())
                .unwrap_or_default()
        };
        record["side"] == "source"
            && record["direction"] == "received"
            && record["mono_ns"].as_u64() > sent["mono_ns"].as_u64()
            && line()["id"] == id
    })?;
    let us = |record: &Value, clock: &str| {
        record[clock].as_f64().map(|ns| ns / 1e3).ok_or("a time is missing in the transcript")
    };
    let events = run.events()?;
    // The pass that was decided on: the last that arrived before the command went out.
    let sent_mono_us = us(&sent, "mono_ns")?;
    let at_source = || events.iter().filter(|event| event.side == Side::Source);
    let pass = at_source()
        .rfind(|event| event.pass().is_some() && event.mono_ns as f64 / 1e3 <= sent_mono_us);
    let stop = at_source().find(|event| event.event == "STOP");
    let (Some(pass), Some(stop)) = (pass, stop) else {
        return Err("no MIGRATION_PASS or no STOP".into());
    };
    let (Some(pass_us), Some(stop_us)) = (pass.qemu_us, stop.qemu_us) else {
        return Err("an event without QEMU's time".into());
    };

    // Both clocks were read together when the command went out, so arrivals can be put on the wall
    // clock.
    let sent_us = us(&sent, "wall_ns")?;
    let arrived_us = pass.mono_ns as f64 / 1e3 - sent_mono_us + sent_us;
    let answered_us = us(&answered, "wall_ns")?;
    Ok(Split {
        event: arrived_us - pass_us as f64,
        decide: sent_us - arrived_us,
        taken: answered_us - sent_us,
        stop: stop_us as f64 - answered_us,
        whole: stop_us as f64 - pass_us as f64,
    })
}

/// The first record of the transcript that fits.
fn transcript(path: &Path, fits: impl Fn(&Value) -> bool) -> Result<Value> {
    let lines =
        BufReader::new(zstd::Decoder::new(std::fs::File::open(path.join(TRANSCRIPT))?)?).lines();
    let mut records = lines
        .map_while(std::result::Result::ok)
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    records.find(|record| fits(record)).ok_or_else(|| "a line is missing in the transcript".into())
}

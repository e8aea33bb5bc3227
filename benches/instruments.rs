//! What our instruments cost what they measure, and how many switchovers a minute they get.
//!
//! - The heartbeat: the guest's write rate with a beat each 100 µs against one a second, flat out
//!   and at the default rate; in turn.
//! - Traces: the median blackout (by heartbeat) with and without, in short series in turn.
//! - The pace of a series, by pre-copy and by post-copy.
//!
//! Targets: 100 µs heartbeat ≤ 2 % of the write rate; traces ≤ 0.5 ms of the median blackout; ≥ 600
//! switchovers a minute.
//!
//! `--pairs N` (12), `--seconds S` (1), `--repeat N` (100).

mod support;

use base::clock::monotonic_ns;
use lab::{Accelerator, Lab};
use record::{Outcome, RunDir};
use scenario::Accel;
use std::process::ExitCode;
use std::time::Duration;
use support::stats::{median, median_interval, with_interval};
use support::{
    Arguments, Result, lab_run, machine, qemu_program, runtime, say, scenario, verdict,
    version_text,
};

const SERIES: [&str; 3] =
    ["guest.memory=128MiB", "guest.working_set=16MiB", "limits.bandwidth=unlimited"];

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let (pairs, seconds) =
        (arguments.number("--pairs", 12, 1)?, arguments.number("--seconds", 1, 1)?);
    let repeat = arguments.number("--repeat", 100, 6)?;
    let program = qemu_program()?;
    say(&format!("instruments: what measuring costs; {}", version_text(&program)?));
    say(&machine());
    for rate in ["max", "50MiB/s"] {
        heartbeat(&program, rate, pairs, seconds)?;
    }
    traces(&program, pairs)?;
    for mode in ["precopy", "postcopy"] {
        for working_set in ["4MiB", "16MiB"] {
            pace(&program, mode, working_set, repeat)?;
        }
    }
    Ok(())
}

fn heartbeat(program: &str, rate: &str, pairs: usize, seconds: usize) -> Result<()> {
    let mut lost = Vec::new();
    for pair in 0..pairs {
        let mut rates = [0.0; 2];
        for at in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            rates[at] = write_rate(program, rate, ["1s", "100us"][at], seconds)?;
        }
        lost.push((1.0 - rates[1] / rates[0]) * 100.0);
    }
    let figure = format!("{} %", with_interval(&lost, 2));
    verdict(
        &format!("heartbeat at 100 µs, guest.rate = {rate}: writes lost"),
        &figure,
        "≤ 2 %",
        median(&lost) <= 2.0,
    );
    Ok(())
}

/// Writes a second of a guest that is left alone.
fn write_rate(program: &str, rate: &str, period: &str, seconds: usize) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let record = RunDir::create(&directory.path().join("run"), "", false)?;
    let scenario =
        scenario(program, &[&format!("guest.rate={rate}"), &format!("guest.heartbeat={period}")])?;
    let accelerator = Accelerator { kind: Accel::Tcg, reason: "the benchmark's".to_owned() };
    let measured = runtime()?.block_on(async {
        let mut lab =
            Lab::start(&scenario, accelerator, &record.sink(), record.path(), false).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (first, began_ns) =
            (lab.source.console().ok_or("no console")?.status().await?, monotonic_ns());
        tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
        let (last, ended_ns) =
            (lab.source.console().ok_or("no console")?.status().await?, monotonic_ns());
        lab.stop().await;
        Ok::<_, Box<dyn std::error::Error>>(
            (last.writes - first.writes) as f64 * 1e9 / (ended_ns - began_ns) as f64,
        )
    });
    record.discard();
    measured
}

fn traces(program: &str, pairs: usize) -> Result<()> {
    let runtime = runtime()?;
    for mode in ["precopy", "postcopy"] {
        let mut added = Vec::new();
        for pair in 0..pairs {
            let mut medians = [0.0; 2];
            for at in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
                let more = [
                    format!("mode={mode}"),
                    format!("record.trace={}", at == 1),
                    "repeat=21".to_owned(),
                ];
                let settings: Vec<&str> =
                    SERIES.into_iter().chain(more.iter().map(String::as_str)).collect();
                let (finished, _directory) = lab_run(&runtime, scenario(program, &settings)?)?;
                let completed =
                    finished.switchovers.iter().filter(|line| line.outcome == Outcome::Completed);
                let values: Vec<f64> = completed
                    .filter_map(|l| l.downtime.views.heartbeat_us.map(|us| us as f64 / 1e3))
                    .collect();
                medians[at] = median(&values);
            }
            added.push(medians[1] - medians[0]);
        }
        let figure = format!("{} ms", with_interval(&added, 3));
        verdict(
            &format!("traces, {mode}: added to the median blackout"),
            &figure,
            "≤ 0.5 ms",
            median(&added).abs() <= 0.5,
        );
        let (low, high) = median_interval(&added);
        if high - low > 1.0 {
            say("    (the interval is wider than the target: more pairs, or a quieter machine, \
                    would tell)");
        }
    }
    Ok(())
}

fn pace(program: &str, mode: &str, working_set: &str, repeat: usize) -> Result<()> {
    let more = [
        format!("mode={mode}"),
        format!("repeat={repeat}"),
        format!("guest.working_set={working_set}"),
    ];
    let settings: Vec<&str> = SERIES.into_iter().chain(more.iter().map(String::as_str)).collect();
    let (finished, _directory) = lab_run(&runtime()?, scenario(program, &settings)?)?;
    let done = finished.summary.repeat.ok_or("no series")?;
    let a_minute = f64::from(done.completed) * 60e6 / done.elapsed_us as f64;
    let figure =
        format!("{a_minute:.0}, n = {} ({} by post-copy)", done.completed, done.by_postcopy);
    verdict(
        &format!("pace, {mode}, {working_set} working set: switchovers a minute"),
        &figure,
        "≥ 600",
        a_minute >= 600.0,
    );
    Ok(())
}

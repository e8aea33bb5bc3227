//! The pure parts that run once a sample or once an event, in ns each: plain loops, several
//! batches, the median batch. And `compare`, which runs once, but on many runs.
//!
//! Against: a sample flat out comes every 105 µs (QEMU's own time), so 1000 ns here are 1 % of
//! that; an event is decided on in `Machine::step`, which is all that stands between its arrival
//! and a command. Target: none is above 10 µs.
//!
//!   append_line       the sampler, every sample: its line for the record zstd              the
//!   record's writer, every sample: its share of packing and flushing a batch of 64 KiB
//!   MigrationInfo     the sampler, every 10 ms, and the conversion to Parquet, every sample:
//!   QEMU's answer parsed Machine::step     the driver, every event, sample and tick compare
//!      10,000 runs, half of them on each side, of 50 cells with 8 metrics, and its page: target <
//!   5 s
//!
//! `--loops N` a batch (200000), `--runs N` to compare (10000).

mod support;

use analysis::compare::{Pairing, SignificanceTest};
use analysis::{CompareOptions, Metric, MetricUnit, Row, Table, compare};
use base::Side;
use base::clock::{Stamp, monotonic_ns};
use base::units::Micros;
use migrate::drive::{Input, Machine};
use migrate::plan::{Listen, Plan, RecoveryRules, Settings, Stream};
use model::policy::{GiveUpWhen, SwitchWhen};
use qmp::{Event, MigrationInfo};
use record::{Outcome, append_line};
use scenario::{Hooks, Mode};
use serde_json::json;
use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use support::stats::{median, quantile};
use support::{Arguments, Result, machine, say, verdict};
use switchover_cli::report;

const ANSWER: &str = include_str!("support/query-migrate.json");
const BATCHES: usize = 9;

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let loops = arguments.number("--loops", 200_000, 2000)?;
    let answer = ANSWER.trim_end().replace('@', "123456789");
    let value = answer
        .strip_prefix("{\"return\": ")
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or("no answer")?;
    let info: MigrationInfo = serde_json::from_str(value)?;
    say(&format!(
        "pure: ns each; {BATCHES} batches of {loops}; the answer has {} bytes",
        answer.len()
    ));
    say(&machine());
    say("");

    let mut buffer = Vec::with_capacity(64 << 10);
    batches("append_line", loops, || {
        if buffer.len() > 60 << 10 {
            buffer.clear();
        }
        append_line(
            &mut buffer,
            Side::Source,
            123_456_789_012_345,
            123_456_789_112_345,
            7,
            black_box(answer.as_bytes()),
        );
    });
    let lines = batch(&answer);
    let mut encoder = zstd::Encoder::new(std::io::sink(), 1)?;
    let mut at = 0;
    batches("zstd, level 1, flushed every 64 KiB", loops, || {
        // Goes round the same lines, as the file's window is much larger than they are: real lines
        // are alike, too.
        at = (at + 1) % lines.len();
        let flushed = if at % 100 == 0 { encoder.flush() } else { Ok(()) };
        black_box(encoder.write_all(&lines[at]).and(flushed).is_ok());
    });
    batches("MigrationInfo from JSON", loops / 10, || {
        black_box(serde_json::from_str::<MigrationInfo>(black_box(value)).is_ok());
    });

    let mut machine = Machine::new(&plan());
    let _ = machine.step(&Input::Started, 1);
    let event = |name: &str, data| Event {
        name: name.to_owned(),
        data,
        qemu_us: Some(1),
        arrived: Stamp { mono_ns: 1, wall_ns: 1 },
    };
    let active = event("MIGRATION", json!({ "status": "active" }));
    let pass = event("MIGRATION_PASS", json!({ "pass": 3 }));
    let inputs = [
        ("Machine::step, MIGRATION", Input::Event(Side::Source, &active)),
        ("Machine::step, MIGRATION_PASS", Input::Event(Side::Source, &pass)),
        ("Machine::step, sample", Input::Sample(Side::Source, &info)),
        ("Machine::step, tick", Input::Tick),
    ];
    for (name, input) in inputs {
        batches(name, loops, || {
            black_box(machine.step(black_box(&input), 2));
        });
    }
    comparisons(arguments.number("--runs", 10_000, 1000)?);
    Ok(())
}

/// `compare` and its page, once each way.
fn comparisons(runs: usize) {
    let (a, b) = (table("a", runs / 2, 1), table("b", runs / 2, 2));
    for (name, pairing, test) in [
        ("compare, not paired", Pairing::Never, SignificanceTest::Ranks),
        ("compare, paired", Pairing::IfPossible, SignificanceTest::Ranks),
        ("compare, medians by permutation", Pairing::Never, SignificanceTest::Medians),
    ] {
        let began_ns = monotonic_ns();
        let comparison =
            compare(black_box(&a), black_box(&b), &CompareOptions { pairing, test, seed: 1 });
        let page = report::format_comparison(&comparison);
        let seconds = (monotonic_ns() - began_ns) as f64 / 1e9;
        black_box(page);
        verdict(
            &format!("{name}, {runs} runs"),
            &format!("{seconds:.2} s"),
            "< 5 s",
            seconds < 5.0,
        );
    }
}

/// Blackouts with two modes and whatever else, in µs.
fn table(name: &str, runs: usize, seed: u64) -> Table {
    const CELLS: usize = 50;
    const METRICS: usize = 8;
    let mut random = fastrand::Rng::with_seed(seed);
    let metric = |number: usize| Metric {
        name: format!("metric{number}.us"),
        label: format!("metric {number}"),
        unit: MetricUnit::Us,
    };
    let row = |number: usize| {
        let mut value = |_| {
            let center = if random.f64() < 0.3 { 43_000.0 } else { 4000.0 };
            Some((center * (0.5 + random.f64() + random.f64())).round())
        };
        let values = (0..METRICS).map(&mut value).collect();
        let (cell, pair) = ((number % CELLS).to_string(), Some((number / CELLS).to_string()));
        Row { cell, pair, outcome: Outcome::Completed, values }
    };
    Table {
        name: name.to_owned(),
        metrics: (0..METRICS).map(metric).collect(),
        rows: (0..runs).map(row).collect(),
    }
}

/// Lines of samples with counters that move.
fn batch(answer: &str) -> Vec<Vec<u8>> {
    let line = |number: u64| {
        let mut line = Vec::new();
        let answer = answer.replace("123456789", &(100_000_000 + number * 4137).to_string());
        append_line(
            &mut line,
            Side::Source,
            123_456_789_012_345 + number * 105_123,
            123_456_789_117_000 + number * 105_123,
            7,
            answer.as_bytes(),
        );
        line
    };
    (0..20_000).map(line).collect()
}

fn batches(name: &str, loops: usize, mut once: impl FnMut()) {
    let mut batch = || {
        let began_ns = monotonic_ns();
        for _ in 0..loops {
            once();
        }
        (monotonic_ns() - began_ns) as f64 / loops as f64
    };
    let _warm = batch();
    let times: Vec<f64> = (0..BATCHES).map(|_| batch()).collect();
    let figure = format!("{:.0} ns (least {:.0})", median(&times), quantile(&times, 0.0));
    verdict(name, &figure, "≤ 10 µs", median(&times) <= 10_000.0);
}

/// A pre-copy that goes on for ever.
fn plan() -> Plan {
    Plan {
        mode: Mode::Hybrid,
        source: Settings::default(),
        destination: Settings::default(),
        listen: Listen::Already,
        stream: Stream::default(),
        switch: SwitchWhen::AfterPass(1000),
        finish: SwitchWhen::Never,
        downtime_limit: Micros(0),
        give_up: GiveUpWhen { passes: Some(10_000), bytes: None, after: Micros(60_000_000) },
        cancel_is_guarded: true,
        return_path: true,
        recovery: RecoveryRules {
            attempts: 5,
            backoff: Micros(500_000),
            stalled_after: Micros(60_000_000),
        },
        hooks: Hooks::default(),
        tls: None,
        confirms: false,
    }
}

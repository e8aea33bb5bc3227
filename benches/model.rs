//! The model of QEMU's loop against QEMU: whether it converges, total time, bytes, and the
//! expected-downtime of what does not; the textbook's model beside it. And how fast both are.
//!
//! Targets: verdict right in ≥ 95 % away from the boundary; total time and bytes within 10 % at the
//! median and 25 % at p90; expected-downtime within 5 % at the median; ≥ 100,000 predictions a
//! second. Every verdict that is wrong is listed.
//!
//! `--version V` (all three), `--loops N` (200000).

mod support;

use analysis::{diagnose, observed};
use base::Side;
use base::clock::monotonic_ns;
use model::{Setup, boundaries, judge, predict, textbook};
use record::{Entry, Outcome, Run, RunDir, SAMPLES_STREAM, append_line};
use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use support::stats::quantile;
use support::{
    Arguments, Result, lab_run, machine, qemu_version, runtime, say, scenario, verdict,
    version_text,
};

/// Within this of the boundary either may happen.
const NEAR: f64 = 0.05;
const FLEET: usize = 10_000;
const SAMPLES: u64 = 1_000_000;
const COMMON: [&str; 4] =
    ["guest.memory=160MiB", "timeout=6s", "sampling.source=500Hz", "sampling.destination=off"];

/// Pattern, working set and rate in MiB, limit in ms, and where the bandwidth comes from.
fn cells() -> Vec<Vec<String>> {
    let mut cells = Vec::new();
    let mut add = |pattern: &str, set: u32, rate: &str, limit_ms: u32, way: &str| {
        let words = format!(
            "guest.pattern={pattern} guest.working_set={set}MiB guest.rate={rate} \
                limits.downtime={limit_ms}ms {way}"
        );
        cells.push(words.split(' ').map(str::to_owned).collect());
    };
    let capped = "limits.bandwidth=100MiB/s";
    for rate in ["40MiB/s", "90MiB/s", "115MiB/s", "150MiB/s", "200MiB/s"] {
        for (set, limit_ms) in [(100, 300), (64, 100), (64, 500)] {
            add("random", set, rate, limit_ms, capped);
        }
    }
    for (set, rate) in [
        (24, "400MiB/s"),
        (28, "400MiB/s"),
        (34, "400MiB/s"),
        (60, "400MiB/s"),
        (60, "80MiB/s"),
        (60, "120MiB/s"),
    ] {
        add("sequential", set, rate, 300, capped);
    }
    for rate in ["60MiB/s", "120MiB/s", "250MiB/s"] {
        add("hot-cold", 100, rate, 300, capped);
        add("zipf", 100, rate, 300, capped);
    }
    for (preset, scale) in [("local", 10), ("dublin", 10), ("halifax", 5)] {
        for rate in ["30MiB/s", "200MiB/s"] {
            add(
                "random",
                64,
                rate,
                300,
                &format!("limits.bandwidth=unlimited link.preset={preset} link.scale={scale}"),
            );
        }
    }
    cells
}

/// How far off both models were.
#[derive(Default)]
struct Errors {
    verdicts: usize,
    right: usize,
    total: Vec<f64>,
    bytes: Vec<f64>,
    expected: Vec<f64>,
}

impl Errors {
    fn say(&self, name: &str) {
        let percent = |found: &[f64], q: f64| quantile(found, q) * 100.0;
        let share = self.right as f64 / self.verdicts.max(1) as f64;
        verdict(
            &format!("{name}: verdict right away from the boundary"),
            &format!("{} of {}", self.right, self.verdicts),
            "≥ 95 %",
            share >= 0.95,
        );
        for (what, found) in [("total time", &self.total), ("bytes", &self.bytes)] {
            let (median, p90) = (percent(found, 0.5), percent(found, 0.9));
            let figure = format!("{median:.1} %, {p90:.1} % (n = {})", found.len());
            verdict(
                &format!("{name}: {what} off, p50, p90"),
                &figure,
                "≤ 10, ≤ 25 %",
                median <= 10.0 && p90 <= 25.0,
            );
        }
        let median = percent(&self.expected, 0.5);
        let figure = format!(
            "{median:.1} %, p90 {:.1} % (n = {})",
            percent(&self.expected, 0.9),
            self.expected.len()
        );
        verdict(&format!("{name}: expected-downtime off, p50"), &figure, "≤ 5 %", median <= 5.0);
    }
}

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let only = arguments.value("--version");
    say("model: what the model of QEMU's loop says, against QEMU");
    say(&machine());
    speed(arguments.number("--loops", 200_000, 1000)?);
    large_run()?;
    let (mut ours, mut textbooks) = (Errors::default(), Errors::default());
    for version in ["7.2", "10.0", "newest"]
        .into_iter()
        .filter(|version| only.is_none_or(|only| only == *version))
    {
        let program = qemu_version(version)?;
        say(&format!("{version}: {}", version_text(&program)?));
        for cell in cells().iter().take(if arguments.quick { 2 } else { usize::MAX }) {
            compare(&program, cell, &mut ours, &mut textbooks)?;
        }
    }
    ours.say("model");
    textbooks.say("textbook");
    Ok(())
}

fn compare(
    program: &str,
    cell: &[String],
    ours: &mut Errors,
    textbooks: &mut Errors,
) -> Result<()> {
    let settings: Vec<&str> = COMMON.into_iter().chain(cell.iter().map(String::as_str)).collect();
    let scenario = scenario(program, &settings)?;
    let setup = Setup::of_scenario(&scenario);
    let (predicted, simple) = (predict(&setup), textbook(&setup));
    let patient = predict(&Setup { timeout: 600.0, ..setup.clone() });
    let (finished, directory) = lab_run(&runtime()?, scenario)?;
    let summary = &finished.summary;
    let converged = summary.outcome == Outcome::Completed;
    let near = boundaries(&setup)
        .rate
        .is_some_and(|highest| (setup.workload.rate() / highest - 1.0).abs() < NEAR);
    let seen_total = summary.time_us.total.unwrap_or(0) as f64 / 1e6;
    let seen_bytes = summary.transfer.total_bytes.unwrap_or(0) as f64;
    let off = |predicted: f64, seen: f64| (predicted / seen.max(1e-9) - 1.0).abs();
    for (errors, converges, total, bytes) in [
        (&mut *ours, predicted.converges, predicted.total, predicted.bytes),
        (&mut *textbooks, simple.converges, simple.total, simple.bytes),
    ] {
        if !near {
            errors.verdicts += 1;
            errors.right += usize::from(converges == converged);
        }
        if converges && converged {
            errors.total.push(off(total, seen_total));
            errors.bytes.push(off(bytes, seen_bytes));
        }
    }
    let mut note = String::new();
    if !converged && !patient.converges {
        let seen = observed(&Run::open(&finished.path))?;
        if let Some(expected) = seen.expected_downtime.filter(|seconds| *seconds > 0.0) {
            ours.expected.push(off(predicted.expected_downtime, expected));
            textbooks.expected.push(off(simple.expected_downtime, expected));
            note = format!(
                "  expected-downtime {:.0} ms, predicted {:.0}",
                expected * 1e3,
                predicted.expected_downtime * 1e3
            );
        }
    }
    drop(directory);
    let wrong = match (converged == predicted.converges, near) {
        (true, _) => "",
        (false, true) => "  (near the boundary)",
        (false, false) => "  WRONG",
    };
    let said = if converged {
        format!("{seen_total:.2} s, {:.0} MiB", seen_bytes / 1_048_576.0)
    } else {
        "stuck".to_owned()
    };
    let foretold = if predicted.converges {
        format!("{:.2} s, {:.0} MiB", predicted.total, predicted.bytes / 1_048_576.0)
    } else {
        "stuck".to_owned()
    };
    say(&format!("    {said:>18} predicted {foretold:>18}{wrong}{note}   {}", cell.join(" ")));
    Ok(())
}

fn speed(loops: usize) {
    let setups: Vec<Setup> = cells()
        .iter()
        .filter_map(|cell| {
            scenario("qemu", &cell.iter().map(String::as_str).collect::<Vec<_>>()).ok()
        })
        .map(|scenario| Setup::of_scenario(&scenario))
        .collect();
    let began_ns = monotonic_ns();
    for setup in setups.iter().cycle().take(loops) {
        black_box(predict(black_box(setup)));
    }
    let seconds = (monotonic_ns() - began_ns) as f64 / 1e9;
    let rate = loops as f64 / seconds;
    verdict(
        "predictions a second, one core",
        &format!("{rate:.0}"),
        "≥ 100,000",
        rate >= 100_000.0,
    );
    let vms: Vec<Setup> = (0..FLEET)
        .filter_map(|number| Some(vm(setups.get(number % setups.len())?, number)))
        .collect();
    let began_ns = monotonic_ns();
    let stuck = vms.iter().filter(|setup| !judge(black_box(setup)).prediction.converges).count();
    let seconds = (monotonic_ns() - began_ns) as f64 / 1e9;
    let figure = format!("{seconds:.2} s ({stuck} do not converge)");
    verdict("10,000 VMs with boundaries and remedies, one core", &figure, "< 1 s", seconds < 1.0);
}

/// No two alike.
fn vm(setup: &Setup, number: usize) -> Setup {
    let factor = 0.3 + 2.0 * number as f64 / FLEET as f64;
    Setup { workload: setup.workload.faster(factor), ..setup.clone() }
}

/// `diagnose` on a million samples, of a run that is whole and of one that was cut off.
fn large_run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("run");
    let scenario = scenario("qemu", &["limits.bandwidth=100MiB/s"])?;
    let record = RunDir::create(&path, &scenario.to_toml(), false)?;
    let cut = directory.path().join("cut");
    std::fs::create_dir(&cut)?;
    let mut stream = zstd::Encoder::new(std::fs::File::create(cut.join(SAMPLES_STREAM))?, 1)?;
    let mut lines = Vec::new();
    for sample in 0..SAMPLES {
        // 100 samples a pass of 200 ms; 64 MiB of which all but 20 MiB are sent in each.
        let (at_ns, sent, pass) = (sample * 2_000_000, sample * 209_715, sample / 100);
        let remaining = (64 << 20) - (sample % 100) * 209_715;
        let answer = format!(
            "{{\"return\": {{\"expected-downtime\": 640, \"status\": \"active\", \
             \"setup-time\": 1, \"total-time\": {}, \"ram\": {{\"total\": 268435456, \
             \"postcopy-requests\": 0, \"dirty-sync-count\": {pass}, \
             \"multifd-bytes\": 0, \"pages-per-second\": 25600, \"downtime-bytes\": 0, \
             \"page-size\": 4096, \"remaining\": {remaining}, \"postcopy-bytes\": 0, \
             \"mbps\": 838.1, \"transferred\": {sent}, \
             \"dirty-sync-missed-zero-copy\": 0, \"precopy-bytes\": {sent}, \
             \"duplicate\": 48000, \"dirty-pages-rate\": 20000, \
             \"normal-bytes\": {sent}, \"normal\": {}}}}}}}",
            at_ns / 1_000_000,
            sent / 4096
        );
        append_line(&mut lines, Side::Source, at_ns, at_ns + 100_000, pass, answer.as_bytes());
        if lines.len() > 64 << 10 || sample + 1 == SAMPLES {
            stream.write_all(&lines)?;
            record.sink().give_and_wait(Entry::Samples(std::mem::take(&mut lines)));
        }
    }
    drop((record.close(|_| {})?, stream.finish()?));
    for (name, path) in [("whole", &path), ("cut off", &cut)] {
        let began_ns = monotonic_ns();
        let found = diagnose(&Run::open(path), &scenario)?;
        let seconds = (monotonic_ns() - began_ns) as f64 / 1e9;
        let figure = format!("{seconds:.2} s ({})", found.judgement.verdict.name());
        verdict(&format!("diagnose 1,000,000 samples, {name}"), &figure, "< 2 s", seconds < 2.0);
    }
    Ok(())
}

//! What a campaign costs besides its migrations, and how many of guestperf's scenarios it makes in
//! an hour.
//!
//! First part, a campaign of pre-copy with the micro-guest (64 MiB, 16 MiB written at 20 MiB/s),
//! with a fresh guest for each run and with ten runs a guest: time from the first visit to the end,
//! less the migrations' own total time, by run. That takes in two QEMUs, the guest's start and
//! warm-up, what it is asked before and after, the record and the results. Second part, guestperf's
//! comparisons (`fixtures/campaigns/guestperf`, without those that need KVM), each a few times:
//! runs in an hour, of those that QEMU's own guestperf would make of the same migrations. It sleeps
//! 14 s before and 14 s after each (engine.py), and the rest of a scenario took it 0.35 s besides
//! its migration (measured: 22.8 s with sleeps of 11 s and a migration of 0.45 s); so the same
//! migrations are counted for it at 28.35 s more each. That flatters it: it takes no guest below 1
//! GiB, whose migrations last sixteen times as long; what it would be with those is printed too:
//! reckoned, or, with `--own-size`, measured, each once at its full size (half an hour).
//!
//! Targets: ≤ 0.5 s a run; ≥ 50 × guestperf.
//!
//! `--runs N` a kind (20), `--repeats N` of each of guestperf's scenarios (10), `--own-size`.

mod support;

use analysis::{RunRow, RunStatus};
use base::units::{Bytes, Micros};
use migrate::drive::Interrupt;
use record::Outcome;
use scenario::Scenario;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use support::stats::median;
use support::{Arguments, Result, machine, qemu_program, runtime, say, verdict, version_text};
use switchover::campaign::definition::Overrides;
use switchover::campaign::{Definition, SweepOptions, SweepOutcome, sweep};

/// What guestperf adds to a migration, s.
const GUESTPERF: f64 = 28.35;
/// Its smallest guest, of ours.
const GUESTPERF_SIZE: u32 = 16;
const GUESTPERF_CAMPAIGNS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/campaigns/guestperf");
const SMALL: &str = "keep = \"none\"\n[set]\nguest.memory = \"64MiB\"\nguest.working_set = \
    \"16MiB\"\nguest.rate = \"20MiB/s\"\n";

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let runs = u32::try_from(arguments.number("--runs", 20, 4)?)?;
    let repeats = u32::try_from(arguments.number("--repeats", 10, 1)?)?;
    let program = qemu_program()?;
    say(&format!(
        "campaign: what is not migration; guestperf's comparisons; {}",
        version_text(&program)?
    ));
    say(&machine());
    say("");
    for together in [1, 10] {
        overhead(&program, runs, together)?;
    }
    if repeats > 0 {
        guestperf(&program, repeats, arguments.has("--own-size"))?;
    }
    Ok(())
}

fn overhead(program: &str, runs: u32, together: u32) -> Result<()> {
    let text = format!("repeats = {runs}\ntogether = {together}\n{SMALL}");
    let definition =
        Definition::from_toml("bench", "bench", Path::new("."), &text, &overrides(program, None))?;
    let swept = made(&definition)?;
    let total: f64 = swept.rows.iter().filter_map(|row| seconds_of(row, "time_us.total")).sum();
    let each = (swept.seconds - total) / f64::from(runs);
    let name = if together == 1 { "a fresh guest each" } else { "ten a guest" };
    let seen = format!("{each:.3} s ({:.2} s in all, {:.2} s of migrations)", swept.seconds, total);
    verdict(
        &format!("besides a run's migration, {name}, n = {runs}"),
        &seen,
        "≤ 0.5 s",
        each <= 0.5,
    );
    Ok(())
}

fn guestperf(program: &str, repeats: u32, own_size: bool) -> Result<()> {
    say("");
    say(
        "  comparison                   runs  completed   total s (median)   in all s   runs/hour  \
             of guestperf's",
    );
    let (mut ours, mut theirs, mut full, mut count) = (0.0, 0.0, 0.0, 0.0);
    for file in files()? {
        let definition = Definition::from_file(&file, &overrides(program, Some(repeats)))?;
        let ran = Ran::of(&definition)?;
        let (hourly, times) =
            (ran.count * 3600.0 / ran.seconds, ran.by_guestperf(1.0) / ran.seconds);
        ran.say(&definition, &definition.name, &format!("{hourly:>11.0} {times:>13.1} ×"));
        (ours, theirs, count) =
            (ours + ran.seconds, theirs + ran.by_guestperf(1.0), count + ran.count);
        full += if own_size {
            at_own_size(&file, program)? * ran.count
        } else {
            ran.by_guestperf(f64::from(GUESTPERF_SIZE))
        };
    }
    let times = theirs / ours;
    let seen = format!("{times:.1} × ({count} runs in {ours:.0} s)");
    verdict("runs in an hour, of guestperf's", &seen, "≥ 50 ×", times >= 50.0);
    let how = if own_size { "measured" } else { "reckoned" };
    say(&format!("  … with its own smallest guest, {how}: {:.1} ×", full / ours));
    Ok(())
}

/// Runs each scenario once as large as guestperf has it: the seconds that it would take for one of
/// them.
fn at_own_size(file: &Path, program: &str) -> Result<f64> {
    let mut definition = Definition::from_file(file, &overrides(program, Some(1)))?;
    definition.together = 1;
    for cell in &mut definition.cells {
        enlarge(&mut cell.scenario)?;
    }
    let ran = Ran::of(&definition)?;
    let each = ran.by_guestperf(1.0) / ran.count;
    ran.say(
        &definition,
        &format!("… of {GUESTPERF_SIZE} times the size"),
        &format!("{:>11.0} for guestperf", 3600.0 / each),
    );
    Ok(each)
}

/// A campaign that was made.
struct Ran {
    /// Those that began.
    rows: Vec<RunRow>,
    count: f64,
    /// How long each migration took, s, however it ended.
    took: Vec<f64>,
    /// All of it, s.
    seconds: f64,
}

impl Ran {
    fn of(definition: &Definition) -> Result<Ran> {
        let SweepOutcome { mut rows, seconds, .. } = made(definition)?;
        rows.retain(|row| row.status != RunStatus::NotStarted);
        let took: Vec<f64> =
            rows.iter().filter_map(|row| seconds_of(row, "time_us.ended")).collect();
        let count = f64::from(u32::try_from(took.len())?);
        Ok(Ran { rows, count, took, seconds })
    }

    /// What guestperf would take for the same, s, if each migration lasted so many times as long.
    fn by_guestperf(&self, times: f64) -> f64 {
        self.took.iter().map(|took| took * times + GUESTPERF).sum()
    }

    fn say(&self, definition: &Definition, name: &str, rates: &str) {
        let completed = self
            .rows
            .iter()
            .filter(|row| row.status == RunStatus::Migrated(Outcome::Completed))
            .count();
        let (count, typical, seconds) = (self.rows.len(), median(&self.took), self.seconds);
        say(&format!(
            "  {name:<26} {count:>6} {completed:>10} {typical:>18.2} {seconds:>10.1} {rates}"
        ));
        say_unfinished(definition, &self.rows);
    }
}

/// Which cells have runs that did not complete: whether the size is similar shows there.
fn say_unfinished(definition: &Definition, began: &[RunRow]) {
    for cell in &definition.cells {
        let of_cell = || began.iter().filter(|row| row.cell == cell.number);
        let completed =
            of_cell().filter(|row| row.status == RunStatus::Migrated(Outcome::Completed)).count();
        if let Some(reason) = of_cell()
            .find(|row| row.status != RunStatus::Migrated(Outcome::Completed))
            .map(|row| &row.reason)
        {
            say(&format!(
                "      {} completed {completed} of {}: {reason}",
                cell.name(),
                of_cell().count()
            ));
        }
    }
}

/// What `fixtures/scenarios/guestperf.toml` and the cells have scaled down, at its full size.
fn enlarge(scenario: &mut Scenario) -> Result<()> {
    let times = u64::from(GUESTPERF_SIZE);
    // More than that QEMU does not take (`MAX_MIGRATE_DOWNTIME`).
    const MOST: Micros = Micros(2_000_000_000);
    scenario.guest.memory.0 *= times;
    scenario.guest.working_set.0 *= times;
    scenario.timeout.0 *= times;
    scenario.limits.downtime =
        scenario.limits.downtime.map(|limit| Micros(limit.0 * times).min(MOST));
    scenario.give_up.after = scenario.give_up.after.map(|after| Micros(after.0 * times));
    if let Some(size) = scenario.parameters.get_mut("xbzrle-cache-size") {
        let bytes: Bytes = size.as_str().ok_or("the cache's size is no text")?.parse()?;
        *size = i64::try_from(bytes.0 * times)?.into();
    }
    Ok(())
}

/// Those that run under TCG.
fn files() -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(GUESTPERF_CAMPAIGNS)? {
        files.push(entry?.path());
    }
    files.retain(|file| {
        file.extension().is_some_and(|kind| kind == "toml")
            && !file.to_string_lossy().contains("dirty-limit")
    });
    files.sort();
    Ok(files)
}

fn overrides(program: &str, repeats: Option<u32>) -> Overrides {
    Overrides {
        repeats,
        seed: None,
        set: vec![format!("qemu.source={program}"), "qemu.accel=tcg".to_owned()],
    }
}

fn seconds_of(row: &RunRow, name: &str) -> Option<f64> {
    row.value(name).map(|us| us / 1e6)
}

fn made(definition: &Definition) -> Result<SweepOutcome> {
    let place = tempfile::tempdir()?;
    let options = SweepOptions {
        out: place.path().join("campaign"),
        resume: false,
        shard: None,
        interrupt: Interrupt::never(),
        on_visit: Box::new(|_| {}),
        progress: Box::new(|| Box::new(|_| {})),
    };
    Ok(runtime()?.block_on(sweep(definition, options))?)
}

//! How long one waits: for a pair of QEMUs with a beating guest, and for a whole run of the
//! command.
//!
//! First part, `Lab::start` for each machine type in turn, in rounds: `boot` is the lab's own
//! figure, from just before the first QEMU is spawned to the first heartbeat; `ready` is from the
//! call to the return, which includes filling the working set. Second part, the command itself,
//! from spawning it to its end (the summary is its last word): `run --accel tcg`, and `run`, where
//! `auto` first tries a guest under KVM if there is a /dev/kvm. Third part, the first again with
//! the Linux guest, if qemu-scripts/linux-guest has built it; `ready` then takes in a micro-guest
//! that is started before it, to measure the TSC.
//!
//! Targets: boot ≤ 250 ms for each machine, median; a whole default run ≤ 3 s, median. None for
//! Linux.
//!
//! `--starts N` a machine (15), `--runs N` a kind (7), `--linux N` a machine (10).

mod support;

use base::clock::monotonic_ns;
use lab::{Accelerator, Lab};
use record::{Run, RunDir};
use scenario::Accel;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use support::stats::{median, quantile};
use support::{
    Arguments, Result, machine, qemu_program, runtime, say, scenario, verdict, version_text,
};

const LINUX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/linux-guest");
const MACHINES: [&str; 3] = ["microvm", "q35", "pc"];
const COMMANDS: [(&str, &[&str]); 2] =
    [("run --accel tcg", &["--accel", "tcg"]), ("run (accel auto)", &[])];

fn main() -> ExitCode {
    support::main(run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let (starts, runs) = (arguments.number("--starts", 15, 2)?, arguments.number("--runs", 7, 1)?);
    let linux = arguments.number("--linux", 10, 1)?;
    let program = qemu_program()?;
    say(&format!("startup: of a lab and of the whole command; {}", version_text(&program)?));
    say(&machine());

    let micro = labs(&program, &[], starts)?;
    for (machine, times) in MACHINES.iter().zip(&micro).filter(|(_, times)| !times.is_empty()) {
        let boot = median(&times.iter().map(|(boot, _)| *boot).collect::<Vec<_>>());
        verdict(
            &format!("{machine}: start to first heartbeat"),
            &format!("{boot:.0} ms"),
            "≤ 250 ms",
            boot <= 250.0,
        );
    }
    if runs > 0 {
        commands(&program, runs)?;
    }
    if linux > 0 && Path::new(LINUX).exists() {
        labs(&program, &["guest.kind=linux", &format!("guest.linux={LINUX}")], linux)?;
    } else if linux > 0 {
        say("  no Linux guest: qemu-scripts/linux-guest builds one");
    }
    Ok(())
}

/// Labs on each machine in turn; boot and ready, ms.
fn labs(program: &str, settings: &[&str], starts: usize) -> Result<[Vec<(f64, f64)>; 3]> {
    let mut labs: [Vec<(f64, f64)>; 3] = Default::default();
    for round in 0..starts {
        for at in 0..MACHINES.len() {
            let at = (at + round) % MACHINES.len();
            labs[at].push(start(program, MACHINES[at], settings)?);
        }
    }
    if starts > 0 {
        say("");
        say(&format!(
            "  ms, median (quartiles), n = {starts}      boot                    ready      {}",
            settings.join(" ")
        ));
        for (machine, times) in MACHINES.iter().zip(&labs) {
            let (boot, ready): (Vec<f64>, Vec<f64>) = times.iter().copied().unzip();
            say(&format!("  {machine:<24} {:>22} {:>24}", spread(&boot), spread(&ready)));
        }
    }
    Ok(labs)
}

fn commands(program: &str, runs: usize) -> Result<()> {
    let mut wholes: [Vec<[f64; 3]>; 2] = Default::default();
    for round in 0..runs {
        for at in 0..COMMANDS.len() {
            let at = (at + round) % COMMANDS.len();
            wholes[at].push(whole(program, COMMANDS[at].1)?);
        }
    }
    say("");
    say(&format!(
        "  ms, median (quartiles), n = {runs}         whole       of it: boot         the migration"
    ));
    for ((name, _), times) in COMMANDS.iter().zip(&wholes) {
        let column = |at: usize| spread(&times.iter().map(|time| time[at]).collect::<Vec<_>>());
        say(&format!("  {name:<20} {:>20} {:>18} {:>21}", column(0), column(1), column(2)));
    }
    for ((name, _), times) in COMMANDS.iter().zip(&wholes) {
        let whole = median(&times.iter().map(|time| time[0] / 1e3).collect::<Vec<_>>());
        verdict(
            &format!("{name}: start to summary"),
            &format!("{whole:.2} s"),
            "≤ 3 s",
            whole <= 3.0,
        );
    }
    Ok(())
}

fn spread(values: &[f64]) -> String {
    format!("{:.0} ({:.0}, {:.0})", median(values), quantile(values, 0.25), quantile(values, 0.75))
}

/// One lab: boot and ready, ms.
fn start(program: &str, machine: &str, settings: &[&str]) -> Result<(f64, f64)> {
    let directory = tempfile::tempdir()?;
    let record = RunDir::create(&directory.path().join("run"), "", false)?;
    let machine = format!("qemu.machine={machine}");
    let scenario = scenario(program, &[&[machine.as_str()], settings].concat())?;
    let accelerator = Accelerator { kind: Accel::Tcg, reason: "the benchmark's".to_owned() };
    let times = runtime()?.block_on(async {
        let began_ns = monotonic_ns();
        let lab = Lab::start(&scenario, accelerator, &record.sink(), record.path(), false).await?;
        let ready = (monotonic_ns() - began_ns) as f64 / 1e6;
        let boot = lab.boot.unwrap_or_default().as_secs_f64() * 1e3;
        lab.stop().await;
        Ok::<_, Box<dyn std::error::Error>>((boot, ready))
    });
    record.discard();
    times
}

/// One run of the command: all of it, boot, migration; ms.
fn whole(program: &str, accel: &[&str]) -> Result<[f64; 3]> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("run");
    let began_ns = monotonic_ns();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchover"));
    let output = command
        .arg("run")
        .args(["--qemu", program, "--out"])
        .arg(&out)
        .args(accel)
        .stdin(Stdio::null())
        .output()?;
    let whole = (monotonic_ns() - began_ns) as f64 / 1e6;
    if !output.status.success() {
        return Err(format!(
            "switchover run: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    let summary = Run::open(&out).summary()?;
    let ms = |us: Option<u64>| us.map_or(f64::NAN, |us| us as f64 / 1e3);
    Ok([whole, ms(summary.guest.boot_us), ms(summary.time_us.total)])
}

//! What the benchmarks share: arguments, medians with their intervals, tables, and QEMUs to
//! measure.
#![expect(dead_code, reason = "each benchmark uses a part")]

pub(crate) mod memory;
pub(crate) mod qemu;
pub(crate) mod stats;

use migrate::drive::Interrupt;
use scenario::{Loader, Scenario};
use std::process::{Command, ExitCode};
use switchover::run::{Finished, Options, in_lab};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What a benchmark was started with.
pub(crate) struct Arguments {
    /// Small numbers, to see that it runs.
    pub(crate) quick: bool,
    words: Vec<String>,
}

impl Arguments {
    /// `--quick`, `--NAME VALUE`; `--bench` is cargo's and means nothing.
    fn read() -> Arguments {
        let words: Vec<String> =
            std::env::args().skip(1).filter(|word| word != "--bench").collect();
        Arguments { quick: words.iter().any(|word| word == "--quick"), words }
    }

    /// Whether `name` is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.words.iter().any(|word| word == name)
    }

    /// The word after `name`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == name)?;
        self.words.get(at + 1).map(String::as_str)
    }

    /// The number after `name`, or else one of the two.
    pub(crate) fn number(&self, name: &str, usual: usize, quick: usize) -> Result<usize> {
        match self.value(name) {
            Some(text) => text.parse().map_err(|_| format!("{name} {text}: not a number").into()),
            None => Ok(if self.quick { quick } else { usual }),
        }
    }
}

/// Runs a benchmark. It fails only if it cannot run: a target that is missed is a line of its
/// output.
pub(crate) fn main(run: impl FnOnce(&Arguments) -> Result<()>) -> ExitCode {
    match run(&Arguments::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            say(&format!("could not run: {text}"));
            ExitCode::FAILURE
        }
    }
}

/// A line of the result.
pub(crate) fn say(line: &str) {
    #[expect(clippy::print_stdout, reason = "what a benchmark prints is its result")]
    {
        println!("{line}");
    }
}

/// A line with a figure, its target, and whether that was met.
pub(crate) fn verdict(what: &str, figure: &str, target: &str, met: bool) {
    say(&format!(
        "  {what:<44} {figure:>22}   target {target:<16} {}",
        if met { "met" } else { "MISSED" }
    ));
}

/// What the figures were made on.
pub(crate) fn machine() -> String {
    let file = |name: &str| std::fs::read_to_string(name).unwrap_or_default().trim().to_owned();
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load: Vec<String> =
        file("/proc/loadavg").split(' ').take(3).map(ToOwned::to_owned).collect();
    format!(
        "machine: {cpus} CPUs, Linux {}, load {}",
        file("/proc/sys/kernel/osrelease"),
        load.join(" ")
    )
}

/// The program of `SWITCHOVER_BENCH_QEMU`, or else the one that `qemu-scripts/qemu 10.0` unpacks.
pub(crate) fn qemu_program() -> Result<String> {
    match std::env::var("SWITCHOVER_BENCH_QEMU") {
        Ok(program) => Ok(program),
        Err(_) => qemu_version("10.0"),
    }
}

/// What `qemu-scripts/qemu VERSION` unpacks.
pub(crate) fn qemu_version(version: &str) -> Result<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/qemu-scripts/qemu");
    let output = Command::new(script).arg(version).output()?;
    if !output.status.success() {
        return Err(format!(
            "{script} {version}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
        .into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The first line of `--version`.
pub(crate) fn version_text(program: &str) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

/// A scenario on one QEMU under TCG, from `table.key=value` settings.
pub(crate) fn scenario(program: &str, settings: &[&str]) -> Result<Scenario> {
    let mut loader = Loader::new();
    loader.set_value("qemu.source", program)?.set("qemu.accel=tcg")?;
    for setting in settings {
        loader.set(setting)?;
    }
    Ok(loader.load()?)
}

/// One run in a lab, recorded in a directory that goes with the result.
pub(crate) fn lab_run(
    runtime: &tokio::runtime::Runtime,
    scenario: Scenario,
) -> Result<(Finished, tempfile::TempDir)> {
    let directory = tempfile::tempdir()?;
    let out = Some(directory.path().join("run"));
    let options =
        Options { scenario, out, interrupt: Interrupt::never(), progress: Box::new(|_| ()) };
    Ok((runtime.block_on(in_lab(options))?, directory))
}

/// As the command has it.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

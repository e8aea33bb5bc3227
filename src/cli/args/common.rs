//! The flags that several subcommands share, and how they become a scenario: defaults first, then
//! the scenario file, then the flags.

use base::units::{Limit, Micros, SampleRate};
use clap::{Args, ValueEnum};
use record::Outcome;
use scenario::{Loader, Scenario, ScenarioError};
use std::path::PathBuf;
use std::str::FromStr;

/// The flags of a lab: two QEMUs that this program starts.
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    /// QEMU program of both sides [default: qemu-system-x86_64].
    #[arg(long, value_name = "PROGRAM")]
    qemu: Option<String>,
    /// QEMU program of the source, instead of --qemu.
    #[arg(long, value_name = "PROGRAM")]
    source_qemu: Option<String>,
    /// QEMU program of the destination, instead of --qemu.
    #[arg(long, value_name = "PROGRAM")]
    destination_qemu: Option<String>,
    /// Accelerator [default: auto, which is KVM where a test guest runs under it, else TCG].
    #[arg(long, value_enum)]
    accel: Option<AccelArg>,
}

/// A flag that was given, the scenario key that it sets, and its value.
pub(super) struct Setting {
    flag: &'static str,
    pub(super) key: &'static str,
    pub(super) text: String,
}

impl LabArgs {
    pub(super) fn settings(&self) -> Vec<Setting> {
        let side = |flag: &'static str, program: &Option<String>| match program {
            Some(program) => (flag, Some(program.clone())),
            None => ("--qemu", self.qemu.clone()),
        };
        let (source_flag, source) = side("--source-qemu", &self.source_qemu);
        let (destination_flag, destination) = side("--destination-qemu", &self.destination_qemu);
        given([
            (source_flag, "qemu.source", source),
            (destination_flag, "qemu.destination", destination),
            ("--accel", "qemu.accel", self.accel.map(value_name)),
        ])
    }
}

/// The settings whose flags were given.
fn given<const N: usize>(all: [(&'static str, &'static str, Option<String>); N]) -> Vec<Setting> {
    all.into_iter()
        .filter_map(|(flag, key, text)| Some(Setting { flag, key, text: text? }))
        .collect()
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccelArg {
    Auto,
    Tcg,
    Kvm,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    Precopy,
    Postcopy,
    Hybrid,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TransportArg {
    Auto,
    Owned,
    Unix,
    Tcp,
    Fd,
    Exec,
    File,
}

/// The outcomes that `--expect` accepts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OutcomeArg {
    Completed,
    NotConverged,
    Cancelled,
    Failed,
    Lost,
}

/// The flags of every migration.
#[derive(Clone, Debug, Args)]
pub(crate) struct CommonArgs {
    /// When memory moves: before the switchover, after it, or both [default: precopy].
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// With --mode hybrid: start post-copy after this many passes [default: 1].
    #[arg(long, value_name = "N")]
    after_pass: Option<u32>,
    /// Migration URI (tcp:HOST:PORT, unix:PATH, ...). Required if the QEMUs are on different hosts.
    #[arg(long)]
    uri: Option<String>,
    /// How the migration stream is transported if there is no --uri [default: auto, which is a TCP
    /// socket that switchover opens, with Nagle's algorithm off].
    #[arg(long, value_enum)]
    transport: Option<TransportArg>,
    /// QEMU's downtime-limit, such as 300ms [default: QEMU's].
    #[arg(long, value_name = "TIME", value_parser = checked::<Micros>)]
    downtime_limit: Option<String>,
    /// QEMU's max-bandwidth, such as 100MiB/s or unlimited [default: QEMU's].
    #[arg(long, value_name = "RATE", value_parser = checked::<Limit>)]
    max_bandwidth: Option<String>,
    /// Set a migration capability by QEMU's name, such as --cap xbzrle=on. May be repeated.
    #[arg(long, value_name = "NAME=on|off")]
    cap: Vec<String>,
    /// Set a migration parameter by QEMU's name, such as --param multifd-channels=4. May be
    /// repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// How often the source is sampled, such as 1kHz. A plain number is in Hz [default: 1kHz].
    #[arg(long, value_name = "HZ|max|off", value_parser = checked_sample_rate)]
    sample_rate: Option<String>,
    /// Cancel if not finished after TIME; the guest keeps running on the source. Post-copy is never
    /// cancelled [default: 60s; with `attach`, no timeout].
    #[arg(long, value_name = "TIME", value_parser = checked::<Micros>)]
    timeout: Option<String>,
    /// Set a scenario key, such as --set guest.rate=10MiB/s. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Migrate the guest N times, each time to a fresh destination, and show the distribution
    /// [default: 1].
    #[arg(long, value_name = "N")]
    repeat: Option<u32>,
    /// Run directory to create [default: a new one below ./runs].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Exit with 4 if EXPR is true of run.json, such as 'downtime.best.us > 300ms'. May be
    /// repeated.
    #[arg(long, value_name = "EXPR")]
    pub(crate) fail_if: Vec<String>,
    /// Exit with 0 if this is the outcome, and with 4 if it is another.
    #[arg(long, value_enum, value_name = "OUTCOME")]
    pub(crate) expect: Option<OutcomeArg>,
    /// Print the resulting scenario, and do nothing else.
    #[arg(long)]
    pub(crate) print_scenario: bool,
    /// Print JSON (the content of run.json) on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

impl CommonArgs {
    fn settings(&self) -> Vec<Setting> {
        given([
            ("--mode", "mode", self.mode.map(value_name)),
            ("--uri", "uri", self.uri.clone()),
            ("--transport", "transport", self.transport.map(value_name)),
            ("--downtime-limit", "limits.downtime", self.downtime_limit.clone()),
            ("--max-bandwidth", "limits.bandwidth", self.max_bandwidth.clone()),
            ("--sample-rate", "sampling.source", self.sample_rate.clone()),
            ("--timeout", "timeout", self.timeout.clone()),
        ])
    }

    /// Sets the scenario keys of the flags that were given.
    fn set_keys(&self, loader: &mut Loader) -> Result<(), ScenarioError> {
        set_texts(loader, self.settings())?;
        if let Some(passes) = self.after_pass {
            let flag = format!("--after-pass {passes}");
            loader.set_by_flag(&flag, "switch.after_pass", i64::from(passes))?;
        }
        if let Some(repeat) = self.repeat {
            loader.set_by_flag(&format!("--repeat {repeat}"), "repeat", i64::from(repeat))?;
        }
        for capability in &self.cap {
            let (name, state) = capability.split_once('=').unwrap_or((capability, "on"));
            let state = match state {
                "on" | "true" => true.into(),
                "off" | "false" => false.into(),
                // The loader refuses it and says what it accepts.
                other => toml::Value::from(other),
            };
            let flag = format!("--cap {capability}");
            loader.set_by_flag(&flag, &format!("capabilities.{name}"), state)?;
        }
        for parameter in &self.param {
            loader.set_assignment(&format!("--param {parameter}"), "parameters.", parameter)?;
        }
        for assignment in &self.set {
            loader.set(assignment)?;
        }
        Ok(())
    }
}

fn set_texts(loader: &mut Loader, settings: Vec<Setting>) -> Result<(), ScenarioError> {
    for Setting { flag, key, text } in settings {
        loader.set_by_flag(&format!("{flag} {text}"), key, text)?;
    }
    Ok(())
}

/// Parses a value only to refuse a bad one: clap's error then names the flag. The scenario loader
/// parses the text again, together with the file's.
fn checked<T: FromStr>(text: &str) -> Result<String, T::Err> {
    text.parse::<T>().map(|_| text.to_owned())
}

/// As [`checked`]; a number without a unit is in Hz.
fn checked_sample_rate(text: &str) -> Result<String, <SampleRate as FromStr>::Err> {
    if text.chars().all(|c| c.is_ascii_digit()) {
        checked::<SampleRate>(&format!("{text}Hz"))
    } else {
        checked::<SampleRate>(text)
    }
}

impl OutcomeArg {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            OutcomeArg::Completed => Outcome::Completed,
            OutcomeArg::NotConverged => Outcome::NotConverged,
            OutcomeArg::Cancelled => Outcome::Cancelled,
            OutcomeArg::Failed => Outcome::Failed,
            OutcomeArg::Lost => Outcome::Lost,
        }
    }
}

/// The name of a value, which is the same on the command line and in a scenario.
fn value_name<T: ValueEnum>(value: T) -> String {
    let value = value.to_possible_value().expect("no value is hidden from the command line");
    value.get_name().to_owned()
}

/// Loads a scenario: the defaults, then the file, then the flags.
pub(crate) fn load_scenario(
    file: Option<&PathBuf>,
    lab: Option<&LabArgs>,
    common: Option<&CommonArgs>,
) -> Result<Scenario, ScenarioError> {
    load_scenario_over(Loader::new(), file, lab, common)
}

/// As [`load_scenario`], over what `loader` holds already.
pub(crate) fn load_scenario_over(
    mut loader: Loader,
    file: Option<&PathBuf>,
    lab: Option<&LabArgs>,
    common: Option<&CommonArgs>,
) -> Result<Scenario, ScenarioError> {
    if let Some(file) = file {
        loader.file(file)?;
    }
    if let Some(lab) = lab {
        set_texts(&mut loader, lab.settings())?;
    }
    if let Some(common) = common {
        common.set_keys(&mut loader)?;
    }
    loader.load()
}

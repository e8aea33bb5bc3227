//! What labs and migrations have in common, and how it becomes a scenario: defaults, then a file, then flags.

use clap::{Args, ValueEnum};
use std::path::PathBuf;
use switchover::record::Outcome;
use switchover::scenario::{Loader, Scenario, ScenarioError};

/// What only a lab has.
#[derive(Debug, Args)]
pub(in crate::cli) struct LabArgs {
    /// QEMU of both sides.
    #[arg(long, value_name = "PROGRAM")]
    qemu: Option<String>,
    /// QEMU of the source.
    #[arg(long, value_name = "PROGRAM")]
    source_qemu: Option<String>,
    /// QEMU of the destination.
    #[arg(long, value_name = "PROGRAM")]
    destination_qemu: Option<String>,
    /// Accelerator; auto is KVM if a guest really runs under it.
    #[arg(long, value_enum)]
    accel: Option<AccelArg>,
}

impl LabArgs {
    /// Keys of the scenario, and what was given for them.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("qemu.source", self.source_qemu.clone().or_else(|| self.qemu.clone())),
            ("qemu.destination", self.destination_qemu.clone().or_else(|| self.qemu.clone())),
            ("qemu.accel", self.accel.map(name)),
        ];
        all.into_iter().filter_map(|(key, text)| Some((key, text?))).collect()
    }
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

/// Outcomes that can be expected.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum OutcomeArg {
    Completed,
    NotConverged,
    Cancelled,
    Failed,
    Lost,
}

/// What all migrations have.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct CommonArgs {
    /// How memory moves.
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// Hybrid: start post-copy after so many passes.
    #[arg(long, value_name = "N")]
    after_pass: Option<u32>,
    /// Migration URI (tcp:HOST:PORT, unix:PATH ...); needed between hosts.
    #[arg(long)]
    uri: Option<String>,
    /// What the stream goes through where no URI says it; auto is a TCP socket of ours with Nagle's algorithm off.
    #[arg(long, value_enum)]
    transport: Option<TransportArg>,
    /// QEMU's downtime-limit, such as 300ms.
    #[arg(long, value_name = "TIME")]
    downtime_limit: Option<String>,
    /// QEMU's max-bandwidth, such as 100MiB/s or unlimited.
    #[arg(long, value_name = "RATE")]
    max_bandwidth: Option<String>,
    /// Any capability by QEMU's name: --cap xbzrle=on.
    #[arg(long, value_name = "NAME=on|off")]
    cap: Vec<String>,
    /// Any parameter by QEMU's name: --param multifd-channels=4.
    #[arg(long, value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// How often the source is asked: 1kHz, max, off.
    #[arg(long, value_name = "HZ|max|off")]
    sample_rate: Option<String>,
    /// Then give up; the guest stays on the source.
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// Any scenario key: --set guest.rate=10MiB/s.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Migrate the guest so many times, on to a fresh destination each time: a distribution.
    #[arg(long, value_name = "N")]
    repeat: Option<u32>,
    /// The run directory; a fresh one under ./runs unless given.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Exit with 4 if this is true of run.json: 'downtime.best.us > 300ms'.
    #[arg(long, value_name = "EXPR")]
    pub(in crate::cli) fail_if: Vec<String>,
    /// Exit with 0 for this outcome and with 4 for others.
    #[arg(long, value_enum, value_name = "OUTCOME")]
    pub(in crate::cli) expect: Option<OutcomeArg>,
    /// Print the scenario as resolved, and do nothing.
    #[arg(long)]
    pub(in crate::cli) print_scenario: bool,
    /// Print run.json on stdout.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl OutcomeArg {
    pub(in crate::cli) fn outcome(self) -> Outcome {
        match self {
            OutcomeArg::Completed => Outcome::Completed,
            OutcomeArg::NotConverged => Outcome::NotConverged,
            OutcomeArg::Cancelled => Outcome::Cancelled,
            OutcomeArg::Failed => Outcome::Failed,
            OutcomeArg::Lost => Outcome::Lost,
        }
    }
}

/// The name of a choice, as the scenario spells it.
fn name<T: ValueEnum>(choice: T) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Defaults, then the file, then the flags.
pub(in crate::cli) fn scenario(
    file: Option<&PathBuf>,
    lab: Option<&LabArgs>,
    common: Option<&CommonArgs>,
) -> Result<Scenario, ScenarioError> {
    scenario_over(Loader::new(), file, lab, common)
}

/// The same over what is loaded already.
pub(in crate::cli) fn scenario_over(
    mut loader: Loader,
    file: Option<&PathBuf>,
    lab: Option<&LabArgs>,
    common: Option<&CommonArgs>,
) -> Result<Scenario, ScenarioError> {
    if let Some(file) = file {
        loader.file(file)?;
    }
    let mut texts: Vec<(&str, Option<String>)> = Vec::new();
    for (key, text) in lab.map(LabArgs::settings).unwrap_or_default() {
        texts.push((key, Some(text)));
    }
    if let Some(common) = common {
        texts.push(("mode", common.mode.map(name)));
        texts.push(("uri", common.uri.clone()));
        texts.push(("transport", common.transport.map(name)));
        texts.push(("limits.downtime", common.downtime_limit.clone()));
        texts.push(("limits.bandwidth", common.max_bandwidth.clone()));
        texts.push(("sampling.source", common.sample_rate.clone().map(with_hertz)));
        texts.push(("timeout", common.timeout.clone()));
    }
    for (key, text) in texts {
        if let Some(text) = text {
            loader.set_text(key, text)?;
        }
    }
    if let Some(common) = common {
        if let Some(passes) = common.after_pass {
            loader.set_value("switch.after_pass", i64::from(passes))?;
        }
        if let Some(repeat) = common.repeat {
            loader.set_value("repeat", i64::from(repeat))?;
        }
        for capability in &common.cap {
            let (name, state) = capability.split_once('=').unwrap_or((capability, "on"));
            let state = match state {
                "on" | "true" => true.into(),
                "off" | "false" => false.into(),
                // Left for the loader to refuse, in its words.
                other => toml::Value::from(other),
            };
            loader.set_value(&format!("capabilities.{name}"), state)?;
        }
        for parameter in &common.param {
            loader.set(&format!("parameters.{parameter}"))?;
        }
        for assignment in &common.set {
            loader.set(assignment)?;
        }
    }
    loader.load()
}

/// `--sample-rate 1000` means Hz, as its name says.
fn with_hertz(text: String) -> String {
    if text.chars().all(|c| c.is_ascii_digit()) { format!("{text}Hz") } else { text }
}

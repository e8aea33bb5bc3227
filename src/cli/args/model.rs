//! The arguments of `inspect`, `diagnose`, `simulate`, `predict` and `capture`.

use super::common::{CommonArgs, load_scenario};
use clap::Args;
use std::path::PathBuf;
use switchover::qmp::Endpoint;
use switchover::scenario::{Scenario, ScenarioError};
use switchover::units::{Micros, Rate};

#[derive(Debug, Args)]
pub(in crate::cli) struct InspectArgs {
    /// QMP socket of one QEMU, or of two to compare: unix:PATH, tcp:HOST:PORT or
    /// ssh:[USER@]HOST:PATH.
    #[arg(required = true, num_args = 1..=2, value_name = "QMP")]
    pub(in crate::cli) endpoints: Vec<Endpoint>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DiagnoseArgs {
    /// Run directory, of a run that is finished or still going on.
    pub(in crate::cli) run: PathBuf,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PredictArgs {
    /// QMP socket of the VM: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH. Settings that no
    /// flag gives are read from it.
    #[arg(long, value_name = "QMP")]
    pub(in crate::cli) source: Endpoint,
    /// Bandwidth of the network, such as 1GiB/s or 10Gbit/s.
    #[arg(long, value_name = "RATE")]
    pub(in crate::cli) bandwidth: Option<Rate>,
    /// After the prediction, migrate to --destination, and print the prediction beside the outcome.
    #[arg(long, requires = "destination")]
    pub(in crate::cli) verify: bool,
    /// QMP socket of the destination, for --verify.
    #[arg(long, value_name = "QMP")]
    pub(in crate::cli) destination: Option<Endpoint>,
    /// Scenario file (TOML, see docs/reference/scenario.md) for everything but the VM.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) scenario: Option<PathBuf>,
    /// How long to watch the VM if it is migrating already.
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    pub(in crate::cli) watch: Micros,
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CaptureArgs {
    /// QMP socket of the VM: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(in crate::cli) source: Endpoint,
    /// File to write the scenario to. Without it, the scenario goes to stdout.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Divide all sizes and rates by K, for a VM that is larger than the lab.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(in crate::cli) scale: u32,
    /// Bandwidth of the network, such as 1GiB/s or 10Gbit/s.
    #[arg(long, value_name = "RATE")]
    pub(in crate::cli) bandwidth: Option<Rate>,
    /// How long to watch the VM if it is migrating already.
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    pub(in crate::cli) watch: Micros,
    /// Set a scenario key in the result, such as --set timeout=20s. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(in crate::cli) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateArgs {
    /// Scenario file (TOML, see docs/reference/scenario.md). Without one, the built-in scenario is used.
    scenario: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,
    /// Print one line for each value of a key: --sweep guest.rate=50MiB/s,100MiB/s,200MiB/s.
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = parse_sweep)]
    pub(in crate::cli) sweep: Option<(String, Vec<String>)>,
}

fn parse_sweep(text: &str) -> Result<(String, Vec<String>), String> {
    let (key, values) = text.split_once('=').ok_or("write KEY=VALUE,VALUE,…")?;
    Ok((key.to_owned(), values.split(',').map(str::to_owned).collect()))
}

impl SimulateArgs {
    /// The scenario, with one more `KEY=VALUE` if given.
    pub(in crate::cli) fn load_scenario(
        &self,
        setting: Option<&str>,
    ) -> Result<Scenario, ScenarioError> {
        let mut common = self.common.clone();
        common.set.extend(setting.map(str::to_owned));
        load_scenario(self.scenario.as_ref(), None, Some(&common))
    }
}

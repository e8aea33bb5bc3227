//! The arguments of `inspect`, `diagnose`, `simulate`, `predict` and `capture`.

use super::common::{CommonArgs, load_scenario};
use base::units::{Micros, Rate};
use clap::Args;
use qmp::Endpoint;
use scenario::{Scenario, ScenarioError};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// QMP socket of one QEMU, or of two to compare: unix:PATH, tcp:HOST:PORT or
    /// ssh:[USER@]HOST:PATH.
    #[arg(required = true, num_args = 1..=2, value_name = "QMP")]
    pub(crate) endpoints: Vec<Endpoint>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    /// Run directory, of a run that is finished or still going on.
    pub(crate) run: PathBuf,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// QMP socket of the VM: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH. Settings that no
    /// flag gives are read from it.
    #[arg(long, value_name = "QMP")]
    pub(crate) source: Endpoint,
    /// Bandwidth of the network, such as 1GiB/s or 10Gbit/s.
    #[arg(long, value_name = "RATE")]
    pub(crate) bandwidth: Option<Rate>,
    /// After the prediction, migrate to --destination, and print the prediction beside the outcome.
    #[arg(long, requires = "destination")]
    pub(crate) verify: bool,
    /// QMP socket of the destination, for --verify.
    #[arg(long, value_name = "QMP")]
    pub(crate) destination: Option<Endpoint>,
    /// Scenario file (TOML, see docs/reference/scenario.md) for everything but the VM.
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// How long to watch the VM if it is migrating already.
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    pub(crate) watch: Micros,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaptureArgs {
    /// QMP socket of the VM: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(crate) source: Endpoint,
    /// File to write the scenario to. Without it, the scenario goes to stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Divide all sizes and rates by K, for a VM that is larger than the lab.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) scale: u32,
    /// Bandwidth of the network, such as 1GiB/s or 10Gbit/s.
    #[arg(long, value_name = "RATE")]
    pub(crate) bandwidth: Option<Rate>,
    /// How long to watch the VM if it is migrating already.
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    pub(crate) watch: Micros,
    /// Set a scenario key in the result, such as --set timeout=20s. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Scenario file (TOML, see docs/reference/scenario.md). Without one, the built-in scenario is
    /// used.
    scenario: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Print one line for each value of a key: --sweep guest.rate=50MiB/s,100MiB/s,200MiB/s.
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = parse_sweep)]
    pub(crate) sweep: Option<(String, Vec<String>)>,
}

fn parse_sweep(text: &str) -> Result<(String, Vec<String>), String> {
    let (key, values) = text.split_once('=').ok_or("write KEY=VALUE,VALUE,…")?;
    Ok((key.to_owned(), values.split(',').map(str::to_owned).collect()))
}

impl SimulateArgs {
    /// The scenario, with one more `KEY=VALUE` if given.
    pub(crate) fn load_scenario(&self, setting: Option<&str>) -> Result<Scenario, ScenarioError> {
        let mut common = self.common.clone();
        common.set.extend(setting.map(str::to_owned));
        load_scenario(self.scenario.as_ref(), None, Some(&common))
    }
}

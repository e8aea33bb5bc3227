//! The arguments of `run`, `migrate` and `attach`.

use super::common::{CommonArgs, LabArgs, load_scenario_over};
use super::own_guest::OwnGuestArgs;
use clap::Args;
use qmp::Endpoint;
use scenario::{Loader, Scenario, ScenarioError};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Scenario file (TOML, see docs/reference/scenario.md). Without one, the built-in scenario is
    /// used.
    scenario: Option<PathBuf>,
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    own_guest: OwnGuestArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl RunArgs {
    pub(crate) fn load_scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut loader = Loader::new();
        if let Some(file) = &self.scenario {
            loader.file(file)?;
        }
        self.own_guest.set_keys(&mut loader)?;
        load_scenario_over(loader, None, Some(&self.lab), Some(&self.common))
    }
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Scenario file (TOML, see docs/reference/scenario.md) for everything but the QEMUs
    /// themselves.
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// QMP socket of the source: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(crate) source: Endpoint,
    /// QMP socket of the destination, which was started with the source's options and
    /// `-incoming defer`.
    #[arg(long, value_name = "QMP")]
    pub(crate) destination: Endpoint,
    /// Second QMP socket of the source, used only for sampling.
    #[arg(long, value_name = "QMP")]
    pub(crate) source_sampling: Option<Endpoint>,
    /// Second QMP socket of the destination, used only for sampling.
    #[arg(long, value_name = "QMP")]
    pub(crate) destination_sampling: Option<Endpoint>,
    /// Trace file of the source (its -D option, with -msg timestamp=on). The traces of both sides
    /// show the parts of the blackout, from QEMU 8.2 on.
    #[arg(long, value_name = "FILE")]
    pub(crate) source_trace: Option<PathBuf>,
    /// Trace file of the destination (its -D option, with -msg timestamp=on).
    #[arg(long, value_name = "FILE")]
    pub(crate) destination_trace: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// QMP socket of the source: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(crate) source: Endpoint,
    /// QMP socket of the destination.
    #[arg(long, value_name = "QMP")]
    pub(crate) destination: Endpoint,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl AttachArgs {
    /// The scenario, practically without a timeout unless the user asks for one: somebody else
    /// started this migration.
    pub(crate) fn load_scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut loader = Loader::new();
        loader.set_value("timeout", "1000h")?;
        load_scenario_over(loader, None, None, Some(&self.common))
    }
}

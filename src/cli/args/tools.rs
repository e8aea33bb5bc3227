//! The arguments of `link`, `credentials` and `doctor`.

use super::common::LabArgs;
use clap::Args;
use std::path::PathBuf;
use switchover::scenario::{Loader, Scenario, ScenarioError};
use switchover::sockets::Address;

#[derive(Debug, Args)]
pub(in crate::cli) struct LinkArgs {
    /// Scenario file (TOML, see docs/reference/scenario.md), of which only [link] is used.
    scenario: Option<PathBuf>,
    /// Address to listen on: unix:PATH or tcp:HOST:PORT. Port 0 selects a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) listen: Address,
    /// Address to forward each connection to: unix:PATH or tcp:HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) connect: Address,
    /// Set a key of the link, such as --set link.preset=halifax. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON on stdout: the address at the start, and the forwarded bytes at the end.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl LinkArgs {
    /// The scenario that holds the link.
    pub(in crate::cli) fn load_scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut loader = Loader::new();
        if let Some(file) = &self.scenario {
            loader.file(file)?;
        }
        for assignment in &self.set {
            loader.set(assignment)?;
        }
        loader.load()
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CredentialsArgs {
    /// Directory to write to. It must be new or empty.
    pub(in crate::cli) directory: PathBuf,
    /// Name or address of the destination's host, as the migration URI or tls.hostname gives it.
    /// The certificate is always valid for localhost. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) host: Vec<String>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorArgs {
    #[command(flatten)]
    pub(in crate::cli) lab: LabArgs,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

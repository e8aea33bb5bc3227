//! The arguments of `link`, `credentials` and `doctor`.

use super::common::LabArgs;
use clap::Args;
use migrate::sockets::Address;
use scenario::{Loader, Scenario, ScenarioError};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// Scenario file (TOML, see docs/reference/scenario.md), of which only [link] is used.
    scenario: Option<PathBuf>,
    /// Address to listen on: unix:PATH or tcp:HOST:PORT. Port 0 selects a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Address,
    /// Address to forward each connection to: unix:PATH or tcp:HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) connect: Address,
    /// Set a key of the link, such as --set link.preset=halifax. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON on stdout: the address at the start, and the forwarded bytes at the end.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LinkArgs {
    /// The scenario that holds the link.
    pub(crate) fn load_scenario(&self) -> Result<Scenario, ScenarioError> {
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
pub(crate) struct CredentialsArgs {
    /// Directory to write to. It must be new or empty.
    pub(crate) directory: PathBuf,
    /// Name or address of the destination's host, as the migration URI or tls.hostname gives it.
    /// The certificate is always valid for localhost. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) lab: LabArgs,
    /// Print JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

//! The arguments of `pause`, `cancel`, `switch`, `continue`, `recover` and `revive`.

use clap::Args;
use qmp::Endpoint;

#[derive(Debug, Args)]
pub(crate) struct StepArgs {
    /// QMP socket of the source: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(crate) source: Endpoint,
    /// Print the new state as JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    pub(crate) step: StepArgs,
    /// QMP socket of the destination.
    #[arg(long, value_name = "QMP")]
    pub(crate) destination: Endpoint,
    /// Migration URI on which the destination listens for the new connection: tcp:HOST:PORT (port 0
    /// selects a free one) or unix:PATH.
    #[arg(long)]
    pub(crate) uri: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReviveArgs {
    #[command(flatten)]
    pub(crate) step: StepArgs,
    /// QMP socket of the destination, which must have failed before it received the guest.
    #[arg(long, value_name = "QMP")]
    pub(crate) destination: Endpoint,
}

//! The arguments of `pause`, `cancel`, `switch`, `continue`, `recover` and `revive`.

use clap::Args;
use switchover::qmp::Endpoint;

#[derive(Debug, Args)]
pub(in crate::cli) struct StepArgs {
    /// QMP socket of the source: unix:PATH, tcp:HOST:PORT or ssh:[USER@]HOST:PATH.
    #[arg(long, value_name = "QMP")]
    pub(in crate::cli) source: Endpoint,
    /// Print the new state as JSON on stdout.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RecoverArgs {
    #[command(flatten)]
    pub(in crate::cli) step: StepArgs,
    /// QMP socket of the destination.
    #[arg(long, value_name = "QMP")]
    pub(in crate::cli) destination: Endpoint,
    /// Migration URI on which the destination listens for the new connection: tcp:HOST:PORT (port 0
    /// selects a free one) or unix:PATH.
    #[arg(long)]
    pub(in crate::cli) uri: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReviveArgs {
    #[command(flatten)]
    pub(in crate::cli) step: StepArgs,
    /// QMP socket of the destination, which must have failed before it received the guest.
    #[arg(long, value_name = "QMP")]
    pub(in crate::cli) destination: Endpoint,
}

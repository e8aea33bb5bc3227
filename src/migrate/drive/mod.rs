//! Performs a migration and keeps the safety rules whatever happens.
//!
//! Takes a plan, its rules and two QMP sessions. Returns a [`Report`] with the outcome and the
//! place of the guest. The safety rules in ARCHITECTURE.md are enforced here. This module does not
//! depend on the lab.
//!
//! Modules: `machine` decides what to do next, as a pure function of the inputs. `driver` is the
//! loop that receives inputs and performs effects. `commands` translates commands to QMP.
//! `prepare` applies the settings in order. `hold` keeps a destination from starting its guest.
//! `hooks` runs the user's commands. `limit` raises and restores the downtime limit. `reopen`
//! reconnects a QMP session. `settle` checks an ending before it is reported. `tls` installs and
//! removes credentials. `recovery` decides when to retry a broken post-copy, `recover` does it.

mod commands;
mod connection;
mod driver;
mod hold;
mod hooks;
mod limit;
mod machine;
#[cfg(test)]
mod machine_tests;
mod prepare;
mod recover;
mod recovery;
mod reopen;
mod report;
mod settle;
mod tls;
#[cfg(test)]
mod world_tests;

pub use connection::{End, Interrupt};
pub use driver::Driver;
pub use hooks::Hook;
pub use machine::{Command, Decision, DecisionAction, Effect, Ending, Held, Input, Machine, Phase};
pub use prepare::{Own, Prepared};
pub use recover::{RecoverError, Recoverer, Rejoin};
pub use report::{Progress, Report, RunStates};
pub use tls::InstalledTls;

use base::Side;
use qmp::QmpError;

/// An error before the migration starts. The guest keeps running on the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// QEMU refused a setting or did not answer.
    #[error("{side}: {what} could not be set up; the migration was not started")]
    Prepare {
        /// The side that failed.
        side: Side,
        /// The step that failed.
        what: &'static str,
        /// The error of the QMP command.
        source: QmpError,
    },
    /// Our own socket or FIFO for the stream could not be created or connected.
    #[error("the stream to {uri} could not be set up; the migration was not started")]
    Socket {
        /// The migration URI.
        uri: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The destination already has a guest instead of waiting for one.
    #[error("destination: it has a guest already; the migration was not started")]
    HasGuest,
    /// The user interrupted the preparation.
    #[error("interrupted before the migration was started")]
    Interrupted,
}

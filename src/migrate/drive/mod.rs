//! Performing a migration, and keeping its promises whatever happens.
//!
//! Takes a plan, rules and two sessions; gives an [`Ending`]: how it went and where the guest is. Holds the safety rules of
//! ARCHITECTURE.md. Knows nothing of the lab.
//!
//! Map: `machine` what to do next, a pure function of what was seen · `driver` the one loop that sees and does · `commands` in QMP's words ·
//! `prepare` the settings, in order · `hold` a destination that must not start its guest · `hooks` commands of the user's · `limit` a downtime-limit that is raised · `reopen` a connection that
//! ended · `settle` what is checked before an ending is said · `tls` credentials, made and taken back · `recovery` when a broken post-copy is tried again, `recover` how.

mod commands;
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
mod settle;
mod tls;
#[cfg(test)]
mod world_tests;

pub use driver::{Driver, End, Interrupt, Progress, Report, RunStates};
pub use hooks::Hook;
pub use machine::{Command, Decision, Effect, Ending, Held, Input, Machine, Phase};
pub use prepare::{Own, Prepared};
pub use recover::{RecoverError, Recoverer, Rejoin};
pub use tls::Given;

use base::Side;
use qmp::QmpError;

/// What can go wrong before the migration starts. The guest runs on, on the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// A setting was refused or not answered.
    #[error("{side}: {what} could not be set up; the migration was not started")]
    Prepare {
        /// Which side.
        side: Side,
        /// What was tried.
        what: &'static str,
        /// QEMU's word.
        source: QmpError,
    },
    /// A socket of ours, or a FIFO.
    #[error("the stream to {uri} could not be set up; the migration was not started")]
    Socket {
        /// Where to.
        uri: String,
        /// Why.
        source: std::io::Error,
    },
    /// It does not wait for one.
    #[error("destination: it has a guest already; the migration was not started")]
    HasGuest,
    /// The user interrupted.
    #[error("interrupted before the migration was started")]
    Interrupted,
}

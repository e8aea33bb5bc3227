//! What can go wrong on a QMP connection.

use super::Endpoint;
use std::io;
use std::time::Duration;

/// Result of a QMP operation.
pub type Result<T, E = QmpError> = std::result::Result<T, E>;

/// A QMP operation that did not succeed. Messages name the side (`source`, `destination`) and say
/// what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QmpError {
    /// The connection could not be made.
    #[error("{side}: cannot connect to {endpoint}{hint}")]
    Connect {
        /// Which side was meant.
        side: String,
        /// Where it should listen.
        endpoint: Endpoint,
        /// What to do, if we know.
        hint: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Connected, but no greeting came.
    #[error(
        "{side}: {endpoint} accepted the connection but sent no QMP greeting within {after:?}; QMP serves one client a socket, \
         so another client probably holds it. Close that client, or give the VM a second QMP socket (a second `-qmp` option)"
    )]
    NoGreeting {
        /// Which side was meant.
        side: String,
        /// Where it listens.
        endpoint: Endpoint,
        /// How long we waited.
        after: Duration,
    },
    /// Whatever listens there does not speak QMP.
    #[error(
        "{side}: {endpoint} does not speak QMP: it sent `{got}`. Give the socket of QEMU's `-qmp` option (not the human monitor's, \
         nor the migration socket)"
    )]
    NotQmp {
        /// Which side was meant.
        side: String,
        /// Where it listens.
        endpoint: Endpoint,
        /// The beginning of what it sent.
        got: String,
    },
    /// QEMU answered with an error.
    #[error("{side}: QEMU refused {command}: {description} ({class})")]
    Refused {
        /// Which side.
        side: String,
        /// The command.
        command: String,
        /// QEMU's error class, such as `GenericError` or `CommandNotFound`.
        class: String,
        /// QEMU's text. For people only: it changes between versions.
        description: String,
    },
    /// No answer in time. Whether the command took effect is not known.
    #[error(
        "{side}: no answer to {command} within {after:?}; QEMU may still carry it out. Is the process stopped or overloaded?"
    )]
    Deadline {
        /// Which side.
        side: String,
        /// The command.
        command: String,
        /// How long we waited.
        after: Duration,
    },
    /// The connection ended before the answer came. Whether the command took effect is not known.
    #[error("{side}: the QMP connection ended before {command} was answered: {reason}")]
    Closed {
        /// Which side.
        side: String,
        /// The command.
        command: String,
        /// Why it ended.
        reason: String,
    },
    /// The answer is not what QAPI promises.
    #[error("{side}: the answer to {command} cannot be read: {detail}")]
    Decode {
        /// Which side.
        side: String,
        /// The command.
        command: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file descriptor can only be passed over a unix socket.
    #[error(
        "{side}: {command} needs a file descriptor passed along, which only a unix QMP socket can do"
    )]
    NeedsUnix {
        /// Which side.
        side: String,
        /// The command.
        command: String,
    },
}

impl QmpError {
    /// Whether QEMU itself said no, so that the command certainly had no effect.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, QmpError::Refused { .. })
    }
}

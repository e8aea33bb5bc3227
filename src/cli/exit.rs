//! How the command ends: an exit code, an error message on stderr, or the signal that ended it.

use base::causes::with_causes;
use base::text::{escape_control, truncate};
use migrate::drive::DriveError;
use record::{Integrity, Outcome, Summary};
use std::error::Error;
use switchover::run::RunError;

/// Size limit of an error message in bytes. A message may quote a peer or a file.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Exit codes of the command. Scripts rely on the numbers, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ExitCode {
    /// The command did what it was asked to, and every check passed.
    Success = 0,
    /// A fault of this program.
    Internal = 1,
    /// A flag, a scenario or another input cannot be used.
    Usage = 2,
    /// The migration did not converge or was cancelled; the VM runs on the source.
    NotConverged = 3,
    /// The command did what it was asked to, and a check (`--fail-if`, `--expect`) failed.
    CheckFailed = 4,
    /// The environment lacks something; no VM was changed.
    Environment = 5,
    /// The guest was lost, or its memory is corrupt.
    GuestLost = 6,
    /// The state of the VMs is unknown.
    StateUnknown = 7,
    /// The migration failed; the VM runs on the source.
    MigrationFailed = 8,
    /// The results could not be written.
    ResultsNotWritten = 9,
}

impl ExitCode {
    /// The exit code of a migration that took place, before any check is evaluated.
    pub(super) fn from_summary(summary: &Summary) -> ExitCode {
        match (summary.outcome, summary.guest.integrity) {
            (Outcome::Lost, _) | (_, Integrity::Corrupt) => ExitCode::GuestLost,
            (Outcome::Unknown, _) => ExitCode::StateUnknown,
            (Outcome::Failed, _) => ExitCode::MigrationFailed,
            (Outcome::NotConverged | Outcome::Cancelled, _) => ExitCode::NotConverged,
            (Outcome::Completed, _) => ExitCode::Success,
        }
    }
}

/// The result of a subcommand.
#[derive(Debug)]
pub(super) struct Exit {
    code: ExitCode,
    message: Option<String>,
    /// Whether a signal is the normal way to end this command.
    is_ended_by_signal: bool,
}

impl Exit {
    pub(super) fn success() -> Exit {
        Exit::with_code(ExitCode::Success)
    }

    /// An exit without a message: the result on stdout explains the code.
    pub(super) fn with_code(code: ExitCode) -> Exit {
        Exit { code, message: None, is_ended_by_signal: false }
    }

    /// A success of a command that runs until a signal ends it, such as `switchover link`.
    pub(super) fn ended_by_signal() -> Exit {
        Exit { is_ended_by_signal: true, ..Exit::success() }
    }

    /// An exit with `error` and its causes as the message.
    pub(super) fn with_error(code: ExitCode, error: &dyn Error) -> Exit {
        Exit { code, message: Some(with_causes(error)), is_ended_by_signal: false }
    }

    pub(super) fn usage(error: &dyn Error) -> Exit {
        Exit::with_error(ExitCode::Usage, error)
    }

    pub(super) fn internal(error: &dyn Error) -> Exit {
        Exit::with_error(ExitCode::Internal, error)
    }

    pub(super) fn environment(error: &dyn Error) -> Exit {
        Exit::with_error(ExitCode::Environment, error)
    }

    /// The exit of a run in which no migration took place.
    pub(super) fn from_run_error(error: &RunError) -> Exit {
        let code = match error {
            RunError::Record(_) => ExitCode::ResultsNotWritten,
            RunError::Drive(DriveError::Interrupted) => ExitCode::NotConverged,
            _ => ExitCode::Environment,
        };
        Exit::with_error(code, error)
    }

    /// Prints the message and converts the code. Where `signal` ended the command, raises it again
    /// with its default action instead.
    #[expect(clippy::print_stderr, reason = "the one place where errors are printed")]
    pub(super) fn finish(self, signal: Option<i32>) -> std::process::ExitCode {
        if let Some(message) = self.message {
            eprintln!("switchover: {}", escape_control(&truncate(&message, MAX_MESSAGE_BYTES)));
        }
        if let Some(signal) = signal.filter(|_| !self.is_ended_by_signal) {
            // A shell stops a script only if the command died of the signal itself.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        std::process::ExitCode::from(self.code as u8)
    }
}

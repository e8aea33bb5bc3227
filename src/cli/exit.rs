//! Exit codes, which scripts rely on:
//!
//! 0 done, every check passed · 1 internal error · 2 usage or scenario error · 3 did not converge, the VM runs on the source ·
//! 4 a check failed · 5 the environment lacks something, no VM was touched · 6 the guest was lost or its memory is corrupt ·
//! 7 the state of the VMs is unknown · 8 the migration failed, the VM runs on the source · 9 the results could not be written.
//! A signal is re-raised after the VM was left safe.

use std::error::Error;
use std::process::ExitCode;
use switchover::causes::with_causes;
use switchover::drive::DriveError;
use switchover::run::RunError;
use switchover::text::{cut, printable};

/// It may quote a peer or a file.
const LONGEST_MESSAGE: usize = 16 << 10;

/// How the command ends.
#[derive(Debug)]
pub(super) struct Exit {
    code: u8,
    message: Option<String>,
    /// A signal is how this command is meant to end.
    by_signal: bool,
}

impl Exit {
    pub(super) fn code(code: u8) -> Exit {
        Exit { code, message: None, by_signal: false }
    }

    /// Done, because a signal said so.
    pub(super) fn done_by_signal() -> Exit {
        Exit { by_signal: true, ..Exit::code(0) }
    }

    pub(super) fn error(code: u8, error: &dyn Error) -> Exit {
        Exit { code, message: Some(with_causes(error)), by_signal: false }
    }

    pub(super) fn usage(error: &dyn Error) -> Exit {
        Exit::error(2, error)
    }

    pub(super) fn internal(error: &dyn Error) -> Exit {
        Exit::error(1, error)
    }

    pub(super) fn from_run(error: &RunError) -> Exit {
        let code = match error {
            RunError::Record(_) => 9,
            RunError::Drive(DriveError::Interrupted) => 3,
            _ => 5,
        };
        Exit::error(code, error)
    }

    /// Prints what is to be said, re-raises the signal that ended us, or gives the code.
    #[expect(clippy::print_stderr, reason = "the one place where errors are printed")]
    pub(super) fn finish(self, signal: Option<i32>) -> ExitCode {
        if let Some(message) = self.message {
            eprintln!("switchover: {}", printable(&cut(&message, LONGEST_MESSAGE)));
        }
        if let Some(signal) = signal.filter(|_| !self.by_signal) {
            // Dying of it tells the shell the truth: a script that was interrupted stops.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        ExitCode::from(self.code)
    }
}

//! What a migration reports while it runs and when it is over.

use super::connection::End;
use super::machine::{Ending, Phase};
use base::clock::Stamp;
use qmp::MigrationInfo;

/// The progress of a migration, for display.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The phase of the machine.
    pub phase: Phase,
    /// Time since `migrate` was sent, in microseconds.
    pub elapsed_us: u64,
    /// The last MIGRATION_PASS.
    pub pass: u64,
    /// The latest sample of the source; `None` if there is no new one.
    pub source: Option<MigrationInfo>,
}

/// The run states of both sides at the end, from `query-status`. `None` if a side does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunStates {
    /// The run state of the source.
    pub source: Option<String>,
    /// The run state of the destination.
    pub destination: Option<String>,
}

/// The result of a migration.
#[derive(Debug)]
pub struct Report {
    /// The outcome and its reason.
    pub ending: Ending,
    /// The time just before `migrate` was sent.
    pub started: Stamp,
    /// The time when the loop ended.
    pub ended: Stamp,
    /// The run states of both sides, which show where the guest is.
    pub run_states: RunStates,
    /// The last `query-migrate` answers of both sides.
    pub last: [Option<MigrationInfo>; 2],
    /// The number of decisions.
    pub decisions: u64,
    /// Both connections, for further use; `None` if our loop panicked.
    pub ends: Option<[End; 2]>,
    /// Failures of hooks after the point of no return, which do not change the outcome.
    pub hook_problems: Vec<String>,
    /// One warning for each setting that could not be restored.
    pub not_restored: Vec<String>,
}

//! What goes into the machine and what comes out of it.

use super::super::hooks::Hook;
use base::Side;
use model::policy::Observation;
use qmp::{Event, MigrationInfo};
use record::Outcome;
use serde::Serialize;

/// Something that was seen.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// `migrate` was accepted.
    Started,
    /// An event of one side.
    Event(Side, &'a Event),
    /// An answer of `query-migrate`.
    Sample(Side, &'a MigrationInfo),
    /// QEMU refused a command of ours, with its text.
    Refused(Command, String),
    /// The attempt to recover brought post-copy back.
    Recovered,
    /// The connection to a side ended, and was made again: what was sent last may not have arrived.
    Reopened(Side),
    /// The connection to a side ended, and cannot be made again.
    Gone(Side, String),
    /// The process of a side ended: there is no guest on it any more.
    Exited(Side, String),
    /// What became of [`Command::Hold`].
    Held(Held),
    /// [`Command::Release`] was accepted.
    Released,
    /// [`Command::Quell`] was accepted.
    Quelled,
    /// The user's command for before the switchover is done, or what went wrong with it.
    Hooked(Result<(), String>),
    /// The user wants out.
    Interrupt,
    /// Time passed.
    Tick,
}

/// A command that changes a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// `migrate-start-postcopy` on the source.
    StartPostcopy,
    /// `downtime-limit` as high as it goes, on the source: it stops its guest and sends the rest, however much.
    Finish,
    /// `stop` on the destination, while it still waits for the guest: it then never starts it by itself.
    Hold,
    /// `cont` on the destination, which was held and has the guest.
    Release,
    /// `stop` on one of two that both run: on a source that failed and started its guest again while the destination has all of it; or on a
    /// destination that will never have all of it.
    Quell(Side),
    /// `migrate_cancel` on the source.
    Cancel,
    /// `migrate-continue` from pre-switchover, on the source.
    Continue,
    /// `migrate-recover` on the destination and `migrate` with `resume` on the source: an attempt to bring a broken post-copy back.
    Recover,
    /// `migrate-incoming` on the destination, when the source has written everything into a file.
    Listen,
}

/// A destination that was to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It has no guest, and will not start one by itself (run state `inmigrate`).
    Waits,
    /// The guest arrived at the same moment, and was stopped by us.
    Stopped,
    /// It has the guest already, and runs it.
    Runs,
    /// It has the guest already, which stands there, not by our doing: it was started with `-S`, or the guest stood on the source too.
    Stands,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send this.
    Send(Command),
    /// Note this: it was decided, for this reason, having seen this.
    Decided(Decision),
    /// Run the user's command for this moment; the result of that for before the switchover is [`Input::Hooked`].
    Hook(Hook),
    /// It is over.
    End(Ending),
}

/// A decision, for the record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// What.
    pub action: String,
    /// Why.
    pub reason: String,
    /// Having seen what.
    pub observation: Observation,
}

/// How it went.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// In a word.
    pub outcome: Outcome,
    /// In a sentence.
    pub reason: String,
    /// Whether post-copy really happened.
    pub postcopy_happened: bool,
    /// The guest ran on the destination by the source's word: a copy on the source is older.
    pub let_go: bool,
    /// The highest MIGRATION_PASS.
    pub passes: u64,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connecting, or copying while the guest runs on the source.
    Precopy,
    /// The guest is stopped for switchover.
    Switchover,
    /// The guest runs on the destination, or is about to: no way back.
    Postcopy,
    /// We cancelled, and wait for it to be done.
    Cancelling,
    /// One side is done; waiting for the other.
    OtherSide,
    /// The source can no longer be asked, or is no more: what becomes of the destination decides.
    Alone,
    /// The source failed when it may have sent everything, and starts its guest again: whether the destination has it too is found out.
    Doubt,
    /// Over.
    Ended,
}

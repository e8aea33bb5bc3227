//! Inputs and outputs of the machine, and the types that its modules share.

use super::super::hooks::Hook;
use base::Side;
use model::policy::Observation;
use qmp::{Event, MigrationInfo};
use record::Outcome;
use serde::Serialize;

/// One observation that the driver passes to the machine.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// QEMU accepted `migrate`.
    Started,
    /// One side sent an event.
    Event(Side, &'a Event),
    /// One side answered `query-migrate`.
    Sample(Side, &'a MigrationInfo),
    /// QEMU refused a command that we sent, with this error text.
    Refused(Command, String),
    /// The attempt to recover resumed post-copy.
    Recovered,
    /// The QMP connection to a side ended and was opened again. The last commands may be lost.
    Reopened(Side),
    /// The QMP connection to a side ended and could not be opened again. The process may live.
    Gone(Side, String),
    /// The process of a side ended, so it no longer has a guest.
    Exited(Side, String),
    /// [`Command::Hold`] succeeded; this is what it found.
    Held(Held),
    /// QEMU accepted [`Command::Release`].
    Released,
    /// QEMU accepted [`Command::StopStaleCopy`].
    StaleCopyStopped,
    /// The user's hook before the switchover succeeded, or failed with this message.
    Hooked(Result<(), String>),
    /// The user asked to stop the migration.
    Interrupt,
    /// Time passed and nothing else happened.
    Tick,
}

/// A command that changes a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `migrate-start-postcopy` on the source.
    StartPostcopy,
    /// Sets `downtime-limit` to its maximum on the source, which then stops the guest and sends the
    /// rest of its memory, however much that is.
    Finish,
    /// `stop` on the destination while it still waits for the guest. It then does not start the
    /// guest by itself.
    Hold,
    /// `cont` on the destination, which was held and has the guest.
    Release,
    /// `stop` on one of two sides that both run the guest. This is the source if it failed and
    /// started its guest again while the destination has all of it. It is the destination if that
    /// will never have all of the guest.
    StopStaleCopy(Side),
    /// `migrate_cancel` on the source.
    Cancel,
    /// `migrate-continue` from pre-switchover, on the source.
    Continue,
    /// `migrate-recover` on the destination and `migrate` with `resume` on the source: one attempt
    /// to resume a broken post-copy.
    Recover,
    /// `migrate-incoming` on the destination, after the source has written everything to a file.
    Listen,
}

/// The state of the destination after [`Command::Hold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It has no guest and will not start one by itself (run state `inmigrate`).
    Waits,
    /// The guest arrived at the same moment, and our `stop` stopped it.
    Stopped,
    /// It already has the guest and runs it.
    Runs,
    /// It already has the guest, which is stopped, but not by us: QEMU was started with `-S`, or
    /// the guest was stopped on the source too.
    Stands,
}

/// An action that the driver must perform.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send this command.
    Send(Command),
    /// Record this decision.
    Decided(Decision),
    /// Run the user's hook. The result of the hook before the switchover comes back as
    /// [`Input::Hooked`].
    Hook(Hook),
    /// Stop: the migration has ended.
    End(Ending),
}

/// A decision, as `decisions.jsonl` records it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// The action that was chosen.
    pub action: DecisionAction,
    /// The reason, as one sentence.
    pub reason: String,
    /// The observation on which the decision was based.
    pub observation: Observation,
}

/// The action of a [`Decision`]. `decisions.jsonl` contains its name in kebab-case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionAction {
    /// Cancel the migration.
    Cancel,
    /// Let the source leave pre-switchover.
    Continue,
    /// Let pre-copy finish, however long the guest is stopped.
    Finish,
    /// Continue although somebody wanted a cancel, or although a side cannot be asked.
    GoOn,
    /// Run the user's hook.
    Hook,
    /// Let the destination read the file.
    Listen,
    /// Do nothing; only the reason is recorded.
    None,
    /// Stop one of two running copies of the guest.
    #[serde(rename = "quell")]
    StopStaleCopy,
    /// Try to resume a broken post-copy.
    Recover,
    /// Note that post-copy was resumed.
    Recovered,
    /// Start the guest on a destination that was held.
    Release,
    /// Ask for post-copy.
    StartPostcopy,
}

impl DecisionAction {
    /// Whether the user should see the decision as a warning.
    pub(in crate::drive) fn is_warning(self) -> bool {
        matches!(self, DecisionAction::GoOn | DecisionAction::Recover)
    }
}

/// The result of a migration, before it is compared with the run states of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// The reason, as one sentence.
    pub reason: String,
    /// Whether post-copy really began.
    pub postcopy_happened: bool,
    /// Whether the source reported that the guest runs on the destination. A copy of the guest on
    /// the source is then out of date.
    pub let_go: bool,
    /// The highest MIGRATION_PASS.
    pub passes: u64,
}

/// The phase of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The sides connect, or memory is copied while the guest runs on the source.
    Precopy,
    /// The guest is stopped for the switchover.
    Switchover,
    /// The guest runs on the destination or is about to. The migration can no longer be cancelled.
    Postcopy,
    /// We asked for a cancel that the source has not confirmed yet.
    Cancelling,
    /// One side has completed and the other has not.
    AwaitingPeer,
    /// The source cannot be asked any more or has exited. The result depends on the destination.
    PeerUnreachable,
    /// The source failed after it may have sent everything, and starts its guest again. Whether the
    /// destination has the guest too is being determined.
    SplitBrain,
    /// The migration has ended.
    Ended,
}

/// Why a cancel is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CancelReason {
    /// A limit of the scenario was reached: passes, bytes or time.
    GaveUp,
    /// The user interrupted.
    User,
    /// Something failed.
    Trouble,
}

/// Whether the destination may start its guest by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DestinationHold {
    /// It starts the guest when it has all of it.
    No,
    /// [`Command::Hold`] was sent and has not been answered.
    Asked,
    /// It keeps the guest stopped: for a cancel, or until the source reports that it completed.
    Held,
    /// [`Command::Release`] was sent and has not been confirmed.
    Releasing,
}

/// Why the source is no longer asked, with the reason as text.
#[derive(Clone, Debug)]
pub(super) enum SourceLoss {
    /// Its process ended.
    Exited(String),
    /// The QMP connection ended. The process may live.
    Gone(String),
}

impl SourceLoss {
    pub(super) fn reason(&self) -> &str {
        match self {
            SourceLoss::Exited(reason) | SourceLoss::Gone(reason) => reason,
        }
    }
}

/// What ended on the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SideLoss {
    /// Its process.
    Exited,
    /// Its migration.
    Failed,
    /// Only the QMP connection to it.
    Gone,
}

impl SideLoss {
    /// Whether the side can never have the guest.
    pub(super) fn is_for_good(self) -> bool {
        self != SideLoss::Gone
    }
}

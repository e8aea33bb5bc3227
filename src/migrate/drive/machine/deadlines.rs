//! Time limits: every phase ends by itself, even if nothing happens.

use super::types::{CancelReason, DestinationHold};
use super::{Command, DecisionAction, Effect, Machine, Phase};
use crate::drive::recovery::Due;
use record::Outcome;

/// The limit for the source to confirm a cancel.
const CANCEL_TIMEOUT_NS: u64 = 15_000_000_000;
/// The limit for a switchover, beyond the downtime-limit.
const SWITCHOVER_TIMEOUT_NS: u64 = 30_000_000_000;
/// The limit for one side to complete after the other has.
pub(super) const PEER_TIMEOUT_NS: u64 = 20_000_000_000;
/// The limit for post-copy to begin or fail after it was asked for.
const POSTCOPY_START_TIMEOUT_NS: u64 = 60_000_000_000;

impl Machine {
    pub(super) fn watch_deadlines(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        let here_ns = now_ns.saturating_sub(self.since_ns);
        let over = |deadline| here_ns > deadline;
        let switchover_ns = SWITCHOVER_TIMEOUT_NS.saturating_add(self.max_stop_ns);
        match self.phase {
            Phase::Ended => {}
            Phase::SplitBrain => self.watch_split_brain(now_ns, effects),
            Phase::PeerUnreachable => {
                if let Some(out) = self.source_loss.clone() {
                    self.watch_peer_unreachable(&out, now_ns, effects);
                }
            }
            // A source that has completed cannot recover post-copy.
            _ if !self.source_done && (self.recovery.is_paused() || self.is_stalled(now_ns)) => {
                self.recover(now_ns, effects);
            }
            Phase::Cancelling if over(CANCEL_TIMEOUT_NS) => {
                let reason = "the migration was cancelled, but the source has not confirmed it; see query-migrate and query-status there";
                self.end(Outcome::Unknown, reason.to_owned(), effects);
            }
            // QEMU can stay in state `device` when starting post-copy fails.
            Phase::Switchover if over(switchover_ns) => {
                let seconds = switchover_ns / 1_000_000_000;
                let reason =
                    format!("stopped for switchover for {seconds} s without getting anywhere");
                if self.cancel_is_guarded && !self.source_done && !self.hold_refused {
                    self.begin_cancel(CancelReason::Trouble, reason, now_ns, effects);
                } else {
                    self.cancel(CancelReason::Trouble, reason, now_ns, effects);
                }
                if self.phase == Phase::Switchover && over(2 * switchover_ns) {
                    let seconds = 2 * seconds;
                    let reason = format!(
                        "stopped for switchover for {seconds} s; it cannot be cancelled safely. See query-migrate on both sides"
                    );
                    self.end(Outcome::Unknown, reason, effects);
                }
            }
            // A cancel was refused because post-copy had begun, or could not be sent, and then
            // nothing happened.
            Phase::Precopy | Phase::Postcopy
                if self.is_unbegun()
                    && over(SWITCHOVER_TIMEOUT_NS)
                    && self.silent_for(POSTCOPY_START_TIMEOUT_NS, now_ns) =>
            {
                let reason = "post-copy was asked for and neither begins nor fails; this QEMU would lose the guest if it were cancelled \
                              now. See query-migrate on both sides";
                self.end(Outcome::Unknown, reason.to_owned(), effects);
            }
            // The destination is held and does not start the guest, so the source may continue it.
            Phase::AwaitingPeer if over(PEER_TIMEOUT_NS) && self.may_go_back() => {
                let reason = "the destination says completed, the source does not, and nobody runs the guest".to_owned();
                self.begin_cancel(CancelReason::Trouble, reason, now_ns, effects);
            }
            Phase::AwaitingPeer if over(PEER_TIMEOUT_NS) => {
                let reason = if self.source_done {
                    "the source says completed, the destination does not"
                } else {
                    "the destination says completed, the source does not: should it fail, it may run its guest too. `switchover attach` sees \
                     it through"
                };
                self.end(Outcome::Unknown, reason.to_owned(), effects);
            }
            _ => {}
        }
    }

    /// Whether the source may continue the guest: the destination is held and nothing was
    /// cancelled.
    pub(super) fn may_go_back(&self) -> bool {
        self.hold == DestinationHold::Held
            && !self.source_done
            && !self.postcopy_happened
            && self.why.is_none()
    }

    /// Tries to resume a broken post-copy, or ends with advice.
    fn recover(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        match self.recovery.due(!self.recovery.is_paused(), self.wants_out.is_none(), now_ns) {
            Due::Nothing => {}
            Due::Try(reason) => {
                self.progress_ns = now_ns;
                self.note(DecisionAction::Recover, &reason, effects);
                effects.push(Effect::Send(Command::Recover));
            }
            Due::GiveUp(reason) => self.end(Outcome::Unknown, reason, effects),
        }
    }

    /// Whether the guest is on the destination and receives no pages.
    fn is_stalled(&self, now_ns: u64) -> bool {
        self.phase == Phase::Postcopy
            && self.postcopy_happened
            && self.silent_for(self.stalled_after_ns, now_ns)
    }

    fn is_unbegun(&self) -> bool {
        !self.postcopy_happened && (self.wants_out.is_some() || self.phase == Phase::Postcopy)
    }

    fn silent_for(&self, time_ns: u64, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.progress_ns) > time_ns
    }
}

//! What is done when nothing happens: every phase comes to an end by itself.

use super::types::{CancelReason, DestinationHold};
use super::{Command, DecisionAction, Effect, Machine, Phase};
use crate::drive::recovery::Due;
use record::Outcome;

/// A cancel must be done by then.
const CANCEL_DEADLINE_NS: u64 = 15_000_000_000;
/// Stopped for switchover, and it does not come about.
const SWITCHOVER_DEADLINE_NS: u64 = 30_000_000_000;
/// One side is done, the other says nothing.
pub(super) const PEER_TIMEOUT_NS: u64 = 20_000_000_000;
/// Asked for, post-copy neither begins nor fails.
const UNBEGUN_NS: u64 = 60_000_000_000;

impl Machine {
    pub(super) fn watch_deadlines(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        let here_ns = now_ns.saturating_sub(self.since_ns);
        let over = |deadline| here_ns > deadline;
        let switchover_ns = SWITCHOVER_DEADLINE_NS.saturating_add(self.may_stand_ns);
        match self.phase {
            Phase::Ended => {}
            Phase::SplitBrain => self.watch_split_brain(now_ns, effects),
            Phase::PeerUnreachable => {
                if let Some(out) = self.source_loss.clone() {
                    self.watch_peer_unreachable(&out, now_ns, effects);
                }
            }
            // A source that is done has nothing to recover with.
            _ if !self.source_done && (self.recovery.is_paused() || self.is_stalled(now_ns)) => {
                self.recover(now_ns, effects)
            }
            Phase::Cancelling if over(CANCEL_DEADLINE_NS) => {
                let reason = "the migration was cancelled, but the source has not confirmed it; see query-migrate and query-status there";
                self.end(Outcome::Unknown, reason.to_owned(), effects);
            }
            // The state can stay `device` when starting post-copy fails (facts/qemu.md §4.4).
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
            // The cancel that was refused said that it had begun, or it could not be cancelled; and then nothing came of it.
            Phase::Precopy | Phase::Postcopy
                if self.is_unbegun()
                    && over(SWITCHOVER_DEADLINE_NS)
                    && self.silent_for(UNBEGUN_NS, now_ns) =>
            {
                let reason = "post-copy was asked for and neither begins nor fails; this QEMU would lose the guest if it were cancelled \
                              now. See query-migrate on both sides";
                self.end(Outcome::Unknown, reason.to_owned(), effects);
            }
            // It does not start the guest, so the source may have it again.
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

    /// The destination does not start the guest, and nothing was cancelled yet.
    pub(super) fn may_go_back(&self) -> bool {
        self.hold == DestinationHold::Held
            && !self.source_done
            && !self.postcopy_happened
            && self.why.is_none()
    }

    /// Brings a broken post-copy back, or says what is left to do.
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

    /// The guest is on the destination, and gets nothing.
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

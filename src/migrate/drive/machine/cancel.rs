//! The one place that cancels, and that refuses to.
//!
//! A source that is stopped for its switchover may have sent everything: the destination then
//! starts the guest as soon as it has loaded it, whatever becomes of the source meanwhile; and a
//! source that is cancelled starts its guest too. So the destination is held first. `stop` in run
//! state `inmigrate` clears `autostart` (qmp_stop in QEMU's monitor/qmp-cmds.c), and a guest that
//! arrives then stays stopped.

use super::types::{CancelReason, DestinationHold, SideLoss, SourceLoss};
use super::{Command, DecisionAction, Effect, Held, Machine, Phase};
use record::Outcome;

/// What a person has to know who finds the two.
pub(super) const WAS_HELD: &str = ". The destination was told not to start the guest by itself: if the source says completed, continue it there";

impl Machine {
    /// Cancels, or notes that it is too late.
    pub(super) fn cancel(
        &mut self,
        why: CancelReason,
        reason: String,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        let may_have_begun = self.seen.postcopy_asked && !self.cancel_is_guarded;
        match self.phase {
            Phase::Cancelling | Phase::SplitBrain | Phase::Ended => {}
            Phase::Precopy | Phase::Switchover
                if !may_have_begun && !self.source_done && !self.hold_refused =>
            {
                self.begin_cancel(why, reason, now_ns, effects);
            }
            Phase::Precopy
            | Phase::Switchover
            | Phase::Postcopy
            | Phase::AwaitingPeer
            | Phase::PeerUnreachable => {
                if self.wants_out.is_none() {
                    let note = format!(
                        "{reason}; not cancelled: past the point of no return, only the destination can have the guest"
                    );
                    self.note(DecisionAction::GoOn, &note, effects);
                    self.wants_out = Some((why, reason));
                }
            }
        }
    }

    pub(super) fn begin_cancel(
        &mut self,
        why: CancelReason,
        reason: String,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        if self.destination_loss == Some(SideLoss::Gone) && !self.needs_no_hold() {
            let reason = format!(
                "{reason}; not cancelled: the destination cannot be asked, and would start the guest too if it gets everything meanwhile. The \
                 migration goes on by itself. If the destination is no more: `switchover cancel`"
            );
            self.end(Outcome::Unknown, reason, effects);
            return;
        }
        self.note(DecisionAction::Cancel, &reason, effects);
        self.why = Some((why, reason));
        self.enter(Phase::Cancelling, now_ns);
        if self.needs_no_hold() {
            effects.push(Effect::Send(Command::Cancel));
        } else {
            self.hold = DestinationHold::Asked;
            self.was_held = true;
            effects.push(Effect::Send(Command::Hold));
        }
    }

    /// There is nobody to be held; or nothing that could start yet.
    fn needs_no_hold(&self) -> bool {
        self.destination_loss.is_some_and(SideLoss::is_for_good)
            || self.waits
            || self.hold == DestinationHold::Held
    }

    /// The cancel may not have arrived.
    pub(super) fn cancel_again(&mut self, effects: &mut Vec<Effect>) {
        if self.hold != DestinationHold::Asked && self.needs_no_hold() {
            effects.push(Effect::Send(Command::Cancel));
        }
    }

    /// The destination answers again, which it did not when a cancel was wanted.
    pub(super) fn hold_again(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        if !std::mem::take(&mut self.hold_refused) {
            return;
        }
        if self.phase == Phase::SplitBrain {
            self.ask_destination(effects);
        } else if matches!(self.phase, Phase::Precopy | Phase::Switchover)
            && let Some((why, reason)) = self.wants_out.take()
        {
            self.cancel(why, reason, now_ns, effects);
        }
    }

    pub(super) fn held(&mut self, held: Held, now_ns: u64, effects: &mut Vec<Effect>) {
        match (self.hold, held) {
            (DestinationHold::Asked, held) if self.phase == Phase::SplitBrain => {
                self.hold_answered_in_split_brain(held, now_ns, effects);
            }
            (DestinationHold::Asked, Held::Waits) if self.phase == Phase::Cancelling => {
                self.send_cancel(now_ns, effects);
            }
            (DestinationHold::Asked, Held::Runs | Held::Stands) => {
                self.hold = DestinationHold::No;
                self.come_too_late(now_ns, effects);
            }
            // Also where it waited when it was asked, and both sides said completed before the
            // answer came.
            (DestinationHold::Asked, _) => {
                self.hold = DestinationHold::Held;
                self.come_too_late(now_ns, effects);
            }
            _ => {}
        }
    }

    fn send_cancel(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        self.hold = DestinationHold::Held;
        self.enter(Phase::Cancelling, now_ns);
        effects.push(Effect::Send(Command::Cancel));
    }

    /// The destination cannot be held; or has not said that it is, and may be by and by. So it is
    /// let go at once: one command follows the other.
    pub(super) fn not_held(&mut self, text: &str, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.hold != DestinationHold::Asked {
            return;
        }
        if self.phase == Phase::SplitBrain {
            self.hold_failed_in_split_brain(effects);
            return;
        }
        self.hold = DestinationHold::No;
        if !self.destination_loss.is_some_and(SideLoss::is_for_good) {
            self.hold = DestinationHold::Held;
            self.let_run(effects);
        }
        match self.phase {
            Phase::Cancelling if self.needs_no_hold() => {
                effects.push(Effect::Send(Command::Cancel));
            }
            Phase::Cancelling => {
                self.hold_refused = true;
                self.note(
                    DecisionAction::GoOn,
                    &format!("not cancelled: the destination cannot be held: {text}"),
                    effects,
                );
                self.wants_out = self.why.take();
                self.enter(if self.in_device { Phase::Switchover } else { Phase::Precopy }, now_ns);
                self.progress_ns = now_ns;
            }
            _ => {}
        }
    }

    fn come_too_late(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Cancelling => {
                self.take_back("not cancelled: the destination has the guest", now_ns, effects);
            }
            // No cancel was sent.
            _ => self.let_run(effects),
        }
    }

    /// What was held, and shall have the guest after all, starts it.
    pub(super) fn let_run(&mut self, effects: &mut Vec<Effect>) {
        if self.hold == DestinationHold::Held {
            self.hold = DestinationHold::Releasing;
            effects.push(Effect::Send(Command::Release));
        }
    }

    /// It was told to start it, or has done so.
    pub(super) fn released(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.hold, DestinationHold::No) == DestinationHold::Releasing
            && self.phase == Phase::AwaitingPeer
        {
            self.done(now_ns, effects);
        }
    }

    /// The cancel is not to be: it goes on, past the point of no return.
    pub(super) fn take_back(&mut self, reason: &str, now_ns: u64, effects: &mut Vec<Effect>) {
        let phase = if self.seen.postcopy_asked { Phase::Postcopy } else { Phase::Switchover };
        self.enter(phase, now_ns);
        self.progress_ns = now_ns;
        self.wants_out = self.why.take();
        self.note(DecisionAction::GoOn, reason, effects);
        self.let_run(effects);
    }

    /// Both sides say completed, and the guest stands on the destination because we held it; or we
    /// do not know yet whether we do.
    pub(super) fn release(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.phase != Phase::AwaitingPeer {
            self.enter(Phase::AwaitingPeer, now_ns);
        }
        if self.hold == DestinationHold::Held
            && matches!(self.source_loss, Some(SourceLoss::Gone(_)))
            && !self.source_done
        {
            let reason = "the destination has the guest and does not start it, and the source cannot be asked whether it goes on by itself";
            self.end(Outcome::Unknown, reason.to_owned(), effects);
        } else if self.hold == DestinationHold::Held {
            self.note(
                DecisionAction::Release,
                "the source is done, and the destination has the guest and waits for a word",
                effects,
            );
            self.let_run(effects);
        }
    }
}

//! Handles a side that reports a failed migration, and commands that QEMU refuses.

use super::Machine;
use super::peer_unreachable::outcome_without_source;
use super::types::{
    CancelReason, Command, DecisionAction, DestinationHold, Effect, Phase, SideLoss,
};
use base::Side;
use record::Outcome;

impl Machine {
    /// Handles the failure of a side. In post-copy the guest is lost. Before that, QEMU itself
    /// continues the guest on the source.
    pub(super) fn failed(
        &mut self,
        side: Side,
        error: Option<&str>,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        if side == Side::Destination {
            self.destination_loss = Some(SideLoss::Failed);
        }
        let text = error.map_or_else(
            || format!("{side}: the migration failed"),
            |error| format!("{side}: {error}"),
        );
        if let Some(out) = &self.source_loss {
            let (outcome, reason) = outcome_without_source(out, &text);
            self.end(outcome, reason, effects);
        } else if self.phase == Phase::SplitBrain {
            // The source repeats itself, or this is the answer of the destination that we wait
            // for.
            if side == Side::Destination {
                self.guest_is_on_source(effects);
            }
        } else if side == Side::Source && !self.source_done && self.may_be_elsewhere() {
            self.begin_split_brain(text, now_ns, effects);
        } else if self.postcopy_happened {
            self.end(Outcome::Lost, format!("post-copy failed: {text}"), effects);
        } else if side == Side::Source && !self.source_done {
            // QEMU's error text is only in a sample. The driver reads one from both sides at the
            // end.
            self.stopped(Outcome::Failed, text, effects);
        } else if !self.source_done {
            self.cancel(CancelReason::Trouble, text, now_ns, effects);
        } else {
            self.end(
                Outcome::Unknown,
                format!("the source had handed over, and then {text}"),
                effects,
            );
        }
    }

    /// Handles a command that QEMU refused.
    pub(super) fn refused(
        &mut self,
        command: Command,
        text: &str,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        match command {
            // QEMU 10.0 and later refuse a cancel once post-copy has begun, which is past the point
            // of no return.
            Command::Cancel
                if self.phase == Phase::Cancelling && self.hold != DestinationHold::Asked =>
            {
                self.take_back(&format!("QEMU refused to cancel: {text}"), now_ns, effects);
            }
            Command::Hold => self.not_held(text, now_ns, effects),
            Command::StopStaleCopy(_) if self.is_stopping_stale_copy() => {
                self.end_split_brain_unknown(
                    &format!("BOTH RUN, and one could not be stopped ({text})"),
                    effects,
                );
            }
            Command::Release if self.hold == DestinationHold::Releasing => {
                let reason = format!(
                    "the destination has the guest, and is stopped: {text}. Continue it there, never on the source"
                );
                self.end(Outcome::Unknown, reason, effects);
            }
            Command::Listen if self.listen_sent => {
                let reason = format!(
                    "the source has written everything, and the destination does not read it: {text}"
                );
                self.end(Outcome::Unknown, reason, effects);
            }
            Command::StartPostcopy if !self.postcopy_happened => {
                // A migration that has ended refuses too. Its status follows.
                self.seen.postcopy_asked = true;
                self.note(
                    DecisionAction::None,
                    &format!("QEMU refused to start post-copy: {text}"),
                    effects,
                );
            }
            Command::Finish => {
                self.max_stop_ns = self.limit_ns;
                self.note(
                    DecisionAction::None,
                    &format!("QEMU refused to raise downtime-limit: {text}"),
                    effects,
                );
            }
            Command::Recover if self.recovery.is_trying() => {
                self.recovery.failed(text, now_ns);
                self.note(
                    DecisionAction::None,
                    &format!("the attempt to recover failed: {text}"),
                    effects,
                );
            }
            // "not in expected state": somebody else continued it or it failed. The status follows.
            _ => {}
        }
    }
}

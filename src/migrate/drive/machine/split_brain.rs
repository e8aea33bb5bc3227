//! Handles a source that fails after it may have sent everything.
//!
//! QEMU then starts the guest on the source again (migration_iteration_finish in
//! migration/migration.c). It cannot know whether the destination has received everything and
//! starts the guest too. This happens in post-copy as well, where the copy on the source is out of
//! date (seen on 10.0.2 and 11.1.3: docs/explanation/faults.md). So the destination is held, which
//! also shows whether it has the guest. If it runs the guest, the source is stopped and never
//! continued.

use super::types::{DestinationHold, SideLoss};
use super::{Command, DecisionAction, Effect, Held, Machine, Phase};
use base::Side;
use record::Outcome;

/// The source starts its guest a moment after it reports the failure. After this time it has done
/// so, even if its RESUME event was missed.
const RESTART_TIMEOUT_NS: u64 = 2_000_000_000;
/// The limit for finding out which side has the guest.
const RESOLVE_TIMEOUT_NS: u64 = 20_000_000_000;

/// What is known about the two sides.
#[derive(Clone, Debug, Default)]
pub(super) struct SplitBrain {
    /// The error text of the source.
    text: String,
    since_ns: u64,
    /// The source runs its guest again.
    source_runs: bool,
    /// The destination runs the guest.
    destination_runs: bool,
    stop_sent_to: Option<Side>,
}

impl Machine {
    /// Whether the destination may have all of the guest, or may still receive it.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        let sent = self.in_device || self.postcopy_happened || self.missed;
        self.destination_done || sent && !self.destination_loss.is_some_and(SideLoss::is_for_good)
    }

    /// Starts to find out which side has the guest after the source failed.
    pub(super) fn begin_split_brain(
        &mut self,
        text: String,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        self.note(
            DecisionAction::None,
            &format!("{text}; whether the destination has the guest too is asked there"),
            effects,
        );
        self.split_brain = SplitBrain {
            text,
            since_ns: now_ns,
            source_runs: self.source_started_again,
            ..SplitBrain::default()
        };
        self.enter(Phase::SplitBrain, now_ns);
        if self.destination_done && self.resumed && self.hold == DestinationHold::No {
            self.split_brain.destination_runs = true;
            self.stop_stale_copy(now_ns, effects);
        } else if self.destination_loss == Some(SideLoss::Gone) {
            self.end_split_brain_unknown("the destination cannot be asked", effects);
        } else {
            self.ask_destination(effects);
        }
    }

    /// Holds the destination, unless it is held already or a hold is under way.
    pub(super) fn ask_destination(&mut self, effects: &mut Vec<Effect>) {
        match self.hold {
            DestinationHold::Held => self.guest_is_on_source(effects),
            DestinationHold::Asked => {}
            DestinationHold::No | DestinationHold::Releasing => {
                (self.hold, self.was_held) = (DestinationHold::Asked, true);
                effects.push(Effect::Send(Command::Hold));
            }
        }
    }

    /// Handles the answer of the destination to the hold.
    pub(super) fn hold_answered_in_split_brain(
        &mut self,
        held: Held,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        self.was_held = matches!(held, Held::Waits | Held::Stopped);
        self.hold = if self.was_held { DestinationHold::Held } else { DestinationHold::No };
        match held {
            Held::Waits | Held::Stopped | Held::Stands => self.guest_is_on_source(effects),
            Held::Runs => {
                self.split_brain.destination_runs = true;
                self.stop_stale_copy(now_ns, effects);
            }
        }
    }

    /// Handles a side that cannot be asked any more. A destination that completed and was seen to
    /// run the guest does not need to be asked.
    pub(super) fn unreachable_in_split_brain(
        &mut self,
        side: Side,
        reason: &str,
        effects: &mut Vec<Effect>,
    ) {
        let is_known = self.split_brain.destination_runs && self.destination_done;
        if side == Side::Source || !is_known {
            self.end_split_brain_unknown(
                &format!("{side}: the QMP connection ended: {reason}"),
                effects,
            );
        }
    }

    /// Handles a hold without an answer. The hold is sent again when the destination answers again.
    pub(super) fn hold_failed_in_split_brain(&mut self, effects: &mut Vec<Effect>) {
        self.hold = DestinationHold::No;
        match self.destination_loss {
            Some(out) if out.is_for_good() && !self.destination_done => {
                self.guest_is_on_source(effects);
            }
            Some(_) => self.end_split_brain_unknown("the destination cannot be asked", effects),
            None => self.hold_refused = true,
        }
    }

    /// Ends the migration when the guest will not run on the destination.
    pub(super) fn guest_is_on_source(&mut self, effects: &mut Vec<Effect>) {
        let text = std::mem::take(&mut self.split_brain.text);
        if self.source_done {
            self.end(
                Outcome::Unknown,
                format!("the source says completed as well as failed ({text})"),
                effects,
            );
        } else if self.postcopy_happened {
            // Since 10.2 the source may run the guest even then. `settle` checks its run state.
            self.end(Outcome::Lost, format!("post-copy failed: {text}"), effects);
        } else {
            self.stopped(Outcome::Failed, text, effects);
        }
    }

    /// Handles a RESUME of the source. Since 10.2 it comes before the report of the failure.
    pub(super) fn source_starts_again(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        self.source_started_again = true;
        if self.phase == Phase::SplitBrain {
            self.split_brain.source_runs = true;
            self.stop_stale_copy(now_ns, effects);
        }
    }

    /// If both sides run the guest, stops the side whose copy is incomplete or out of date.
    pub(super) fn stop_stale_copy(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        let SplitBrain { since_ns, source_runs, destination_runs, stop_sent_to, .. } =
            self.split_brain;
        if !destination_runs || stop_sent_to.is_some() {
            return;
        }
        let has_started = source_runs || now_ns.saturating_sub(since_ns) > RESTART_TIMEOUT_NS;
        let (side, reason) = if self.destination_done && has_started {
            (
                Side::Source,
                "both run: the destination has the guest, and the source started it again",
            )
        } else if self.recovery.is_paused_on(Side::Destination) && source_runs {
            (
                Side::Destination,
                "both run: the destination will never have all of the guest, and the source started it again",
            )
        } else {
            return;
        };
        self.split_brain.stop_sent_to = Some(side);
        self.note(DecisionAction::StopStaleCopy, reason, effects);
        effects.push(Effect::Send(Command::StopStaleCopy(side)));
    }

    /// Whether `stop` was sent to one of the two sides.
    pub(super) fn is_stopping_stale_copy(&self) -> bool {
        self.phase == Phase::SplitBrain && self.split_brain.stop_sent_to.is_some()
    }

    pub(super) fn stale_copy_stopped(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_stopping_stale_copy() {
            return;
        }
        let text = std::mem::take(&mut self.split_brain.text);
        if self.split_brain.stop_sent_to == Some(Side::Source) {
            self.switched_over(effects);
            let reason = format!(
                "completed, by the destination's word; the source had not heard of it ({text}), started the guest again, and was stopped: both \
                 ran for a moment. Never continue the source"
            );
            self.end(Outcome::Completed, reason, effects);
        } else if self.source_let_go {
            let reason = format!(
                "{text}, and runs the guest as it stood at the switchover: what it did since is lost, and its disks may be newer than its memory. \
                 The destination, which will never have all of it, was told to stop: end it"
            );
            self.end(Outcome::Unknown, reason, effects);
        } else {
            let reason = format!(
                "{text}, and goes on from where the guest stood at the switchover; the destination, which had started it and will never have \
                 all of it, was told to stop: both ran for a moment. End the destination"
            );
            self.end(Outcome::Failed, reason, effects);
        }
    }

    /// Sends `stop` again, because the last one may be lost.
    pub(super) fn resend_stop(&mut self, side: Side, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.split_brain.stop_sent_to == Some(side) {
            self.split_brain.stop_sent_to = None;
        }
        self.stop_stale_copy(now_ns, effects);
    }

    pub(super) fn watch_split_brain(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        self.stop_stale_copy(now_ns, effects);
        if now_ns.saturating_sub(self.split_brain.since_ns) <= RESOLVE_TIMEOUT_NS {
            return;
        }
        let lacks_pages =
            self.split_brain.destination_runs && !self.destination_done && self.postcopy_happened;
        let why = if lacks_pages {
            "it has the guest, but not all of its memory, and the source goes on from where it stood at the switchover"
        } else {
            "it could not be found out in time"
        };
        self.end_split_brain_unknown(why, effects);
    }

    pub(super) fn end_split_brain_unknown(&mut self, why: &str, effects: &mut Vec<Effect>) {
        let reason = format!(
            "{}, and started its guest again; the destination may run it too: {why}. Look at both with query-status, and stop the source \
             if the destination runs",
            self.split_brain.text
        );
        self.end(Outcome::Unknown, reason, effects);
    }

    /// Handles the exit of the destination's process.
    pub(super) fn destination_exited_in_split_brain(
        &mut self,
        reason: &str,
        effects: &mut Vec<Effect>,
    ) {
        let stopped = self.split_brain.stop_sent_to == Some(Side::Source);
        if self.destination_done || stopped {
            let what = if stopped { "was told to stop" } else { "goes on" };
            let reason = format!(
                "destination: {reason}, after it had the guest; and the source ({}) {what}, at where it stood at the switchover",
                self.split_brain.text
            );
            self.end(Outcome::Unknown, reason, effects);
        } else {
            self.guest_is_on_source(effects);
        }
    }
}

//! Handles a side whose QMP connection or process ended.

use super::deadlines::PEER_TIMEOUT_NS;
use super::types::{CancelReason, DestinationHold, SideLoss, SourceLoss};
use super::{Command, DecisionAction, Effect, Machine, Phase};
use base::Side;
use record::Outcome;

impl Machine {
    /// Sends the last command again after a reconnect, because it may be lost. QEMU refuses what it
    /// has already done. The driver queries the state.
    pub(super) fn reopened(&mut self, side: Side, now_ns: u64, effects: &mut Vec<Effect>) {
        self.note(
            DecisionAction::None,
            &format!("{side}: the QMP connection had ended and was reopened"),
            effects,
        );
        if side == Side::Destination {
            if self.phase == Phase::SplitBrain {
                self.resend_stop(Side::Destination, now_ns, effects);
            }
            if self.hold == DestinationHold::Releasing {
                effects.push(Effect::Send(Command::Release));
            }
            self.hold_again(now_ns, effects);
            return;
        }
        if self.source_done {
            return;
        }
        self.missed = true;
        match self.phase {
            Phase::SplitBrain => self.resend_stop(Side::Source, now_ns, effects),
            Phase::Cancelling => self.cancel_again(effects),
            Phase::Switchover if self.sent_continue => {
                effects.push(Effect::Send(Command::Continue));
            }
            Phase::Precopy if self.sent_postcopy => {
                effects.push(Effect::Send(Command::StartPostcopy));
            }
            Phase::Precopy if self.seen.finish_asked => effects.push(Effect::Send(Command::Finish)),
            _ => {}
        }
    }

    /// Handles a side that cannot be asked any more. If it is the source, only the destination
    /// knows whether it has the guest.
    pub(super) fn gone(
        &mut self,
        side: Side,
        reason: &str,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        if side == Side::Destination {
            self.destination_loss.get_or_insert(SideLoss::Gone);
        }
        match (side, self.phase) {
            (_, Phase::SplitBrain) => self.unreachable_in_split_brain(side, reason, effects),
            (Side::Source, _) if self.source_done || self.source_loss.is_some() => {}
            (Side::Source, _) => {
                self.without_source(SourceLoss::Gone(reason.to_owned()), now_ns, effects);
            }
            // The migration continues. It cannot be cancelled, because the destination cannot be
            // held. The source will report the result.
            (Side::Destination, Phase::Precopy | Phase::Switchover)
                if !self.source_done && self.wants_out.is_none() =>
            {
                self.note(
                    DecisionAction::GoOn,
                    &format!("destination: the QMP connection ended: {reason}"),
                    effects,
                );
            }
            // The destination has completed. The source will report the result.
            (Side::Destination, Phase::AwaitingPeer)
                if self.destination_done && self.hold == DestinationHold::No => {}
            (Side::Destination, Phase::Cancelling) => {}
            _ => self.end(
                Outcome::Unknown,
                format!("{side}: the QMP connection ended: {reason}"),
                effects,
            ),
        }
    }

    pub(super) fn exited(
        &mut self,
        side: Side,
        reason: &str,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        if side == Side::Destination {
            self.destination_loss = Some(SideLoss::Exited);
        }
        match (side, &self.source_loss) {
            (Side::Destination, None) if self.phase == Phase::SplitBrain => {
                self.destination_exited_in_split_brain(reason, effects);
            }
            (Side::Source, _) => {
                self.without_source(SourceLoss::Exited(reason.to_owned()), now_ns, effects);
            }
            (Side::Destination, Some(out)) => {
                let (outcome, reason) =
                    outcome_without_source(out, &format!("destination: {reason}"));
                self.end(outcome, reason, effects);
            }
            // The destination had not started the guest, so the source may continue it.
            (Side::Destination, None) if self.may_go_back() => {
                self.begin_cancel(
                    CancelReason::Trouble,
                    format!("destination: {reason}"),
                    now_ns,
                    effects,
                );
            }
            (Side::Destination, None) if self.destination_done => {
                self.end(
                    Outcome::Lost,
                    format!("{side}: {reason}, after it had the guest"),
                    effects,
                );
            }
            (Side::Destination, None) if !self.postcopy_happened && !self.source_done => {
                if self.phase != Phase::Cancelling {
                    self.cancel(
                        CancelReason::Trouble,
                        format!("destination: {reason}"),
                        now_ns,
                        effects,
                    );
                }
            }
            (Side::Destination, None) => {
                self.end(Outcome::Lost, format!("{side}: {reason}"), effects);
            }
        }
    }

    /// Continues without the source. The destination may have received everything it needs.
    fn without_source(&mut self, out: SourceLoss, now_ns: u64, effects: &mut Vec<Effect>) {
        self.note(
            DecisionAction::None,
            &format!(
                "without the source ({}), what becomes of the destination decides",
                out.reason()
            ),
            effects,
        );
        if self.destination_loss.is_some_and(SideLoss::is_for_good) && !self.destination_done {
            let (outcome, reason) = outcome_without_source(&out, "the destination has failed");
            self.end(outcome, reason, effects);
            return;
        }
        self.source_loss = Some(out);
        if self.destination_done {
            self.done(now_ns, effects);
        } else {
            self.enter(Phase::PeerUnreachable, now_ns);
        }
    }

    pub(super) fn is_source_dead(&self) -> bool {
        matches!(self.source_loss, Some(SourceLoss::Exited(_)))
    }

    /// Ends the migration if the destination neither completes nor fails in time.
    pub(super) fn watch_peer_unreachable(
        &mut self,
        out: &SourceLoss,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        let paused = self.recovery.is_paused_on(Side::Destination);
        let over = now_ns.saturating_sub(self.since_ns) > PEER_TIMEOUT_NS;
        // A source that lives keeps sending, for at most the time limit of the scenario.
        let too_long = now_ns.saturating_sub(self.started_ns)
            > self.rules.give_up.after.0.saturating_mul(1000);
        match out {
            SourceLoss::Exited(reason) if paused => {
                let reason = format!(
                    "source: {reason}; and pages that only it had are missing on the destination"
                );
                self.end(Outcome::Lost, reason, effects);
            }
            SourceLoss::Exited(reason) if over => {
                let reason = format!(
                    "source: {reason}; and the destination neither completes nor fails. See query-migrate there"
                );
                self.end(Outcome::Unknown, reason, effects);
            }
            SourceLoss::Gone(reason)
                if over && (paused || too_long) || self.wants_out.is_some() =>
            {
                let reason = format!(
                    "source: the QMP connection ended: {reason}; nothing can be cancelled without it, and the destination neither completes \
                     nor fails. See query-migrate on both sides, and `switchover attach` when the source can be reached"
                );
                self.end(Outcome::Unknown, reason, effects);
            }
            SourceLoss::Exited(_) | SourceLoss::Gone(_) => {}
        }
    }
}

/// The outcome when the destination does not have the guest, for the reason in `text`.
pub(super) fn outcome_without_source(out: &SourceLoss, text: &str) -> (Outcome, String) {
    match out {
        SourceLoss::Exited(reason) => (Outcome::Lost, format!("source: {reason}; {text}")),
        SourceLoss::Gone(reason) => {
            let reason = format!(
                "{text}; and the source cannot be asked ({reason}). The guest is there, if anywhere: see query-status on the source"
            );
            (Outcome::Unknown, reason)
        }
    }
}

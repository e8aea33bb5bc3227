//! What a side means that can no longer be asked, or is no more.

use super::cancel::{Hold, Why};
use super::deadlines::OTHER_SIDE_DEADLINE_NS;
use super::{Command, Effect, Machine, Phase};
use base::Side;
use record::Outcome;

/// Why the source is no longer asked.
#[derive(Clone, Debug)]
pub(super) enum SourceOut {
    /// Its process ended.
    Exited(String),
    /// The connection to it ended. It may live.
    Gone(String),
}

/// How a side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    /// Its process.
    Exited,
    /// Its migration.
    Failed,
    /// Only the connection to it.
    Gone,
}

impl Out {
    /// It will never have the guest.
    pub(super) fn is_for_good(self) -> bool {
        self != Out::Gone
    }
}

impl Machine {
    /// What was on its way may be lost, so it is said again; QEMU refuses what it has done already. The state is asked for by the driver.
    pub(super) fn reopened(&mut self, side: Side, now_ns: u64, effects: &mut Vec<Effect>) {
        self.note(
            "none",
            &format!("{side}: the QMP connection had ended, and was made again"),
            effects,
        );
        if side == Side::Destination {
            if self.phase == Phase::Doubt {
                self.quell_again(Side::Destination, now_ns, effects);
            }
            if self.hold == Hold::Releasing {
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
            Phase::Doubt => self.quell_again(Side::Source, now_ns, effects),
            Phase::Cancelling => self.cancel_again(effects),
            Phase::Switchover if self.sent_continue => {
                effects.push(Effect::Send(Command::Continue))
            }
            Phase::Precopy if self.sent_postcopy => {
                effects.push(Effect::Send(Command::StartPostcopy))
            }
            Phase::Precopy if self.seen.finish_asked => effects.push(Effect::Send(Command::Finish)),
            _ => {}
        }
    }

    /// A source that cannot be asked may have handed over: the destination knows.
    pub(super) fn gone(
        &mut self,
        side: Side,
        reason: &str,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        if side == Side::Destination {
            self.destination_out.get_or_insert(Out::Gone);
        }
        match (side, self.phase) {
            (_, Phase::Doubt) => self.gone_in_doubt(side, reason, effects),
            (Side::Source, _) if self.source_done || self.source_out.is_some() => {}
            (Side::Source, _) => {
                self.without_source(SourceOut::Gone(reason.to_owned()), now_ns, effects)
            }
            // The migration goes on without it, and cannot be cancelled: nobody holds the destination. The source's word comes.
            (Side::Destination, Phase::Precopy | Phase::Switchover)
                if !self.source_done && self.wants_out.is_none() =>
            {
                self.note(
                    "go-on",
                    &format!("destination: the QMP connection ended: {reason}"),
                    effects,
                );
            }
            // It has said all there is to say; the source's word comes.
            (Side::Destination, Phase::OtherSide)
                if self.destination_done && self.hold == Hold::No => {}
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
            self.destination_out = Some(Out::Exited);
        }
        match (side, &self.source_out) {
            (Side::Destination, None) if self.phase == Phase::Doubt => {
                self.destination_ended_in_doubt(reason, effects)
            }
            (Side::Source, _) => {
                self.without_source(SourceOut::Exited(reason.to_owned()), now_ns, effects)
            }
            (Side::Destination, Some(out)) => {
                let (outcome, reason) = without_source(out, &format!("destination: {reason}"));
                self.end(outcome, reason, effects);
            }
            // It had not started the guest, so the source may have it again.
            (Side::Destination, None) if self.may_go_back() => {
                self.begin_cancel(Why::Trouble, format!("destination: {reason}"), now_ns, effects);
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
                    self.cancel(Why::Trouble, format!("destination: {reason}"), now_ns, effects);
                }
            }
            (Side::Destination, None) => {
                self.end(Outcome::Lost, format!("{side}: {reason}"), effects)
            }
        }
    }

    /// All that the destination needs may have been sent.
    fn without_source(&mut self, out: SourceOut, now_ns: u64, effects: &mut Vec<Effect>) {
        self.note(
            "none",
            &format!(
                "without the source ({}), what becomes of the destination decides",
                out.reason()
            ),
            effects,
        );
        if self.destination_out.is_some_and(Out::is_for_good) && !self.destination_done {
            let (outcome, reason) = without_source(&out, "the destination has failed");
            self.end(outcome, reason, effects);
            return;
        }
        self.source_out = Some(out);
        if self.destination_done {
            self.done(now_ns, effects);
        } else {
            self.enter(Phase::Alone, now_ns);
        }
    }

    pub(super) fn is_source_dead(&self) -> bool {
        matches!(self.source_out, Some(SourceOut::Exited(_)))
    }

    /// The destination neither completes nor fails.
    pub(super) fn watch_alone(&mut self, out: &SourceOut, now_ns: u64, effects: &mut Vec<Effect>) {
        let paused = self.recovery.is_paused_on(Side::Destination);
        let over = now_ns.saturating_sub(self.since_ns) > OTHER_SIDE_DEADLINE_NS;
        // A source that lives sends on; as long as the user gives it.
        let too_long = now_ns.saturating_sub(self.started_ns)
            > self.rules.give_up.after.0.saturating_mul(1000);
        match out {
            SourceOut::Exited(reason) if paused => {
                let reason = format!(
                    "source: {reason}; and pages that only it had are missing on the destination"
                );
                self.end(Outcome::Lost, reason, effects);
            }
            SourceOut::Exited(reason) if over => {
                let reason = format!(
                    "source: {reason}; and the destination neither completes nor fails. See query-migrate there"
                );
                self.end(Outcome::Unknown, reason, effects);
            }
            SourceOut::Gone(reason) if over && (paused || too_long) || self.wants_out.is_some() => {
                let reason = format!(
                    "source: the QMP connection ended: {reason}; nothing can be cancelled without it, and the destination neither completes \
                     nor fails. See query-migrate on both sides, and `switchover attach` when the source can be reached"
                );
                self.end(Outcome::Unknown, reason, effects);
            }
            SourceOut::Exited(_) | SourceOut::Gone(_) => {}
        }
    }
}

impl SourceOut {
    fn reason(&self) -> &str {
        match self {
            SourceOut::Exited(reason) | SourceOut::Gone(reason) => reason,
        }
    }
}

/// The destination does not have the guest, for the reason in `text`.
pub(super) fn without_source(out: &SourceOut, text: &str) -> (Outcome, String) {
    match out {
        SourceOut::Exited(reason) => (Outcome::Lost, format!("source: {reason}; {text}")),
        SourceOut::Gone(reason) => {
            let reason = format!(
                "{text}; and the source cannot be asked ({reason}). The guest is there, if anywhere: see query-status on the source"
            );
            (Outcome::Unknown, reason)
        }
    }
}

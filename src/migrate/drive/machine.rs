//! Decides what to do next, as a pure function: `step(input, now)` changes the state and returns
//! effects. It reads no clock and touches no socket.
//!
//! The safety rules are enforced here. [`Machine::cancel`] cancels nothing once post-copy may have
//! begun, because the memory of the source is then no longer the whole guest. QEMU 7.2 obeys such a
//! cancel and loses the guest, so there the request for post-copy is already the point of no
//! return. The machine never continues a source. QEMU itself does that after a cancel or a failure.

mod cancel;
mod deadlines;
mod failure;
mod peer_unreachable;
mod split_brain;
mod types;

pub use types::{Command, Decision, DecisionAction, Effect, Ending, Held, Input, Phase};

use super::hooks::Hook;
use super::recovery::Recovery;
use crate::plan::{Listen, Plan};
use base::Side;
use cancel::WAS_HELD;
use model::policy::{Action, Observation, Rules};
use qmp::{Event, MigrationInfo, Status};
use record::Outcome;
use scenario::MAX_DOWNTIME;
use split_brain::SplitBrain;
use types::{CancelReason, DestinationHold, SideLoss, SourceLoss};

/// The state of one migration.
#[derive(Clone, Debug)]
pub struct Machine {
    rules: Rules,
    cancel_is_guarded: bool,
    /// `migrate-incoming` must still be sent, after the source has written everything.
    listens_after: bool,
    listen_sent: bool,
    phase: Phase,
    since_ns: u64,
    started_ns: u64,
    active_ns: Option<u64>,
    /// The downtime-limit that was set. QEMU answers nothing until it has sent the rest of RAM.
    limit_ns: u64,
    /// The downtime-limit that is in force, which [`Command::Finish`] raises.
    max_stop_ns: u64,
    seen: Observation,
    /// A cancel that was wanted but could not be sent.
    wants_out: Option<(CancelReason, String)>,
    why: Option<(CancelReason, String)>,
    postcopy_happened: bool,
    source_done: bool,
    destination_done: bool,
    progress_ns: u64,
    stalled_after_ns: u64,
    recovery: Recovery,
    has_hook: bool,
    /// The hook after the switchover must still run.
    has_hook_after: bool,
    source_loss: Option<SourceLoss>,
    destination_loss: Option<SideLoss>,
    hold: DestinationHold,
    hold_refused: bool,
    was_held: bool,
    /// The source waits in pre-switchover and has sent no device state.
    waits: bool,
    /// The source sends its device state or has sent it.
    in_device: bool,
    sent_postcopy: bool,
    sent_continue: bool,
    /// The source reported that the guest runs on the destination.
    source_let_go: bool,
    /// The source started its guest again after it was stopped for the switchover.
    source_started_again: bool,
    /// The destination sent RESUME, so it started its guest.
    resumed: bool,
    /// Events of the source may be missing, because the connection was interrupted.
    missed: bool,
    split_brain: SplitBrain,
}

impl Machine {
    /// A machine for a migration that is about to start.
    #[must_use]
    pub fn new(plan: &Plan) -> Machine {
        Machine {
            rules: Rules { switch: plan.switch, finish: plan.finish, give_up: plan.give_up },
            cancel_is_guarded: plan.cancel_is_guarded,
            listens_after: matches!(plan.listen, Listen::After(_)),
            listen_sent: false,
            phase: Phase::Precopy,
            since_ns: 0,
            started_ns: 0,
            active_ns: None,
            limit_ns: plan.downtime_limit.0.saturating_mul(1000),
            max_stop_ns: plan.downtime_limit.0.saturating_mul(1000),
            seen: Observation::default(),
            wants_out: None,
            why: None,
            postcopy_happened: false,
            source_done: false,
            destination_done: false,
            progress_ns: 0,
            stalled_after_ns: plan.recovery.stalled_after.0 * 1000,
            recovery: Recovery::new(plan.recovery),
            has_hook: plan.hooks.before_switchover.is_some(),
            has_hook_after: plan.hooks.after_switchover.is_some(),
            source_loss: None,
            destination_loss: None,
            hold: if plan.confirms { DestinationHold::Held } else { DestinationHold::No },
            hold_refused: false,
            was_held: plan.confirms,
            waits: false,
            in_device: false,
            sent_postcopy: false,
            sent_continue: false,
            source_let_go: false,
            source_started_again: false,
            resumed: false,
            missed: false,
            split_brain: SplitBrain::default(),
        }
    }

    /// A machine for a migration that another driver started. Whether post-copy was asked for is
    /// unknown, so it counts as asked for if the mode allows it.
    #[must_use]
    pub fn adopting(plan: &Plan) -> Machine {
        let mut machine = Machine::new(plan);
        machine.seen.postcopy_asked = plan.mode.allows_postcopy();
        machine.missed = true;
        machine
    }

    /// The current phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What is known about pre-copy.
    #[must_use]
    pub fn observation(&self) -> Observation {
        self.seen
    }

    /// Takes an input that arrived at `now_ns` and returns the effects, in order.
    pub fn step(&mut self, input: &Input<'_>, now_ns: u64) -> Vec<Effect> {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        let mut effects = Vec::new();
        match input {
            Input::Started => (self.started_ns, self.since_ns) = (now_ns, now_ns),
            Input::Event(side, event) => self.event(*side, event, now_ns, &mut effects),
            Input::Sample(side, info) => self.sample(*side, info, now_ns, &mut effects),
            Input::Refused(command, text) => self.refused(*command, text, now_ns, &mut effects),
            Input::Recovered if self.recovery.is_trying() => {
                self.recovery.succeeded();
                self.progress_ns = now_ns;
                self.note(DecisionAction::Recovered, "post-copy goes on", &mut effects);
            }
            Input::Reopened(side) => self.reopened(*side, now_ns, &mut effects),
            Input::Gone(side, reason) => self.gone(*side, reason, now_ns, &mut effects),
            Input::Exited(side, reason) => self.exited(*side, reason, now_ns, &mut effects),
            Input::Released if self.hold == DestinationHold::Releasing => {
                self.released(now_ns, &mut effects);
            }
            Input::StaleCopyStopped => self.stale_copy_stopped(&mut effects),
            Input::Held(held) => self.held(*held, now_ns, &mut effects),
            Input::Hooked(result) => self.hooked(result, now_ns, &mut effects),
            Input::Interrupt => {
                self.cancel(CancelReason::User, "interrupted".to_owned(), now_ns, &mut effects);
            }
            Input::Released | Input::Recovered | Input::Tick => {}
        }
        self.decide(now_ns, &mut effects);
        self.watch_deadlines(now_ns, &mut effects);
        effects
    }

    fn event(&mut self, side: Side, event: &Event, now_ns: u64, effects: &mut Vec<Effect>) {
        let text = |key: &str| event.data.get(key).and_then(|value| value.as_str());
        match (event.name.as_str(), side) {
            ("MIGRATION", side) => {
                if let Some(status) = text("status") {
                    self.status(side, &Status::from(status), None, now_ns, effects);
                }
            }
            ("MIGRATION_PASS", Side::Source) => {
                let pass = event.data.get("pass").and_then(serde_json::Value::as_u64).unwrap_or(0);
                self.seen.pass = self.seen.pass.max(pass);
            }
            ("STOP", Side::Source) => self.source_started_again = false,
            ("RESUME", Side::Source) => self.source_starts_again(now_ns, effects),
            ("RESUME", Side::Destination) => {
                self.resumed = true;
                self.switched_over(effects);
                // If a hold is under way, somebody else started the guest.
                if self.hold != DestinationHold::Asked {
                    self.released(now_ns, effects);
                }
            }
            // A guest that powers off during a migration ends its process, which is an input of its
            // own.
            _ => {}
        }
    }

    fn sample(&mut self, side: Side, info: &MigrationInfo, now_ns: u64, effects: &mut Vec<Effect>) {
        if let (Side::Source, Some(transferred)) =
            (side, info.ram.as_ref().and_then(|ram| ram.transferred))
            && transferred > self.seen.transferred
        {
            self.seen.transferred = transferred;
            self.progress_ns = now_ns;
        }
        if let Some(status) = &info.status {
            self.status(side, status, info.error_desc.as_deref(), now_ns, effects);
        }
        if side == Side::Destination {
            self.hold_again(now_ns, effects);
        }
    }

    fn status(
        &mut self,
        side: Side,
        status: &Status,
        error: Option<&str>,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        if status.is_postcopy() && self.phase != Phase::Ended {
            self.postcopy_happened = true;
            if matches!(self.phase, Phase::Precopy | Phase::Switchover | Phase::Cancelling) {
                self.enter(Phase::Postcopy, now_ns);
                self.progress_ns = now_ns;
            }
        }
        self.recovery.saw(side, status, now_ns);
        if status.is_postcopy()
            && side == Side::Source
            && self.destination_loss.is_some_and(SideLoss::is_for_good)
            && !self.destination_done
        {
            self.end(
                Outcome::Lost,
                "post-copy began, and the destination has failed".to_owned(),
                effects,
            );
            return;
        }
        match (side, status) {
            // Later reports of a source that has exited are outdated, except that it completed.
            (Side::Source, status) if self.is_source_dead() && *status != Status::Completed => {}
            (Side::Source, Status::Active) => {
                self.active_ns.get_or_insert(now_ns);
            }
            (Side::Source, Status::PreSwitchover) if self.phase == Phase::Precopy => {
                self.enter(Phase::Switchover, now_ns);
                self.waits = true;
                if self.has_hook {
                    self.note(DecisionAction::Hook, "the source is ready to switch over", effects);
                    effects.push(Effect::Hook(Hook::BeforeSwitchover));
                } else {
                    self.go_on("the source is ready to switch over", effects);
                }
            }
            (Side::Source, Status::Device) => {
                (self.waits, self.in_device) = (false, true);
                if self.phase == Phase::Precopy {
                    self.enter(Phase::Switchover, now_ns);
                }
            }
            // Since 10.2 the source may still resume the guest before this, in postcopy-device.
            (Side::Source, Status::PostcopyActive | Status::PostcopyPaused) => {
                self.source_let_go = true;
                self.let_run(effects);
            }
            (Side::Source, Status::Completed)
                if self.destination_loss == Some(SideLoss::Exited) =>
            {
                self.end(
                    Outcome::Lost,
                    "the source handed over to a destination whose process ended".to_owned(),
                    effects,
                );
            }
            (Side::Source, Status::Completed) => {
                self.source_done = true;
                self.done(now_ns, effects);
            }
            (Side::Destination, Status::Completed) => {
                self.destination_done = true;
                self.done(now_ns, effects);
            }
            // 7.2 obeys a cancel in post-copy. The source then runs the guest, and so may the
            // destination.
            (Side::Source, Status::Cancelled)
                if self.postcopy_happened || self.source_done || self.is_elsewhere() =>
            {
                let reason = "somebody else cancelled it after the destination had taken over: the guest \
                              may be on either side, or on both. Stop both before doing anything";
                self.end(Outcome::Unknown, reason.to_owned(), effects);
            }
            (Side::Source, Status::Cancelled) => {
                self.stopped(Outcome::Cancelled, "somebody else cancelled it".to_owned(), effects);
            }
            (side, Status::Failed) => self.failed(side, error, now_ns, effects),
            _ => {}
        }
    }

    /// Lets a source that waits in pre-switchover switch over.
    fn go_on(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        self.note(DecisionAction::Continue, reason, effects);
        self.sent_continue = true;
        self.waits = false;
        effects.push(Effect::Send(Command::Continue));
    }

    /// Runs the hook after the switchover once, when the guest runs on the destination.
    fn switched_over(&mut self, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.has_hook_after) {
            effects.push(Effect::Hook(Hook::AfterSwitchover));
        }
    }

    fn done(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.phase == Phase::SplitBrain && self.source_loss.is_none() {
            self.stop_stale_copy(now_ns, effects);
        } else if self.destination_done && (self.source_done || self.source_loss.is_some()) {
            if self.hold != DestinationHold::No {
                self.release(now_ns, effects);
                return;
            }
            // The RESUME event may have been missed.
            self.switched_over(effects);
            let reason = match (
                self.why.as_ref().or(self.wants_out.as_ref()),
                self.seen.postcopy_asked,
                self.postcopy_happened,
            ) {
                (Some((_, reason)), ..) => {
                    format!("completed before it could be cancelled ({reason})")
                }
                (None, true, false) => {
                    "completed; post-copy was asked for, but pre-copy finished first".to_owned()
                }
                (None, _, true) => "completed by post-copy".to_owned(),
                (None, _, false) => "completed by pre-copy".to_owned(),
            };
            let reason = match self.source_loss.as_ref().filter(|_| !self.source_done) {
                Some(SourceLoss::Exited(why)) => {
                    format!("{reason}, by the destination's word (source: {why})")
                }
                Some(SourceLoss::Gone(why)) => {
                    format!(
                        "{reason}, by the destination's word; the source cannot be asked ({why}). If the stream broke as well, it may run its \
                         guest too: stop it when it can be reached, and never continue it"
                    )
                }
                None => reason,
            };
            self.end(Outcome::Completed, reason, effects);
        } else if self.phase != Phase::AwaitingPeer {
            self.enter(Phase::AwaitingPeer, now_ns);
            if self.source_done && std::mem::take(&mut self.listens_after) {
                self.listen_sent = true;
                self.note(DecisionAction::Listen, "the source has written everything", effects);
                effects.push(Effect::Send(Command::Listen));
            }
        }
    }

    /// Whether the destination has the guest and may run it.
    fn is_elsewhere(&self) -> bool {
        self.destination_done && self.hold != DestinationHold::Held
    }

    /// Ends a migration whose guest stays on the source. If we cancelled, our reason counts,
    /// otherwise the outcome and reason that are passed.
    fn stopped(&mut self, otherwise: Outcome, because: String, effects: &mut Vec<Effect>) {
        let (outcome, reason) = match self.why.take() {
            Some((CancelReason::GaveUp, reason)) => (Outcome::NotConverged, reason),
            Some((CancelReason::User, reason)) => (Outcome::Cancelled, reason),
            Some((CancelReason::Trouble, reason)) => (Outcome::Failed, reason),
            None => (otherwise, because),
        };
        self.end(outcome, reason, effects);
    }

    /// Handles the result of the hook before the switchover. A failure cancels the migration. If
    /// that is no longer safe, the switchover continues.
    fn hooked(&mut self, result: &Result<(), String>, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Switchover {
            return;
        }
        if let Err(text) = result {
            self.cancel(CancelReason::Trouble, text.clone(), now_ns, effects);
        }
        if self.phase == Phase::Switchover {
            self.go_on("the hook is done", effects);
        }
    }

    fn decide(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.started_ns == 0 || self.phase != Phase::Precopy {
            return;
        }
        self.seen.elapsed_us = now_ns.saturating_sub(self.started_ns) / 1000;
        self.seen.active_us = self.active_ns.map(|active| now_ns.saturating_sub(active) / 1000);
        match self.rules.decide(&self.seen) {
            Some((Action::StartPostcopy, reason)) => {
                self.note(DecisionAction::StartPostcopy, &reason, effects);
                self.seen.postcopy_asked = true;
                self.sent_postcopy = true;
                effects.push(Effect::Send(Command::StartPostcopy));
            }
            Some((Action::Finish, reason)) => {
                self.note(DecisionAction::Finish, &reason, effects);
                self.seen.finish_asked = true;
                self.max_stop_ns = MAX_DOWNTIME.0 * 1000;
                effects.push(Effect::Send(Command::Finish));
            }
            Some((Action::GiveUp, reason)) => {
                self.cancel(CancelReason::GaveUp, reason, now_ns, effects);
            }
            None => {}
        }
    }

    fn enter(&mut self, phase: Phase, now_ns: u64) {
        (self.phase, self.since_ns) = (phase, now_ns);
    }

    fn note(&self, action: DecisionAction, reason: &str, effects: &mut Vec<Effect>) {
        let decision = Decision { action, reason: reason.to_owned(), observation: self.seen };
        effects.push(Effect::Decided(decision));
    }

    fn end(&mut self, outcome: Outcome, reason: String, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ended;
        let stands = outcome == Outcome::Unknown && self.was_held;
        let reason = if stands { reason + WAS_HELD } else { reason };
        let (postcopy_happened, let_go, passes) =
            (self.postcopy_happened, self.source_let_go, self.seen.pass);
        effects.push(Effect::End(Ending { outcome, reason, postcopy_happened, let_go, passes }));
    }
}

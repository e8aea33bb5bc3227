//! What to do next, as a pure function: `step(input, now)` changes the state and gives effects. No clock, no socket.
//!
//! The safety rules live here, in two places that everything passes through. [`Machine::cancel`]: nothing is cancelled once
//! post-copy may have begun, because the source's memory is then no longer the whole guest; and 7.2 would obey such a cancel
//! and lose the guest (facts/qapi.md §6.3), so there already the request for post-copy is the point of no return.
//! And nothing here ever continues a source: QEMU itself does so after a cancel or a failure.

use super::recovery::{Due, Recovery};
use crate::plan::{Listen, Plan, Side};
use crate::policy::{Action, Observation, Rules};
use crate::qmp::{Event, MigrationInfo, Status};
use crate::record::Outcome;
use serde::Serialize;

/// A cancel must be done by then.
const CANCEL_DEADLINE_NS: u64 = 15_000_000_000;
/// Stopped for switchover, and it does not come about.
const SWITCHOVER_DEADLINE_NS: u64 = 30_000_000_000;
/// One side is done, the other says nothing.
const OTHER_SIDE_DEADLINE_NS: u64 = 20_000_000_000;
/// Asked for, post-copy neither begins nor fails.
const UNBEGUN_NS: u64 = 60_000_000_000;

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
    /// The connection to a side ended.
    Gone(Side, String),
    /// The process of a side ended: there is no guest on it any more.
    Exited(Side, String),
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
    /// `migrate_cancel` on the source.
    Cancel,
    /// `migrate-continue` from pre-switchover, on the source.
    Continue,
    /// `migrate-recover` on the destination and `migrate` with `resume` on the source: an attempt to bring a broken post-copy back.
    Recover,
    /// `migrate-incoming` on the destination, when the source has written everything into a file.
    Listen,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send this.
    Send(Command),
    /// Note this: it was decided, for this reason, having seen this.
    Decided(Decision),
    /// Run the user's command for before the switchover; its result is [`Input::Hooked`].
    Hook,
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
    /// Over.
    Ended,
}

/// Why a cancel is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    GaveUp,
    User,
    Trouble,
}

/// The state of one migration.
#[derive(Clone, Debug)]
pub struct Machine {
    rules: Rules,
    cancel_is_guarded: bool,
    /// The destination is still to be told to listen.
    listens_after: bool,
    told_to_listen: bool,
    phase: Phase,
    since_ns: u64,
    started_ns: u64,
    active_ns: Option<u64>,
    seen: Observation,
    /// Asked for a cancel that had to be put off, and why.
    wants_out: Option<(Why, String)>,
    why: Option<(Why, String)>,
    postcopy_happened: bool,
    source_done: bool,
    destination_done: bool,
    progress_ns: u64,
    stalled_after_ns: u64,
    recovery: Recovery,
    has_hook: bool,
}

impl Machine {
    /// A migration about to start.
    #[must_use]
    pub fn new(plan: &Plan) -> Machine {
        Machine {
            rules: Rules { switch: plan.switch, give_up: plan.give_up },
            cancel_is_guarded: plan.cancel_is_guarded,
            listens_after: matches!(plan.listen, Listen::After(_)),
            told_to_listen: false,
            phase: Phase::Precopy,
            since_ns: 0,
            started_ns: 0,
            active_ns: None,
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
        }
    }

    /// A migration that somebody else began. Whether post-copy was asked for cannot be known: where it may have been, it counts as asked for.
    #[must_use]
    pub fn adopting(plan: &Plan) -> Machine {
        let mut machine = Machine::new(plan);
        machine.seen.postcopy_asked = plan.mode.may_postcopy();
        machine
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What is known of pre-copy.
    #[must_use]
    pub fn observation(&self) -> Observation {
        self.seen
    }

    /// Takes what was seen at `now_ns`; gives what to do, in order.
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
                self.note("recovered", "post-copy goes on", &mut effects);
            }
            Input::Gone(side, reason) => self.gone(*side, reason, now_ns, &mut effects),
            Input::Exited(side, reason) => self.exited(*side, reason, now_ns, &mut effects),
            Input::Hooked(result) => self.hooked(result, now_ns, &mut effects),
            Input::Interrupt => self.cancel(Why::User, "interrupted".to_owned(), now_ns, &mut effects),
            Input::Recovered | Input::Tick => {}
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
            // A guest that powers off or is shut down while migrating ends the matter in its own way: noted by its process.
            _ => {}
        }
    }

    fn sample(&mut self, side: Side, info: &MigrationInfo, now_ns: u64, effects: &mut Vec<Effect>) {
        if let (Side::Source, Some(transferred)) = (side, info.ram.as_ref().and_then(|ram| ram.transferred))
            && transferred > self.seen.transferred
        {
            self.seen.transferred = transferred;
            self.progress_ns = now_ns;
        }
        if let Some(status) = &info.status {
            self.status(side, status, info.error_desc.as_deref(), now_ns, effects);
        }
    }

    fn status(&mut self, side: Side, status: &Status, error: Option<&str>, now_ns: u64, effects: &mut Vec<Effect>) {
        if status.is_postcopy() && self.phase != Phase::Ended {
            self.postcopy_happened = true;
            if matches!(self.phase, Phase::Precopy | Phase::Switchover | Phase::Cancelling) {
                self.enter(Phase::Postcopy, now_ns);
                self.progress_ns = now_ns;
            }
        }
        self.recovery.saw(side, status, now_ns);
        match (side, status) {
            (Side::Source, Status::Active) => {
                self.active_ns.get_or_insert(now_ns);
            }
            (Side::Source, Status::PreSwitchover) if self.phase == Phase::Precopy => {
                self.enter(Phase::Switchover, now_ns);
                if self.has_hook {
                    self.note("hook", "the source is ready to switch over", effects);
                    effects.push(Effect::Hook);
                } else {
                    self.note("continue", "the source is ready to switch over", effects);
                    effects.push(Effect::Send(Command::Continue));
                }
            }
            (Side::Source, Status::Device) if self.phase == Phase::Precopy => self.enter(Phase::Switchover, now_ns),
            (Side::Source, Status::Completed) => {
                self.source_done = true;
                self.done(now_ns, effects);
            }
            (Side::Destination, Status::Completed) => {
                self.destination_done = true;
                self.done(now_ns, effects);
            }
            // 7.2 obeys a cancel in post-copy: the source runs on, and so may the destination.
            (Side::Source, Status::Cancelled) if self.postcopy_happened || self.source_done => {
                let reason = "somebody else cancelled it after the destination had taken over: the guest may be on either side, or on \
                              both. Stop both before doing anything";
                self.end(Outcome::Unknown, reason.to_owned(), effects);
            }
            (Side::Source, Status::Cancelled) => {
                self.stopped(Outcome::Cancelled, "somebody else cancelled it".to_owned(), effects);
            }
            (side, Status::Failed) => self.failed(side, error, now_ns, effects),
            _ => {}
        }
    }

    fn done(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.source_done && self.destination_done {
            let reason = match (&self.why, self.seen.postcopy_asked, self.postcopy_happened) {
                (Some((_, reason)), ..) => format!("completed before it could be cancelled ({reason})"),
                (None, true, false) => "completed; post-copy was asked for, but pre-copy finished first".to_owned(),
                (None, _, true) => "completed by post-copy".to_owned(),
                (None, _, false) => "completed by pre-copy".to_owned(),
            };
            self.end(Outcome::Completed, reason, effects);
        } else if self.phase != Phase::OtherSide {
            self.enter(Phase::OtherSide, now_ns);
            if self.source_done && std::mem::take(&mut self.listens_after) {
                self.told_to_listen = true;
                self.note("listen", "the source has written everything", effects);
                effects.push(Effect::Send(Command::Listen));
            }
        }
    }

    /// The source goes on by itself: because we cancelled, for our reason, or for the one given.
    fn stopped(&mut self, otherwise: Outcome, because: String, effects: &mut Vec<Effect>) {
        let (outcome, reason) = match self.why.take() {
            Some((Why::GaveUp, reason)) => (Outcome::NotConverged, reason),
            Some((Why::User, reason)) => (Outcome::Cancelled, reason),
            Some((Why::Trouble, reason)) => (Outcome::Failed, reason),
            None => (otherwise, because),
        };
        self.end(outcome, reason, effects);
    }

    /// A side failed. In post-copy that is the end of the guest; before, QEMU itself lets the source run on.
    fn failed(&mut self, side: Side, error: Option<&str>, now_ns: u64, effects: &mut Vec<Effect>) {
        let text = error.map_or_else(|| format!("{side}: the migration failed"), |error| format!("{side}: {error}"));
        if self.postcopy_happened {
            self.end(Outcome::Lost, format!("post-copy failed: {text}"), effects);
        } else if side == Side::Source && !self.source_done {
            // QEMU's text is in a sample only; the driver asks for it when it reads both sides at the end.
            self.stopped(Outcome::Failed, text, effects);
        } else if !self.source_done {
            self.cancel(Why::Trouble, text, now_ns, effects);
        } else {
            self.end(Outcome::Unknown, format!("the source had handed over, and then {text}"), effects);
        }
    }

    fn refused(&mut self, command: Command, text: &str, now_ns: u64, effects: &mut Vec<Effect>) {
        match command {
            // QEMU refuses a cancel once post-copy has begun (10.0 and later): then we are past the point of no return.
            Command::Cancel if self.phase == Phase::Cancelling => {
                let phase = if self.seen.postcopy_asked { Phase::Postcopy } else { Phase::Switchover };
                self.enter(phase, now_ns);
                self.progress_ns = now_ns;
                self.note("go-on", &format!("QEMU refused to cancel: {text}"), effects);
            }
            Command::Listen if self.told_to_listen => {
                let reason = format!("the source has written everything, and the destination does not read it: {text}");
                self.end(Outcome::Unknown, reason, effects);
            }
            Command::StartPostcopy if !self.postcopy_happened => {
                // A migration that is already over refuses too; its status says so next.
                self.seen.postcopy_asked = true;
                self.note("none", &format!("QEMU refused to start post-copy: {text}"), effects);
            }
            Command::Recover if self.recovery.is_trying() => {
                self.recovery.failed(text, now_ns);
                self.note("none", &format!("the attempt to recover failed: {text}"), effects);
            }
            // "not in expected state": somebody else continued it, or it failed; the status says which.
            _ => {}
        }
    }

    /// A failed hook is a reason to cancel; where that is no longer safe, the guest must go on to the destination all the same.
    fn hooked(&mut self, result: &Result<(), String>, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Switchover {
            return;
        }
        if let Err(text) = result {
            self.cancel(Why::Trouble, text.clone(), now_ns, effects);
        }
        if self.phase == Phase::Switchover {
            self.note("continue", "the hook is done", effects);
            effects.push(Effect::Send(Command::Continue));
        }
    }

    fn gone(&mut self, side: Side, reason: &str, now_ns: u64, effects: &mut Vec<Effect>) {
        match (side, self.phase) {
            (Side::Destination, Phase::Precopy | Phase::Switchover) if !self.source_done => {
                self.cancel(Why::Trouble, format!("destination: the QMP connection ended: {reason}"), now_ns, effects);
            }
            (Side::Destination, Phase::Cancelling) => {}
            _ => self.end(Outcome::Unknown, format!("{side}: the QMP connection ended: {reason}"), effects),
        }
    }

    fn exited(&mut self, side: Side, reason: &str, now_ns: u64, effects: &mut Vec<Effect>) {
        match side {
            Side::Destination if !self.postcopy_happened && !self.source_done => {
                if self.phase != Phase::Cancelling {
                    self.cancel(Why::Trouble, format!("destination: {reason}"), now_ns, effects);
                }
            }
            // Both sides had finished their part: the source is no longer needed.
            Side::Source if self.destination_done => {
                self.source_done = true;
                self.done(now_ns, effects);
            }
            _ => self.end(Outcome::Lost, format!("{side}: {reason}"), effects),
        }
    }

    /// The one place that cancels, and that refuses to.
    fn cancel(&mut self, why: Why, reason: String, now_ns: u64, effects: &mut Vec<Effect>) {
        let may_have_begun = self.seen.postcopy_asked && !self.cancel_is_guarded;
        match self.phase {
            Phase::Precopy | Phase::Switchover if !may_have_begun && !self.source_done => {
                self.note("cancel", &reason, effects);
                self.why = Some((why, reason));
                self.enter(Phase::Cancelling, now_ns);
                effects.push(Effect::Send(Command::Cancel));
            }
            Phase::Cancelling | Phase::Ended => {}
            Phase::Precopy | Phase::Switchover | Phase::Postcopy | Phase::OtherSide => {
                if self.wants_out.is_none() {
                    let note =
                        format!("{reason}; not cancelled: past the point of no return, only the destination can have the guest");
                    self.note("go-on", &note, effects);
                    self.wants_out = Some((why, reason));
                }
            }
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
                self.note("start-postcopy", &reason, effects);
                self.seen.postcopy_asked = true;
                effects.push(Effect::Send(Command::StartPostcopy));
            }
            Some((Action::GiveUp, reason)) => self.cancel(Why::GaveUp, reason, now_ns, effects),
            None => {}
        }
    }

    fn watch_deadlines(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        let here_ns = now_ns.saturating_sub(self.since_ns);
        let over = |deadline| here_ns > deadline;
        match self.phase {
            Phase::Ended => {}
            // A source that is done has nothing to recover with.
            _ if !self.source_done && (self.recovery.is_paused() || self.is_stalled(now_ns)) => self.recover(now_ns, effects),
            Phase::Cancelling if over(CANCEL_DEADLINE_NS) => {
                let reason =
                    "the migration was cancelled, but the source has not confirmed it; see query-migrate and query-status there";
                self.end(Outcome::Unknown, reason.to_owned(), effects);
            }
            // The state can stay `device` when starting post-copy fails (facts/qemu.md §4.4).
            Phase::Switchover if over(SWITCHOVER_DEADLINE_NS) => {
                self.cancel(Why::Trouble, "stopped for switchover for 30 s without getting anywhere".to_owned(), now_ns, effects);
                if self.phase == Phase::Switchover && over(2 * SWITCHOVER_DEADLINE_NS) {
                    let reason =
                        "stopped for switchover for 60 s; it cannot be cancelled safely. See query-migrate on both sides";
                    self.end(Outcome::Unknown, reason.to_owned(), effects);
                }
            }
            // The cancel that was refused said that it had begun, or it could not be cancelled; and then nothing came of it.
            Phase::Precopy | Phase::Postcopy
                if self.is_unbegun() && over(SWITCHOVER_DEADLINE_NS) && self.silent_for(UNBEGUN_NS, now_ns) =>
            {
                let reason = "post-copy was asked for and neither begins nor fails; this QEMU would lose the guest if it were cancelled \
                              now. See query-migrate on both sides";
                self.end(Outcome::Unknown, reason.to_owned(), effects);
            }
            Phase::OtherSide if over(OTHER_SIDE_DEADLINE_NS) => {
                let (done, other) = if self.source_done { ("source", "destination") } else { ("destination", "source") };
                self.end(Outcome::Unknown, format!("the {done} says completed, the {other} does not"), effects);
            }
            _ => {}
        }
    }

    /// Brings a broken post-copy back, or says what is left to do.
    fn recover(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        match self.recovery.due(!self.recovery.is_paused(), self.wants_out.is_none(), now_ns) {
            Due::Nothing => {}
            Due::Try(reason) => {
                self.progress_ns = now_ns;
                self.note("recover", &reason, effects);
                effects.push(Effect::Send(Command::Recover));
            }
            Due::GiveUp(reason) => self.end(Outcome::Unknown, reason, effects),
        }
    }

    /// The guest is on the destination, and gets nothing.
    fn is_stalled(&self, now_ns: u64) -> bool {
        self.phase == Phase::Postcopy && self.postcopy_happened && self.silent_for(self.stalled_after_ns, now_ns)
    }

    fn is_unbegun(&self) -> bool {
        !self.postcopy_happened && (self.wants_out.is_some() || self.phase == Phase::Postcopy)
    }

    fn silent_for(&self, time_ns: u64, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.progress_ns) > time_ns
    }

    fn enter(&mut self, phase: Phase, now_ns: u64) {
        (self.phase, self.since_ns) = (phase, now_ns);
    }

    fn note(&self, action: &str, reason: &str, effects: &mut Vec<Effect>) {
        let decision = Decision { action: action.to_owned(), reason: reason.to_owned(), observation: self.seen };
        effects.push(Effect::Decided(decision));
    }

    fn end(&mut self, outcome: Outcome, reason: String, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ended;
        effects.push(Effect::End(Ending { outcome, reason, postcopy_happened: self.postcopy_happened, passes: self.seen.pass }));
    }
}

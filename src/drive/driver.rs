//! The one loop that sees everything and alone sends what changes a VM.
//!
//! Events, answers, samples, signals and ends of processes arrive here in one order, go through the [`Machine`], and its
//! effects go out. The loop runs as a task of its own: should it panic, the session is still there to cancel with.

use super::DriveError;
use super::hooks::{self, Hook};
use super::machine::{Command, Effect, Ending, Input, Machine, Phase};
use super::prepare::{self, Own, Prepared};
use super::recover::{Recoverer, Rejoin};
use super::tls::Given;
use crate::clock::{Stamp, monotonic_ns};
use crate::observe::Latest;
use crate::plan::{Listen, Plan, Side};
use crate::qmp::{Closed, MigrationInfo, Notice, Notices, QmpError, Request, Session, Status};
use crate::record::{Entry, Outcome, Sink};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const COMMAND_DEADLINE: Duration = Duration::from_secs(10);
const MIGRATE_DEADLINE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(20);
/// A side that no sampler has reported for this long is asked by the loop itself.
const ASK_AFTER_NS: u64 = 500_000_000;
/// When a connection ends, the end of the process is usually known a moment later, and says more.
const GONE_GRACE_NS: u64 = 300_000_000;
/// A source whose post-copy failed early runs again by then, if it ever does.
const LOST_GRACE: Duration = Duration::from_secs(2);
/// The guest must run again on the source this long after a cancel or a failure.
const SETTLE: Duration = Duration::from_secs(5);

/// One QEMU to drive.
#[derive(Debug)]
pub struct End {
    /// Its session.
    pub session: Session,
    /// What it says unasked.
    pub notices: Notices,
}

/// Turns true when the user wants out.
#[derive(Clone, Debug)]
pub struct Interrupt(pub watch::Receiver<bool>);

impl Interrupt {
    /// One that never comes.
    #[must_use]
    pub fn never() -> Interrupt {
        // The sender is dropped: `wait` then never resolves.
        Interrupt(watch::channel(false).1)
    }

    /// Resolves when it comes.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|wanted| *wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// How far it is, for whoever shows it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Where the machine stands.
    pub phase: Phase,
    /// Since `migrate`, µs.
    pub elapsed_us: u64,
    /// The last MIGRATION_PASS.
    pub pass: u64,
    /// The latest sample of the source, if there is a new one.
    pub source: Option<MigrationInfo>,
}

/// Where the guest is, by both sides' `query-status` at the end. `None` where a side does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunStates {
    /// The source's run state.
    pub source: Option<String>,
    /// The destination's.
    pub destination: Option<String>,
}

/// One migration to perform.
pub struct Driver {
    /// Which migration of the run, from 1.
    pub migration: u32,
    /// What to do.
    pub plan: Plan,
    /// Where the guest runs.
    pub source: End,
    /// Where it shall run.
    pub destination: End,
    /// Where everything that is learnt goes.
    pub sink: Sink,
    /// The latest samples, source and destination.
    pub latest: [Latest; 2],
    /// The last MIGRATION_PASS, for a sampler that shares the session.
    pub pass: Arc<AtomicU64>,
    /// The user's way out.
    pub interrupt: Interrupt,
    /// Ends of processes, where we started them.
    pub exits: mpsc::UnboundedReceiver<(Side, String)>,
    /// The run state that the source had before, and must have again if the guest stays.
    pub run_state_before: String,
    /// Called every 20 ms.
    pub progress: Box<dyn FnMut(&Progress) + Send>,
    /// Called with each state of the source, when its event arrives.
    pub on_state: Box<dyn FnMut(&str) + Send>,
    /// Where a broken post-copy goes on.
    pub rejoin: Arc<dyn Rejoin>,
    /// The hook for after the switchover, once it was begun; `None` to start with.
    pub after: Option<tokio::task::JoinHandle<Result<(), String>>>,
    /// TLS credentials that were made in both; none to start with.
    pub given: Given,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// What is known when it is over.
#[derive(Debug)]
pub struct Report {
    /// How it went.
    pub ending: Ending,
    /// Just before `migrate` was sent.
    pub started: Stamp,
    /// When the ending was known.
    pub ended: Stamp,
    /// Where the guest is.
    pub run_states: RunStates,
    /// The last answers of both sides.
    pub last: [Option<MigrationInfo>; 2],
    /// Decisions made.
    pub decisions: u64,
    /// Both sides, to go on with; `None` if our loop broke.
    pub ends: Option<[End; 2]>,
    /// What went wrong with hooks after the point of no return, which changes nothing.
    pub hook_problems: Vec<String>,
    /// TLS credentials that are still there, because they may be needed.
    pub left_behind: Option<String>,
}

/// What the loop hears of its own making.
enum Heard {
    Refused(Command, String),
    Recovered,
    Hooked(Result<(), String>),
    Info(Side, Option<Box<MigrationInfo>>),
}

impl Driver {
    /// Makes all settings.
    ///
    /// # Errors
    /// [`DriveError`]: the migration was not started.
    pub async fn prepare(&mut self, own: Own) -> Result<Prepared, DriveError> {
        let prepared = tokio::select! {
            result = prepare::prepare(&self.plan, own, &mut self.given, &self.source.session, &self.destination.session) => result,
            () = self.interrupt.wait() => Err(DriveError::Interrupted),
        };
        if prepared.is_err() {
            self.give_up().await;
        }
        prepared
    }

    /// There will be no migration: takes back what was made for it.
    pub async fn give_up(&self) {
        self.given.take_back(&[self.source.session.clone(), self.destination.session.clone()]).await;
    }

    /// Migrates; `outgoing` are the arguments of `migrate`. Whatever happens, the report says where the guest is:
    ///
    /// `Completed`: on the destination. `NotConverged`, `Cancelled`, `Failed`: running on the source (or in the state it had).
    /// `Lost`: nowhere. `Unknown`: both QEMUs are left as they are.
    pub async fn migrate(self, outgoing: Value) -> Report {
        self.see_through(Some(outgoing)).await
    }

    /// Sees a migration through that somebody else began; the report is as that of [`Driver::migrate`].
    pub async fn adopt(self) -> Report {
        self.see_through(None).await
    }

    async fn see_through(self, outgoing: Option<Value>) -> Report {
        let sessions = [self.source.session.clone(), self.destination.session.clone()];
        let before = self.run_state_before.clone();
        let cancel_is_safe = self.plan.cancel_is_guarded || !self.plan.mode.may_postcopy();
        let started = Stamp::now();
        let hooks = self.plan.hooks.clone();
        let given = outgoing.is_some().then(|| self.given.clone());
        let (ending, decisions, ends, mut hook_problems) = match tokio::spawn(self.drive(outgoing)).await {
            Ok((ending, decisions, ends, problems)) => (ending, decisions, Some(ends), problems),
            Err(panic) => (rescue(&sessions[0], cancel_is_safe, &panic.to_string()).await, 0, None, Vec::new()),
        };
        let ended = Stamp::now();
        let (ending, run_states) = settle(&sessions, ending, &before).await;
        let mut last = [None, None];
        for (session, slot) in sessions.iter().zip(&mut last) {
            *slot = session.query_migrate(COMMAND_DEADLINE).await.ok();
        }
        let ending = with_qemus_text(ending, &last);
        if ending.outcome != Outcome::Completed {
            hook_problems.extend(hooks::run(Hook::OnFailure, &hooks, &ending.outcome.name()).await.err());
        }
        let given = match given {
            Some(given) => given,
            None => Given::found(&sessions).await,
        };
        let left_behind = given.take_back_after(ending.outcome, &sessions).await;
        Report { ending, started, ended, run_states, last, decisions, ends, hook_problems, left_behind }
    }

    async fn drive(mut self, outgoing: Option<Value>) -> (Ending, u64, [End; 2], Vec<String>) {
        let (ending, decisions) = self.drive_to_the_end(outgoing).await;
        let after = match self.after.take() {
            Some(after) => after.await.unwrap_or_else(|broke| Err(broke.to_string())).err(),
            None => None,
        };
        (ending, decisions, [self.source, self.destination], after.into_iter().collect())
    }

    async fn drive_to_the_end(&mut self, outgoing: Option<Value>) -> (Ending, u64) {
        let mut machine = if outgoing.is_some() { Machine::new(&self.plan) } else { Machine::adopting(&self.plan) };
        let recoverer = Recoverer::new(self.source.session.clone(), self.destination.session.clone(), self.rejoin.clone());
        let mut decisions = 0;
        let started_ns = monotonic_ns();
        if let Some(outgoing) = outgoing
            && let Some(ending) = begin(&self.source.session, outgoing).await
        {
            return (ending, decisions);
        }

        // What was asked before this may speak of an earlier migration: a VM that came here by one says `completed` until now.
        let accepted_ns = monotonic_ns();
        let (heard_tx, mut heard) = mpsc::unbounded_channel();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = [true, true];
        let mut gone: Vec<(Side, String, u64)> = Vec::new();
        let mut asked_ns = [started_ns; 2];
        let mut interrupted = false;
        let mut effects = machine.step(&Input::Started, started_ns);
        loop {
            for effect in effects.drain(..) {
                match effect {
                    Effect::Send(Command::Recover) => recover(recoverer.clone(), heard_tx.clone()),
                    Effect::Send(command) => self.send(command, &heard_tx),
                    Effect::Decided(decision) => {
                        decisions += 1;
                        // What goes against the user's wish must not pass unseen.
                        match decision.action.as_str() {
                            "go-on" | "recover" => tracing::warn!("{}", decision.reason),
                            action => tracing::info!(action, reason = %decision.reason, "decided"),
                        }
                        let stamp = Stamp::now();
                        self.sink.give(Entry::Decision(
                            json!({"mono_ns": stamp.mono_ns, "wall_ns": stamp.wall_ns, "decision": decision}),
                        ));
                    }
                    Effect::Hook => self.hook(&heard_tx),
                    Effect::End(ending) => return (ending, decisions),
                }
            }
            // Events first: a decision is made on the arrival of the event, whatever else is waiting.
            effects = tokio::select! {
                biased;
                notice = self.source.notices.next(), if open[0] => self.noticed(Side::Source, notice, &mut machine, &mut open, &mut gone),
                notice = self.destination.notices.next(), if open[1] => {
                    self.noticed(Side::Destination, notice, &mut machine, &mut open, &mut gone)
                }
                Some(heard) = heard.recv() => match heard {
                    Heard::Refused(command, text) => machine.step(&Input::Refused(command, text), monotonic_ns()),
                    Heard::Hooked(result) => machine.step(&Input::Hooked(result), monotonic_ns()),
                    Heard::Recovered => machine.step(&Input::Recovered, monotonic_ns()),
                    Heard::Info(side, Some(info)) => machine.step(&Input::Sample(side, &info), monotonic_ns()),
                    Heard::Info(_, None) => Vec::new(),
                },
                Some((side, reason)) = self.exits.recv() => {
                    gone.retain(|(other, ..)| *other != side);
                    machine.step(&Input::Exited(side, reason), monotonic_ns())
                }
                () = self.interrupt.wait(), if !interrupted => {
                    interrupted = true;
                    machine.step(&Input::Interrupt, monotonic_ns())
                }
                _ = tick.tick() => self.ticked(&mut machine, &mut gone, &mut asked_ns, (started_ns, accepted_ns), &heard_tx),
            };
        }
    }

    /// Records what a side said, and lets the machine see it.
    fn noticed(
        &mut self,
        side: Side,
        notice: Result<Notice, Closed>,
        machine: &mut Machine,
        open: &mut [bool; 2],
        gone: &mut Vec<(Side, String, u64)>,
    ) -> Vec<Effect> {
        let now_ns = monotonic_ns();
        match notice {
            Ok(notice) => {
                let effects = match &notice {
                    Notice::Event(event) => {
                        if let Some(state) = event.data.get("status").and_then(Value::as_str).filter(|_| side == Side::Source) {
                            (self.on_state)(state);
                        }
                        if side == Side::Destination && event.name == "RESUME" && self.after.is_none() {
                            let hooks = self.plan.hooks.clone();
                            self.after = Some(tokio::spawn(async move { hooks::run(Hook::AfterSwitchover, &hooks, "").await }));
                        }
                        machine.step(&Input::Event(side, event), now_ns)
                    }
                    Notice::Unknown { line, .. } => {
                        tracing::warn!(%side, line, "a line that is no QMP message we know; kept in events.jsonl");
                        Vec::new()
                    }
                };
                self.pass.store(machine.observation().pass, Ordering::Relaxed);
                self.sink.give(Entry::Notice(self.migration, side, notice));
                effects
            }
            Err(Closed(reason)) => {
                open[usize::from(side == Side::Destination)] = false;
                gone.push((side, reason, now_ns + GONE_GRACE_NS));
                Vec::new()
            }
        }
    }

    fn ticked(
        &mut self,
        machine: &mut Machine,
        gone: &mut Vec<(Side, String, u64)>,
        asked_ns: &mut [u64; 2],
        (started_ns, accepted_ns): (u64, u64),
        heard: &mpsc::UnboundedSender<Heard>,
    ) -> Vec<Effect> {
        let now_ns = monotonic_ns();
        let mut effects = machine.step(&Input::Tick, now_ns);
        let mut latest_source = None;
        for (index, side) in [Side::Source, Side::Destination].into_iter().enumerate() {
            if let Some((_, info)) = self.latest[index].take().filter(|(asked_ns, _)| *asked_ns >= accepted_ns) {
                asked_ns[index] = now_ns;
                effects.extend(machine.step(&Input::Sample(side, &info), now_ns));
                if side == Side::Source {
                    latest_source = Some(info);
                }
            } else if now_ns.saturating_sub(asked_ns[index]) > ASK_AFTER_NS {
                asked_ns[index] = now_ns;
                let session = if side == Side::Source { &self.source.session } else { &self.destination.session };
                let (session, heard) = (session.clone(), heard.clone());
                tokio::spawn(async move {
                    let info = session.query_migrate(COMMAND_DEADLINE).await.ok().map(Box::new);
                    let _ = heard.send(Heard::Info(side, info));
                });
            }
        }
        while let Some(at) = gone.iter().position(|(_, _, due_ns)| now_ns >= *due_ns) {
            let (side, reason, _) = gone.remove(at);
            effects.extend(machine.step(&Input::Gone(side, reason), now_ns));
        }
        (self.progress)(&Progress {
            phase: machine.phase(),
            elapsed_us: (now_ns - started_ns) / 1000,
            pass: machine.observation().pass,
            source: latest_source,
        });
        effects
    }

    /// Runs the hook for before the switchover, and goes on seeing events meanwhile.
    fn hook(&self, heard: &mpsc::UnboundedSender<Heard>) {
        let (hooks, heard) = (self.plan.hooks.clone(), heard.clone());
        tokio::spawn(async move {
            let _ = heard.send(Heard::Hooked(hooks::run(Hook::BeforeSwitchover, &hooks, "").await));
        });
    }

    /// Sends a command without waiting for its answer: the loop must go on seeing events.
    fn send(&self, command: Command, heard: &mpsc::UnboundedSender<Heard>) {
        let request = match command {
            Command::StartPostcopy => Request::typed(&qapi::qmp::migrate_start_postcopy {}),
            Command::Cancel => cancel(),
            Command::Continue => {
                Request::typed(&qapi::qmp::migrate_continue { state: qapi::qmp::MigrationStatus::pre_switchover })
            }
            // Several commands, with looks in between: not sent here.
            Command::Recover => return,
            Command::Listen => match &self.plan.listen {
                Listen::After(request) => request.clone(),
                // The machine asks for it only where the plan has it.
                Listen::Already | Listen::Before(_) => return,
            },
        };
        let session = if command == Command::Listen { &self.destination.session } else { &self.source.session };
        let (session, heard) = (session.clone(), heard.clone());
        tokio::spawn(async move {
            match session.execute(request, COMMAND_DEADLINE).await {
                Err(QmpError::Refused { description, .. }) => {
                    let _ = heard.send(Heard::Refused(command, description));
                }
                // No answer: what it did shows in the status, which the loop watches with deadlines of its own.
                Err(error) => tracing::warn!(%error, ?command, "not answered"),
                Ok(_) => {}
            }
        });
    }
}

/// Sends `migrate`; an ending if that is all.
async fn begin(source: &Session, outgoing: Value) -> Option<Ending> {
    let (outcome, reason) = match source.execute(Request::raw("migrate", outgoing), MIGRATE_DEADLINE).await {
        Ok(_) => return None,
        Err(error) if error.is_refusal() => (Outcome::Failed, error.to_string()),
        Err(error) => {
            let _ = source.execute(cancel(), COMMAND_DEADLINE).await;
            (Outcome::Unknown, error.to_string())
        }
    };
    Some(Ending { outcome, reason, postcopy_happened: false, passes: 0 })
}

/// An attempt takes seconds, and the loop goes on meanwhile.
fn recover(recoverer: Recoverer, heard: mpsc::UnboundedSender<Heard>) {
    tokio::spawn(async move {
        let _ = heard.send(match recoverer.attempt().await {
            Ok(()) => Heard::Recovered,
            Err(error) => Heard::Refused(Command::Recover, error.to_string()),
        });
    });
}

fn cancel() -> Request {
    Request::typed(&qapi::qmp::migrate_cancel {})
}

/// After a panic of the loop: cancels where that is safe, and waits until it is done.
async fn rescue(source: &Session, cancel_is_safe: bool, panic: &str) -> Ending {
    let ending = |outcome, reason: String| Ending { outcome, reason, postcopy_happened: false, passes: 0 };
    let broke = format!("switchover itself broke ({panic}); please report it");
    let status = |info: Result<MigrationInfo, QmpError>| info.ok().and_then(|info| info.status).unwrap_or(Status::None);
    let before = status(source.query_migrate(COMMAND_DEADLINE).await);
    if before.is_postcopy() || !cancel_is_safe {
        return ending(Outcome::Unknown, format!("{broke}. The migration goes on by itself"));
    }
    if !before.is_final() {
        let _ = source.execute(cancel(), COMMAND_DEADLINE).await;
    }
    let wait = async {
        loop {
            let now = status(source.query_migrate(COMMAND_DEADLINE).await);
            if now.is_final() || now == Status::None {
                return now;
            }
            tokio::time::sleep(TICK).await;
        }
    };
    match tokio::time::timeout(2 * SETTLE, wait).await {
        Ok(Status::Completed) => ending(Outcome::Unknown, format!("{broke}. The source says completed")),
        Ok(_) => ending(Outcome::Failed, format!("{broke}. The migration was cancelled")),
        Err(_) => ending(Outcome::Unknown, format!("{broke}. The cancel is not confirmed")),
    }
}

/// Holds the ending against both sides' run states. A guest that shall be on the source is waited for: QEMU starts it again a
/// moment after it reports the cancel.
async fn settle(sessions: &[Session; 2], ending: Ending, before: &str) -> (Ending, RunStates) {
    if ending.outcome == Outcome::Lost {
        return not_lost_after_all(sessions, ending, before).await;
    }
    let [source, destination] = sessions;
    let stays = matches!(ending.outcome, Outcome::NotConverged | Outcome::Cancelled | Outcome::Failed);
    let mut states = RunStates { source: run_state(source).await, destination: run_state(destination).await };
    let wait = async {
        while stays && states.source.as_deref().is_some_and(|state| state != before) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            states.source = run_state(source).await;
        }
    };
    let settled = tokio::time::timeout(SETTLE, wait).await.is_ok();
    let ending = match (settled, states.source.as_deref()) {
        (true, Some(_)) => ending,
        (true, None) if !stays => ending,
        (_, state) => {
            let state = state.unwrap_or("not to be had");
            let reason = format!(
                "{}; but the source's run state is {state}, not {before}: look at both QEMUs before doing anything",
                ending.reason
            );
            Ending { outcome: Outcome::Unknown, reason, ..ending }
        }
    };
    (ending, states)
}

/// Post-copy that fails early enough is no loss since 10.2: until the destination has loaded the package (`postcopy-device`), the
/// source still is the whole guest, and QEMU lets it run on. Its run state, and the destination's, say whether that happened.
async fn not_lost_after_all(sessions: &[Session; 2], ending: Ending, before: &str) -> (Ending, RunStates) {
    let [source, destination] = sessions;
    let back = async {
        while run_state(source).await.is_some_and(|state| state != before) {
            tokio::time::sleep(TICK).await;
        }
    };
    let _ = tokio::time::timeout(LOST_GRACE, back).await;
    let states = RunStates { source: run_state(source).await, destination: run_state(destination).await };
    let ending = match (states.source.as_deref() == Some(before), states.destination.as_deref()) {
        (false, _) => ending,
        (true, Some("running")) => {
            let reason = format!("{}; and both sides' VMs run: stop one before doing anything", ending.reason);
            Ending { outcome: Outcome::Unknown, reason, ..ending }
        }
        (true, _) => {
            let reason = format!("{}; QEMU let the guest run on, on the source", ending.reason);
            Ending { outcome: Outcome::Failed, reason, ..ending }
        }
    };
    (ending, states)
}

async fn run_state(session: &Session) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        status: String,
    }
    let text = session.execute(Request::typed(&qapi::qmp::query_status {}), COMMAND_DEADLINE).await.ok()?;
    serde_json::from_str::<Answer>(&text).ok().map(|answer| answer.status)
}

/// Adds QEMU's own text to a failure: the destination's where it has one, as the source mostly knows only that the stream broke.
fn with_qemus_text(mut ending: Ending, last: &[Option<MigrationInfo>; 2]) -> Ending {
    let text = |side: &Option<MigrationInfo>| side.as_ref().and_then(|info| info.error_desc.clone());
    // A handshake that fails leaves the other side without a stream, of which it has no more to say than that.
    let of_a_handshake = |text: &String| ["TLS", "ertificate"].iter().any(|word| text.contains(word));
    if ending.outcome == Outcome::Failed
        && let Some(text) = text(&last[0]).filter(of_a_handshake).or_else(|| text(&last[1])).or_else(|| text(&last[0]))
        && !ending.reason.contains(&text)
    {
        ending.reason = format!("{} (QEMU: {text})", ending.reason);
    }
    ending
}

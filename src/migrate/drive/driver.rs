//! The one loop that sees everything and alone sends what changes a VM.
//!
//! Events, answers, samples, signals and ends of processes arrive here in one order, go through the [`Machine`], and its
//! effects go out. The loop runs as a task of its own: should it panic, the session is still there to cancel with.

use super::DriveError;
use super::commands;
use super::hooks::{self, Hook};
use super::limit::Limit;
use super::machine::{Command, Effect, Ending, Held, Input, Machine, Phase};
use super::prepare::{self, Own, Prepared};
use super::recover::{Recoverer, Rejoin};
use super::reopen::Lost;
use super::tls::InstalledTls;
use super::{hold, reopen, settle};
use crate::observe::Latest;
use crate::plan::Plan;
use base::Side;
use base::clock::{Stamp, monotonic_ns};
use qmp::{Closed, MigrationInfo, Notice, Notices, QmpError, Session};
use record::{Entry, Outcome, Sink};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

pub(super) const COMMAND_DEADLINE: Duration = Duration::from_secs(10);
pub(super) const TICK: Duration = Duration::from_millis(20);
/// A side that no sampler has reported for this long is asked by the loop itself.
const ASK_AFTER_NS: u64 = 500_000_000;
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
    /// TLS credentials that were made in both; none to start with.
    pub installed_tls: InstalledTls,
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
    /// What could not be made as it was before: a warning each.
    pub not_restored: Vec<String>,
}

/// A hook that runs.
type RunningHook = tokio::task::JoinHandle<Result<(), String>>;

/// What the loop hears of its own making.
enum TaskResult {
    Refused(Command, String),
    Recovered,
    Held(Held),
    Released,
    StaleCopyStopped,
    Hooked(Result<(), String>),
    Info(Side, Option<Box<MigrationInfo>>),
    Reopened(Side, Result<End, Lost>),
}

impl Driver {
    /// Makes all settings.
    ///
    /// # Errors
    /// [`DriveError`]: the migration was not started.
    pub async fn prepare(&mut self, own: Own) -> Result<Prepared, DriveError> {
        let prepared = tokio::select! {
            result = prepare::prepare(&self.plan, own, &mut self.installed_tls, &self.source.session, &self.destination.session) => result,
            () = self.interrupt.wait() => Err(DriveError::Interrupted),
        };
        if prepared.is_err() {
            self.give_up().await;
        }
        prepared
    }

    /// There will be no migration: takes back what was made for it.
    pub async fn give_up(&self) {
        self.installed_tls
            .remove(&[self.source.session.clone(), self.destination.session.clone()])
            .await;
    }

    /// Migrates; `outgoing` are the arguments of `migrate`. Whatever happens, the report says where the guest is:
    ///
    /// `Completed`: on the destination. `NotConverged`, `Cancelled`, `Failed`: running on the source (or in the state it had).
    /// `Lost`: nowhere. `Unknown`: both QEMUs are left as they are.
    pub async fn migrate(self, outgoing: Value) -> Report {
        self.see_through(Some(outgoing)).await
    }

    /// Sees a migration through that somebody else began; the report is as that of [`Driver::migrate`].
    pub async fn adopt(mut self) -> Report {
        if self.plan.confirms {
            // Held by the first driver, or now. What runs there already needs no word of ours.
            let held =
                hold::hold(&self.destination.session, &AtomicBool::new(false), COMMAND_DEADLINE)
                    .await;
            self.plan.confirms = matches!(held, Ok(Held::Waits | Held::Stopped | Held::Stands));
        }
        self.see_through(None).await
    }

    async fn see_through(self, outgoing: Option<Value>) -> Report {
        let sessions = [self.source.session.clone(), self.destination.session.clone()];
        let before = self.run_state_before.clone();
        let cancel_is_safe = self.plan.cancel_is_guarded || !self.plan.mode.allows_postcopy();
        let started = Stamp::now();
        let hooks = self.plan.hooks.clone();
        let installed_tls = outgoing.is_some().then(|| self.installed_tls.clone());
        let limit = Limit::before(&self.plan, &self.source.session).await;
        let (ending, decisions, ends, mut hook_problems) =
            match tokio::spawn(self.drive(outgoing)).await {
                Ok((ending, decisions, ends, problem)) => {
                    (ending, decisions, Some(ends), Vec::from_iter(problem))
                }
                Err(panic) => (
                    settle::rescue(&sessions, cancel_is_safe, &panic.to_string()).await,
                    0,
                    None,
                    Vec::new(),
                ),
            };
        let ended = Stamp::now();
        // One may have been made again meanwhile.
        let sessions = ends.as_ref().map_or(sessions, |[source, destination]| {
            [source.session.clone(), destination.session.clone()]
        });
        let (ending, run_states) = settle::settle(&sessions, ending, &before).await;
        let mut last = [None, None];
        for (session, slot) in sessions.iter().zip(&mut last) {
            *slot = session.query_migrate(COMMAND_DEADLINE).await.ok();
        }
        let ending = settle::with_qemus_text(ending, &last);
        if ending.outcome != Outcome::Completed {
            hook_problems
                .extend(hooks::run(Hook::OnFailure, &hooks, &ending.outcome.name()).await.err());
        }
        let installed_tls = match installed_tls {
            Some(installed_tls) => installed_tls,
            None => InstalledTls::find(&sessions).await,
        };
        let mut not_restored =
            Vec::from_iter(installed_tls.remove_after(ending.outcome, &sessions).await);
        not_restored.extend(limit.restore_after(ending.outcome, &sessions[0]).await);
        Report {
            ending,
            started,
            ended,
            run_states,
            last,
            decisions,
            ends,
            hook_problems,
            not_restored,
        }
    }

    /// The loop. Gives the ending, how many decisions it took, both sides, and what went wrong with the hook for after the switchover.
    async fn drive(mut self, outgoing: Option<Value>) -> (Ending, u64, [End; 2], Option<String>) {
        let mut after = None;
        let (ending, decisions) = self.drive_to_the_end(outgoing, &mut after).await;
        let problem = match after {
            Some(after) => after.await.unwrap_or_else(|broke| Err(broke.to_string())).err(),
            None => None,
        };
        (ending, decisions, [self.source, self.destination], problem)
    }

    async fn drive_to_the_end(
        &mut self,
        outgoing: Option<Value>,
        after: &mut Option<RunningHook>,
    ) -> (Ending, u64) {
        let mut machine = if outgoing.is_some() {
            Machine::new(&self.plan)
        } else {
            Machine::adopting(&self.plan)
        };
        let recoverer = Recoverer::new(self.rejoin.clone());
        let held = Arc::new(AtomicBool::new(self.plan.confirms));
        let mut decisions = 0;
        let started_ns = monotonic_ns();
        if let Some(outgoing) = outgoing
            && let Some(ending) = commands::begin(&self.source.session, outgoing).await
        {
            return (ending, decisions);
        }

        // What was asked before this may speak of an earlier migration: a VM that came here by one says `completed` until now.
        let accepted_ns = monotonic_ns();
        let (result_sender, mut results) = mpsc::unbounded_channel();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = [true, true];
        let mut asked_ns = [started_ns; 2];
        let mut interrupted = false;
        let mut effects = machine.step(&Input::Started, started_ns);
        loop {
            for effect in effects.drain(..) {
                match effect {
                    Effect::Send(Command::Recover) => {
                        self.recover(recoverer.clone(), result_sender.clone())
                    }
                    Effect::Send(Command::Hold) => self.hold(&held, &result_sender),
                    // What was never held must not be started: it may have been started with -S. Nor what stood on the source.
                    Effect::Send(Command::Release)
                        if !held.load(Ordering::Relaxed) || self.run_state_before != "running" =>
                    {
                        let _ = result_sender.send(TaskResult::Released);
                    }
                    Effect::Send(command) => self.send(command, &result_sender),
                    Effect::Decided(decision) => {
                        decisions += 1;
                        // What goes against the user's wish must not pass unseen.
                        if decision.action.is_warning() {
                            tracing::warn!("{}", decision.reason);
                        } else {
                            tracing::info!(action = ?decision.action, reason = %decision.reason, "decided");
                        }
                        let stamp = Stamp::now();
                        self.sink.give(Entry::Decision(
                            json!({"mono_ns": stamp.mono_ns, "wall_ns": stamp.wall_ns, "decision": decision}),
                        ));
                    }
                    Effect::Hook(Hook::AfterSwitchover) => {
                        *after = Some(self.hook(Hook::AfterSwitchover, None))
                    }
                    Effect::Hook(hook) => drop(self.hook(hook, Some(result_sender.clone()))),
                    Effect::End(ending) => return (ending, decisions),
                }
            }
            // Events first: a decision is made on the arrival of the event, whatever else is waiting.
            effects = tokio::select! {
                biased;
                notice = self.source.notices.next(), if open[0] => self.noticed(Side::Source, notice, &mut machine, &mut open, &result_sender),
                notice = self.destination.notices.next(), if open[1] => {
                    self.noticed(Side::Destination, notice, &mut machine, &mut open, &result_sender)
                }
                Some(result) = results.recv() => match result {
                    TaskResult::Refused(command, text) => machine.step(&Input::Refused(command, text), monotonic_ns()),
                    TaskResult::Held(held) => machine.step(&Input::Held(held), monotonic_ns()),
                    TaskResult::Released => machine.step(&Input::Released, monotonic_ns()),
                    TaskResult::StaleCopyStopped => machine.step(&Input::StaleCopyStopped, monotonic_ns()),
                    TaskResult::Hooked(result) => machine.step(&Input::Hooked(result), monotonic_ns()),
                    TaskResult::Recovered => machine.step(&Input::Recovered, monotonic_ns()),
                    TaskResult::Info(side, Some(info)) => machine.step(&Input::Sample(side, &info), monotonic_ns()),
                    TaskResult::Info(_, None) => Vec::new(),
                    TaskResult::Reopened(side, result) => self.reopened(side, result, &mut machine, &mut open, &mut asked_ns),
                },
                Some((side, reason)) = self.exits.recv() => machine.step(&Input::Exited(side, reason), monotonic_ns()),
                () = self.interrupt.wait(), if !interrupted => {
                    interrupted = true;
                    machine.step(&Input::Interrupt, monotonic_ns())
                }
                _ = tick.tick() => self.ticked(&mut machine, &mut asked_ns, (started_ns, accepted_ns), &result_sender),
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
        results: &mpsc::UnboundedSender<TaskResult>,
    ) -> Vec<Effect> {
        let now_ns = monotonic_ns();
        match notice {
            Ok(notice) => {
                let effects = match &notice {
                    Notice::Event(event) => {
                        if let Some(state) = event
                            .data
                            .get("status")
                            .and_then(Value::as_str)
                            .filter(|_| side == Side::Source)
                        {
                            (self.on_state)(state);
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
                tracing::warn!(%side, reason, "the QMP connection ended");
                let (lost, results) = (self.end(side).session.clone(), results.clone());
                tokio::spawn(async move {
                    let result = reopen::reopen(&lost, reason).await;
                    let _ = results.send(TaskResult::Reopened(side, result));
                });
                Vec::new()
            }
        }
    }

    /// What was missed meanwhile shows in the state, which is asked for at the next tick.
    fn reopened(
        &mut self,
        side: Side,
        result: Result<End, Lost>,
        machine: &mut Machine,
        open: &mut [bool; 2],
        asked_ns: &mut [u64; 2],
    ) -> Vec<Effect> {
        let input = match result {
            Ok(end) => {
                let index = usize::from(side == Side::Destination);
                (open[index], asked_ns[index]) = (true, 0);
                *self.end_mut(side) = end;
                Input::Reopened(side)
            }
            Err(Lost::Exited(reason)) => Input::Exited(side, reason),
            Err(Lost::Gone(reason)) => Input::Gone(side, reason),
        };
        machine.step(&input, monotonic_ns())
    }

    fn end(&self, side: Side) -> &End {
        if side == Side::Source { &self.source } else { &self.destination }
    }

    fn end_mut(&mut self, side: Side) -> &mut End {
        if side == Side::Source { &mut self.source } else { &mut self.destination }
    }

    fn ticked(
        &mut self,
        machine: &mut Machine,
        asked_ns: &mut [u64; 2],
        (started_ns, accepted_ns): (u64, u64),
        results: &mpsc::UnboundedSender<TaskResult>,
    ) -> Vec<Effect> {
        let now_ns = monotonic_ns();
        let mut effects = machine.step(&Input::Tick, now_ns);
        let mut latest_source = None;
        for (index, side) in [Side::Source, Side::Destination].into_iter().enumerate() {
            if let Some((_, info)) =
                self.latest[index].take().filter(|(asked_ns, _)| *asked_ns >= accepted_ns)
            {
                asked_ns[index] = now_ns;
                effects.extend(machine.step(&Input::Sample(side, &info), now_ns));
                if side == Side::Source {
                    latest_source = Some(info);
                }
            } else if now_ns.saturating_sub(asked_ns[index]) > ASK_AFTER_NS {
                asked_ns[index] = now_ns;
                let (session, results) = (self.end(side).session.clone(), results.clone());
                tokio::spawn(async move {
                    let info = session.query_migrate(COMMAND_DEADLINE).await.ok().map(Box::new);
                    let _ = results.send(TaskResult::Info(side, info));
                });
            }
        }
        (self.progress)(&Progress {
            phase: machine.phase(),
            elapsed_us: (now_ns - started_ns) / 1000,
            pass: machine.observation().pass,
            source: latest_source,
        });
        effects
    }

    /// Runs a hook, and goes on seeing events meanwhile.
    fn hook(&self, hook: Hook, results: Option<mpsc::UnboundedSender<TaskResult>>) -> RunningHook {
        let hooks = self.plan.hooks.clone();
        tokio::spawn(async move {
            let result = hooks::run(hook, &hooks, "").await;
            if let Some(results) = results {
                let _ = results.send(TaskResult::Hooked(result.clone()));
            }
            result
        })
    }

    fn hold(&self, held: &Arc<AtomicBool>, results: &mpsc::UnboundedSender<TaskResult>) {
        let (destination, hold_sent, results) =
            (self.destination.session.clone(), held.clone(), results.clone());
        tokio::spawn(async move {
            // All of it within one deadline, which is shorter than that of the cancel.
            let holding = tokio::time::timeout(
                COMMAND_DEADLINE,
                hold::hold(&destination, &hold_sent, COMMAND_DEADLINE),
            );
            let _ = results.send(match holding.await {
                Ok(Ok(held)) => TaskResult::Held(held),
                Ok(Err(error)) => TaskResult::Refused(Command::Hold, error.to_string()),
                Err(_) => TaskResult::Refused(
                    Command::Hold,
                    format!("no answer within {} s", COMMAND_DEADLINE.as_secs()),
                ),
            });
        });
    }

    /// An attempt takes seconds, and the loop goes on meanwhile.
    fn recover(&self, recoverer: Recoverer, results: mpsc::UnboundedSender<TaskResult>) {
        let (source, destination) = (self.source.session.clone(), self.destination.session.clone());
        tokio::spawn(async move {
            let _ = results.send(match recoverer.attempt(&source, &destination).await {
                Ok(()) => TaskResult::Recovered,
                Err(error) => TaskResult::Refused(Command::Recover, error.to_string()),
            });
        });
    }

    /// Sends a command without waiting for its answer: the loop must go on seeing events.
    fn send(&self, command: Command, results: &mpsc::UnboundedSender<TaskResult>) {
        let Some((side, request)) = commands::request(command, &self.plan) else { return };
        let (session, results) = (self.end(side).session.clone(), results.clone());
        tokio::spawn(async move {
            let _ = match (session.execute(request, COMMAND_DEADLINE).await, command) {
                (Ok(_), Command::Release) => results.send(TaskResult::Released),
                (Ok(_), Command::StopStaleCopy(_)) => results.send(TaskResult::StaleCopyStopped),
                // Told, it stops as soon as it can: its vCPU waits for a page that never comes, and `stop` for the vCPU.
                (Err(QmpError::Deadline { .. }), Command::StopStaleCopy(Side::Destination)) => {
                    results.send(TaskResult::StaleCopyStopped)
                }
                (Err(QmpError::Refused { description, .. }), _) => {
                    results.send(TaskResult::Refused(command, description))
                }
                // No answer: what it did shows in the status, which the loop watches with deadlines of its own.
                (Err(error), _) => {
                    tracing::warn!(%error, ?command, "not answered");
                    return;
                }
                (Ok(_), _) => return,
            };
        });
    }
}

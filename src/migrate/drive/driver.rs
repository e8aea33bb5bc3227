//! The loop of a migration. It is the only sender of commands that change a VM.
//!
//! Events, answers, samples, signals and process exits arrive here in one order and go through the
//! [`Machine`], whose effects the loop performs. The loop runs as its own task. If it panics, the
//! session is still available for a cancel.

use super::DriveError;
use super::commands;
use super::connection::{COMMAND_TIMEOUT, End, Interrupt, TICK_INTERVAL};
use super::hooks::{self, Hook};
use super::limit::Limit;
use super::machine::{Command, Effect, Ending, Held, Input, Machine};
use super::prepare::{self, Own, Prepared};
use super::recover::{Recoverer, Rejoin};
use super::reopen::Lost;
use super::report::{Progress, Report};
use super::tls::InstalledTls;
use super::{hold, reopen, settle};
use crate::observe::Latest;
use crate::plan::Plan;
use base::Side;
use base::clock::{Stamp, monotonic_ns};
use qmp::{Closed, MigrationInfo, Notice, QmpError};
use record::{Entry, Outcome, Sink};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::mpsc;

/// The loop itself queries a side from which no sample came for this long.
const QUERY_AFTER_NS: u64 = 500_000_000;

/// Performs one migration.
pub struct Driver {
    /// The number of the migration in the run, from 1.
    pub migration: u32,
    /// The plan to carry out.
    pub plan: Plan,
    /// The QEMU on which the guest runs.
    pub source: End,
    /// The QEMU to which the guest moves.
    pub destination: End,
    /// Records all events and decisions.
    pub sink: Sink,
    /// The latest samples, source and destination.
    pub latest: [Latest; 2],
    /// The last MIGRATION_PASS, for a sampler that shares the session.
    pub pass: Arc<AtomicU64>,
    /// The user's request to stop.
    pub interrupt: Interrupt,
    /// The exits of processes that we started.
    pub exits: mpsc::UnboundedReceiver<(Side, String)>,
    /// The run state of the source before the migration, which it must have again if the guest
    /// stays.
    pub run_state_before: String,
    /// Called every 20 ms with the progress.
    pub progress: Box<dyn FnMut(&Progress) + Send>,
    /// Called with each state of the source, when its event arrives.
    pub on_state: Box<dyn FnMut(&str) + Send>,
    /// The addresses for resuming a broken post-copy.
    pub rejoin: Arc<dyn Rejoin>,
    /// The TLS credentials installed on both sides; none at the start.
    pub installed_tls: InstalledTls,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// The task of a hook that runs.
type RunningHook = tokio::task::JoinHandle<Result<(), String>>;

/// The results of tasks that the loop spawned.
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
    /// Applies all settings.
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

    /// Removes what [`Driver::prepare`] installed, when there will be no migration.
    pub async fn give_up(&self) {
        self.installed_tls
            .remove(&[self.source.session.clone(), self.destination.session.clone()])
            .await;
    }

    /// Migrates; `outgoing` are the arguments of `migrate`. The report always says where the guest
    /// is:
    ///
    /// - `Completed`: on the destination.
    /// - `NotConverged`, `Cancelled`, `Failed`: on the source, in the run state that it had.
    /// - `Lost`: on neither side.
    /// - `Unknown`: not known; both QEMUs are left as they are.
    pub async fn migrate(self, outgoing: Value) -> Report {
        self.run_to_report(Some(outgoing)).await
    }

    /// Takes over a migration that another driver started. Returns a report as [`Driver::migrate`].
    pub async fn adopt(mut self) -> Report {
        if self.plan.confirms {
            // The first driver held the destination, or we do now. A guest that already runs there
            // does not need to be released.
            let held =
                hold::hold(&self.destination.session, &AtomicBool::new(false), COMMAND_TIMEOUT)
                    .await;
            self.plan.confirms = matches!(held, Ok(Held::Waits | Held::Stopped | Held::Stands));
        }
        self.run_to_report(None).await
    }

    async fn run_to_report(self, outgoing: Option<Value>) -> Report {
        let sessions = [self.source.session.clone(), self.destination.session.clone()];
        let before = self.run_state_before.clone();
        let cancel_is_safe = self.plan.cancel_is_guarded || !self.plan.mode.allows_postcopy();
        let started = Stamp::now();
        let hooks = self.plan.hooks.clone();
        let installed_tls = outgoing.is_some().then(|| self.installed_tls.clone());
        let limit = Limit::before(&self.plan, &self.source.session).await;
        let (migration, sink) = (self.migration, self.sink.clone());
        let (ending, decisions, mut ends, mut hook_problems) =
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
        // A session may have been reopened meanwhile.
        let sessions = ends.as_ref().map_or(sessions, |[source, destination]| {
            [source.session.clone(), destination.session.clone()]
        });
        let (ending, run_states) = settle::settle(&sessions, ending, &before).await;
        let mut last = [None, None];
        for (session, slot) in sessions.iter().zip(&mut last) {
            *slot = session.query_migrate(COMMAND_TIMEOUT).await.ok();
        }
        // An event that came before these answers belongs to this migration, not to the next one:
        // the RESUME of the destination may be among them.
        for (side, end) in Side::BOTH.into_iter().zip(ends.iter_mut().flatten()) {
            while let Some(notice) = end.notices.try_next() {
                sink.give(Entry::Notice(migration, side, notice));
            }
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

    /// Runs the loop. Returns the ending, the number of decisions, both connections, and the
    /// failure of the hook after the switchover, if any.
    async fn drive(mut self, outgoing: Option<Value>) -> (Ending, u64, [End; 2], Option<String>) {
        let mut after = None;
        let (ending, decisions) = self.run_loop(outgoing, &mut after).await;
        let problem = match after {
            Some(after) => after.await.unwrap_or_else(|broke| Err(broke.to_string())).err(),
            None => None,
        };
        (ending, decisions, [self.source, self.destination], problem)
    }

    async fn run_loop(
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

        // An older sample may describe an earlier migration: a VM that arrived by one reports
        // `completed` until now.
        let accepted_ns = monotonic_ns();
        let (result_sender, mut results) = mpsc::unbounded_channel();
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = [true, true];
        let mut asked_ns = [started_ns; 2];
        let mut interrupted = false;
        let mut effects = machine.step(&Input::Started, started_ns);
        loop {
            for effect in effects.drain(..) {
                match effect {
                    Effect::Send(Command::Recover) => {
                        self.recover(recoverer.clone(), result_sender.clone());
                    }
                    Effect::Send(Command::Hold) => self.hold(&held, &result_sender),
                    // A destination that was never held must not be continued, because it may have
                    // been started with -S. Nor must a guest that was stopped on the source.
                    Effect::Send(Command::Release)
                        if !held.load(Ordering::Relaxed) || self.run_state_before != "running" =>
                    {
                        let _ = result_sender.send(TaskResult::Released);
                    }
                    Effect::Send(command) => self.send(command, &result_sender),
                    Effect::Decided(decision) => {
                        decisions += 1;
                        // The user must see a decision that goes against their wish.
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
                        *after = Some(self.hook(Hook::AfterSwitchover, None));
                    }
                    Effect::Hook(hook) => drop(self.hook(hook, Some(result_sender.clone()))),
                    Effect::End(ending) => return (ending, decisions),
                }
            }
            // Events come first, so that a decision is made as soon as its event arrives.
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

    /// Records a notice of one side and passes it to the machine.
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
                        tracing::warn!(%side, line, "unknown QMP message; kept in events.jsonl");
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

    /// Handles the result of a reconnect. The next tick queries the state, which shows what was
    /// missed.
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
            } else if now_ns.saturating_sub(asked_ns[index]) > QUERY_AFTER_NS {
                asked_ns[index] = now_ns;
                let (session, results) = (self.end(side).session.clone(), results.clone());
                tokio::spawn(async move {
                    let info = session.query_migrate(COMMAND_TIMEOUT).await.ok().map(Box::new);
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

    /// Runs a hook as a task, so that the loop continues to receive events.
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
            // One deadline for all requests, which is shorter than that of the cancel.
            let holding = tokio::time::timeout(
                COMMAND_TIMEOUT,
                hold::hold(&destination, &hold_sent, COMMAND_TIMEOUT),
            );
            let _ = results.send(match holding.await {
                Ok(Ok(held)) => TaskResult::Held(held),
                Ok(Err(error)) => TaskResult::Refused(Command::Hold, error.to_string()),
                Err(_) => TaskResult::Refused(
                    Command::Hold,
                    format!("no answer within {} s", COMMAND_TIMEOUT.as_secs()),
                ),
            });
        });
    }

    /// Makes a recovery attempt as a task, because it takes seconds.
    fn recover(&self, recoverer: Recoverer, results: mpsc::UnboundedSender<TaskResult>) {
        let (source, destination) = (self.source.session.clone(), self.destination.session.clone());
        tokio::spawn(async move {
            let _ = results.send(match recoverer.attempt(&source, &destination).await {
                Ok(()) => TaskResult::Recovered,
                Err(error) => TaskResult::Refused(Command::Recover, error.to_string()),
            });
        });
    }

    /// Sends a command without waiting for its answer, so that the loop continues to receive
    /// events.
    fn send(&self, command: Command, results: &mpsc::UnboundedSender<TaskResult>) {
        let Some((side, request)) = commands::request(command, &self.plan) else { return };
        let (session, results) = (self.end(side).session.clone(), results.clone());
        tokio::spawn(async move {
            let _ = match (session.execute(request, COMMAND_TIMEOUT).await, command) {
                (Ok(_), Command::Release) => results.send(TaskResult::Released),
                (Ok(_), Command::StopStaleCopy(_)) => results.send(TaskResult::StaleCopyStopped),
                // It stops as soon as it can. Its vCPU waits for a page that never comes, and
                // `stop` waits for the vCPU.
                (Err(QmpError::Deadline { .. }), Command::StopStaleCopy(Side::Destination)) => {
                    results.send(TaskResult::StaleCopyStopped)
                }
                (Err(QmpError::Refused { description, .. }), _) => {
                    results.send(TaskResult::Refused(command, description))
                }
                // Without an answer, the status shows what the command did. The machine has its own
                // deadlines for that.
                (Err(error), _) => {
                    tracing::warn!(%error, ?command, "a QMP command was not answered");
                    return;
                }
                (Ok(_), _) => return,
            };
        });
    }
}

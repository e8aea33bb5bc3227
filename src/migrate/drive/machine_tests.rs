//! Checks the safety rules of the machine on every short sequence of inputs and on many long ones,
//! and the reason text of each ending.

use super::{Command, Effect, Ending, Held, Hook, Input, Machine, Phase};
use crate::plan::{Listen, Plan, RecoveryRules, Settings, Stream};
use Side::{Destination, Source};
use base::Side;
use base::clock::Stamp;
use base::units::Micros;
use model::policy::{GiveUpWhen, SwitchWhen};
use proptest::prelude::*;
use qmp::{Event, MigrationInfo, Request, Status};
use record::Outcome;
use scenario::{Hooks, Mode};
use serde_json::json;
use std::collections::HashSet;

const SECOND: u64 = 1_000_000_000;

fn plan(mode: Mode, cancel_is_guarded: bool) -> Plan {
    Plan {
        mode,
        source: Settings::default(),
        destination: Settings::default(),
        listen: Listen::Already,
        stream: Stream::default(),
        switch: match mode {
            Mode::Precopy => SwitchWhen::Never,
            Mode::Postcopy => SwitchWhen::AtOnce,
            Mode::Hybrid => SwitchWhen::AfterPass(1),
        },
        finish: SwitchWhen::Never,
        downtime_limit: Micros(0),
        give_up: GiveUpWhen { passes: Some(5), bytes: None, after: Micros(100_000_000) },
        cancel_is_guarded,
        return_path: true,
        recovery: RecoveryRules {
            attempts: 2,
            backoff: Micros(1_000_000),
            stalled_after: Micros(60_000_000),
        },
        tls: None,
        confirms: false,
        hooks: Hooks::default(),
    }
}

fn into_a_file(plan: Plan) -> Plan {
    Plan {
        listen: Listen::After(Request::raw("migrate-incoming", json!({"uri": "file:/f"}))),
        ..plan
    }
}

/// One thing that can happen, as a value that can be listed, generated and printed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Happening {
    Status(Side, &'static str),
    Sampled(Side, &'static str),
    Pass(u64),
    Refused(Command),
    Recovered,
    /// The answer to a hold.
    Answered(Held),
    /// The destination started its guest.
    Resumed,
    /// It was accepted that it shall.
    Released,
    /// The source started its guest again.
    RunsAgain,
    /// The source was stopped.
    StaleCopyStopped,
    /// The hook is done, or failed.
    Hooked(bool),
    Gone(Side),
    Reopened(Side),
    Exited(Side),
    Interrupt,
    /// So many seconds pass; everything else takes one.
    Wait(u64),
}
use Happening::{
    Answered, Exited, Gone, Hooked, Interrupt, Pass, Recovered, Refused, Released, Reopened,
    Resumed, RunsAgain, Sampled, StaleCopyStopped, Wait,
};

fn event(name: &str, data: serde_json::Value) -> Event {
    Event { name: name.to_owned(), data, qemu_us: None, arrived: Stamp { mono_ns: 0, wall_ns: 0 } }
}

fn step(machine: &mut Machine, happening: Happening, now_ns: u64) -> Vec<Effect> {
    match happening {
        Happening::Status(side, status) => machine
            .step(&Input::Event(side, &event("MIGRATION", json!({"status": status}))), now_ns),
        Sampled(side, status) => {
            let info =
                MigrationInfo { status: Some(Status::from(status)), ..MigrationInfo::default() };
            machine.step(&Input::Sample(side, &info), now_ns)
        }
        Pass(pass) => machine
            .step(&Input::Event(Source, &event("MIGRATION_PASS", json!({"pass": pass}))), now_ns),
        Refused(command) => {
            machine.step(&Input::Refused(command, "QEMU's words".to_owned()), now_ns)
        }
        Recovered => machine.step(&Input::Recovered, now_ns),
        Answered(held) => machine.step(&Input::Held(held), now_ns),
        Released => machine.step(&Input::Released, now_ns),
        StaleCopyStopped => machine.step(&Input::StaleCopyStopped, now_ns),
        RunsAgain => machine.step(&Input::Event(Source, &event("RESUME", json!({}))), now_ns),
        Resumed => machine.step(&Input::Event(Destination, &event("RESUME", json!({}))), now_ns),
        Hooked(well) => {
            let result = if well { Ok(()) } else { Err("the hook failed".to_owned()) };
            machine.step(&Input::Hooked(result), now_ns)
        }
        Gone(side) => machine.step(&Input::Gone(side, "QEMU closed it".to_owned()), now_ns),
        Reopened(side) => machine.step(&Input::Reopened(side), now_ns),
        Exited(side) => machine.step(&Input::Exited(side, "QEMU was killed".to_owned()), now_ns),
        Interrupt => machine.step(&Input::Interrupt, now_ns),
        Wait(_) => machine.step(&Input::Tick, now_ns),
    }
}

/// A machine, and what a strict observer remembers of it to hold its effects against the safety
/// rules.
#[derive(Clone, Debug)]
struct Watched {
    machine: Machine,
    cancel_is_guarded: bool,
    now_ns: u64,
    postcopy_seen: bool,
    postcopy_sent: bool,
    finish_sent: bool,
    cancel_unanswered: bool,
    hold_unanswered: bool,
    /// The destination will not run its guest unless it is told to.
    held: bool,
    /// The source waits in pre-switchover.
    waits: bool,
    destination_over: bool,
    source_completed: bool,
    destination_completed: bool,
    source_exited: bool,
    source_gone: bool,
    source_failed: bool,
    /// By its answer to a hold.
    destination_runs: bool,
    destination_resumed: bool,
    source_started_again: bool,
    stop_unanswered: bool,
    stopped_copy: Option<Side>,
    listening: bool,
    recovering_ns: Option<u64>,
    hook_runs: bool,
    hook_ran_after: bool,
    ending: Option<Ending>,
}

impl Watched {
    fn start(plan: &Plan) -> Watched {
        let mut watched = Watched {
            machine: Machine::new(plan),
            cancel_is_guarded: plan.cancel_is_guarded,
            now_ns: SECOND,
            postcopy_seen: false,
            postcopy_sent: false,
            finish_sent: false,
            cancel_unanswered: false,
            hold_unanswered: false,
            held: false,
            waits: false,
            destination_over: false,
            source_completed: false,
            destination_completed: false,
            source_exited: false,
            source_gone: false,
            source_failed: false,
            destination_runs: false,
            destination_resumed: false,
            source_started_again: false,
            stop_unanswered: false,
            stopped_copy: None,
            listening: false,
            recovering_ns: None,
            hook_runs: false,
            hook_ran_after: false,
            ending: None,
        };
        let effects = watched.machine.step(&Input::Started, SECOND);
        watched.judge(&effects, Wait(0));
        watched
    }

    fn tell(&mut self, story: &[Happening]) -> &mut Watched {
        for happening in story {
            self.take(*happening);
        }
        self
    }

    /// Lets it happen; panics if a rule is broken.
    fn take(&mut self, happening: Happening) {
        self.now_ns += if let Wait(seconds) = happening { seconds * SECOND } else { SECOND };
        match happening {
            Happening::Status(side, status) | Sampled(side, status) => {
                self.postcopy_seen |= status.starts_with("postcopy");
                self.destination_over |= (side, status) == (Destination, "failed");
                if side == Source {
                    self.waits = status == "pre-switchover" || self.waits && status != "device";
                }
                self.source_failed |= (side, status) == (Source, "failed");
                self.source_completed |= (side, status) == (Source, "completed");
                self.destination_completed |= (side, status) == (Destination, "completed");
            }
            Refused(Command::Cancel) => self.cancel_unanswered = false,
            RunsAgain => self.source_started_again = true,
            Hooked(_) => self.hook_runs = false,
            Refused(Command::Recover) | Recovered => self.recovering_ns = None,
            Refused(Command::Hold) => self.hold_unanswered = false,
            Refused(Command::StopStaleCopy(_)) | StaleCopyStopped => self.stop_unanswered = false,
            Answered(held) => {
                self.destination_runs |= self.hold_unanswered && held == Held::Runs;
                self.held |= self.hold_unanswered && matches!(held, Held::Waits | Held::Stopped);
                self.hold_unanswered = false;
            }
            Resumed => (self.held, self.destination_resumed) = (false, true),
            Exited(side) => {
                self.source_exited |= side == Source;
                self.destination_over |= side == Destination;
            }
            Gone(side) => self.source_gone |= side == Source,
            // What was sent to it may not have arrived, and is to be sent again.
            Reopened(Source) => (self.cancel_unanswered, self.stop_unanswered) = (false, false),
            Reopened(Destination) => self.stop_unanswered = false,
            _ => {}
        }
        let effects = step(&mut self.machine, happening, self.now_ns);
        self.judge(&effects, happening);
    }

    fn destination_is_seen_to_run(&self) -> bool {
        self.destination_runs || self.destination_resumed && self.destination_completed
    }

    fn judge(&mut self, effects: &[Effect], happening: Happening) {
        assert!(self.ending.is_none() || effects.is_empty(), "after the end: {effects:?}");
        for (index, effect) in effects.iter().enumerate() {
            match effect {
                Effect::Send(Command::Cancel) => {
                    assert!(!self.postcopy_seen, "cancelled in post-copy");
                    assert!(
                        self.cancel_is_guarded || !self.postcopy_sent,
                        "a QEMU that obeys was told to cancel in post-copy"
                    );
                    assert!(!self.cancel_unanswered, "cancelled twice");
                    assert!(!self.source_completed, "cancelled after the source handed over");
                    assert!(
                        self.waits || self.held || self.destination_over,
                        "cancelled, and a destination that has everything would start the guest too"
                    );
                    self.cancel_unanswered = true;
                }
                Effect::Send(Command::StartPostcopy) => {
                    let again = happening == Reopened(Source);
                    assert!(self.postcopy_sent == again, "post-copy was asked for twice");
                    assert!(!self.cancel_unanswered, "post-copy was asked for after a cancel");
                    self.postcopy_sent = true;
                }
                Effect::Send(Command::Finish) => {
                    assert!(
                        !self.cancel_unanswered && !self.postcopy_seen,
                        "told to finish at {happening:?}"
                    );
                    assert!(
                        self.finish_sent == (happening == Reopened(Source)),
                        "told to finish twice"
                    );
                    self.finish_sent = true;
                }
                Effect::Send(Command::Hold) => {
                    let in_time = !self.postcopy_seen && !self.source_completed;
                    assert!(
                        !self.hold_unanswered && (in_time || self.source_failed),
                        "held at {happening:?}"
                    );
                    self.hold_unanswered = true;
                }
                Effect::Send(Command::Release) => {
                    let out = self.source_exited || self.source_gone;
                    let elsewhere = self.postcopy_seen
                        || self.source_completed
                        || self.destination_completed
                        || out;
                    let refused = happening == Refused(Command::Cancel)
                        || matches!(happening, Answered(Held::Stopped | Held::Runs | Held::Stands));
                    // What was not answered may be held by and by.
                    let unanswered = happening == Refused(Command::Hold);
                    let again = happening == Reopened(Destination);
                    assert!(
                        unanswered || again || self.held && (elsewhere || refused),
                        "a guest was started at {happening:?}"
                    );
                    self.held = false;
                }
                Effect::Send(Command::StopStaleCopy(side)) => {
                    assert!(
                        self.source_failed && self.destination_is_seen_to_run(),
                        "a guest was stopped at {happening:?}"
                    );
                    assert!(
                        if *side == Source {
                            self.destination_completed
                        } else {
                            self.source_started_again
                        },
                        "the {side} was stopped at {happening:?}"
                    );
                    assert!(!self.stop_unanswered, "stopped twice");
                    (self.stop_unanswered, self.stopped_copy) = (true, Some(*side));
                }
                Effect::Send(Command::Continue) => {
                    let ready = Status::PreSwitchover;
                    let says_so = |status: &str| Status::from(status) == ready;
                    assert!(
                        matches!(happening, Hooked(_) | Reopened(Source))
                            || matches!(happening, Happening::Status(Source, status) | Sampled(Source, status) if says_so(status)),
                        "the switchover was let go on at {happening:?}"
                    );
                    self.waits = false;
                    assert!(!self.cancel_unanswered, "the switchover was let go on after a cancel");
                }
                Effect::Send(Command::Listen) => {
                    assert!(
                        self.source_completed,
                        "the destination was told to read before everything was written"
                    );
                    assert!(!self.listening, "the destination was told to read twice");
                    self.listening = true;
                }
                Effect::Send(Command::Recover) => {
                    assert!(self.postcopy_seen, "recovered before post-copy");
                    assert!(!self.source_completed, "recovered from a source that is done");
                    assert!(
                        self.recovering_ns.is_none_or(|since| self.now_ns - since > 30 * SECOND),
                        "two attempts at a time"
                    );
                    self.recovering_ns = Some(self.now_ns);
                }
                Effect::Hook(Hook::AfterSwitchover) => {
                    assert!(
                        !self.hook_ran_after,
                        "the hook for after the switchover was run twice"
                    );
                    self.hook_ran_after = true;
                }
                Effect::Hook(_) => {
                    assert!(
                        !self.hook_runs && !self.cancel_unanswered && !self.source_completed,
                        "the hook was run at {happening:?}"
                    );
                    self.hook_runs = true;
                }
                Effect::Decided(_) => {}
                Effect::End(ending) => {
                    assert_eq!(index + 1, effects.len(), "effects after the end: {effects:?}");
                    self.judge_ending(ending, happening);
                    self.ending = Some(ending.clone());
                }
            }
        }
        assert_eq!(self.ending.is_some(), self.machine.phase() == Phase::Ended);
    }

    /// What an ending claims about the guest must have been seen.
    fn judge_ending(&self, ending: &Ending, happening: Happening) {
        assert_eq!(ending.postcopy_happened, self.postcopy_seen, "{ending:?}");
        match ending.outcome {
            Outcome::Completed => {
                assert!(!self.held, "completed, and the guest stands: {ending:?}");
                let is_copy_stopped = happening == StaleCopyStopped
                    && self.source_failed
                    && self.destination_is_seen_to_run();
                assert!(
                    is_copy_stopped
                        || self.destination_completed
                            && (self.source_completed || self.source_exited || self.source_gone),
                    "{ending:?}"
                );
            }
            // "The guest runs on the source": only on the source's word, and never once it may run
            // elsewhere.
            Outcome::NotConverged | Outcome::Cancelled | Outcome::Failed => {
                let cancelled = matches!(
                    happening,
                    Happening::Status(Source, "cancelled") | Sampled(Source, "cancelled")
                );
                let word = cancelled || self.source_failed;
                // It stands there: somebody started the destination with -S.
                let stands = happening == Answered(Held::Stands);
                let there =
                    self.destination_completed && !self.held && !self.destination_over && !stands;
                // What was there was stopped, and is not the whole of it.
                let abandoned =
                    happening == StaleCopyStopped && self.stopped_copy == Some(Destination);
                let elsewhere = self.postcopy_seen && !abandoned
                    || self.source_completed
                    || self.source_exited
                    || there;
                assert!(word && !elsewhere, "{ending:?} on {happening:?}");
            }
            Outcome::Lost => assert!(
                self.source_exited || self.destination_over || self.postcopy_seen,
                "lost without a process that ended or post-copy: {ending:?} on {happening:?}"
            ),
            Outcome::Unknown => {}
        }
    }
}

/// Everything of note that can happen, once each; refusals only of what was sent.
fn alphabet(watched: &Watched) -> Vec<Happening> {
    let mut all = vec![
        Happening::Status(Source, "active"),
        Happening::Status(Source, "pre-switchover"),
        Happening::Status(Source, "device"),
        Happening::Status(Source, "postcopy-active"),
        Happening::Status(Source, "postcopy-paused"),
        Happening::Status(Source, "completed"),
        Happening::Status(Source, "cancelled"),
        Happening::Status(Source, "failed"),
        Happening::Status(Destination, "postcopy-active"),
        Happening::Status(Destination, "postcopy-paused"),
        Happening::Status(Destination, "completed"),
        Happening::Status(Destination, "failed"),
        Pass(2),
        Pass(6),
        Gone(Source),
        Gone(Destination),
        Reopened(Source),
        Reopened(Destination),
        Exited(Source),
        Exited(Destination),
        Resumed,
        Released,
        RunsAgain,
        Interrupt,
        Wait(70),
    ];
    if watched.cancel_unanswered {
        all.push(Refused(Command::Cancel));
    }
    if watched.postcopy_sent {
        all.push(Refused(Command::StartPostcopy));
    }
    if watched.hold_unanswered {
        all.push(Refused(Command::Hold));
        let answers = [Held::Waits, Held::Stopped, Held::Runs, Held::Stands];
        all.extend(answers.map(Answered));
    }
    if watched.stop_unanswered {
        all.extend([StaleCopyStopped, Refused(Command::StopStaleCopy(Source))]);
    }
    if watched.hook_runs {
        all.extend([Hooked(true), Hooked(false)]);
    }
    if watched.recovering_ns.is_some() {
        all.extend([Refused(Command::Recover), Recovered]);
    }
    all
}

/// Tries every story of at most `depth` happenings; states that were reached before by another way
/// are not gone through again. Gives the number of different states from which it went on.
fn explore(plan: &Plan, depth: usize) -> usize {
    let mut layer = vec![(Watched::start(plan), Vec::new())];
    let mut states = 0;
    for left in (0..depth).rev() {
        states += layer.len();
        let mut reached = HashSet::new();
        let mut next = Vec::new();
        for (watched, story) in &layer {
            for happening in alphabet(watched) {
                let mut after: Watched = watched.clone();
                let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    after.take(happening);
                }));
                assert!(
                    ran.is_ok(),
                    "a rule was broken (see above) by {story:?}, {happening:?} in {:?}",
                    plan.mode
                );
                // An ended machine does nothing more: a test of its own says so. From the last
                // states nothing goes on.
                if left > 0 && after.ending.is_none() && reached.insert(format!("{after:?}")) {
                    let story: Vec<Happening> = story.iter().copied().chain([happening]).collect();
                    next.push((after, story));
                }
            }
        }
        layer = next;
    }
    states
}

#[test]
fn no_sequence_in_pre_copy_breaks_a_safety_rule() {
    assert!(explore(&plan(Mode::Precopy, true), 5) > 1000);
}

#[test]
fn no_sequence_of_a_migration_through_a_file_breaks_a_safety_rule() {
    assert!(explore(&into_a_file(plan(Mode::Precopy, true)), 5) > 1000);
}

#[test]
fn no_sequence_with_hooks_breaks_a_safety_rule() {
    for guarded in [true, false] {
        let hooks = Hooks {
            before_switchover: Some("flip".to_owned()),
            after_switchover: Some("flop".to_owned()),
            ..Hooks::default()
        };
        assert!(explore(&Plan { hooks, ..plan(Mode::Hybrid, guarded) }, 5) > 1000);
    }
}

#[test]
fn a_hook_that_fails_cancels_where_that_is_safe_and_else_the_guest_goes_on() {
    let hooks = Hooks { before_switchover: Some("flip".to_owned()), ..Hooks::default() };
    let waits = Happening::Status(Source, "pre-switchover");
    let with = |guarded, story: &[Happening]| {
        told(&Plan { hooks: hooks.clone(), ..plan(Mode::Hybrid, guarded) }, story)
    };
    insta::assert_snapshot!(
        with(true, &[ACTIVE, waits, Hooked(true), SOURCE_DONE, DESTINATION_DONE]),
        @"[Continue] completed: completed by pre-copy"
    );
    insta::assert_snapshot!(with(true, &[ACTIVE, waits, Hooked(false), CANCELLED]), @"[Cancel] failed: the hook failed");
    insta::assert_snapshot!(with(false, &[ACTIVE, Pass(2), waits, Hooked(false)]), @"[StartPostcopy Continue] not over: Switchover");
}

#[test]
fn no_sequence_in_post_copy_breaks_a_safety_rule() {
    assert!(explore(&plan(Mode::Postcopy, true), 5) > 1000);
}

#[test]
fn no_sequence_of_hybrid_breaks_a_safety_rule_where_qemu_refuses_to_cancel_in_post_copy() {
    assert!(explore(&plan(Mode::Hybrid, true), 5) > 1000);
}

#[test]
fn no_sequence_of_hybrid_breaks_a_safety_rule_where_qemu_would_obey() {
    assert!(explore(&plan(Mode::Hybrid, false), 5) > 1000);
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let side = prop_oneof![Just(Source), Just(Destination)];
    let status = prop::sample::select(vec![
        "none",
        "setup",
        "wait-unplug",
        "active",
        "pre-switchover",
        "device",
        "postcopy-device",
        "postcopy-active",
        "postcopy-paused",
        "postcopy-recover",
        "completed",
        "cancelling",
        "cancelled",
        "failing",
        "failed",
        "warp",
    ]);
    let held = prop::sample::select(vec![Held::Waits, Held::Stopped, Held::Runs, Held::Stands]);
    let command = prop::sample::select(vec![
        Command::StartPostcopy,
        Command::Finish,
        Command::Hold,
        Command::Release,
        Command::StopStaleCopy(Source),
        Command::StopStaleCopy(Destination),
        Command::Cancel,
        Command::Continue,
        Command::Listen,
        Command::Recover,
    ]);
    prop_oneof![
        6 => (side.clone(), status.clone()).prop_map(|(side, status)| Happening::Status(side, status)),
        4 => (side.clone(), status).prop_map(|(side, status)| Sampled(side, status)),
        2 => (0..9u64).prop_map(Pass),
        1 => command.prop_map(Refused),
        1 => Just(Recovered),
        1 => Just(Resumed),
        1 => Just(Released),
        1 => Just(RunsAgain),
        1 => Just(StaleCopyStopped),
        1 => held.prop_map(Answered),
        1 => side.clone().prop_map(Gone),
        1 => side.clone().prop_map(Reopened),
        1 => side.prop_map(Exited),
        1 => Just(Interrupt),
        3 => (0..120u64).prop_map(Wait),
    ]
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let modes = vec![Mode::Precopy, Mode::Postcopy, Mode::Hybrid];
    (prop::sample::select(modes), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(mode, guarded, through_a_file, finishes)| {
            let finish = if finishes && mode == Mode::Precopy {
                SwitchWhen::AfterPass(2)
            } else {
                SwitchWhen::Never
            };
            let plan = Plan { finish, ..plan(mode, guarded) };
            if through_a_file { into_a_file(plan) } else { plan }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_long_sequence_breaks_a_safety_rule(plan in any_plan(), story in prop::collection::vec(any_happening(), 0..40)) {
        Watched::start(&plan).tell(&story);
    }

    #[test]
    fn ends_when_both_sides_report_a_final_status(
        plan in any_plan(),
        story in prop::collection::vec(any_happening(), 0..20),
        words in prop::sample::select(vec![("completed", "completed"), ("cancelled", "failed"), ("failed", "failed")]),
        source_first in any::<bool>(),
    ) {
        let mut watched = Watched::start(&plan);
        watched.tell(&story);
        let mut last = [Sampled(Source, words.0), Sampled(Destination, words.1)];
        if !source_first {
            last.reverse();
        }
        watched.tell(&last);
        // A destination that was held has to be started again.
        watched.tell(&[Answered(Held::Stopped), Resumed]);
        // And a source that starts its guest again, while the destination runs it, has to be
        // stopped.
        watched.tell(&[Wait(3), StaleCopyStopped]);
        prop_assert!(watched.ending.is_some(), "{:?}", watched.machine);
    }

    #[test]
    fn ends_after_a_long_silence(plan in any_plan(), story in prop::collection::vec(any_happening(), 0..20)) {
        let mut watched = Watched::start(&plan);
        watched.tell(&story);
        // Told to finish, a guest may stand for 2000 s.
        let silence = if plan.finish == SwitchWhen::Never { 101 } else { 2031 };
        watched.tell(&[Wait(silence); 12]);
        prop_assert!(watched.ending.is_some(), "{:?}", watched.machine);
    }

    #[test]
    fn a_clock_that_jumps_does_not_make_it_panic(
        plan in any_plan(),
        story in prop::collection::vec((any_happening(), any::<u64>()), 0..20),
    ) {
        let mut machine = Machine::new(&plan);
        let _ = machine.step(&Input::Started, SECOND);
        for (happening, now_ns) in story {
            let _ = step(&mut machine, happening, now_ns);
        }
    }
}

/// How a story ends, in words, with the commands that were sent on the way.
fn told(plan: &Plan, story: &[Happening]) -> String {
    let mut watched = Watched::start(plan);
    let mut sent = Vec::new();
    // `Started` may send already; told again on a machine of its own.
    let mut note = |effects: Vec<Effect>| {
        sent.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Send(command) => Some(format!("{command:?}")),
            _ => None,
        }));
    };
    note(Machine::new(plan).step(&Input::Started, SECOND));
    for happening in story {
        let mut machine = watched.machine.clone();
        watched.take(*happening);
        note(step(&mut machine, *happening, watched.now_ns));
    }
    let ending = watched.ending.map_or_else(
        || format!("not over: {:?}", watched.machine.phase()),
        |ending| format!("{}: {}", ending.outcome.name(), ending.reason),
    );
    format!("[{}] {ending}", sent.join(" "))
}

fn precopy(story: &[Happening]) -> String {
    told(&plan(Mode::Precopy, true), story)
}

fn hybrid(story: &[Happening]) -> String {
    told(&plan(Mode::Hybrid, true), story)
}

const ACTIVE: Happening = Happening::Status(Source, "active");
const STOPPED: Happening = Happening::Status(Source, "device");
const POSTCOPY: Happening = Happening::Status(Source, "postcopy-active");
const PAUSED: Happening = Happening::Status(Destination, "postcopy-paused");
const SOURCE_DONE: Happening = Happening::Status(Source, "completed");
const DESTINATION_DONE: Happening = Happening::Status(Destination, "completed");
const CANCELLED: Happening = Happening::Status(Source, "cancelled");
const HELD: Happening = Answered(Held::Waits);
const SOURCE_FAILED: Happening = Happening::Status(Source, "failed");
const DESTINATION_FAILED: Happening = Happening::Status(Destination, "failed");

#[test]
fn completed_is_said_of_both_sides_and_tells_how() {
    insta::assert_snapshot!(precopy(&[ACTIVE, STOPPED, DESTINATION_DONE, SOURCE_DONE]), @"[] completed: completed by pre-copy");
    insta::assert_snapshot!(
        hybrid(&[ACTIVE, Pass(2), STOPPED, POSTCOPY, SOURCE_DONE, DESTINATION_DONE]),
        @"[StartPostcopy] completed: completed by post-copy"
    );
    insta::assert_snapshot!(
        hybrid(&[ACTIVE, Pass(2), SOURCE_DONE, DESTINATION_DONE]),
        @"[StartPostcopy] completed: completed; post-copy was asked for, but pre-copy finished first"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, Interrupt, HELD, SOURCE_DONE, DESTINATION_DONE, Resumed]),
        @"[Hold Cancel Release] completed: completed before it could be cancelled (interrupted)"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, STOPPED, DESTINATION_DONE, Exited(Source)]),
        @"[] completed: completed by pre-copy, by the destination's word (source: QEMU was killed)"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, Gone(Source), DESTINATION_DONE]),
        @"[] completed: completed by pre-copy, by the destination's word; the source cannot be asked (QEMU closed it). If the stream broke as well, it may run its guest too: stop it when it can be reached, and never continue it"
    );
}

#[test]
fn nothing_is_cancelled_while_the_destination_may_start_the_guest() {
    let answered = |held| {
        precopy(&[
            ACTIVE,
            STOPPED,
            Interrupt,
            Answered(held),
            SOURCE_DONE,
            DESTINATION_DONE,
            Resumed,
        ])
    };
    insta::assert_snapshot!(answered(Held::Waits), @"[Hold Cancel Release] completed: completed before it could be cancelled (interrupted)");
    insta::assert_snapshot!(
        answered(Held::Stopped),
        @"[Hold Release] completed: completed before it could be cancelled (interrupted)"
    );
    insta::assert_snapshot!(
        answered(Held::Runs),
        @"[Hold] completed: completed before it could be cancelled (interrupted)"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, STOPPED, Gone(Destination), Interrupt]),
        @"[] unknown: interrupted; not cancelled: the destination cannot be asked, and would start the guest too if it gets everything meanwhile. The migration goes on by itself. If the destination is no more: `switchover cancel`"
    );
    insta::assert_snapshot!(precopy(&[ACTIVE, STOPPED, Interrupt, Refused(Command::Hold), SOURCE_FAILED, HELD]), @"[Hold Release Hold] failed: source: the migration failed");
    insta::assert_snapshot!(precopy(&[ACTIVE, STOPPED, Interrupt, HELD, DESTINATION_DONE, CANCELLED]), @"[Hold Cancel] cancelled: interrupted");
}

#[test]
fn where_both_have_the_guest_the_source_is_stopped_when_the_destination_is_seen_to_run_it() {
    const RUNS: Happening = Answered(Held::Runs);
    let late = [ACTIVE, STOPPED, SOURCE_FAILED, RunsAgain];
    let after = |story: &[Happening]| precopy(&[&late, story].concat());
    insta::assert_snapshot!(after(&[RUNS, DESTINATION_DONE, StaleCopyStopped]), @"[Hold StopStaleCopy(Source)] completed: completed, by the destination's word; the source had not heard of it (source: the migration failed), started the guest again, and was stopped: both ran for a moment. Never continue the source");
    insta::assert_snapshot!(after(&[HELD]), @"[Hold] failed: source: the migration failed");
    insta::assert_snapshot!(after(&[Answered(Held::Stopped)]), @"[Hold] failed: source: the migration failed");
    insta::assert_snapshot!(after(&[DESTINATION_DONE, Answered(Held::Stands)]), @"[Hold] failed: source: the migration failed");
    insta::assert_snapshot!(after(&[RUNS, DESTINATION_DONE, Refused(Command::StopStaleCopy(Source))]), @"[Hold StopStaleCopy(Source)] unknown: source: the migration failed, and started its guest again; the destination may run it too: BOTH RUN, and one could not be stopped (QEMU's words). Look at both with query-status, and stop the source if the destination runs");
    insta::assert_snapshot!(after(&[DESTINATION_DONE, RUNS, Wait(30)]), @"[Hold StopStaleCopy(Source)] unknown: source: the migration failed, and started its guest again; the destination may run it too: it could not be found out in time. Look at both with query-status, and stop the source if the destination runs");
    insta::assert_snapshot!(after(&[Refused(Command::Hold), Wait(30)]), @"[Hold] unknown: source: the migration failed, and started its guest again; the destination may run it too: it could not be found out in time. Look at both with query-status, and stop the source if the destination runs. The destination was told not to start the guest by itself: if the source says completed, continue it there");
    insta::assert_snapshot!(after(&[Refused(Command::Hold), Reopened(Destination), RUNS, DESTINATION_DONE, StaleCopyStopped]), @"[Hold Hold StopStaleCopy(Source)] completed: completed, by the destination's word; the source had not heard of it (source: the migration failed), started the guest again, and was stopped: both ran for a moment. Never continue the source");
    insta::assert_snapshot!(after(&[Gone(Destination)]), @"[Hold] unknown: source: the migration failed, and started its guest again; the destination may run it too: destination: the QMP connection ended: QEMU closed it. Look at both with query-status, and stop the source if the destination runs. The destination was told not to start the guest by itself: if the source says completed, continue it there");
    insta::assert_snapshot!(after(&[RUNS, DESTINATION_DONE, Gone(Source)]), @"[Hold StopStaleCopy(Source)] unknown: source: the migration failed, and started its guest again; the destination may run it too: source: the QMP connection ended: QEMU closed it. Look at both with query-status, and stop the source if the destination runs");
    insta::assert_snapshot!(after(&[RUNS, DESTINATION_DONE, Reopened(Source), StaleCopyStopped]), @"[Hold StopStaleCopy(Source) StopStaleCopy(Source)] completed: completed, by the destination's word; the source had not heard of it (source: the migration failed), started the guest again, and was stopped: both ran for a moment. Never continue the source");
    insta::assert_snapshot!(after(&[Exited(Destination)]), @"[Hold] failed: source: the migration failed");
    insta::assert_snapshot!(after(&[Exited(Source), RUNS, DESTINATION_DONE]), @"[Hold] completed: completed by pre-copy, by the destination's word (source: QEMU was killed)");
    // Its RESUME may be missed, or come later.
    insta::assert_snapshot!(precopy(&[ACTIVE, STOPPED, DESTINATION_DONE, SOURCE_FAILED, RUNS, Wait(3), StaleCopyStopped]), @"[Hold StopStaleCopy(Source)] completed: completed, by the destination's word; the source had not heard of it (source: the migration failed), started the guest again, and was stopped: both ran for a moment. Never continue the source");
    insta::assert_snapshot!(precopy(&[ACTIVE, STOPPED, DESTINATION_DONE, SOURCE_FAILED, RUNS, RunsAgain, StaleCopyStopped]), @"[Hold StopStaleCopy(Source)] completed: completed, by the destination's word; the source had not heard of it (source: the migration failed), started the guest again, and was stopped: both ran for a moment. Never continue the source");
    // In post-copy the destination has everything when it says so.
    let post = [ACTIVE, Pass(2), POSTCOPY, SOURCE_FAILED, RunsAgain, RUNS];
    let after = |story: &[Happening]| hybrid(&[&post, story].concat());
    insta::assert_snapshot!(after(&[DESTINATION_DONE, StaleCopyStopped]), @"[StartPostcopy Hold StopStaleCopy(Source)] completed: completed, by the destination's word; the source had not heard of it (source: the migration failed), started the guest again, and was stopped: both ran for a moment. Never continue the source");
    insta::assert_snapshot!(after(&[DESTINATION_FAILED]), @"[StartPostcopy Hold] lost: post-copy failed: source: the migration failed");
    insta::assert_snapshot!(after(&[Wait(30)]), @"[StartPostcopy Hold] unknown: source: the migration failed, and started its guest again; the destination may run it too: it has the guest, but not all of its memory, and the source goes on from where it stood at the switchover. Look at both with query-status, and stop the source if the destination runs");
    insta::assert_snapshot!(after(&[DESTINATION_DONE, Exited(Destination)]), @"[StartPostcopy Hold StopStaleCopy(Source)] unknown: destination: QEMU was killed, after it had the guest; and the source (source: the migration failed) was told to stop, at where it stood at the switchover");
    // Since 10.2: the destination's word that it has started the guest may be lost.
    const UNACKNOWLEDGED: [Happening; 5] =
        [ACTIVE, Pass(2), Happening::Status(Source, "postcopy-device"), RunsAgain, SOURCE_FAILED];
    let after = |story: &[Happening]| hybrid(&[&UNACKNOWLEDGED, story].concat());
    let paused = Happening::Status(Destination, "postcopy-paused");
    insta::assert_snapshot!(after(&[RUNS, paused, StaleCopyStopped]), @"[StartPostcopy Hold StopStaleCopy(Destination)] failed: source: the migration failed, and goes on from where the guest stood at the switchover; the destination, which had started it and will never have all of it, was told to stop: both ran for a moment. End the destination");
    insta::assert_snapshot!(after(&[RUNS, paused, Refused(Command::StopStaleCopy(Destination))]), @"[StartPostcopy Hold StopStaleCopy(Destination)] unknown: source: the migration failed, and started its guest again; the destination may run it too: BOTH RUN, and one could not be stopped (QEMU's words). Look at both with query-status, and stop the source if the destination runs");
    insta::assert_snapshot!(after(&[RUNS, paused, Reopened(Destination), StaleCopyStopped]), @"[StartPostcopy Hold StopStaleCopy(Destination) StopStaleCopy(Destination)] failed: source: the migration failed, and goes on from where the guest stood at the switchover; the destination, which had started it and will never have all of it, was told to stop: both ran for a moment. End the destination");
    insta::assert_snapshot!(after(&[HELD]), @"[StartPostcopy Hold] lost: post-copy failed: source: the migration failed");
    // Before anything of the devices was sent, there is nothing to ask.
    insta::assert_snapshot!(precopy(&[ACTIVE, SOURCE_FAILED]), @"[] failed: source: the migration failed");
    insta::assert_snapshot!(precopy(&[ACTIVE, STOPPED, DESTINATION_FAILED, SOURCE_FAILED]), @"[Cancel] failed: destination: the migration failed");
}

#[test]
fn what_was_on_its_way_when_a_connection_ended_is_sent_again() {
    let ready = Happening::Status(Source, "pre-switchover");
    insta::assert_snapshot!(precopy(&[ACTIVE, Interrupt, HELD, Reopened(Source), CANCELLED]), @"[Hold Cancel Cancel] cancelled: interrupted");
    insta::assert_snapshot!(precopy(&[ACTIVE, ready, Reopened(Source)]), @"[Continue Continue] not over: Switchover");
    insta::assert_snapshot!(hybrid(&[ACTIVE, Pass(2), Reopened(Source), Reopened(Destination)]), @"[StartPostcopy StartPostcopy] not over: Precopy");
}

#[test]
fn not_converged_says_which_bound_was_met() {
    insta::assert_snapshot!(
        precopy(&[ACTIVE, Pass(5), Pass(6), HELD, CANCELLED]),
        @"[Hold Cancel] not-converged: not converged after 5 passes"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, Wait(100), HELD, DESTINATION_FAILED, CANCELLED]),
        @"[Hold Cancel] not-converged: not converged within 100s"
    );
}

#[test]
fn cancelled_says_by_whom() {
    insta::assert_snapshot!(precopy(&[ACTIVE, Interrupt, HELD, Interrupt, CANCELLED]), @"[Hold Cancel] cancelled: interrupted");
    insta::assert_snapshot!(precopy(&[ACTIVE, CANCELLED]), @"[] cancelled: somebody else cancelled it");
}

#[test]
fn failed_is_said_only_while_the_guest_is_on_the_source() {
    insta::assert_snapshot!(precopy(&[ACTIVE, SOURCE_FAILED]), @"[] failed: source: the migration failed");
    insta::assert_snapshot!(
        precopy(&[ACTIVE, DESTINATION_FAILED, CANCELLED]),
        @"[Cancel] failed: destination: the migration failed"
    );
    insta::assert_snapshot!(precopy(&[ACTIVE, Exited(Destination), CANCELLED]), @"[Cancel] failed: destination: QEMU was killed");
    insta::assert_snapshot!(
        precopy(&[ACTIVE, Gone(Destination), SOURCE_FAILED]),
        @"[] failed: source: the migration failed"
    );
}

#[test]
fn lost_is_said_when_nobody_can_have_the_guest() {
    insta::assert_snapshot!(
        hybrid(&[ACTIVE, Pass(2), POSTCOPY, SOURCE_FAILED, HELD]),
        @"[StartPostcopy Hold] lost: post-copy failed: source: the migration failed"
    );
    insta::assert_snapshot!(
        hybrid(&[ACTIVE, Pass(2), POSTCOPY, Exited(Destination)]),
        @"[StartPostcopy] lost: destination: QEMU was killed"
    );
    insta::assert_snapshot!(
        hybrid(&[ACTIVE, Pass(2), POSTCOPY, PAUSED, Exited(Source)]),
        @"[StartPostcopy] lost: source: QEMU was killed; and pages that only it had are missing on the destination"
    );
    insta::assert_snapshot!(precopy(&[ACTIVE, Exited(Source), DESTINATION_FAILED]), @"[] lost: source: QEMU was killed; destination: the migration failed");
}

#[test]
fn unknown_says_where_to_look() {
    insta::assert_snapshot!(
        precopy(&[ACTIVE, Gone(Source), DESTINATION_FAILED]),
        @"[] unknown: destination: the migration failed; and the source cannot be asked (QEMU closed it). The guest is there, if anywhere: see query-status on the source"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, Interrupt, HELD, Wait(16)]),
        @"[Hold Cancel] unknown: the migration was cancelled, but the source has not confirmed it; see query-migrate and query-status there. The destination was told not to start the guest by itself: if the source says completed, continue it there"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, STOPPED, SOURCE_DONE, Wait(21)]),
        @"[] unknown: the source says completed, the destination does not"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, STOPPED, DESTINATION_DONE, Wait(21)]),
        @"[] unknown: the destination says completed, the source does not: should it fail, it may run its guest too. `switchover attach` sees it through"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, STOPPED, SOURCE_DONE, DESTINATION_FAILED]),
        @"[] unknown: the source had handed over, and then destination: the migration failed"
    );
}

#[test]
fn a_broken_post_copy_is_tried_again_and_then_left_as_it_is() {
    let (paused, again) = (
        Happening::Status(Source, "postcopy-paused"),
        Happening::Status(Destination, "postcopy-active"),
    );
    let refused = Refused(Command::Recover);
    insta::assert_snapshot!(
        hybrid(&[ACTIVE, Pass(2), POSTCOPY, PAUSED, paused, Wait(2), POSTCOPY, again, Recovered, SOURCE_DONE, DESTINATION_DONE]),
        @"[StartPostcopy Recover] completed: completed by post-copy"
    );
    insta::assert_snapshot!(
        hybrid(&[ACTIVE, Pass(2), POSTCOPY, PAUSED, Wait(1), refused, Wait(1), refused, Wait(2)]),
        @"[StartPostcopy Recover Recover] unknown: post-copy lost its channel, and 2 attempts to recover it failed, the last one: QEMU's words. The guest is on the destination and stops at the first page that is missing; it needs the source. Keep both QEMUs, and run `switchover recover` when the network between them works again"
    );
    insta::assert_snapshot!(hybrid(&[ACTIVE, Pass(2), POSTCOPY, Wait(61), Wait(61), Wait(2), Wait(61), Wait(61)]), @"[StartPostcopy Recover Recover] unknown: post-copy sends nothing, and 2 attempts to recover it failed, the last one: it had no result in time. The guest is on the destination and stops at the first page that is missing; it needs the source. Keep both QEMUs, and run `switchover recover` when the network between them works again");
    insta::assert_snapshot!(hybrid(&[ACTIVE, Pass(2), POSTCOPY, PAUSED, Interrupt]), @"[StartPostcopy] unknown: post-copy lost its channel, and you interrupted. The guest is on the destination and stops at the first page that is missing; it needs the source. Keep both QEMUs, and run `switchover recover` when the network between them works again");
    insta::assert_snapshot!(
        hybrid(&[ACTIVE, Pass(2), POSTCOPY, PAUSED, Wait(1), Exited(Destination)]),
        @"[StartPostcopy Recover] lost: destination: QEMU was killed"
    );
}

#[test]
fn a_cancel_by_somebody_else_in_post_copy_is_not_taken_for_a_guest_on_the_source() {
    // 7.2 obeys it.
    insta::assert_snapshot!(
        told(&plan(Mode::Hybrid, false), &[ACTIVE, Pass(2), POSTCOPY, CANCELLED]),
        @"[StartPostcopy] unknown: somebody else cancelled it after the destination had taken over: the guest may be on either side, or on both. Stop both before doing anything"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, SOURCE_DONE, CANCELLED]),
        @"[] unknown: somebody else cancelled it after the destination had taken over: the guest may be on either side, or on both. Stop both before doing anything"
    );
}

#[test]
fn pre_copy_that_shall_finish_is_told_once_and_may_stand_as_long_as_it_takes() {
    let plan = Plan { finish: SwitchWhen::AfterPass(1), ..plan(Mode::Precopy, true) };
    insta::assert_snapshot!(
        told(&plan, &[ACTIVE, Pass(2), Pass(3), Reopened(Source), STOPPED, Wait(90), SOURCE_DONE, DESTINATION_DONE]),
        @"[Finish Finish] completed: completed by pre-copy"
    );
    insta::assert_snapshot!(told(&plan, &[ACTIVE, Pass(2), Refused(Command::Finish), Pass(6), HELD, CANCELLED]), @"[Finish Hold Cancel] not-converged: not converged after 5 passes");
    // It stands no longer than without, then.
    insta::assert_snapshot!(told(&plan, &[ACTIVE, Pass(2), STOPPED, Wait(31)]), @"[Finish] not over: Switchover");
    insta::assert_snapshot!(told(&plan, &[ACTIVE, Pass(2), STOPPED, Wait(2031), HELD, CANCELLED]), @"[Finish Hold Cancel] failed: stopped for switchover for 2030 s without getting anywhere");
    insta::assert_snapshot!(told(&plan, &[ACTIVE, Pass(2), Refused(Command::Finish), STOPPED, Wait(31), HELD, CANCELLED]), @"[Finish Hold Cancel] failed: stopped for switchover for 30 s without getting anywhere");
}

#[test]
fn a_cancel_that_is_refused_goes_on_to_the_end() {
    let refused = Refused(Command::Cancel);
    insta::assert_snapshot!(
        hybrid(&[ACTIVE, Pass(2), Interrupt, HELD, refused, POSTCOPY, Released, SOURCE_DONE, DESTINATION_DONE]),
        @"[StartPostcopy Hold Cancel Release] completed: completed before it could be cancelled (interrupted)"
    );
    insta::assert_snapshot!(
        precopy(&[ACTIVE, STOPPED, Interrupt, HELD, refused, Wait(31), HELD, CANCELLED]),
        @"[Hold Cancel Release Hold Cancel] failed: stopped for switchover for 30 s without getting anywhere"
    );
}

#[test]
fn once_post_copy_was_asked_for_a_qemu_that_would_obey_a_cancel_gets_none() {
    let story = [ACTIVE, Pass(2), Interrupt, Pass(6)];
    insta::assert_snapshot!(told(&plan(Mode::Hybrid, false), &story), @"[StartPostcopy] not over: Precopy");
    insta::assert_snapshot!(told(&plan(Mode::Hybrid, true), &story), @"[StartPostcopy Hold] not over: Cancelling");
    insta::assert_snapshot!(
        told(&plan(Mode::Hybrid, false), &[ACTIVE, Pass(2), Interrupt, Wait(61)]),
        @"[StartPostcopy] unknown: post-copy was asked for and neither begins nor fails; this QEMU would lose the guest if it were cancelled now. See query-migrate on both sides"
    );
}

#[test]
fn a_switchover_that_hangs_is_cancelled_where_that_is_safe() {
    insta::assert_snapshot!(
        precopy(&[ACTIVE, STOPPED, Wait(31), HELD, CANCELLED]),
        @"[Hold Cancel] failed: stopped for switchover for 30 s without getting anywhere"
    );
    insta::assert_snapshot!(
        told(&plan(Mode::Hybrid, false), &[ACTIVE, Pass(2), STOPPED, Wait(31), Wait(30)]),
        @"[StartPostcopy] unknown: stopped for switchover for 60 s; it cannot be cancelled safely. See query-migrate on both sides"
    );
}

#[test]
fn continues_from_pre_switchover_once() {
    let ready = Happening::Status(Source, "pre-switchover");
    insta::assert_snapshot!(
        precopy(&[ACTIVE, ready, Sampled(Source, "pre-switchover"), STOPPED, SOURCE_DONE, DESTINATION_DONE]),
        @"[Continue] completed: completed by pre-copy"
    );
    insta::assert_snapshot!(precopy(&[ACTIVE, Interrupt, HELD, ready, CANCELLED]), @"[Hold Cancel] cancelled: interrupted");
}

#[test]
fn the_destination_reads_a_file_when_it_is_complete() {
    let through_a_file = |story: &[Happening]| told(&into_a_file(plan(Mode::Precopy, true)), story);
    insta::assert_snapshot!(through_a_file(&[ACTIVE, STOPPED, SOURCE_DONE, Sampled(Source, "completed"), DESTINATION_DONE]), @"[Listen] completed: completed by pre-copy");
    insta::assert_snapshot!(through_a_file(&[ACTIVE, SOURCE_DONE, Refused(Command::Listen)]), @"[Listen] unknown: the source has written everything, and the destination does not read it: QEMU's words");
}

#[test]
fn states_that_are_not_the_end_change_nothing() {
    let odd = ["none", "setup", "wait-unplug", "cancelling", "failing", "colo", "warp"];
    let story: Vec<Happening> = odd
        .iter()
        .flat_map(|status| [Happening::Status(Source, status), Sampled(Destination, status)])
        .collect();
    insta::assert_snapshot!(precopy(&story), @"[] not over: Precopy");
}

#[test]
fn does_nothing_after_the_end() {
    let mut watched = Watched::start(&plan(Mode::Hybrid, true));
    watched.tell(&[ACTIVE, SOURCE_FAILED]);
    assert!(watched.ending.is_some());
    for happening in alphabet(&watched) {
        watched.take(happening);
    }
}

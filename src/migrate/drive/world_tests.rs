//! Explores every state of the machine, two QEMUs and the network between them. Whatever arrives in
//! whatever order, two copies of the guest never run, no copy is lost without a reason, and the
//! ending is true.
//!
//! The machine is the real one. The QEMUs are a model of what real ones do (`tests/it/faults` runs
//! the same faults with real ones). Events, answers and commands may be delayed for any time, but
//! each kind arrives in its own order.

use super::{Command, Effect, Ending, Held, Input, Machine};
use crate::plan::{Listen, Plan, RecoveryRules, Settings, Stream};
use base::Side;
use base::clock::Stamp;
use base::units::Micros;
use model::policy::{GiveUpWhen, SwitchWhen};
use qmp::Event;
use record::Outcome;
use scenario::{Hooks, Mode};
use serde_json::json;
use std::collections::{HashSet, VecDeque};

const SECOND: u64 = 1_000_000_000;

/// What a QEMU says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Status(&'static str),
    Event(&'static str),
    Refused(Command),
    Held(Held),
    Released,
    StaleCopyStopped,
    Recovered,
}

/// What is on its way over the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    /// Everything.
    All,
    /// The devices; pages follow.
    Package,
    /// The last page.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Vm {
    /// For its guest.
    Waits,
    Stopped,
    Runs,
}

#[derive(Clone, Debug)]
struct Qemu {
    alive: bool,
    /// The driver has a connection to it.
    heard: bool,
    state: &'static str,
    vm: Vm,
    /// Of a destination: starts its guest by itself.
    autostart: bool,
    commands: VecDeque<Command>,
    said: VecDeque<Said>,
}

impl Qemu {
    fn new(vm: Vm) -> Qemu {
        let (commands, said) = (VecDeque::new(), VecDeque::new());
        Qemu { alive: true, heard: true, state: "active", vm, autostart: true, commands, said }
    }

    fn enter(&mut self, state: &'static str) {
        self.state = state;
        self.say(Said::Status(state));
    }

    fn say(&mut self, said: Said) {
        if self.heard && self.alive {
            self.said.push_back(said);
        }
    }

    fn starts(&mut self) {
        if self.vm != Vm::Runs {
            self.vm = Vm::Runs;
            self.say(Said::Event("RESUME"));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Interrupt,
    /// What is on its way is lost, or still arrives.
    Cut {
        lost: bool,
    },
    Kill(Side),
    Gone(Side),
    Reopen(Side),
    /// Longer than every deadline.
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The driver hears what a side said.
    Hear(Side),
    /// A side does what it was told.
    Obey(Side),
    /// The guest arrives between the two looks of a hold.
    ObeyLate,
    Converge,
    Switch,
    SendRest,
    Arrive,
    Acknowledge,
    Goes(Fault),
}

#[derive(Clone, Debug)]
struct World {
    machine: Machine,
    guarded: bool,
    /// Since 10.2 the source is in post-copy when the destination has said so.
    acknowledges: bool,
    confirms: bool,
    now_ns: u64,
    source: Qemu,
    destination: Qemu,
    postcopy_asked: bool,
    link: bool,
    forward: Option<Load>,
    back: bool,
    /// The last page.
    sent_rest: bool,
    faults: u8,
    /// A QEMU was killed, or does by itself what no driver can mend.
    excuse: Option<&'static str>,
    ending: Option<Ending>,
    /// Holds whose answers are not waited for.
    forgotten: usize,
}

impl World {
    fn new(plan: &Plan, acknowledges: bool, faults: u8) -> World {
        let mut world = World {
            machine: Machine::new(plan),
            guarded: plan.cancel_is_guarded,
            acknowledges,
            confirms: plan.confirms,
            now_ns: SECOND,
            source: Qemu::new(Vm::Runs),
            destination: Qemu::new(Vm::Waits),
            postcopy_asked: false,
            link: true,
            forward: None,
            back: false,
            sent_rest: false,
            faults,
            excuse: None,
            ending: None,
            forgotten: 0,
        };
        world.destination.autostart = !plan.confirms;
        world.step_machine(&Input::Started);
        world
    }

    fn side(&mut self, side: Side) -> &mut Qemu {
        if side == Side::Source { &mut self.source } else { &mut self.destination }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut may = |step, possible| {
            if possible {
                steps.push(step);
            }
        };
        for (side, qemu) in [(Side::Source, &self.source), (Side::Destination, &self.destination)] {
            may(Step::Hear(side), !qemu.said.is_empty() && self.ending.is_none());
            may(Step::Obey(side), !qemu.commands.is_empty());
        }
        let arrives = matches!(self.forward, Some(Load::All | Load::Package));
        may(
            Step::ObeyLate,
            arrives
                && self.destination.vm == Vm::Waits
                && self.destination.commands.front() == Some(&Command::Hold),
        );
        let copies = self.source.alive && self.source.state == "active" && self.link;
        may(Step::Converge, copies);
        may(Step::Switch, copies && self.postcopy_asked);
        let both =
            self.source.state == "postcopy-active" && self.destination.state == "postcopy-active";
        may(Step::SendRest, both && self.link && self.forward.is_none() && !self.back);
        may(Step::Arrive, self.forward.is_some());
        may(Step::Acknowledge, self.back && self.source.alive);
        if self.faults > 0 && self.ending.is_none() {
            may(Step::Goes(Fault::Interrupt), true);
            may(Step::Goes(Fault::Wait), true);
            may(Step::Goes(Fault::Cut { lost: true }), self.link);
            may(
                Step::Goes(Fault::Cut { lost: false }),
                self.link && (self.forward.is_some() || self.back),
            );
            for (side, qemu) in
                [(Side::Source, &self.source), (Side::Destination, &self.destination)]
            {
                may(Step::Goes(Fault::Kill(side)), qemu.alive);
                may(Step::Goes(Fault::Gone(side)), qemu.heard && qemu.alive);
                may(Step::Goes(Fault::Reopen(side)), qemu.heard && qemu.alive);
            }
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Hear(side) => {
                if let Some(said) = self.side(side).said.pop_front() {
                    self.hear(side, said);
                }
            }
            Step::Obey(side) => {
                if let Some(command) = self.side(side).commands.pop_front() {
                    self.obey(command);
                }
            }
            Step::ObeyLate => {
                self.destination.commands.pop_front();
                self.destination.autostart = false;
                self.arrive();
                self.held(Held::Stopped);
            }
            Step::Converge => {
                self.stop_source();
                self.forward = Some(Load::All);
            }
            Step::Switch => {
                self.stop_source();
                self.source.enter(if self.acknowledges {
                    "postcopy-device"
                } else {
                    "postcopy-active"
                });
                self.forward = Some(Load::Package);
            }
            Step::SendRest => (self.forward, self.sent_rest) = (Some(Load::Rest), true),
            Step::Arrive => self.arrive(),
            Step::Acknowledge => {
                self.back = false;
                if self.source.state == "postcopy-device" {
                    self.source.enter("postcopy-active");
                } else if matches!(self.source.state, "device" | "postcopy-active") {
                    self.source.enter("completed");
                }
            }
            Step::Goes(fault) => {
                self.faults -= 1;
                self.goes(fault);
            }
        }
    }

    fn held(&mut self, held: Held) {
        if self.forgotten > 0 {
            self.forgotten -= 1;
        } else {
            self.destination.say(Said::Held(held));
        }
    }

    fn stop_source(&mut self) {
        self.source.vm = Vm::Stopped;
        self.source.say(Said::Event("STOP"));
        self.source.enter("device");
    }

    fn arrive(&mut self) {
        let Some(load) = self.forward.take() else { return };
        let destination = &mut self.destination;
        if !destination.alive || matches!(destination.state, "failed" | "postcopy-paused") {
            return;
        }
        if load != Load::Rest {
            if destination.autostart {
                destination.starts();
            } else {
                destination.vm = Vm::Stopped;
            }
        }
        destination.enter(if load == Load::Package { "postcopy-active" } else { "completed" });
        self.back = (load != Load::Package || self.acknowledges) && self.link;
        if load == Load::Package && !self.link {
            self.destination.enter("postcopy-paused");
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::StartPostcopy if self.source.state == "active" => self.postcopy_asked = true,
            Command::Cancel if self.source.state.starts_with("postcopy") && self.guarded => {
                self.source.say(Said::Refused(command));
            }
            Command::Cancel
                if matches!(self.source.state, "active" | "device")
                    || self.source.state.starts_with("postcopy") =>
            {
                self.source.starts();
                self.source.enter("cancelled");
                self.part();
            }
            Command::Hold => {
                let waits = self.destination.vm == Vm::Waits;
                self.destination.autostart &= !waits;
                self.held(match self.destination.vm {
                    Vm::Waits => Held::Waits,
                    Vm::Stopped => Held::Stands,
                    Vm::Runs => Held::Runs,
                });
            }
            Command::Release => {
                if self.destination.vm == Vm::Waits {
                    self.destination.autostart = true;
                } else {
                    self.destination.starts();
                }
                self.destination.say(Said::Released);
            }
            Command::StopStaleCopy(side) => {
                self.side(side).vm = Vm::Stopped;
                self.side(side).say(Said::StaleCopyStopped);
            }
            Command::Recover
                if self.source.state == "postcopy-paused"
                    && self.destination.state == "postcopy-paused"
                    && self.destination.alive =>
            {
                self.link = true;
                self.source.enter("postcopy-active");
                self.destination.enter("postcopy-active");
                self.source.say(Said::Recovered);
            }
            Command::Recover => self.source.say(Said::Refused(command)),
            _ => {}
        }
    }

    /// The connection of the stream is no more; what is on its way may still arrive. Each side sees
    /// it.
    fn part(&mut self) {
        self.link = false;
        self.back = false;
        if self.source.alive {
            match self.source.state {
                "postcopy-active" if !self.sent_rest => self.source.enter("postcopy-paused"),
                // It starts its guest, and cannot know whether the destination has all and does so
                // too; once it has sent everything, in post-copy as well.
                "postcopy-active" | "postcopy-device" | "active" | "device" => {
                    self.source.enter("failed");
                    self.source.starts();
                }
                _ => {}
            }
        }
        if self.destination.alive && self.forward.is_none() {
            match self.destination.state {
                "postcopy-active" => self.destination.enter("postcopy-paused"),
                "active" => {
                    if self.source.state.starts_with("postcopy") && !self.acknowledges {
                        self.excuse = Some(
                            "before 10.2 a post-copy that breaks before the devices have arrived is lost",
                        );
                    }
                    self.destination.enter("failed");
                }
                _ => {}
            }
        }
    }

    fn goes(&mut self, fault: Fault) {
        match fault {
            Fault::Interrupt => self.step_machine(&Input::Interrupt),
            Fault::Wait => self.wait(),
            Fault::Cut { lost } => {
                if lost && self.forward.take() == Some(Load::Rest) {
                    self.excuse = Some(
                        "a source that has sent the last page, which is lost, fails instead of pausing",
                    );
                }
                self.part();
            }
            Fault::Kill(side) => {
                self.excuse = Some("a QEMU was killed");
                let qemu = self.side(side);
                qemu.alive = false;
                qemu.vm = Vm::Stopped;
                self.silence(side);
                self.part();
                self.step_machine(&Input::Exited(side, "killed".to_owned()));
            }
            Fault::Gone(side) => {
                self.side(side).heard = false;
                self.silence(side);
                self.step_machine(&Input::Gone(side, "closed".to_owned()));
            }
            Fault::Reopen(side) => {
                self.silence(side);
                self.step_machine(&Input::Reopened(side));
                let state = self.side(side).state;
                self.side(side).say(Said::Status(state));
            }
        }
    }

    /// What was on its way to and from the driver is lost.
    fn silence(&mut self, side: Side) {
        let qemu = self.side(side);
        let of_hold = |said: &Said| matches!(said, Said::Held(_));
        let holding = qemu.commands.contains(&Command::Hold) || qemu.said.iter().any(of_hold);
        qemu.said.clear();
        qemu.commands.clear();
        if side == Side::Destination {
            self.forgotten = 0;
        }
        if holding {
            self.step_machine(&Input::Refused(Command::Hold, "closed".to_owned()));
        }
    }

    fn wait(&mut self) {
        self.now_ns += 70 * SECOND;
        let answers =
            self.destination.said.iter().filter(|said| matches!(said, Said::Held(_))).count();
        let unanswered =
            self.destination.commands.iter().filter(|command| **command == Command::Hold).count();
        if answers + unanswered > 0 {
            // An answer that comes later is not waited for.
            self.destination.said.retain(|said| !matches!(said, Said::Held(_)));
            self.forgotten += unanswered;
            self.step_machine(&Input::Refused(Command::Hold, "no answer".to_owned()));
        }
        self.step_machine(&Input::Tick);
    }

    fn hear(&mut self, side: Side, said: Said) {
        let event = |name: &str, data| Event {
            name: name.to_owned(),
            data,
            qemu_us: None,
            arrived: Stamp { mono_ns: 0, wall_ns: 0 },
        };
        match said {
            Said::Status(status) => self.step_machine(&Input::Event(
                side,
                &event("MIGRATION", json!({ "status": status })),
            )),
            Said::Event(name) => self.step_machine(&Input::Event(side, &event(name, json!({})))),
            Said::Refused(command) => self.step_machine(&Input::Refused(command, "no".to_owned())),
            Said::Held(held) => self.step_machine(&Input::Held(held)),
            Said::Released => self.step_machine(&Input::Released),
            Said::StaleCopyStopped => self.step_machine(&Input::StaleCopyStopped),
            Said::Recovered => self.step_machine(&Input::Recovered),
        }
    }

    fn step_machine(&mut self, input: &Input<'_>) {
        for effect in self.machine.step(input, self.now_ns) {
            match effect {
                Effect::Send(command) => {
                    let to = matches!(
                        command,
                        Command::Hold
                            | Command::Release
                            | Command::Listen
                            | Command::StopStaleCopy(Side::Destination)
                    );
                    let qemu = self.side(if to { Side::Destination } else { Side::Source });
                    if qemu.heard && qemu.alive {
                        qemu.commands.push_back(command);
                    } else if command == Command::Hold {
                        self.step_machine(&Input::Refused(command, "closed".to_owned()));
                    }
                }
                Effect::End(ending) => self.ending = Some(ending),
                Effect::Decided(_) | Effect::Hook(_) => {}
            }
        }
    }

    fn runs(&self) -> [bool; 2] {
        // What waits for pages of a source that is no more does not run.
        if self.destination.state == "postcopy-paused" && !self.source.alive {
            return [false, false];
        }
        [&self.source, &self.destination].map(|qemu| qemu.alive && qemu.vm == Vm::Runs)
    }

    /// At any time; but for a source that failed when everything was sent and starts again by
    /// itself, until it is stopped. A destination that starts nothing before the source lets the
    /// guest go leaves not even that; but for a source that fails at the very end of post-copy.
    fn never_two(&self, at_rest: bool) -> Result<(), String> {
        let says =
            |words: &str| self.ending.as_ref().is_some_and(|ending| ending.reason.contains(words));
        // Completed by the destination's word, or not known: then a person is told to look at both.
        let unknown = self.ending.as_ref().is_some_and(|ending| ending.outcome == Outcome::Unknown);
        let told = unknown || says("it may run its guest too");
        let by_itself = self.source.state == "failed" && (!at_rest || told);
        let strictly = self.confirms && !self.sent_rest;
        if self.runs() != [true, true] || self.excuse.is_some() || by_itself && !strictly {
            Ok(())
        } else {
            Err("two copies run".to_owned())
        }
    }

    /// When nothing is on its way any more.
    fn never_none_and_true(&self) -> Result<(), String> {
        let Some(ending) = &self.ending else { return Err("no end".to_owned()) };
        let runs = self.runs();
        // One that was held, when nobody could be asked any more, can run: a person is told so.
        let told = ending.reason.contains("told not to start the guest");
        let stands =
            ending.outcome == Outcome::Unknown && told && self.destination.vm == Vm::Stopped;
        if runs == [false, false] && self.excuse.is_none() && !stands {
            return Err(format!("nobody runs, {ending:?}"));
        }
        let is_true = match ending.outcome {
            // It may have ended after both had said that all is done.
            Outcome::Completed => runs[1] || !self.destination.alive,
            Outcome::NotConverged | Outcome::Cancelled | Outcome::Failed => runs == [true, false],
            // Where the source runs on after all, `settle` finds that out.
            Outcome::Lost => !runs[1],
            Outcome::Unknown => true,
        };
        if is_true { Ok(()) } else { Err(format!("not true: {ending:?}, runs: {runs:?}")) }
    }
}

/// Goes through all of it; gives how many different worlds there are.
fn explore(plan: &Plan, acknowledges: bool, faults: u8) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![(World::new(plan, acknowledges, faults), Vec::new())];
    while let Some((world, story)) = open.pop() {
        let steps = world.steps();
        let told = |problem: String| panic!("{problem}\nby {story:?}\nin {world:#?}");
        world.never_two(false).unwrap_or_else(told);
        if steps.is_empty() || steps.iter().all(|step| matches!(step, Step::Goes(_))) {
            let mut rests = world.clone();
            for _ in 0..40 {
                if rests.ending.is_some() {
                    break;
                }
                rests.wait();
                // What it does then has its effect.
                while let Some(step) =
                    rests.steps().into_iter().find(|step| !matches!(step, Step::Goes(_)))
                {
                    rests.take(step);
                }
            }
            let told = |problem: String| panic!("{problem}\nat rest, by {story:?}\nin {rests:#?}");
            rests.never_two(true).and_then(|()| rests.never_none_and_true()).unwrap_or_else(told);
        }
        for step in steps {
            let mut next = world.clone();
            next.take(step);
            if seen.insert(format!("{next:?}")) {
                let story: Vec<Step> = story.iter().copied().chain([step]).collect();
                open.push((next, story));
            }
        }
    }
    println!("{} worlds", seen.len());
    seen.len()
}

fn plan(mode: Mode, cancel_is_guarded: bool) -> Plan {
    let switch = if mode == Mode::Precopy { SwitchWhen::Never } else { SwitchWhen::AtOnce };
    Plan {
        mode,
        source: Settings::default(),
        destination: Settings::default(),
        tls: None,
        confirms: false,
        listen: Listen::Already,
        stream: Stream::default(),
        switch,
        finish: SwitchWhen::Never,
        downtime_limit: Micros(0),
        give_up: GiveUpWhen { passes: None, bytes: None, after: Micros(100_000_000) },
        cancel_is_guarded,
        return_path: true,
        recovery: RecoveryRules {
            attempts: 1,
            backoff: Micros(1_000_000),
            stalled_after: Micros(60_000_000),
        },
        hooks: Hooks::default(),
    }
}

#[test]
fn keeps_exactly_one_copy_in_pre_copy() {
    assert!(explore(&plan(Mode::Precopy, true), true, 2) > 1000);
}

/// And there not for a moment.
#[test]
fn keeps_exactly_one_copy_when_the_handover_is_confirmed() {
    for mode in [Mode::Precopy, Mode::Postcopy] {
        assert!(explore(&Plan { confirms: true, ..plan(mode, true) }, true, 2) > 1000);
    }
}

#[test]
fn keeps_exactly_one_copy_in_post_copy() {
    for acknowledges in [false, true] {
        assert!(explore(&plan(Mode::Postcopy, true), acknowledges, 2) > 1000);
    }
}

#[test]
fn keeps_exactly_one_copy_in_post_copy_of_a_qemu_that_obeys_a_cancel() {
    assert!(explore(&plan(Mode::Postcopy, false), false, 2) > 1000);
}

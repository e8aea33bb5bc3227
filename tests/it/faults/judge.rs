//! The law: exactly one copy runs or can run, its memory is right, what was said is true, what was
//! recorded can be read, nothing is left behind.

use super::cell::{Cell, Fault, How, Phase};
use super::scene::Scene;
use crate::harness::{Done, Vm, loses_writes};
use base::Side;
use base::units::Micros;
use record::Run;
use std::fmt;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(20);
/// A main loop that says nothing for so long waits for what never comes.
const STUCK: Duration = Duration::from_secs(10);
/// Polls until both sides have come to rest.
const POLLS: u32 = 500;

/// Where the guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    Source,
    Destination,
    Both,
    Nowhere,
}

/// What became of a cell.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) cell: Cell,
    in_time: bool,
    /// What the driver said, and what the one said that carried on.
    said: Vec<String>,
    guest: Guest,
    /// For so long both ran, because the source started the guest again by itself.
    both_us: u64,
    /// Against the law; none if all is well.
    pub(super) broken: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.in_time {
            return f.write_str("·");
        }
        let guest = match self.guest {
            Guest::Source => "S",
            Guest::Destination => "D",
            Guest::Both => "BOTH",
            Guest::Nowhere => "–",
        };
        write!(f, "{} {guest}", self.said.join(", then "))?;
        if self.both_us > 0 {
            write!(f, " (both for {})", Micros(self.both_us))?;
        }
        if self.broken.is_empty() { Ok(()) } else { write!(f, " **broken**") }
    }
}

pub(super) fn judge(cell: Cell, mut scene: Scene, done: &Done) -> Verdict {
    let mut broken = Vec::new();
    let mut said = vec![outcome(cell, done, &mut broken)];
    let mut story = done.story();
    let both_alive = scene.pair.source.is_alive() && scene.pair.destination.is_alive();
    if matches!(said[0].as_str(), "killed" | "unknown") && both_alive {
        let attached = scene.attach(cell);
        story.push_str(&attached.story());
        said.push(outcome(cell, &attached, &mut broken));
    }
    let (mut states, mut guest) = where_is_it(&mut scene);
    let stands = states[0].as_ref().is_some_and(|(run_state, _)| run_state == "finish-migrate");
    if guest == Guest::Nowhere && stands {
        // As somebody would who reads that it is lost, and that the source has all of it.
        let revived = scene.revive();
        story.push_str(&revived.story());
        if revived.status.success() {
            said.push("revived".to_owned());
            (states, guest) = where_is_it(&mut scene);
        }
    }
    let both_us = both_ran_us(&Run::open(done.out()));
    if cell.how == How::Confirmed && both_us > 0 {
        broken.push(format!("two copies ran for {}", Micros(both_us)));
    }
    match guest {
        Guest::Both => broken.push("two copies run".to_owned()),
        Guest::Nowhere if !may_be_nowhere(cell) => broken.push("nobody runs the guest".to_owned()),
        Guest::Nowhere => {}
        Guest::Source | Guest::Destination => {
            let vm = if guest == Guest::Source {
                &mut scene.pair.source
            } else {
                &mut scene.pair.destination
            };
            let verdict = vm.check();
            if !verdict.intact && !loses_writes(cell.version, cell.is_postcopy()) {
                broken.push(format!("memory: {:?}", verdict.said));
            }
        }
    }
    if let Some(lie) = lie(said.last().unwrap(), guest, cell) {
        broken.push(lie);
    }
    if cell.fault != Fault::FillDisk {
        broken.extend(unreadable(done));
    }
    broken.extend(scene.scratch.leftovers().into_iter().map(|left| format!("left behind: {left}")));
    // Of cells that were asked for by name, everything.
    if !broken.is_empty() || std::env::var_os("SWITCHOVER_FAULTS_ONLY").is_some() {
        println!("{cell}: {broken:#?}\n{states:?}\n{story}");
    }
    Verdict { cell, in_time: scene.in_time, said, guest, both_us, broken }
}

/// Both at rest, and which of them runs the guest.
fn where_is_it(scene: &mut Scene) -> ([Option<(String, String)>; 2], Guest) {
    let states = [&mut scene.pair.source, &mut scene.pair.destination].map(at_rest);
    let [source, destination] = states
        .each_ref()
        .map(|state| state.as_ref().filter(|(run_state, _)| run_state == "running"));
    // A destination that waits for pages that nobody has is called running too.
    let guest = match [
        source.is_some(),
        destination.is_some_and(|(_, migration)| migration != "postcopy-paused"),
    ] {
        [true, true] => Guest::Both,
        [true, false] => Guest::Source,
        [false, true] => Guest::Destination,
        [false, false] => Guest::Nowhere,
    };
    (states, guest)
}

/// From the source's RESUME to its STOP, while the destination ran. By QEMU's own clock; both are
/// on this host.
fn both_ran_us(run: &Run) -> u64 {
    let mut events = run.events().unwrap_or_default();
    events.retain(|event| {
        matches!(event.event.as_str(), "RESUME" | "STOP") && event.qemu_us.is_some()
    });
    events.sort_by_key(|event| event.qemu_us);
    // The source counts when it has started again.
    let (mut runs, mut since_us, mut both_us) = ([false, false], None, 0);
    for event in events {
        let at_us = event.qemu_us.unwrap_or(0);
        if let Some(since_us) = since_us {
            both_us += at_us.saturating_sub(since_us);
        }
        runs[usize::from(event.side == Side::Destination)] = event.event == "RESUME";
        since_us = (runs == [true, true]).then_some(at_us);
    }
    both_us
}

/// In a word, and whether the exit code says the same.
fn outcome(cell: Cell, done: &Done, broken: &mut Vec<String>) -> String {
    let Some(code) = done.status.code() else {
        let killed = cell.fault == Fault::KillDriver;
        let signal = std::os::unix::process::ExitStatusExt::signal(&done.status);
        return match (killed, signal) {
            (true, _) => "killed".to_owned(),
            // A signal is raised again when all is safe.
            (false, Some(2)) => summary(done).unwrap_or_else(|| "interrupted".to_owned()),
            (false, signal) => {
                broken.push(format!("ended by signal {signal:?}"));
                "broke".to_owned()
            }
        };
    };
    let Some(outcome) = summary(done) else {
        return match code {
            // Nothing was started; the record could not be written.
            3 | 5 => "not started".to_owned(),
            9 if cell.fault == Fault::FillDisk => "not recorded".to_owned(),
            code => {
                broken.push(format!("no run.json, and exit code {code}"));
                "no run.json".to_owned()
            }
        };
    };
    let codes: &[i32] = match outcome.as_str() {
        "completed" => &[0],
        "not-converged" | "cancelled" => &[3],
        "failed" => &[8],
        "lost" => &[6],
        "unknown" => &[7],
        _ => &[],
    };
    let could_not_be_written = code == 9 && cell.fault == Fault::FillDisk;
    if !codes.contains(&code) && !could_not_be_written {
        broken.push(format!("outcome {outcome} with exit code {code}"));
    }
    outcome
}

fn summary(done: &Done) -> Option<String> {
    let text = std::fs::read_to_string(done.out().join("run.json")).ok()?;
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    json["outcome"].as_str().map(str::to_owned)
}

/// Both `query-status` and `query-migrate`, once they change no more; `None` of a QEMU that is
/// gone, or whose main loop waits for a page that nobody has.
fn at_rest(vm: &mut Vm) -> Option<(String, String)> {
    let mut state = None;
    for _ in 0..POLLS {
        if !vm.is_alive() || !vm.qmp.answers_within(STUCK) {
            return None;
        }
        let now = (vm.qmp.run_state(), vm.qmp.migration());
        let rests = matches!(now.1.as_str(), "none" | "completed" | "failed" | "cancelled")
            && now.0 != "finish-migrate";
        state = Some(now);
        if rests {
            break;
        }
        std::thread::park_timeout(POLL);
    }
    state
}

/// Only where the QEMU was killed that had the guest, or a part of it.
fn may_be_nowhere(cell: Cell) -> bool {
    let over =
        matches!(cell.phase, Phase::Switch | Phase::Postcopy | Phase::Recover | Phase::Completing);
    let switching = cell.is_postcopy() && cell.phase == Phase::Device;
    match cell.fault {
        Fault::Kill(Side::Source) => cell.phase != Phase::Completing,
        Fault::Kill(Side::Destination) => over || switching,
        _ => false,
    }
}

/// What was said last against what is.
fn lie(said: &str, guest: Guest, cell: Cell) -> Option<String> {
    let true_of = match said {
        "completed" => guest == Guest::Destination || cell.fault.kills(Side::Destination),
        "not-converged" | "cancelled" | "failed" | "interrupted" => guest == Guest::Source,
        "lost" => guest == Guest::Nowhere,
        "revived" => guest == Guest::Source,
        // It claims nothing. Where both sides live, somebody has carried on, and should know.
        "unknown" => matches!(cell.fault, Fault::Kill(_)),
        _ => true,
    };
    (!true_of).then(|| format!("said {said}, and the guest is: {guest:?}"))
}

fn unreadable(done: &Done) -> Vec<String> {
    if !done.out().exists() {
        return Vec::new();
    }
    let run = Run::open(done.out());
    let problems = [
        run.events().err().map(|error| format!("events: {error}")),
        run.decisions().err().map(|error| format!("decisions: {error}")),
        run.samples(|_| ()).err().map(|error| format!("samples: {error}")),
    ];
    problems.into_iter().flatten().collect()
}

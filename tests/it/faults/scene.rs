//! One cell, played: two QEMUs, a migration of them, the fault at its phase.

use super::cell::{Cell, Fault, How, Phase};
use super::disk::Disk;
use super::stream::Stream;
use super::wire::Wire;
use crate::harness::{Done, Pair, Running, Scratch, Switchover, Wish, qemu};
use base::Side;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::{EventRecord, Run};
use std::path::PathBuf;
use std::time::Duration;

const FREEZE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);
/// Pre-copy goes through many passes, and converges; post-copy lasts for a second or two.
const PACE: [&str; 6] = [
    "--max-bandwidth",
    "32MiB/s",
    "--downtime-limit",
    "20ms",
    "--set",
    "limits.postcopy_bandwidth=8MiB/s",
];

/// What there is of a cell when its driver has ended.
pub(super) struct Scene {
    pub(super) scratch: Scratch,
    pub(super) pair: Pair,
    /// Whether the migration was still going on when the fault came.
    pub(super) in_time: bool,
    wires: [Wire; 2],
    stream: Stream,
    disk: Option<Disk>,
}

const CONFIRMED: [&str; 2] = ["--set", "handover=confirmed"];

impl Scene {
    /// `None`, with the reason printed, where this machine cannot play it.
    pub(super) fn play(cell: Cell) -> Option<(Scene, Done)> {
        let qemu = qemu(cell.version)?;
        let scratch = Scratch::new();
        let disk = if cell.fault == Fault::FillDisk { Some(Disk::mount(&scratch)?) } else { None };
        let wish = Wish { working_set: 16, rate: 20, destination: &["-incoming", "defer"] };
        let pair = Pair::start(&scratch, qemu, qemu, &wish);
        let stream = Stream::start(scratch.join("stream"), scratch.join("incoming"));
        let wires = [(Side::Source, &pair.source), (Side::Destination, &pair.destination)].map(
            |(side, vm)| Wire::start(scratch.join(&format!("{side}.wire")), vm.control_path()),
        );
        let mut scene = Scene { scratch, pair, in_time: false, wires, stream, disk };
        let mut running = scene.migrate(cell);
        scene.in_time = scene.reach(cell.phase, &mut running);
        if scene.in_time {
            scene.inject(cell.fault, &mut running);
        }
        Some((scene, running.wait()))
    }

    /// Where the run directory is.
    fn out(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| self.scratch.join("run"), |disk| disk.path().join("run"))
    }

    fn endpoint(&self, fault: Fault, side: Side) -> String {
        let vm = if side == Side::Source { &self.pair.source } else { &self.pair.destination };
        // Through the wire only where that is needed: it keeps listening when its QEMU is gone.
        if fault.needs_wire(side) {
            self.wires[usize::from(side == Side::Destination)].endpoint()
        } else {
            vm.control()
        }
    }

    fn migrate(&self, cell: Cell) -> Running {
        let [source, destination] =
            [Side::Source, Side::Destination].map(|side| self.endpoint(cell.fault, side));
        let (stream, incoming) = (
            format!("unix:{}", self.stream.at.display()),
            format!("unix:{}", self.stream.to.display()),
        );
        let mut call = Switchover::new(
            &self.scratch,
            &["migrate", "--source", &source, "--destination", &destination],
        );
        call = call.args(&PACE).args(&[
            "--uri",
            &stream,
            "--set",
            &format!("incoming_uri={incoming}"),
            "--timeout",
            "60s",
        ]);
        call = call.args(&[
            "--set",
            &format!("recovery.uri=unix:{}", self.scratch.join("again").display()),
        ]);
        match cell.how {
            How::Precopy => {}
            How::Confirmed => call = call.args(&CONFIRMED),
            How::Postcopy => call = call.args(&["--mode", "hybrid", "--after-pass", "1"]),
        }
        call.out(&self.out()).start()
    }

    /// Somebody carries on what the first driver left.
    pub(super) fn attach(&self, cell: Cell) -> Done {
        let words = self.pair.endpoints();
        let words: Vec<&str> =
            ["attach"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let again = format!("recovery.uri=unix:{}", self.scratch.join("once-more").display());
        let mut call =
            Switchover::new(&self.scratch, &words).args(&["--set", &again, "--timeout", "60s"]);
        if cell.how == How::Confirmed {
            call = call.args(&CONFIRMED);
        }
        call.out(&self.scratch.join("attach")).run()
    }

    /// Somebody starts a guest again that stands on the source.
    pub(super) fn revive(&self) -> Done {
        let [_, source, _, destination] = self.pair.endpoints();
        Switchover::new(
            &self.scratch,
            &["revive", "--source", &source, "--destination", &destination],
        )
        .run()
    }

    /// Waits until the migration has got there; false if it ends before.
    fn reach(&self, phase: Phase, running: &mut Running) -> bool {
        if phase == Phase::Recover {
            if !self.reach(Phase::Postcopy, running) {
                return false;
            }
            self.stream.cut();
        }
        let out = self.out();
        while running.goes_on() {
            let run = Run::open(&out);
            let events = run.events().unwrap_or_default();
            let there = match phase {
                // Its first sign: the attempt is under way from then on.
                Phase::Recover => run
                    .decisions()
                    .unwrap_or_default()
                    .iter()
                    .any(|decision| decision["decision"]["action"] == "recover"),
                // Since 10.2 the source says so only when the destination has told it.
                Phase::Postcopy => [Phase::Switch, Phase::Postcopy]
                    .iter()
                    .all(|phase| events.iter().any(|event| is(*phase, event))),
                phase => events.iter().any(|event| is(phase, event)),
            };
            if there {
                return true;
            }
            std::thread::park_timeout(POLL);
        }
        false
    }

    fn inject(&mut self, fault: Fault, running: &mut Running) {
        match fault {
            Fault::Kill(Side::Source) => self.pair.source.kill(),
            Fault::Kill(Side::Destination) => self.pair.destination.kill(),
            Fault::Freeze(Side::Source) => freeze(self.pair.source.pid()),
            Fault::Freeze(Side::Destination) => freeze(self.pair.destination.pid()),
            Fault::FreezeDriver => freeze(running.pid()),
            Fault::KillDriver => running.signal(Signal::SIGKILL),
            Fault::Interrupt => running.signal(Signal::SIGINT),
            Fault::CloseQmp(side) => self.wires[usize::from(side == Side::Destination)].close(),
            Fault::SlowQmp(side) => self.wires[usize::from(side == Side::Destination)].slow(),
            Fault::CutLink => self.stream.cut(),
            Fault::StallLink => self.stream.stall(FREEZE),
            Fault::FillDisk => self.disk.iter().for_each(Disk::fill),
        }
    }
}

fn is(phase: Phase, event: &EventRecord) -> bool {
    let source = event.side == Side::Source;
    match phase {
        Phase::Setup => source && event.status() == Some("setup"),
        Phase::FirstPass => source && event.status() == Some("active"),
        Phase::LaterPass => event.pass() >= Some(3),
        Phase::Device => source && event.event == "STOP",
        Phase::Switch => !source && event.event == "RESUME",
        // Before 10.2 as soon as it has written everything, which the destination may not have got.
        Phase::Postcopy => source && event.status() == Some("postcopy-active"),
        Phase::Recover => false,
        Phase::Completing => !source && event.status() == Some("completed"),
    }
}

fn freeze(pid: Pid) {
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::park_timeout(FREEZE);
    kill(pid, Signal::SIGCONT).unwrap();
}

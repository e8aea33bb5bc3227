//! A lab: a pair of QEMUs with the micro-guest between them, no root, no KVM, no kernel image needed.
//!
//! Takes a scenario; gives running QEMUs with sessions, sampling connections, heartbeats and the guest's console. Tears all of
//! it down on every way out: [`Lab::stop`], drop (error, panic), and by the `janitor` when this process is killed. Knows
//! nothing of analysis.
//!
//! Map: here the pair · `process` one QEMU · `command_line` its arguments · `accel` which accelerator really works ·
//! `console` talking to the guest · `janitor` the clean-up that outlives us.

mod accel;
mod command_line;
mod console;
mod janitor;
mod process;

pub use accel::{Accelerator, choose as choose_accelerator};
pub use console::{Console, GuestCheck, GuestStatus};

use crate::clock::{Stamp, monotonic_ns};
use crate::drive::End;
use crate::plan::Side;
use crate::qmp::{Blocking, Endpoint, QmpError, Session};
use crate::record::Sink;
use crate::scenario::{Scenario, Transport};
use command_line::Place;
use janitor::Janitor;
use process::Process;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// QEMU has started and speaks QMP.
const QEMU_DEADLINE: Duration = Duration::from_secs(30);
/// The guest beats.
const BEAT_DEADLINE: Duration = Duration::from_secs(20);
/// The guest has filled its working set, for each GiB of it.
const READY_DEADLINE_PER_GIB: Duration = Duration::from_secs(60);
/// `sun_path` holds 108 bytes; our longest name in the private directory has 24.
const LONGEST_DIRECTORY: usize = 80;

/// The image of fixtures/guest, part of the program so that it runs from anywhere.
const GUEST_IMAGE: &[u8] = include_bytes!("../../fixtures/guest/micro-guest.elf");

/// Why there is no lab. Nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The program is not there.
    #[error(
        "cannot start {program}: install QEMU (Debian: apt-get install qemu-system-x86), name another program with --qemu, or run \
         qemu-scripts/qemu 10.0, which unpacks one without root"
    )]
    NoQemu {
        /// What was to be started.
        program: String,
        /// Why it could not be.
        source: io::Error,
    },
    /// It ended before it was of use.
    #[error("{side}: {reason}")]
    Died {
        /// Which side.
        side: Side,
        /// How it ended and what it said.
        reason: String,
    },
    /// It runs, and does not speak.
    #[error("{side}: QEMU does not speak QMP")]
    Qmp {
        /// Which side.
        side: Side,
        /// What happened.
        source: QmpError,
    },
    /// The guest does not come up.
    #[error("the guest {problem}; it said: {said}")]
    Guest {
        /// What is wrong.
        problem: String,
        /// Its last words on its console.
        said: String,
    },
    /// KVM was asked for and no guest runs under it.
    #[error("--accel kvm: {reason}. Use --accel tcg, or auto")]
    Kvm {
        /// What was tried and seen.
        reason: String,
    },
    /// The private directory, its sockets, or our own processes.
    #[error("cannot set up {what}")]
    System {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
    let what = what.into();
    move |source| LabError::System { what, source }
}

/// A running pair.
#[derive(Debug)]
pub struct Lab {
    /// The QEMU that the guest runs on.
    pub source: LabSide,
    /// The QEMU that waits.
    pub destination: LabSide,
    /// Tells when a QEMU ends, and how.
    pub exits: mpsc::UnboundedReceiver<(Side, String)>,
    /// What the guests' instructions run on, and why.
    pub accelerator: Accelerator,
    /// From the start of the first QEMU to the first heartbeat.
    pub boot: Duration,
    /// Migration URI of this lab.
    pub uri: String,
    processes: Vec<Process>,
    // Dropped after the processes: the directory goes first, then the janitor has nothing left to do.
    directory: tempfile::TempDir,
    _janitor: Janitor,
}

/// One side of a lab. Parts are taken out by whoever uses them.
#[derive(Debug)]
pub struct LabSide {
    /// To drive it.
    pub end: Option<End>,
    /// To sample it.
    pub sampling: Option<Blocking>,
    /// The guest's beats.
    pub heartbeat: Option<UnixStream>,
    /// The guest's console.
    pub console: Console,
}

struct Listeners {
    control: UnixListener,
    sampling: UnixListener,
    heartbeat: UnixListener,
    console: UnixListener,
}

impl Listeners {
    /// We listen and QEMU connects (`server=off`): no socket file has to be waited for, and no beat is lost.
    fn bind(place: &Place) -> io::Result<Listeners> {
        Ok(Listeners {
            control: UnixListener::bind(place.control())?,
            sampling: UnixListener::bind(place.sampling())?,
            heartbeat: UnixListener::bind(place.heartbeat())?,
            console: UnixListener::bind(place.console())?,
        })
    }
}

impl Lab {
    /// Starts the pair and waits until the guest is really up: it beats, and its working set is filled.
    ///
    /// QEMU's own output goes to `qemu.{side}.log` in `logs`.
    ///
    /// # Errors
    /// [`LabError`]; everything that was started is ended again.
    pub async fn start(
        scenario: &Scenario,
        accelerator: Accelerator,
        sink: &Sink,
        logs: &Path,
        transcript: bool,
    ) -> Result<Lab, LabError> {
        let directory = private_directory()?;
        let mut janitor = Janitor::start(directory.path()).map_err(system("the janitor process (sh)"))?;
        let image = directory.path().join("guest.elf");
        std::fs::write(&image, GUEST_IMAGE).map_err(system("the guest's image"))?;

        let (exit_sender, exits) = mpsc::unbounded_channel();
        let began_ns = monotonic_ns();
        let mut processes = Vec::new();
        let mut listeners = Vec::new();
        for (side, program) in [(Side::Source, scenario.qemu.source.as_str()), (Side::Destination, scenario.destination_qemu())] {
            let place = Place::new(directory.path(), side);
            listeners.push(Listeners::bind(&place).map_err(system("the lab's sockets"))?);
            let arguments = command_line::arguments(scenario, accelerator.kind, side, &place, &image);
            let log = logs.join(format!("qemu.{side}.log"));
            let process = Process::start(side, program, &arguments, &log, exit_sender.clone())?;
            janitor.watch(process.pid()).map_err(system("the janitor process (sh)"))?;
            processes.push(process);
        }

        let mut exits = exits;
        let connected = async {
            let source = connect(Side::Source, &listeners[0], sink, transcript).await?;
            let destination = connect(Side::Destination, &listeners[1], sink, transcript).await?;
            Ok::<_, LabError>((source, destination))
        };
        let (mut source, destination) = or_exit(&mut exits, connected).await?;
        let boot = or_exit(&mut exits, first_beat(&mut source, began_ns)).await?;
        let gib = u32::try_from(scenario.guest.working_set.0 >> 30).unwrap_or(u32::MAX) + 1;
        or_exit(&mut exits, source.console.ready(READY_DEADLINE_PER_GIB * gib)).await?;
        let uri = match scenario.transport {
            Transport::Unix => format!("unix:{}", directory.path().join("migrate").display()),
            Transport::Tcp => "tcp:127.0.0.1:0".to_owned(),
        };
        Ok(Lab { source, destination, exits, accelerator, boot, uri, processes, directory, _janitor: janitor })
    }

    /// The private directory, 0700.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Process ids: source, destination.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Ends both QEMUs and removes every file.
    pub async fn stop(self) {
        for process in self.processes {
            process.stop().await;
        }
        if let Err(error) = self.directory.close() {
            tracing::warn!(%error, "the lab's private directory could not be removed");
        }
    }
}

fn private_directory() -> Result<tempfile::TempDir, LabError> {
    let parents =
        [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(std::env::temp_dir()), Some(PathBuf::from("/tmp"))];
    let fits = |parent: &PathBuf| parent.is_dir() && parent.as_os_str().len() + 32 < LONGEST_DIRECTORY;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "neither XDG_RUNTIME_DIR, TMPDIR nor /tmp is of use");
    for parent in parents.into_iter().flatten().filter(fits) {
        // tempfile makes directories with mode 0700: QMP is root on the guest, nobody else may reach the sockets.
        match tempfile::Builder::new().prefix("switchover-").tempdir_in(&parent) {
            Ok(directory) => return Ok(directory),
            Err(error) => last = error,
        }
    }
    Err(system("a private directory for the lab's sockets")(last))
}

async fn connect(side: Side, listeners: &Listeners, sink: &Sink, transcript: bool) -> Result<LabSide, LabError> {
    let qmp = |source| LabError::Qmp { side, source };
    let tap = transcript.then(|| sink.tap(side));
    let (session, notices) = Session::accept(side.name(), &listeners.control, tap, QEMU_DEADLINE).await.map_err(qmp)?;
    let sampling = accept(&listeners.sampling, "QMP (sampling)").await?;
    let endpoint = Endpoint::Unix(PathBuf::from("lab"));
    let sampling = sampling.into_std().map_err(system("the sampling socket"))?;
    let sampling = Blocking::over_unix(side.name(), &endpoint, sampling, QEMU_DEADLINE).map_err(qmp)?;
    let heartbeat = accept(&listeners.heartbeat, "heartbeat").await?;
    let console = Console::new(side, accept(&listeners.console, "console").await?, sink.clone());
    Ok(LabSide { end: Some(End { session, notices }), sampling: Some(sampling), heartbeat: Some(heartbeat), console })
}

async fn accept(listener: &UnixListener, what: &str) -> Result<UnixStream, LabError> {
    let accepted = timeout(QEMU_DEADLINE, listener.accept()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    accepted.map(|(stream, _)| stream).map_err(system(format!("the {what} socket")))
}

/// Reads the first beat: the guest's code really runs.
async fn first_beat(source: &mut LabSide, began_ns: u64) -> Result<Duration, LabError> {
    let mut first = [0];
    let beat = match &mut source.heartbeat {
        Some(stream) => timeout(BEAT_DEADLINE, stream.read_exact(&mut first)).await,
        None => Ok(Err(io::ErrorKind::NotConnected.into())),
    };
    match beat {
        Ok(Ok(_)) => Ok(Duration::from_nanos(Stamp::now().mono_ns - began_ns)),
        Ok(Err(error)) => Err(system("the heartbeat socket")(error)),
        Err(_) => {
            let problem = format!("gave no heartbeat within {BEAT_DEADLINE:?}");
            Err(LabError::Guest { problem, said: source.console.last_words().await })
        }
    }
}

/// `work`, unless a QEMU ends first: then that is the reason.
async fn or_exit<T>(
    exits: &mut mpsc::UnboundedReceiver<(Side, String)>,
    work: impl Future<Output = Result<T, LabError>>,
) -> Result<T, LabError> {
    let exited = |(side, reason)| LabError::Died { side, reason };
    tokio::select! {
        biased;
        Some(exit) = exits.recv() => Err(exited(exit)),
        done = work => match done {
            Ok(done) => Ok(done),
            // A connection that ends is mostly a QEMU that ended, which is known a moment later and says more.
            Err(error) => match timeout(Duration::from_millis(300), exits.recv()).await {
                Ok(Some(exit)) => Err(exited(exit)),
                _ => Err(error),
            },
        },
    }
}

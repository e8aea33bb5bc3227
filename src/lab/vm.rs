//! One VM of a lab: its process and all connections to it.

use super::command_line::SocketPaths;
use super::last_output::LastOutput;
use super::process::{Exited, Process};
use super::serial::Serial;
use super::{Console, LabError, system};
use base::Side;
use base::clock::monotonic_ns;
use base::units::Micros;
use migrate::drive::End;
use migrate::observe::{Answers, Heartbeats};
use qmp::{BlockingSession, Endpoint, Session};
use record::{Sink, vm_name};
use scenario::Guest;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// Time that QEMU may take to open one of its connections.
const QEMU_TIMEOUT: Duration = Duration::from_secs(30);

/// A VM of a lab. Its users take the optional parts out.
#[derive(Debug)]
pub struct Vm {
    /// Number of the VM in the lab, from 0.
    pub number: u32,
    /// QMP session that drives the migration.
    pub end: Option<End>,
    /// QMP session for sampling.
    pub sampling: Option<BlockingSession>,
    heartbeats: Option<Heartbeats>,
    answers: Option<Answers>,
    console: GuestConsole,
    process: Process,
    side: Side,
}

/// Kind of console that a guest has.
#[derive(Debug)]
enum GuestConsole {
    /// The guest answers commands.
    Commands(Console),
    /// The guest prints arbitrary text.
    Text(Serial),
}

impl GuestConsole {
    /// Returns the last output of the guest, for an error message.
    async fn last_output(&mut self) -> &LastOutput {
        match self {
            GuestConsole::Commands(console) => console.last_output().await,
            GuestConsole::Text(serial) => serial.last_output(),
        }
    }
}

/// Sockets that a QEMU connects to. We listen and QEMU connects (`server=off`), so that we need not
/// wait for a socket file and lose no heartbeat.
#[derive(Debug)]
pub(super) struct Listeners {
    control: UnixListener,
    sampling: UnixListener,
    heartbeat: Option<UnixListener>,
    answers: Option<UnixListener>,
    console: UnixListener,
    /// Whether the guest on the console answers commands.
    commands: bool,
}

impl Listeners {
    pub(super) fn bind(paths: &SocketPaths, guest: &Guest) -> io::Result<Listeners> {
        let bind_if =
            |wanted: bool, path: PathBuf| wanted.then(|| UnixListener::bind(path)).transpose();
        Ok(Listeners {
            control: UnixListener::bind(paths.control())?,
            sampling: UnixListener::bind(paths.sampling())?,
            heartbeat: bind_if(guest.has_heartbeat(), paths.heartbeat())?,
            answers: bind_if(guest.load.is_application(), paths.answers())?,
            console: UnixListener::bind(paths.console())?,
            commands: guest.kind.is_ours(),
        })
    }
}

/// A VM that was started but whose connections are not open yet.
#[derive(Debug)]
pub(super) struct StartingVm {
    pub(super) side: Side,
    pub(super) vm: u32,
    pub(super) process: Process,
    pub(super) listeners: Listeners,
}

impl StartingVm {
    /// Waits for all connections. Fails if QEMU exits first.
    pub(super) async fn connect(self, sink: &Sink, transcript: bool) -> Result<Vm, LabError> {
        let StartingVm { side, vm, process, listeners } = self;
        let mut exited = process.exited();
        let connecting = connect(side, vm, &listeners, sink, transcript);
        let Connected { end, sampling, heartbeats, answers, mut console } =
            run_unless_exited(side, &mut exited, connecting).await?;
        if let (Side::Destination, GuestConsole::Text(serial)) = (side, &mut console) {
            serial.stop_search();
        }
        Ok(Vm {
            number: vm,
            end: Some(end),
            sampling: Some(sampling),
            heartbeats,
            answers,
            console,
            process,
            side,
        })
    }
}

impl Vm {
    /// Returns a handle that resolves when QEMU exits by itself.
    #[must_use]
    pub fn exited(&self) -> Exited {
        self.process.exited()
    }

    /// Returns the guest's console, or `None` if the guest does not answer commands.
    pub fn console(&mut self) -> Option<&mut Console> {
        match &mut self.console {
            GuestConsole::Commands(console) => Some(console),
            GuestConsole::Text(_) => None,
        }
    }

    /// Waits for the first heartbeat, which proves that the guest's code runs. Returns the time
    /// since `began_ns`, or `None` for a guest without heartbeats.
    pub(super) async fn first_beat(
        &mut self,
        began_ns: u64,
        limit: Duration,
    ) -> Result<Option<Duration>, LabError> {
        let mut exited = self.exited();
        let (heartbeats, console) = (&mut self.heartbeats, &mut self.console);
        let beating = async {
            let Some(heartbeats) = heartbeats else { return Ok(None) };
            match timeout(limit, heartbeats.first()).await {
                Ok(true) => Ok(Some(Duration::from_nanos(monotonic_ns() - began_ns))),
                Ok(false) => {
                    Err(system("the heartbeat socket")(io::ErrorKind::UnexpectedEof.into()))
                }
                Err(_) => {
                    let problem = format!("gave no heartbeat within {limit:?}");
                    Err(LabError::Guest { problem, said: console.last_output().await.text() })
                }
            }
        };
        let first = run_unless_exited(self.side, &mut exited, beating).await;
        self.with_last_output(first).await
    }

    /// Waits until the guest has filled its working set, or, for the user's own guest, until it
    /// meets `guest.ready` and `guest.ready_after`.
    pub(super) async fn ready(&mut self, guest: &Guest, limit: Duration) -> Result<(), LabError> {
        let mut exited = self.exited();
        let console = &mut self.console;
        let up = async {
            match console {
                GuestConsole::Commands(console) => console.ready(limit).await,
                GuestConsole::Text(serial) => {
                    match &guest.own.ready {
                        Some(text) => serial.wait_for(text, limit).await?,
                        None => serial.stop_search(),
                    }
                    let wait = guest.own.ready_after.map_or(Duration::ZERO, Micros::duration);
                    tokio::time::sleep(wait).await;
                    Ok(())
                }
            }
        };
        let ready = run_unless_exited(self.side, &mut exited, up).await;
        self.with_last_output(ready).await
    }

    /// Adds the guest's last output to an error about an exited QEMU: a QEMU that exits because its
    /// guest shut down prints nothing.
    async fn with_last_output<T>(&mut self, result: Result<T, LabError>) -> Result<T, LabError> {
        match result {
            Err(LabError::Died { side, reason }) => {
                let said = self.console.last_output().await.line();
                let reason = said.map_or_else(
                    || reason.clone(),
                    |said| format!("{reason}; its guest printed last: {said}"),
                );
                Err(LabError::Died { side, reason })
            }
            result => result,
        }
    }

    /// Stops the VM. All of its heartbeats are recorded when this returns.
    pub(super) async fn stop(self) {
        self.process.stop().await;
        self.heartbeats.into_iter().for_each(Heartbeats::stop);
        self.answers.into_iter().for_each(Answers::stop);
    }
}

/// All connections of a QEMU.
struct Connected {
    end: End,
    sampling: BlockingSession,
    heartbeats: Option<Heartbeats>,
    answers: Option<Answers>,
    console: GuestConsole,
}

async fn connect(
    side: Side,
    vm: u32,
    listeners: &Listeners,
    sink: &Sink,
    transcript: bool,
) -> Result<Connected, LabError> {
    let qmp = |source| LabError::Qmp { side, source };
    let tap = transcript.then(|| sink.tap(vm));
    let (session, notices) =
        Session::accept(&vm_name(vm), &listeners.control, tap, QEMU_TIMEOUT).await.map_err(qmp)?;
    let sampling = accept(&listeners.sampling, "QMP (sampling)").await?;
    let endpoint = Endpoint::Unix(PathBuf::from("lab"));
    let sampling = sampling.into_std().map_err(system("the sampling socket"))?;
    let sampling =
        BlockingSession::over_unix(&vm_name(vm), &endpoint, sampling, QEMU_TIMEOUT).map_err(qmp)?;
    // Read from the first byte on: QEMU writes heartbeats synchronously, and about 280 unread ones
    // fill the socket buffer and stop the vCPU.
    let heartbeats = match &listeners.heartbeat {
        Some(listener) => {
            let stream = accept(listener, "heartbeat")
                .await?
                .into_std()
                .map_err(system("the heartbeat socket"))?;
            Some(
                Heartbeats::start(vm, stream, sink.clone())
                    .map_err(system("the heartbeat thread"))?,
            )
        }
        None => None,
    };
    let answers = match &listeners.answers {
        Some(listener) => {
            let stream = accept(listener, "application's")
                .await?
                .into_std()
                .map_err(system("the application's socket"))?;
            Some(
                Answers::start(vm, stream, sink.clone())
                    .map_err(system("the application's thread"))?,
            )
        }
        None => None,
    };
    let console = accept(&listeners.console, "console").await?;
    let console = match listeners.commands {
        true => GuestConsole::Commands(Console::new(vm, console, sink.clone())),
        false => GuestConsole::Text(Serial::new(vm, console, sink.clone())),
    };
    Ok(Connected { end: End { session, notices }, sampling, heartbeats, answers, console })
}

async fn accept(listener: &UnixListener, what: &str) -> Result<UnixStream, LabError> {
    let accepted = timeout(QEMU_TIMEOUT, listener.accept())
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    accepted.map(|(stream, _)| stream).map_err(system(format!("the {what} socket")))
}

/// Runs `work`, but fails with the exit reason if QEMU exits first.
async fn run_unless_exited<T>(
    side: Side,
    exited: &mut Exited,
    work: impl Future<Output = Result<T, LabError>>,
) -> Result<T, LabError> {
    tokio::select! {
        biased;
        reason = exited.wait() => Err(LabError::Died { side, reason }),
        done = work => match done {
            Ok(done) => Ok(done),
            // A closed connection usually means that QEMU exited. Its exit status arrives a moment
            // later and explains more.
            Err(error) => match timeout(Duration::from_millis(300), exited.wait()).await {
                Ok(reason) => Err(LabError::Died { side, reason }),
                Err(_) => Err(error),
            },
        },
    }
}

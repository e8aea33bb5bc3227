//! One VM of a lab: its process and everything that is connected to it.

use super::command_line::Place;
use super::last_words::LastWords;
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

/// QEMU has started and speaks QMP.
const QEMU_DEADLINE: Duration = Duration::from_secs(30);

/// A VM of a lab. Parts are taken out by whoever uses them.
#[derive(Debug)]
pub struct Vm {
    /// Its number in the lab.
    pub number: u32,
    /// To drive it.
    pub end: Option<End>,
    /// To sample it.
    pub sampling: Option<BlockingSession>,
    heartbeats: Option<Heartbeats>,
    answers: Option<Answers>,
    voice: Voice,
    process: Process,
    side: Side,
}

/// How a guest speaks.
#[derive(Debug)]
enum Voice {
    /// It answers commands.
    Commands(Console),
    /// It writes what it likes.
    Text(Serial),
}

impl Voice {
    /// What the guest said last, for an error.
    async fn last_words(&mut self) -> &LastWords {
        match self {
            Voice::Commands(console) => console.last_words().await,
            Voice::Text(serial) => serial.last_words(),
        }
    }
}

/// Where a QEMU will connect to. We listen and QEMU connects (`server=off`): no socket file has to be waited for, and no beat is
/// lost.
#[derive(Debug)]
pub(super) struct Listeners {
    control: UnixListener,
    sampling: UnixListener,
    heartbeat: Option<UnixListener>,
    answers: Option<UnixListener>,
    console: UnixListener,
    /// Whether what comes to the console are answers to commands.
    commands: bool,
}

impl Listeners {
    pub(super) fn bind(place: &Place, guest: &Guest) -> io::Result<Listeners> {
        let bind_if =
            |wanted: bool, path: PathBuf| wanted.then(|| UnixListener::bind(path)).transpose();
        Ok(Listeners {
            control: UnixListener::bind(place.control())?,
            sampling: UnixListener::bind(place.sampling())?,
            heartbeat: bind_if(guest.has_heartbeat(), place.heartbeat())?,
            answers: bind_if(guest.load.is_application(), place.answers())?,
            console: UnixListener::bind(place.console())?,
            commands: guest.kind.is_ours(),
        })
    }
}

/// A VM that was started and has not spoken yet.
#[derive(Debug)]
pub(super) struct Starting {
    pub(super) side: Side,
    pub(super) vm: u32,
    pub(super) process: Process,
    pub(super) listeners: Listeners,
}

impl Starting {
    /// Waits for its connections. A QEMU that ends instead is the error.
    pub(super) async fn connect(self, sink: &Sink, transcript: bool) -> Result<Vm, LabError> {
        let Starting { side, vm, process, listeners } = self;
        let mut exited = process.exited();
        let connecting = connect(side, vm, &listeners, sink, transcript);
        let Connected { end, sampling, heartbeats, answers, mut voice } =
            or_exit(side, &mut exited, connecting).await?;
        if let (Side::Destination, Voice::Text(serial)) = (side, &mut voice) {
            serial.listen_no_more();
        }
        Ok(Vm {
            number: vm,
            end: Some(end),
            sampling: Some(sampling),
            heartbeats,
            answers,
            voice,
            process,
            side,
        })
    }
}

impl Vm {
    /// Tells when it ends by itself.
    #[must_use]
    pub fn exited(&self) -> Exited {
        self.process.exited()
    }

    /// The guest's console, if it answers commands.
    pub fn console(&mut self) -> Option<&mut Console> {
        match &mut self.voice {
            Voice::Commands(console) => Some(console),
            Voice::Text(_) => None,
        }
    }

    /// Reads the first beat, of a guest that beats: its code really runs. Gives the time since `began_ns`.
    pub(super) async fn first_beat(
        &mut self,
        began_ns: u64,
        deadline: Duration,
    ) -> Result<Option<Duration>, LabError> {
        let mut exited = self.exited();
        let (heartbeats, voice) = (&mut self.heartbeats, &mut self.voice);
        let beating = async {
            let Some(heartbeats) = heartbeats else { return Ok(None) };
            match timeout(deadline, heartbeats.first()).await {
                Ok(true) => Ok(Some(Duration::from_nanos(monotonic_ns() - began_ns))),
                Ok(false) => {
                    Err(system("the heartbeat socket")(io::ErrorKind::UnexpectedEof.into()))
                }
                Err(_) => {
                    let problem = format!("gave no heartbeat within {deadline:?}");
                    Err(LabError::Guest { problem, said: voice.last_words().await.text() })
                }
            }
        };
        let first = or_exit(self.side, &mut exited, beating).await;
        self.with_last_words(first).await
    }

    /// Waits until the guest is up: it has filled its working set, or it does what the user says of it.
    pub(super) async fn ready(
        &mut self,
        guest: &Guest,
        deadline: Duration,
    ) -> Result<(), LabError> {
        let mut exited = self.exited();
        let voice = &mut self.voice;
        let up = async {
            match voice {
                Voice::Commands(console) => console.ready(deadline).await,
                Voice::Text(serial) => {
                    match &guest.own.ready {
                        Some(text) => serial.wait_for(text, deadline).await?,
                        None => serial.listen_no_more(),
                    }
                    let wait = guest.own.ready_after.map_or(Duration::ZERO, Micros::duration);
                    tokio::time::sleep(wait).await;
                    Ok(())
                }
            }
        };
        let ready = or_exit(self.side, &mut exited, up).await;
        self.with_last_words(ready).await
    }

    /// A QEMU that ended because its guest did, says nothing; the guest may have.
    async fn with_last_words<T>(&mut self, result: Result<T, LabError>) -> Result<T, LabError> {
        match result {
            Err(LabError::Died { side, reason }) => {
                let said = self.voice.last_words().await.said();
                let reason = said.map_or_else(
                    || reason.clone(),
                    |said| format!("{reason}; the guest said: {said}"),
                );
                Err(LabError::Died { side, reason })
            }
            result => result,
        }
    }

    /// Ends it. All of its beats are in the record then.
    pub(super) async fn stop(self) {
        self.process.stop().await;
        self.heartbeats.into_iter().for_each(Heartbeats::stop);
        self.answers.into_iter().for_each(Answers::stop);
    }
}

/// Everything that is connected to a QEMU.
struct Connected {
    end: End,
    sampling: BlockingSession,
    heartbeats: Option<Heartbeats>,
    answers: Option<Answers>,
    voice: Voice,
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
        Session::accept(&vm_name(vm), &listeners.control, tap, QEMU_DEADLINE).await.map_err(qmp)?;
    let sampling = accept(&listeners.sampling, "QMP (sampling)").await?;
    let endpoint = Endpoint::Unix(PathBuf::from("lab"));
    let sampling = sampling.into_std().map_err(system("the sampling socket"))?;
    let sampling = BlockingSession::over_unix(&vm_name(vm), &endpoint, sampling, QEMU_DEADLINE)
        .map_err(qmp)?;
    // Read from the first byte on: QEMU writes a beat synchronously, and some 280 that nobody has read fill the socket and stop the vCPU.
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
    let voice = match listeners.commands {
        true => Voice::Commands(Console::new(vm, console, sink.clone())),
        false => Voice::Text(Serial::new(vm, console, sink.clone())),
    };
    Ok(Connected { end: End { session, notices }, sampling, heartbeats, answers, voice })
}

async fn accept(listener: &UnixListener, what: &str) -> Result<UnixStream, LabError> {
    let accepted = timeout(QEMU_DEADLINE, listener.accept())
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    accepted.map(|(stream, _)| stream).map_err(system(format!("the {what} socket")))
}

/// `work`, unless the QEMU ends first: then that is the reason.
async fn or_exit<T>(
    side: Side,
    exited: &mut Exited,
    work: impl Future<Output = Result<T, LabError>>,
) -> Result<T, LabError> {
    tokio::select! {
        biased;
        reason = exited.wait() => Err(LabError::Died { side, reason }),
        done = work => match done {
            Ok(done) => Ok(done),
            // A connection that ends is mostly a QEMU that ended, which is known a moment later and says more.
            Err(error) => match timeout(Duration::from_millis(300), exited.wait()).await {
                Ok(reason) => Err(LabError::Died { side, reason }),
                Err(_) => Err(error),
            },
        },
    }
}

//! One VM of a lab: its process and everything that is connected to it.

use super::command_line::Place;
use super::process::{Exited, Process};
use super::{Console, LabError, system};
use crate::clock::monotonic_ns;
use crate::drive::End;
use crate::observe::Heartbeats;
use crate::plan::Side;
use crate::qmp::{Blocking, Endpoint, Session};
use crate::record::{Sink, vm_name};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// QEMU has started and speaks QMP.
const QEMU_DEADLINE: Duration = Duration::from_secs(30);
/// The guest beats.
const BEAT_DEADLINE: Duration = Duration::from_secs(20);

/// A VM of a lab. Parts are taken out by whoever uses them.
#[derive(Debug)]
pub struct Vm {
    /// Its number in the lab.
    pub number: u32,
    /// To drive it.
    pub end: Option<End>,
    /// To sample it.
    pub sampling: Option<Blocking>,
    heartbeats: Heartbeats,
    /// The guest's console.
    pub console: Console,
    process: Process,
    side: Side,
}

/// Where a QEMU will connect to. We listen and QEMU connects (`server=off`): no socket file has to be waited for, and no beat is
/// lost.
#[derive(Debug)]
pub(super) struct Listeners {
    control: UnixListener,
    sampling: UnixListener,
    heartbeat: UnixListener,
    console: UnixListener,
}

impl Listeners {
    pub(super) fn bind(place: &Place) -> io::Result<Listeners> {
        Ok(Listeners {
            control: UnixListener::bind(place.control())?,
            sampling: UnixListener::bind(place.sampling())?,
            heartbeat: UnixListener::bind(place.heartbeat())?,
            console: UnixListener::bind(place.console())?,
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
        let (end, sampling, heartbeats, console) = or_exit(side, &mut exited, connecting).await?;
        Ok(Vm { number: vm, end: Some(end), sampling: Some(sampling), heartbeats, console, process, side })
    }
}

impl Vm {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Tells when it ends by itself.
    #[must_use]
    pub fn exited(&self) -> Exited {
        self.process.exited()
    }

    /// Reads the first beat: the guest's code really runs. Gives the time since `began_ns`.
    pub(super) async fn first_beat(&mut self, began_ns: u64) -> Result<Duration, LabError> {
        let mut exited = self.exited();
        let (heartbeats, console) = (&mut self.heartbeats, &mut self.console);
        let beating = async {
            match timeout(BEAT_DEADLINE, heartbeats.first()).await {
                Ok(true) => Ok(Duration::from_nanos(monotonic_ns() - began_ns)),
                Ok(false) => Err(system("the heartbeat socket")(io::ErrorKind::UnexpectedEof.into())),
                Err(_) => {
                    let problem = format!("gave no heartbeat within {BEAT_DEADLINE:?}");
                    Err(LabError::Guest { problem, said: console.last_words().await })
                }
            }
        };
        or_exit(self.side, &mut exited, beating).await
    }

    /// Waits until the guest has filled its working set.
    pub(super) async fn ready(&mut self, deadline: Duration) -> Result<(), LabError> {
        let mut exited = self.exited();
        or_exit(self.side, &mut exited, self.console.ready(deadline)).await
    }

    /// Ends it. All of its beats are in the record then.
    pub(super) async fn stop(self) {
        self.process.stop().await;
        self.heartbeats.stop();
    }
}

async fn connect(
    side: Side,
    vm: u32,
    listeners: &Listeners,
    sink: &Sink,
    transcript: bool,
) -> Result<(End, Blocking, Heartbeats, Console), LabError> {
    let qmp = |source| LabError::Qmp { side, source };
    let tap = transcript.then(|| sink.tap(vm));
    let (session, notices) = Session::accept(&vm_name(vm), &listeners.control, tap, QEMU_DEADLINE).await.map_err(qmp)?;
    let sampling = accept(&listeners.sampling, "QMP (sampling)").await?;
    let endpoint = Endpoint::Unix(PathBuf::from("lab"));
    let sampling = sampling.into_std().map_err(system("the sampling socket"))?;
    let sampling = Blocking::over_unix(&vm_name(vm), &endpoint, sampling, QEMU_DEADLINE).map_err(qmp)?;
    // Read from the first byte on: QEMU writes a beat synchronously, and some 280 that nobody has read fill the socket and stop the vCPU.
    let heartbeat = accept(&listeners.heartbeat, "heartbeat").await?.into_std().map_err(system("the heartbeat socket"))?;
    let heartbeats = Heartbeats::start(vm, heartbeat, sink.clone()).map_err(system("the heartbeat thread"))?;
    let console = Console::new(vm, accept(&listeners.console, "console").await?, sink.clone());
    Ok((End { session, notices }, sampling, heartbeats, console))
}

async fn accept(listener: &UnixListener, what: &str) -> Result<UnixStream, LabError> {
    let accepted = timeout(QEMU_DEADLINE, listener.accept()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    accepted.map(|(stream, _)| stream).map_err(system(format!("the {what} socket")))
}

/// `work`, unless the QEMU ends first: then that is the reason.
async fn or_exit<T>(side: Side, exited: &mut Exited, work: impl Future<Output = Result<T, LabError>>) -> Result<T, LabError> {
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

//! Sessions to QEMUs that somebody else started.

use super::foreign_trace::ForeignTrace;
use super::guest::GuestFacts;
use super::migration::{Means, Sides, ask, migrate};
use super::{Options, RunError, Seen};
use analysis::downtime::Clocks;
use base::Side;
use base::janitor::{Janitor, create_private_directory};
use migrate::drive::{DriveError, End};
use qmp::{BlockingSession, Endpoint, Session};
use record::{RunDir, Sink};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// One QEMU to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Its QMP socket.
    pub qmp: Endpoint,
    /// A second one, only for sampling.
    pub sampling: Option<Endpoint>,
    /// Its trace file (QEMU's -D, with -msg timestamp=on), if it is on this host: its downtime
    /// trace points are then switched on for the migration, and off again.
    pub trace: Option<PathBuf>,
}

/// Connects, migrates.
pub(super) async fn run(
    options: Options,
    directory: &RunDir,
    source: Attach,
    destination: Attach,
    adopts: bool,
) -> Result<Seen, RunError> {
    let Options { scenario, mut interrupt, progress, .. } = options;
    let sink = directory.sink();
    let connecting = connect(&source, &destination, &sink, scenario.record.transcript);
    let (sides, _private) = tokio::select! {
        connected = connecting => connected?,
        () = interrupt.wait() => return Err(DriveError::Interrupted.into()),
    };
    let clocks = if source.qmp.is_local() && destination.qmp.is_local() {
        Clocks::Shared
    } else {
        Clocks::Separate
    };
    let supports = ask(&sides.ends, &[]).await?;
    let means = Means { number: 1, scenario: &scenario, sink, interrupt, progress, adopts };
    let sessions = [sides.ends[0].session.clone(), sides.ends[1].session.clone()];
    let mut tracing = Vec::new();
    let mut warnings = Vec::new();
    for (vm, (session, attach)) in (0..).zip(sessions.into_iter().zip([&source, &destination])) {
        if let Some(file) = &attach.trace {
            match ForeignTrace::start(session, vm, file).await {
                Ok(foreign) => tracing.push(foreign),
                Err(problem) => warnings.push(problem),
            }
        }
    }
    let migration = migrate(means, sides, &supports, std::future::ready(())).await;
    for foreign in tracing {
        foreign.end(directory.path(), &mut warnings).await;
    }
    let migration = migration?;
    let guest = GuestFacts::default();
    Ok(Seen {
        scenario,
        supports,
        migrations: vec![migration],
        guest,
        accelerator: None,
        boot: None,
        clocks,
        warnings,
    })
}

/// A directory for the sockets of the migration stream. It goes when this is dropped, or we are
/// killed.
struct PrivateSockets {
    directory: tempfile::TempDir,
    _janitor: Janitor,
}

impl PrivateSockets {
    fn make() -> io::Result<PrivateSockets> {
        let directory = create_private_directory()?;
        let _janitor = Janitor::start(directory.path(), &[])?;
        Ok(PrivateSockets { directory, _janitor })
    }
}

/// Connects to both.
async fn connect(
    source: &Attach,
    destination: &Attach,
    sink: &Sink,
    transcript: bool,
) -> Result<(Sides, Option<PrivateSockets>), RunError> {
    let (source_end, source_sampling) = connect_one(Side::Source, source, sink, transcript).await?;
    let (destination_end, destination_sampling) =
        connect_one(Side::Destination, destination, sink, transcript).await?;
    let same_host =
        matches!((&source.qmp, &destination.qmp), (Endpoint::Unix(_), Endpoint::Unix(_)));
    // Two unix sockets are on this host, and so are their QEMUs: the stream can take a unix socket
    // too. A TCP port on loopback may be forwarded from elsewhere, so there the user has to say
    // where the destination is.
    let private = if same_host { PrivateSockets::make().ok() } else { None };
    let local = private.as_ref().map(|private| private.directory.path().join("migrate"));
    let (_, exits) = mpsc::unbounded_channel();
    let ends = [source_end, destination_end];
    let sampling = [source_sampling, destination_sampling];
    Ok((Sides { ends, sampling, exits, local, network: None, ours: false }, private))
}

async fn connect_one(
    side: Side,
    attach: &Attach,
    sink: &Sink,
    transcript: bool,
) -> Result<(End, Option<BlockingSession>), RunError> {
    let tap = transcript.then(|| sink.tap(u32::from(side == Side::Destination)));
    let (session, notices) =
        Session::connect(side.name(), &attach.qmp, tap, CONNECT_DEADLINE).await?;
    let sampling = match &attach.sampling {
        Some(endpoint) => Some(connect_blocking(side, endpoint.clone()).await?),
        None => None,
    };
    Ok((End { session, notices }, sampling))
}

async fn connect_blocking(side: Side, endpoint: Endpoint) -> Result<BlockingSession, RunError> {
    let connecting = tokio::task::spawn_blocking(move || {
        BlockingSession::connect(side.name(), &endpoint, CONNECT_DEADLINE)
    });
    match connecting.await {
        Ok(connected) => Ok(connected?),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

//! The settings of both sides, in the order that QEMU wants (facts/qemu.md §4.1): the destination's capabilities and
//! parameters, the source's, then `migrate-incoming`; `migrate` itself belongs to the driver.

use super::machine::Held;
use super::{DriveError, Given, hold};
use crate::plan::{Listen, PASSED, Plan, Settings, Sockets, Stream, Uri};
use crate::sockets::Address;
use base::Side;
use base::clock::Stamp;
use qmp::{QmpError, Request, Session};
use scenario::Socket;
use serde_json::{Value, json};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);

/// Ready for `migrate`.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Arguments of `migrate`.
    pub outgoing: Value,
    /// Just before `migrate-incoming` was sent: the destination stamped its first event after that, by its own clock.
    pub incoming_asked: Option<Stamp>,
}

/// Sockets of ours for the stream, where the plan wants such.
#[derive(Debug)]
pub struct Own {
    /// The source's and the destination's end, connected.
    pub ends: Option<[OwnedFd; 2]>,
    /// Options for one that is still to be connected.
    pub options: Socket,
}

/// Makes all settings.
///
/// # Errors
/// [`DriveError`]; the migration was not started.
pub(super) async fn prepare(
    plan: &Plan,
    own: Own,
    given: &mut Given,
    source: &Session,
    destination: &Session,
) -> Result<Prepared, DriveError> {
    if let Some(tls) = &plan.tls {
        given.give(tls, Side::Destination, destination).await?;
        given.give(tls, Side::Source, source).await?;
    }
    apply(Side::Destination, &plan.destination, destination).await?;
    apply(Side::Source, &plan.source, source).await?;
    if let Some(fifo) = &plan.stream.fifo {
        let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
        nix::unistd::mkfifo(fifo, mode).map_err(|error| own_socket(&plan.stream, error.into()))?;
    }
    let (for_source, for_destination) =
        own.ends.map_or((None, None), |[source, destination]| (Some(source), Some(destination)));
    if let Some(socket) = for_destination {
        pass(Side::Destination, destination, socket).await?;
    }
    let mut incoming_asked = None;
    if let Listen::Before(incoming) = &plan.listen {
        incoming_asked = Some(Stamp::now());
        let failed = |source| DriveError::Prepare {
            side: Side::Destination,
            what: "listening (migrate-incoming)",
            source,
        };
        destination.execute(incoming.clone(), DEADLINE).await.map_err(failed)?;
    }
    if plan.confirms {
        let failed = |source| DriveError::Prepare {
            side: Side::Destination,
            what: "holding its guest back (stop)",
            source,
        };
        if hold::hold(destination, &AtomicBool::new(false), DEADLINE).await.map_err(failed)?
            != Held::Waits
        {
            return Err(DriveError::HasGuest);
        }
    }
    let failed = |source| DriveError::Prepare {
        side: Side::Destination,
        what: "its address (query-migrate)",
        source,
    };
    let info = destination.query_migrate(DEADLINE).await.map_err(failed)?;
    let actual =
        info.socket_address.and_then(|addresses| Uri::of_socket_address(addresses.first()?));
    let mut outgoing = plan.stream.outgoing(actual.as_deref());
    if plan.stream.sockets == Sockets::OfSource {
        let socket = connect(&plan.stream, actual.as_deref(), &own.options).await?;
        pass(Side::Source, source, socket).await?;
        outgoing = json!({ "uri": format!("fd:{PASSED}") });
    } else if let Some(socket) = for_source {
        pass(Side::Source, source, socket).await?;
    }
    Ok(Prepared { outgoing, incoming_asked })
}

/// Connects to where the destination listens.
async fn connect(
    stream: &Stream,
    actual: Option<&str>,
    options: &Socket,
) -> Result<OwnedFd, DriveError> {
    let uri = stream.uri.resolved(actual);
    let options = options.clone();
    let failed = |source| DriveError::Socket { uri: uri.clone(), source };
    let address: Address = uri
        .parse()
        .map_err(|text: String| failed(io::Error::new(io::ErrorKind::InvalidInput, text)))?;
    match tokio::task::spawn_blocking(move || address.connect(&options)).await {
        Ok(connected) => connected.map(OwnedFd::from).map_err(failed),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn own_socket(stream: &Stream, source: io::Error) -> DriveError {
    DriveError::Socket { uri: stream.uri.outgoing.clone(), source }
}

async fn pass(side: Side, session: &Session, socket: OwnedFd) -> Result<(), DriveError> {
    let failed =
        |source| DriveError::Prepare { side, what: "taking a socket of ours (getfd)", source };
    let request = Request::raw("getfd", json!({ "fdname": PASSED }));
    session.execute_with_fd(request, socket, DEADLINE).await.map_err(failed).map(drop)
}

async fn apply(side: Side, settings: &Settings, session: &Session) -> Result<(), DriveError> {
    let failed = |what| move |source: QmpError| DriveError::Prepare { side, what, source };
    if !settings.capabilities.is_empty() {
        let list: Vec<_> = settings
            .capabilities
            .iter()
            .map(|(name, on)| json!({"capability": name, "state": on}))
            .collect();
        // Raw, not qapi's typed request: its closed enum cannot name what newer and older QEMUs have.
        let request = Request::raw("migrate-set-capabilities", json!({ "capabilities": list }));
        session.execute(request, DEADLINE).await.map_err(failed("capabilities"))?;
    }
    if !settings.parameters.is_empty() {
        let request = Request::raw("migrate-set-parameters", settings.parameters.clone().into());
        session.execute(request, DEADLINE).await.map_err(failed("parameters"))?;
    }
    Ok(())
}

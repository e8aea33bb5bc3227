//! Applies the settings of both sides in the order that QEMU requires: the capabilities and
//! parameters of the destination, those of the source, then `migrate-incoming`. The driver sends
//! `migrate`.

use super::machine::Held;
use super::{DriveError, InstalledTls, hold};
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

/// Two sides that are ready for `migrate`.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The arguments of `migrate`.
    pub outgoing: Value,
    /// The time just before `migrate-incoming` was sent; `None` if it was not sent. The first event
    /// of the destination has a later time stamp, by the clock of the destination.
    pub incoming_asked: Option<Stamp>,
}

/// Our own sockets for the migration stream, if the plan needs any.
#[derive(Debug)]
pub struct Own {
    /// The connected ends of the source and of the destination.
    pub ends: Option<[OwnedFd; 2]>,
    /// The options of a socket that is connected later.
    pub options: Socket,
}

/// Applies all settings.
///
/// # Errors
/// [`DriveError`]; the migration was not started.
pub(super) async fn prepare(
    plan: &Plan,
    own: Own,
    installed_tls: &mut InstalledTls,
    source: &Session,
    destination: &Session,
) -> Result<Prepared, DriveError> {
    if let Some(tls) = &plan.tls {
        installed_tls.install(tls, Side::Destination, destination).await?;
        installed_tls.install(tls, Side::Source, source).await?;
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
            what: "keeping its guest stopped (stop)",
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

/// Connects to the address at which the destination listens.
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
        |source| DriveError::Prepare { side, what: "receiving our socket (getfd)", source };
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
        // A raw request, because the closed enum of qapi cannot name the capabilities of newer and
        // older QEMUs.
        let request = Request::raw("migrate-set-capabilities", json!({ "capabilities": list }));
        session.execute(request, DEADLINE).await.map_err(failed("capabilities"))?;
    }
    if !settings.parameters.is_empty() {
        let request = Request::raw("migrate-set-parameters", settings.parameters.clone().into());
        session.execute(request, DEADLINE).await.map_err(failed("parameters"))?;
    }
    Ok(())
}

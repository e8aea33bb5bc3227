//! The settings of both sides, in the order that QEMU wants (facts/qemu.md §4.1): the destination's capabilities and
//! parameters, the source's, then `migrate-incoming`; `migrate` itself belongs to the driver.

use super::DriveError;
use crate::clock::Stamp;
use crate::plan::{Plan, Settings, Side};
use crate::qmp::{QmpError, Request, Session};
use serde_json::json;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);

/// Ready for `migrate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Where to.
    pub uri: String,
    /// Just before `migrate-incoming` was sent: the destination stamped its first event after that, by its own clock.
    pub incoming_asked: Option<Stamp>,
}

/// Makes all settings.
///
/// # Errors
/// [`DriveError::Prepare`]; the migration was not started.
pub(super) async fn prepare(plan: &Plan, source: &Session, destination: &Session) -> Result<Prepared, DriveError> {
    apply(Side::Destination, &plan.destination, destination).await?;
    apply(Side::Source, &plan.source, source).await?;
    let incoming_asked = plan.incoming.as_ref().map(|_| Stamp::now());
    if let Some(incoming) = &plan.incoming {
        let failed = |source| DriveError::Prepare { side: Side::Destination, what: "listening (migrate-incoming)", source };
        destination.execute(incoming.clone(), DEADLINE).await.map_err(failed)?;
    }
    let failed = |source| DriveError::Prepare { side: Side::Destination, what: "its address (query-migrate)", source };
    let info = destination.query_migrate(DEADLINE).await.map_err(failed)?;
    let actual = info.socket_address.and_then(|addresses| crate::plan::Uri::of_socket_address(addresses.first()?));
    Ok(Prepared { uri: plan.uri.resolved(actual.as_deref()), incoming_asked })
}

async fn apply(side: Side, settings: &Settings, session: &Session) -> Result<(), DriveError> {
    let failed = |what| move |source: QmpError| DriveError::Prepare { side, what, source };
    if !settings.capabilities.is_empty() {
        let list: Vec<_> = settings.capabilities.iter().map(|(name, on)| json!({"capability": name, "state": on})).collect();
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

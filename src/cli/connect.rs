//! A session with a QEMU that the user named.

use qmp::{Endpoint, QmpError, Session};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connects to one side. `side` is its name in errors. QEMU's events are discarded.
pub(super) async fn connect(side: &str, endpoint: &Endpoint) -> Result<Session, QmpError> {
    Ok(Session::connect(side, endpoint, None, CONNECT_TIMEOUT).await?.0)
}

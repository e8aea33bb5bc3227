//! A session to a QEMU that the user named.

use std::time::Duration;
use switchover::qmp::{Endpoint, QmpError, Session};

const DEADLINE: Duration = Duration::from_secs(3);

/// What it says unasked goes nowhere.
pub(super) async fn connect(side: &str, endpoint: &Endpoint) -> Result<Session, QmpError> {
    Ok(Session::connect(side, endpoint, None, DEADLINE).await?.0)
}

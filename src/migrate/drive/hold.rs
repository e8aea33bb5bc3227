//! Keeps a destination from starting its guest: the I/O of [`Command::Hold`](super::Command::Hold).

use super::machine::Held;
use qmp::{QmpError, Request, Session};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sends `stop` to a destination that waits for its guest, then checks that the guest had not
/// arrived meanwhile. `hold_sent` becomes true once `stop` is sent, because it must be undone
/// later.
///
/// # Errors
/// [`QmpError`]: the state of the destination is then unknown.
pub(super) async fn hold(
    destination: &Session,
    hold_sent: &AtomicBool,
    deadline: Duration,
) -> Result<Held, QmpError> {
    match destination.run_state(deadline).await?.as_str() {
        "inmigrate" => {}
        "running" => return Ok(Held::Runs),
        _ => return Ok(Held::Stands),
    }
    hold_sent.store(true, Ordering::Relaxed);
    destination.execute(Request::typed(&qapi::qmp::stop {}), deadline).await?;
    let waits = destination.run_state(deadline).await? == "inmigrate";
    Ok(if waits { Held::Waits } else { Held::Stopped })
}

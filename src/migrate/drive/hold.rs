//! A destination that waits for its guest is told to stay stopped when it has got it: the I/O of [`Command::Hold`](super::Command::Hold).

use super::machine::Held;
use qmp::{QmpError, Request, Session};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Tells it, and looks whether that came in time. `told` becomes true when there is something to be taken back.
///
/// # Errors
/// [`QmpError`]: nothing is known of it then.
pub(super) async fn hold(
    destination: &Session,
    told: &AtomicBool,
    deadline: Duration,
) -> Result<Held, QmpError> {
    match destination.run_state(deadline).await?.as_str() {
        "inmigrate" => {}
        "running" => return Ok(Held::Runs),
        _ => return Ok(Held::Stands),
    }
    told.store(true, Ordering::Relaxed);
    destination.execute(Request::typed(&qapi::qmp::stop {}), deadline).await?;
    let waits = destination.run_state(deadline).await? == "inmigrate";
    Ok(if waits { Held::Waits } else { Held::Stopped })
}

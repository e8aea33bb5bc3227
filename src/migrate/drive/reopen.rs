//! Reconnects a QMP connection that ended. QEMU and its migration continue without a monitor.

use super::connection::End;
use qmp::{QmpError, Session};
use std::io::ErrorKind;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
/// The limit for all attempts together.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts that may be refused because nothing listens. A proxy may restart; a QEMU that has ended
/// does not.
const MAX_REFUSALS: u32 = 10;
/// The wait when QEMU had connected to us. The exit of its process is reported a moment later, and
/// explains more than the lost connection.
const GRACE: Duration = Duration::from_millis(300);

/// Why the connection was not restored, with one sentence for the user.
#[derive(Debug)]
pub(super) enum Lost {
    /// The process of QEMU has ended.
    Exited(String),
    /// The process may live.
    Gone(String),
}

/// Reconnects to the QEMU of the session `lost`.
///
/// # Errors
/// [`Lost`], whose sentence begins with `reason`, the reason why the connection ended.
pub(super) async fn reopen(lost: &Session, reason: String) -> Result<End, Lost> {
    match tokio::time::timeout(TOTAL_TIMEOUT, attempts(lost)).await {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(AttemptError::Ended)) => Err(Lost::Exited("the QEMU process has ended".to_owned())),
        Ok(Err(AttemptError::Failed(why))) => Err(Lost::Gone(format!("{reason}; {why}"))),
        Ok(Err(AttemptError::NoAddress)) => Err(Lost::Gone(reason)),
        Err(_) => Err(Lost::Gone(format!(
            "{reason}; it could not be reopened within {} s",
            TOTAL_TIMEOUT.as_secs()
        ))),
    }
}

enum AttemptError {
    /// Nothing listens, and the process that listened has exited.
    Ended,
    Failed(String),
    /// QEMU had connected to us, so we cannot reconnect.
    NoAddress,
}

async fn attempts(lost: &Session) -> Result<End, AttemptError> {
    let mut refusals = 0;
    loop {
        tokio::time::sleep(PAUSE).await;
        match lost.reconnect(DEADLINE).await {
            None => {
                tokio::time::sleep(GRACE).await;
                return Err(AttemptError::NoAddress);
            }
            // A VM that was restarted is not the VM that was migrated.
            Some(Ok((session, _))) if is_another(lost, &session) => {
                return Err(AttemptError::Failed("another process listens there now".to_owned()));
            }
            Some(Ok((session, notices))) => return Ok(End { session, notices }),
            Some(Err(error)) => {
                refusals += u32::from(nothing_listens(&error));
                // A proxy may have listened instead of QEMU. Its process then still lives.
                if nothing_listens(&error) && lost.peer_has_ended() {
                    return Err(AttemptError::Ended);
                }
                if refusals >= MAX_REFUSALS {
                    return Err(AttemptError::Failed(error.to_string()));
                }
            }
        }
    }
}

fn is_another(lost: &Session, now: &Session) -> bool {
    matches!((lost.peer_pid(), now.peer_pid()), (Some(before), Some(after)) if before != after)
}

fn nothing_listens(error: &QmpError) -> bool {
    matches!(error, QmpError::Connect { source, .. } if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused))
}

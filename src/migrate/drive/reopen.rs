//! A QMP connection that ended, made again. A QEMU lives on without its monitor, and so does its migration.

use super::driver::End;
use qmp::{QmpError, Session};
use std::io::ErrorKind;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
/// For so long in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where nothing listens any more, so often: a proxy may start again, a QEMU that has ended does not.
const REFUSALS: u32 = 10;
/// Where QEMU had connected to us: the end of its process is known a moment later, and says more.
const GRACE: Duration = Duration::from_millis(300);

/// Why there is no connection again, in a sentence.
#[derive(Debug)]
pub(super) enum Lost {
    /// The process has ended.
    Exited(String),
    /// It may live.
    Gone(String),
}

/// Connects to the QEMU behind `lost` once more.
///
/// # Errors
/// [`Lost`]; its sentence begins with `reason`, for which it ended.
pub(super) async fn reopen(lost: &Session, reason: String) -> Result<End, Lost> {
    match tokio::time::timeout(PATIENCE, attempts(lost)).await {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(Why::Ended)) => Err(Lost::Exited("the QEMU process has ended".to_owned())),
        Ok(Err(Why::Failed(why))) => Err(Lost::Gone(format!("{reason}; {why}"))),
        Ok(Err(Why::NoWay)) => Err(Lost::Gone(reason)),
        Err(_) => Err(Lost::Gone(format!(
            "{reason}; it could not be made again within {} s",
            PATIENCE.as_secs()
        ))),
    }
}

enum Why {
    /// Nothing listens, and the process that did is no more.
    Ended,
    Failed(String),
    /// QEMU had connected to us.
    NoWay,
}

async fn attempts(lost: &Session) -> Result<End, Why> {
    let mut refusals = 0;
    loop {
        tokio::time::sleep(PAUSE).await;
        match lost.reconnect(DEADLINE).await {
            None => {
                tokio::time::sleep(GRACE).await;
                return Err(Why::NoWay);
            }
            // A VM that was started anew is not the one that was migrated.
            Some(Ok((session, _))) if is_another(lost, &session) => {
                return Err(Why::Failed("another process listens there now".to_owned()));
            }
            Some(Ok((session, notices))) => return Ok(End { session, notices }),
            Some(Err(error)) => {
                refusals += u32::from(nothing_listens(&error));
                // Whoever listened may have been another than QEMU, which still does then.
                if nothing_listens(&error) && lost.peer_has_ended() {
                    return Err(Why::Ended);
                }
                if refusals >= REFUSALS {
                    return Err(Why::Failed(error.to_string()));
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

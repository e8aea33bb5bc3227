//! A guest that stands on its source with all of its memory, and that the monitor does not start.
//!
//! Before 10.2 a post-copy whose start fails leaves its source in `device` or `postcopy-active` for
//! good, its migration thread gone: `postcopy_start` fails from a state that it does not expect
//! (docs/qemu-notes.md, "Failing while post-copy starts"). `cont` then says "Migration is not
//! finalized yet", a cancel ends in `cancelling`, and the destination never had the guest. The gdb
//! stub starts it all the same: a client that detaches lets the VM run (`gdb_continue` in QEMU's
//! gdbstub/system.c), whatever the migration's state. Seen on 10.0.2 (docs/how-to/recovery.md).
//! 7.2's destination ends when it fails, and then nobody can say whether it had run the guest: not
//! revived.
//!
//! Nothing here is for a migration that can go on in any other way.

use super::{DEADLINE, POLL, StepError, has, status};
use qmp::{QmpError, Request, Session, Status};
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// A source that is about to switch over looks the same, for a moment.
const STUCK_FOR: Duration = Duration::from_secs(3);
/// Polls until it runs.
const POLLS: u32 = 250;
/// Of the socket and the chardev that gdb would come over.
const ID: &str = "switchover-revive";
/// gdb's `D`, and its checksum: it goes away.
const DETACH: &[u8] = b"$D#44";

/// Starts a guest on its source that stands there for good, when the destination never had it.
/// Gives the source's run state.
///
/// Only the destination knows that: a source in `device` may have sent everything, and one that
/// ended may have run it before.
///
/// # Errors
/// [`StepError::Unfit`], with the reason: it runs, it may run elsewhere, or there is a better way.
/// Else what QEMU said.
pub async fn revive(source: &Session, destination: &Session) -> Result<String, StepError> {
    let before = looked_at(source).await?;
    if let Some(reason) = why_not(&before, has(source, "release-ram").await?) {
        return Err(StepError::Unfit(reason));
    }
    let there = looked_at(destination).await?;
    if there.run_state != "inmigrate" || there.status != Status::Failed {
        return Err(StepError::Unfit(format!(
            "the destination is in state {}, run state {}: it may have the guest, or get it. Only one that failed before it had it (failed, \
             inmigrate) leaves the guest to the source",
            there.status, there.run_state
        )));
    }
    tokio::time::sleep(STUCK_FOR).await;
    let now = looked_at(source).await?;
    if now != before {
        return Err(StepError::Unfit(format!(
            "the source was in state {}, and is in state {}, run state {}: it goes on by itself",
            before.status, now.status, now.run_state
        )));
    }
    activate_disks(source).await?;
    detach(source).await
}

/// Where a side stands.
#[derive(Clone, Debug, PartialEq)]
struct Stands {
    status: Status,
    run_state: String,
}

async fn looked_at(session: &Session) -> Result<Stands, QmpError> {
    let status = status(session).await?;
    Ok(Stands { status, run_state: session.run_state(DEADLINE).await? })
}

/// What speaks against it on the source.
fn why_not(source: &Stands, releases: bool) -> Option<String> {
    let Stands { status, run_state } = source;
    match (run_state.as_str(), status) {
        ("running", _) => Some("the guest runs on the source".to_owned()),
        (_, Status::Completed) => {
            Some("the source says completed: the guest is on the destination, and never to be started here".to_owned())
        }
        ("finish-migrate", status) if status.is_postcopy() && releases => {
            Some("release-ram is on: the source has given memory away".to_owned())
        }
        ("finish-migrate", status) if status.is_postcopy() || matches!(status, Status::Device | Status::Cancelling) => None,
        (run_state, status) => Some(format!(
            "the source is in state {status}, run state {run_state}. This is for a guest that a failed post-copy left standing (device, cancelling or \
             postcopy-…, run state finish-migrate)"
        )),
    }
}

/// Since 10.0 whoever starts a guest can have its disks first; earlier ones take them back
/// themselves when the start of post-copy fails.
async fn activate_disks(source: &Session) -> Result<(), QmpError> {
    let commands: Vec<Value> = source.ask("query-commands", Value::Null, DEADLINE).await?;
    if commands.iter().any(|command| command["name"] == "blockdev-set-active") {
        source
            .execute(Request::raw("blockdev-set-active", json!({ "active": true })), DEADLINE)
            .await?;
    }
    Ok(())
}

/// Is gdb for a moment, over a socket pair, of which QEMU gets one end: so there is no path that
/// anyone else could reach.
async fn detach(source: &Session) -> Result<String, StepError> {
    let (ours, theirs) = UnixStream::pair().map_err(StepError::Socket)?;
    let theirs = theirs.into_std().map_err(StepError::Socket)?;
    let result = attach_and_detach(source, ours, theirs.into()).await;
    // Takes the chardev along. Where it did not come so far, what there was goes too.
    let _ = monitor(source, "gdbserver none").await;
    if result.is_err() {
        for (command, key) in [("chardev-remove", "id"), ("closefd", "fdname")] {
            let _ = source.execute(Request::raw(command, json!({ key: ID })), DEADLINE).await;
        }
    }
    result
}

async fn attach_and_detach(
    source: &Session,
    mut ours: UnixStream,
    theirs: OwnedFd,
) -> Result<String, StepError> {
    source
        .execute_with_fd(Request::raw("getfd", json!({ "fdname": ID })), theirs, DEADLINE)
        .await?;
    let address = json!({ "type": "fd", "data": { "str": ID } });
    let backend = json!({ "type": "socket", "data": { "addr": address, "server": false } });
    source
        .execute(Request::raw("chardev-add", json!({ "id": ID, "backend": backend })), DEADLINE)
        .await?;
    monitor(source, &format!("gdbserver chardev:{ID}")).await?;
    ours.write_all(DETACH).await.map_err(StepError::Socket)?;
    let mut now = String::new();
    for _ in 0..POLLS {
        now = source.run_state(DEADLINE).await?;
        if now == "running" {
            return Ok(now);
        }
        tokio::time::sleep(POLL).await;
    }
    Err(StepError::StillStands { run_state: now, after: POLL * POLLS })
}

/// Of the human monitor, which alone has it.
async fn monitor(source: &Session, line: &str) -> Result<(), QmpError> {
    source
        .execute(Request::raw("human-monitor-command", json!({ "command-line": line })), DEADLINE)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: Status, run_state: &str, releases: bool) -> String {
        why_not(&Stands { status, run_state: run_state.to_owned() }, releases)
            .unwrap_or_else(|| "none".to_owned())
    }

    #[test]
    fn only_a_guest_that_stands_in_a_failed_post_copy_is_revived() {
        let stands = "finish-migrate";
        for status in
            [Status::Device, Status::Cancelling, Status::PostcopyActive, Status::PostcopyPaused]
        {
            assert_eq!(refusal(status, stands, false), "none");
        }
        assert_eq!(refusal(Status::Device, stands, true), "none");
        insta::assert_snapshot!(refusal(Status::PostcopyActive, stands, true), @"release-ram is on: the source has given memory away");
        insta::assert_snapshot!(refusal(Status::Completed, "postmigrate", false), @"the source says completed: the guest is on the destination, and never to be started here");
        insta::assert_snapshot!(refusal(Status::Device, "running", false), @"the guest runs on the source");
        insta::assert_snapshot!(refusal(Status::Failed, "paused", false), @"the source is in state failed, run state paused. This is for a guest that a failed post-copy left standing (device, cancelling or postcopy-…, run state finish-migrate)");
    }
}

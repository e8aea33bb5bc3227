//! One step, by hand, on a migration that somebody else drives: pause, cancel, switch, go on,
//! recover, revive.
//!
//! Takes sessions; gives the state that the step led to, or the reason why it would not be safe.
//! Nothing is sent that would break a safety rule (ARCHITECTURE.md).

mod revive;

pub use revive::revive;

use crate::drive::{RecoverError, Recoverer, Rejoin};
use qmp::{QemuVersion, QmpError, Request, Session, Status};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// Polls until a step has had its effect.
const POLLS: u32 = 750;
/// Since this version QEMU itself refuses to cancel in post-copy; before, it would obey and lose
/// the guest.
const GUARDS_CANCEL: QemuVersion = QemuVersion::new(10, 0, 0);

/// Why a step was not taken, or did not get anywhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// It would not be safe, or there is nothing to do. Nothing was sent.
    #[error("not done: {0}")]
    Unfit(String),
    /// QEMU did not do it.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// It was accepted, and had no effect.
    #[error("{what} was accepted, but the source is in state {status} after {after:?}")]
    NoEffect {
        /// The command.
        what: &'static str,
        /// The state.
        status: Status,
        /// So long.
        after: Duration,
    },
    /// It was revived, and does not run.
    #[error(
        "the source's gdb stub was told to let the guest run, but its run state is {run_state} after {after:?}"
    )]
    StillStands {
        /// Its run state.
        run_state: String,
        /// So long.
        after: Duration,
    },
    /// A socket of ours.
    #[error("a socket to the source's gdb stub could not be made")]
    Socket(#[source] io::Error),
    /// The attempt to recover failed; it can be made again.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// `migrate-pause`: breaks the channel of a post-copy on purpose, to go on over another.
///
/// # Errors
/// [`StepError`].
pub async fn pause(source: &Session) -> Result<Status, StepError> {
    match status(source).await? {
        Status::PostcopyActive | Status::PostcopyRecover => {}
        Status::PostcopyPaused => return Err(StepError::Unfit("it is paused already".to_owned())),
        other => {
            return Err(StepError::Unfit(format!(
                "the source is in state {other}, and only post-copy can be paused; before that, `switchover cancel` leaves the guest where it is"
            )));
        }
    }
    source.execute(Request::typed(&qapi::qmp::migrate_pause {}), DEADLINE).await?;
    until(source, "migrate-pause", |status| *status == Status::PostcopyPaused).await
}

/// `migrate_cancel`: only while the guest is on the source for certain.
///
/// # Errors
/// [`StepError`].
pub async fn cancel(source: &Session) -> Result<Status, StepError> {
    let now = status(source).await?;
    if now.is_postcopy() || now == Status::Completed {
        return Err(StepError::Unfit(format!(
            "the source is in state {now}: past the point of no return only the destination can have the guest, and a cancel would lose it"
        )));
    }
    if now == Status::Device {
        let reason = "the source is in state device: everything may be sent, and the destination would then start the guest too";
        return Err(StepError::Unfit(reason.to_owned()));
    }
    if now == Status::None || now.is_final() {
        return Err(StepError::Unfit(format!("no migration is under way (state {now})")));
    }
    if source.greeting().version < GUARDS_CANCEL && has(source, "postcopy-ram").await? {
        let version = source.greeting().version.to_string();
        return Err(StepError::Unfit(format!(
            "postcopy-ram is on, so post-copy may begin at any moment, and QEMU {version} would obey a cancel even then and lose the guest"
        )));
    }
    source.execute(Request::typed(&qapi::qmp::migrate_cancel {}), DEADLINE).await?;
    until(source, "migrate_cancel", |status| status.is_final()).await
}

/// `migrate-start-postcopy`.
///
/// # Errors
/// [`StepError`].
pub async fn switch(source: &Session) -> Result<Status, StepError> {
    let now = status(source).await?;
    if now != Status::Active {
        return Err(StepError::Unfit(format!(
            "the source is in state {now}; post-copy can begin while it is active"
        )));
    }
    if !has(source, "postcopy-ram").await? {
        let reason = "postcopy-ram is off, and it cannot be set while a migration is under way; begin it with `--mode hybrid`";
        return Err(StepError::Unfit(reason.to_owned()));
    }
    source.execute(Request::typed(&qapi::qmp::migrate_start_postcopy {}), DEADLINE).await?;
    until(source, "migrate-start-postcopy", |status| status.is_postcopy() || status.is_final())
        .await
}

/// `migrate-continue`: lets a migration switch over that waits for it (capability
/// pause-before-switchover).
///
/// # Errors
/// [`StepError`].
pub async fn go_on(source: &Session) -> Result<Status, StepError> {
    let now = status(source).await?;
    if now != Status::PreSwitchover {
        return Err(StepError::Unfit(format!(
            "the source is in state {now}, and does not wait in pre-switchover. Its VM is not continued: it may run on the destination"
        )));
    }
    let command = qapi::qmp::migrate_continue { state: qapi::qmp::MigrationStatus::pre_switchover };
    source.execute(Request::typed(&command), DEADLINE).await?;
    until(source, "migrate-continue", |status| *status != Status::PreSwitchover).await
}

/// Brings a post-copy back that is paused, over a new channel: the destination listens at `uri`.
///
/// # Errors
/// [`StepError`]; it can be tried again.
pub async fn recover(
    source: &Session,
    destination: &Session,
    uri: &str,
) -> Result<Status, StepError> {
    let now = status(source).await?;
    if !now.is_postcopy() {
        return Err(StepError::Unfit(format!(
            "the source is in state {now}; there is no post-copy to recover"
        )));
    }
    Recoverer::new(Arc::new(At(uri.to_owned()))).attempt(source, destination).await?;
    Ok(status(source).await?)
}

/// A place that the user named.
#[derive(Debug)]
struct At(String);

impl Rejoin for At {
    fn incoming(&self, _attempt: u32) -> String {
        self.0.clone()
    }

    fn outgoing(&self, listening: &str) -> io::Result<String> {
        Ok(listening.to_owned())
    }
}

async fn status(source: &Session) -> Result<Status, QmpError> {
    Ok(source.query_migrate(DEADLINE).await?.status.unwrap_or(Status::None))
}

async fn has(source: &Session, capability: &str) -> Result<bool, QmpError> {
    let all: Vec<Value> = source.ask("query-migrate-capabilities", json!({}), DEADLINE).await?;
    Ok(all.iter().any(|one| one["capability"] == capability && one["state"] == true))
}

async fn until(
    source: &Session,
    what: &'static str,
    is: impl Fn(&Status) -> bool,
) -> Result<Status, StepError> {
    let mut now = Status::None;
    for _ in 0..POLLS {
        now = status(source).await?;
        if is(&now) {
            return Ok(now);
        }
        tokio::time::sleep(POLL).await;
    }
    Err(StepError::NoEffect { what, status: now, after: POLL * POLLS })
}

//! Makes one attempt to resume a broken post-copy: pause both sides, let the destination listen,
//! resume on the source.
//!
//! Takes the two sessions and a [`Rejoin`], which knows the addresses. Commands to the destination
//! go out of band where QEMU allows it, because its main loop may itself wait for a missing page.

use crate::plan::Uri;
use base::Side;
use qmp::{MigrationInfo, QemuVersion, QmpError, Request, Session, Status};
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

const DEADLINE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// The maximum number of polls until both sides are paused.
const MAX_PAUSE_POLLS: u32 = 250;
/// The maximum number of polls until the source resumes.
const MAX_RESUME_POLLS: u32 = 500;
/// Since 9.1 the source leaves `postcopy-paused` at once, for `postcopy-recover-setup`. Before 9.1
/// it leaves when it is connected. A source that is still paused after this many polls has failed
/// again.
const MAX_STILL_PAUSED_POLLS: u32 = 100;
const LEAVES_AT_ONCE: QemuVersion = QemuVersion::new(9, 1, 0);

/// The addresses that a recovery uses.
pub trait Rejoin: std::fmt::Debug + Send + Sync {
    /// The migration URI on which the destination listens at this attempt. The first attempt is 1.
    fn incoming(&self, attempt: u32) -> String;

    /// The migration URI to which the source connects when the destination listens on `listening`.
    ///
    /// # Errors
    /// Fails if the destination cannot be reached from the source.
    fn outgoing(&self, listening: &str) -> io::Result<String>;
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// QEMU refused a command or did not answer.
    #[error("{what}: {source}")]
    Qmp {
        /// The step that failed.
        what: &'static str,
        /// The error of the QMP command.
        source: QmpError,
    },
    /// A side is in a state from which post-copy cannot be recovered.
    #[error("the {side} is in state {status}, from which post-copy cannot be recovered")]
    State {
        /// The side.
        side: Side,
        /// Its migration status.
        status: Status,
    },
    /// The sides did not both pause, although `migrate-pause` was sent.
    #[error("the two sides do not both pause (source {source_is}, destination {destination_is})")]
    Pause {
        /// The status of the source.
        source_is: Status,
        /// The status of the destination.
        destination_is: Status,
    },
    /// The source cannot reach the destination.
    #[error("the source cannot reach {uri}: {source}")]
    Unreachable {
        /// The URI on which the destination listens.
        uri: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The source tried to resume and is paused again.
    #[error("the source could not connect, or the connection broke again{}", .0.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Again(Option<String>),
    /// The source did not change state in time.
    #[error("the source is in state {0} and does not resume")]
    Silent(Status),
}

/// Makes recovery attempts, one at a time. Clones share their state.
#[derive(Clone, Debug)]
pub struct Recoverer {
    rejoin: Arc<dyn Rejoin>,
    made: Arc<Mutex<Made>>,
}

#[derive(Debug, Default)]
struct Made {
    attempts: u32,
    /// The URI on which the destination still listens after an attempt that failed later.
    listening: Option<String>,
}

impl Recoverer {
    /// A recoverer that uses these addresses.
    #[must_use]
    pub fn new(rejoin: Arc<dyn Rejoin>) -> Recoverer {
        Recoverer { rejoin, made: Arc::default() }
    }

    /// Makes one attempt. A side that has not noticed the break is paused first.
    ///
    /// # Errors
    /// [`RecoverError`]; the attempt can be repeated.
    pub async fn attempt(
        &self,
        source: &Session,
        destination: &Session,
    ) -> Result<(), RecoverError> {
        let mut made = self.made.lock().await;
        made.attempts += 1;
        if pause_both(source, destination).await? == Both::Completed {
            return Ok(());
        }
        let listening = self.listen(&mut made, destination).await?;
        let unreachable = |source| RecoverError::Unreachable { uri: listening.clone(), source };
        let uri = self.rejoin.outgoing(&listening).map_err(unreachable)?;
        let resume = Request::raw("migrate", json!({ "uri": uri, "resume": true }));
        let failed =
            |source| RecoverError::Qmp { what: "resuming on the source (migrate)", source };
        source.execute(resume, DEADLINE).await.map_err(failed)?;
        wait_until_resumed(source).await?;
        made.listening = None;
        Ok(())
    }

    /// Lets the destination listen and returns the URI.
    async fn listen(&self, made: &mut Made, destination: &Session) -> Result<String, RecoverError> {
        let uri = self.rejoin.incoming(made.attempts);
        let recover = Request::typed(&qapi::qmp::migrate_recover { uri: uri.clone() });
        let failed = |source| RecoverError::Qmp {
            what: "listening on the destination (migrate-recover)",
            source,
        };
        let listening = match (destination.execute(recover, DEADLINE).await, made.listening.take())
        {
            (Ok(_), _) => resolve_port(destination, uri).await?,
            // Older QEMUs listen only once, and still listen since an earlier attempt.
            (Err(error), Some(earlier)) if error.is_refusal() => earlier,
            (Err(error), _) => return Err(failed(error)),
        };
        made.listening = Some(listening.clone());
        Ok(listening)
    }
}

/// Pauses both sides. `migrate-recover` needs a paused side, and a side that sees no error never
/// pauses by itself.
async fn pause_both(source: &Session, destination: &Session) -> Result<Both, RecoverError> {
    let mut states = [Status::None, Status::None];
    for poll in 0..MAX_PAUSE_POLLS {
        for (index, (side, session)) in
            [(Side::Source, source), (Side::Destination, destination)].into_iter().enumerate()
        {
            states[index] = query(session).await?.status.unwrap_or(Status::None);
            match &states[index] {
                // Nothing is forced in the first round, because the error may still be on its
                // way to the other side.
                Status::PostcopyActive | Status::PostcopyRecover | Status::PostcopyRecoverSetup
                    if poll > 0 =>
                {
                    let pause = Request::typed(&qapi::qmp::migrate_pause {});
                    // Refused if the side just changed state by itself; the next poll shows that.
                    let _ = session.execute(pause, DEADLINE).await;
                }
                status if status.is_postcopy() || *status == Status::Completed => {}
                status => return Err(RecoverError::State { side, status: status.clone() }),
            }
        }
        if states == [Status::PostcopyPaused, Status::PostcopyPaused] {
            return Ok(Both::Paused);
        }
        if states == [Status::Completed, Status::Completed] {
            return Ok(Both::Completed);
        }
        tokio::time::sleep(POLL).await;
    }
    let [source_is, destination_is] = states;
    Err(RecoverError::Pause { source_is, destination_is })
}

/// The URI with the port that QEMU chose, if `uri` let it choose one.
async fn resolve_port(destination: &Session, uri: String) -> Result<String, RecoverError> {
    if !uri.ends_with(":0") {
        return Ok(uri);
    }
    let addresses = query(destination).await?.socket_address.unwrap_or_default();
    // 7.2 keeps the earlier addresses in the list.
    let actual = addresses.last().and_then(Uri::of_socket_address);
    Ok(Uri { outgoing: uri.clone(), incoming: uri }.resolved(actual.as_deref()))
}

async fn wait_until_resumed(source: &Session) -> Result<(), RecoverError> {
    let mut last = MigrationInfo::default();
    let (mut left, mut still) = (source.greeting().version >= LEAVES_AT_ONCE, 0);
    for _ in 0..MAX_RESUME_POLLS {
        last = query(source).await?;
        match last.status {
            Some(Status::PostcopyActive | Status::Completed) => return Ok(()),
            Some(Status::PostcopyPaused) => still += 1,
            _ => left = true,
        }
        if still > 0 && left || still > MAX_STILL_PAUSED_POLLS {
            return Err(RecoverError::Again(last.error_desc));
        }
        tokio::time::sleep(POLL).await;
    }
    Err(RecoverError::Silent(last.status.unwrap_or(Status::None)))
}

async fn query(session: &Session) -> Result<MigrationInfo, RecoverError> {
    let failed =
        |source| RecoverError::Qmp { what: "asking for its state (query-migrate)", source };
    session.query_migrate(DEADLINE).await.map_err(failed)
}

/// The common state of both sides.
#[derive(PartialEq)]
enum Both {
    Paused,
    Completed,
}

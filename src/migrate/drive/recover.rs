//! One attempt to bring a broken post-copy back: both sides paused, the destination listens, the source resumes.
//!
//! Takes sessions and somebody who knows the way; gives success, or what went wrong. Commands to the destination that can go out of band do:
//! its main loop may itself wait for a page that is missing (facts/qemu.md §4.5).

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
/// Polls until both sides are paused.
const PAUSING: u32 = 250;
/// Polls until the source goes on.
const RESUMING: u32 = 500;
/// Since 9.1 the source leaves `postcopy-paused` at once (`postcopy-recover-setup`); before, it does when it is connected. One that is still so
/// after this many polls is so again.
const STILL: u32 = 100;
const LEAVES_AT_ONCE: QemuVersion = QemuVersion::new(9, 1, 0);

/// Where a broken post-copy goes on.
pub trait Rejoin: std::fmt::Debug + Send + Sync {
    /// Where the destination shall listen at the attempt with this number, from 1: a migration URI.
    fn incoming(&self, attempt: u32) -> String;

    /// What the source shall connect to, where the destination listens at `listening`.
    ///
    /// # Errors
    /// If there is no way to it.
    fn outgoing(&self, listening: &str) -> io::Result<String>;
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// A command was refused or not answered.
    #[error("{what}: {source}")]
    Qmp {
        /// What was tried.
        what: &'static str,
        /// QEMU's word.
        source: QmpError,
    },
    /// A side is in no state to be recovered from.
    #[error("the {side} is in state {status}, which is none to recover from")]
    State {
        /// Which side.
        side: Side,
        /// Its state.
        status: Status,
    },
    /// `migrate-pause` did not help.
    #[error("the two sides do not both pause (source {source_is}, destination {destination_is})")]
    Pause {
        /// The source's state.
        source_is: Status,
        /// The destination's.
        destination_is: Status,
    },
    /// There is no way between them.
    #[error("no way to {uri}: {source}")]
    Way {
        /// Where the destination listens.
        uri: String,
        /// Why not.
        source: io::Error,
    },
    /// The source tried, and is paused again.
    #[error("the source could not connect, or the connection broke again{}", .0.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Again(Option<String>),
    /// Nothing happened.
    #[error("the source is in state {0} and does not go on")]
    Silent(Status),
}

/// Makes attempts. Cheap to clone; one attempt at a time.
#[derive(Clone, Debug)]
pub struct Recoverer {
    rejoin: Arc<dyn Rejoin>,
    made: Arc<Mutex<Made>>,
}

#[derive(Debug, Default)]
struct Made {
    attempts: u32,
    /// Where the destination listens since an attempt that went no further.
    listening: Option<String>,
}

impl Recoverer {
    /// One that knows the way.
    #[must_use]
    pub fn new(rejoin: Arc<dyn Rejoin>) -> Recoverer {
        Recoverer { rejoin, made: Arc::default() }
    }

    /// One attempt. A side that has not noticed is paused first.
    ///
    /// # Errors
    /// [`RecoverError`]; it can be tried again.
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
        let way = |source| RecoverError::Way { uri: listening.clone(), source };
        let uri = self.rejoin.outgoing(&listening).map_err(way)?;
        let resume = Request::raw("migrate", json!({ "uri": uri, "resume": true }));
        let failed =
            |source| RecoverError::Qmp { what: "resuming on the source (migrate)", source };
        source.execute(resume, DEADLINE).await.map_err(failed)?;
        resumed(source).await?;
        made.listening = None;
        Ok(())
    }

    /// Gives the URI at which the destination listens.
    async fn listen(&self, made: &mut Made, destination: &Session) -> Result<String, RecoverError> {
        let uri = self.rejoin.incoming(made.attempts);
        let recover = Request::typed(&qapi::qmp::migrate_recover { uri: uri.clone() });
        let failed = |source| RecoverError::Qmp {
            what: "listening on the destination (migrate-recover)",
            source,
        };
        let listening = match (destination.execute(recover, DEADLINE).await, made.listening.take())
        {
            (Ok(_), _) => actual(destination, uri).await?,
            // Older QEMUs listen once: an earlier attempt got so far, and they listen there still.
            (Err(error), Some(earlier)) if error.is_refusal() => earlier,
            (Err(error), _) => return Err(failed(error)),
        };
        made.listening = Some(listening.clone());
        Ok(listening)
    }
}

/// migrate-recover refuses a side that is not paused, and a side that sees no error never is by itself.
async fn pause_both(source: &Session, destination: &Session) -> Result<Both, RecoverError> {
    let mut states = [Status::None, Status::None];
    for poll in 0..PAUSING {
        for (index, (side, session)) in
            [(Side::Source, source), (Side::Destination, destination)].into_iter().enumerate()
        {
            states[index] = look(session).await?.status.unwrap_or(Status::None);
            match &states[index] {
                // The first time round nothing is forced: the other side's error may be on its way.
                Status::PostcopyActive | Status::PostcopyRecover | Status::PostcopyRecoverSetup
                    if poll > 0 =>
                {
                    let pause = Request::typed(&qapi::qmp::migrate_pause {});
                    // Refused where it has just changed state by itself, which the next look shows.
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

/// With the port that it got, where it was to choose one.
async fn actual(destination: &Session, uri: String) -> Result<String, RecoverError> {
    if !uri.ends_with(":0") {
        return Ok(uri);
    }
    let addresses = look(destination).await?.socket_address.unwrap_or_default();
    // 7.2 keeps those of before.
    let actual = addresses.last().and_then(Uri::of_socket_address);
    Ok(Uri { outgoing: uri.clone(), incoming: uri }.resolved(actual.as_deref()))
}

async fn resumed(source: &Session) -> Result<(), RecoverError> {
    let mut last = MigrationInfo::default();
    let (mut left, mut still) = (source.greeting().version >= LEAVES_AT_ONCE, 0);
    for _ in 0..RESUMING {
        last = look(source).await?;
        match last.status {
            Some(Status::PostcopyActive | Status::Completed) => return Ok(()),
            Some(Status::PostcopyPaused) => still += 1,
            _ => left = true,
        }
        if still > 0 && left || still > STILL {
            return Err(RecoverError::Again(last.error_desc));
        }
        tokio::time::sleep(POLL).await;
    }
    Err(RecoverError::Silent(last.status.unwrap_or(Status::None)))
}

async fn look(session: &Session) -> Result<MigrationInfo, RecoverError> {
    let failed =
        |source| RecoverError::Qmp { what: "asking for its state (query-migrate)", source };
    session.query_migrate(DEADLINE).await.map_err(failed)
}

/// What both sides are.
#[derive(PartialEq)]
enum Both {
    Paused,
    Completed,
}

//! The connection: an actor of two tasks that own the socket, and a handle that anyone may clone.
//!
//! All protocol state (which id waits for what) lives in the tasks, so a caller may drop its future
//! at any time: a late reply finds no waiter and is let go. Urgent requests go before background
//! ones (sampling on a shared connection), and at most one background request is on its way,
//! because QEMU answers in order. Here is the handle; `tasks` has the rest.

use super::limits::{self, MAX_ERROR_BYTES};
use super::lines::Lines;
use super::peer::PeerProcess;
use super::stream::{self, Stream};
use super::tasks::{self, Job, QueuedNotice, Shared, Tap};
use super::tunnel::{self, Tunnel};
use super::wire::{self, Direction, Greeting, Line, Notice, Reply, Request};
use super::{Endpoint, MigrationInfo, QmpError, Result, Schema};
use base::text::truncate;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// For what is asked through `ssh`, at least: another host may be far.
const MIN_SSH_DEADLINE: Duration = Duration::from_secs(10);
/// Queue of requests not yet written; a caller waits when it is full.
const QUEUE_CAPACITY: usize = 32;

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Closed(pub String);

/// What QEMU says unasked, in order, until the connection ends. What waits to be taken is bounded:
/// a peer that sends more than some thousand events in between is no QEMU, and the connection ends.
#[derive(Debug)]
pub struct Notices(mpsc::UnboundedReceiver<QueuedNotice>, Shared);

impl Notices {
    /// The next notice, or why there will be no more. Cancel-safe.
    ///
    /// # Errors
    /// [`Closed`] once the connection has ended and everything that came before is delivered.
    pub async fn next(&mut self) -> Result<Notice, Closed> {
        match self.0.recv().await {
            Some(QueuedNotice(notice, weight)) => {
                self.1.waiting.take(weight);
                Ok(notice)
            }
            None => Err(Closed(self.1.end_reason())),
        }
    }

    /// The next notice that has arrived already; `None` if there is none.
    pub fn try_next(&mut self) -> Option<Notice> {
        let QueuedNotice(notice, weight) = self.0.try_recv().ok()?;
        self.1.waiting.take(weight);
        Some(notice)
    }
}

/// A negotiated QMP connection. Cheap to clone; the connection ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Session {
    side: Arc<str>,
    greeting: Arc<Greeting>,
    urgent: mpsc::Sender<Job>,
    background: mpsc::Sender<Job>,
    shared: Shared,
    can_pass_fds: bool,
    peer: Option<PeerProcess>,
    way: Option<Arc<ReconnectOptions>>,
    /// Held for its drop: `ssh` ends with the last clone.
    _tunnel: Option<Arc<Tunnel>>,
}

/// How a session was connected, to do it again.
#[derive(Debug)]
struct ReconnectOptions {
    endpoint: Endpoint,
    tap: Option<Tap>,
}

impl Session {
    /// Connects to a QMP server that listens at `endpoint`, and negotiates. `side` names it in
    /// errors.
    ///
    /// # Errors
    /// [`QmpError::Connect`], [`QmpError::NoGreeting`] (the socket is busy with another client),
    /// [`QmpError::NotQmp`], and what the negotiation may give. `deadline` is for the whole of it.
    pub async fn connect(
        side: &str,
        endpoint: &Endpoint,
        tap: Option<Tap>,
        deadline: Duration,
    ) -> Result<(Session, Notices)> {
        let (opening, deadline) = match endpoint {
            Endpoint::Ssh(_) => {
                (tunnel::POLL_INTERVAL * (2 * tunnel::MAX_POLLS), deadline.max(MIN_SSH_DEADLINE))
            }
            Endpoint::Unix(_) | Endpoint::Tcp { .. } => (deadline, deadline),
        };
        let (stream, tunnel) = match timeout(opening, stream::open(endpoint)).await {
            Ok(opened) => opened.map_err(|error| stream::connect_error(side, endpoint, error))?,
            Err(_) => {
                return Err(stream::connect_error(side, endpoint, io::ErrorKind::TimedOut.into()));
            }
        };
        let (mut session, notices) =
            Session::negotiate(side, endpoint, (stream, tunnel), tap.clone(), deadline).await?;
        session.way = Some(Arc::new(ReconnectOptions { endpoint: endpoint.clone(), tap }));
        Ok((session, notices))
    }

    /// Connects once more to where this session was connected to. `None` if QEMU had connected to
    /// us.
    pub async fn reconnect(&self, deadline: Duration) -> Option<Result<(Session, Notices)>> {
        let way = self.way.as_ref()?;
        Some(Session::connect(&self.side, &way.endpoint, way.tap.clone(), deadline).await)
    }

    /// Waits at `listener` for a QEMU that connects to us (a chardev with `server=off`), and
    /// negotiates.
    ///
    /// # Errors
    /// As [`Session::connect`].
    pub async fn accept(
        side: &str,
        listener: &UnixListener,
        tap: Option<Tap>,
        deadline: Duration,
    ) -> Result<(Session, Notices)> {
        let path = listener
            .local_addr()
            .ok()
            .and_then(|a| a.as_pathname().map(ToOwned::to_owned))
            .unwrap_or_default();
        let endpoint = Endpoint::Unix(path);
        let stream = match timeout(deadline, listener.accept()).await {
            Ok(accepted) => {
                accepted.map_err(|error| stream::connect_error(side, &endpoint, error))?.0
            }
            Err(_) => {
                return Err(stream::connect_error(side, &endpoint, io::ErrorKind::TimedOut.into()));
            }
        };
        Session::over_unix(side, &endpoint, stream, tap, deadline).await
    }

    /// Negotiates on a connection that a QEMU made to us.
    ///
    /// # Errors
    /// As [`Session::connect`].
    pub async fn over_unix(
        side: &str,
        endpoint: &Endpoint,
        stream: UnixStream,
        tap: Option<Tap>,
        deadline: Duration,
    ) -> Result<(Session, Notices)> {
        Session::negotiate(side, endpoint, (Stream::Unix(stream), None), tap, deadline).await
    }

    async fn negotiate(
        side: &str,
        endpoint: &Endpoint,
        (stream, tunnel): (Stream, Option<Tunnel>),
        tap: Option<Tap>,
        deadline: Duration,
    ) -> Result<(Session, Notices)> {
        // Through ssh the socket is ours, and at its other end is ssh.
        let can_pass_fds = matches!(stream, Stream::Unix(_)) && tunnel.is_none();
        let tunnel = tunnel.map(Arc::new);
        let peer = match &stream {
            Stream::Unix(_) if tunnel.is_some() => None,
            Stream::Unix(stream) => stream
                .peer_cred()
                .ok()
                .and_then(|credentials| credentials.pid())
                .map(PeerProcess::of),
            Stream::Tcp(_) => None,
        };
        let (reader, writer) = stream.split();
        let mut lines = Lines::new(reader);
        let greeting = match timeout(deadline, lines.next()).await {
            Err(_) => {
                let (side, endpoint) = (side.to_owned(), endpoint.clone());
                return Err(QmpError::NoGreeting { side, endpoint, after: deadline });
            }
            Ok(Err(end)) => {
                let said = tunnel.as_ref().map(|tunnel| tunnel.recent_log()).unwrap_or_default();
                let source = io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("it closed before its greeting: {end}{said}"),
                );
                return Err(stream::connect_error(side, endpoint, source));
            }
            Ok(Ok((line, arrived))) => {
                let beyond = limits::count_values(line).err();
                match (beyond, wire::classify(line, arrived)) {
                    (None, Line::Greeting(greeting)) => {
                        if let Some(tap) = &tap {
                            tap.0(Direction::Received, arrived, line);
                        }
                        greeting
                    }
                    _ => return Err(not_qmp(side, endpoint, line)),
                }
            }
        };

        let shared = Shared::default();
        let (notice_tx, notice_rx) = mpsc::unbounded_channel();
        let (urgent, urgent_rx) = mpsc::channel(QUEUE_CAPACITY);
        let (background, background_rx) = mpsc::channel(QUEUE_CAPACITY);
        let oob = greeting.oob;
        // Not the tunnel itself: it shall end with the session, whatever the other end does.
        let way = tunnel.as_ref().map(Arc::downgrade);
        tokio::spawn(tasks::read(lines, shared.clone(), notice_tx, tap.clone(), way));
        tokio::spawn(tasks::write(writer, urgent_rx, background_rx, shared.clone(), tap, oob));
        let session = Session {
            side: side.into(),
            greeting: Arc::new(greeting),
            urgent,
            background,
            shared: shared.clone(),
            can_pass_fds,
            peer,
            way: None,
            _tunnel: tunnel,
        };

        let enable =
            if oob { serde_json::json!({"enable": ["oob"]}) } else { serde_json::Value::Null };
        session.execute(Request::raw("qmp_capabilities", enable), deadline).await?;
        Ok((session, Notices(notice_rx, shared)))
    }

    /// What QEMU said of itself.
    #[must_use]
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The process at the other end, of a unix socket: QEMU, or whoever listened for it.
    #[must_use]
    pub fn peer_pid(&self) -> Option<i32> {
        self.peer.map(|peer| peer.pid)
    }

    /// Whether that process is known to have ended.
    #[must_use]
    pub fn peer_has_ended(&self) -> bool {
        self.peer.is_some_and(PeerProcess::has_ended)
    }

    /// The name given to this side.
    #[must_use]
    pub fn side(&self) -> &str {
        &self.side
    }

    /// Sends a request and waits for its answer: the JSON text of `return`.
    ///
    /// # Errors
    /// [`QmpError::Refused`], [`QmpError::Deadline`], [`QmpError::Closed`].
    pub async fn execute(&self, request: Request, deadline: Duration) -> Result<String> {
        self.submit(&self.urgent, request, None, deadline).await
    }

    /// As [`Session::execute`], but anything else goes first.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn execute_in_background(
        &self,
        request: Request,
        deadline: Duration,
    ) -> Result<String> {
        self.submit(&self.background, request, None, deadline).await
    }

    /// Whether descriptors can go over this connection: only over a unix socket.
    #[must_use]
    pub fn can_pass_descriptors(&self) -> bool {
        self.can_pass_fds
    }

    /// As [`Session::execute`], with a file descriptor (for `getfd` and its kin).
    ///
    /// # Errors
    /// As [`Session::execute`], and [`QmpError::NeedsUnix`] on a TCP connection.
    pub async fn execute_with_fd(
        &self,
        request: Request,
        fd: OwnedFd,
        deadline: Duration,
    ) -> Result<String> {
        if !self.can_pass_fds {
            return Err(QmpError::NeedsUnix {
                side: self.side.to_string(),
                command: request.name.into_owned(),
            });
        }
        self.submit(&self.urgent, request, Some(fd), deadline).await
    }

    /// Sends one of `qapi`'s typed requests and reads the answer as `T`.
    ///
    /// # Errors
    /// As [`Session::execute`], and [`QmpError::Decode`].
    pub async fn call<C: qapi::Command, T: DeserializeOwned>(
        &self,
        command: &C,
        deadline: Duration,
    ) -> Result<T> {
        let text = self.execute(Request::typed(command), deadline).await?;
        serde_json::from_str(&text).map_err(|error| self.decode_error(C::NAME, &error))
    }

    /// Sends any command and reads the answer as `T`.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn ask<T: DeserializeOwned>(
        &self,
        name: &'static str,
        arguments: Value,
        deadline: Duration,
    ) -> Result<T> {
        let text = self.execute(Request::raw(name, arguments), deadline).await?;
        serde_json::from_str(&text).map_err(|error| self.decode_error(name, &error))
    }

    /// `query-migrate`.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn query_migrate(&self, deadline: Duration) -> Result<MigrationInfo> {
        let text = self.execute(Request::typed(&qapi::qmp::query_migrate {}), deadline).await?;
        serde_json::from_str(&text).map_err(|error| self.decode_error("query-migrate", &error))
    }

    /// The VM's run state, by `query-status`: `running`, `inmigrate`, `postmigrate`, …
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn run_state(&self, deadline: Duration) -> Result<String> {
        // As text: qapi's closed enum does not know every version's.
        #[derive(Deserialize)]
        struct Answer {
            status: String,
        }
        let answer: Answer = self.call(&qapi::qmp::query_status {}, deadline).await?;
        Ok(answer.status)
    }

    /// `query-qmp-schema`. Takes some ms and 0.2 MB: ask once.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn schema(&self, deadline: Duration) -> Result<Schema> {
        Ok(Schema::parse(
            &self.execute(Request::typed(&qapi::qmp::query_qmp_schema {}), deadline).await?,
        ))
    }

    fn decode_error(&self, command: &str, error: &serde_json::Error) -> QmpError {
        // It may quote what QEMU said.
        let detail = truncate(&error.to_string(), MAX_ERROR_BYTES).into_owned();
        QmpError::Decode { side: self.side.to_string(), command: command.to_owned(), detail }
    }

    async fn submit(
        &self,
        queue: &mpsc::Sender<Job>,
        request: Request,
        fd: Option<OwnedFd>,
        deadline: Duration,
    ) -> Result<String> {
        let command = request.name.to_string();
        let closed = || QmpError::Closed {
            side: self.side.to_string(),
            command: command.clone(),
            reason: self.shared.end_reason(),
        };
        let (answer, reply) = oneshot::channel();
        let exchange = async {
            queue.send(Job { request, fd, answer }).await.map_err(|_| closed())?;
            reply.await.map_err(|_| closed())
        };
        match timeout(deadline, exchange).await {
            Err(_) => {
                Err(QmpError::Deadline { side: self.side.to_string(), command, after: deadline })
            }
            Ok(Err(error)) => Err(error),
            Ok(Ok(Reply::Return(text))) => Ok(text),
            Ok(Ok(Reply::Error { class, description })) => {
                Err(QmpError::Refused { side: self.side.to_string(), command, class, description })
            }
        }
    }
}

fn not_qmp(side: &str, endpoint: &Endpoint, line: &[u8]) -> QmpError {
    let got = String::from_utf8_lossy(line).chars().take(60).collect();
    QmpError::NotQmp { side: side.to_owned(), endpoint: endpoint.clone(), got }
}

//! The connection: an actor of two tasks that own the socket, and a handle that anyone may clone.
//!
//! All protocol state (which id waits for what) lives in the tasks, so a caller may drop its future at any time: a late reply
//! finds no waiter and is let go. Urgent requests go before background ones (sampling on a shared connection), and at most one
//! background request is on its way, because QEMU answers in order.

use super::bounds::{self, Beyond, ERROR_KEPT, LONGEST_LINE, Waiting};
use super::peer::Peer;
use super::tunnel::{self, Tunnel};
use super::wire::{self, Direction, Greeting, Line, Notice, Reply, Request};
use super::{Endpoint, MigrationInfo, QmpError, Result, Schema};
use crate::clock::Stamp;
use crate::text::cut;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixListener, UnixStream, tcp, unix};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

const READ_AT_ONCE: usize = 64 << 10;
/// For what is asked through `ssh`, at least: another host may be far.
const FAR: Duration = Duration::from_secs(10);
/// Queue of requests not yet written; a caller waits when it is full.
const QUEUE: usize = 32;

/// What a [`Tap`] calls: direction, when the line was sent or had arrived, the line.
pub type OnLine = dyn Fn(Direction, Stamp, &[u8]) + Send + Sync;

/// Sees every line both ways, as it is on the wire.
#[derive(Clone)]
pub struct Tap(pub Arc<OnLine>);

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Closed(pub String);

/// What QEMU says unasked, in order, until the connection ends. What waits to be taken is bounded: a peer that sends more than some thousand events
/// in between is no QEMU, and the connection ends.
#[derive(Debug)]
pub struct Notices(mpsc::UnboundedReceiver<Weighed>, Shared);

/// A notice, and what it was counted as while it waits.
#[derive(Debug)]
struct Weighed(Notice, usize);

impl Notices {
    /// The next notice, or why there will be no more. Cancel-safe.
    ///
    /// # Errors
    /// [`Closed`] once the connection has ended and everything that came before is delivered.
    pub async fn next(&mut self) -> Result<Notice, Closed> {
        match self.0.recv().await {
            Some(Weighed(notice, weight)) => {
                self.1.waiting.take(weight);
                Ok(notice)
            }
            None => Err(Closed(self.1.end_reason())),
        }
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
    peer: Option<Peer>,
    way: Option<Arc<Way>>,
    /// Held for its drop: `ssh` ends with the last clone.
    _tunnel: Option<Arc<Tunnel>>,
}

/// How a session was connected, to do it again.
#[derive(Debug)]
struct Way {
    endpoint: Endpoint,
    tap: Option<Tap>,
}

#[derive(Debug)]
struct Job {
    request: Request,
    fd: Option<OwnedFd>,
    answer: oneshot::Sender<Reply>,
}

/// State that both tasks see. The lock is held for a look-up at most, never across an await.
#[derive(Clone, Debug, Default)]
struct Shared {
    state: Arc<Mutex<State>>,
    /// Notices that nobody has taken yet.
    waiting: Arc<Waiting>,
    /// Nothing more is read, so nothing more is written: the socket is closed, and the next client may have it.
    ended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    pending: HashMap<u32, oneshot::Sender<Reply>>,
    last_id: u32,
    end: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_reason(&self) -> String {
        self.lock().end.clone().unwrap_or_else(|| "closed".to_owned())
    }

    /// Notes why the session ended and lets all waiters know.
    fn end(&self, reason: String) {
        let mut state = self.lock();
        state.end.get_or_insert(reason);
        state.pending.clear();
        self.ended.notify_one();
    }
}

impl State {
    /// The lowest free id after the last one: ids stay one or two digits, and an id whose reply is late is not used again.
    fn register(&mut self, answer: oneshot::Sender<Reply>) -> u32 {
        let mut id = self.last_id;
        loop {
            id = (id + 1) % 100;
            if !self.pending.contains_key(&id) {
                break;
            }
            if id == self.last_id {
                // A hundred unanswered: QEMU hangs. Go beyond two digits rather than reuse.
                id = self.pending.keys().max().map_or(100, |max| max + 1);
                break;
            }
        }
        self.last_id = id % 100;
        self.pending.insert(id, answer);
        id
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

enum Writer {
    Unix(unix::OwnedWriteHalf),
    Tcp(tcp::OwnedWriteHalf),
}

impl Writer {
    async fn send(&mut self, bytes: &[u8], fd: Option<OwnedFd>) -> io::Result<()> {
        match (self, fd) {
            (Writer::Tcp(half), _) => half.write_all(bytes).await,
            (Writer::Unix(half), None) => half.write_all(bytes).await,
            (Writer::Unix(half), Some(fd)) => {
                // QEMU takes descriptors from any recvmsg before the command completes, so they travel with its first byte
                // (tcp_chr_recv in chardev/char-socket.c).
                let stream: &UnixStream = half.as_ref();
                let (first, rest) = bytes.split_at(bytes.len().min(1));
                stream
                    .async_io(Interest::WRITABLE, || {
                        let fds = [fd.as_raw_fd()];
                        let message = [ControlMessage::ScmRights(&fds)];
                        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                        sendmsg::<UnixAddr>(stream.as_raw_fd(), &[IoSlice::new(first)], &message, flags, None)?;
                        Ok(())
                    })
                    .await?;
                half.write_all(rest).await
            }
        }
    }
}

impl Session {
    /// Connects to a QMP server that listens at `endpoint`, and negotiates. `side` names it in errors.
    ///
    /// # Errors
    /// [`QmpError::Connect`], [`QmpError::NoGreeting`] (the socket is busy with another client), [`QmpError::NotQmp`], and what
    /// the negotiation may give. `deadline` is for the whole of it.
    pub async fn connect(side: &str, endpoint: &Endpoint, tap: Option<Tap>, deadline: Duration) -> Result<(Session, Notices)> {
        let (opening, deadline) = match endpoint {
            Endpoint::Ssh(_) => (tunnel::POLL * (2 * tunnel::POLLS), deadline.max(FAR)),
            Endpoint::Unix(_) | Endpoint::Tcp { .. } => (deadline, deadline),
        };
        let (stream, tunnel) = match timeout(opening, open(endpoint)).await {
            Ok(opened) => opened.map_err(|error| connect_error(side, endpoint, error))?,
            Err(_) => return Err(connect_error(side, endpoint, io::ErrorKind::TimedOut.into())),
        };
        let (mut session, notices) = Session::negotiate(side, endpoint, (stream, tunnel), tap.clone(), deadline).await?;
        session.way = Some(Arc::new(Way { endpoint: endpoint.clone(), tap }));
        Ok((session, notices))
    }

    /// Connects once more to where this session was connected to. `None` if QEMU had connected to us.
    pub async fn again(&self, deadline: Duration) -> Option<Result<(Session, Notices)>> {
        let way = self.way.as_ref()?;
        Some(Session::connect(&self.side, &way.endpoint, way.tap.clone(), deadline).await)
    }

    /// Waits at `listener` for a QEMU that connects to us (a chardev with `server=off`), and negotiates.
    ///
    /// # Errors
    /// As [`Session::connect`].
    pub async fn accept(side: &str, listener: &UnixListener, tap: Option<Tap>, deadline: Duration) -> Result<(Session, Notices)> {
        let path = listener.local_addr().ok().and_then(|a| a.as_pathname().map(ToOwned::to_owned)).unwrap_or_default();
        let endpoint = Endpoint::Unix(path);
        let stream = match timeout(deadline, listener.accept()).await {
            Ok(accepted) => accepted.map_err(|error| connect_error(side, &endpoint, error))?.0,
            Err(_) => return Err(connect_error(side, &endpoint, io::ErrorKind::TimedOut.into())),
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
            Stream::Unix(stream) => stream.peer_cred().ok().and_then(|credentials| credentials.pid()).map(Peer::of),
            Stream::Tcp(_) => None,
        };
        let (reader, writer): (Box<dyn AsyncRead + Send + Unpin>, Writer) = match stream {
            Stream::Unix(stream) => {
                let (read, write) = stream.into_split();
                (Box::new(read), Writer::Unix(write))
            }
            Stream::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (Box::new(QuickAck(read)), Writer::Tcp(write))
            }
        };
        let mut lines = Lines { reader, buffer: Vec::new(), handed_out: 0, searched: 0, arrived: Stamp::now() };
        let greeting = match timeout(deadline, lines.next()).await {
            Err(_) => {
                let (side, endpoint) = (side.to_owned(), endpoint.clone());
                return Err(QmpError::NoGreeting { side, endpoint, after: deadline });
            }
            Ok(Err(end)) => {
                let said = tunnel.as_ref().map(|tunnel| tunnel.said()).unwrap_or_default();
                let source = io::Error::new(io::ErrorKind::UnexpectedEof, format!("it closed before its greeting: {end}{said}"));
                return Err(connect_error(side, endpoint, source));
            }
            Ok(Ok((line, arrived))) => {
                let beyond = bounds::values_of(line).err();
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
        let (urgent, urgent_rx) = mpsc::channel(QUEUE);
        let (background, background_rx) = mpsc::channel(QUEUE);
        let oob = greeting.oob;
        // Not the tunnel itself: it shall end with the session, whatever the other end does.
        let way = tunnel.as_ref().map(Arc::downgrade);
        tokio::spawn(read_task(lines, shared.clone(), notice_tx, tap.clone(), way));
        tokio::spawn(write_task(writer, urgent_rx, background_rx, shared.clone(), tap, oob));
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

        let enable = if oob { serde_json::json!({"enable": ["oob"]}) } else { serde_json::Value::Null };
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
    pub fn peer(&self) -> Option<i32> {
        self.peer.map(|peer| peer.pid)
    }

    /// Whether that process is known to have ended.
    #[must_use]
    pub fn peer_has_ended(&self) -> bool {
        self.peer.is_some_and(Peer::has_ended)
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
    pub async fn execute_in_background(&self, request: Request, deadline: Duration) -> Result<String> {
        self.submit(&self.background, request, None, deadline).await
    }

    /// Whether descriptors can go over this connection: only over a unix socket.
    #[must_use]
    pub fn takes_descriptors(&self) -> bool {
        self.can_pass_fds
    }

    /// As [`Session::execute`], with a file descriptor (for `getfd` and its kin).
    ///
    /// # Errors
    /// As [`Session::execute`], and [`QmpError::NeedsUnix`] on a TCP connection.
    pub async fn execute_with_fd(&self, request: Request, fd: OwnedFd, deadline: Duration) -> Result<String> {
        if !self.can_pass_fds {
            return Err(QmpError::NeedsUnix { side: self.side.to_string(), command: request.name.into_owned() });
        }
        self.submit(&self.urgent, request, Some(fd), deadline).await
    }

    /// Sends one of `qapi`'s typed requests and reads the answer as `T`.
    ///
    /// # Errors
    /// As [`Session::execute`], and [`QmpError::Decode`].
    pub async fn call<C: qapi::Command, T: DeserializeOwned>(&self, command: &C, deadline: Duration) -> Result<T> {
        let text = self.execute(Request::typed(command), deadline).await?;
        serde_json::from_str(&text).map_err(|error| self.decode_error(C::NAME, &error))
    }

    /// Sends any command and reads the answer as `T`.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn ask<T: DeserializeOwned>(&self, name: &'static str, arguments: Value, deadline: Duration) -> Result<T> {
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

    /// `query-qmp-schema`. Takes some ms and 0.2 MB: ask once.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn schema(&self, deadline: Duration) -> Result<Schema> {
        Ok(Schema::parse(&self.execute(Request::typed(&qapi::qmp::query_qmp_schema {}), deadline).await?))
    }

    fn decode_error(&self, command: &str, error: &serde_json::Error) -> QmpError {
        // It may quote what QEMU said.
        let detail = cut(&error.to_string(), ERROR_KEPT).into_owned();
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
        let closed =
            || QmpError::Closed { side: self.side.to_string(), command: command.clone(), reason: self.shared.end_reason() };
        let (answer, reply) = oneshot::channel();
        let exchange = async {
            queue.send(Job { request, fd, answer }).await.map_err(|_| closed())?;
            reply.await.map_err(|_| closed())
        };
        match timeout(deadline, exchange).await {
            Err(_) => Err(QmpError::Deadline { side: self.side.to_string(), command, after: deadline }),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Reply::Return(text))) => Ok(text),
            Ok(Ok(Reply::Error { class, description })) => {
                Err(QmpError::Refused { side: self.side.to_string(), command, class, description })
            }
        }
    }
}

async fn open(endpoint: &Endpoint) -> io::Result<(Stream, Option<Tunnel>)> {
    match endpoint {
        Endpoint::Unix(path) => Ok((Stream::Unix(UnixStream::connect(path).await?), None)),
        Endpoint::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok((Stream::Tcp(stream), None))
        }
        Endpoint::Ssh(remote) => {
            let tunnel = Tunnel::start(remote)?;
            for _ in 0..tunnel::POLLS {
                if let Some(stream) = tunnel.try_connect()? {
                    stream.set_nonblocking(true)?;
                    return Ok((Stream::Unix(UnixStream::from_std(stream)?), Some(tunnel)));
                }
                tokio::time::sleep(tunnel::POLL).await;
            }
            Err(tunnel.late())
        }
    }
}

fn connect_error(side: &str, endpoint: &Endpoint, source: io::Error) -> QmpError {
    let hint = match source.kind() {
        _ if matches!(endpoint, Endpoint::Ssh(_)) => {
            ". `ssh HOST true` must work without a question, and QEMU's socket be there for that user"
        }
        io::ErrorKind::NotFound => ". There is no such socket: is QEMU running, with `-qmp unix:PATH,server=on,wait=off`?",
        io::ErrorKind::ConnectionRefused => {
            ". Nothing listens there (a plain file, or the socket of a QEMU that is gone); start QEMU with `-qmp ...,server=on,wait=off`"
        }
        io::ErrorKind::PermissionDenied => ". Run as the user that owns the socket",
        io::ErrorKind::WouldBlock => ". Its queue is full: other clients hold it and wait for it; QMP serves one client a socket",
        _ => "",
    };
    QmpError::Connect { side: side.to_owned(), endpoint: endpoint.clone(), hint, source }
}

fn not_qmp(side: &str, endpoint: &Endpoint, line: &[u8]) -> QmpError {
    let got = String::from_utf8_lossy(line).chars().take(60).collect();
    QmpError::NotQmp { side: side.to_owned(), endpoint: endpoint.clone(), got }
}

async fn read_task(
    mut lines: Lines,
    shared: Shared,
    notices: mpsc::UnboundedSender<Weighed>,
    tap: Option<Tap>,
    way: Option<Weak<Tunnel>>,
) {
    let reason = loop {
        let (line, arrived) = match lines.next().await {
            Ok(line) => line,
            Err(reason) => break reason,
        };
        if let Some(tap) = &tap {
            tap.0(Direction::Received, arrived, line);
        }
        if let Err(beyond) = take(line, arrived, &shared, &notices) {
            break beyond.to_string();
        }
        // What a socket holds of events comes at once when we were held up; on one thread, nobody could take any in between.
        if shared.waiting.is_much() {
            tokio::task::yield_now().await;
        }
    };
    let said = way.and_then(|way| way.upgrade()).map(|tunnel| tunnel.said()).unwrap_or_default();
    shared.end(reason + &said);
}

/// Gives a line to whom it is meant for.
fn take(
    line: &[u8],
    arrived: Stamp,
    shared: &Shared,
    notices: &mpsc::UnboundedSender<Weighed>,
) -> std::result::Result<(), Beyond> {
    let values = bounds::values_of(line)?;
    match wire::classify(line, arrived) {
        Line::Reply { id, reply } => {
            let waiter = shared.lock().pending.remove(&id);
            // No waiter: a late reply to a call that was given up, or an id that we never sent. Neither is ours to judge.
            if let Some(waiter) = waiter {
                let _ = waiter.send(reply);
            }
        }
        // Nobody listens any more.
        Line::Notice(_) if notices.is_closed() => {}
        Line::Notice(notice) => {
            let weight = bounds::weight(&notice, line, values);
            shared.waiting.add(weight)?;
            let _ = notices.send(Weighed(notice, weight));
        }
        Line::Greeting(_) => {}
    }
    Ok(())
}

async fn write_task(
    mut writer: Writer,
    mut urgent: mpsc::Receiver<Job>,
    mut background: mpsc::Receiver<Job>,
    shared: Shared,
    tap: Option<Tap>,
    oob: bool,
) {
    // The background request that is on its way; the next one waits for its answer.
    let mut on_its_way: Option<oneshot::Receiver<Reply>> = None;
    loop {
        let (job, was_background) = tokio::select! {
            biased;
            () = shared.ended.notified() => break,
            job = urgent.recv() => (job, false),
            job = background.recv(), if on_its_way.is_none() => (job, true),
            () = answered(&mut on_its_way), if on_its_way.is_some() => continue,
        };
        let Some(Job { request, fd, answer }) = job else { break };
        let answer = if was_background {
            let (relay, received) = oneshot::channel();
            on_its_way = Some(received);
            let (forward, result) = oneshot::channel();
            tokio::spawn(async move {
                if let Ok(reply) = result.await {
                    let _ = answer.send(reply);
                }
                drop(relay);
            });
            forward
        } else {
            answer
        };
        let id = {
            let mut state = shared.lock();
            if state.end.is_some() {
                break;
            }
            state.register(answer)
        };
        let bytes = request.encode(Some(id), oob);
        if let Some(tap) = &tap {
            tap.0(Direction::Sent, Stamp::now(), &bytes);
        }
        if let Err(error) = writer.send(&bytes, fd).await {
            shared.end(format!("writing to it failed: {error}"));
            break;
        }
    }
}

/// Resolves when the background request has been answered or can no longer be.
async fn answered(on_its_way: &mut Option<oneshot::Receiver<Reply>>) {
    if let Some(receiver) = on_its_way {
        let _ = receiver.await;
    }
    *on_its_way = None;
}

/// The reading half of a TCP connection, acknowledging at once. QEMU leaves Nagle's algorithm on, so an event waits until what was
/// sent before it is acknowledged, which the kernel delays by up to 40 ms: too late to act on, and out of order between two QEMUs.
struct QuickAck(tcp::OwnedReadHalf);

impl AsyncRead for QuickAck {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let half = &mut self.get_mut().0;
        let polled = Pin::new(&mut *half).poll_read(context, buffer);
        if polled.is_ready() {
            // The kernel forgets it by and by, so it is set again. Where it cannot be, events are late and nothing else.
            let _ = half.as_ref().set_quickack(true);
        }
        polled
    }
}

/// Splits what arrives into lines. The stamp is that of the read that completed the line.
struct Lines {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    buffer: Vec<u8>,
    /// So many bytes at its beginning were handed out as a line.
    handed_out: usize,
    searched: usize,
    arrived: Stamp,
}

impl Lines {
    /// The next line without its end, and when it had arrived; or why there is none. Empty lines are passed over.
    async fn next(&mut self) -> std::result::Result<(&[u8], Stamp), String> {
        let (from, to) = loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
                let (from, to) = (self.handed_out, self.searched + at);
                (self.handed_out, self.searched) = (to + 1, to + 1);
                if self.buffer[from..to].trim_ascii_end().is_empty() {
                    continue;
                }
                break (from, to);
            }
            // Only where there is no whole line any more, so that many short ones are not moved one by one.
            self.buffer.drain(..self.handed_out);
            self.handed_out = 0;
            self.searched = self.buffer.len();
            if self.searched > LONGEST_LINE {
                return Err(Beyond::Length.to_string());
            }
            self.make_room();
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) => return Err("QEMU closed it (has the process ended?)".to_owned()),
                Ok(_) => self.arrived = Stamp::now(),
                Err(error) => return Err(format!("reading from it failed: {error}")),
            }
        };
        Ok((self.buffer[from..to].trim_ascii_end(), self.arrived))
    }

    /// For one more read. No more than that, so that a long line takes what it has and not twice as much; and what the last long one took is given back.
    fn make_room(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * READ_AT_ONCE {
            self.buffer = Vec::new();
        }
        self.buffer.reserve_exact(READ_AT_ONCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_short_and_skip_the_ones_that_wait() {
        let mut state = State::default();
        let mut ids = Vec::new();
        for _ in 0..250 {
            let id = state.register(oneshot::channel().0);
            if id != 5 {
                state.pending.remove(&id);
            }
            ids.push(id);
        }
        assert!(ids.iter().all(|id| *id < 100));
        assert_eq!(ids.iter().filter(|id| **id == 5).count(), 1);
    }

    #[test]
    fn a_hundred_unanswered_requests_do_not_collide() {
        let mut state = State::default();
        let ids: std::collections::HashSet<u32> = (0..300).map(|_| state.register(oneshot::channel().0)).collect();
        assert_eq!(ids.len(), 300);
    }
}

//! A QMP server that does what a test tells it, step by step. It speaks as QEMU does: replies and
//! events end with `\r\n`, and a command is over at its closing brace.

use qmp::{Endpoint, Notices, Session};
use serde_json::{Value, json};
use std::io;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// For what must not take long; no test waits for it to pass.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// What does not come in this time is missing. Longer than anything that a test with a stopped
/// clock skips over.
const HANGS: Duration = Duration::from_secs(60);

pub(super) const GREETING: &str = concat!(
    r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "#,
    r#""package": "scripted"}, "capabilities": ["oob"]}}"#
);
pub(super) const GREETING_WITHOUT_OOB: &str = concat!(
    r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 6}, "#,
    r#""package": ""}, "capabilities": []}}"#
);

/// A socket to connect to.
pub(super) struct Server {
    pub(super) endpoint: Endpoint,
    pub(super) listener: UnixListener,
    _directory: TempDir,
}

impl Server {
    pub(super) fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        Server { endpoint: Endpoint::Unix(path), listener, _directory: directory }
    }

    pub(super) async fn accept(&self) -> Peer {
        Peer::new(self.listener.accept().await.unwrap().0)
    }

    async fn accept_and_greet(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.negotiate(GREETING).await;
        peer
    }

    /// Closes a connection; the next one.
    pub(super) async fn accept_after(&self, closed: Peer) -> Peer {
        drop(closed);
        self.accept_and_greet().await
    }
}

/// A command that the server has received.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) arguments: Value,
    pub(super) id: Value,
    /// Sent as `exec-oob`.
    pub(super) out_of_band: bool,
    /// As it was on the wire.
    pub(super) text: String,
}

/// The server's end of one connection.
pub(super) struct Peer<S = UnixStream> {
    pub(super) stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(super) fn new(stream: S) -> Peer<S> {
        Peer { stream, buffer: Vec::new() }
    }

    /// Bytes as they are.
    pub(super) async fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One line.
    pub(super) async fn line(&mut self, line: &str) {
        self.raw(format!("{line}\r\n")).await;
    }

    pub(super) async fn event(&mut self, name: &str, data: Value) {
        let timestamp = json!({"seconds": 1, "microseconds": 2});
        self.line(&json!({"timestamp": timestamp, "event": name, "data": data}).to_string()).await;
    }

    /// A MIGRATION event.
    pub(super) async fn status(&mut self, status: &str) {
        self.event("MIGRATION", json!({"status": status})).await;
    }

    pub(super) async fn answer(&mut self, asked: &Asked, value: Value) {
        self.line(&json!({"return": value, "id": asked.id}).to_string()).await;
    }

    pub(super) async fn refuse(&mut self, asked: &Asked, class: &str, description: &str) {
        self.line(
            &json!({"error": {"class": class, "desc": description}, "id": asked.id}).to_string(),
        )
        .await;
    }

    /// Greets and answers the negotiation.
    pub(super) async fn negotiate(&mut self, greeting: &str) -> Asked {
        self.line(greeting).await;
        let asked = self.expect("qmp_capabilities").await;
        self.answer(&asked, json!({})).await;
        asked
    }

    /// The next command; `None` when the client has closed.
    pub(super) async fn next(&mut self) -> Option<Asked> {
        loop {
            let mut values =
                serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Value>();
            if let Some(Ok(value)) = values.next() {
                let text: Vec<u8> = self.buffer.drain(..values.byte_offset()).collect();
                return Some(asked(&value, text));
            }
            let read = timeout(HANGS, self.stream.read_buf(&mut self.buffer)).await;
            if read.expect("no command comes").unwrap() == 0 {
                assert_eq!(self.buffer, b"", "the client closed in the middle of a command");
                return None;
            }
        }
    }

    /// The next command, which must be this one.
    pub(super) async fn expect(&mut self, name: &str) -> Asked {
        let asked = self.next().await.unwrap_or_else(|| panic!("closed instead of {name}"));
        assert_eq!(asked.name, name, "{asked:?}");
        asked
    }

    /// The connection ends, without another command.
    pub(super) async fn expect_end(&mut self) {
        let asked = self.next().await;
        assert!(asked.is_none(), "{asked:?}");
    }

    /// Answers what is in the table until `name` is asked, and leaves everything else unanswered.
    pub(super) async fn serve_until(&mut self, name: &str, answers: &[(&str, Value)]) -> Asked {
        loop {
            let asked = self.next().await.unwrap_or_else(|| panic!("closed instead of {name}"));
            if asked.name == name {
                return asked;
            }
            if let Some((_, value)) = answers.iter().find(|(name, _)| *name == asked.name) {
                self.answer(&asked, value.clone()).await;
            }
        }
    }

    /// As `serve_until`, to the end of the connection.
    pub(super) async fn serve(&mut self, answers: &[(&str, Value)]) {
        while let Some(asked) = self.next().await {
            if let Some((_, value)) = answers.iter().find(|(name, _)| *name == asked.name) {
                self.answer(&asked, value.clone()).await;
            }
        }
    }
}

impl Peer<UnixStream> {
    /// Reads once, taking descriptors along that were sent with the bytes; gives their numbers.
    pub(super) async fn read_with_fds(&mut self) -> Vec<i32> {
        use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
        use std::os::fd::AsRawFd;
        let fd = self.stream.as_raw_fd();
        let mut bytes = [0; 4096];
        let receive = || {
            let mut space = nix::cmsg_space!([i32; 4]);
            let mut parts = [io::IoSliceMut::new(&mut bytes)];
            let message = recvmsg::<()>(fd, &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
            let mut fds = Vec::new();
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(received) = control {
                    fds.extend(received);
                }
            }
            Ok((message.bytes, fds))
        };
        let (length, fds) =
            self.stream.async_io(tokio::io::Interest::READABLE, receive).await.unwrap();
        self.buffer.extend_from_slice(&bytes[..length]);
        fds
    }
}

fn asked(value: &Value, text: Vec<u8>) -> Asked {
    let (verb, out_of_band) =
        if value["exec-oob"].is_null() { ("execute", false) } else { ("exec-oob", true) };
    Asked {
        name: value[verb].as_str().unwrap().to_owned(),
        arguments: value["arguments"].clone(),
        id: value["id"].clone(),
        out_of_band,
        text: String::from_utf8(text).unwrap(),
    }
}

/// A session and the server's end of it.
pub(super) async fn connected() -> (Session, Notices, Peer) {
    served().await.1
}

/// With the server, to connect to it again.
pub(super) async fn served() -> (Server, (Session, Notices, Peer)) {
    let server = Server::start();
    let (session, peer) = tokio::join!(
        Session::connect("source", &server.endpoint, None, DEADLINE),
        server.accept_and_greet()
    );
    let (session, notices) = session.unwrap();
    (server, (session, notices, peer))
}

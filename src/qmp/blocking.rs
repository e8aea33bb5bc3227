//! The same wire for a thread that does nothing but ask one question again and again.
//!
//! Sampling flat out is bound by QEMU's own 105 µs a query (docs/qemu-notes.md, "The monitor"), so
//! what we add must be next to nothing: one blocking thread, one write and one read a sample, and
//! the next query leaves before the last answer is looked at.

use super::limits::{LimitExceeded, MAX_SAMPLE_BYTES};
use super::tunnel::{self, Tunnel};
use super::wire::{self, Line};
use super::{Endpoint, QmpError, Result};
use base::clock::{Stamp, monotonic_ns};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A QMP connection for one thread, without ids: one request, one answer.
#[derive(Debug)]
pub struct BlockingSession {
    stream: Stream,
    buffer: Vec<u8>,
    /// Where the line handed out last ends in `buffer`.
    consumed: usize,
    filled: usize,
    searched: usize,
    /// Held for its drop, which comes after that of the stream.
    _tunnel: Option<Tunnel>,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_read_timeout(Some(timeout)),
            Stream::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }
}

impl BlockingSession {
    /// Connects and negotiates, without out-of-band execution.
    ///
    /// # Errors
    /// As `Session::connect`.
    pub fn connect(side: &str, endpoint: &Endpoint, deadline: Duration) -> Result<BlockingSession> {
        let open = || -> io::Result<(Stream, Option<Tunnel>)> {
            let stream = match endpoint {
                Endpoint::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
                Endpoint::Tcp { host, port } => {
                    let address = (host.as_str(), *port)
                        .to_socket_addrs()?
                        .next()
                        .ok_or(io::ErrorKind::AddrNotAvailable)?;
                    let stream = TcpStream::connect_timeout(&address, deadline)?;
                    stream.set_nodelay(true)?;
                    Stream::Tcp(stream)
                }
                Endpoint::Ssh(remote) => {
                    let tunnel = Tunnel::start(remote)?;
                    return Ok((Stream::Unix(through(&tunnel)?), Some(tunnel)));
                }
            };
            Ok((stream, None))
        };
        let (stream, tunnel) = open().map_err(|source| QmpError::Connect {
            side: side.to_owned(),
            endpoint: endpoint.clone(),
            hint: "",
            source,
        })?;
        Ok(BlockingSession {
            _tunnel: tunnel,
            ..BlockingSession::negotiate(side, endpoint, stream, deadline)?
        })
    }

    /// Negotiates on a connection that a QEMU made to us.
    ///
    /// # Errors
    /// As `Session::connect`.
    pub fn over_unix(
        side: &str,
        endpoint: &Endpoint,
        stream: UnixStream,
        deadline: Duration,
    ) -> Result<BlockingSession> {
        let failed = |source| QmpError::Connect {
            side: side.to_owned(),
            endpoint: endpoint.clone(),
            hint: "",
            source,
        };
        stream.set_nonblocking(false).map_err(failed)?;
        BlockingSession::negotiate(side, endpoint, Stream::Unix(stream), deadline)
    }

    fn negotiate(
        side: &str,
        endpoint: &Endpoint,
        stream: Stream,
        deadline: Duration,
    ) -> Result<BlockingSession> {
        let failed = |source| QmpError::Connect {
            side: side.to_owned(),
            endpoint: endpoint.clone(),
            hint: " (while negotiating)",
            source,
        };
        stream.set_timeout(deadline).map_err(failed)?;
        let mut connection = BlockingSession {
            stream,
            buffer: vec![0; 64 << 10],
            consumed: 0,
            filled: 0,
            searched: 0,
            _tunnel: None,
        };
        let (line, arrived) = connection.read_line().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => QmpError::NoGreeting {
                side: side.to_owned(),
                endpoint: endpoint.clone(),
                after: deadline,
            },
            _ => failed(error),
        })?;
        if !matches!(wire::classify(line, arrived), Line::Greeting(_)) {
            let got = String::from_utf8_lossy(line).chars().take(60).collect();
            return Err(QmpError::NotQmp {
                side: side.to_owned(),
                endpoint: endpoint.clone(),
                got,
            });
        }
        connection.send(br#"{"execute":"qmp_capabilities"}"#).map_err(failed)?;
        while !is_answer(connection.read_line().map_err(failed)?.0) {}
        Ok(connection)
    }

    /// Sends the bytes of one command; gives the monotonic time just before.
    ///
    /// # Errors
    /// What the socket gives.
    pub fn send(&mut self, command: &[u8]) -> io::Result<u64> {
        let sent = monotonic_ns();
        match &mut self.stream {
            Stream::Unix(stream) => stream.write_all(command)?,
            Stream::Tcp(stream) => stream.write_all(command)?,
        }
        Ok(sent)
    }

    /// The next line, without its end, and when the read that completed it returned. Answers and
    /// events come in QEMU's order.
    ///
    /// # Errors
    /// `WouldBlock` when the deadline given at the start passes without a byte, `UnexpectedEof`
    /// when the connection ended.
    pub fn read_line(&mut self) -> io::Result<(&[u8], Stamp)> {
        let mut arrived = None;
        self.buffer.copy_within(self.consumed..self.filled, 0);
        self.filled -= self.consumed;
        self.consumed = 0;
        self.searched = 0;
        loop {
            if let Some(at) =
                self.buffer[self.searched..self.filled].iter().position(|b| *b == b'\n')
            {
                let end = self.searched + at;
                self.consumed = end + 1;
                let line = self.buffer[..end].trim_ascii_end();
                return Ok((line, arrived.unwrap_or_else(Stamp::now)));
            }
            self.searched = self.filled;
            if self.filled == self.buffer.len() {
                if self.filled >= MAX_SAMPLE_BYTES {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        LimitExceeded::SampleLength.to_string(),
                    ));
                }
                self.buffer.resize(self.filled * 2, 0);
            }
            let room = &mut self.buffer[self.filled..];
            let read = match &mut self.stream {
                Stream::Unix(stream) => stream.read(room),
                Stream::Tcp(stream) => stream.read(room),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.filled += n;
                    arrived = Some(Stamp::now());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn through(tunnel: &Tunnel) -> io::Result<UnixStream> {
    for _ in 0..tunnel::MAX_POLLS {
        if let Some(stream) = tunnel.try_connect()? {
            return Ok(stream);
        }
        std::thread::park_timeout(tunnel::POLL_INTERVAL);
    }
    Err(tunnel.timeout_error())
}

/// The number in a line that is a MIGRATION_PASS event. Looks before it parses: most lines are not.
pub fn pass_of(line: &[u8], arrived: Stamp) -> Option<u64> {
    if !line.windows(16).any(|part| part == b"\"MIGRATION_PASS\"") {
        return None;
    }
    match wire::classify(line, arrived) {
        Line::Notice(super::Notice::Event(event)) => event.data.get("pass")?.as_u64(),
        _ => None,
    }
}

/// Whether a line answers a command: QEMU writes the answer's members in a fixed order, events
/// begin with their timestamp.
pub fn is_answer(line: &[u8]) -> bool {
    line.starts_with(b"{\"return\"") || line.starts_with(b"{\"error\"")
}

//! The socket of a session: made at an endpoint, split, and written to, with descriptors where it
//! can carry them.
//!
//! Takes an [`Endpoint`]; gives a stream, or an error that says what to do. Knows nothing of QMP.

use super::lines::QuickAck;
use super::tunnel::{self, Tunnel};
use super::{Endpoint, QmpError};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::{AsyncRead, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Where requests go.
pub(super) enum Writer {
    Unix(unix::OwnedWriteHalf),
    Tcp(tcp::OwnedWriteHalf),
}

impl Stream {
    pub(super) fn split(self) -> (Box<dyn AsyncRead + Send + Unpin>, Writer) {
        match self {
            Stream::Unix(stream) => {
                let (read, write) = stream.into_split();
                (Box::new(read), Writer::Unix(write))
            }
            Stream::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (Box::new(QuickAck(read)), Writer::Tcp(write))
            }
        }
    }
}

impl Writer {
    pub(super) async fn send(&mut self, bytes: &[u8], fd: Option<OwnedFd>) -> io::Result<()> {
        match (self, fd) {
            (Writer::Tcp(half), _) => half.write_all(bytes).await,
            (Writer::Unix(half), None) => half.write_all(bytes).await,
            (Writer::Unix(half), Some(fd)) => {
                // QEMU takes descriptors from any recvmsg before the command completes, so they
                // travel with its first byte (tcp_chr_recv in chardev/char-socket.c).
                let stream: &UnixStream = half.as_ref();
                let (first, rest) = bytes.split_at(bytes.len().min(1));
                stream
                    .async_io(Interest::WRITABLE, || {
                        let fds = [fd.as_raw_fd()];
                        let message = [ControlMessage::ScmRights(&fds)];
                        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                        sendmsg::<UnixAddr>(
                            stream.as_raw_fd(),
                            &[IoSlice::new(first)],
                            &message,
                            flags,
                            None,
                        )?;
                        Ok(())
                    })
                    .await?;
                half.write_all(rest).await
            }
        }
    }
}

pub(super) async fn open(endpoint: &Endpoint) -> io::Result<(Stream, Option<Tunnel>)> {
    match endpoint {
        Endpoint::Unix(path) => Ok((Stream::Unix(UnixStream::connect(path).await?), None)),
        Endpoint::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok((Stream::Tcp(stream), None))
        }
        Endpoint::Ssh(remote) => {
            let tunnel = Tunnel::start(remote)?;
            for _ in 0..tunnel::MAX_POLLS {
                if let Some(stream) = tunnel.try_connect()? {
                    stream.set_nonblocking(true)?;
                    return Ok((Stream::Unix(UnixStream::from_std(stream)?), Some(tunnel)));
                }
                tokio::time::sleep(tunnel::POLL_INTERVAL).await;
            }
            Err(tunnel.timeout_error())
        }
    }
}

pub(super) fn connect_error(side: &str, endpoint: &Endpoint, source: io::Error) -> QmpError {
    let hint = match source.kind() {
        _ if matches!(endpoint, Endpoint::Ssh(_)) => {
            ". `ssh HOST true` must work without a question, and QEMU's socket be there for that user"
        }
        io::ErrorKind::NotFound => {
            ". There is no such socket: is QEMU running, with `-qmp unix:PATH,server=on,wait=off`?"
        }
        io::ErrorKind::ConnectionRefused => {
            ". Nothing listens there (a plain file, or the socket of a QEMU that is gone); start QEMU with `-qmp ...,server=on,wait=off`"
        }
        io::ErrorKind::PermissionDenied => ". Run as the user that owns the socket",
        io::ErrorKind::WouldBlock => {
            ". Its queue is full: other clients hold it and wait for it; QMP serves one client a socket"
        }
        _ => "",
    };
    QmpError::Connect { side: side.to_owned(), endpoint: endpoint.clone(), hint, source }
}

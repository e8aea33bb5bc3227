//! Opens sockets for the migration stream and sets options that QEMU does not set.
//!
//! This module knows addresses and socket options, but nothing about QEMU or migration.

use base::units::Bytes;
use nix::sys::socket::{SetSockOpt, setsockopt, sockopt};
use nix::{setsockopt_impl, sockopt_impl};
use scenario::Socket as Options;
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of `TCP_NOTSENT_LOWAT`. By default the kernel accepts megabytes from a socket before it
/// sends them, and everything behind them waits: the end of the device state, and each page that
/// post-copy requests. Over 32 MiB/s this limit reduces the delay from 40 ms to 12 ms
/// (docs/explanation/link.md) and does not reduce the throughput.
const DEFAULT_NOTSENT_LOWAT: Bytes = Bytes(128 << 10);
/// Length of the listen queue. multifd opens many connections at once.
const LISTEN_BACKLOG: i32 = 256;

sockopt_impl!(
    /// `SO_MAX_PACING_RATE`, in bytes per second.
    MaxPacingRate,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_MAX_PACING_RATE,
    u32
);

sockopt_impl!(
    /// `TCP_NOTSENT_LOWAT`, in bytes.
    NotSentLowat,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_NOTSENT_LOWAT,
    u32
);

/// An address to listen on or to connect to: `unix:PATH` or `tcp:HOST:PORT`, as in a migration URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The path of a unix socket.
    Unix(PathBuf),
    /// A TCP host and port; port 0 lets the kernel choose one.
    Tcp(String, u16),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let address = match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Some(Address::Unix(path.into())),
            Some(("tcp", address)) => address.rsplit_once(':').and_then(|(host, port)| {
                let host =
                    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                Some(Address::Tcp(host.to_owned(), port.parse().ok()?)).filter(|_| !host.is_empty())
            }),
            _ => None,
        };
        address
            .ok_or_else(|| format!("`{text}` is not an address; write unix:PATH or tcp:HOST:PORT"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(host, port) if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "tcp:{host}:{port}"),
        }
    }
}

impl Address {
    /// Listens on this address. Returns the socket and the address with the port that was bound.
    ///
    /// # Errors
    /// The system's error if the address cannot be resolved, bound or listened on.
    pub fn listen(&self) -> io::Result<(Socket, Address)> {
        match self {
            Address::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.bind(&SockAddr::unix(path)?)?;
                socket.listen(LISTEN_BACKLOG)?;
                Ok((socket, self.clone()))
            }
            Address::Tcp(host, port) => {
                let address = resolve(host, *port)?;
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                socket.set_reuse_address(true)?;
                socket.bind(&address.into())?;
                socket.listen(LISTEN_BACKLOG)?;
                let port = socket.local_addr()?.as_socket().map_or(*port, |address| address.port());
                Ok((socket, Address::Tcp(host.clone(), port)))
            }
        }
    }

    /// Connects to this address and sets `options` on the socket.
    ///
    /// # Errors
    /// The system's error if the connection is not made within 10 s or an option is refused.
    pub fn connect(&self, options: &Options) -> io::Result<Socket> {
        match self {
            Address::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.connect(&SockAddr::unix(path)?)?;
                Ok(socket)
            }
            Address::Tcp(host, port) => {
                let address = resolve(host, *port)?;
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                // Set before connecting: the window offered in the handshake depends on the
                // buffers.
                apply_options(&socket, options)?;
                socket.connect_timeout(&address.into(), CONNECT_TIMEOUT)?;
                Ok(socket)
            }
        }
    }
}

fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    (host, port).to_socket_addrs()?.next().ok_or_else(none)
}

/// Creates a TCP connection over loopback and returns its two ends.
///
/// # Errors
/// The system's error if there is no loopback interface or an option is refused.
pub fn tcp_pair(options: &Options) -> io::Result<[OwnedFd; 2]> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Accepted sockets take their buffers from the listener.
    apply_options(&listener, options)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(1)?;
    let port = listener.local_addr()?.as_socket().map_or(0, |address| address.port());
    let here = Address::Tcp(Ipv4Addr::LOCALHOST.to_string(), port).connect(options)?;
    let ours = here.local_addr()?.as_socket();
    loop {
        let (there, peer) = listener.accept()?;
        // Any user of this host can connect to the port; accept only our own connection.
        if peer.as_socket() == ours {
            apply_options(&there, options)?;
            return Ok([here.into(), there.into()]);
        }
    }
}

/// Creates a pair of connected unix sockets.
///
/// # Errors
/// The system's error if this process cannot open more descriptors.
pub fn unix_pair() -> io::Result<[OwnedFd; 2]> {
    let (here, there) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    Ok([here.into(), there.into()])
}

/// Sets the requested options, a limit of unsent bytes, and always TCP_NODELAY.
///
/// QEMU leaves Nagle's algorithm on for the main channel, so the last partial segment of the device
/// state waits for the receiver's delayed acknowledgement, which takes about 40 ms.
///
/// # Errors
/// The system's error, with the scenario key of the option that was refused.
pub fn apply_options(socket: &Socket, options: &Options) -> io::Result<()> {
    let failed = |key: &'static str| {
        move |error: io::Error| io::Error::new(error.kind(), format!("{key}: {error}"))
    };
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(size(bytes.0)).map_err(failed("socket.send_buffer"))?;
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(size(bytes.0)).map_err(failed("socket.receive_buffer"))?;
    }
    if let Some(name) = &options.congestion {
        let name = std::ffi::OsString::from(name);
        setsockopt(socket, sockopt::TcpCongestion, &name).map_err(|error| {
            let known =
                std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")
                    .unwrap_or_default();
            let known = known.split_whitespace().collect::<Vec<_>>().join(", ");
            let text = format!(
                "socket.congestion: this kernel has no congestion control `{}` ({error}); it has {known}",
                name.to_string_lossy()
            );
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
    }
    if let Some(rate) = options.pacing {
        // The kernel reads the largest number as "no limit".
        let rate = u32::try_from(rate.0).unwrap_or(u32::MAX);
        MaxPacingRate
            .set(socket, &rate)
            .map_err(io::Error::from)
            .map_err(failed("socket.pacing"))?;
    }
    let not_sent =
        u32::try_from(options.notsent_lowat.unwrap_or(DEFAULT_NOTSENT_LOWAT).0).unwrap_or(u32::MAX);
    NotSentLowat
        .set(socket, &not_sent)
        .map_err(io::Error::from)
        .map_err(failed("socket.notsent_lowat"))?;
    if let Some(after) = options.keep_alive {
        let keep_alive = TcpKeepalive::new()
            .with_time(after.duration())
            .with_interval(after.duration() / 3)
            .with_retries(3);
        socket.set_tcp_keepalive(&keep_alive).map_err(failed("socket.keep_alive"))?;
    }
    Ok(())
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::{Micros, Rate};

    #[test]
    fn kernel_reports_the_options_that_were_set() {
        let options = Options {
            send_buffer: Some(Bytes(100_000)),
            receive_buffer: Some(Bytes(50_000)),
            congestion: Some("reno".into()),
            pacing: Some(Rate(1_000_000)),
            notsent_lowat: Some(Bytes(65_536)),
            keep_alive: Some(Micros(9_000_000)),
        };
        for end in tcp_pair(&options).unwrap() {
            let end = Socket::from(end);
            assert!(end.tcp_nodelay().unwrap() && end.keepalive().unwrap());
            assert_eq!(end.send_buffer_size().unwrap(), 200_000, "the kernel doubles it");
            assert_eq!(end.recv_buffer_size().unwrap(), 100_000);
            assert!(end.tcp_congestion().unwrap().starts_with(b"reno"));
            assert_eq!(end.tcp_keepalive_interval().unwrap(), Duration::from_secs(3));
        }
    }

    #[test]
    fn names_an_unknown_congestion_control_and_the_known_ones() {
        let options = Options { congestion: Some("wishful".into()), ..Options::default() };
        let error = tcp_pair(&options).unwrap_err().to_string();
        assert!(error.contains("`wishful`") && error.contains("reno"), "{error}");
    }

    #[test]
    fn parses_and_prints_addresses() {
        for text in ["unix:/run/a", "tcp:localhost:0", "tcp:[::1]:4444"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "unix:", "tcp:1", "tcp::1", "fd:3", "/run/a"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}

//! Emulates a network link between sockets: rate, delay, jitter, window, buffer and outages. It
//! runs in user space and needs no privileges.
//!
//! A link forwards between pairs of connected sockets, or listens at an address and connects each
//! connection to another address. It reports its traffic over time. A connection delivers all bytes
//! in order, or it ends. The module does not depend on QEMU.
//!
//! | module | content |
//! |---|---|
//! | `shape` | delivery times (no input or output) |
//! | `outage` | times of outages (no input or output) |
//! | `flow` | traffic over time |
//! | `queue` | bytes in transit |
//! | `channel` | one connection |
//! | `emulator` | event loop over all connections |
//! | `unshaped` | forwarding without limits |
//! | `listener` | accepting connections |

mod channel;
mod emulator;
mod flow;
mod listener;
mod outage;
mod queue;
mod shape;
mod unshaped;

use base::clock::monotonic_ns;
use record::Flow;

use emulator::{Control, Emulator};
use flow::Meter;
pub use listener::LinkListener;
use migrate::sockets::Address;
use socket2::{Domain, Socket};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The link could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A thread or socket could not be created.
    #[error("cannot start the link")]
    Start {
        /// The error of the operating system.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen at {at}")]
    Listen {
        /// The address.
        at: Address,
        /// The error of the operating system.
        source: io::Error,
    },
    /// An outage depends on the state of a migration.
    #[error(
        "link.outages: at_state waits for a state of the source, which only `run` and `migrate` \
         know; use `at` or `after_bytes`"
    )]
    NoStates,
    /// Network namespaces require a lab.
    #[error(
        "link.kind = \"netns\" works only in a lab, whose QEMUs run in namespaces; use \
         link.kind = \"emulated\""
    )]
    NoNamespaces,
}

/// Checks that the link works without a lab and without a migration.
///
/// # Errors
/// [`LinkError::NoNamespaces`] or [`LinkError::NoStates`].
pub fn validate_standalone(config: &scenario::Link) -> Result<(), LinkError> {
    if config.kind == scenario::LinkKind::Netns {
        return Err(LinkError::NoNamespaces);
    }
    if config.outages.iter().any(|outage| outage.at_state.is_some()) {
        return Err(LinkError::NoStates);
    }
    Ok(())
}

/// Traffic in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Number of bytes delivered.
    pub bytes: u64,
    /// Maximum number of bytes that one connection had accepted but not delivered.
    pub max_held: u64,
}

/// Total traffic of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of connections.
    pub channels: u32,
    /// Traffic from source to destination.
    pub there: Passed,
    /// Traffic from destination to source.
    pub back: Passed,
}

/// A running link. It closes all its connections on drop.
#[derive(Debug)]
pub struct Link {
    shared: SharedLink,
    listeners: Vec<LinkListener>,
    worker: Worker,
}

/// State shared by the link and its handles.
#[derive(Clone, Debug)]
struct SharedLink(Arc<Mutex<LinkState>>);

/// Opens listeners for a link without owning it. The link must still run.
#[derive(Clone, Debug)]
pub struct LinkHandle(SharedLink);

impl LinkHandle {
    /// Like [`Link::serve`], but the listener closes when the returned value is dropped.
    ///
    /// # Errors
    /// If the address cannot be listened on, or an outage that breaks connections is in progress.
    pub fn serve(&self, at: &Address, to: Address) -> io::Result<(LinkListener, Address)> {
        if self.0.is_down() {
            return Err(io::Error::new(io::ErrorKind::NetworkUnreachable, "the link is down"));
        }
        LinkListener::open(at, to, self.0.clone())
    }
}

#[derive(Debug)]
enum LinkState {
    Shaped { control: Sender<Control>, wake: UnixStream, down_until_ns: Arc<AtomicU64> },
    Unshaped(Forwarders),
    Closed,
}

#[derive(Debug)]
enum Worker {
    Shaped(Option<JoinHandle<Totals>>),
    Unshaped,
}

/// Threads of a link without limits.
struct Forwarders {
    channels: u32,
    sockets: Vec<Arc<[Socket; 2]>>,
    threads: Vec<JoinHandle<()>>,
    passed: Arc<[AtomicU64; 2]>,
    report: unshaped::ReportFlows,
}

impl std::fmt::Debug for Forwarders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarders").field("channels", &self.channels).finish_non_exhaustive()
    }
}

impl Link {
    /// Starts a link. `report` receives the traffic several times a second and must not block.
    ///
    /// # Errors
    /// If a thread or socket cannot be created.
    pub fn start(
        config: &scenario::Link,
        report: impl Fn(Vec<Flow>) + Send + Sync + 'static,
    ) -> io::Result<Link> {
        if config.directions().iter().all(scenario::LinkDirection::is_open)
            && config.outages.is_empty()
        {
            let passed = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
            let state = LinkState::Unshaped(Forwarders {
                channels: 0,
                sockets: Vec::new(),
                threads: Vec::new(),
                passed,
                report: Arc::new(report),
            });
            return Ok(Link {
                shared: SharedLink(Arc::new(Mutex::new(state))),
                listeners: Vec::new(),
                worker: Worker::Unshaped,
            });
        }
        let (control, messages) = channel();
        let (wake, wakes) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        wakes.set_nonblocking(true)?;
        let emulator = Emulator::new(config, Box::new(report));
        let down_until_ns = emulator.down_until_ns();
        let thread = std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || emulator.run(&messages, wakes))?;
        let shared =
            SharedLink(Arc::new(Mutex::new(LinkState::Shaped { control, wake, down_until_ns })));
        Ok(Link { shared, listeners: Vec::new(), worker: Worker::Shaped(Some(thread)) })
    }

    /// Adds a connection: the socket to the source, and the socket to the destination.
    ///
    /// # Errors
    /// If a thread cannot be created.
    pub fn join(&self, sockets: [OwnedFd; 2]) -> io::Result<()> {
        self.shared.join(sockets.map(Socket::from))
    }

    /// Listens at `at` and connects each accepted connection to `to`. Returns the address with the
    /// actual port.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn serve(&mut self, at: &Address, to: Address) -> io::Result<Address> {
        let (front, address) = LinkListener::open(at, to, self.shared.clone())?;
        self.listeners.push(front);
        Ok(address)
    }

    /// Returns a handle that opens listeners without owning the link.
    #[must_use]
    pub fn handle(&self) -> LinkHandle {
        LinkHandle(self.shared.clone())
    }

    /// Starts the clock of outages with `at`. The first accepted connection starts it otherwise.
    pub fn begin(&self) {
        self.shared.control(Control::Begin);
    }

    /// Returns a handle that receives the source's states, for outages with `at_state`.
    #[must_use]
    pub fn states(&self) -> StateReporter {
        StateReporter(self.shared.clone())
    }

    /// Stops the link and returns its total traffic.
    #[must_use]
    pub fn stop(mut self) -> Totals {
        self.end()
    }

    fn end(&mut self) -> Totals {
        self.listeners.clear();
        let state = std::mem::replace(&mut *self.shared.lock(), LinkState::Closed);
        match (&mut self.worker, state) {
            (Worker::Shaped(thread), LinkState::Shaped { control, mut wake, .. }) => {
                drop(control);
                let _ = wake.write(&[1]);
                thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
            }
            (Worker::Unshaped, LinkState::Unshaped(forwarders)) => forwarders.end(),
            _ => Totals::default(),
        }
    }
}

/// Reports the source's state to a link.
#[derive(Clone, Debug)]
pub struct StateReporter(SharedLink);

impl StateReporter {
    /// Reports that the source has entered `state`.
    pub fn report(&self, state: &str) {
        self.0.control(Control::State(state.to_owned()));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}

impl SharedLink {
    fn lock(&self) -> std::sync::MutexGuard<'_, LinkState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, sockets: [Socket; 2]) -> io::Result<()> {
        for socket in sockets.iter().filter(|socket| is_tcp(socket)) {
            socket.set_tcp_nodelay(true)?;
        }
        match &mut *self.lock() {
            LinkState::Unshaped(forwarders) => forwarders.join(sockets),
            state => {
                state.send(Control::Join(sockets));
                Ok(())
            }
        }
    }

    /// Returns whether an outage that breaks connections is in progress.
    fn is_down(&self) -> bool {
        match &*self.lock() {
            LinkState::Shaped { down_until_ns, .. } => {
                monotonic_ns() < down_until_ns.load(Ordering::Acquire)
            }
            LinkState::Unshaped(_) | LinkState::Closed => false,
        }
    }

    fn control(&self, message: Control) {
        self.lock().send(message);
    }
}

impl LinkState {
    fn send(&mut self, message: Control) {
        if let LinkState::Shaped { control, wake, .. } = self
            && control.send(message).is_ok()
        {
            // A failed write means that the socket is full, so the thread wakes anyway.
            let _ = wake.write(&[1]);
        }
    }
}

impl Forwarders {
    fn join(&mut self, sockets: [Socket; 2]) -> io::Result<()> {
        let sockets = Arc::new(sockets);
        for back in [false, true] {
            let (sockets, report, passed) =
                (sockets.clone(), self.report.clone(), self.passed.clone());
            let meter = Meter::new(self.channels, back);
            let forward = move || {
                let direction = usize::from(back);
                let bytes =
                    unshaped::forward(&sockets[direction], &sockets[1 - direction], meter, &report);
                passed[direction].fetch_add(bytes, Ordering::Relaxed);
            };
            self.threads.push(std::thread::Builder::new().name("link".to_owned()).spawn(forward)?);
        }
        self.channels += 1;
        self.sockets.push(sockets);
        Ok(())
    }

    fn end(self) -> Totals {
        for socket in self.sockets.iter().flat_map(|sockets| sockets.iter()) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
        let passed = |direction: usize| Passed {
            bytes: self.passed[direction].load(Ordering::Relaxed),
            max_held: 0,
        };
        Totals { channels: self.channels, there: passed(0), back: passed(1) }
    }
}

fn is_tcp(socket: &Socket) -> bool {
    socket.domain().is_ok_and(|domain| domain != Domain::UNIX)
}

/// Makes a TCP socket acknowledge immediately: a delayed acknowledgement (40 ms) would block a
/// sender that uses Nagle's algorithm and add a delay that was not requested. The kernel resets
/// this option after a while, so it is set after each read.
fn acknowledge(socket: &Socket) {
    let _ = socket.set_tcp_quickack(true);
}

//! A link between two stream ends: rate, delay, jitter, window, buffer, outages; in user space, with no privileges.
//!
//! Takes connected sockets, or an address to listen at and one to go on to; gives a link between them and what passed over time.
//! Knows nothing of QEMU. What is taken in comes out whole and in order, or the connection ends.
//!
//! Map: here the handle · `shape` when what passes (pure) · `outage` when what goes wrong (pure) · `flow` what passed, over time · `store`
//! bytes on their way · `channel` one connection · `emulator` the loop over all · `open` a link that shapes nothing · `front` connections that are let in.

mod channel;
mod emulator;
mod flow;
mod front;
mod open;
mod outage;
mod shape;
mod store;

use base::clock::monotonic_ns;
use record::Flow;

use emulator::{Control, Emulator};
use flow::Meter;
pub use front::Front;
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

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No thread, no sockets.
    #[error("the link cannot be started")]
    Start {
        /// Why.
        source: io::Error,
    },
    /// Nobody can listen there.
    #[error("cannot listen at {at}")]
    Listen {
        /// Where.
        at: Address,
        /// Why.
        source: io::Error,
    },
    /// It needs to know of a migration.
    #[error(
        "link.outages: at_state waits for a state of the source, which only `run` and `migrate` know; give `at` or `after_bytes`"
    )]
    NoStates,
    /// It needs a lab.
    #[error(
        "link.kind = \"netns\" puts a lab's QEMUs into namespaces; a link by itself is emulated"
    )]
    NoNamespaces,
}

/// Whether such a link can be had without a migration that it belongs to.
///
/// # Errors
/// What it would lack.
pub fn stands_alone(asked: &scenario::Link) -> Result<(), LinkError> {
    if asked.kind == scenario::LinkKind::Netns {
        return Err(LinkError::NoNamespaces);
    }
    if asked.outages.iter().any(|outage| outage.at_state.is_some()) {
        return Err(LinkError::NoStates);
    }
    Ok(())
}

/// What passed one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Bytes delivered.
    pub bytes: u64,
    /// The most that one channel had taken in and not delivered.
    pub most_held: u64,
}

/// What passed in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections.
    pub channels: u32,
    /// Source to destination.
    pub there: Passed,
    /// Destination to source.
    pub back: Passed,
}

/// A running link. Ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Link {
    entrance: Entrance,
    fronts: Vec<Front>,
    works: Works,
}

/// Where new connections go in.
#[derive(Clone, Debug)]
struct Entrance(Arc<Mutex<Inside>>);

/// Lets connections into a link that somebody else holds, as long as that lives.
#[derive(Clone, Debug)]
pub struct Door(Entrance);

impl Door {
    /// As [`Link::serve`]; the listener closes when the front is dropped.
    ///
    /// # Errors
    /// If nobody can listen there, or the link is broken now: no connection gets through such a one.
    pub fn serve(&self, at: &Address, to: Address) -> io::Result<(Front, Address)> {
        if self.0.is_down() {
            return Err(io::Error::new(io::ErrorKind::NetworkUnreachable, "the link is down"));
        }
        Front::open(at, to, self.0.clone())
    }
}

#[derive(Debug)]
enum Inside {
    Shaped { control: Sender<Control>, bell: UnixStream, down_until_ns: Arc<AtomicU64> },
    Open(Forwarders),
    Closed,
}

#[derive(Debug)]
enum Works {
    Shaped(Option<JoinHandle<Totals>>),
    Open,
}

/// The threads of an open link.
struct Forwarders {
    channels: u32,
    legs: Vec<Arc<[Socket; 2]>>,
    threads: Vec<JoinHandle<()>>,
    passed: Arc<[AtomicU64; 2]>,
    tell: open::Tell,
}

impl std::fmt::Debug for Forwarders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarders").field("channels", &self.channels).finish_non_exhaustive()
    }
}

impl Link {
    /// Starts a link as asked for. `tell` gets what passed, some times a second; it must not wait.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub fn start(
        asked: &scenario::Link,
        tell: impl Fn(Vec<Flow>) + Send + Sync + 'static,
    ) -> io::Result<Link> {
        if asked.directions().iter().all(scenario::LinkDirection::is_open)
            && asked.outages.is_empty()
        {
            let passed = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
            let inside = Inside::Open(Forwarders {
                channels: 0,
                legs: Vec::new(),
                threads: Vec::new(),
                passed,
                tell: Arc::new(tell),
            });
            return Ok(Link {
                entrance: Entrance(Arc::new(Mutex::new(inside))),
                fronts: Vec::new(),
                works: Works::Open,
            });
        }
        let (control, told) = channel();
        let (bell, rings) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rings.set_nonblocking(true)?;
        let emulator = Emulator::new(asked, Box::new(tell));
        let down_until_ns = emulator.down_until_ns();
        let thread = std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || emulator.run(&told, rings))?;
        let entrance =
            Entrance(Arc::new(Mutex::new(Inside::Shaped { control, bell, down_until_ns })));
        Ok(Link { entrance, fronts: Vec::new(), works: Works::Shaped(Some(thread)) })
    }

    /// A connection: the socket towards the source, the one towards the destination.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub fn join(&self, legs: [OwnedFd; 2]) -> io::Result<()> {
        self.entrance.join(legs.map(Socket::from))
    }

    /// Lets connections in at `at`, each of which goes on to `to`. Gives the address with the port that it got.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub fn serve(&mut self, at: &Address, to: Address) -> io::Result<Address> {
        let (front, address) = Front::open(at, to, self.entrance.clone())?;
        self.fronts.push(front);
        Ok(address)
    }

    /// A way to let connections in for whoever does not hold the link.
    #[must_use]
    pub fn door(&self) -> Door {
        Door(self.entrance.clone())
    }

    /// Now the times of outages begin to count; if nobody says so, when the first connection comes in at an address.
    pub fn begin(&self) {
        self.entrance.control(Control::Begin);
    }

    /// Whom to tell the source's states, for outages that wait for one.
    #[must_use]
    pub fn states(&self) -> States {
        States(self.entrance.clone())
    }

    /// Ends it: what passed.
    #[must_use]
    pub fn stop(mut self) -> Totals {
        self.end()
    }

    fn end(&mut self) -> Totals {
        self.fronts.clear();
        let inside = std::mem::replace(&mut *self.entrance.lock(), Inside::Closed);
        match (&mut self.works, inside) {
            (Works::Shaped(thread), Inside::Shaped { control, mut bell, .. }) => {
                drop(control);
                let _ = bell.write(&[1]);
                thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
            }
            (Works::Open, Inside::Open(forwarders)) => forwarders.end(),
            _ => Totals::default(),
        }
    }
}

/// Tells a link which state the source is in.
#[derive(Clone, Debug)]
pub struct States(Entrance);

impl States {
    /// The source is in this state.
    pub fn tell(&self, state: &str) {
        self.0.control(Control::State(state.to_owned()));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}

impl Entrance {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, legs: [Socket; 2]) -> io::Result<()> {
        for leg in legs.iter().filter(|leg| is_tcp(leg)) {
            leg.set_tcp_nodelay(true)?;
        }
        match &mut *self.lock() {
            Inside::Open(forwarders) => forwarders.join(legs),
            inside => {
                inside.tell(Control::Join(legs));
                Ok(())
            }
        }
    }

    /// Whether the link is broken now.
    fn is_down(&self) -> bool {
        match &*self.lock() {
            Inside::Shaped { down_until_ns, .. } => {
                monotonic_ns() < down_until_ns.load(Ordering::Acquire)
            }
            Inside::Open(_) | Inside::Closed => false,
        }
    }

    fn control(&self, message: Control) {
        self.lock().tell(message);
    }
}

impl Inside {
    fn tell(&mut self, message: Control) {
        if let Inside::Shaped { control, bell, .. } = self
            && control.send(message).is_ok()
        {
            // Full: then it rings already.
            let _ = bell.write(&[1]);
        }
    }
}

impl Forwarders {
    fn join(&mut self, legs: [Socket; 2]) -> io::Result<()> {
        let legs = Arc::new(legs);
        for back in [false, true] {
            let (legs, tell, passed) = (legs.clone(), self.tell.clone(), self.passed.clone());
            let meter = Meter::new(self.channels, back);
            let forward = move || {
                let direction = usize::from(back);
                let bytes = open::forward(&legs[direction], &legs[1 - direction], meter, &tell);
                passed[direction].fetch_add(bytes, Ordering::Relaxed);
            };
            self.threads.push(std::thread::Builder::new().name("link".to_owned()).spawn(forward)?);
        }
        self.channels += 1;
        self.legs.push(legs);
        Ok(())
    }

    fn end(self) -> Totals {
        for leg in self.legs.iter().flat_map(|legs| legs.iter()) {
            let _ = leg.shutdown(Shutdown::Both);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
        let passed = |direction: usize| Passed {
            bytes: self.passed[direction].load(Ordering::Relaxed),
            most_held: 0,
        };
        Totals { channels: self.channels, there: passed(0), back: passed(1) }
    }
}

fn is_tcp(leg: &Socket) -> bool {
    leg.domain().is_ok_and(|domain| domain != Domain::UNIX)
}

/// A TCP leg acknowledges at once: a delayed acknowledgement (40 ms) would hold up a sender with Nagle's algorithm on, and be a
/// delay of our own making. The kernel forgets this after a while, so it is said after each read.
fn acknowledge(leg: &Socket) {
    let _ = leg.set_tcp_quickack(true);
}

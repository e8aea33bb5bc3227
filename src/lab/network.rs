//! Two network namespaces with a veth pair between them: a link with the kernel's own TCP, for whoever is root.
//!
//! Takes the figures of a link; gives a namespace for each VM, sockets in them, and what passed. Everything goes when it is dropped,
//! and by the janitor when this process is killed.

use crate::link::{Passed, Totals};
use base::clock::monotonic_ns;
use migrate::sockets::Address;
use nix::sched::{CloneFlags, setns};
use record::Flow;
use scenario::{Link, LinkDirection, Socket as Options};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// RFC 2544's block for benchmarks between networks: nobody's real hosts.
const HOSTS: [&str; 2] = ["198.18.77.1", "198.18.77.2"];
const DEVICE: &str = "link0";
/// What passes within it is one figure.
const WATCH_EVERY: Duration = Duration::from_millis(10);
/// A burst of tbf must hold what goes out between two ticks of the kernel's timer, and a packet of 64 KiB.
const LEAST_BURST: u64 = 128 << 10;

/// Two namespaces.
#[derive(Clone, Debug)]
pub(super) struct Network(Arc<Names>);

#[derive(Debug)]
struct Names([String; 2]);

impl Drop for Names {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = run(&["ip", "netns", "del", name]);
        }
    }
}

/// Whether there can be such a link of namespaces here: makes it, and takes it away.
///
/// # Errors
/// What cannot be done, with the command's own word.
pub fn try_namespaces(link: &Link) -> io::Result<()> {
    Network::lay(link).map(drop)
}

impl Network {
    /// Makes it.
    ///
    /// # Errors
    /// What cannot be done, with the command's own word.
    pub(super) fn lay(link: &Link) -> io::Result<Network> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end: char| format!("switchover-{}-{number}{end}", std::process::id());
        let network = Network(Arc::new(Names([name('a'), name('b')])));
        let names = &network.0.0;
        for name in names {
            run(&["ip", "netns", "add", name])?;
            run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        }
        run(&[
            "ip", "-n", &names[0], "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE,
            "netns", &names[1],
        ])?;
        for ((name, host), way) in names.iter().zip(HOSTS).zip(link.directions()) {
            run(&["ip", "-n", name, "address", "add", &format!("{host}/30"), "dev", DEVICE])?;
            run(&["ip", "-n", name, "link", "set", DEVICE, "up"])?;
            shape(name, &way)?;
        }
        Ok(network)
    }

    /// Where VM `vm` runs.
    pub(super) fn name(&self, vm: u32) -> &str {
        &self.0.0[usize::from(vm % 2 == 1)]
    }

    /// Both, for the janitor.
    pub(super) fn names(&self) -> &[String; 2] {
        &self.0.0
    }

    /// From the namespace of VM `vm` to the other.
    pub(super) fn route(&self, vm: u32) -> Route {
        Route { network: self.clone(), source: vm }
    }
}

/// The way from one VM of a lab to the next, through namespaces.
#[derive(Clone, Debug)]
pub struct Route {
    network: Network,
    source: u32,
}

impl Route {
    /// Address of the destination.
    #[must_use]
    pub fn host(&self) -> &'static str {
        HOSTS[usize::from(self.source.is_multiple_of(2))]
    }

    /// Two ends of a TCP connection: in the source's namespace and in the destination's.
    ///
    /// # Errors
    /// If the namespaces are not there any more, or an option is not the kernel's.
    pub fn tcp_pair(&self, options: &Options) -> io::Result<[OwnedFd; 2]> {
        let at = Address::Tcp(self.host().to_owned(), 0);
        let (listener, address) = inside(self.network.name(self.source + 1), move || at.listen())?;
        let asked = options.clone();
        let here = inside(self.network.name(self.source), move || address.connect(&asked))?;
        let there = inside(self.network.name(self.source + 1), move || {
            listener.accept().map(|(socket, _)| socket)
        })?;
        migrate::sockets::apply_options(&there, options)?;
        Ok([here.into(), there.into()])
    }

    /// Tells what passes over the source's device, each 10 ms.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub fn watch(&self, tell: impl Fn(Vec<Flow>) + Send + 'static) -> io::Result<Watch> {
        let name = self.network.name(self.source).to_owned();
        // Before anything is sent, however long the thread takes to begin.
        let began = inside(&name, || {
            counters().ok_or_else(|| io::Error::other("the device has no counters"))
        })?;
        let (stop, stopped) = channel::<()>();
        let thread =
            std::thread::Builder::new().name("link-watch".to_owned()).spawn(move || {
                let mut totals = Totals { channels: 1, ..Totals::default() };
                if enter(&name).is_err() {
                    return totals;
                }
                let mut last = began;
                while stopped.recv_timeout(WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
                    let Some(now) = counters() else { break };
                    let at_ns = monotonic_ns().saturating_sub(10_000_000);
                    let flow =
                        |back: bool, bytes: u64| Flow { at_ns, channel: 0, back, bytes, held: 0 };
                    let flows = [flow(false, now[0] - last[0]), flow(true, now[1] - last[1])];
                    tell(flows.into_iter().filter(|flow| flow.bytes > 0).collect());
                    last = now;
                }
                let last = counters().unwrap_or(last);
                totals.there = Passed { bytes: last[0] - began[0], most_held: 0 };
                totals.back = Passed { bytes: last[1] - began[1], most_held: 0 };
                totals
            })?;
        Ok(Watch { stop, thread })
    }
}

/// Watches a device.
#[derive(Debug)]
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Totals>,
}

impl Watch {
    /// What passed since it began, with the headers of TCP and IP.
    #[must_use]
    pub fn stop(self) -> Totals {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

/// Bytes sent and received by the device, in the calling thread's namespace.
fn counters() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").ok()?;
    let line =
        text.lines().find_map(|line| line.trim_start().strip_prefix(DEVICE)?.strip_prefix(':'))?;
    let mut figures = line.split_whitespace().map(|figure| figure.parse().ok());
    let received = figures.next()??;
    Some([figures.nth(7)??, received])
}

/// Runs `work` on a thread of its own inside a namespace: a thread that has gone there does not come back.
fn inside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let name = name.to_owned();
    let thread = std::thread::spawn(move || enter(&name).and_then(|()| work()));
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace broke")))
}

fn enter(name: &str) -> io::Result<()> {
    let namespace = File::open(format!("/run/netns/{name}"))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

/// Shapes what leaves through the device.
fn shape(name: &str, way: &LinkDirection) -> io::Result<()> {
    let micros = |us: u64| format!("{us}us");
    let mut parent: &[&str] = &["root", "handle", "1:"];
    let delayed = way.delay.0 > 0 || way.jitter.0 > 0;
    if delayed {
        // Packets that wait for the delay to pass must all find room.
        let command = [
            "tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", "handle", "1:", "netem",
            "limit", "1000000", "delay",
        ];
        run(&[&command[..], &[&micros(way.delay.0), &micros(way.jitter.0)]].concat())?;
        parent = &["parent", "1:", "handle", "2:"];
    }
    if let Some(rate) = way.rate {
        let burst = (rate.0 / 250).max(LEAST_BURST);
        let (rate, burst, limit) =
            (format!("{}bit", rate.0 * 8), burst.to_string(), (way.buffer.0 + burst).to_string());
        let command = ["tc", "-n", name, "qdisc", "add", "dev", DEVICE];
        run(&[&command[..], parent, &["tbf", "rate", &rate, "burst", &burst, "limit", &limit]]
            .concat())?;
    }
    Ok(())
}

fn run(command: &[&str]) -> io::Result<()> {
    let [program, arguments @ ..] = command else { return Ok(()) };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output =
        output.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " / ");
    Err(io::Error::other(format!("`{}` said: {said}", command.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::{Micros, Rate};

    #[test]
    fn a_link_of_namespaces_carries_what_it_is_told_to() {
        let rate = Some(Rate(20 << 20));
        let figures = scenario::Figures { rate, ..Default::default() };
        let network = match Network::lay(&Link { figures, ..Link::default() }) {
            Ok(network) => network,
            Err(error) => {
                assert!(!nix::unistd::geteuid().is_root(), "root can make namespaces: {error}");
                eprintln!("skipped: {error}");
                return;
            }
        };
        let route = network.route(0);
        let watch = route.watch(|_| ()).unwrap();
        let [here, there] = route.tcp_pair(&Options::default()).unwrap();
        let writer = std::thread::spawn(move || {
            let mut here = File::from(here);
            io::Write::write_all(&mut here, &vec![7; 2 << 20]).unwrap();
        });
        let mut got = Vec::new();
        io::Read::read_to_end(&mut File::from(there), &mut got).unwrap();
        writer.join().unwrap();
        let passed = watch.stop();
        assert_eq!(got.len(), 2 << 20);
        assert!(passed.there.bytes >= 2 << 20 && passed.back.bytes > 0, "{passed:?}");
        let names = network.names().clone();
        drop((route, network));
        assert!(names.iter().all(|name| !std::path::Path::new("/run/netns").join(name).exists()));
    }

    #[test]
    fn a_delay_is_netems_and_a_kernel_without_it_says_so() {
        let figures = scenario::Figures { delay: Some(Micros(3000)), ..Default::default() };
        let network = match Network::lay(&Link { figures, ..Link::default() }) {
            Ok(network) => network,
            Err(error) if nix::unistd::geteuid().is_root() => {
                // This kernel has no netem: the user learns which command failed and why.
                let error = error.to_string();
                assert!(error.contains("netem") && error.contains("said"), "{error}");
                return;
            }
            Err(error) => {
                eprintln!("skipped: {error}");
                return;
            }
        };
        let [here, there] = network.route(0).tcp_pair(&Options::default()).unwrap();
        let began_ns = monotonic_ns();
        io::Write::write_all(&mut File::from(here), b"x").unwrap();
        io::Read::read_exact(&mut File::from(there), &mut [0]).unwrap();
        assert!(monotonic_ns() - began_ns >= 3_000_000);
    }
}

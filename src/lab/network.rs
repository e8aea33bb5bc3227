//! Two network namespaces connected by a veth pair: a link that uses the kernel's TCP. It needs
//! root.
//!
//! Each VM runs in one namespace. The module opens sockets in the namespaces and counts the
//! traffic. The namespaces are deleted on drop, and by the janitor process when this process is
//! killed.

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

/// Addresses from the block that RFC 2544 reserves for benchmarks, which no real host uses.
const HOSTS: [&str; 2] = ["198.18.77.1", "198.18.77.2"];
const DEVICE: &str = "link0";
/// Interval between two readings of the device's counters.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);
/// Minimum burst of the tbf qdisc in bytes: it must hold the bytes sent between two ticks of the
/// kernel's timer, and a packet of 64 KiB.
const MIN_BURST: u64 = 128 << 10;

/// Handle to the two namespaces, which are deleted with the last handle.
#[derive(Clone, Debug)]
pub(super) struct Network(Arc<Namespaces>);

#[derive(Debug)]
struct Namespaces([String; 2]);

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = run(&["ip", "netns", "del", name]);
        }
    }
}

/// Tests whether this machine supports such a link, by creating and deleting it.
///
/// # Errors
/// The command that failed and its error output.
pub fn try_namespaces(link: &Link) -> io::Result<()> {
    Network::create(link).map(drop)
}

impl Network {
    /// Creates the namespaces and the link between them.
    ///
    /// # Errors
    /// The command that failed and its error output.
    pub(super) fn create(link: &Link) -> io::Result<Network> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end: char| format!("switchover-{}-{number}{end}", std::process::id());
        let network = Network(Arc::new(Namespaces([name('a'), name('b')])));
        let names = &network.0.0;
        for name in names {
            run(&["ip", "netns", "add", name])?;
            run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        }
        run(&[
            "ip", "-n", &names[0], "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE,
            "netns", &names[1],
        ])?;
        for ((name, host), direction) in names.iter().zip(HOSTS).zip(link.directions()) {
            run(&["ip", "-n", name, "address", "add", &format!("{host}/30"), "dev", DEVICE])?;
            run(&["ip", "-n", name, "link", "set", DEVICE, "up"])?;
            apply_limits(name, &direction)?;
        }
        Ok(network)
    }

    /// Returns the namespace of VM `vm`.
    pub(super) fn name(&self, vm: u32) -> &str {
        &self.0.0[usize::from(vm % 2 == 1)]
    }

    /// Returns both namespaces, for the janitor.
    pub(super) fn names(&self) -> &[String; 2] {
        &self.0.0
    }

    /// Returns the route from the namespace of VM `vm` to the other namespace.
    pub(super) fn route(&self, vm: u32) -> Route {
        Route { network: self.clone(), source: vm }
    }
}

/// Network route from one VM of a lab to the next, through the namespaces.
#[derive(Clone, Debug)]
pub struct Route {
    network: Network,
    source: u32,
}

impl Route {
    /// Returns the IP address of the destination.
    #[must_use]
    pub fn host(&self) -> &'static str {
        HOSTS[usize::from(self.source.is_multiple_of(2))]
    }

    /// Opens a TCP connection and returns its ends: the one in the source's namespace, then the one
    /// in the destination's.
    ///
    /// # Errors
    /// If a namespace no longer exists, or the kernel refuses a socket option.
    pub fn tcp_pair(&self, options: &Options) -> io::Result<[OwnedFd; 2]> {
        let at = Address::Tcp(self.host().to_owned(), 0);
        let (listener, address) =
            run_in_namespace(self.network.name(self.source + 1), move || at.listen())?;
        let asked = options.clone();
        let here =
            run_in_namespace(self.network.name(self.source), move || address.connect(&asked))?;
        let there = run_in_namespace(self.network.name(self.source + 1), move || {
            listener.accept().map(|(socket, _)| socket)
        })?;
        migrate::sockets::apply_options(&there, options)?;
        Ok([here.into(), there.into()])
    }

    /// Counts the traffic of the source's network device and reports it every 10 ms.
    ///
    /// # Errors
    /// If the counters cannot be read, or no thread can be started.
    pub fn watch(&self, report: impl Fn(Vec<Flow>) + Send + 'static) -> io::Result<Watch> {
        let name = self.network.name(self.source).to_owned();
        // Read here, so that no traffic is missed while the thread starts.
        let began = run_in_namespace(&name, || {
            read_counters().ok_or_else(|| io::Error::other("the device has no counters"))
        })?;
        let (stop, stopped) = channel::<()>();
        let thread =
            std::thread::Builder::new().name("link-watch".to_owned()).spawn(move || {
                let mut totals = Totals { channels: 1, ..Totals::default() };
                if enter_namespace(&name).is_err() {
                    return totals;
                }
                let mut last = began;
                while stopped.recv_timeout(WATCH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    let Some(now) = read_counters() else { break };
                    let at_ns = monotonic_ns().saturating_sub(10_000_000);
                    let flow =
                        |back: bool, bytes: u64| Flow { at_ns, channel: 0, back, bytes, held: 0 };
                    let flows = [flow(false, now[0] - last[0]), flow(true, now[1] - last[1])];
                    report(flows.into_iter().filter(|flow| flow.bytes > 0).collect());
                    last = now;
                }
                let last = read_counters().unwrap_or(last);
                totals.there = Passed { bytes: last[0] - began[0], max_held: 0 };
                totals.back = Passed { bytes: last[1] - began[1], max_held: 0 };
                totals
            })?;
        Ok(Watch { stop, thread })
    }
}

/// Counts the traffic of a network device until it is stopped.
#[derive(Debug)]
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Totals>,
}

impl Watch {
    /// Stops counting and returns the totals, including TCP and IP headers.
    #[must_use]
    pub fn stop(self) -> Totals {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

/// Reads the bytes sent and received by the device in the calling thread's namespace.
fn read_counters() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").ok()?;
    let line =
        text.lines().find_map(|line| line.trim_start().strip_prefix(DEVICE)?.strip_prefix(':'))?;
    let mut figures = line.split_whitespace().map(|figure| figure.parse().ok());
    let received = figures.next()??;
    Some([figures.nth(7)??, received])
}

/// Runs `work` in a namespace, on a new thread: `setns` changes the thread permanently.
fn run_in_namespace<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let name = name.to_owned();
    let thread = std::thread::spawn(move || enter_namespace(&name).and_then(|()| work()));
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
}

fn enter_namespace(name: &str) -> io::Result<()> {
    let namespace = File::open(format!("/run/netns/{name}"))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

/// Limits the rate of outgoing traffic and delays it, with the netem and tbf qdiscs.
fn apply_limits(name: &str, direction: &LinkDirection) -> io::Result<()> {
    let micros = |us: u64| format!("{us}us");
    let mut parent: &[&str] = &["root", "handle", "1:"];
    let delayed = direction.delay.0 > 0 || direction.jitter.0 > 0;
    if delayed {
        // The queue must hold all packets that wait for the delay.
        let command = [
            "tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", "handle", "1:", "netem",
            "limit", "1000000", "delay",
        ];
        run(&[&command[..], &[&micros(direction.delay.0), &micros(direction.jitter.0)]].concat())?;
        parent = &["parent", "1:", "handle", "2:"];
    }
    if let Some(rate) = direction.rate {
        let burst = (rate.0 / 250).max(MIN_BURST);
        let (rate, burst, limit) = (
            format!("{}bit", rate.0 * 8),
            burst.to_string(),
            (direction.buffer.0 + burst).to_string(),
        );
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
    let output_text = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " / ");
    Err(io::Error::other(format!("`{}` failed: {output_text}", command.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::{Micros, Rate};

    #[test]
    fn transfers_and_counts_bytes_through_namespaces() {
        let rate = Some(Rate(20 << 20));
        let figures = scenario::Figures { rate, ..Default::default() };
        let network = match Network::create(&Link { figures, ..Link::default() }) {
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
    fn delays_with_netem_or_reports_that_the_kernel_lacks_it() {
        let figures = scenario::Figures { delay: Some(Micros(3000)), ..Default::default() };
        let network = match Network::create(&Link { figures, ..Link::default() }) {
            Ok(network) => network,
            Err(error) if nix::unistd::geteuid().is_root() => {
                // This kernel has no netem: the error must name the command and the reason.
                let error = error.to_string();
                assert!(error.contains("netem") && error.contains("failed"), "{error}");
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

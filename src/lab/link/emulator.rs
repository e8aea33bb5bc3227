//! The thread that emulates the link: one loop over all channels. Sockets, timers and the
//! [`Link`](super::Link) wake it.

use super::Totals;
use super::channel::Channel;
use super::outage::Outages;
use super::shape::Bottleneck;
use base::clock::monotonic_ns;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use record::Flow;
use scenario::{Link as LinkConfig, LinkDirection, Outage};
use socket2::Socket;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

/// Interval between two reports of the traffic.
const REPORT_INTERVAL_NS: u64 = 250_000_000;

/// Message to the loop.
#[derive(Debug)]
pub(super) enum Control {
    /// Adds a channel: the socket to the source, then the socket to the destination.
    Join([Socket; 2]),
    /// Starts the clock of outages: `migrate` was sent.
    Begin,
    /// The source has entered this state.
    State(String),
}

/// State of the loop.
pub(super) struct Emulator {
    directions: [LinkDirection; 2],
    bottlenecks: [Bottleneck; 2],
    channels: Vec<Channel>,
    outages: Outages,
    /// Connections are refused until this time.
    down_until_ns: Arc<AtomicU64>,
    totals: Totals,
    flows: Vec<Flow>,
    reported_ns: u64,
    report: Box<dyn FnMut(Vec<Flow>) + Send>,
}

impl Emulator {
    pub(super) fn new(config: &LinkConfig, report: Box<dyn FnMut(Vec<Flow>) + Send>) -> Emulator {
        let directions = config.directions();
        let bottlenecks = [
            Bottleneck::new(directions[0], config.seed),
            Bottleneck::new(directions[1], config.seed.wrapping_add(1)),
        ];
        Emulator {
            directions,
            bottlenecks,
            channels: Vec::new(),
            outages: Outages::new(&config.outages),
            down_until_ns: Arc::default(),
            totals: Totals::default(),
            flows: Vec::new(),
            reported_ns: 0,
            report,
        }
    }

    /// Returns the shared time until which the link refuses connections, in ns.
    pub(super) fn down_until_ns(&self) -> Arc<AtomicU64> {
        self.down_until_ns.clone()
    }

    /// Runs until the other end of `control` is dropped.
    pub(super) fn run(mut self, control: &Receiver<Control>, mut wake: UnixStream) -> Totals {
        // By default the kernel may delay a timer by 50 µs, which would add to the link's delay.
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut readable = Vec::new();
        while self.handle_messages(control) {
            let now_ns = monotonic_ns();
            let arrived =
                self.totals.there.bytes + self.channels.iter().map(Channel::arrived).sum::<u64>();
            for outage in self.outages.due(now_ns, arrived) {
                self.start_outage(&outage, now_ns);
            }
            for (index, channel) in self.channels.iter_mut().enumerate() {
                let readable = readable.get(index).copied().unwrap_or([true; 2]);
                channel.run(&mut self.bottlenecks, readable, now_ns, &mut self.flows);
            }
            self.remove_finished();
            self.report_flows(now_ns, false);
            readable = self.wait(&mut wake);
        }
        self.channels
            .iter_mut()
            .for_each(|channel| add_totals(&mut self.totals, channel, &mut self.flows));
        self.report_flows(0, true);
        self.totals
    }

    /// Handles all waiting messages. Returns whether the loop continues.
    fn handle_messages(&mut self, control: &Receiver<Control>) -> bool {
        loop {
            let now_ns = monotonic_ns();
            match control.try_recv() {
                Ok(Control::Join(sockets))
                    if now_ns >= self.down_until_ns.load(Ordering::Acquire) =>
                {
                    self.totals.channels += 1;
                    match Channel::new(self.totals.channels - 1, sockets, &self.directions) {
                        Ok(channel) => self.channels.push(channel),
                        Err(error) => {
                            tracing::warn!(%error, "dropped a connection through the link");
                        }
                    }
                }
                // A link that is down drops the connection.
                Ok(Control::Join(_)) => {
                    tracing::info!("refused a connection: the link is down");
                }
                Ok(Control::Begin) => self.outages.begin(now_ns),
                Ok(Control::State(state)) => {
                    for outage in self.outages.at_state(&state) {
                        self.start_outage(&outage, now_ns);
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn start_outage(&mut self, outage: &Outage, now_ns: u64) {
        // A permanent outage lasts longer than any run.
        let duration_ns = outage.lasts.map_or(u64::MAX / 4, |lasts| lasts.0.saturating_mul(1000));
        tracing::info!(?outage, "the link goes down");
        if outage.breaks {
            self.down_until_ns.store(now_ns.saturating_add(duration_ns), Ordering::Release);
            self.channels
                .iter_mut()
                .for_each(|channel| add_totals(&mut self.totals, channel, &mut self.flows));
            self.channels.clear();
        } else {
            self.bottlenecks
                .iter_mut()
                .for_each(|bottleneck| bottleneck.stall(now_ns, duration_ns));
            self.channels.iter_mut().for_each(|channel| channel.stall(now_ns, duration_ns));
        }
    }

    fn remove_finished(&mut self) {
        let (totals, flows) = (&mut self.totals, &mut self.flows);
        self.channels.retain_mut(|channel| {
            let over = channel.is_over();
            if over {
                add_totals(totals, channel, flows);
            }
            !over
        });
    }

    fn report_flows(&mut self, now_ns: u64, force: bool) {
        if !self.flows.is_empty() && (force || now_ns - self.reported_ns >= REPORT_INTERVAL_NS) {
            self.reported_ns = now_ns;
            (self.report)(std::mem::take(&mut self.flows));
        }
    }

    /// Waits for the next event. Returns which sockets of each channel may have data.
    fn wait(&mut self, wake: &mut UnixStream) -> Vec<[bool; 2]> {
        let now_ns = monotonic_ns();
        let interests: Vec<_> = self
            .channels
            .iter_mut()
            .map(|channel| channel.interest(&self.bottlenecks, now_ns))
            .collect();
        let until_ns = interests
            .iter()
            .filter_map(|interest| interest.until_ns)
            .chain(self.outages.next_ns())
            .min();
        let mut fds = vec![PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
        for (channel, interest) in self.channels.iter().zip(&interests) {
            for socket in [0, 1] {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::POLLIN, interest.read[socket]);
                flags.set(PollFlags::POLLOUT, interest.write[socket]);
                if !flags.is_empty() {
                    fds.push(PollFd::new(channel.sockets()[socket].as_fd(), flags));
                }
            }
        }
        let timeout =
            until_ns.map(|ns| TimeSpec::from(Duration::from_nanos(ns.saturating_sub(now_ns))));
        // A signal may interrupt the wait. The loop then merely runs early.
        let _ = ppoll(&mut fds, timeout, None);
        let woken = fds[0].any() == Some(true);
        let mut polled = fds[1..].iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let mut readable = Vec::with_capacity(interests.len());
        for interest in &interests {
            readable.push([0, 1].map(|socket| {
                let revents = if interest.read[socket] || interest.write[socket] {
                    polled.next()
                } else {
                    None
                };
                interest.read[socket]
                    && revents.is_some_and(|flags| flags.intersects(!PollFlags::POLLOUT))
            }));
        }
        if woken {
            let _ = wake.read(&mut [0; 64]);
        }
        readable
    }
}

fn add_totals(totals: &mut Totals, channel: &mut Channel, flows: &mut Vec<Flow>) {
    let [there, back] = channel.finish(flows);
    for (total, (bytes, held)) in [(&mut totals.there, there), (&mut totals.back, back)] {
        total.bytes += bytes;
        total.max_held = total.max_held.max(held);
    }
}

//! The thread that shapes: one loop over all channels, woken by sockets, by time, and by whoever holds the [`Link`](super::Link).

use super::Totals;
use super::channel::Channel;
use super::outage::Outages;
use super::shape::Road;
use base::clock::monotonic_ns;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use record::Flow;
use scenario::{Link as Asked, LinkDirection, Outage};
use socket2::Socket;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

/// What passed is told this often.
const TELL_EVERY_NS: u64 = 250_000_000;

/// What the loop is told.
#[derive(Debug)]
pub(super) enum Control {
    /// A new channel: towards the source, towards the destination.
    Join([Socket; 2]),
    /// `migrate` was sent: times of outages count from here.
    Begin,
    /// The source is in this state.
    State(String),
}

/// The loop's own.
pub(super) struct Emulator {
    ways: [LinkDirection; 2],
    roads: [Road; 2],
    channels: Vec<Channel>,
    outages: Outages,
    /// No connection is let in until then.
    down_until_ns: Arc<AtomicU64>,
    totals: Totals,
    flows: Vec<Flow>,
    told_ns: u64,
    tell: Box<dyn FnMut(Vec<Flow>) + Send>,
}

impl Emulator {
    pub(super) fn new(asked: &Asked, tell: Box<dyn FnMut(Vec<Flow>) + Send>) -> Emulator {
        let ways = asked.directions();
        let roads =
            [Road::new(ways[0], asked.seed), Road::new(ways[1], asked.seed.wrapping_add(1))];
        Emulator {
            ways,
            roads,
            channels: Vec::new(),
            outages: Outages::new(&asked.outages),
            down_until_ns: Arc::default(),
            totals: Totals::default(),
            flows: Vec::new(),
            told_ns: 0,
            tell,
        }
    }

    /// Until when the link is broken, ns, for whoever lets connections in.
    pub(super) fn down_until_ns(&self) -> Arc<AtomicU64> {
        self.down_until_ns.clone()
    }

    /// Runs until the other end of `control` is dropped.
    pub(super) fn run(mut self, control: &Receiver<Control>, mut bell: UnixStream) -> Totals {
        // The kernel may be 50 µs late with a timer unless it is told that we mind; a delay is then 50 µs too long.
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut readable = Vec::new();
        while self.hear(control) {
            let now_ns = monotonic_ns();
            let arrived =
                self.totals.there.bytes + self.channels.iter().map(Channel::arrived).sum::<u64>();
            for outage in self.outages.due(now_ns, arrived) {
                self.strike(&outage, now_ns);
            }
            for (index, channel) in self.channels.iter_mut().enumerate() {
                let readable = readable.get(index).copied().unwrap_or([true; 2]);
                channel.run(&mut self.roads, readable, now_ns, &mut self.flows);
            }
            self.bury();
            self.tell_flows(now_ns, false);
            readable = self.wait(&mut bell);
        }
        self.channels
            .iter_mut()
            .for_each(|channel| count(&mut self.totals, channel, &mut self.flows));
        self.tell_flows(0, true);
        self.totals
    }

    /// Whether to go on.
    fn hear(&mut self, control: &Receiver<Control>) -> bool {
        loop {
            let now_ns = monotonic_ns();
            match control.try_recv() {
                Ok(Control::Join(legs)) if now_ns >= self.down_until_ns.load(Ordering::Acquire) => {
                    self.totals.channels += 1;
                    match Channel::new(self.totals.channels - 1, legs, &self.ways) {
                        Ok(channel) => self.channels.push(channel),
                        Err(error) => {
                            tracing::warn!(%error, "a connection through the link was dropped")
                        }
                    }
                }
                // Dropped: that is what a link that is down does to it.
                Ok(Control::Join(_)) => {
                    tracing::info!("a connection was not let in: the link is down")
                }
                Ok(Control::Begin) => self.outages.begin(now_ns),
                Ok(Control::State(state)) => {
                    for outage in self.outages.at_state(&state) {
                        self.strike(&outage, now_ns);
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn strike(&mut self, outage: &Outage, now_ns: u64) {
        // For good is as long as anybody will look.
        let lasts_ns = outage.lasts.map_or(u64::MAX / 4, |lasts| lasts.0.saturating_mul(1000));
        tracing::info!(?outage, "the link goes down");
        if outage.breaks {
            self.down_until_ns.store(now_ns.saturating_add(lasts_ns), Ordering::Release);
            self.channels
                .iter_mut()
                .for_each(|channel| count(&mut self.totals, channel, &mut self.flows));
            self.channels.clear();
        } else {
            self.roads.iter_mut().for_each(|road| road.stall(now_ns, lasts_ns));
            self.channels.iter_mut().for_each(|channel| channel.stall(now_ns, lasts_ns));
        }
    }

    fn bury(&mut self) {
        let (totals, flows) = (&mut self.totals, &mut self.flows);
        self.channels.retain_mut(|channel| {
            let over = channel.is_over();
            if over {
                count(totals, channel, flows);
            }
            !over
        });
    }

    fn tell_flows(&mut self, now_ns: u64, at_once: bool) {
        if !self.flows.is_empty() && (at_once || now_ns - self.told_ns >= TELL_EVERY_NS) {
            self.told_ns = now_ns;
            (self.tell)(std::mem::take(&mut self.flows));
        }
    }

    /// Waits until there is something to do; says of each channel's legs whether there may be something to read.
    fn wait(&mut self, bell: &mut UnixStream) -> Vec<[bool; 2]> {
        let now_ns = monotonic_ns();
        let wants: Vec<_> =
            self.channels.iter_mut().map(|channel| channel.wants(&self.roads, now_ns)).collect();
        let until_ns =
            wants.iter().filter_map(|wants| wants.until_ns).chain(self.outages.next_ns()).min();
        let mut fds = vec![PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
        for (channel, wants) in self.channels.iter().zip(&wants) {
            for leg in [0, 1] {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::POLLIN, wants.read[leg]);
                flags.set(PollFlags::POLLOUT, wants.write[leg]);
                if !flags.is_empty() {
                    fds.push(PollFd::new(channel.legs()[leg].as_fd(), flags));
                }
            }
        }
        let timeout =
            until_ns.map(|ns| TimeSpec::from(Duration::from_nanos(ns.saturating_sub(now_ns))));
        // Interrupted by a signal: then we look a little early.
        let _ = ppoll(&mut fds, timeout, None);
        let rung = fds[0].any() == Some(true);
        let mut polled = fds[1..].iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let mut readable = Vec::with_capacity(wants.len());
        for wants in &wants {
            readable.push([0, 1].map(|leg| {
                let revents =
                    if wants.read[leg] || wants.write[leg] { polled.next() } else { None };
                wants.read[leg]
                    && revents.is_some_and(|flags| flags.intersects(!PollFlags::POLLOUT))
            }));
        }
        if rung {
            let _ = bell.read(&mut [0; 64]);
        }
        readable
    }
}

fn count(totals: &mut Totals, channel: &mut Channel, flows: &mut Vec<Flow>) {
    let [there, back] = channel.finish(flows);
    for (total, (bytes, held)) in [(&mut totals.there, there), (&mut totals.back, back)] {
        total.bytes += bytes;
        total.most_held = total.most_held.max(held);
    }
}

//! One connection through the link: two sockets, and what is on its way between them in each direction.

use super::flow::Meter;
use super::shape::{Lane, Road, Room};
use super::store::Store;
use record::Flow;
use scenario::LinkDirection;
use socket2::Socket;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

/// What one direction takes in at once, so that channels share the road fairly.
const AT_ONCE: usize = 64 << 10;
/// What is due is handed on at most this late while more keeps arriving: finer would cost wake-ups, and the rate is exact anyway …
const GRAIN_NS: u64 = 150_000;
/// … but no later than an eighth of the delay, down to this.
const FINEST_NS: u64 = 20_000;

/// A segment of loopback.
const LEAST_QUEUE: u64 = 64 << 10;
const MOST_QUEUE: u64 = 1 << 20;

/// A connection.
#[derive(Debug)]
pub(super) struct Channel {
    legs: [Socket; 2],
    /// By leg.
    tcp: [bool; 2],
    pipes: [Pipe; 2],
}

/// What the loop has to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants {
    /// By leg: to read, to write.
    pub(super) read: [bool; 2],
    pub(super) write: [bool; 2],
    /// Nothing to do before this.
    pub(super) until_ns: Option<u64>,
}

impl Channel {
    pub(super) fn new(
        number: u32,
        legs: [Socket; 2],
        ways: &[LinkDirection; 2],
    ) -> io::Result<Channel> {
        for (leg, way) in legs.iter().zip(ways) {
            leg.set_nonblocking(true)?;
            if let (true, Some(queue)) = (super::is_tcp(leg), queue(way)) {
                leg.set_recv_buffer_size(queue)?;
            }
        }
        let pipe = |back: bool| Pipe::new(&ways[usize::from(back)], Meter::new(number, back));
        let tcp = [super::is_tcp(&legs[0]), super::is_tcp(&legs[1])];
        Ok(Channel { legs, tcp, pipes: [pipe(false), pipe(true)] })
    }

    pub(super) fn legs(&self) -> &[Socket; 2] {
        &self.legs
    }

    /// Moves what can be moved. `readable` says of each leg whether there may be something.
    pub(super) fn run(
        &mut self,
        roads: &mut [Road; 2],
        readable: [bool; 2],
        now_ns: u64,
        flows: &mut Vec<Flow>,
    ) {
        let back_ns = [roads[1].delay_ns(), roads[0].delay_ns()];
        for direction in [0, 1] {
            let (from, to) = (&self.legs[direction], &self.legs[1 - direction]);
            let pipe = &mut self.pipes[direction];
            if readable[direction] {
                pipe.take_in(from, self.tcp[direction], &mut roads[direction], now_ns);
            }
            pipe.hand_on(to, now_ns, back_ns[direction], flows);
        }
        if self.pipes.iter().any(|pipe| pipe.broken)
            && self.pipes.iter().all(|pipe| pipe.broken || pipe.store.is_empty())
        {
            // The receiver has gone; what a network would say to the sender with a reset.
            self.pipes.iter_mut().for_each(|pipe| pipe.shut = true);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.pipes.iter().all(|pipe| pipe.shut)
    }

    pub(super) fn wants(&mut self, roads: &[Road; 2], now_ns: u64) -> Wants {
        let mut wants = Wants::default();
        for direction in [0, 1] {
            let pipe = &mut self.pipes[direction];
            let mut until =
                |ns: u64| wants.until_ns = Some(wants.until_ns.map_or(ns, |other| other.min(ns)));
            if pipe.ended_ns.is_none() {
                match pipe.lane.room(&roads[direction], now_ns) {
                    Room::Now(_) => wants.read[direction] = true,
                    Room::At(ns) => until(ns),
                    Room::Later => {}
                }
            }
            if pipe.blocked {
                wants.write[1 - direction] = true;
            } else if let Some(ns) = pipe.lane.next_due_ns(now_ns, grain_ns(&roads[direction])) {
                until(ns);
            } else if let Some(ns) = pipe.ended_ns.filter(|_| !pipe.shut) {
                until(ns);
            }
        }
        wants
    }

    /// Nothing arrives for so long.
    pub(super) fn stall(&mut self, now_ns: u64, lasts_ns: u64) {
        for pipe in &mut self.pipes {
            pipe.lane.stall(now_ns, lasts_ns);
            if let Some(ended_ns) = pipe.ended_ns.as_mut().filter(|ns| **ns > now_ns) {
                *ended_ns += lasts_ns;
            }
        }
    }

    /// Bytes that arrived at the destination.
    pub(super) fn arrived(&self) -> u64 {
        self.pipes[0].meter.total()
    }

    /// What was not said yet; what passed each way; the most that was held each way.
    pub(super) fn finish(&mut self, flows: &mut Vec<Flow>) -> [(u64, u64); 2] {
        flows.extend(self.pipes.iter_mut().filter_map(|pipe| pipe.meter.take()));
        [0, 1].map(|direction| {
            (self.pipes[direction].meter.total(), self.pipes[direction].lane.most_held())
        })
    }
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    lane: Lane,
    store: Store,
    meter: Meter,
    /// The receiver's socket was full when last tried.
    blocked: bool,
    /// The sender has ended, and its end arrives then.
    ended_ns: Option<u64>,
    /// The receiver takes no more.
    broken: bool,
    /// The end was handed on.
    shut: bool,
}

impl Pipe {
    fn new(way: &LinkDirection, meter: Meter) -> Pipe {
        let lane = Lane::new(way);
        Pipe {
            lane,
            store: Store::default(),
            meter,
            blocked: false,
            ended_ns: None,
            broken: false,
            shut: false,
        }
    }

    fn take_in(&mut self, from: &Socket, tcp: bool, road: &mut Road, now_ns: u64) {
        if self.ended_ns.is_some() {
            return;
        }
        let Room::Now(room) = self.lane.room(road, now_ns) else { return };
        let most = usize::try_from(room).unwrap_or(usize::MAX).min(AT_ONCE);
        match { from }.read(self.store.room(most)) {
            Ok(0) => self.end(road, now_ns),
            Ok(n) => {
                if tcp {
                    super::acknowledge(from);
                }
                self.lane.take(road, n as u64, now_ns);
                if !self.broken {
                    self.store.add(n);
                }
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.end(road, now_ns),
        }
    }

    fn end(&mut self, road: &Road, now_ns: u64) {
        self.ended_ns = Some(self.lane.last_arrival_ns().max(now_ns + road.delay_ns()));
    }

    fn hand_on(&mut self, to: &Socket, now_ns: u64, back_ns: u64, flows: &mut Vec<Flow>) {
        let due = self.lane.due(now_ns);
        let mut left = usize::try_from(due).unwrap_or(usize::MAX).min(self.store.len());
        let was_blocked = std::mem::take(&mut self.blocked);
        while left > 0 {
            match { to }.write(self.store.first(left)) {
                Ok(n) => {
                    self.store.take(n);
                    self.lane.deliver(n as u64, now_ns, was_blocked, back_ns);
                    flows.extend(self.meter.add(n as u64, self.lane.held(), now_ns));
                    left -= n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.broken = true;
                    self.store.clear();
                    break;
                }
            }
        }
        if self.store.is_empty()
            && self.ended_ns.is_some_and(|ended_ns| now_ns >= ended_ns)
            && !self.shut
        {
            let _ = to.shutdown(Shutdown::Write);
            self.shut = true;
        }
    }
}

/// What the kernel may hold of what was not taken in yet: a millisecond of the throughput. By itself it would let this queue grow to
/// megabytes, which no sender on a real link has in front of it, and behind which each page that post-copy asks for would wait.
fn queue(way: &LinkDirection) -> Option<usize> {
    let round_trip_us = 2 * way.delay.0;
    let by_window = way
        .window
        .filter(|_| round_trip_us > 0)
        .map(|window| window.0.saturating_mul(1_000_000) / round_trip_us);
    let rate = way.rate.map(|rate| rate.0).into_iter().chain(by_window).min()?;
    usize::try_from((rate / 1000).clamp(LEAST_QUEUE, MOST_QUEUE)).ok()
}

fn grain_ns(road: &Road) -> u64 {
    match road.delay_ns() {
        0 => GRAIN_NS,
        delay_ns => (delay_ns / 8).clamp(FINEST_NS, GRAIN_NS),
    }
}

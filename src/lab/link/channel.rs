//! One connection through the link: two sockets, and the bytes in transit in each direction.

use super::flow::Meter;
use super::queue::ByteQueue;
use super::shape::{Bottleneck, Capacity, Transit};
use record::Flow;
use scenario::LinkDirection;
use socket2::Socket;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

/// Maximum number of bytes that one direction accepts at a time, so that channels share the
/// bottleneck fairly.
const MAX_READ: usize = 64 << 10;
/// Maximum extra delay of due bytes while more arrive. A smaller value costs more wake-ups, and the
/// rate is exact anyway.
const MAX_EXTRA_DELAY_NS: u64 = 150_000;
/// Minimum of that delay, which is otherwise limited to an eighth of the link's delay.
const MIN_EXTRA_DELAY_NS: u64 = 20_000;

/// Minimum receive buffer: one segment of the loopback device.
const MIN_RECEIVE_BUFFER: u64 = 64 << 10;
const MAX_RECEIVE_BUFFER: u64 = 1 << 20;

/// A connection through the link.
#[derive(Debug)]
pub(super) struct Channel {
    sockets: [Socket; 2],
    /// Whether each socket is a TCP socket.
    tcp: [bool; 2],
    pipes: [Pipe; 2],
}

/// Events that the loop waits for on behalf of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interest {
    /// Whether to wait until each socket is readable or writable.
    pub(super) read: [bool; 2],
    pub(super) write: [bool; 2],
    /// Time of the next delivery or read, in ns.
    pub(super) until_ns: Option<u64>,
}

impl Channel {
    pub(super) fn new(
        number: u32,
        sockets: [Socket; 2],
        directions: &[LinkDirection; 2],
    ) -> io::Result<Channel> {
        for (socket, direction) in sockets.iter().zip(directions) {
            socket.set_nonblocking(true)?;
            if let (true, Some(size)) = (super::is_tcp(socket), receive_buffer(direction)) {
                socket.set_recv_buffer_size(size)?;
            }
        }
        let pipe = |back: bool| Pipe::new(&directions[usize::from(back)], Meter::new(number, back));
        let tcp = [super::is_tcp(&sockets[0]), super::is_tcp(&sockets[1])];
        Ok(Channel { sockets, tcp, pipes: [pipe(false), pipe(true)] })
    }

    pub(super) fn sockets(&self) -> &[Socket; 2] {
        &self.sockets
    }

    /// Moves all bytes that can move now. `readable` says which sockets may have data.
    pub(super) fn run(
        &mut self,
        bottlenecks: &mut [Bottleneck; 2],
        readable: [bool; 2],
        now_ns: u64,
        flows: &mut Vec<Flow>,
    ) {
        let return_delay_ns = [bottlenecks[1].delay_ns(), bottlenecks[0].delay_ns()];
        for direction in [0, 1] {
            let (from, to) = (&self.sockets[direction], &self.sockets[1 - direction]);
            let pipe = &mut self.pipes[direction];
            if readable[direction] {
                pipe.receive(from, self.tcp[direction], &mut bottlenecks[direction], now_ns);
            }
            pipe.send(to, now_ns, return_delay_ns[direction], flows);
        }
        if self.pipes.iter().any(|pipe| pipe.broken)
            && self.pipes.iter().all(|pipe| pipe.broken || pipe.queue.is_empty())
        {
            // The receiver is gone. A network would now send a reset to the sender.
            self.pipes.iter_mut().for_each(|pipe| pipe.shut = true);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.pipes.iter().all(|pipe| pipe.shut)
    }

    pub(super) fn interest(&mut self, bottlenecks: &[Bottleneck; 2], now_ns: u64) -> Interest {
        let mut interest = Interest::default();
        for direction in [0, 1] {
            let pipe = &mut self.pipes[direction];
            let mut until = |ns: u64| {
                interest.until_ns = Some(interest.until_ns.map_or(ns, |other| other.min(ns)));
            };
            if pipe.ended_ns.is_none() {
                match pipe.transit.capacity(&bottlenecks[direction], now_ns) {
                    Capacity::Now(_) => interest.read[direction] = true,
                    Capacity::At(ns) => until(ns),
                    Capacity::AfterDelivery => {}
                }
            }
            if pipe.blocked {
                interest.write[1 - direction] = true;
            } else if let Some(ns) =
                pipe.transit.next_due_ns(now_ns, extra_delay_ns(&bottlenecks[direction]))
            {
                until(ns);
            } else if let Some(ns) = pipe.ended_ns.filter(|_| !pipe.shut) {
                until(ns);
            }
        }
        interest
    }

    /// Delays all arrivals by `duration_ns`.
    pub(super) fn stall(&mut self, now_ns: u64, duration_ns: u64) {
        for pipe in &mut self.pipes {
            pipe.transit.stall(now_ns, duration_ns);
            if let Some(ended_ns) = pipe.ended_ns.as_mut().filter(|ns| **ns > now_ns) {
                *ended_ns += duration_ns;
            }
        }
    }

    /// Number of bytes delivered to the destination.
    pub(super) fn arrived(&self) -> u64 {
        self.pipes[0].meter.total()
    }

    /// Appends the traffic not yet reported to `flows`. Returns the bytes delivered and the maximum
    /// held, for each direction.
    pub(super) fn finish(&mut self, flows: &mut Vec<Flow>) -> [(u64, u64); 2] {
        flows.extend(self.pipes.iter_mut().filter_map(|pipe| pipe.meter.take()));
        [0, 1].map(|direction| {
            (self.pipes[direction].meter.total(), self.pipes[direction].transit.max_held())
        })
    }
}

/// One direction of a channel.
#[derive(Debug)]
struct Pipe {
    transit: Transit,
    queue: ByteQueue,
    meter: Meter,
    /// The last write found the receiver's socket full.
    blocked: bool,
    /// Time when the end of the stream arrives, after the sender has closed it.
    ended_ns: Option<u64>,
    /// The receiver accepts no more bytes.
    broken: bool,
    /// The end of the stream was passed to the receiver.
    shut: bool,
}

impl Pipe {
    fn new(direction: &LinkDirection, meter: Meter) -> Pipe {
        let transit = Transit::new(direction);
        Pipe {
            transit,
            queue: ByteQueue::default(),
            meter,
            blocked: false,
            ended_ns: None,
            broken: false,
            shut: false,
        }
    }

    fn receive(&mut self, from: &Socket, tcp: bool, bottleneck: &mut Bottleneck, now_ns: u64) {
        if self.ended_ns.is_some() {
            return;
        }
        let Capacity::Now(capacity) = self.transit.capacity(bottleneck, now_ns) else { return };
        let max = usize::try_from(capacity).unwrap_or(usize::MAX).min(MAX_READ);
        match { from }.read(self.queue.free_space(max)) {
            Ok(0) => self.end(bottleneck, now_ns),
            Ok(n) => {
                if tcp {
                    super::acknowledge(from);
                }
                self.transit.accept(bottleneck, n as u64, now_ns);
                if !self.broken {
                    self.queue.commit(n);
                }
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.end(bottleneck, now_ns),
        }
    }

    fn end(&mut self, bottleneck: &Bottleneck, now_ns: u64) {
        self.ended_ns = Some(self.transit.last_arrival_ns().max(now_ns + bottleneck.delay_ns()));
    }

    fn send(&mut self, to: &Socket, now_ns: u64, return_delay_ns: u64, flows: &mut Vec<Flow>) {
        let due = self.transit.due(now_ns);
        let mut left = usize::try_from(due).unwrap_or(usize::MAX).min(self.queue.len());
        let was_blocked = std::mem::take(&mut self.blocked);
        while left > 0 {
            match { to }.write(self.queue.first(left)) {
                Ok(n) => {
                    self.queue.consume(n);
                    self.transit.deliver(n as u64, now_ns, was_blocked, return_delay_ns);
                    flows.extend(self.meter.add(n as u64, self.transit.held(), now_ns));
                    left -= n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.broken = true;
                    self.queue.clear();
                    break;
                }
            }
        }
        if self.queue.is_empty()
            && self.ended_ns.is_some_and(|ended_ns| now_ns >= ended_ns)
            && !self.shut
        {
            let _ = to.shutdown(Shutdown::Write);
            self.shut = true;
        }
    }
}

/// Size of the kernel's receive buffer: a millisecond of throughput. By default the kernel lets it
/// grow to megabytes. A sender on a real link has no such queue, and each page that post-copy
/// requests would wait behind it.
fn receive_buffer(direction: &LinkDirection) -> Option<usize> {
    let round_trip_us = 2 * direction.delay.0;
    let by_window = direction
        .window
        .filter(|_| round_trip_us > 0)
        .map(|window| window.0.saturating_mul(1_000_000) / round_trip_us);
    let rate = direction.rate.map(|rate| rate.0).into_iter().chain(by_window).min()?;
    usize::try_from((rate / 1000).clamp(MIN_RECEIVE_BUFFER, MAX_RECEIVE_BUFFER)).ok()
}

fn extra_delay_ns(bottleneck: &Bottleneck) -> u64 {
    match bottleneck.delay_ns() {
        0 => MAX_EXTRA_DELAY_NS,
        delay_ns => (delay_ns / 8).clamp(MIN_EXTRA_DELAY_NS, MAX_EXTRA_DELAY_NS),
    }
}

//! Computes when bytes arrive: a bottleneck with a queue, a wire with a delay, and a window of
//! unacknowledged bytes. It does no input or output.
//!
//! The model is a fluid: each byte leaves the bottleneck at its own time. How often the loop wakes
//! therefore changes neither the rate nor the throughput that a window allows, only the size of the
//! pieces delivered.

use scenario::LinkDirection;
use std::collections::VecDeque;

/// Bottleneck and wire of one direction, shared by all channels.
#[derive(Debug)]
pub(super) struct Bottleneck {
    direction: LinkDirection,
    /// Time when the last accepted byte leaves the bottleneck, in picoseconds: at 10 Gbit/s a byte
    /// takes 800.
    free_ps: u128,
    noise: u64,
}

/// How many bytes a channel may accept, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capacity {
    /// This many bytes now.
    Now(u64),
    /// None before this time, in ns.
    At(u64),
    /// None until bytes are delivered.
    AfterDelivery,
}

impl Bottleneck {
    pub(super) fn new(direction: LinkDirection, seed: u64) -> Bottleneck {
        Bottleneck { direction, free_ps: 0, noise: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// Number of bytes queued at the bottleneck.
    fn waiting(&self, now_ns: u64) -> u64 {
        let Some(rate) = self.direction.rate else { return 0 };
        let ahead_ps = self.free_ps.saturating_sub(u128::from(now_ns) * 1000);
        bytes(ahead_ps * u128::from(rate.0) / 1_000_000_000_000)
    }

    fn capacity(&self, now_ns: u64) -> Capacity {
        let waiting = self.waiting(now_ns);
        match (self.direction.rate, self.direction.buffer.0.saturating_sub(waiting)) {
            (None, _) => Capacity::Now(u64::MAX),
            // Wait until half the buffer is free: otherwise each byte that leaves would wake the
            // loop for one more byte.
            (Some(rate), free) if free < self.direction.buffer.0.div_ceil(2) => {
                let excess = waiting - self.direction.buffer.0 / 2;
                Capacity::At(
                    now_ns + nanos(u128::from(excess) * 1_000_000_000 / u128::from(rate.0)).max(1),
                )
            }
            (Some(_), free) => Capacity::Now(free),
        }
    }

    /// Sends bytes that were available at `from_ns`. Returns when the first and the last arrive.
    fn send(&mut self, bytes: u64, from_ns: u64) -> (u64, u64) {
        let begins_ps = self.free_ps.max(u128::from(from_ns) * 1000);
        let takes_ps = self
            .direction
            .rate
            .map_or(0, |rate| u128::from(bytes) * 1_000_000_000_000 / u128::from(rate.0));
        self.free_ps = begins_ps + takes_ps;
        let delay_ns = self.direction.delay.0 * 1000 + self.jitter_ns();
        (nanos(begins_ps / 1000) + delay_ns, nanos(self.free_ps / 1000) + delay_ns)
    }

    fn jitter_ns(&mut self) -> u64 {
        if self.direction.jitter.0 == 0 {
            return 0;
        }
        // Xorshift is fast and gives the same sequence for a seed on every machine.
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise % (self.direction.jitter.0 * 1000)
    }

    /// Stops the bottleneck from `now_ns` on for `duration_ns`.
    pub(super) fn stall(&mut self, now_ns: u64, duration_ns: u64) {
        self.free_ps = self.free_ps.max(u128::from(now_ns) * 1000) + u128::from(duration_ns) * 1000;
    }

    /// Delay of this direction in ns, without jitter.
    pub(super) fn delay_ns(&self) -> u64 {
        self.direction.delay.0 * 1000
    }
}

/// Bytes in transit that arrive at a constant rate from `first_ns` to `last_ns`.
#[derive(Clone, Copy, Debug)]
struct Burst {
    bytes: u64,
    first_ns: u64,
    last_ns: u64,
}

/// Bytes in transit in one direction of one channel.
#[derive(Debug)]
pub(super) struct Transit {
    window: Option<u64>,
    /// Number of bytes accepted but not delivered.
    held: u64,
    max_held: u64,
    /// Number of bytes accepted but not acknowledged.
    in_flight: u64,
    in_transit: VecDeque<Burst>,
    /// Bytes delivered, with the times when their acknowledgements arrive.
    acknowledged: VecDeque<Burst>,
    /// Time when the full window opened, if no bytes were accepted since.
    open_since_ns: Option<u64>,
    arrives_ns: u64,
}

impl Transit {
    pub(super) fn new(direction: &LinkDirection) -> Transit {
        Transit {
            window: direction.window.map(|window| window.0),
            held: 0,
            max_held: 0,
            in_flight: 0,
            in_transit: VecDeque::new(),
            acknowledged: VecDeque::new(),
            open_since_ns: None,
            arrives_ns: 0,
        }
    }

    /// Number of bytes accepted but not delivered.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Maximum of `held` so far.
    pub(super) fn max_held(&self) -> u64 {
        self.max_held
    }

    /// Returns how many bytes may be accepted now.
    pub(super) fn capacity(&mut self, bottleneck: &Bottleneck, now_ns: u64) -> Capacity {
        let full = self.window.is_some_and(|window| self.in_flight >= window);
        while let Some(burst) =
            self.acknowledged.front().copied().filter(|burst| burst.last_ns <= now_ns)
        {
            if full {
                self.open_since_ns.get_or_insert(burst.first_ns);
            }
            self.in_flight -= burst.bytes;
            self.acknowledged.pop_front();
        }
        let window = match self.window {
            None => u64::MAX,
            Some(window) if self.in_flight < window => window - self.in_flight,
            Some(_) => {
                return self
                    .acknowledged
                    .front()
                    .map_or(Capacity::AfterDelivery, |burst| Capacity::At(burst.last_ns));
            }
        };
        // Bytes that have arrived but that the receiver does not read count too: otherwise they
        // would accumulate here without limit.
        let overdue = self.overdue(now_ns);
        if overdue >= bottleneck.direction.buffer.0 {
            return Capacity::AfterDelivery;
        }
        match bottleneck.capacity(now_ns) {
            Capacity::Now(free) => {
                Capacity::Now(free.min(window).min(bottleneck.direction.buffer.0 - overdue))
            }
            wait => wait,
        }
    }

    /// Accepts `bytes`.
    pub(super) fn accept(&mut self, bottleneck: &mut Bottleneck, bytes: u64, now_ns: u64) {
        // A sender that waits for the window sends when the window opens, not when our loop wakes.
        let from_ns = self.open_since_ns.take().unwrap_or(now_ns);
        let (first_ns, last_ns) = bottleneck.send(bytes, from_ns);
        // Jitter must not change the order.
        let first_ns = first_ns.max(self.arrives_ns);
        self.arrives_ns = last_ns.max(first_ns);
        self.in_transit.push_back(Burst { bytes, first_ns, last_ns: self.arrives_ns });
        self.held += bytes;
        self.in_flight += bytes;
        self.max_held = self.max_held.max(self.held);
    }

    /// Number of bytes that have arrived but are not delivered.
    pub(super) fn due(&self, now_ns: u64) -> u64 {
        self.in_transit
            .iter()
            .take_while(|burst| burst.first_ns <= now_ns)
            .map(|burst| burst.arrived(now_ns))
            .sum()
    }

    /// Number of bytes that have been due for more than 1 ms.
    fn overdue(&self, now_ns: u64) -> u64 {
        self.due(now_ns.saturating_sub(1_000_000))
    }

    /// Returns when to deliver next: when the first burst has arrived, or `max_delay_ns` of it.
    pub(super) fn next_due_ns(&self, now_ns: u64, max_delay_ns: u64) -> Option<u64> {
        let burst = self.in_transit.front()?;
        Some(burst.last_ns.min(burst.first_ns.max(now_ns) + max_delay_ns))
    }

    /// Time when the last accepted byte arrives.
    pub(super) fn last_arrival_ns(&self) -> u64 {
        self.arrives_ns
    }

    /// Notes the delivery of `bytes`. Their acknowledgement takes `return_delay_ns`.
    pub(super) fn deliver(
        &mut self,
        mut bytes: u64,
        now_ns: u64,
        blocked: bool,
        return_delay_ns: u64,
    ) {
        self.held -= bytes;
        while let Some(burst) = self.in_transit.front_mut().filter(|_| bytes > 0) {
            let part = bytes.min(burst.bytes);
            let arrived = burst.split(part);
            // The receiver acknowledges at arrival, or, if it was blocked, when it reads.
            let acknowledged_at =
                |ns: u64| if blocked { now_ns } else { ns.min(now_ns) } + return_delay_ns;
            self.acknowledged.push_back(Burst {
                bytes: part,
                first_ns: acknowledged_at(arrived.first_ns),
                last_ns: acknowledged_at(arrived.last_ns),
            });
            bytes -= part;
            if burst.bytes == 0 {
                self.in_transit.pop_front();
            }
        }
        if self.window.is_none() {
            // Without a window nothing waits for acknowledgements.
            self.acknowledged.clear();
            self.in_flight = self.held;
        }
    }

    /// Delays all arrivals after `now_ns` by `duration_ns`.
    pub(super) fn stall(&mut self, now_ns: u64, duration_ns: u64) {
        let postpone = |ns: &mut u64| {
            if *ns > now_ns {
                *ns += duration_ns;
            }
        };
        for burst in self.in_transit.iter_mut().chain(&mut self.acknowledged) {
            postpone(&mut burst.first_ns);
            postpone(&mut burst.last_ns);
        }
        postpone(&mut self.arrives_ns);
    }
}

impl Burst {
    fn arrived(&self, now_ns: u64) -> u64 {
        if now_ns >= self.last_ns {
            return self.bytes;
        }
        let spans = u128::from(self.last_ns - self.first_ns);
        bytes(u128::from(self.bytes) * u128::from(now_ns.saturating_sub(self.first_ns)) / spans)
    }

    /// Removes and returns the first `part` bytes.
    fn split(&mut self, part: u64) -> Burst {
        let spans = u128::from(self.last_ns - self.first_ns);
        let until_ns =
            self.first_ns + nanos(spans * u128::from(part) / u128::from(self.bytes.max(1)));
        let first = Burst { bytes: part, first_ns: self.first_ns, last_ns: until_ns };
        (self.first_ns, self.bytes) = (until_ns, self.bytes - part);
        first
    }
}

fn nanos(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn bytes(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::{Bytes, Micros, Rate};
    use proptest::prelude::*;

    fn direction(rate: Option<u64>, delay_us: u64, window: Option<u64>) -> LinkDirection {
        LinkDirection {
            rate: rate.map(Rate),
            delay: Micros(delay_us),
            jitter: Micros(0),
            window: window.map(Bytes),
            buffer: Bytes(1 << 20),
        }
    }

    /// Simulates a sender that always has data and a receiver that reads everything, with a loop
    /// that wakes every `tick_ns`. Returns the bytes delivered after each tick.
    fn run(direction: LinkDirection, tick_ns: u64, until_ns: u64) -> Vec<(u64, u64)> {
        let (mut bottleneck, mut transit) =
            (Bottleneck::new(direction, 1), Transit::new(&direction));
        let (mut delivered, mut seen) = (0, Vec::new());
        for now_ns in (1..until_ns).step_by(usize::try_from(tick_ns).unwrap()) {
            while let Capacity::Now(capacity) = transit.capacity(&bottleneck, now_ns) {
                transit.accept(&mut bottleneck, capacity.clamp(1, 64 << 10), now_ns);
            }
            let due = transit.due(now_ns);
            transit.deliver(due, now_ns, false, direction.delay.0 * 1000);
            delivered += due;
            seen.push((now_ns, delivered));
        }
        seen
    }

    #[test]
    fn keeps_the_rate_over_any_100_ms() {
        for rate in [1 << 20, 100 << 20, 1_175_000_000] {
            let seen = run(direction(Some(rate), 0, None), 50_000, 1_000_000_000);
            for pair in seen.windows(2000) {
                let bytes = (pair[1999].1 - pair[0].1) as f64;
                let expected = rate as f64 * (pair[1999].0 - pair[0].0) as f64 / 1e9;
                assert!((bytes / expected - 1.0).abs() < 0.01, "{rate}: {bytes} {expected}");
            }
        }
    }

    #[test]
    fn window_limits_throughput_independently_of_the_loop_interval() {
        for (window, delay_us) in
            [(64 << 10, 2750), (1 << 20, 2750), (1 << 20, 26_250), (16 << 20, 26_250)]
        {
            for tick_ns in [20_000, 100_000] {
                let seconds = 2.0;
                let seen = run(
                    direction(Some(375_000_000), delay_us, Some(window)),
                    tick_ns,
                    2_000_000_000,
                );
                let rate = seen.last().unwrap().1 as f64 / (seconds - delay_us as f64 / 1e6);
                let expected = (window as f64 / (2.0 * delay_us as f64 / 1e6)).min(375e6);
                assert!(
                    (rate / expected - 1.0).abs() < 0.02,
                    "window {window}, delay {delay_us}: {rate} {expected}"
                );
            }
        }
    }

    #[test]
    fn continues_at_the_same_rate_after_a_stall() {
        let direction = direction(Some(1_000_000), 1000, None);
        let (mut bottleneck, mut transit) =
            (Bottleneck::new(direction, 1), Transit::new(&direction));
        transit.accept(&mut bottleneck, 1000, 0);
        assert_eq!(
            (transit.due(1_000_000), transit.due(1_500_000), transit.due(2_000_000)),
            (0, 500, 1000)
        );
        transit.stall(1_500_000, 10_000_000);
        bottleneck.stall(1_500_000, 10_000_000);
        assert_eq!(transit.due(12_000_000), 1000);
        transit.accept(&mut bottleneck, 1000, 1_500_000);
        assert!(transit.last_arrival_ns() >= 12_500_000);
    }

    proptest! {
        #[test]
        fn loses_nothing_and_keeps_order_and_limits(
            jitter in 0u64..5000,
            window in proptest::option::of(1u64..100_000),
            steps in proptest::collection::vec((1u64..10_000, 0u64..3_000_000), 1..200),
        ) {
            let direction = LinkDirection {
                rate: Some(Rate(10_000_000)),
                delay: Micros(500),
                jitter: Micros(jitter),
                window: window.map(Bytes),
                buffer: Bytes(20_000),
            };
            let mut bottleneck = Bottleneck::new(direction, 7);
            let mut transit = Transit::new(&direction);
            let (mut now_ns, mut taken, mut delivered, mut last_ns) = (0, 0u64, 0u64, 0);
            for (wish, wait_ns) in steps {
                now_ns += wait_ns;
                if let Capacity::Now(capacity) = transit.capacity(&bottleneck, now_ns) {
                    let bytes = wish.min(capacity);
                    transit.accept(&mut bottleneck, bytes, now_ns);
                    taken += bytes;
                    prop_assert!(transit.last_arrival_ns() >= last_ns);
                    last_ns = transit.last_arrival_ns();
                    prop_assert!(last_ns >= 500_000);
                }
                prop_assert!(window.is_none_or(|window| transit.in_flight <= window));
                let due = transit.due(now_ns);
                prop_assert!(due <= transit.held());
                transit.deliver(due, now_ns, false, 500_000);
                delivered += due;
            }
            prop_assert_eq!(transit.due(last_ns), taken - delivered);
        }
    }
}

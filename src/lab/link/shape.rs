//! When what passes: a bottleneck with a queue, a wire with a delay, and a window of unacknowledged bytes. Pure.
//!
//! A fluid: each byte of what was taken in leaves the bottleneck at its own time, so that how often the loop wakes changes neither
//! the rate nor the throughput that a window allows; it only says how finely what is due is handed on.

use scenario::LinkDirection;
use std::collections::VecDeque;

/// One direction of the link, shared by all channels.
#[derive(Debug)]
pub(super) struct Road {
    way: LinkDirection,
    /// When the last byte that was taken in will have left the bottleneck, in picoseconds: a byte at 10 Gbit/s takes 800.
    free_ps: u128,
    noise: u64,
}

/// How much can be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// So many bytes.
    Now(u64),
    /// Not before this.
    At(u64),
    /// Not before something is delivered.
    Later,
}

impl Road {
    pub(super) fn new(way: LinkDirection, seed: u64) -> Road {
        Road { way, free_ps: 0, noise: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// Bytes that wait in front of the bottleneck.
    fn waiting(&self, now_ns: u64) -> u64 {
        let Some(rate) = self.way.rate else { return 0 };
        let ahead_ps = self.free_ps.saturating_sub(u128::from(now_ns) * 1000);
        bytes(ahead_ps * u128::from(rate.0) / 1_000_000_000_000)
    }

    fn room(&self, now_ns: u64) -> Room {
        let waiting = self.waiting(now_ns);
        match (self.way.rate, self.way.buffer.0.saturating_sub(waiting)) {
            (None, _) => Room::Now(u64::MAX),
            // Half of it must be free again: else each byte that leaves would wake the loop for one that may come.
            (Some(rate), free) if free < self.way.buffer.0.div_ceil(2) => {
                let excess = waiting - self.way.buffer.0 / 2;
                Room::At(
                    now_ns + nanos(u128::from(excess) * 1_000_000_000 / u128::from(rate.0)).max(1),
                )
            }
            (Some(_), free) => Room::Now(free),
        }
    }

    /// Takes in bytes that were there at `from_ns`: when the first and the last of them arrive.
    fn pass(&mut self, bytes: u64, from_ns: u64) -> (u64, u64) {
        let begins_ps = self.free_ps.max(u128::from(from_ns) * 1000);
        let takes_ps = self
            .way
            .rate
            .map_or(0, |rate| u128::from(bytes) * 1_000_000_000_000 / u128::from(rate.0));
        self.free_ps = begins_ps + takes_ps;
        let delay_ns = self.way.delay.0 * 1000 + self.jitter_ns();
        (nanos(begins_ps / 1000) + delay_ns, nanos(self.free_ps / 1000) + delay_ns)
    }

    fn jitter_ns(&mut self) -> u64 {
        if self.way.jitter.0 == 0 {
            return 0;
        }
        // Xorshift: fast, and the same for the same seed on any machine.
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise % (self.way.jitter.0 * 1000)
    }

    /// Nothing passes from `now_ns` on for so long.
    pub(super) fn stall(&mut self, now_ns: u64, lasts_ns: u64) {
        self.free_ps = self.free_ps.max(u128::from(now_ns) * 1000) + u128::from(lasts_ns) * 1000;
    }

    /// One way, ns.
    pub(super) fn delay_ns(&self) -> u64 {
        self.way.delay.0 * 1000
    }
}

/// Bytes on their way that arrive evenly from `first_ns` to `last_ns`.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    bytes: u64,
    first_ns: u64,
    last_ns: u64,
}

/// One direction of one channel.
#[derive(Debug)]
pub(super) struct Lane {
    window: Option<u64>,
    /// Taken in and not delivered.
    held: u64,
    most_held: u64,
    /// Taken in and not acknowledged.
    in_flight: u64,
    on_the_way: VecDeque<Stretch>,
    /// What was delivered, and when its acknowledgements come back.
    acknowledged: VecDeque<Stretch>,
    /// The window opened at this time, and since then nothing was taken in.
    open_since_ns: Option<u64>,
    arrives_ns: u64,
}

impl Lane {
    pub(super) fn new(way: &LinkDirection) -> Lane {
        Lane {
            window: way.window.map(|window| window.0),
            held: 0,
            most_held: 0,
            in_flight: 0,
            on_the_way: VecDeque::new(),
            acknowledged: VecDeque::new(),
            open_since_ns: None,
            arrives_ns: 0,
        }
    }

    /// Taken in and not yet delivered.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// The most that ever was.
    pub(super) fn most_held(&self) -> u64 {
        self.most_held
    }

    /// How much may be taken in now.
    pub(super) fn room(&mut self, road: &Road, now_ns: u64) -> Room {
        let full = self.window.is_some_and(|window| self.in_flight >= window);
        while let Some(stretch) =
            self.acknowledged.front().copied().filter(|stretch| stretch.last_ns <= now_ns)
        {
            if full {
                self.open_since_ns.get_or_insert(stretch.first_ns);
            }
            self.in_flight -= stretch.bytes;
            self.acknowledged.pop_front();
        }
        let window = match self.window {
            None => u64::MAX,
            Some(window) if self.in_flight < window => window - self.in_flight,
            Some(_) => {
                return self
                    .acknowledged
                    .front()
                    .map_or(Room::Later, |stretch| Room::At(stretch.last_ns));
            }
        };
        // What has arrived and is not taken by the receiver counts too, or it would pile up here without end.
        let late = self.overdue(now_ns);
        if late >= road.way.buffer.0 {
            return Room::Later;
        }
        match road.room(now_ns) {
            Room::Now(free) => Room::Now(free.min(window).min(road.way.buffer.0 - late)),
            wait => wait,
        }
    }

    /// Takes in.
    pub(super) fn take(&mut self, road: &mut Road, bytes: u64, now_ns: u64) {
        // A sender that waited for the window sends as soon as it opens, not when our loop wakes.
        let from_ns = self.open_since_ns.take().unwrap_or(now_ns);
        let (first_ns, last_ns) = road.pass(bytes, from_ns);
        // Order is kept, whatever the jitter.
        let first_ns = first_ns.max(self.arrives_ns);
        self.arrives_ns = last_ns.max(first_ns);
        self.on_the_way.push_back(Stretch { bytes, first_ns, last_ns: self.arrives_ns });
        self.held += bytes;
        self.in_flight += bytes;
        self.most_held = self.most_held.max(self.held);
    }

    /// Bytes that have arrived and are not delivered.
    pub(super) fn due(&self, now_ns: u64) -> u64 {
        self.on_the_way
            .iter()
            .take_while(|stretch| stretch.first_ns <= now_ns)
            .map(|stretch| stretch.arrived(now_ns))
            .sum()
    }

    /// Due, and the receiver should have taken them a while ago.
    fn overdue(&self, now_ns: u64) -> u64 {
        self.due(now_ns.saturating_sub(1_000_000))
    }

    /// When to look for due bytes again: when the stretch that arrives next has arrived, or a grain of it.
    pub(super) fn next_due_ns(&self, now_ns: u64, grain_ns: u64) -> Option<u64> {
        let stretch = self.on_the_way.front()?;
        Some(stretch.last_ns.min(stretch.first_ns.max(now_ns) + grain_ns))
    }

    /// When the last byte that was taken in arrives.
    pub(super) fn last_arrival_ns(&self) -> u64 {
        self.arrives_ns
    }

    /// Bytes went out; `back_ns` is how long their acknowledgement takes.
    pub(super) fn deliver(&mut self, mut bytes: u64, now_ns: u64, blocked: bool, back_ns: u64) {
        self.held -= bytes;
        while let Some(stretch) = self.on_the_way.front_mut().filter(|_| bytes > 0) {
            let part = bytes.min(stretch.bytes);
            let arrived = stretch.split(part);
            // By the time of their arrival; of those that the receiver let wait, by the time it took them.
            let told = |ns: u64| if blocked { now_ns } else { ns.min(now_ns) } + back_ns;
            self.acknowledged.push_back(Stretch {
                bytes: part,
                first_ns: told(arrived.first_ns),
                last_ns: told(arrived.last_ns),
            });
            bytes -= part;
            if stretch.bytes == 0 {
                self.on_the_way.pop_front();
            }
        }
        if self.window.is_none() {
            // Nobody waits for it.
            self.acknowledged.clear();
            self.in_flight = self.held;
        }
    }

    /// Nothing arrives from `now_ns` on for so long.
    pub(super) fn stall(&mut self, now_ns: u64, lasts_ns: u64) {
        let later = |ns: &mut u64| {
            if *ns > now_ns {
                *ns += lasts_ns;
            }
        };
        for stretch in self.on_the_way.iter_mut().chain(&mut self.acknowledged) {
            later(&mut stretch.first_ns);
            later(&mut stretch.last_ns);
        }
        later(&mut self.arrives_ns);
    }
}

impl Stretch {
    fn arrived(&self, now_ns: u64) -> u64 {
        if now_ns >= self.last_ns {
            return self.bytes;
        }
        let spans = u128::from(self.last_ns - self.first_ns);
        bytes(u128::from(self.bytes) * u128::from(now_ns.saturating_sub(self.first_ns)) / spans)
    }

    /// Takes the first `part` bytes away.
    fn split(&mut self, part: u64) -> Stretch {
        let spans = u128::from(self.last_ns - self.first_ns);
        let until_ns =
            self.first_ns + nanos(spans * u128::from(part) / u128::from(self.bytes.max(1)));
        let first = Stretch { bytes: part, first_ns: self.first_ns, last_ns: until_ns };
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

    fn way(rate: Option<u64>, delay_us: u64, window: Option<u64>) -> LinkDirection {
        LinkDirection {
            rate: rate.map(Rate),
            delay: Micros(delay_us),
            jitter: Micros(0),
            window: window.map(Bytes),
            buffer: Bytes(1 << 20),
        }
    }

    /// A sender that always has something and a receiver that takes all, with a loop that wakes each `tick_ns`: bytes delivered
    /// after each tick.
    fn run(way: LinkDirection, tick_ns: u64, until_ns: u64) -> Vec<(u64, u64)> {
        let (mut road, mut lane) = (Road::new(way, 1), Lane::new(&way));
        let (mut delivered, mut seen) = (0, Vec::new());
        for now_ns in (1..until_ns).step_by(usize::try_from(tick_ns).unwrap()) {
            while let Room::Now(room) = lane.room(&road, now_ns) {
                lane.take(&mut road, room.clamp(1, 64 << 10), now_ns);
            }
            let due = lane.due(now_ns);
            lane.deliver(due, now_ns, false, way.delay.0 * 1000);
            delivered += due;
            seen.push((now_ns, delivered));
        }
        seen
    }

    #[test]
    fn the_rate_is_kept_over_any_100_ms() {
        for rate in [1 << 20, 100 << 20, 1_175_000_000] {
            let seen = run(way(Some(rate), 0, None), 50_000, 1_000_000_000);
            for pair in seen.windows(2000) {
                let bytes = (pair[1999].1 - pair[0].1) as f64;
                let should = rate as f64 * (pair[1999].0 - pair[0].0) as f64 / 1e9;
                assert!((bytes / should - 1.0).abs() < 0.01, "{rate}: {bytes} {should}");
            }
        }
    }

    #[test]
    fn a_window_gives_window_over_round_trip_however_often_the_loop_wakes() {
        for (window, delay_us) in
            [(64 << 10, 2750), (1 << 20, 2750), (1 << 20, 26_250), (16 << 20, 26_250)]
        {
            for tick_ns in [20_000, 100_000] {
                let seconds = 2.0;
                let seen =
                    run(way(Some(375_000_000), delay_us, Some(window)), tick_ns, 2_000_000_000);
                let rate = seen.last().unwrap().1 as f64 / (seconds - delay_us as f64 / 1e6);
                let should = (window as f64 / (2.0 * delay_us as f64 / 1e6)).min(375e6);
                assert!(
                    (rate / should - 1.0).abs() < 0.02,
                    "window {window}, delay {delay_us}: {rate} {should}"
                );
            }
        }
    }

    #[test]
    fn what_is_stalled_goes_on_afterwards_at_the_same_rate() {
        let way = way(Some(1_000_000), 1000, None);
        let (mut road, mut lane) = (Road::new(way, 1), Lane::new(&way));
        lane.take(&mut road, 1000, 0);
        assert_eq!((lane.due(1_000_000), lane.due(1_500_000), lane.due(2_000_000)), (0, 500, 1000));
        lane.stall(1_500_000, 10_000_000);
        road.stall(1_500_000, 10_000_000);
        assert_eq!(lane.due(12_000_000), 1000);
        lane.take(&mut road, 1000, 1_500_000);
        assert!(lane.last_arrival_ns() >= 12_500_000);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_order_and_limits_are_kept(
            jitter in 0u64..5000, window in proptest::option::of(1u64..100_000), steps in proptest::collection::vec((1u64..10_000, 0u64..3_000_000), 1..200),
        ) {
            let way = LinkDirection { rate: Some(Rate(10_000_000)), delay: Micros(500), jitter: Micros(jitter), window: window.map(Bytes), buffer: Bytes(20_000) };
            let (mut road, mut lane) = (Road::new(way, 7), Lane::new(&way));
            let (mut now_ns, mut taken, mut delivered, mut last_ns) = (0, 0u64, 0u64, 0);
            for (wish, wait_ns) in steps {
                now_ns += wait_ns;
                if let Room::Now(room) = lane.room(&road, now_ns) {
                    let bytes = wish.min(room);
                    lane.take(&mut road, bytes, now_ns);
                    taken += bytes;
                    prop_assert!(lane.last_arrival_ns() >= last_ns);
                    last_ns = lane.last_arrival_ns();
                    prop_assert!(last_ns >= 500_000);
                }
                prop_assert!(window.is_none_or(|window| lane.in_flight <= window));
                let due = lane.due(now_ns);
                prop_assert!(due <= lane.held());
                lane.deliver(due, now_ns, false, 500_000);
                delivered += due;
            }
            prop_assert_eq!(lane.due(last_ns), taken - delivered);
        }
    }
}

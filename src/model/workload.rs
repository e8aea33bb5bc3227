//! What a guest dirties: how many different bytes in how much time, and how much of them was
//! waiting already.
//!
//! A working set is a few classes of memory, each written uniformly at random at its own rate.
//! Uniform writes are one class, hot and cold two, Zipf's law one for each doubling of the rank.
//! Writing page after page is a case of its own.

use base::units::{Bytes, Rate, WriteRate};
use scenario::{Guest, Load, Pattern};

/// Of the architectures that QEMU migrates most.
pub use base::units::PAGE_BYTES_F64 as PAGE;
/// What the micro-guest writes flat out, page by page, under TCG on one core: a figure for
/// simulations, not of anybody's VM.
const FLAT_OUT: f64 = 2e9;
/// What `stress` and `stress-ng` write of their memory, and what goes through an application's, by
/// the fit to runs of 64 MiB under TCG (docs/how-to/guest.md): the first is all of it several times
/// a second, and how often matters little.
const STRESS: f64 = 5e8;
const APPLICATION: f64 = 1e7;

/// Memory that is written evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    /// So much.
    pub bytes: f64,
    /// At this rate, pages × page size, bytes a second.
    pub rate: f64,
}

/// Memory that a guest writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// At random in each.
    pub classes: Vec<Class>,
    /// Page after page, round and round, instead.
    pub sequential: bool,
    /// How much faster the guest could work than it does: throttled to the share s of its time, it
    /// still does min(1, s × this) of its work. 1 for a guest that is as fast as it can be.
    pub slack: f64,
}

impl Workload {
    /// Uniform at random over so much memory.
    #[must_use]
    pub fn uniform(working_set: Bytes, rate: Rate) -> Workload {
        let class = Class { bytes: working_set.0 as f64, rate: rate.0 as f64 };
        Workload { classes: vec![class], sequential: false, slack: 1.0 }
    }

    /// Of the lab's guest.
    #[must_use]
    pub fn of_guest(guest: &Guest) -> Workload {
        let total = guest.working_set.0 as f64;
        // Reads come on top of the rate, unless there are only reads (fixtures/guest/README.md).
        let (rate, slack) = match guest.rate {
            _ if guest.reads_percent >= 100 => (0.0, 1.0),
            // It makes up for 10 ms, and throttled it runs for 10 ms at a time: twice the work that
            // is due.
            WriteRate::At(rate) => (rate.0 as f64, 2.0),
            WriteRate::Max => (FLAT_OUT * f64::from(100 - guest.reads_percent) / 100.0, 1.0),
        };
        let mut classes = match guest.pattern {
            Pattern::Sequential | Pattern::Random => vec![Class { bytes: total, rate }],
            Pattern::HotCold => {
                let (memory, writes) = (
                    f64::from(guest.hot_memory_percent) / 100.0,
                    f64::from(guest.hot_writes_percent) / 100.0,
                );
                vec![
                    Class { bytes: total * memory, rate: rate * writes },
                    Class { bytes: total * (1.0 - memory), rate: rate * (1.0 - writes) },
                ]
            }
            Pattern::Zipf => zipf(total, rate, guest.zipf),
        };
        let load = |rate| Class { bytes: guest.load_memory.0 as f64, rate };
        match guest.load {
            Load::None => {}
            Load::Stress | Load::StressNg => classes.push(load(STRESS)),
            Load::Memcached | Load::Redis => classes.push(load(APPLICATION)),
        }
        Workload { classes, sequential: guest.pattern == Pattern::Sequential, slack }
    }

    /// All of the memory that is written.
    #[must_use]
    pub fn working_set(&self) -> f64 {
        self.classes.iter().map(|class| class.bytes).sum()
    }

    /// Bytes a second of it, counting each page as often as it is written.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.classes.iter().map(|class| class.rate).sum()
    }

    /// The same, written `factor` times as fast.
    #[must_use]
    pub fn faster(&self, factor: f64) -> Workload {
        let classes = self
            .classes
            .iter()
            .map(|class| Class { rate: class.rate * factor, ..*class })
            .collect();
        Workload { classes, ..self.clone() }
    }

    /// The same, over `factor` times the memory.
    #[must_use]
    pub fn larger(&self, factor: f64) -> Workload {
        let classes = self
            .classes
            .iter()
            .map(|class| Class { bytes: class.bytes * factor, ..*class })
            .collect();
        Workload { classes, ..self.clone() }
    }

    /// Different bytes that are dirtied in so many seconds, from clean: U(T).
    #[must_use]
    pub fn dirtied(&self, seconds: f64) -> f64 {
        self.classes.iter().map(|class| class.after(0.0, seconds, 1.0, self.sequential)).sum()
    }

    /// How much of its work a guest does that runs for the share `runs` of the time.
    #[must_use]
    pub fn speed(&self, runs: f64) -> f64 {
        (self.slack * runs).min(1.0)
    }
}

impl Class {
    /// What is dirty after so many seconds at `speed`, of which `left` was before.
    pub fn after(&self, left: f64, seconds: f64, speed: f64, sequential: bool) -> f64 {
        let written = self.rate * speed * seconds;
        if self.bytes <= 0.0 {
            0.0
        } else if sequential {
            // What is left lies behind the writer; it comes there last.
            (left + written).min(self.bytes)
        } else {
            left + (self.bytes - left) * -(-written / self.bytes).exp_m1()
        }
    }
}

/// Ranks 1, 2–3, 4–7 … as classes.
fn zipf(total: f64, rate: f64, exponent: f64) -> Vec<Class> {
    let pages = (total / PAGE).max(1.0);
    let mut bounds = vec![0.5];
    let mut rank = 1.0;
    while rank < pages {
        bounds.push(rank + 0.5);
        rank *= 2.0;
    }
    bounds.push(pages + 0.5);
    // The mass between two ranks, by the integral of k^-s; the first rank is far from its integral,
    // and is itself.
    let mass = |from: f64, to: f64| {
        if (exponent - 1.0).abs() < 1e-9 {
            (to / from).ln()
        } else {
            (to.powf(1.0 - exponent) - from.powf(1.0 - exponent)) / (1.0 - exponent)
        }
    };
    let masses: Vec<f64> = bounds
        .windows(2)
        .enumerate()
        .map(|(index, pair)| if index == 0 { 1.0 } else { mass(pair[0], pair[1]) })
        .collect();
    let sum: f64 = masses.iter().sum();
    let class = |(pair, mass): (&[f64], &f64)| Class {
        bytes: (pair[1] - pair[0]) * PAGE,
        rate: rate * mass / sum,
    };
    bounds.windows(2).zip(&masses).map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_writes_hit_what_is_dirty_already() {
        let workload = Workload::uniform(Bytes(32_000_000), Rate(50_000_000));
        // Measured with calc-dirty-rate: 46, 35, 25 MB/s over 0.1, 0.5, 1 s.
        let seen =
            [0.1, 0.5, 1.0].map(|seconds| (workload.dirtied(seconds) / seconds / 1e6).round());
        assert_eq!(seen, [46.0, 35.0, 25.0]);
        assert!((workload.dirtied(100.0) - workload.working_set()).abs() < 1.0);
    }

    #[test]
    fn zipf_is_all_of_the_memory_and_all_of_the_rate() {
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            let classes = zipf(64e6, 1e6, exponent);
            let bytes: f64 = classes.iter().map(|class| class.bytes).sum();
            let rate: f64 = classes.iter().map(|class| class.rate).sum();
            assert!((bytes - 64e6).abs() < PAGE && (rate - 1e6).abs() < 1.0, "{bytes} {rate}");
            assert!(
                classes
                    .windows(2)
                    .all(|pair| pair[0].rate / pair[0].bytes > pair[1].rate / pair[1].bytes)
            );
        }
    }

    #[test]
    fn a_guest_with_time_to_spare_feels_a_throttle_later() {
        let open_loop = Workload { slack: 2.0, ..Workload::uniform(Bytes(1), Rate(1)) };
        assert_eq!([1.0, 0.5, 0.25].map(|runs| open_loop.speed(runs)), [1.0, 1.0, 0.5]);
    }
}

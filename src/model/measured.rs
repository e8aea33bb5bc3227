//! What `calc-dirty-rate` says of a guest over several periods, and the workload that would dirty
//! as much.

use super::fit::fit;
use super::workload::{Class, PAGE, Workload};
use base::units::Bytes;

/// Different bytes dirtied in one period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dirtied {
    /// The period, s.
    pub seconds: f64,
    /// So many of them.
    pub bytes: f64,
}

/// All that was measured of a guest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// By period.
    pub dirtied: Vec<Dirtied>,
    /// RAM of the VM.
    pub ram: Bytes,
}

impl Measured {
    /// Uniform writes that would dirty as much in each period; `None` if nothing was dirtied, or
    /// two periods are not there.
    #[must_use]
    pub fn fitted(&self) -> Option<Workload> {
        let seen: Vec<Dirtied> = self
            .dirtied
            .iter()
            .copied()
            .filter(|dirtied| dirtied.bytes > 0.0 && dirtied.seconds > 0.0)
            .collect();
        if seen.len() < 2 {
            return None;
        }
        let least = seen.iter().map(|dirtied| dirtied.bytes).fold(PAGE, f64::max) * 0.9;
        let longest = seen.iter().map(|dirtied| dirtied.seconds).fold(0.0, f64::max);
        let error = |bytes: f64, rate: f64| -> f64 {
            let class = Class { bytes, rate };
            seen.iter()
                .map(|dirtied| {
                    (class.after(0.0, dirtied.seconds, 1.0, false) / dirtied.bytes).ln().powi(2)
                })
                .sum()
        };
        let (bytes, rate) = fit(least, (self.ram.0 as f64).max(least * 1.001), longest, error)?;
        Some(Workload { classes: vec![Class { bytes, rate }], sequential: false, slack: 1.0 })
    }

    /// What a guest may write at most of which nothing was seen: less than 1 MiB/s, in the longest
    /// period as in the shortest.
    #[must_use]
    pub fn at_most(&self) -> Workload {
        let longest = self.dirtied.iter().map(|dirtied| dirtied.seconds).fold(1.0, f64::max);
        let rate = 1_048_576.0;
        Workload {
            classes: vec![Class { bytes: rate * longest, rate }],
            sequential: false,
            slack: 1.0,
        }
    }

    /// The fits without one period each: how sure the fit is.
    #[must_use]
    pub fn without_each(&self) -> Vec<Workload> {
        let without = |index: usize| {
            let dirtied = self
                .dirtied
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != index)
                .map(|(_, dirtied)| *dirtied)
                .collect();
            Measured { dirtied, ram: self.ram }.fitted()
        };
        (0..self.dirtied.len()).filter_map(without).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::Rate;

    #[test]
    fn the_workload_is_found_again() {
        let truth = Workload::uniform(Bytes(64 << 20), Rate(100 << 20));
        let dirtied = [0.1, 0.25, 0.5, 1.0, 2.0]
            .map(|seconds| Dirtied { seconds, bytes: truth.dirtied(seconds) })
            .to_vec();
        let found = Measured { dirtied, ram: Bytes(256 << 20) }.fitted().unwrap();
        assert!((found.working_set() / truth.working_set() - 1.0).abs() < 0.02, "{found:?}");
        assert!((found.rate() / truth.rate() - 1.0).abs() < 0.02, "{found:?}");
    }

    #[test]
    fn nothing_dirtied_is_no_workload() {
        let none = Measured {
            dirtied: vec![Dirtied { seconds: 1.0, bytes: 0.0 }; 4],
            ram: Bytes(1 << 30),
        };
        assert_eq!(none.fitted(), None);
        assert!(none.without_each().is_empty());
    }
}

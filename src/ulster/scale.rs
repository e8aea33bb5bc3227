//! How a cell of ours stands for one of the paper's: a similarity in which all that has a dimension is divided. Pure.
//!
//! Rates by one figure, times by another, and so memory by their product: then a migration of ours is the paper's, seen through a glass. Not divided is
//! what QEMU and the processor have of their own: QEMU's windows of 100 ms and slices of 50 ms, the device state, a page, sockets' buffers.

use crate::convergence::{Setup, Switch, Xbzrle};

/// Bytes of what the paper calls a GB of memory: `stress` and iftop count in powers of two.
pub(super) const GB: f64 = 1_073_741_824.0;

/// So many times smaller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Rates.
    pub rate: f64,
    /// Times.
    pub time: f64,
}

impl Scale {
    /// Of the campaigns in fixtures/campaigns/ulster, by their names.
    #[must_use]
    pub fn of_campaign(name: &str) -> Option<Scale> {
        let time = match name {
            "ulster-threshold" => 1.0,
            "ulster-volume" => 4.0,
            "ulster-quick" => 8.0,
            "ulster-gigabit" => 16.0,
            _ => return None,
        };
        Some(Scale { rate: 8.0, time })
    }

    /// Memory.
    #[must_use]
    pub fn memory(self) -> f64 {
        self.rate * self.time
    }

    /// Microseconds of ours as seconds of the paper's.
    #[must_use]
    pub fn seconds(self, micros: f64) -> f64 {
        micros * self.time / 1e6
    }

    /// Bytes of ours as GB of the paper's.
    #[must_use]
    pub fn gb(self, bytes: f64) -> f64 {
        bytes * self.memory() / GB
    }

    /// Bytes a second of ours as Gb/s of the paper's, which iperf counts in powers of ten.
    #[must_use]
    pub fn gbit(self, bytes_a_second: f64) -> f64 {
        bytes_a_second * self.rate * 8.0 / 1e9
    }

    /// The migration at its full size.
    #[must_use]
    pub fn whole(self, setup: &Setup) -> Setup {
        let memory = self.memory();
        let later = |when: Switch| match when {
            Switch::After(seconds) => Switch::After(seconds * self.time),
            other => other,
        };
        Setup {
            ram: setup.ram * memory,
            filled: setup.filled * memory,
            workload: setup.workload.larger(memory).faster(self.rate),
            capacity: setup.capacity * self.rate,
            link_rate: setup.link_rate.map(|rate| rate * self.rate),
            delay: setup.delay * self.time,
            max_bandwidth: setup.max_bandwidth.map(|rate| rate * self.rate),
            max_postcopy_bandwidth: setup.max_postcopy_bandwidth.map(|rate| rate * self.rate),
            switchover_bandwidth: setup.switchover_bandwidth.map(|rate| rate * self.rate),
            downtime_limit: setup.downtime_limit * self.time,
            fixed: setup.fixed,
            throttle: setup.throttle,
            xbzrle: setup.xbzrle.map(|xbzrle| Xbzrle { cache: xbzrle.cache * memory, ..xbzrle }),
            switch: later(setup.switch),
            finish: later(setup.finish),
            timeout: setup.timeout * self.time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convergence::predict;
    use crate::scenario::Loader;

    const LAB: &str = "mode = \"hybrid\"\n[guest]\nmemory = \"158MiB\"\nworking_set = \"128MiB\"\nrate = \"2GiB/s\"\n[limits]\n\
                       bandwidth = \"unlimited\"\ndowntime = \"75ms\"\n[link]\nrate = \"875Mbit/s\"\ndelay = \"688us\"\nwindow = \"512KiB\"\n";

    #[test]
    fn the_whole_is_the_paper_s() {
        let setup = Setup::of_scenario(&Loader::new().text("lab", LAB).unwrap().load().unwrap());
        let whole = Scale { rate: 8.0, time: 4.0 }.whole(&setup);
        assert_eq!((whole.workload.working_set() / GB, whole.downtime_limit), (4.0, 0.3));
        assert_eq!((whole.capacity * 8.0 / 1e9, whole.delay), (7.0, 0.002_752));
        // Bandwidth × downtime-limit goes with memory.
        assert!((whole.threshold() / setup.threshold() - 32.0).abs() < 1e-9);
    }

    #[test]
    fn the_model_says_the_same_of_both_but_for_what_is_not_divided() {
        let setup = Setup::of_scenario(&Loader::new().text("lab", LAB).unwrap().load().unwrap());
        let scale = Scale { rate: 8.0, time: 4.0 };
        let (lab, whole) = (predict(&setup), predict(&scale.whole(&setup)));
        assert!((scale.gb(lab.bytes) / (whole.bytes / GB) - 1.0).abs() < 0.05, "{lab:?} {whole:?}");
        assert!((lab.total * scale.time / whole.total - 1.0).abs() < 0.05, "{lab:?} {whole:?}");
    }

    #[test]
    fn other_campaigns_have_no_scale_of_ours() {
        assert_eq!(Scale::of_campaign("first"), None);
        assert_eq!(Scale::of_campaign("ulster-volume").map(Scale::memory), Some(32.0));
    }
}

//! The scale of our cells: every quantity with a dimension is divided. Pure.
//!
//! Rates are divided by one number and times by another, and therefore memory by their product. A
//! migration of ours then behaves like the paper's at a smaller scale. What QEMU and the processor
//! determine cannot be divided: QEMU's windows of 100 ms and slices of 50 ms, the device state, the
//! page size, and the buffers of sockets.

use model::{Setup, Switch, Xbzrle};

/// The bytes of a GB in the paper: `stress` and iftop count in powers of two.
pub(super) const GB: f64 = 1_073_741_824.0;

/// How many times smaller our cells are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The divisor of rates.
    pub rate: f64,
    /// The divisor of times.
    pub time: f64,
}

impl Scale {
    /// Returns the scale of a campaign of fixtures/campaigns/ulster by its name; `None` for any
    /// other.
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

    /// Returns the divisor of memory.
    #[must_use]
    pub fn memory(self) -> f64 {
        self.rate * self.time
    }

    /// Converts our microseconds to seconds of the paper.
    #[must_use]
    pub fn seconds(self, micros: f64) -> f64 {
        micros * self.time / 1e6
    }

    /// Converts our bytes to GB of the paper.
    #[must_use]
    pub fn gb(self, bytes: f64) -> f64 {
        bytes * self.memory() / GB
    }

    /// Converts our bytes per second to Gb/s of the paper, which iperf counts in powers of ten.
    #[must_use]
    pub fn gbit(self, bytes_per_second: f64) -> f64 {
        bytes_per_second * self.rate * 8.0 / 1e9
    }

    /// Scales a migration of ours up to the paper's size.
    #[must_use]
    pub fn full_size(self, setup: &Setup) -> Setup {
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
    use model::predict;
    use scenario::Loader;

    const LAB: &str = "mode = \"hybrid\"\n[guest]\nmemory = \"158MiB\"\nworking_set = \
        \"128MiB\"\nrate = \"2GiB/s\"\n[limits]\n\
                       bandwidth = \"unlimited\"\ndowntime = \"75ms\"\n[link]\nrate = \
                           \"875Mbit/s\"\ndelay = \"688us\"\nwindow = \"512KiB\"\n";

    #[test]
    fn the_full_size_is_the_paper_s() {
        let setup = Setup::of_scenario(&Loader::new().text("lab", LAB).unwrap().load().unwrap());
        let full = Scale { rate: 8.0, time: 4.0 }.full_size(&setup);
        assert_eq!((full.workload.working_set() / GB, full.downtime_limit), (4.0, 0.3));
        assert_eq!((full.capacity * 8.0 / 1e9, full.delay), (7.0, 0.002_752));
        // Bandwidth × downtime-limit scales with memory.
        assert!((full.threshold() / setup.threshold() - 32.0).abs() < 1e-9);
    }

    #[test]
    fn the_model_predicts_the_same_at_both_sizes_except_for_what_is_not_divided() {
        let setup = Setup::of_scenario(&Loader::new().text("lab", LAB).unwrap().load().unwrap());
        let scale = Scale { rate: 8.0, time: 4.0 };
        let (lab, full) = (predict(&setup), predict(&scale.full_size(&setup)));
        assert!((scale.gb(lab.bytes) / (full.bytes / GB) - 1.0).abs() < 0.05, "{lab:?} {full:?}");
        assert!((lab.total * scale.time / full.total - 1.0).abs() < 0.05, "{lab:?} {full:?}");
    }

    #[test]
    fn other_campaigns_have_no_scale() {
        assert_eq!(Scale::of_campaign("first"), None);
        assert_eq!(Scale::of_campaign("ulster-volume").map(Scale::memory), Some(32.0));
    }
}

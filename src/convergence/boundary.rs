//! Where it begins to converge: by halving, with the model itself.

use super::model::converges;
use super::setup::{Setup, Switch};

/// Relative.
const EXACT: f64 = 1e-3;
/// Where nothing above is looked for.
const MOST: f64 = 1e4;

/// The boundaries around a migration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundaries {
    /// The highest write rate that converges, bytes a second; `None`: none does, or any.
    pub rate: Option<f64>,
    /// The largest working set at this rate, bytes.
    pub working_set: Option<f64>,
    /// The least max-bandwidth, bytes a second; `None`: no bandwidth helps, or any.
    pub bandwidth: Option<f64>,
    /// The least downtime-limit, s.
    pub downtime_limit: Option<f64>,
}

/// Finds them, for pre-copy.
#[must_use]
pub fn boundaries(setup: &Setup) -> Boundaries {
    // Not by when it is given up, but whether at all.
    let setup = Setup { switch: Switch::Never, timeout: setup.timeout.max(600.0), throttle: None, ..setup.clone() };
    let with_rate = |factor: f64| converges(&Setup { workload: setup.workload.faster(factor), ..setup.clone() });
    let with_set = |factor: f64| {
        let larger = setup.workload.larger(factor);
        let more = larger.working_set() - setup.workload.working_set();
        converges(&Setup {
            ram: (setup.ram + more).max(0.0),
            filled: (setup.filled + more).max(0.0),
            workload: larger,
            ..setup.clone()
        })
    };
    let with_bandwidth = |factor: f64| converges(&at_bandwidth(&setup, factor * setup.bandwidth().0));
    let with_limit = |factor: f64| converges(&Setup { downtime_limit: setup.downtime_limit * factor, ..setup.clone() });
    let scaled = |factor: Option<f64>, by: f64| factor.map(|factor| factor * by);
    Boundaries {
        rate: scaled(highest(with_rate), setup.workload.rate()),
        working_set: scaled(highest(with_set), setup.workload.working_set()),
        bandwidth: scaled(lowest(with_bandwidth), setup.bandwidth().0),
        downtime_limit: scaled(lowest(with_limit), setup.downtime_limit),
    }
}

/// As it would be at another bandwidth, where the way carries it.
#[must_use]
pub fn at_bandwidth(setup: &Setup, bandwidth: f64) -> Setup {
    Setup { max_bandwidth: Some(bandwidth), capacity: setup.capacity.max(bandwidth), ..setup.clone() }
}

/// The highest factor that still converges; `None` if the lowest does not, or the highest does.
fn highest(converges: impl Fn(f64) -> bool) -> Option<f64> {
    let (low, high) = (1.0 / MOST, MOST);
    if !converges(low) || converges(high) { None } else { Some(halve(low, high, converges)) }
}

/// The lowest factor that converges.
fn lowest(converges: impl Fn(f64) -> bool) -> Option<f64> {
    let (low, high) = (1.0 / MOST, MOST);
    if converges(low) || !converges(high) { None } else { Some(halve(low, high, |factor| !converges(factor))) }
}

/// Between a factor of which it is true and one of which it is not.
fn halve(mut yes: f64, mut no: f64, is: impl Fn(f64) -> bool) -> f64 {
    while no / yes > 1.0 + EXACT {
        let middle = (yes * no).sqrt();
        if is(middle) { yes = middle } else { no = middle }
    }
    no
}

//! Where it begins to converge: by halving, with the model itself.

use super::model::converges;
use super::setup::{Setup, Switch};

/// Relative.
const EXACT: f64 = 2e-3;
/// Where nothing above is looked for.
const MOST: f64 = 1e4;
/// Of the search for a bracket.
const STEP: f64 = 2.0;

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
    let setup = Setup {
        switch: Switch::Never,
        finish: Switch::Never,
        timeout: setup.timeout.max(600.0),
        throttle: None,
        ..setup.clone()
    };
    let with_rate = |factor: f64| {
        converges(&Setup { workload: setup.workload.faster(factor), ..setup.clone() })
    };
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
    let with_bandwidth =
        |factor: f64| converges(&at_bandwidth(&setup, factor * setup.bandwidth().0));
    let with_limit = |factor: f64| {
        converges(&Setup { downtime_limit: setup.downtime_limit * factor, ..setup.clone() })
    };
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
    Setup {
        max_bandwidth: Some(bandwidth),
        capacity: setup.capacity.max(bandwidth),
        ..setup.clone()
    }
}

/// The highest factor that still converges; `None` if the lowest does not, or the highest does.
fn highest(converges: impl Fn(f64) -> bool) -> Option<f64> {
    let (yes, no) = bracket(&converges)?;
    Some(halve(yes, no, converges))
}

/// The lowest factor that converges.
fn lowest(converges: impl Fn(f64) -> bool) -> Option<f64> {
    let (yes, no) = bracket(|factor| converges(1.0 / factor))?;
    Some(1.0 / halve(yes, no, |factor| converges(1.0 / factor)))
}

/// A factor of which it is true and one, `STEP` times that, of which it is not: the pair that is
/// nearest to 1.
fn bracket(is: impl Fn(f64) -> bool) -> Option<(f64, f64)> {
    let mut factor = 1.0;
    let first = is(factor);
    while (1.0 / MOST..=MOST).contains(&factor) {
        let next = if first { factor * STEP } else { factor / STEP };
        if is(next) != first {
            return Some(if first { (factor, next) } else { (next, factor) });
        }
        factor = next;
    }
    None
}

/// Between a factor of which it is true and one of which it is not: the last of which it is.
fn halve(mut yes: f64, mut no: f64, is: impl Fn(f64) -> bool) -> f64 {
    while no / yes > 1.0 + EXACT {
        let middle = (yes * no).sqrt();
        if is(middle) { yes = middle } else { no = middle }
    }
    yes
}

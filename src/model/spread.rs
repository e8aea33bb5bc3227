//! How sure a prediction is: what the model says of workloads that are nearly as likely.

use super::model::{Prediction, predict};
use super::setup::Setup;
use super::workload::Workload;

/// The least and the most of each figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Of how many it converges.
    pub converging: usize,
    /// How many there are.
    pub of: usize,
    /// From active to completed, or to the time-out, s.
    pub total: (f64, f64),
    /// Bytes sent.
    pub bytes: (f64, f64),
    /// The blackout of those that converge, s.
    pub blackout: Option<(f64, f64)>,
}

/// Of this setup and of the same with each of the other workloads.
#[must_use]
pub fn spread(setup: &Setup, others: &[Workload]) -> Spread {
    let with =
        |workload: &Workload| predict(&Setup { workload: workload.clone(), ..setup.clone() });
    let all: Vec<Prediction> = std::iter::once(&setup.workload).chain(others).map(with).collect();
    let blackouts = all.iter().filter_map(|prediction| prediction.blackout);
    Spread {
        converging: all.iter().filter(|prediction| prediction.converges).count(),
        of: all.len(),
        total: extremes(all.iter().map(|prediction| prediction.total)).unwrap_or_default(),
        bytes: extremes(all.iter().map(|prediction| prediction.bytes)).unwrap_or_default(),
        blackout: extremes(blackouts),
    }
}

fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |seen, value| {
        Some(
            seen.map_or((value, value), |(low, high): (f64, f64)| {
                (low.min(value), high.max(value))
            }),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::units::{Bytes, Rate};
    use scenario::Scenario;

    #[test]
    fn a_faster_guest_widens_it() {
        let setup = Setup {
            workload: Workload::uniform(Bytes(64 << 20), Rate(50 << 20)),
            ..Setup::of_scenario(&Scenario::default())
        };
        let alone = spread(&setup, &[]);
        assert_eq!((alone.converging, alone.of, alone.total.0), (1, 1, alone.total.1));
        let wide = spread(&setup, &[Workload::uniform(Bytes(64 << 20), Rate(400 << 20))]);
        assert_eq!((wide.converging, wide.of), (1, 2));
        assert!(wide.total.1 > wide.total.0 && wide.blackout == alone.blackout);
    }
}

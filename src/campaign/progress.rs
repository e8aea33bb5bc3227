//! How far a campaign is, and how long it will take. Pure.

use super::definition::{Cell, Definition};
use super::journal::CompletedVisit;
use super::schedule::Visit;
use crate::convergence::{Setup, predict};
use std::time::Duration;

/// Everything of a visit that is no migration: two QEMUs, the guest's start, what it is asked before and after, the record.
const OVERHEAD: f64 = 0.6;

/// How much of a campaign is done.
#[derive(Clone, Debug)]
pub struct SweepProgress {
    /// Visits that are in the journal, also those of earlier calls.
    pub visits_done: usize,
    /// All visits of the campaign, or of its shard.
    pub visits_total: usize,
    /// Runs so far that did not complete, or whose memory was found corrupt.
    pub failed_runs: usize,
    /// The name of the cell that is visited now.
    pub cell: String,
    /// The lower and the upper estimate of the time until the end.
    pub remaining: (Duration, Duration),
}

/// How long a visit to a cell should take by the model of QEMU's loop, s.
#[must_use]
pub fn predict_visit_seconds(definition: &Definition, cell: &Cell, round: u32) -> f64 {
    let migrations = f64::from(definition.warm_up + definition.runs_in_round(round));
    let of_one = predict(&Setup::of_scenario(&cell.scenario)).total;
    OVERHEAD + migrations * of_one
}

/// What is left: cells that were visited take what they took, the others what the model says, as far off as it was elsewhere.
#[must_use]
pub(super) fn estimate_remaining(
    definition: &Definition,
    done: &[CompletedVisit],
    open: &[Visit],
) -> (Duration, Duration) {
    let expected = |visit: Visit| {
        let cell = definition.cells.iter().find(|cell| cell.number == visit.cell);
        cell.map_or(OVERHEAD, |cell| predict_visit_seconds(definition, cell, visit.round)).max(0.01)
    };
    let mut off: Vec<f64> =
        done.iter().map(|visited| visited.seconds / expected(visited.visit)).collect();
    off.sort_by(f64::total_cmp);
    let quartile = |hundredths: usize| off.get(off.len() * hundredths / 100).copied();
    let (low, high) = (quartile(25).unwrap_or(0.8), quartile(75).unwrap_or(1.5));
    let (mut least, mut most) = (0.0, 0.0);
    for visit in open {
        let mut took: Vec<f64> = done
            .iter()
            .filter(|visited| visited.visit.cell == visit.cell)
            .map(|visited| visited.seconds)
            .collect();
        took.sort_by(f64::total_cmp);
        match took.as_slice() {
            [] => {
                let expected = expected(*visit);
                (least, most) = (least + expected * low, most + expected * high);
            }
            took => {
                let at =
                    |hundredths: usize| took[(took.len() * hundredths / 100).min(took.len() - 1)];
                (least, most) = (least + at(25), most + at(75));
            }
        }
    }
    (Duration::from_secs_f64(least), Duration::from_secs_f64(most.max(least)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::definition::Overrides;
    use std::path::Path;

    fn definition() -> Definition {
        let text = "repeats = 4\n[vary]\nguest.rate = [\"10MiB/s\", \"20MiB/s\"]\n";
        Definition::from_toml("c", "c", Path::new("."), text, &Overrides::default()).unwrap()
    }

    #[test]
    fn a_cell_that_was_visited_takes_what_it_took() {
        let done = [3.0, 5.0, 4.0].map(|seconds| CompletedVisit {
            visit: Visit { cell: 1, round: 1 },
            seconds,
            rows: Vec::new(),
        });
        let open = [Visit { cell: 1, round: 4 }, Visit { cell: 1, round: 5 }];
        assert_eq!(
            estimate_remaining(&definition(), &done, &open),
            (Duration::from_secs(6), Duration::from_secs(10))
        );
        assert_eq!(estimate_remaining(&definition(), &done, &[]), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn one_that_was_not_takes_what_the_model_says_as_far_off_as_it_was_elsewhere() {
        let definition = definition();
        let expected = predict_visit_seconds(&definition, &definition.cells[1], 1);
        assert!((0.7..2.0).contains(&expected), "{expected}");
        let first = predict_visit_seconds(&definition, &definition.cells[0], 1);
        let done = [CompletedVisit {
            visit: Visit { cell: 1, round: 1 },
            seconds: first * 2.0,
            rows: Vec::new(),
        }];
        let (least, most) = estimate_remaining(&definition, &done, &[Visit { cell: 2, round: 1 }]);
        assert!((least.as_secs_f64() - expected * 2.0).abs() < 1e-6 && least == most);
    }
}

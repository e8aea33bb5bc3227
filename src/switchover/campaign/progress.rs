//! How much of a campaign is done, and an estimate of how long the rest takes. Pure.

use super::definition::{Cell, Definition};
use super::journal::CompletedVisit;
use super::schedule::Visit;
use model::{Setup, predict};
use std::time::Duration;

/// The time that a visit takes besides its migrations, in seconds: starting two QEMUs and the
/// guest, querying them before and after, and writing the run directory.
const VISIT_OVERHEAD_SECONDS: f64 = 0.6;

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

/// Predicts the duration of one visit of a cell in seconds, by the model of QEMU's migration loop.
#[must_use]
pub fn predict_visit_seconds(definition: &Definition, cell: &Cell, round: u32) -> f64 {
    let migrations = f64::from(definition.warm_up + definition.runs_in_round(round));
    let one_migration = predict(&Setup::of_scenario(&cell.scenario)).total;
    VISIT_OVERHEAD_SECONDS + migrations * one_migration
}

/// Estimates how long the open visits take, from the first to the third quartile: a cell that was
/// visited before takes as long as it did then; any other cell takes what the model predicts, times
/// the ratio of measured to predicted duration in the cells that were visited.
#[must_use]
pub(super) fn estimate_remaining(
    definition: &Definition,
    done: &[CompletedVisit],
    open_visits: &[Visit],
) -> (Duration, Duration) {
    let expected = |visit: Visit| {
        let cell = definition.cells.iter().find(|cell| cell.number == visit.cell);
        cell.map_or(VISIT_OVERHEAD_SECONDS, |cell| {
            predict_visit_seconds(definition, cell, visit.round)
        })
        .max(0.01)
    };
    let mut ratios: Vec<f64> =
        done.iter().map(|visited| visited.seconds / expected(visited.visit)).collect();
    ratios.sort_by(f64::total_cmp);
    let quartile = |hundredths: usize| ratios.get(ratios.len() * hundredths / 100).copied();
    let (low, high) = (quartile(25).unwrap_or(0.8), quartile(75).unwrap_or(1.5));
    let (mut min, mut max) = (0.0, 0.0);
    for visit in open_visits {
        let mut took: Vec<f64> = done
            .iter()
            .filter(|visited| visited.visit.cell == visit.cell)
            .map(|visited| visited.seconds)
            .collect();
        took.sort_by(f64::total_cmp);
        match took.as_slice() {
            [] => {
                let expected = expected(*visit);
                (min, max) = (min + expected * low, max + expected * high);
            }
            took => {
                let at =
                    |hundredths: usize| took[(took.len() * hundredths / 100).min(took.len() - 1)];
                (min, max) = (min + at(25), max + at(75));
            }
        }
    }
    (Duration::from_secs_f64(min), Duration::from_secs_f64(max.max(min)))
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
    fn a_visited_cell_takes_as_long_as_before() {
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
    fn an_unvisited_cell_takes_the_predicted_time_corrected_by_the_visited_cells() {
        let definition = definition();
        let expected = predict_visit_seconds(&definition, &definition.cells[1], 1);
        assert!((0.7..2.0).contains(&expected), "{expected}");
        let first = predict_visit_seconds(&definition, &definition.cells[0], 1);
        let done = [CompletedVisit {
            visit: Visit { cell: 1, round: 1 },
            seconds: first * 2.0,
            rows: Vec::new(),
        }];
        let (min, max) = estimate_remaining(&definition, &done, &[Visit { cell: 2, round: 1 }]);
        assert!((min.as_secs_f64() - expected * 2.0).abs() < 1e-6 && min == max);
    }
}

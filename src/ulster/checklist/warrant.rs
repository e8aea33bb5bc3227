//! How near the model comes to what was run, cell by cell: then its word on the full size counts.

use super::super::cells::Cell;
use crate::campaign::statistics::SortedValues;
use crate::scenario::{Mode, spelling};
use std::fmt::Write;

/// Measured by predicted, of the same small cell.
pub(in crate::ulster) fn warrant(cells: &[Cell]) -> String {
    let mut text = "| | cells | outcome foretold | total time: here / model | bytes: here / model | blackout: here − model |\n|---|---|---|---|---|---|\n".to_owned();
    for mode in [Mode::Precopy, Mode::Hybrid, Mode::Postcopy] {
        let mine: Vec<&Cell> =
            cells.iter().filter(|cell| cell.mode == mode && !cell.runs.is_empty()).collect();
        let right = mine
            .iter()
            .filter(|cell| cell.runs.iter().all(|run| run.completed == cell.scaled.completes))
            .count();
        let done = || mine.iter().filter(|cell| cell.all_completed() && cell.scaled.completes);
        let times =
            done().filter_map(|cell| Some(cell.median(|run| run.total)?.value / cell.scaled.total));
        let bytes =
            done().filter_map(|cell| Some(cell.median(|run| run.bytes)?.value / cell.scaled.bytes));
        let blackouts = done().filter_map(|cell| {
            Some((cell.median(|run| run.blackout)?.value - cell.scaled.blackout?) * 1e3)
        });
        let _ = writeln!(
            text,
            "| {} | {} | {right} | {} | {} | {} |",
            spelling(&mode),
            mine.len(),
            spread(times, 2, ""),
            spread(bytes, 2, ""),
            spread(blackouts, 0, " ms")
        );
    }
    text
}

/// `1.04 (0.98 to 1.21)`: the median of the cells, the least and the most.
fn spread(values: impl Iterator<Item = f64>, decimals: usize, unit: &str) -> String {
    let all = SortedValues::new(values);
    let ends = all.values().first().zip(all.values().last());
    match all.quantile(50).zip(ends) {
        Some((median, (low, high))) => {
            format!("{:.decimals$}{unit} ({low:.decimals$} to {high:.decimals$})", median.value)
        }
        None => "–".to_owned(),
    }
}

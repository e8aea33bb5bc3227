//! Compares the model's prediction for each of our cells with the measurement. This shows how far
//! its prediction for the paper's size can be trusted.

use super::super::cells::PaperCell;
use analysis::statistics::SortedValues;
use scenario::{Mode, serialized_name};
use std::fmt::Write;

/// Makes the table of measured to predicted figures of our cells.
pub(crate) fn model_accuracy(cells: &[PaperCell]) -> String {
    let mut text = "| | cells | outcome predicted | total time: here / model | bytes: here / \
        model | blackout: here − model |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for mode in [Mode::Precopy, Mode::Hybrid, Mode::Postcopy] {
        let mine: Vec<&PaperCell> =
            cells.iter().filter(|cell| cell.mode == mode && !cell.runs.is_empty()).collect();
        let right = mine
            .iter()
            .filter(|cell| cell.runs.iter().all(|run| run.completed == cell.our_size.completes))
            .count();
        let done = || mine.iter().filter(|cell| cell.all_completed() && cell.our_size.completes);
        let times = done()
            .filter_map(|cell| Some(cell.median(|run| run.total)?.value / cell.our_size.total));
        let bytes = done()
            .filter_map(|cell| Some(cell.median(|run| run.bytes)?.value / cell.our_size.bytes));
        let blackouts = done().filter_map(|cell| {
            Some((cell.median(|run| run.blackout)?.value - cell.our_size.blackout?) * 1e3)
        });
        let _ = writeln!(
            text,
            "| {} | {} | {right} | {} | {} | {} |",
            serialized_name(&mode),
            mine.len(),
            format_spread(times, 2, ""),
            format_spread(bytes, 2, ""),
            format_spread(blackouts, 0, " ms")
        );
    }
    text
}

/// Formats the median of the cells with the smallest and the largest, such as `1.04 (0.98 to
/// 1.21)`.
fn format_spread(values: impl Iterator<Item = f64>, decimals: usize, unit: &str) -> String {
    let all = SortedValues::new(values);
    let ends = all.values().first().zip(all.values().last());
    match all.quantile(50).zip(ends) {
        Some((median, (low, high))) => {
            format!("{:.decimals$}{unit} ({low:.decimals$} to {high:.decimals$})", median.value)
        }
        None => "–".to_owned(),
    }
}

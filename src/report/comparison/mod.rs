//! A comparison for the terminal: what it comes to in sentences, the figures in a table, and several modes as a drawing.
//!
//! Takes a [`Comparison`]; gives text. Knows nothing of how it was computed.
//!
//! The most important first: runs that failed, then what is different, then what could not be shown to be, then what nothing can be said
//! of. Metrics keep their order, which is that of their importance.
//!
//! Map: `words` figures, changes and intervals as text · `sentences` · `table` · `modes` the drawing.

mod modes;
mod sentences;
mod table;
pub(super) mod words;

use crate::campaign::Comparison;
use crate::campaign::compare::{CellComparison, MetricComparison, SampleSummary};
use std::fmt::Write;

/// A page.
#[must_use]
pub fn format_comparison(comparison: &Comparison) -> String {
    let mut text = head(comparison);
    for line in sentences::sentences(comparison) {
        let _ = writeln!(text, "{line}");
    }
    if comparison.cells.is_empty() {
        return text;
    }
    let _ = write!(text, "\n{}", table::table(comparison));
    for drawing in modes::drawings(comparison) {
        let _ = write!(text, "\n{drawing}");
    }
    text
}

fn head(comparison: &Comparison) -> String {
    let (a, b) = (&comparison.a, &comparison.b);
    let cells = if comparison.cells.len() == 1 {
        String::new()
    } else {
        format!(", {} cells", comparison.cells.len())
    };
    let pairs = comparison
        .pairs
        .map_or_else(|| ", not paired".to_owned(), |pairs| format!(", {pairs} pairs"));
    format!("{} against {}: {} and {} runs{cells}{pairs}\n", b.name, a.name, b.runs, a.runs)
}

/// The columns of which both sides have values: what only one can have (page faults of post-copy) is not compared.
fn measured(comparison: &Comparison) -> Vec<usize> {
    columns(comparison).filter(|column| sides_with(comparison, *column) == [true, true]).collect()
}

fn columns(comparison: &Comparison) -> std::ops::Range<usize> {
    0..comparison.cells.first().map_or(0, |cell| cell.metrics.len())
}

/// Whether A and B have any value of a column.
fn sides_with(comparison: &Comparison, column: usize) -> [bool; 2] {
    let has = |side: &SampleSummary| side.values + side.left_out.without_partner > 0;
    let any = |of: fn(&MetricComparison) -> &SampleSummary| {
        of_column(&comparison.cells, column).any(|(_, figures)| has(of(figures)))
    };
    [any(|figures| &figures.a), any(|figures| &figures.b)]
}

/// One metric in all cells.
fn of_column(
    cells: &[CellComparison],
    column: usize,
) -> impl Iterator<Item = (&str, &MetricComparison)> {
    cells.iter().filter_map(move |cell| Some((cell.cell.as_str(), cell.metrics.get(column)?)))
}

#[cfg(test)]
mod tests;

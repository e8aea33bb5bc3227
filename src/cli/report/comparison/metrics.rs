//! The metrics of a comparison, by their column.

use analysis::Comparison;
use analysis::compare::{CellComparison, MetricComparison, SampleSummary};

/// The columns of metrics that both sides have values of. A metric that only one side can have,
/// such as post-copy's page faults, is not compared.
pub(super) fn measured_columns(comparison: &Comparison) -> Vec<usize> {
    all_columns(comparison)
        .filter(|column| sides_with_values(comparison, *column) == [true, true])
        .collect()
}

/// The columns of all metrics.
pub(super) fn all_columns(comparison: &Comparison) -> std::ops::Range<usize> {
    0..comparison.cells.first().map_or(0, |cell| cell.metrics.len())
}

/// Whether A and B have any value of a metric.
pub(super) fn sides_with_values(comparison: &Comparison, column: usize) -> [bool; 2] {
    let has = |side: &SampleSummary| side.values + side.left_out.without_partner > 0;
    let any = |of: fn(&MetricComparison) -> &SampleSummary| {
        metric_by_cell(&comparison.cells, column).any(|(_, figures)| has(of(figures)))
    };
    [any(|figures| &figures.a), any(|figures| &figures.b)]
}

/// One metric in all cells, each with the cell's name.
pub(super) fn metric_by_cell(
    cells: &[CellComparison],
    column: usize,
) -> impl Iterator<Item = (&str, &MetricComparison)> {
    cells.iter().filter_map(move |cell| Some((cell.cell.as_str(), cell.metrics.get(column)?)))
}

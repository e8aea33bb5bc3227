//! The table of a comparison. With one cell it has a row for each metric; with several cells it
//! has, for each metric, a row for each cell.

use super::super::columns::align_columns;
use super::figures::{format_change, format_estimate, format_p_value};
use super::metrics::{measured_columns, metric_by_cell};
use analysis::Comparison;
use analysis::compare::{Change, MetricComparison, SignificanceTest, Verdict};
use analysis::statistics::Estimate;

/// At most this many cells are shown for each metric; `--json` has all of them.
const MAX_CELLS: usize = 12;
/// If the table would have more rows than this, it shows only cells with a difference.
const MAX_ROWS: usize = 30;
const COLUMNS: usize = 6;

type Row = [String; COLUMNS];

/// Formats the table and its legend.
pub(super) fn format_table(comparison: &Comparison) -> String {
    let mut rows = vec![
        ["", &comparison.a.name, &comparison.b.name, "change", "p", ""].map(ToOwned::to_owned),
    ];
    for column in measured_columns(comparison) {
        match comparison.cells.as_slice() {
            [only] => rows.extend(rows_with_percentiles(&only.metrics[column])),
            _ => rows.extend(rows_of_cells(comparison, column)),
        }
    }
    align_columns(&rows) + &format_legend(comparison)
}

fn format_legend(comparison: &Comparison) -> String {
    let test = match (comparison.test, comparison.paired) {
        (SignificanceTest::Ranks, false) => "Mann-Whitney",
        (SignificanceTest::Ranks, true) => "Wilcoxon's signed ranks",
        (SignificanceTest::Medians, false) => "permutations of medians",
        (SignificanceTest::Medians, true) => "signs",
    };
    let cells = comparison
        .cells
        .iter()
        .flat_map(|cell| &cell.metrics)
        .map(|figures| figures.family)
        .max()
        .unwrap_or(0);
    let all = comparison
        .pooled
        .first()
        .map_or_else(String::new, |all| format!("{} tests of all pairs and ", all.family));
    let of_cells = if comparison.pooled.is_empty() { "tests" } else { "of cells" };
    format!(
        "  medians with 95 % intervals; p by {test}, two-sided, corrected by Holm for \
         {all}{cells} {of_cells}\n"
    )
}

/// The row of the median, and rows of the 90th and 99th percentiles where there are enough values.
fn rows_with_percentiles(figures: &MetricComparison) -> Vec<Row> {
    let mut rows = vec![median_row(&figures.label, figures)];
    let quantiles = figures.a.quantiles.zip(figures.b.quantiles);
    for (name, change, of) in [
        ("  90th percentile", &figures.tails.p90, quantiles.map(|(a, b)| (a.p90, b.p90))),
        ("  99th percentile", &figures.tails.p99, quantiles.map(|(a, b)| (a.p99, b.p99))),
    ] {
        if let (Some(change), Some((a, b))) = (change, of) {
            rows.push(build_row(name, figures, (Some(&a), Some(&b)), Some(change)));
        }
    }
    rows
}

/// The row of a metric's median, with its p value and its verdict.
fn median_row(name: &str, figures: &MetricComparison) -> Row {
    let medians = (figures.a.quantiles.map(|of| of.p50), figures.b.quantiles.map(|of| of.p50));
    let mut row =
        build_row(name, figures, (medians.0.as_ref(), medians.1.as_ref()), figures.change.as_ref());
    row[4] = figures.p_corrected.map_or_else(String::new, format_p_value);
    row[5] = match figures.verdict {
        Verdict::Lower => "lower".to_owned(),
        Verdict::Higher => "higher".to_owned(),
        Verdict::NoDifferenceShown => String::new(),
        Verdict::TooFew => "too few".to_owned(),
    };
    row
}

fn build_row(
    name: &str,
    figures: &MetricComparison,
    (a, b): (Option<&Estimate>, Option<&Estimate>),
    change: Option<&Change>,
) -> Row {
    let side = |estimate: Option<&Estimate>| {
        estimate.map_or_else(String::new, |estimate| format_estimate(estimate, figures.unit))
    };
    let change = change.map_or_else(String::new, |change| format_change(change, figures.unit));
    [name.to_owned(), side(a), side(b), change, String::new(), String::new()]
}

/// The row over all pairs, if it was computed, and then the cells, those with a difference first.
fn rows_of_cells(comparison: &Comparison, column: usize) -> Vec<Row> {
    let all: Vec<(&str, &MetricComparison)> = metric_by_cell(&comparison.cells, column).collect();
    let Some((_, first)) = all.first() else { return Vec::new() };
    let head = match comparison.pooled.get(column) {
        Some(pooled) => median_row(&format!("{}, all pairs", first.label), pooled),
        None => label_row(&first.label),
    };
    let (differing, others): (Vec<_>, Vec<_>) =
        all.iter().copied().partition(|(_, figures)| figures.shows_difference());
    let others =
        if all.len() * measured_columns(comparison).len() > MAX_ROWS { Vec::new() } else { others };
    let shown = differing.into_iter().chain(others).take(MAX_CELLS);
    let mut rows = vec![head];
    rows.extend(shown.map(|(cell, figures)| median_row(&format!("  {cell}"), figures)));
    let more = all.len() + 1 - rows.len();
    if more > 0 {
        rows.push(label_row(&format!("  and {more} more cells")));
    }
    rows
}

/// A row that has only a label.
fn label_row(name: &str) -> Row {
    let mut row = Row::default();
    name.clone_into(&mut row[0]);
    row
}

//! The figures of a comparison in a table: a row for each metric of the only cell, or for each metric a row for each cell.

use super::{measured, of_column, words};
use crate::campaign::Comparison;
use crate::campaign::compare::{Change, MetricComparison, SignificanceTest, Verdict};
use crate::campaign::statistics::Estimate;

/// Rows for each metric. All cells are in the JSON.
const CELLS: usize = 12;
/// Beyond so many rows only cells that differ are shown.
const ROWS: usize = 30;
const COLUMNS: usize = 6;

type Row = [String; COLUMNS];

/// Lines in columns, and what they are.
pub(super) fn table(comparison: &Comparison) -> String {
    let mut rows = vec![
        ["", &comparison.a.name, &comparison.b.name, "change", "p", ""].map(ToOwned::to_owned),
    ];
    for column in measured(comparison) {
        match comparison.cells.as_slice() {
            [only] => rows.extend(with_tail(&only.metrics[column])),
            _ => rows.extend(of_cells(comparison, column)),
        }
    }
    aligned(&rows) + &legend(comparison)
}

fn legend(comparison: &Comparison) -> String {
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
        "  medians with 95 % intervals; p by {test}, two-sided, corrected by Holm for {all}{cells} {of_cells}\n"
    )
}

/// The median, and what is rare where there are enough values to say.
fn with_tail(figures: &MetricComparison) -> Vec<Row> {
    let mut rows = vec![row(&figures.label, figures)];
    let quantiles = figures.a.quantiles.zip(figures.b.quantiles);
    for (name, change, of) in [
        ("  90th percentile", &figures.tails.p90, quantiles.map(|(a, b)| (a.p90, b.p90))),
        ("  99th percentile", &figures.tails.p99, quantiles.map(|(a, b)| (a.p99, b.p99))),
    ] {
        if let (Some(change), Some((a, b))) = (change, of) {
            rows.push(cells(name, figures, (Some(&a), Some(&b)), Some(change)));
        }
    }
    rows
}

fn row(name: &str, figures: &MetricComparison) -> Row {
    let medians = (figures.a.quantiles.map(|of| of.p50), figures.b.quantiles.map(|of| of.p50));
    let mut row =
        cells(name, figures, (medians.0.as_ref(), medians.1.as_ref()), figures.change.as_ref());
    row[4] = figures.p_corrected.map(words::probability).unwrap_or_default();
    row[5] = match figures.verdict {
        Verdict::Lower => "lower".to_owned(),
        Verdict::Higher => "higher".to_owned(),
        Verdict::NoDifferenceShown => String::new(),
        Verdict::TooFew => "too few".to_owned(),
    };
    row
}

fn cells(
    name: &str,
    figures: &MetricComparison,
    (a, b): (Option<&Estimate>, Option<&Estimate>),
    change: Option<&Change>,
) -> Row {
    let side = |estimate: Option<&Estimate>| {
        estimate.map(|estimate| words::estimate(estimate, figures.unit)).unwrap_or_default()
    };
    let change = change.map(|change| words::change(change, figures.unit)).unwrap_or_default();
    [name.to_owned(), side(a), side(b), change, String::new(), String::new()]
}

/// The metric over all cells, if that was computed, and then the cells: first those that differ.
fn of_cells(comparison: &Comparison, column: usize) -> Vec<Row> {
    let all: Vec<(&str, &MetricComparison)> = of_column(&comparison.cells, column).collect();
    let Some((_, first)) = all.first() else { return Vec::new() };
    let head = match comparison.pooled.get(column) {
        Some(pooled) => row(&format!("{}, all pairs", first.label), pooled),
        None => named(&first.label),
    };
    let (differing, others): (Vec<_>, Vec<_>) =
        all.iter().copied().partition(|(_, figures)| figures.shows_difference());
    let others = if all.len() * measured(comparison).len() > ROWS { Vec::new() } else { others };
    let shown = differing.into_iter().chain(others).take(CELLS);
    let mut rows = vec![head];
    rows.extend(shown.map(|(cell, figures)| row(&format!("  {cell}"), figures)));
    let more = all.len() + 1 - rows.len();
    if more > 0 {
        rows.push(named(&format!("  and {more} more cells")));
    }
    rows
}

fn named(name: &str) -> Row {
    let mut row = Row::default();
    name.clone_into(&mut row[0]);
    row
}

fn aligned(rows: &[Row]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |row: &Row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

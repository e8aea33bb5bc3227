//! Finds the rows of two tables that belong together: the cells that both have, their rows, the
//! pairs of rows, and the values of a metric. Nothing is dropped silently: cells and metrics
//! without a counterpart are named, and values that cannot be used are counted.

use super::comparison::{ExcludedValues, Unmatched};
use super::options::Pairing;
use crate::table::{Metric, Row, Table};
use record::Outcome;
use std::collections::{HashMap, HashSet};

/// Two tables, matched.
pub(super) struct Matching<'a> {
    pub(super) cells: Vec<MatchedCell<'a>>,
    pub(super) columns: Vec<Column<'a>>,
    pub(super) paired: bool,
    pub(super) only_in_a: Unmatched,
    pub(super) only_in_b: Unmatched,
}

/// The rows of one cell in both tables.
#[derive(Default)]
pub(super) struct MatchedCell<'a> {
    pub(super) cell: &'a str,
    pub(super) a: Vec<&'a Row>,
    pub(super) b: Vec<&'a Row>,
    /// Pairs of rows; empty in an unpaired design.
    pub(super) pairs: Vec<(&'a Row, &'a Row)>,
}

/// A metric that both tables have, with its column in each.
pub(super) struct Column<'a> {
    pub(super) metric: &'a Metric,
    in_a: usize,
    in_b: usize,
}

/// The values to compare. In a paired design the n-th values of both sides are a pair.
pub(super) struct Values {
    pub(super) a: Vec<f64>,
    pub(super) b: Vec<f64>,
    pub(super) left_out_a: ExcludedValues,
    pub(super) left_out_b: ExcludedValues,
}

impl<'a> Matching<'a> {
    pub(super) fn of(a: &'a Table, b: &'a Table, pairing: Pairing) -> Matching<'a> {
        let (rows_a, rows_b) = (rows_by_cell(a), rows_by_cell(b));
        let (cells_a, cells_b) = (list_cells(a), list_cells(b));
        let matched = |cell: &&'a str| {
            let (a, b) = (rows_a.get(cell)?.clone(), rows_b.get(cell)?.clone());
            Some(MatchedCell { cell, pairs: find_pairs(&a, &b), a, b })
        };
        let mut cells: Vec<MatchedCell<'a>> = cells_a.iter().filter_map(matched).collect();
        let all_have_keys = a.rows.iter().chain(&b.rows).all(|row| row.pair.is_some());
        let paired = pairing == Pairing::IfPossible
            && all_have_keys
            && cells.iter().any(|cell| !cell.pairs.is_empty());
        if !paired {
            cells.iter_mut().for_each(|cell| cell.pairs.clear());
        }
        let missing = |cells: &[&str], rows: &HashMap<&str, Vec<&Row>>| {
            cells
                .iter()
                .filter(|cell| !rows.contains_key(*cell))
                .map(|cell| (*cell).to_owned())
                .collect()
        };
        Matching {
            cells,
            columns: find_columns(a, b),
            paired,
            only_in_a: Unmatched {
                cells: missing(&cells_a, &rows_b),
                metrics: list_missing_metrics(a, b),
            },
            only_in_b: Unmatched {
                cells: missing(&cells_b, &rows_a),
                metrics: list_missing_metrics(b, a),
            },
        }
    }

    /// Returns the rows and the pairs of all cells as if they were one cell.
    pub(super) fn pool_cells(&self) -> MatchedCell<'a> {
        let mut all = MatchedCell::default();
        for cell in &self.cells {
            all.a.extend(&cell.a);
            all.b.extend(&cell.b);
            all.pairs.extend(&cell.pairs);
        }
        all
    }
}

impl Column<'_> {
    /// Returns the values of completed runs; in a paired design only those of pairs with two
    /// values.
    pub(super) fn values(&self, rows: &MatchedCell<'_>, paired: bool) -> Values {
        let (a, left_out_a) = usable_values(&rows.a, self.in_a);
        let (b, left_out_b) = usable_values(&rows.b, self.in_b);
        if !paired {
            return Values { a, b, left_out_a, left_out_b };
        }
        let both = rows
            .pairs
            .iter()
            .filter_map(|(a, b)| Some((value(a, self.in_a)?, value(b, self.in_b)?)));
        let (paired_a, paired_b): (Vec<f64>, Vec<f64>) = both.unzip();
        let without_partner = (a.len() - paired_a.len(), b.len() - paired_b.len());
        Values {
            a: paired_a,
            b: paired_b,
            left_out_a: ExcludedValues { without_partner: without_partner.0, ..left_out_a },
            left_out_b: ExcludedValues { without_partner: without_partner.1, ..left_out_b },
        }
    }
}

/// Lists the cells in the order in which they first occur.
fn list_cells(table: &Table) -> Vec<&str> {
    let mut seen = HashSet::new();
    table.rows.iter().map(|row| row.cell.as_str()).filter(|cell| seen.insert(*cell)).collect()
}

fn rows_by_cell(table: &Table) -> HashMap<&str, Vec<&Row>> {
    let mut cells: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in &table.rows {
        cells.entry(&row.cell).or_default().push(row);
    }
    cells
}

/// Pairs rows with the same key. If a table has several rows with one key, the first is paired with
/// the first of the other table, and so on.
fn find_pairs<'a>(a: &[&'a Row], b: &[&'a Row]) -> Vec<(&'a Row, &'a Row)> {
    let mut partners: HashMap<&str, Vec<&'a Row>> = HashMap::new();
    for row in b.iter().rev() {
        if let Some(key) = &row.pair {
            partners.entry(key).or_default().push(row);
        }
    }
    let pair = |row: &&'a Row| Some((*row, partners.get_mut(row.pair.as_deref()?)?.pop()?));
    a.iter().filter_map(pair).collect()
}

/// Matches metrics by name and unit; with another unit it is another metric.
fn find_columns<'a>(a: &'a Table, b: &'a Table) -> Vec<Column<'a>> {
    let column = |(in_a, metric): (usize, &'a Metric)| {
        Some(Column { metric, in_a, in_b: column_of(b, metric)? })
    };
    a.metrics.iter().enumerate().filter_map(column).collect()
}

fn list_missing_metrics(from: &Table, of: &Table) -> Vec<String> {
    from.metrics
        .iter()
        .filter(|metric| column_of(of, metric).is_none())
        .map(|metric| metric.name.clone())
        .collect()
}

fn column_of(table: &Table, metric: &Metric) -> Option<usize> {
    table.metrics.iter().position(|other| (&other.name, other.unit) == (&metric.name, metric.unit))
}

/// Returns the values that can be compared, and the number of those that cannot.
fn usable_values(rows: &[&Row], column: usize) -> (Vec<f64>, ExcludedValues) {
    let values: Vec<f64> = rows.iter().filter_map(|row| value(row, column)).collect();
    let completed = rows.iter().filter(|row| row.outcome == Outcome::Completed).count();
    let left_out = ExcludedValues {
        not_completed: rows.len() - completed,
        not_measured: completed - values.len(),
        without_partner: 0,
    };
    (values, left_out)
}

/// Returns the value of a completed run. A negative or infinite value is not a measurement.
fn value(row: &Row, column: usize) -> Option<f64> {
    let value = row
        .values
        .get(column)
        .copied()
        .flatten()
        .filter(|value| value.is_finite() && *value >= 0.0);
    value.filter(|_| row.outcome == Outcome::Completed)
}

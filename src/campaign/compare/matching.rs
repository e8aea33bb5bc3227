//! Which rows of two tables belong together.
//!
//! Takes two tables; gives the cells that both have, their rows, pairs of rows, and the values of a metric. Nothing is dropped in silence:
//! what has no counterpart is named, and values that cannot be used are counted.

use super::Pairing;
use super::comparison::{ExcludedValues, Unmatched};
use crate::campaign::{Metric, Row, Table};
use crate::record::Outcome;
use std::collections::{HashMap, HashSet};

/// Two tables, side by side.
pub(super) struct Matching<'a> {
    pub(super) cells: Vec<Matched<'a>>,
    pub(super) columns: Vec<Column<'a>>,
    pub(super) paired: bool,
    pub(super) only_in_a: Unmatched,
    pub(super) only_in_b: Unmatched,
}

/// The rows of a cell.
#[derive(Default)]
pub(super) struct Matched<'a> {
    pub(super) cell: &'a str,
    pub(super) a: Vec<&'a Row>,
    pub(super) b: Vec<&'a Row>,
    /// Empty without pairs.
    pub(super) pairs: Vec<(&'a Row, &'a Row)>,
}

/// A metric that both have, and where.
pub(super) struct Column<'a> {
    pub(super) metric: &'a Metric,
    in_a: usize,
    in_b: usize,
}

/// Values to compare. The n-th of both belong together, if there are pairs.
pub(super) struct Values {
    pub(super) a: Vec<f64>,
    pub(super) b: Vec<f64>,
    pub(super) left_out_a: ExcludedValues,
    pub(super) left_out_b: ExcludedValues,
}

impl<'a> Matching<'a> {
    pub(super) fn of(a: &'a Table, b: &'a Table, pairing: Pairing) -> Matching<'a> {
        let (rows_a, rows_b) = (by_cell(a), by_cell(b));
        let (cells_a, cells_b) = (cells(a), cells(b));
        let matched = |cell: &&'a str| {
            let (a, b) = (rows_a.get(cell)?.clone(), rows_b.get(cell)?.clone());
            Some(Matched { cell, pairs: pairs(&a, &b), a, b })
        };
        let mut cells: Vec<Matched<'a>> = cells_a.iter().filter_map(matched).collect();
        let keys = a.rows.iter().chain(&b.rows).all(|row| row.pair.is_some());
        let paired = pairing == Pairing::IfThereAreKeys
            && keys
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
            columns: columns(a, b),
            paired,
            only_in_a: Unmatched {
                cells: missing(&cells_a, &rows_b),
                metrics: metrics_missing(a, b),
            },
            only_in_b: Unmatched {
                cells: missing(&cells_b, &rows_a),
                metrics: metrics_missing(b, a),
            },
        }
    }

    /// The rows and the pairs of all cells.
    pub(super) fn together(&self) -> Matched<'a> {
        let mut all = Matched::default();
        for cell in &self.cells {
            all.a.extend(&cell.a);
            all.b.extend(&cell.b);
            all.pairs.extend(&cell.pairs);
        }
        all
    }
}

impl Column<'_> {
    /// The values of completed runs; in a paired design those of pairs that have both.
    pub(super) fn values(&self, rows: &Matched<'_>, paired: bool) -> Values {
        let (a, left_out_a) = usable(&rows.a, self.in_a);
        let (b, left_out_b) = usable(&rows.b, self.in_b);
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

/// In the order in which they first occur.
fn cells(table: &Table) -> Vec<&str> {
    let mut seen = HashSet::new();
    table.rows.iter().map(|row| row.cell.as_str()).filter(|cell| seen.insert(*cell)).collect()
}

fn by_cell(table: &Table) -> HashMap<&str, Vec<&Row>> {
    let mut cells: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in &table.rows {
        cells.entry(&row.cell).or_default().push(row);
    }
    cells
}

/// Rows with the same key. Where a table has several with one key, the first belongs to the first of the other, and so on.
fn pairs<'a>(a: &[&'a Row], b: &[&'a Row]) -> Vec<(&'a Row, &'a Row)> {
    let mut partners: HashMap<&str, Vec<&'a Row>> = HashMap::new();
    for row in b.iter().rev() {
        if let Some(key) = &row.pair {
            partners.entry(key).or_default().push(row);
        }
    }
    let pair = |row: &&'a Row| Some((*row, partners.get_mut(row.pair.as_deref()?)?.pop()?));
    a.iter().filter_map(pair).collect()
}

/// Metrics by name. In another unit it is another metric.
fn columns<'a>(a: &'a Table, b: &'a Table) -> Vec<Column<'a>> {
    let column = |(in_a, metric): (usize, &'a Metric)| {
        Some(Column { metric, in_a, in_b: place(b, metric)? })
    };
    a.metrics.iter().enumerate().filter_map(column).collect()
}

fn metrics_missing(from: &Table, of: &Table) -> Vec<String> {
    from.metrics
        .iter()
        .filter(|metric| place(of, metric).is_none())
        .map(|metric| metric.name.clone())
        .collect()
}

fn place(table: &Table, metric: &Metric) -> Option<usize> {
    table.metrics.iter().position(|other| (&other.name, other.unit) == (&metric.name, metric.unit))
}

/// Values that can be compared, and how many cannot.
fn usable(rows: &[&Row], column: usize) -> (Vec<f64>, ExcludedValues) {
    let values: Vec<f64> = rows.iter().filter_map(|row| value(row, column)).collect();
    let completed = rows.iter().filter(|row| row.outcome == Outcome::Completed).count();
    let left_out = ExcludedValues {
        not_completed: rows.len() - completed,
        not_measured: completed - values.len(),
        without_partner: 0,
    };
    (values, left_out)
}

/// Nothing that is measured here can be below 0 or without end.
fn value(row: &Row, column: usize) -> Option<f64> {
    let value = row
        .values
        .get(column)
        .copied()
        .flatten()
        .filter(|value| value.is_finite() && *value >= 0.0);
    value.filter(|_| row.outcome == Outcome::Completed)
}

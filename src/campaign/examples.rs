//! Tables for tests: runs with blackouts as they are seen, from a seed.

use super::{Metric, MetricUnit, Row, Table};
use crate::record::Outcome;
use fastrand::Rng;

/// How values of one metric scatter.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// About this, by so much of it.
    Hill(f64, f64),
    /// The same, and in this share of runs about a second one.
    Hills(f64, f64, f64, f64),
    /// Always this.
    Always(f64),
    /// Not measured.
    Nothing,
}

impl Shape {
    fn value(self, random: &mut Rng) -> Option<f64> {
        let hill = |center: f64, scatter: f64, random: &mut Rng| {
            // The sum of twelve uniform numbers is near enough to a normal one.
            let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            Some((center * (scatter * normal).exp()).round())
        };
        match self {
            Shape::Hill(center, scatter) => hill(center, scatter, random),
            Shape::Hills(one, two, share, scatter) => {
                let center = if random.f64() < share { two } else { one };
                hill(center, scatter, random)
            }
            Shape::Always(value) => Some(value),
            Shape::Nothing => None,
        }
    }
}

/// A table that gets its rows from `runs`.
#[must_use]
pub fn table(name: &str) -> Table {
    let metric = |name: &str, label: &str, unit| Metric {
        name: name.to_owned(),
        label: label.to_owned(),
        unit,
    };
    let metrics = vec![
        metric("downtime.best.us", "blackout", MetricUnit::Us),
        metric("time_us.total", "total time", MetricUnit::Us),
        metric("transfer.total_bytes", "bytes sent", MetricUnit::Bytes),
        metric("faults.count", "page faults", MetricUnit::Count),
    ];
    Table { name: name.to_owned(), metrics, rows: Vec::new() }
}

impl Table {
    /// More completed runs of a cell: blackout, total time, bytes, faults.
    #[doc(hidden)]
    #[must_use]
    pub fn runs(mut self, cell: &str, count: usize, seed: u64, shapes: [Shape; 4]) -> Table {
        let mut random = Rng::with_seed(seed);
        for _ in 0..count {
            let values = shapes.iter().map(|shape| shape.value(&mut random)).collect();
            self.rows.push(Row {
                cell: cell.to_owned(),
                pair: None,
                outcome: Outcome::Completed,
                values,
            });
        }
        self
    }

    /// More runs that did not complete.
    #[doc(hidden)]
    #[must_use]
    pub fn failed(mut self, cell: &str, count: usize, outcome: Outcome) -> Table {
        self.rows.extend((0..count).map(|_| Row {
            cell: cell.to_owned(),
            pair: None,
            outcome,
            values: vec![None; 4],
        }));
        self
    }

    /// Every row gets a key: its number within the cell.
    #[doc(hidden)]
    #[must_use]
    pub fn with_keys(mut self) -> Table {
        let mut counts = std::collections::HashMap::new();
        for row in &mut self.rows {
            let number = counts.entry(row.cell.clone()).or_insert(0);
            *number += 1;
            row.pair = Some(number.to_string());
        }
        self
    }
}

//! Tables for unit tests, also those of other modules: runs with realistic figures, from a seed.

use super::table::{Metric, MetricUnit, Row, Table};
use fastrand::Rng;
use record::Outcome;

/// The distribution of the values of one metric.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A log-normal distribution: its center, and its scatter as a share of the center.
    OneMode(f64, f64),
    /// A mixture of two log-normal distributions: the two centers, the share of runs in the second
    /// one, and the scatter.
    TwoModes(f64, f64, f64, f64),
    /// The same value in every run.
    Always(f64),
    /// The metric is not measured.
    NotMeasured,
}

impl Shape {
    fn value(self, random: &mut Rng) -> Option<f64> {
        let mode = |center: f64, scatter: f64, random: &mut Rng| {
            // The sum of twelve uniform numbers is near enough to a normal one.
            let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            Some((center * (scatter * normal).exp()).round())
        };
        match self {
            Shape::OneMode(center, scatter) => mode(center, scatter, random),
            Shape::TwoModes(one, two, share, scatter) => {
                let center = if random.f64() < share { two } else { one };
                mode(center, scatter, random)
            }
            Shape::Always(value) => Some(value),
            Shape::NotMeasured => None,
        }
    }
}

/// Makes an empty table with four metrics; [`Table::runs`] adds rows.
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
    /// Adds completed runs of a cell, with shapes for blackout, total time, bytes and page faults.
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

    /// Adds runs of a cell that did not complete.
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

    /// Gives every row its number within the cell as the key of its pair.
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

//! A table of runs, which is the input of a comparison.
//!
//! `switchover compare --keep` writes a table as JSON, and later runs can be compared with it.

use record::Outcome;
use serde::{Deserialize, Serialize};

/// Runs under one name, with their figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The name that reports use, such as `post-copy` or `last release`.
    pub name: String,
    /// The columns, the most important first. Reports keep this order.
    pub metrics: Vec<Metric>,
    /// One row per run, also for runs that failed.
    pub rows: Vec<Row>,
}

/// A figure that is measured of each run: a column of a [`Table`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// The path of the figure in run.json, such as `downtime.best.us`.
    pub name: String,
    /// The name that reports use, such as `blackout`.
    pub label: String,
    /// The unit of all values of the column.
    pub unit: MetricUnit,
}

/// The unit of a metric's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricUnit {
    /// Microseconds.
    Us,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// A number of things, such as page faults.
    Count,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The name of the run's cell, without the settings in which the compared tables differ.
    pub cell: String,
    /// What the run has in common with its partner in the other table, within the cell: the number
    /// of the repeat. `None` if the run has no partner.
    pub pair: Option<String>,
    /// How the run ended. Figures are compared only between completed runs, outcomes between all.
    pub outcome: Outcome,
    /// The figures in the order of the table's metrics; `None` for a figure that was not measured.
    pub values: Vec<Option<f64>>,
}

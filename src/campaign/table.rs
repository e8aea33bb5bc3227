//! Runs as rows: what a comparison takes.
//!
//! Takes nothing; gives types that go to JSON and come back, so that a table which was kept is a baseline to test later runs against.
//! Knows nothing of statistics.

use crate::record::Outcome;
use serde::{Deserialize, Serialize};

/// Runs under one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What sentences call it: `post-copy`, `last release`.
    pub name: String,
    /// The columns, the most important first: reports keep that order.
    pub metrics: Vec<Metric>,
    /// One for each run, also for those that failed.
    pub rows: Vec<Row>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Its path in run.json, which carries the unit: `downtime.best.us`.
    pub name: String,
    /// What sentences call it: `blackout`.
    pub label: String,
    /// Of all its values.
    pub unit: MetricUnit,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricUnit {
    /// Microseconds.
    Us,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Things.
    Count,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The combination of settings that it belongs to. What the two tables differ in is no part of its name.
    pub cell: String,
    /// In a paired design what the run has in common with one of the other table (repeat, seed), within the cell.
    pub pair: Option<String>,
    /// How it ended. Figures are compared of completed runs only, and outcomes of all.
    pub outcome: Outcome,
    /// In the order of the table's metrics; `null` where not measured.
    pub values: Vec<Option<f64>>,
}

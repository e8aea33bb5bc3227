//! What was measured, turned into results. Nothing here needs a QEMU or reads a clock.
//!
//! [`downtime`] finds the blackout in its views and breaks it down; [`diagnose()`] explains why a
//! run did or did not converge; [`Timeline`] and [`write_interval_log()`] show a run over time;
//! [`statistics`] has intervals and tests on plain numbers; [`compare()`] sets two [`Table`]s of
//! runs against each other; [`results`] reads and writes the table of a campaign.

pub mod compare;
mod diagnose;
pub mod directory;
pub mod downtime;
#[doc(hidden)]
pub mod examples;
mod interval_log;
pub mod metrics;
mod observed;
#[cfg(feature = "parquet")]
pub mod results;
mod row;
#[cfg(feature = "parquet")]
mod select;
pub mod setting;
pub mod statistics;
mod table;
mod timeline;

pub use compare::{CompareOptions, Comparison, compare};
pub use diagnose::{DiagnoseError, Diagnosis, diagnose, of_observed, way};
pub use directory::{CAMPAIGN_JSON, JOURNAL, RESULTS, RUNS};
pub use interval_log::write_interval_log;
pub use observed::{Observed, Pass, Watch, observed};
pub use row::{RunRow, RunStatus};
#[cfg(feature = "parquet")]
pub use select::{Selection, SelectionError};
pub use table::{Metric, MetricUnit, Row, Table};
pub use timeline::{Timeline, format_timeline};

//! Many runs, and what they say together.
//!
//! Takes a file that says what is varied; gives runs of all combinations in an order that drift does not masquerade in, their figures as one table,
//! and comparisons of tables. Knows nothing of how a run is made and of terminals.
//!
//! Map: `definition` TOML to cells · `schedule` their order · `sweep` makes the runs · `journal` what is done, for going on after any end · `row` one run
//! · `metrics` which figures are kept · `results` all rows as Parquet · `standing` how far it is · `select` rows to tables · `table` runs as rows of a comparison ·
//! `statistics` intervals, tests and modes, of plain numbers · `compare` two tables against each other, with what may be claimed and what may not.

pub mod compare;
pub mod definition;
pub mod directory;
#[doc(hidden)]
pub mod examples;
mod journal;
pub mod metrics;
mod progress;
pub mod results;
mod row;
mod schedule;
mod select;
pub mod setting;
pub mod statistics;
mod sweep;
mod table;

pub use compare::{CompareOptions, Comparison, compare};
pub use definition::{Definition, DefinitionError};
pub use directory::{CAMPAIGN_JSON, JOURNAL, RESULTS, RUNS};
pub use journal::{CompletedVisit, Journal};
pub use progress::{SweepProgress, predict_visit_seconds};
pub use row::{RunRow, RunStatus};
pub use schedule::{Shard, Visit};
pub use select::{Selection, SelectionError};
pub use sweep::{OnProgress, SweepError, SweepOptions, SweepOutcome, sweep};
pub use table::{Metric, MetricUnit, Row, Table};

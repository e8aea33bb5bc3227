//! Campaigns: many runs from one file, their results, and comparisons of them.
//!
//! A campaign file says which scenario keys are varied. [`sweep()`] runs every combination in
//! random order, so that a slow drift of the machine is not mistaken for an effect, and writes one
//! row per run. [`analysis::compare()`] compares two sets of rows. Nothing here prints to a
//! terminal.
//!
//! Modules that make runs: `definition` (from TOML to cells), `schedule` (the order of the visits),
//! `journal` (what is done, so that an interrupted sweep can continue), `campaign_file` (what a
//! directory was made for), `progress` (how much is done and how long the rest takes), `sweep`
//! (makes the runs).
//!
//! Modules that only read results: `setting` (a key and its value), `directory` (names of the
//! files), `table` (runs as rows of a comparison), `metrics` (which figures are kept), `row` (one
//! run), `results` (all rows as Parquet), `select` (from a path to a table), `statistics`
//! (intervals and tests on plain numbers), `compare` (two tables against each other).

mod campaign_file;
pub mod definition;
mod journal;
mod progress;
mod schedule;
mod sweep;

pub use definition::{Definition, DefinitionError};
pub use journal::{CompletedVisit, Journal};
pub use progress::{SweepProgress, predict_visit_seconds};
pub use schedule::{Shard, Visit};
pub use sweep::{OnProgress, SweepError, SweepOptions, SweepOutcome, sweep};

//! Many runs, and what they say together.
//!
//! Takes tables of runs in memory; gives statistics and comparisons. Knows nothing of how a run was made, of files and of terminals.
//!
//! Map: `table` runs as rows, with their outcome and their figures · `statistics` intervals, tests and modes, of plain numbers ·
//! `compare` two tables against each other, with what may be claimed and what may not.

pub mod compare;
#[cfg(test)]
pub(crate) mod examples;
pub mod statistics;
mod table;

pub use compare::{CompareOptions, Comparison, compare};
pub use table::{Metric, Row, Table, Unit};

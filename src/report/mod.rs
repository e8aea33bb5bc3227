//! What people and machines read of a run, or of many against many: the summary on one screen, the progress line, checks of limits.
//!
//! Takes a [`Summary`](crate::record::Summary), a [`Comparison`](crate::campaign::Comparison) or what is under way; gives text. Writes to nothing itself.

mod blackout;
mod campaign;
mod check;
pub mod comparison;
mod histogram;
mod inspection;
mod interval_log;
mod judgement;
mod prediction;
mod progress;
mod regression;
mod terminal;
mod timeline;

pub use campaign::{cells_json, checks, dry_run, sweep_progress, swept};
pub use check::{CheckError, check};
pub use histogram::histogram;
pub use inspection::inspection;
pub use interval_log::interval_log;
pub use judgement::{diagnosis, judgement, sweep_head, sweep_line};
pub use prediction::{captured_head, predicted, verified};
pub use progress::ProgressLine;
pub use regression::regression;
pub use terminal::summary;
pub use timeline::{Timeline, timeline};

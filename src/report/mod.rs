//! What people and machines read of a run, or of many against many: the summary on one screen, the progress line, checks of limits.
//!
//! Takes a [`Summary`](crate::record::Summary), a [`Comparison`](crate::campaign::Comparison) or what is under way; gives text. Writes to nothing itself.

mod blackout;
mod campaign;
mod check;
mod comparison;
mod histogram;
mod inspection;
mod interval_log;
mod judgement;
mod prediction;
mod progress;
mod regression;
mod terminal;
mod timeline;

pub use campaign::{
    cells_to_json, format_checks, format_dry_run, format_sweep_progress, format_sweep_summary,
};
pub use check::{CheckError, evaluate_check};
pub use comparison::format_comparison;
pub use histogram::format_histogram;
pub use inspection::format_inspection;
pub use interval_log::write_interval_log;
pub use judgement::{
    format_diagnosis, format_judgement, format_value_sweep_header, format_value_sweep_row,
};
pub use prediction::{format_capture_header, format_prediction, format_verification};
pub use progress::ProgressLine;
pub use regression::evaluate_comparison_check;
pub use terminal::format_summary;
pub use timeline::{Timeline, format_timeline};

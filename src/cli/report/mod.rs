//! Text for a terminal: the summary screen, comparisons and other results, the progress line, and
//! the evaluation of `--fail-if`.
//!
//! Functions here take a [`Summary`](record::Summary), a
//! [`Comparison`](analysis::Comparison) or another result, and return text. They print
//! nothing.

mod blackout;
mod campaign;
mod check;
mod columns;
mod comparison;
mod expression;
mod histogram;
mod inspection;
mod judgement;
mod prediction;
mod progress;
mod regression;
mod terminal;

pub use campaign::{
    CellReport, format_dry_run, format_sweep_progress, format_sweep_summary, summarize_cells,
};
pub use check::{evaluate_check, format_checks};
pub use comparison::format_comparison;
pub use expression::CheckError;
pub use histogram::format_histogram;
pub use inspection::format_inspection;
pub use judgement::{
    format_diagnosis, format_judgement, format_value_sweep_header, format_value_sweep_row,
};
pub use prediction::{format_capture_header, format_prediction, format_verification};
pub use progress::ProgressLine;
pub use regression::evaluate_comparison_check;
pub use terminal::format_summary;

//! What people and machines read of a run: the summary on one screen, the progress line, checks of limits.
//!
//! Takes a [`Summary`](crate::record::Summary) or what is under way; gives text. Writes to nothing itself.

mod check;
mod inspection;
mod progress;
mod terminal;

pub use check::{CheckError, check};
pub use inspection::inspection;
pub use progress::ProgressLine;
pub use terminal::summary;

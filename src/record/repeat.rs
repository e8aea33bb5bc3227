//! `repeat` in run.json: what many switchovers of one run have in common.

use super::Distribution;
use serde::{Deserialize, Serialize};

/// Many switchovers: distributions, and how many there were. Each one has a line in
/// switchovers.jsonl.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Asked for.
    pub wanted: u32,
    /// Completed.
    pub completed: u32,
    /// Completed by post-copy.
    pub by_postcopy: u32,
    /// From the first `migrate` to the end of the last migration.
    pub elapsed_us: u64,
    /// The view that was best, of each.
    pub best: Distribution,
    /// QEMU's own figures.
    pub reported: Distribution,
    /// STOP → RESUME.
    pub events: Distribution,
    /// By trace points.
    pub trace: Distribution,
    /// By the guest's beats.
    pub heartbeat: Distribution,
    /// Total time of each.
    pub total: Distribution,
}

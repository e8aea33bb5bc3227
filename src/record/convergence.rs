//! Why a migration converged or did not, as run.json keeps it.

use model::{PredictedMigration, SuggestedRemedy};
use serde::{Deserialize, Serialize};

/// Why the last migration converged or did not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    /// `converges`, or why not (docs/explanation/convergence.md). `null` if pre-copy was not tried
    /// to its end, or too little of it was seen.
    pub verdict: Option<String>,
    /// The guest's write rate in bytes per second, from the fit to what was seen. A page counts
    /// each time it is written.
    pub dirty_bps: Option<u64>,
    /// Bytes sent per second, from the first sync to the last.
    pub bandwidth_bps: Option<u64>,
    /// QEMU switches over when fewer bytes than this are pending.
    pub threshold_bytes: Option<u64>,
    /// The minimum of the pending bytes at a sync.
    pub pending_floor_bytes: Option<u64>,
    /// What the model predicts of the same migration; `null` if there is no diagnosis.
    pub predicted: Option<PredictedMigration>,
    /// What would help, the remedy with the least harm first.
    pub remedies: Vec<SuggestedRemedy>,
}

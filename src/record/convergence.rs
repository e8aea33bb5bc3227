//! Why a migration converged or did not, as run.json keeps it.

use serde::{Deserialize, Serialize};

/// Why the last migration converged or did not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    /// `converges`, or why not (docs/explanation/convergence.md). `null` if pre-copy was not tried to its end,
    /// or too little of it was seen.
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

/// What the model predicts of a migration. A figure that is not finite is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedMigration {
    /// Whether it converges.
    pub converges: bool,
    /// From active to completed, or to the timeout if it does not converge, µs.
    pub total_us: Option<f64>,
    /// Bytes sent.
    pub bytes: Option<f64>,
    /// Syncs of the dirty bitmap after the first.
    pub syncs: u64,
    /// The pending bytes at the end.
    pub pending_bytes: Option<f64>,
    /// QEMU's `expected-downtime` at the end, µs.
    pub expected_downtime_us: Option<f64>,
    /// The blackout, µs; `null` if there is none.
    pub blackout_us: Option<f64>,
    /// The throttle of the guest at the end, percent.
    pub throttle_percent: Option<f64>,
    /// The post-copy phase; `null` if there is none.
    pub postcopy: Option<PredictedPostcopy>,
}

/// What the model predicts of a post-copy phase. A figure that is not finite is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedPostcopy {
    /// How long the phase takes, µs.
    pub us: Option<f64>,
    /// The number of pages that the guest waits for.
    pub faults: Option<f64>,
    /// How long the guest waits for one page, µs.
    pub fault_us: Option<f64>,
    /// How long the guest waits in total, µs.
    pub blocked_us: Option<f64>,
}

/// A setting that would help.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuggestedRemedy {
    /// The setting as a flag of the command line.
    pub setting: String,
    /// What it does to the guest.
    pub harm: String,
    /// From active to completed with this setting, s.
    pub total_s: Option<f64>,
    /// The blackout with this setting, s.
    pub blackout_s: Option<f64>,
    /// The effect as text.
    pub effect: String,
}

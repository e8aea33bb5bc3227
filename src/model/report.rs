//! A judgement in the form that `simulate`, `diagnose` and `predict` print with `--json`, and of
//! which run.json keeps a part.

use super::boundary::Boundaries;
use super::judge::{Judgement, Remedy, Verdict};
use super::model::Prediction;
use super::textbook::Textbook;
use serde::{Deserialize, Serialize};

/// A judgement for `--json`. Names carry their units; what is not known is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgementReport {
    /// Whether it converges, or why not.
    pub verdict: Verdict,
    /// What the model predicts.
    pub predicted: PredictedMigration,
    /// What the textbook formula predicts.
    pub textbook: TextbookReport,
    /// The limits of each setting within which the migration converges.
    pub boundaries: BoundariesReport,
    /// What would help, the remedy with the least harm first.
    pub remedies: Vec<SuggestedRemedy>,
}

/// What the textbook formula predicts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextbookReport {
    /// Whether it converges.
    pub converges: bool,
    /// From active to completed, µs.
    pub total_us: Option<f64>,
    /// The expected downtime, µs.
    pub expected_downtime_us: Option<f64>,
}

/// The limits of each setting within which the migration converges; `null` if there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BoundariesReport {
    /// The highest write rate, bytes per second.
    pub rate_bps: Option<f64>,
    /// The largest working set, bytes.
    pub working_set_bytes: Option<f64>,
    /// The lowest bandwidth, bytes per second.
    pub bandwidth_bps: Option<f64>,
    /// The lowest downtime limit, µs.
    pub downtime_limit_us: Option<f64>,
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

impl Judgement {
    /// The judgement for `--json` and run.json.
    #[must_use]
    pub fn to_report(&self) -> JudgementReport {
        let Judgement { verdict, prediction, textbook, boundaries, remedies } = self;
        JudgementReport {
            verdict: *verdict,
            predicted: predicted_migration(prediction),
            textbook: textbook_report(textbook),
            boundaries: boundaries_report(boundaries),
            remedies: remedies.iter().map(suggested_remedy).collect(),
        }
    }
}

fn predicted_migration(prediction: &Prediction) -> PredictedMigration {
    PredictedMigration {
        converges: prediction.converges,
        total_us: micros(prediction.total),
        bytes: rounded(prediction.bytes),
        syncs: prediction.syncs,
        pending_bytes: rounded(prediction.pending),
        expected_downtime_us: micros(prediction.expected_downtime),
        blackout_us: prediction.blackout.and_then(micros),
        throttle_percent: finite(prediction.throttle * 100.0),
        postcopy: prediction.postcopy.as_ref().map(|postcopy| PredictedPostcopy {
            us: micros(postcopy.seconds),
            faults: rounded(postcopy.faults),
            fault_us: micros(postcopy.fault),
            blocked_us: micros(postcopy.blocked),
        }),
    }
}

fn textbook_report(textbook: &Textbook) -> TextbookReport {
    TextbookReport {
        converges: textbook.converges,
        total_us: micros(textbook.total),
        expected_downtime_us: micros(textbook.expected_downtime),
    }
}

fn boundaries_report(boundaries: &Boundaries) -> BoundariesReport {
    BoundariesReport {
        rate_bps: boundaries.rate.and_then(rounded),
        working_set_bytes: boundaries.working_set.and_then(rounded),
        bandwidth_bps: boundaries.bandwidth.and_then(rounded),
        downtime_limit_us: boundaries.downtime_limit.and_then(micros),
    }
}

fn suggested_remedy(remedy: &Remedy) -> SuggestedRemedy {
    SuggestedRemedy {
        setting: remedy.setting.clone(),
        harm: remedy.harm.to_owned(),
        total_s: finite(remedy.total_s),
        blackout_s: finite(remedy.blackout_s),
        effect: remedy.effect.clone(),
    }
}

/// JSON has no infinity and no NaN.
fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

fn rounded(value: f64) -> Option<f64> {
    finite(value.round())
}

/// Whole microseconds of a time in seconds.
fn micros(seconds: f64) -> Option<f64> {
    rounded(seconds * 1e6)
}

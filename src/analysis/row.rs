//! One run of a campaign as a row of the journal and of the results.

use super::metrics;
use record::{Host, Integrity, Outcome};
use serde::{Deserialize, Serialize};

/// How a run of a campaign ended. A run that never began is a result, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// No migration was started: the scenario was refused, or the lab did not start.
    NotStarted,
    /// The run was cancelled because the visit exceeded the campaign's `timeout`.
    TimedOut,
    /// A migration was started, and this is its outcome.
    #[serde(untagged)]
    Migrated(Outcome),
}

impl RunStatus {
    /// Returns the name that the results use, such as `not-started` or `completed`.
    #[must_use]
    pub fn name(self) -> String {
        scenario::serialized_name(&self)
    }

    /// Returns the outcome that comparisons count: a run that never began, or timed out, has
    /// failed.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            RunStatus::Migrated(outcome) => outcome,
            RunStatus::NotStarted | RunStatus::TimedOut => Outcome::Failed,
        }
    }
}

/// One run of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// The number of the cell, from 1.
    pub cell: u32,
    /// The number of the run within its cell, from 1.
    pub repeat: u32,
    /// The time at which the run began, as RFC 3339 in UTC; empty if it never began.
    pub started: String,
    /// How the run ended.
    #[serde(rename = "ended")]
    pub status: RunStatus,
    /// The reason for that, in one sentence.
    pub reason: String,
    /// Whether the guest ran on the destination before all of its memory was there.
    pub postcopy_happened: bool,
    /// Whether the guest's memory arrived intact, by the guest's own check at the end of the visit.
    pub integrity: Integrity,
    /// The versions of the source QEMU and of the destination QEMU.
    pub qemu: String,
    /// The accelerator: `tcg` or `kvm`.
    pub accelerator: String,
    /// The path of the run directory, relative to the campaign directory. With `keep = "none"` the
    /// directory is deleted after the visit.
    pub directory: String,
    /// The figures in the order of [`metrics::all`]; `None` for a figure that was not measured.
    pub values: Vec<Option<f64>>,
}

impl RunRow {
    /// Returns a figure by its path in run.json, such as `time_us.total`; `None` if it was not
    /// measured, or if campaigns do not keep it.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        metrics::value_of(&self.values, name)
    }

    /// Returns the CPU time that the run and other processes used.
    #[must_use]
    pub fn host(&self) -> Host {
        metrics::host_of(&self.values)
    }

    /// Makes the row of a run that never began: it has no figures.
    #[must_use]
    pub fn without_figures(cell: u32, repeat: u32, status: RunStatus, reason: String) -> RunRow {
        RunRow {
            cell,
            repeat,
            started: String::new(),
            status,
            reason,
            postcopy_happened: false,
            integrity: Integrity::Unknown,
            qemu: String::new(),
            accelerator: String::new(),
            directory: String::new(),
            values: vec![None; metrics::all().len()],
        }
    }

    /// Whether the migration completed and no memory error is known.
    #[must_use]
    pub fn is_successful(&self) -> bool {
        self.status == RunStatus::Migrated(Outcome::Completed)
            && self.integrity != Integrity::Corrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_serialization() {
        for status in [
            RunStatus::Migrated(Outcome::NotConverged),
            RunStatus::Migrated(Outcome::Completed),
            RunStatus::NotStarted,
            RunStatus::TimedOut,
        ] {
            let row = RunRow::without_figures(3, 2, status, "why".to_owned());
            let text = serde_json::to_string(&row).unwrap();
            assert_eq!(serde_json::from_str::<RunRow>(&text).unwrap(), row, "{text}");
        }
        assert_eq!(RunStatus::NotStarted.name(), "not-started");
        assert_eq!(RunStatus::Migrated(Outcome::NotConverged).name(), "not-converged");
    }
}

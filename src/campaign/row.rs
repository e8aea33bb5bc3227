//! One run of a campaign as a row.

use super::metrics;
use crate::record::{Host, Integrity, Outcome};
use serde::{Deserialize, Serialize};

/// How a run of a campaign ended: also one that never began is a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// There was none: it was refused, or the lab did not start.
    NotStarted,
    /// The campaign's time-out for a visit ended it.
    TimedOut,
    /// There was a migration.
    #[serde(untagged)]
    Migrated(Outcome),
}

impl RunStatus {
    /// As in the results.
    #[must_use]
    pub fn name(self) -> String {
        crate::scenario::spelling(&self)
    }

    /// As a comparison counts it.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            RunStatus::Migrated(outcome) => outcome,
            RunStatus::NotStarted | RunStatus::TimedOut => Outcome::Failed,
        }
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// The cell's number.
    pub cell: u32,
    /// Which of the cell's, from 1.
    pub repeat: u32,
    /// RFC 3339, UTC; empty if it never began.
    pub started: String,
    /// How it ended.
    pub ended: RunStatus,
    /// Why, in a sentence.
    pub reason: String,
    /// Whether post-copy really happened.
    pub postcopy_happened: bool,
    /// Whether the guest's memory came over, by its own check at the end of the visit.
    pub integrity: Integrity,
    /// Of the two QEMUs.
    pub qemu: String,
    /// `tcg` or `kvm`.
    pub accelerator: String,
    /// Where the run directory is or was, in the campaign's directory.
    pub directory: String,
    /// In the order of [`metrics::all`]; `null` where not measured.
    pub values: Vec<Option<f64>>,
}

impl RunRow {
    /// A figure by its name in run.json, such as `time_us.total`; `None` where it was not measured, or is none that is kept.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        metrics::named(&self.values, name)
    }

    /// What else the machine did during it.
    #[must_use]
    pub fn host(&self) -> Host {
        metrics::host(&self.values)
    }

    /// Makes the row of a run that never began: it has no figures.
    #[must_use]
    pub fn without_figures(cell: u32, repeat: u32, ended: RunStatus, reason: String) -> RunRow {
        RunRow {
            cell,
            repeat,
            started: String::new(),
            ended,
            reason,
            postcopy_happened: false,
            integrity: Integrity::Unknown,
            qemu: String::new(),
            accelerator: String::new(),
            directory: String::new(),
            values: vec![None; metrics::all().len()],
        }
    }

    /// Completed, and its memory is not known to be wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.ended == RunStatus::Migrated(Outcome::Completed)
            && self.integrity != Integrity::Corrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was() {
        for ended in [
            RunStatus::Migrated(Outcome::NotConverged),
            RunStatus::Migrated(Outcome::Completed),
            RunStatus::NotStarted,
            RunStatus::TimedOut,
        ] {
            let row = RunRow::without_figures(3, 2, ended, "why".to_owned());
            let text = serde_json::to_string(&row).unwrap();
            assert_eq!(serde_json::from_str::<RunRow>(&text).unwrap(), row, "{text}");
        }
        assert_eq!(RunStatus::NotStarted.name(), "not-started");
        assert_eq!(RunStatus::Migrated(Outcome::NotConverged).name(), "not-converged");
    }
}

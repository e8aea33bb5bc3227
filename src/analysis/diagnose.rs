//! Why a run did not converge, or how near it was.

use super::observed::{Observed, observed};
use model::{Judgement, judge};
use model::{Setup, Switch};
use record::{Outcome, RecordError, Run};
use scenario::Scenario;

/// Of max-bandwidth: QEMU keeps to it within 2 %.
const BINDS: f64 = 0.9;

/// What is known of a run.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// What was seen.
    pub observed: Observed,
    /// How it ended; `None` while it goes on, or if it was cut off.
    pub outcome: Option<Outcome>,
    /// The migration as the model sees it, with the workload that was fitted to what was seen.
    pub setup: Setup,
    /// Verdict, numbers, remedies.
    pub judgement: Judgement,
}

/// Why there is no diagnosis.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiagnoseError {
    /// There is nothing to read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The source was never seen while it was active.
    #[error("no sample of the source while it was active: record with sampling.source on")]
    NoSamples,
    /// Two unknowns, the working set and the write rate, need two passes.
    #[error(
        "the run has {passes} of the 2 passes after the first that a verdict needs; let it go on for longer, or ask `switchover simulate`"
    )]
    TooFewPasses {
        /// How many it has.
        passes: usize,
    },
}

/// Diagnoses a run under this scenario.
///
/// # Errors
/// [`DiagnoseError`]: what cannot be known.
pub fn diagnose(run: &Run, scenario: &Scenario) -> Result<Diagnosis, DiagnoseError> {
    let outcome = run.summary().ok().map(|summary| summary.outcome);
    of_observed(observed(run)?, scenario, outcome)
}

/// The same, of what was seen already.
///
/// # Errors
/// As [`diagnose`].
pub fn of_observed(
    observed: Observed,
    scenario: &Scenario,
    outcome: Option<Outcome>,
) -> Result<Diagnosis, DiagnoseError> {
    if observed.samples == 0 {
        return Err(DiagnoseError::NoSamples);
    }
    let workload =
        observed.fitted().ok_or(DiagnoseError::TooFewPasses { passes: observed.later() })?;
    let asked = Setup::of_scenario(scenario);
    let setup = Setup {
        ram: observed.ram,
        filled: observed.filled().unwrap_or(observed.ram),
        workload,
        capacity: way(&asked, observed.bandwidth),
        switch: Switch::Never,
        finish: Switch::Never,
        ..asked
    };
    Ok(Diagnosis { judgement: judge(&setup), observed, outcome, setup })
}

/// Where QEMU's own limit binds, what was seen says nothing of the way; else it is what the way
/// carries.
#[must_use]
pub fn way(asked: &Setup, seen: Option<f64>) -> f64 {
    let binds = |seen: f64| asked.max_bandwidth.is_some_and(|limit| seen > limit * BINDS);
    seen.filter(|seen| !binds(*seen)).unwrap_or(asked.capacity)
}

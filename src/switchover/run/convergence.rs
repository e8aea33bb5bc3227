//! Why the last migration of a run converged or did not, for run.json.

use super::digest::Digest;
use analysis::{Diagnosis, Watch, of_observed};
use model::{Setup, whole};
use record::{Convergence, Outcome};
use scenario::Scenario;

/// The verdict only where pre-copy was tried to its end; a fit takes some ms, and only those that
/// did not converge need it.
pub(super) fn convergence(
    scenario: &Scenario,
    outcome: Outcome,
    postcopy_happened: bool,
    digests: &[Digest],
) -> Convergence {
    let Some(observed) = digests.last().map(|digest| digest.watch.clone()).map(Watch::end) else {
        return Convergence::default();
    };
    let seen = Convergence {
        bandwidth_bps: observed.bandwidth.map(whole),
        threshold_bytes: Some(whole(Setup::of_scenario(scenario).threshold())),
        pending_floor_bytes: observed.floor().map(whole),
        ..Convergence::default()
    };
    match outcome {
        Outcome::Completed if !postcopy_happened => {
            Convergence { verdict: Some("converges".to_owned()), ..seen }
        }
        Outcome::NotConverged => match of_observed(observed, scenario, Some(outcome)) {
            Ok(diagnosis) => of(&diagnosis, seen),
            Err(_) => seen,
        },
        _ => seen,
    }
}

fn of(diagnosis: &Diagnosis, seen: Convergence) -> Convergence {
    let report = diagnosis.judgement.to_report();
    Convergence {
        verdict: Some(diagnosis.judgement.verdict.name()),
        dirty_bps: Some(whole(diagnosis.setup.workload.rate())),
        threshold_bytes: Some(whole(diagnosis.setup.threshold())),
        predicted: Some(report.predicted),
        remedies: report.remedies,
        ..seen
    }
}

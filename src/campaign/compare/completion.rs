//! How many runs completed on each side.
//!
//! Takes outcomes; gives shares with intervals, and whether they differ. Runs that failed are results like all others.

use super::comparison::{Completion, CompletionCount, Verdict};
use crate::campaign::statistics::{ALPHA, Design, fisher_exact, holm, min_p, share, to_f64};
use crate::record::Outcome;

pub(super) fn of(a: &[Outcome], b: &[Outcome]) -> Completion {
    let (a, b) = (completed(a), completed(b));
    let p = fisher_exact((a.completed, a.runs), (b.completed, b.runs));
    Completion { a, b, p, p_corrected: None, verdict: Verdict::TooFew }
}

fn completed(outcomes: &[Outcome]) -> CompletionCount {
    let mut counted = std::collections::BTreeMap::new();
    for outcome in outcomes {
        *counted.entry(outcome.name()).or_insert(0) += 1;
    }
    let completed = outcomes.iter().filter(|outcome| **outcome == Outcome::Completed).count();
    CompletionCount {
        runs: outcomes.len(),
        completed,
        share: share(completed, outcomes.len()),
        outcomes: counted,
    }
}

/// Corrects p for the family, and says what may be claimed.
pub(super) fn settle(mut family: Vec<&mut Completion>) {
    let p: Vec<Option<f64>> = family.iter().map(|completion| completion.p).collect();
    let tests = p.iter().flatten().count();
    for (completion, corrected) in family.iter_mut().zip(holm(&p)) {
        completion.p_corrected = corrected;
        completion.verdict = verdict(completion, tests);
    }
}

fn verdict(completion: &Completion, tests: usize) -> Verdict {
    let Completion { a, b, .. } = completion;
    let (Some(p), Some(in_a), Some(in_b)) = (completion.p_corrected, a.share, b.share) else {
        return Verdict::TooFew;
    };
    // All on one side and none on the other is as clear as it gets.
    let clearest = min_p(Design::Independent, a.runs, b.runs) * to_f64(tests);
    if p <= ALPHA {
        if in_b.share < in_a.share { Verdict::Lower } else { Verdict::Higher }
    } else if clearest > ALPHA {
        Verdict::TooFew
    } else {
        Verdict::NoDifferenceShown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(a: (usize, usize), b: (usize, usize)) -> Verdict {
        let outcomes = |(completed, failed)| {
            [vec![Outcome::Completed; completed], vec![Outcome::Failed; failed]].concat()
        };
        let mut completion = of(&outcomes(a), &outcomes(b));
        settle(vec![&mut completion]);
        completion.verdict
    }

    #[test]
    fn failures_on_one_side_are_a_difference_and_few_runs_are_none() {
        assert_eq!(verdict_of((40, 0), (28, 12)), Verdict::Lower);
        assert_eq!(verdict_of((28, 12), (40, 0)), Verdict::Higher);
        assert_eq!(verdict_of((40, 0), (38, 2)), Verdict::NoDifferenceShown);
        assert_eq!(verdict_of((3, 0), (0, 3)), Verdict::TooFew);
        assert_eq!(verdict_of((4, 0), (0, 4)), Verdict::Lower);
        assert_eq!(verdict_of((0, 0), (9, 0)), Verdict::TooFew);
    }
}

//! Compares how many runs completed in each table. A failed run is a result like any other.

use super::comparison::{Completion, CompletionCount, Verdict};
use crate::statistics::{ALPHA, Design, fisher_exact, holm, min_p, proportion, to_f64};
use record::Outcome;

/// Counts the outcomes of both tables and tests whether the shares of completed runs differ.
pub(super) fn compare_completion(a: &[Outcome], b: &[Outcome]) -> Completion {
    let (a, b) = (count_outcomes(a), count_outcomes(b));
    let p = fisher_exact((a.completed, a.runs), (b.completed, b.runs));
    Completion { a, b, p, p_corrected: None, verdict: Verdict::TooFew }
}

fn count_outcomes(outcomes: &[Outcome]) -> CompletionCount {
    let mut counted = std::collections::BTreeMap::new();
    for outcome in outcomes {
        *counted.entry(outcome.name()).or_insert(0) += 1;
    }
    let completed = outcomes.iter().filter(|outcome| **outcome == Outcome::Completed).count();
    CompletionCount {
        runs: outcomes.len(),
        completed,
        share: proportion(completed, outcomes.len()),
        outcomes: counted,
    }
}

/// Corrects the p-values for the family, and fills in the verdicts.
pub(super) fn decide_verdicts(mut family: Vec<&mut Completion>) {
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
    // The smallest possible p-value: all runs of one table completed, and none of the other.
    let smallest = min_p(Design::Independent, a.runs, b.runs) * to_f64(tests);
    if p <= ALPHA {
        if in_b.share < in_a.share { Verdict::Lower } else { Verdict::Higher }
    } else if smallest > ALPHA {
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
        let mut completion = compare_completion(&outcomes(a), &outcomes(b));
        decide_verdicts(vec![&mut completion]);
        completion.verdict
    }

    #[test]
    fn failures_in_one_table_are_a_difference_unless_there_are_too_few_runs() {
        assert_eq!(verdict_of((40, 0), (28, 12)), Verdict::Lower);
        assert_eq!(verdict_of((28, 12), (40, 0)), Verdict::Higher);
        assert_eq!(verdict_of((40, 0), (38, 2)), Verdict::NoDifferenceShown);
        assert_eq!(verdict_of((3, 0), (0, 3)), Verdict::TooFew);
        assert_eq!(verdict_of((4, 0), (0, 4)), Verdict::Lower);
        assert_eq!(verdict_of((0, 0), (9, 0)), Verdict::TooFew);
    }
}

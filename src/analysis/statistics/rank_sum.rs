//! The Mann-Whitney test (Wilcoxon's rank-sum test): do the values of one sample tend to be lower
//! than those of another?
//!
//! The p-value is exact, also with ties, if the rank sums can be counted within about a
//! millisecond; otherwise it is the normal approximation with corrections for ties and continuity.

use super::estimate::{TestResult, normal_tails, to_f64};
use super::ranks::{p_of_chosen_sum, rank_values};

/// The most counting steps for an exact p-value: up to 22 values in each sample, or 6 and 63.
const MAX_EXACT_STEPS: usize = 1_000_000;

/// Tests two independent samples; `None` if one is empty. [`TestResult::lower`] is the probability
/// that a value of `b` is below a value of `a`, with half of the equal ones counted.
#[must_use]
pub fn rank_sum(a: &[f64], b: &[f64]) -> Option<TestResult> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let ranks = rank_values(&all);
    let (n, m, both) = (to_f64(a.len()), to_f64(b.len()), to_f64(all.len()));
    let of_a: usize = ranks.doubled[..a.len()].iter().sum();
    // The number of pairs in which the value of b is below that of a.
    let below = to_f64(of_a) / 2.0 - n * (n + 1.0) / 2.0;
    let fewer = a.len().min(b.len());
    let p = if all.len() * fewer * all.len() * (all.len() + 1) / 2 <= MAX_EXACT_STEPS {
        let observed = if a.len() == fewer { of_a } else { ranks.doubled[a.len()..].iter().sum() };
        p_of_chosen_sum(&ranks.doubled, fewer, observed)
    } else {
        normal_approximation(
            below,
            n * m / 2.0,
            n * m / 12.0 * (both + 1.0 - ranks.ties / (both * (both - 1.0))),
        )
    };
    Some(TestResult { p, lower: below / (n * m) })
}

/// Returns the two-sided p-value by the normal distribution. The continuity correction moves the
/// observed value half a step towards the expected one, because rank sums are discrete.
pub(super) fn normal_approximation(observed: f64, expected: f64, variance: f64) -> f64 {
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = ((observed - expected).abs() - 0.5).max(0.0);
    normal_tails(distance / variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn four_against_four_is_the_smallest_size_that_can_be_significant() {
        let apart = |n: usize| rank_sum(&vec![2.0; n], &vec![1.0; n]).unwrap().p;
        let steps = |n: i32| {
            rank_sum(
                &(0..n).map(f64::from).collect::<Vec<_>>(),
                &(n..2 * n).map(f64::from).collect::<Vec<_>>(),
            )
        };
        assert_eq!((steps(3).unwrap().p, steps(4).unwrap().p), (0.1, 2.0 / 70.0));
        assert_eq!((apart(3), apart(4)), (0.1, 2.0 / 70.0));
    }

    #[test]
    fn equal_samples_show_no_difference() {
        assert_eq!(rank_sum(&[5.0; 7], &[5.0; 9]), Some(TestResult { p: 1.0, lower: 0.5 }));
        assert_eq!(rank_sum(&[5.0; 70], &[5.0; 90]), Some(TestResult { p: 1.0, lower: 0.5 }));
        assert_eq!(rank_sum(&[], &[1.0]), None);
    }

    proptest! {
        #[test]
        fn exchanged_samples_give_the_same_p(a in prop::collection::vec(0u8..20, 1..60),
            b in prop::collection::vec(0u8..20, 1..60)) {
            let floats =
                |values: &[u8]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
            let there = rank_sum(&floats(&a), &floats(&b)).unwrap();
            let back = rank_sum(&floats(&b), &floats(&a)).unwrap();
            prop_assert!((there.p - back.p).abs() < 1e-9);
            prop_assert!((there.lower + back.lower - 1.0).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&there.p) && (0.0..=1.0).contains(&there.lower));
        }
    }
}

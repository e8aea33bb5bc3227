//! Tests of pairs: does the second value tend to be lower? Wilcoxon's signed-rank test and the sign
//! test.
//!
//! Wilcoxon's p-value is exact for few pairs, also with ties; otherwise it is the normal
//! approximation with corrections for ties and continuity. Pairs without a difference are left out,
//! as Wilcoxon did and R does.

use super::estimate::{TestResult, to_f64};
use super::quantile_distribution::binomial_at_least;
use super::rank_sum::normal_approximation;
use super::ranks::{p_of_subset_sum, rank_values};

/// The most pairs for which the p-value is exact.
const MAX_EXACT_PAIRS: usize = 60;

/// The change from the first value of a pair to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedChange {
    /// The size of the change in either direction: 0 for none, possibly infinite.
    pub size: f64,
    /// Whether the second value is the lower one.
    pub lower: bool,
}

impl PairedChange {
    /// Measures the change as a factor, which is the same for twice and for half. It is computed
    /// without logarithms, so that those two are equal to the last digit.
    #[must_use]
    pub fn of_pair(a: f64, b: f64) -> PairedChange {
        let (less, more) = (a.min(b), a.max(b));
        PairedChange { size: if less == more { 0.0 } else { more / less }, lower: b < a }
    }
}

/// Wilcoxon's signed-rank test: tests pairs by the ranks of the sizes of their changes.
#[must_use]
pub fn signed_rank(shifts: &[PairedChange]) -> TestResult {
    let shifts: Vec<PairedChange> =
        shifts.iter().copied().filter(|shift| shift.size > 0.0).collect();
    if shifts.is_empty() {
        return TestResult { p: 1.0, lower: 0.5 };
    }
    let sizes: Vec<f64> = shifts.iter().map(|shift| shift.size).collect();
    let ranks = rank_values(&sizes);
    let all: usize = ranks.doubled.iter().sum();
    let lower: usize = ranks
        .doubled
        .iter()
        .zip(&shifts)
        .filter(|(_, shift)| shift.lower)
        .map(|(rank, _)| rank)
        .sum();
    let n = to_f64(shifts.len());
    let p = if shifts.len() <= MAX_EXACT_PAIRS {
        p_of_subset_sum(&ranks.doubled, lower)
    } else {
        normal_approximation(
            to_f64(lower) / 2.0,
            to_f64(all) / 4.0,
            n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ranks.ties / 48.0,
        )
    };
    TestResult { p, lower: to_f64(lower) / to_f64(all) }
}

/// The sign test: tests by the directions of the changes alone whether the median change is 0. It
/// agrees with the median's interval by ranks, and its p-value is always exact.
#[must_use]
pub fn sign_test(shifts: &[PairedChange]) -> TestResult {
    let all = shifts.iter().filter(|shift| shift.size > 0.0).count();
    let lower = shifts.iter().filter(|shift| shift.size > 0.0 && shift.lower).count();
    if all == 0 {
        return TestResult { p: 1.0, lower: 0.5 };
    }
    let more = lower.max(all - lower);
    TestResult {
        p: (2.0 * binomial_at_least(more, all, 0.5)).min(1.0),
        lower: to_f64(lower) / to_f64(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn six_pairs_are_the_smallest_number_that_can_be_significant() {
        let all_lower = |n: u32| {
            signed_rank(
                &(1..=n)
                    .map(|n| PairedChange::of_pair(f64::from(n) + 1.0, 1.0))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!((all_lower(5).p, all_lower(6).p, all_lower(6).lower), (0.0625, 0.03125, 1.0));
        let signs = sign_test(&[PairedChange::of_pair(2.0, 1.0); 6]);
        assert!((signs.p - 0.03125).abs() < 1e-12 && signs.lower == 1.0, "{signs:?}");
    }

    #[test]
    fn half_is_as_large_a_change_as_twice_and_from_zero_is_the_largest() {
        assert_eq!(PairedChange::of_pair(3.0, 1.0).size, PairedChange::of_pair(1.0, 3.0).size);
        assert_eq!(
            PairedChange::of_pair(0.0, 5.0),
            PairedChange { size: f64::INFINITY, lower: false }
        );
        assert_eq!(PairedChange::of_pair(0.0, 0.0).size, 0.0);
        assert_eq!(
            signed_rank(&[PairedChange::of_pair(2.0, 2.0); 9]),
            TestResult { p: 1.0, lower: 0.5 }
        );
    }

    proptest! {
        #[test]
        fn exchanging_the_sides_gives_the_same_p(pairs in prop::collection::vec((0u8..9, 0u8..9),
            0..90)) {
            let shifts = |swap: bool| pairs.iter().map(|(a, b)| {
                let (a, b) = (f64::from(*a), f64::from(*b));
                if swap { PairedChange::of_pair(b, a) } else { PairedChange::of_pair(a, b) }
            }).collect::<Vec<_>>();
            let (there, back) = (signed_rank(&shifts(false)), signed_rank(&shifts(true)));
            prop_assert!((there.p - back.p).abs() < 1e-9);
            prop_assert!((there.lower + back.lower - 1.0).abs() < 1e-9);
        }
    }
}

//! Tests of pairs: is the second value rather lower? Wilcoxon's signed ranks, and signs alone.
//!
//! Wilcoxon's is exact where there are few pairs, also with ties; else by the normal approximation, with the corrections for ties and for continuity.
//! Pairs without a difference say nothing of its direction and are left out, as Wilcoxon did and R does.

use super::bootstrap::at_least;
use super::rank_sum::approximate;
use super::ranks::{ranked, taken};
use super::{TestResult, to_f64};

/// Up to so many pairs the sums are counted out.
const EXACT: usize = 60;

/// From the first value of a pair to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedChange {
    /// How far, in either direction; infinitely far is further than anything else.
    pub size: f64,
    /// Whether the second is the lower one.
    pub lower: bool,
}

impl PairedChange {
    /// By how many times: the same for twice as for half. Computed without logarithms, so that those two are equal to the last digit.
    #[must_use]
    pub fn of_pair(a: f64, b: f64) -> PairedChange {
        let (less, more) = (a.min(b), a.max(b));
        PairedChange { size: if less == more { 0.0 } else { more / less }, lower: b < a }
    }
}

/// Tests pairs by how far their second values are from their first.
#[must_use]
pub fn signed_rank(shifts: &[PairedChange]) -> TestResult {
    let shifts: Vec<PairedChange> =
        shifts.iter().copied().filter(|shift| shift.size > 0.0).collect();
    if shifts.is_empty() {
        return TestResult { p: 1.0, lower: 0.5 };
    }
    let sizes: Vec<f64> = shifts.iter().map(|shift| shift.size).collect();
    let ranks = ranked(&sizes);
    let all: usize = ranks.doubled.iter().sum();
    let lower: usize = ranks
        .doubled
        .iter()
        .zip(&shifts)
        .filter(|(_, shift)| shift.lower)
        .map(|(rank, _)| rank)
        .sum();
    let n = to_f64(shifts.len());
    let p = if shifts.len() <= EXACT {
        taken(&ranks.doubled, lower)
    } else {
        approximate(
            to_f64(lower) / 2.0,
            to_f64(all) / 4.0,
            n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ranks.ties / 48.0,
        )
    };
    TestResult { p, lower: to_f64(lower) / to_f64(all) }
}

/// Tests pairs by their directions alone: whether the median shift is none. Says the same as the median's interval by ranks, and is always
/// exact.
#[must_use]
pub fn signs(shifts: &[PairedChange]) -> TestResult {
    let all = shifts.iter().filter(|shift| shift.size > 0.0).count();
    let lower = shifts.iter().filter(|shift| shift.size > 0.0 && shift.lower).count();
    if all == 0 {
        return TestResult { p: 1.0, lower: 0.5 };
    }
    let more = lower.max(all - lower);
    TestResult { p: (2.0 * at_least(more, all, 0.5)).min(1.0), lower: to_f64(lower) / to_f64(all) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn six_pairs_are_the_least_that_can_be_significant() {
        let all_lower = |n: u32| {
            signed_rank(
                &(1..=n)
                    .map(|n| PairedChange::of_pair(f64::from(n) + 1.0, 1.0))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!((all_lower(5).p, all_lower(6).p, all_lower(6).lower), (0.0625, 0.03125, 1.0));
        let signs = signs(&[PairedChange::of_pair(2.0, 1.0); 6]);
        assert!((signs.p - 0.03125).abs() < 1e-12 && signs.lower == 1.0, "{signs:?}");
    }

    #[test]
    fn half_is_as_far_as_twice_and_something_from_nothing_further_than_all() {
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
        fn exchanged_sides_give_the_same_p(pairs in prop::collection::vec((0u8..9, 0u8..9), 0..90)) {
            let shifts = |swap: bool| pairs.iter().map(|(a, b)| {
                let (a, b) = (f64::from(*a), f64::from(*b));
                if swap { PairedChange::of_pair(b, a) } else { PairedChange::of_pair(a, b) }
            }).collect::<Vec<_>>();
            let (there, back) = (signed_rank(&shifts(false)), signed_rank(&shifts(true)));
            prop_assert!((there.p - back.p).abs() < 1e-9 && (there.lower + back.lower - 1.0).abs() < 1e-9);
        }
    }
}

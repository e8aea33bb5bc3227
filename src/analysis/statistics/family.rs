//! Corrections for many tests at once, and the smallest samples that can show a difference.

use super::estimate::{ALPHA, to_f64};

/// With fewer values the median has no interval (`downtime::rank_interval`), so no difference can
/// be shown.
const MIN_VALUES: usize = 6;
/// The search for a sample size ends here.
const MAX_VALUES: usize = 10_000;

/// The design of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// Two independent samples.
    Independent,
    /// Pairs of values.
    Paired,
}

/// Applies Holm's correction: with corrected p-values the probability of any wrong claim stays
/// below 5 %, even if the tests depend on each other. A test without a p-value does not count.
#[must_use]
pub fn holm(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<usize> = (0..p.len()).filter(|index| p[*index].is_some()).collect();
    order.sort_by(|one, two| p[*one].unwrap_or(1.0).total_cmp(&p[*two].unwrap_or(1.0)));
    let mut corrected = vec![None; p.len()];
    let mut max_so_far: f64 = 0.0;
    for (before, index) in order.iter().enumerate() {
        max_so_far =
            max_so_far.max(p[*index].unwrap_or(1.0) * to_f64(order.len() - before)).min(1.0);
        corrected[*index] = Some(max_so_far);
    }
    corrected
}

/// Returns the smallest p-value that samples of these sizes can give, which is the one of samples
/// that do not overlap. Pairs have the same number of values on both sides.
#[must_use]
pub fn min_p(design: Design, a: usize, b: usize) -> f64 {
    let all = a + b;
    let ln = match design {
        Design::Paired => -to_f64(a.min(b)) * std::f64::consts::LN_2,
        Design::Independent => {
            libm::lgamma(to_f64(a) + 1.0) + libm::lgamma(to_f64(b) + 1.0)
                - libm::lgamma(to_f64(all) + 1.0)
        }
    };
    (2.0 * libm::exp(ln)).min(1.0)
}

/// Returns how many values each side needs before a difference can be shown, with this many tests
/// in the family.
#[must_use]
pub fn min_values_per_side(design: Design, family: usize) -> usize {
    (MIN_VALUES..MAX_VALUES)
        .find(|count| min_p(design, *count, *count) * to_f64(family) <= ALPHA)
        .unwrap_or(MAX_VALUES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holm_matches_a_calculation_by_hand() {
        let p = [Some(0.01), None, Some(0.04), Some(0.03), Some(0.005)];
        let corrected = holm(&p);
        let expected = [Some(0.03), None, Some(0.06), Some(0.06), Some(0.02)];
        for (one, two) in corrected.iter().zip(expected) {
            assert_eq!(one.is_some(), two.is_some());
            assert!((one.unwrap_or(0.0) - two.unwrap_or(0.0)).abs() < 1e-12, "{corrected:?}");
        }
    }

    #[test]
    fn more_tests_need_more_values() {
        let needed = |design| [1, 8, 400].map(|family| min_values_per_side(design, family));
        assert_eq!(needed(Design::Independent), [6, 6, 9]);
        assert_eq!(needed(Design::Paired), [6, 9, 14]);
        assert!((min_p(Design::Independent, 4, 4) - 2.0 / 70.0).abs() < 1e-12);
        assert!((min_p(Design::Paired, 5, 5) - 2.0 / 32.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_correction_keeps_the_order_and_reduces_no_p(
            p in prop::collection::vec(prop::option::of(0f64..=1.0), 0..40)
        ) {
            let corrected = holm(&p);
            for (before, after) in p.iter().zip(&corrected) {
                prop_assert!(before.zip(*after).is_none_or(|(before,
                    after)| before <= after && after <= 1.0));
            }
            for (one, two) in (0..p.len()).flat_map(|one| (0..p.len()).map(move |two| (one, two))) {
                let is_swapped = p[one] < p[two] && corrected[one] > corrected[two];
                prop_assert!(!is_swapped || p[one].is_none());
            }
        }
    }
}

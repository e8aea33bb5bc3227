//! Many tests at once, and from how many values on one of them can claim anything.
//!
//! Takes p-values and sample sizes; gives Holm's corrected p-values, and the least numbers of values.

use super::{ALPHA, to_f64};

/// The median has no interval below this (`downtime::rank_interval`), so nothing is claimed.
const FEWEST: usize = 6;
/// Nobody makes more runs than this.
const MOST: usize = 10_000;

/// How the samples were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// Two samples that have nothing to do with each other.
    Independent,
    /// Pairs.
    Paired,
}

/// Holm's correction: the chance that any of the claims is wrong stays below 5 %, whatever the tests have to do with each other. What has no
/// p is no part of the family.
#[must_use]
pub fn holm(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<usize> = (0..p.len()).filter(|index| p[*index].is_some()).collect();
    order.sort_by(|one, two| p[*one].unwrap_or(1.0).total_cmp(&p[*two].unwrap_or(1.0)));
    let mut corrected = vec![None; p.len()];
    let mut least: f64 = 0.0;
    for (before, index) in order.iter().enumerate() {
        least = least.max(p[*index].unwrap_or(1.0) * to_f64(order.len() - before)).min(1.0);
        corrected[*index] = Some(least);
    }
    corrected
}

/// The least p that samples of this size can give: all of one side are below all of the other. With pairs both have the same size.
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

/// How many values each side needs before anything can be claimed, with so many tests in the family.
#[must_use]
pub fn min_values_per_side(design: Design, family: usize) -> usize {
    (FEWEST..MOST)
        .find(|count| min_p(design, *count, *count) * to_f64(family) <= ALPHA)
        .unwrap_or(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holm_by_hand() {
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
        fn a_correction_keeps_the_order_and_makes_nothing_smaller(p in prop::collection::vec(prop::option::of(0f64..=1.0), 0..40)) {
            let corrected = holm(&p);
            for (before, after) in p.iter().zip(&corrected) {
                prop_assert!(before.zip(*after).is_none_or(|(before, after)| before <= after && after <= 1.0));
            }
            for (one, two) in (0..p.len()).flat_map(|one| (0..p.len()).map(move |two| (one, two))) {
                prop_assert!(!(p[one] < p[two] && corrected[one] > corrected[two]) || p[one].is_none());
            }
        }
    }
}

//! The change of a quantile between two samples: difference and ratio, with percentile bootstrap
//! intervals.
//!
//! **For independent samples nothing is drawn.** The distribution of a resample's quantile is known
//! exactly: the quantile has rank r, and it is at most the j-th of n values if at least r of n
//! draws with replacement are, each with probability j/n (Efron 1979; Maritz and Jarrett 1978). The
//! two samples are resampled independently, so each pair of values has the product of their
//! probabilities. This is the interval of infinitely many resamples, in less time than a thousand
//! of them take.
//!
//! **Pairs** are drawn together, with a seed: their two quantiles depend on each other, and there
//! is no such formula.

use super::estimate::{Estimate, to_f64};
use super::sorted_values::SortedValues;
use crate::downtime::{rank, rank_interval};
use fastrand::Rng;

/// The probability in each tail outside a 95 % interval.
const TAIL: f64 = 0.025;
/// Values that are the quantile of a smaller share of the resamples are ignored.
const NEGLIGIBLE: f64 = 1e-12;
/// The number of resamples of pairs. Each tail then has 2.5 ± 0.35 % of all possible resamples (one
/// standard deviation).
const RESAMPLES: usize = 2000;

/// The change from the first sample to the second.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Change {
    /// The second divided by the first; `None` if the first can be 0 or a value is negative.
    pub ratio: Option<Estimate>,
    /// The second minus the first.
    pub difference: Estimate,
}

/// Estimates the change of a quantile between two independent samples; `None` if one is empty.
#[must_use]
pub fn independent_change(a: &SortedValues, b: &SortedValues, hundredths: u32) -> Option<Change> {
    let (from, to) = (a.quantile(hundredths)?.value, b.quantile(hundredths)?.value);
    let resampled = have_enough_values(a, b, hundredths)
        .then(|| combine(&quantile_shares(a, hundredths), &quantile_shares(b, hundredths)));
    Some(change(from, to, &resampled.unwrap_or_default()))
}

/// Estimates the change of a quantile between the first and the second values of pairs; `None`
/// without pairs.
#[must_use]
pub fn paired_change(pairs: &[(f64, f64)], hundredths: u32, seed: u64) -> Option<Change> {
    let pairs: Vec<(f64, f64)> =
        pairs.iter().copied().filter(|pair| !pair.0.is_nan() && !pair.1.is_nan()).collect();
    let (a, b) = (
        SortedValues::new(pairs.iter().map(|pair| pair.0)),
        SortedValues::new(pairs.iter().map(|pair| pair.1)),
    );
    let (from, to) = (a.quantile(hundredths)?.value, b.quantile(hundredths)?.value);
    let resampled = have_enough_values(&a, &b, hundredths)
        .then(|| draw_resamples(&pairs, &a, &b, hundredths, seed));
    Some(change(from, to, &resampled.unwrap_or_default()))
}

/// A resample of both samples.
pub(super) struct Resample {
    /// The quantile of the first sample.
    pub(super) a: f64,
    /// The quantile of the second sample.
    pub(super) b: f64,
    /// The share of all resamples that have these two quantiles.
    pub(super) share: f64,
}

fn have_enough_values(a: &SortedValues, b: &SortedValues, hundredths: u32) -> bool {
    [a, b].iter().all(|sample| rank_interval(sample.values().len(), hundredths).is_some())
}

fn change(from: f64, to: f64, resampled: &[Resample]) -> Change {
    let estimate = |of: fn(f64, f64) -> f64| {
        let ends = percentiles(resampled.iter().map(|one| (of(one.a, one.b), one.share)).collect());
        Estimate {
            value: of(from, to),
            low: ends.map(|ends| ends.0),
            high: ends.map(|ends| ends.1),
        }
    };
    Change { ratio: finite_ratio(estimate(ratio)), difference: estimate(difference) }
}

/// Returns the ratio if it and its interval are finite and not negative.
pub(crate) fn finite_ratio(ratio: Estimate) -> Option<Estimate> {
    let all = [Some(ratio.value), ratio.low, ratio.high];
    all.into_iter().flatten().all(|figure| figure.is_finite() && figure >= 0.0).then_some(ratio)
}

/// Divides `b` by `a`; 0 / 0 counts as no change.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if a == b { 1.0 } else { b / a }
}

fn difference(a: f64, b: f64) -> f64 {
    b - a
}

/// Lists the values with the share of the resamples that have them as their quantile.
pub(super) fn quantile_shares(sample: &SortedValues, hundredths: u32) -> Vec<(f64, f64)> {
    let values = sample.values();
    let count = values.len();
    let Some(rank) = rank(count, hundredths) else { return Vec::new() };
    let mut shares: Vec<(f64, f64)> = Vec::new();
    let mut below = 0.0;
    for (index, value) in values.iter().enumerate() {
        let at_most = binomial_at_least(rank, count, to_f64(index + 1) / to_f64(count));
        let share = at_most - below;
        below = at_most;
        match shares.last_mut().filter(|last| last.0 == *value) {
            Some(last) => last.1 += share,
            None if share > NEGLIGIBLE => shares.push((*value, share)),
            None => {}
        }
        if below > 1.0 - NEGLIGIBLE {
            break;
        }
    }
    shares
}

/// Returns the probability that at least `min` of `count` trials succeed, each with this
/// probability.
pub(super) fn binomial_at_least(min: usize, count: usize, probability: f64) -> f64 {
    if probability >= 1.0 {
        return 1.0;
    }
    let (n, first) = (to_f64(count), to_f64(min));
    let ln_choose =
        libm::lgamma(n + 1.0) - libm::lgamma(first + 1.0) - libm::lgamma(n - first + 1.0);
    let mut term = libm::exp(
        ln_choose + first * libm::log(probability) + (n - first) * libm::log1p(-probability),
    );
    let odds = probability / (1.0 - probability);
    let mut sum = term;
    for successes in min..count {
        let s = to_f64(successes);
        let factor = (n - s) / (s + 1.0) * odds;
        term *= factor;
        sum += term;
        // Past the most likely number of successes the terms only decrease.
        if factor < 1.0 && term < sum * 1e-16 {
            break;
        }
    }
    sum.min(1.0)
}

/// Combines the quantiles of two samples that are resampled independently.
pub(super) fn combine(a: &[(f64, f64)], b: &[(f64, f64)]) -> Vec<Resample> {
    let with = |from: &(f64, f64)| {
        let (a, share) = *from;
        b.iter().map(move |(b, other)| Resample { a, b: *b, share: share * other })
    };
    a.iter().flat_map(with).collect()
}

/// Returns the values between which all but the tails lie.
fn percentiles(mut shares: Vec<(f64, f64)>) -> Option<(f64, f64)> {
    shares.sort_unstable_by(|one, two| one.0.total_cmp(&two.0));
    Some((first_past_tail(shares.iter())?, first_past_tail(shares.iter().rev())?))
}

fn first_past_tail<'a>(mut shares: impl Iterator<Item = &'a (f64, f64)>) -> Option<f64> {
    let mut passed = 0.0;
    let last = shares.find(|(_, share)| {
        passed += share;
        passed >= TAIL
    });
    last.map(|(value, _)| *value)
}

/// Draws resamples of pairs. Positions are drawn and counted, so that nothing has to be sorted
/// again.
pub(super) fn draw_resamples(
    pairs: &[(f64, f64)],
    a: &SortedValues,
    b: &SortedValues,
    hundredths: u32,
    seed: u64,
) -> Vec<Resample> {
    let position =
        |all: &SortedValues, value: f64| all.values().partition_point(|other| *other < value);
    let positions: Vec<(usize, usize)> =
        pairs.iter().map(|pair| (position(a, pair.0), position(b, pair.1))).collect();
    let Some(rank) = rank(pairs.len(), hundredths) else { return Vec::new() };
    let mut random = Rng::with_seed(seed);
    let mut counts = vec![(0_u32, 0_u32); pairs.len()];
    let count = pairs.len() as u64;
    let mut resample = || {
        counts.fill((0, 0));
        for _ in pairs {
            let drawn = usize::try_from(random.u64(0..count)).expect("below the number of pairs");
            let (in_a, in_b) = positions[drawn];
            counts[in_a].0 += 1;
            counts[in_b].1 += 1;
        }
        let at_a = index_of_rank(counts.iter().map(|both| both.0), rank);
        let at_b = index_of_rank(counts.iter().map(|both| both.1), rank);
        Resample { a: a.values()[at_a], b: b.values()[at_b], share: 1.0 / to_f64(RESAMPLES) }
    };
    (0..RESAMPLES).map(|_| resample()).collect()
}

/// Returns the index at which the running total of the counts reaches the rank.
fn index_of_rank(counts: impl Iterator<Item = u32>, rank: usize) -> usize {
    let mut passed = 0;
    counts
        .take_while(|count| {
            passed += *count as usize;
            passed < rank
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(one: f64, two: f64) -> bool {
        (one - two).abs() <= 1e-9 * one.abs().max(two.abs())
    }

    #[test]
    fn shares_match_all_resamples_of_three_values() {
        // Of the 27 resamples of 1, 2, 3 the median is 1 in 7, 2 in 13 and 3 in 7.
        let shares = quantile_shares(&SortedValues::new([1.0, 2.0, 3.0]), 50);
        let expected = [(1.0, 7.0 / 27.0), (2.0, 13.0 / 27.0), (3.0, 7.0 / 27.0)];
        assert!(
            shares.iter().zip(expected).all(|(one, two)| one.0 == two.0 && close(one.1, two.1)),
            "{shares:?}"
        );
        assert_eq!(shares.len(), 3);
    }

    #[test]
    fn five_values_have_no_interval() {
        let five = SortedValues::new((1..=5).map(f64::from));
        let change = independent_change(&five, &five, 50).unwrap();
        assert_eq!(change.ratio, Some(Estimate { value: 1.0, low: None, high: None }));
        assert_eq!(independent_change(&five, &SortedValues::default(), 50), None);
        assert_eq!(
            (paired_change(&[], 50, 1), paired_change(&[(f64::NAN, 1.0); 9], 50, 1)),
            (None, None)
        );
    }

    #[test]
    fn there_is_no_ratio_to_zero() {
        let (none, some) = (SortedValues::new([0.0; 10]), SortedValues::new([4.0; 10]));
        let change = independent_change(&none, &some, 50).unwrap();
        assert_eq!(change.ratio, None);
        assert_eq!(change.difference, Estimate { value: 4.0, low: Some(4.0), high: Some(4.0) });
        let same = independent_change(&none, &none, 50).unwrap();
        assert_eq!(same.ratio.map(|ratio| ratio.value), Some(1.0));
    }

    #[test]
    fn a_seed_gives_the_same_interval_again() {
        let pairs: Vec<(f64, f64)> =
            (0..40).map(|n| (f64::from(n * 37 % 41) + 1.0, f64::from(n * 29 % 43) + 2.0)).collect();
        let change = paired_change(&pairs, 50, 7).unwrap();
        assert_eq!(Some(change), paired_change(&pairs, 50, 7));
        // The same on every platform: figures of the one on which this was written.
        insta::assert_snapshot!(format!("{:?}", change.difference), @"Estimate { value: 1.0, low: \
            Some(-7.0), high: Some(10.0) }");
    }

    #[test]
    fn pairs_that_change_together_give_a_narrower_interval() {
        let pairs: Vec<(f64, f64)> = (1..=60).map(|n| (f64::from(n), f64::from(n) + 1.0)).collect();
        let (a, b) = (
            SortedValues::new(pairs.iter().map(|pair| pair.0)),
            SortedValues::new(pairs.iter().map(|pair| pair.1)),
        );
        let together = paired_change(&pairs, 50, 1).unwrap().difference;
        assert_eq!((together.low, together.high), (Some(1.0), Some(1.0)));
        let apart = independent_change(&a, &b, 50).unwrap().difference;
        assert!(apart.low < Some(0.0) && apart.high > Some(2.0), "{apart:?}");
    }

    proptest! {
        #[test]
        fn shares_of_resamples_add_up_to_one(values in prop::collection::vec(0u8..50, 1..120),
            hundredths in 1u32..100) {
            let values = SortedValues::new(values.into_iter().map(f64::from));
            let shares = quantile_shares(&values, hundredths);
            let sum: f64 = shares.iter().map(|share| share.1).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{}", sum);
        }

        #[test]
        fn exchanging_the_samples_negates_the_difference(
            a in prop::collection::vec(1f64..1e6, 6..40), b in prop::collection::vec(1f64..1e6,
                6..40)
        ) {
            let (a, b) = (SortedValues::new(a), SortedValues::new(b));
            let there = independent_change(&a, &b, 50).unwrap().difference;
            let back = independent_change(&b, &a, 50).unwrap().difference;
            prop_assert_eq!((there.value, there.low, there.high), (-back.value,
                back.high.map(|high| -high), back.low.map(|low| -low)));
            prop_assert!(there.low <= Some(there.value) && Some(there.value) <= there.high);
        }
    }
}

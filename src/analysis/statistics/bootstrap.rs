//! The change of a quantile between two samples: difference and ratio, with percentile bootstrap
//! intervals.
//!
//! **For independent samples nothing is drawn.** The distribution of the quantile of a resample is
//! known exactly (Efron 1979; Maritz and Jarrett 1978; `quantile_distribution`). The two samples
//! are resampled independently, so each pair of quantiles has the product of their probabilities.
//! This is the interval of infinitely many resamples, in less time than a thousand of them take.
//!
//! **Pairs** are drawn together, with a seed: their two quantiles depend on each other, and there
//! is no such formula.

use super::estimate::Estimate;
use super::quantile_distribution::{interval_of, quantile_shares};
use super::sorted_values::SortedValues;
use crate::downtime::{quantile_ranks, rank_interval};
use fastrand::Rng;

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
    if !have_enough_values(a, b, hundredths) {
        return Some(change(from, to, |_| None));
    }
    let (shares_a, shares_b) = (quantile_shares(a, hundredths), quantile_shares(b, hundredths));
    let mut change = change(from, to, |of| interval_of(&shares_a, &shares_b, of));
    // A ratio to a negative value does not have the order that the interval relies on.
    if a.values()[0] < 0.0 || b.values()[0] < 0.0 {
        change.ratio = None;
    }
    Some(change)
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
    if !have_enough_values(&a, &b, hundredths) {
        return Some(change(from, to, |_| None));
    }
    let resamples = draw_resamples(&pairs, &a, &b, hundredths, seed);
    Some(change(from, to, |of| interval_of_resamples(&resamples, of)))
}

fn have_enough_values(a: &SortedValues, b: &SortedValues, hundredths: u32) -> bool {
    [a, b].iter().all(|sample| rank_interval(sample.values().len(), hundredths).is_some())
}

/// Estimates ratio and difference, with the interval that the function gives for each.
fn change(
    from: f64,
    to: f64,
    interval: impl Fn(fn(f64, f64) -> f64) -> Option<(f64, f64)>,
) -> Change {
    let estimate = |of: fn(f64, f64) -> f64| {
        let ends = interval(of);
        Estimate {
            value: of(from, to),
            low: ends.map(|ends| ends.0),
            high: ends.map(|ends| ends.1),
        }
    };
    Change { ratio: finite_ratio(estimate(ratio)), difference: estimate(difference) }
}

/// Returns the ratio if it and its interval are finite and not negative.
pub fn finite_ratio(ratio: Estimate) -> Option<Estimate> {
    let all = [Some(ratio.value), ratio.low, ratio.high];
    all.into_iter().flatten().all(|figure| figure.is_finite() && figure >= 0.0).then_some(ratio)
}

/// Divides `b` by `a`; 0 / 0 counts as no change.
pub fn ratio(a: f64, b: f64) -> f64 {
    if a == b { 1.0 } else { b / a }
}

fn difference(a: f64, b: f64) -> f64 {
    b - a
}

/// Returns the values between which all but the tails of the resamples lie.
fn interval_of_resamples(resamples: &[(f64, f64)], of: fn(f64, f64) -> f64) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = resamples.iter().map(|(a, b)| of(*a, *b)).collect();
    values.sort_unstable_by(f64::total_cmp);
    // The share of a tail is reached at this resample from each end.
    let past_tail = RESAMPLES / 40 - 1;
    Some((*values.get(past_tail)?, *values.iter().rev().nth(past_tail)?))
}

/// Draws resamples of pairs, and returns the quantiles of both sides for each. Positions are drawn
/// and counted, so that nothing has to be sorted again.
pub(super) fn draw_resamples(
    pairs: &[(f64, f64)],
    a: &SortedValues,
    b: &SortedValues,
    hundredths: u32,
    seed: u64,
) -> Vec<(f64, f64)> {
    let position =
        |all: &SortedValues, value: f64| all.values().partition_point(|other| *other < value);
    let positions: Vec<(usize, usize)> =
        pairs.iter().map(|pair| (position(a, pair.0), position(b, pair.1))).collect();
    let Some(ranks) = quantile_ranks(pairs.len(), hundredths) else { return Vec::new() };
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
        (
            value_at_ranks(a.values(), counts.iter().map(|both| both.0), ranks),
            value_at_ranks(b.values(), counts.iter().map(|both| both.1), ranks),
        )
    };
    (0..RESAMPLES).map(|_| resample()).collect()
}

/// Returns the mean of the values at two ranks of a resample, in which each value occurs as often
/// as its count says.
fn value_at_ranks(
    values: &[f64],
    counts: impl Iterator<Item = u32>,
    (rank, next): (usize, usize),
) -> f64 {
    let mut passed = 0;
    let mut first = None;
    for (value, count) in values.iter().zip(counts) {
        passed += count as usize;
        if passed >= next {
            return f64::midpoint(first.unwrap_or(*value), *value);
        }
        if passed >= rank && first.is_none() {
            first = Some(*value);
        }
    }
    unreachable!("a resample has as many values as the sample")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            Some(-7.0), high: Some(9.5) }");
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

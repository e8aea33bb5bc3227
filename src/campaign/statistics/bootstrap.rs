//! How far a quantile of one sample is from the same quantile of another: difference and ratio, with percentile bootstrap intervals.
//!
//! Takes two samples; gives both figures with their intervals. Knows nothing of tests.
//!
//! **Independent samples: nothing is drawn.** How often each value would be the quantile of a resample is known exactly: the quantile has
//! rank r, and it is at most the j-th of n values if at least r of n draws with replacement are, each with probability j/n (Efron 1979;
//! Maritz and Jarrett 1978). Two samples are resampled independently, so the resampled ratio has each pair of values with the product of
//! their probabilities. That is the interval that infinitely many resamples would give, in less time than a thousand of them take.
//!
//! **Pairs** are drawn together, with a seed: their two quantiles move together, and that has no such formula.

use super::{Estimate, SortedValues, to_f64};
use crate::downtime::{rank, rank_interval};
use fastrand::Rng;

/// Each tail of a 95 % interval.
const TAIL: f64 = 0.025;
/// Values that so few resamples have as their quantile are let go.
const NEGLIGIBLE: f64 = 1e-12;
/// Of pairs. Each tail then holds 2.5 ± 0.35 % of all resamples (one standard deviation).
const RESAMPLES: usize = 2000;

/// From the first sample to the second.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Change {
    /// Second by first; `null` where that cannot be said (the first is 0, or something is negative).
    pub ratio: Option<Estimate>,
    /// Second less first.
    pub difference: Estimate,
}

/// Between the quantiles of two samples that have nothing to do with each other. `None` of an empty one.
#[must_use]
pub fn independent(a: &SortedValues, b: &SortedValues, hundredths: u32) -> Option<Change> {
    let (from, to) = (a.quantile(hundredths)?.value, b.quantile(hundredths)?.value);
    let resampled = from_enough(a, b, hundredths)
        .then(|| products(&resampled(a, hundredths), &resampled(b, hundredths)));
    Some(change(from, to, &resampled.unwrap_or_default()))
}

/// Between the quantiles of two samples of which the n-th values belong together. `None` of no pairs.
#[must_use]
pub fn paired(pairs: &[(f64, f64)], hundredths: u32, seed: u64) -> Option<Change> {
    let pairs: Vec<(f64, f64)> =
        pairs.iter().copied().filter(|pair| !pair.0.is_nan() && !pair.1.is_nan()).collect();
    let (a, b) = (
        SortedValues::new(pairs.iter().map(|pair| pair.0)),
        SortedValues::new(pairs.iter().map(|pair| pair.1)),
    );
    let (from, to) = (a.quantile(hundredths)?.value, b.quantile(hundredths)?.value);
    let resampled = from_enough(&a, &b, hundredths).then(|| draw(&pairs, &a, &b, hundredths, seed));
    Some(change(from, to, &resampled.unwrap_or_default()))
}

/// Both quantiles of a resample, and the share of resamples that have them.
pub(super) struct Resampled {
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) share: f64,
}

fn from_enough(a: &SortedValues, b: &SortedValues, hundredths: u32) -> bool {
    [a, b].iter().all(|sample| rank_interval(sample.values().len(), hundredths).is_some())
}

fn change(from: f64, to: f64, resampled: &[Resampled]) -> Change {
    let estimate = |of: fn(f64, f64) -> f64| {
        let ends = percentiles(resampled.iter().map(|one| (of(one.a, one.b), one.share)).collect());
        Estimate {
            value: of(from, to),
            low: ends.map(|ends| ends.0),
            high: ends.map(|ends| ends.1),
        }
    };
    Change { ratio: sayable(estimate(ratio)), difference: estimate(difference) }
}

/// A ratio that has no end is none.
pub(crate) fn sayable(ratio: Estimate) -> Option<Estimate> {
    let all = [Some(ratio.value), ratio.low, ratio.high];
    all.into_iter().flatten().all(|figure| figure.is_finite() && figure >= 0.0).then_some(ratio)
}

/// Nothing of nothing is as much: it stays in its place in the order.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if a == b { 1.0 } else { b / a }
}

fn difference(a: f64, b: f64) -> f64 {
    b - a
}

/// Values, and the share of resamples that have them as their quantile.
pub(super) fn resampled(sample: &SortedValues, hundredths: u32) -> Vec<(f64, f64)> {
    let values = sample.values();
    let count = values.len();
    let Some(rank) = rank(count, hundredths) else { return Vec::new() };
    let mut shares: Vec<(f64, f64)> = Vec::new();
    let mut below = 0.0;
    for (index, value) in values.iter().enumerate() {
        let at_most = at_least(rank, count, to_f64(index + 1) / to_f64(count));
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

/// The probability that at least `least` of `count` trials succeed, each with this probability.
pub(super) fn at_least(least: usize, count: usize, probability: f64) -> f64 {
    if probability >= 1.0 {
        return 1.0;
    }
    let (n, first) = (to_f64(count), to_f64(least));
    let ln_choose =
        libm::lgamma(n + 1.0) - libm::lgamma(first + 1.0) - libm::lgamma(n - first + 1.0);
    let mut term = libm::exp(
        ln_choose + first * libm::log(probability) + (n - first) * libm::log1p(-probability),
    );
    let odds = probability / (1.0 - probability);
    let mut sum = term;
    for successes in least..count {
        let s = to_f64(successes);
        let factor = (n - s) / (s + 1.0) * odds;
        term *= factor;
        sum += term;
        // Past the most likely number they only become smaller.
        if factor < 1.0 && term < sum * 1e-16 {
            break;
        }
    }
    sum.min(1.0)
}

/// Of independent samples.
pub(super) fn products(a: &[(f64, f64)], b: &[(f64, f64)]) -> Vec<Resampled> {
    let with = |from: &(f64, f64)| {
        let (a, share) = *from;
        b.iter().map(move |(b, other)| Resampled { a, b: *b, share: share * other })
    };
    a.iter().flat_map(with).collect()
}

/// Between which values all but the tails lie.
fn percentiles(mut shares: Vec<(f64, f64)>) -> Option<(f64, f64)> {
    shares.sort_unstable_by(|one, two| one.0.total_cmp(&two.0));
    Some((past_the_tail(shares.iter())?, past_the_tail(shares.iter().rev())?))
}

fn past_the_tail<'a>(mut shares: impl Iterator<Item = &'a (f64, f64)>) -> Option<f64> {
    let mut passed = 0.0;
    let last = shares.find(|(_, share)| {
        passed += share;
        passed >= TAIL
    });
    last.map(|(value, _)| *value)
}

/// Both quantiles of each resample of pairs. Ranks are drawn and counted, so that nothing is sorted again.
pub(super) fn draw(
    pairs: &[(f64, f64)],
    a: &SortedValues,
    b: &SortedValues,
    hundredths: u32,
    seed: u64,
) -> Vec<Resampled> {
    let place =
        |all: &SortedValues, value: f64| all.values().partition_point(|other| *other < value);
    let places: Vec<(usize, usize)> =
        pairs.iter().map(|pair| (place(a, pair.0), place(b, pair.1))).collect();
    let Some(rank) = rank(pairs.len(), hundredths) else { return Vec::new() };
    let mut random = Rng::with_seed(seed);
    let mut counts = vec![(0_u32, 0_u32); pairs.len()];
    let count = pairs.len() as u64;
    let mut resample = || {
        counts.fill((0, 0));
        for _ in pairs {
            let drawn = usize::try_from(random.u64(0..count)).unwrap_or(0);
            let (in_a, in_b) = places[drawn];
            counts[in_a].0 += 1;
            counts[in_b].1 += 1;
        }
        let at_a = reaches(counts.iter().map(|both| both.0), rank);
        let at_b = reaches(counts.iter().map(|both| both.1), rank);
        Resampled { a: a.values()[at_a], b: b.values()[at_b], share: 1.0 / to_f64(RESAMPLES) }
    };
    (0..RESAMPLES).map(|_| resample()).collect()
}

/// The index at which counts reach the rank.
fn reaches(counts: impl Iterator<Item = u32>, rank: usize) -> usize {
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
    fn all_resamples_of_three_counted_out() {
        // 27 resamples of 1, 2, 3: the median is 1 in 7 of them, 2 in 13, 3 in 7.
        let shares = resampled(&SortedValues::new([1.0, 2.0, 3.0]), 50);
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
        let change = independent(&five, &five, 50).unwrap();
        assert_eq!(change.ratio, Some(Estimate { value: 1.0, low: None, high: None }));
        assert_eq!(independent(&five, &SortedValues::default(), 50), None);
        assert_eq!((paired(&[], 50, 1), paired(&[(f64::NAN, 1.0); 9], 50, 1)), (None, None));
    }

    #[test]
    fn a_ratio_to_nothing_is_not_said() {
        let (none, some) = (SortedValues::new([0.0; 10]), SortedValues::new([4.0; 10]));
        let change = independent(&none, &some, 50).unwrap();
        assert_eq!(change.ratio, None);
        assert_eq!(change.difference, Estimate { value: 4.0, low: Some(4.0), high: Some(4.0) });
        let same = independent(&none, &none, 50).unwrap();
        assert_eq!(same.ratio.map(|ratio| ratio.value), Some(1.0));
    }

    #[test]
    fn a_seed_gives_the_same_interval_again() {
        let pairs: Vec<(f64, f64)> =
            (0..40).map(|n| (f64::from(n * 37 % 41) + 1.0, f64::from(n * 29 % 43) + 2.0)).collect();
        let change = paired(&pairs, 50, 7).unwrap();
        assert_eq!(Some(change), paired(&pairs, 50, 7));
        // The same on every platform: figures of the one on which this was written.
        insta::assert_snapshot!(format!("{:?}", change.difference), @"Estimate { value: 1.0, low: Some(-7.0), high: Some(10.0) }");
    }

    #[test]
    fn pairs_that_move_together_tell_more() {
        let pairs: Vec<(f64, f64)> = (1..=60).map(|n| (f64::from(n), f64::from(n) + 1.0)).collect();
        let (a, b) = (
            SortedValues::new(pairs.iter().map(|pair| pair.0)),
            SortedValues::new(pairs.iter().map(|pair| pair.1)),
        );
        let together = paired(&pairs, 50, 1).unwrap().difference;
        assert_eq!((together.low, together.high), (Some(1.0), Some(1.0)));
        let apart = independent(&a, &b, 50).unwrap().difference;
        assert!(apart.low < Some(0.0) && apart.high > Some(2.0), "{apart:?}");
    }

    proptest! {
        #[test]
        fn shares_are_those_of_all_resamples(values in prop::collection::vec(0u8..50, 1..120), hundredths in 1u32..100) {
            let shares = resampled(&SortedValues::new(values.iter().map(|value| f64::from(*value))), hundredths);
            let sum: f64 = shares.iter().map(|share| share.1).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{}", sum);
        }

        #[test]
        fn the_way_back_is_the_same_way(
            a in prop::collection::vec(1f64..1e6, 6..40), b in prop::collection::vec(1f64..1e6, 6..40)
        ) {
            let (a, b) = (SortedValues::new(a), SortedValues::new(b));
            let there = independent(&a, &b, 50).unwrap().difference;
            let back = independent(&b, &a, 50).unwrap().difference;
            prop_assert_eq!((there.value, there.low, there.high), (-back.value, back.high.map(|high| -high), back.low.map(|low| -low)));
            prop_assert!(there.low <= Some(there.value) && Some(there.value) <= there.high);
        }
    }
}

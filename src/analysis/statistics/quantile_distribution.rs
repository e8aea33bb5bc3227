//! The exact distribution of a quantile over all bootstrap resamples of a sample, and intervals of
//! a function of two such quantiles. Pure.

use super::estimate::to_f64;
use super::sorted_values::SortedValues;
use crate::downtime::quantile_ranks;

/// The probability in each tail outside a 95 % interval.
pub(super) const TAIL: f64 = 0.025;
/// Values that are the quantile of a smaller share of the resamples are ignored.
const NEGLIGIBLE: f64 = 1e-12;

/// A value, and the share of the resamples that have it as their quantile.
pub(super) type ValueShare = (f64, f64);

/// Lists the possible quantiles of a resample with their shares, in ascending order.
pub(super) fn quantile_shares(sample: &SortedValues, hundredths: u32) -> Vec<ValueShare> {
    let values = sample.values();
    match quantile_ranks(values.len(), hundredths) {
        None => Vec::new(),
        Some((rank, next)) if rank == next => merge_equal(
            shares_by_index(values.len(), rank)
                .map(|(index, share)| (values[index], share))
                .collect(),
        ),
        Some((rank, _)) => median_shares(values, rank),
    }
}

/// Iterates over the indices of the values that have this rank in a resample, and the share of the
/// resamples in which they do. A value of rank r is at most the j-th of n values if at least r of n
/// draws are, each with probability j/n.
fn shares_by_index(count: usize, rank: usize) -> impl Iterator<Item = (usize, f64)> {
    let mut below = 0.0;
    (0..count)
        .map(move |index| {
            let at_most = binomial_at_least(rank, count, to_f64(index + 1) / to_f64(count));
            let share = at_most - below;
            below = at_most;
            (index, share)
        })
        .filter(|(_, share)| *share > NEGLIGIBLE)
}

/// Lists the possible medians of a resample of an even number of values. The median is the mean of
/// the two middle values of the resample. They are the i-th and the j-th value, with i < j, if half
/// of the draws have the maximum i and the other half have the minimum j.
fn median_shares(values: &[f64], half: usize) -> Vec<ValueShare> {
    let (count, m) = (values.len(), to_f64(half));
    let ln_choose = libm::lgamma(2.0 * m + 1.0) - 2.0 * libm::lgamma(m + 1.0);
    // The logarithm of the probability that the maximum of `half` draws is the i-th value, from 1.
    // By symmetry, their minimum is the j-th value with the probability of the maximum n + 1 - j.
    let ln_maximum: Vec<f64> = (1..=count)
        .map(|i| {
            let below = libm::exp(m * libm::log1p(-1.0 / to_f64(i)));
            m * libm::log(to_f64(i) / to_f64(count)) + libm::log1p(-below)
        })
        .collect();
    let mut shares = Vec::new();
    for (i, share_of_i) in shares_by_index(count, half) {
        let mut equal = share_of_i;
        for j in i + 1..count {
            let share = libm::exp(ln_choose + ln_maximum[i] + ln_maximum[count - 1 - j]);
            // The shares only decrease with j.
            if share < NEGLIGIBLE * 0.01 {
                break;
            }
            equal -= share;
            shares.push((f64::midpoint(values[i], values[j]), share));
        }
        if equal > NEGLIGIBLE {
            shares.push((values[i], equal));
        }
    }
    shares.sort_unstable_by(|one, two| one.0.total_cmp(&two.0));
    merge_equal(shares)
}

/// Adds up the shares of equal values, which are neighbours.
fn merge_equal(shares: Vec<ValueShare>) -> Vec<ValueShare> {
    let mut merged: Vec<ValueShare> = Vec::with_capacity(shares.len());
    for (value, share) in shares {
        match merged.last_mut().filter(|last| last.0 == value) {
            Some(last) => last.1 += share,
            None => merged.push((value, share)),
        }
    }
    merged
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

/// Returns the values of `of(a, b)` between which all but the tails lie, for independent `a` and
/// `b`; `None` if one list is empty. `of` must not decrease in `b` and must not increase in `a`.
///
/// The values are not listed, since there are too many pairs. The ends are found by bisection over
/// all floating-point numbers, which gives exactly the values that sorting all pairs would give.
pub(super) fn interval_of(
    a: &[ValueShare],
    b: &[ValueShare],
    of: fn(f64, f64) -> f64,
) -> Option<(f64, f64)> {
    let least = to_key(of(a.last()?.0, b.first()?.0));
    let greatest = to_key(of(a.first()?.0, b.last()?.0));
    let low = first_key(least, greatest, |key| share_at_most(a, b, of, from_key(key)) >= TAIL);
    // The greatest number with enough values at or above it precedes the first one without.
    let high = first_key(least, greatest, |key| share_at_least(a, b, of, from_key(key + 1)) < TAIL);
    // Adding 0 makes a negative zero positive.
    Some((from_key(low) + 0.0, from_key(high) + 0.0))
}

/// Returns the share of pairs with `of(a, b) <= limit`. The `b` that satisfy this for one `a`
/// satisfy it for every greater `a`.
fn share_at_most(a: &[ValueShare], b: &[ValueShare], of: fn(f64, f64) -> f64, limit: f64) -> f64 {
    let mut rest = b.iter().peekable();
    let (mut share_of_b, mut sum) = (0.0, 0.0);
    for (a, share) in a {
        while let Some((_, more)) = rest.next_if(|(b, _)| of(*a, *b) <= limit) {
            share_of_b += more;
        }
        sum += share * share_of_b;
    }
    sum
}

/// Returns the share of pairs with `of(a, b) >= limit`. The `b` that satisfy this for one `a`
/// satisfy it for every smaller `a`.
fn share_at_least(a: &[ValueShare], b: &[ValueShare], of: fn(f64, f64) -> f64, limit: f64) -> f64 {
    let mut rest = b.iter().rev().peekable();
    let (mut share_of_b, mut sum) = (0.0, 0.0);
    for (a, share) in a.iter().rev() {
        while let Some((_, more)) = rest.next_if(|(b, _)| of(*a, *b) >= limit) {
            share_of_b += more;
        }
        sum += share * share_of_b;
    }
    sum
}

/// Returns the first key from `least` on that satisfies the condition, or `greatest`.
fn first_key(mut least: i64, mut greatest: i64, is_enough: impl Fn(i64) -> bool) -> i64 {
    while least < greatest {
        // The mean, rounded down: `midpoint` rounds towards 0, and the loop would not end.
        let middle = (least & greatest) + ((least ^ greatest) >> 1);
        if is_enough(middle) {
            greatest = middle;
        } else {
            least = middle + 1;
        }
    }
    least
}

/// Maps a number to an integer, so that the order of the integers is that of the numbers.
fn to_key(number: f64) -> i64 {
    let bits = number.to_bits().cast_signed();
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

fn from_key(key: i64) -> f64 {
    f64::from_bits(if key < 0 { key ^ i64::MAX } else { key }.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_close(one: f64, two: f64) -> bool {
        (one - two).abs() <= 1e-9
    }

    #[test]
    fn shares_match_all_resamples_of_three_values() {
        // Of the 27 resamples of 1, 2, 3 the median is 1 in 7, 2 in 13 and 3 in 7.
        let shares = quantile_shares(&SortedValues::new([1.0, 2.0, 3.0]), 50);
        let expected = [(1.0, 7.0 / 27.0), (2.0, 13.0 / 27.0), (3.0, 7.0 / 27.0)];
        assert!(
            shares.iter().zip(expected).all(|(one, two)| one.0 == two.0 && is_close(one.1, two.1)),
            "{shares:?}"
        );
        assert_eq!(shares.len(), 3);
    }

    #[test]
    fn shares_match_all_resamples_of_four_values() {
        let values = [1.0, 2.0, 4.0, 8.0];
        let mut counts: Vec<(f64, f64)> = Vec::new();
        for draw in 0..256_usize {
            let drawn = [draw & 3, draw >> 2 & 3, draw >> 4 & 3, draw >> 6].map(|at| values[at]);
            let sorted = SortedValues::new(drawn);
            counts.push((f64::midpoint(sorted.values()[1], sorted.values()[2]), 1.0 / 256.0));
        }
        counts.sort_unstable_by(|one, two| one.0.total_cmp(&two.0));
        let (expected, shares) =
            (merge_equal(counts), quantile_shares(&SortedValues::new(values), 50));
        assert_eq!(shares.len(), expected.len(), "{shares:?} and {expected:?}");
        for (one, two) in shares.iter().zip(&expected) {
            assert!(one.0 == two.0 && is_close(one.1, two.1), "{shares:?} and {expected:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_of_resamples_add_up_to_one(
            values in prop::collection::vec(0u8..50, 1..120), hundredths in 1u32..100
        ) {
            let values = SortedValues::new(values.into_iter().map(f64::from));
            let shares = quantile_shares(&values, hundredths);
            let sum: f64 = shares.iter().map(|share| share.1).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{}", sum);
        }

        #[test]
        fn the_interval_is_that_of_all_pairs_in_order(
            a in prop::collection::vec(0u8..50, 1..30), b in prop::collection::vec(0u8..50, 1..30)
        ) {
            let shares = |values: Vec<u8>| {
                quantile_shares(&SortedValues::new(values.into_iter().map(f64::from)), 50)
            };
            let (a, b) = (shares(a), shares(b));
            let difference = |a: f64, b: f64| b - a;
            let mut all: Vec<ValueShare> = a
                .iter()
                .flat_map(|(a, share)| b.iter().map(move |(b, other)| (b - a, share * other)))
                .collect();
            all.sort_unstable_by(|one, two| one.0.total_cmp(&two.0));
            let mut passed = 0.0;
            let low = all.iter().find(|(_, share)| { passed += share; passed >= TAIL }).unwrap().0;
            passed = 0.0;
            let high =
                all.iter().rev().find(|(_, share)| { passed += share; passed >= TAIL }).unwrap().0;
            prop_assert_eq!(interval_of(&a, &b, difference), Some((low, high)));
        }
    }
}

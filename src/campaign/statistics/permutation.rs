//! Permutation test of medians: would chance alone move the median as far?
//!
//! For those who ask for the medians themselves rather than whether values are rather lower. p is (1 + permutations at least as far out) /
//! (1 + permutations), which is never 0. The same seed gives the same p.

use super::{SortedValues, TestResult, to_f64};
use crate::downtime::rank;
use fastrand::Rng;

/// Tests whether the medians of two independent samples differ: their values are mixed and dealt again. `None` if one is empty.
#[must_use]
pub fn medians(a: &[f64], b: &[f64], permutations: usize, seed: u64) -> Option<TestResult> {
    let median = |values: &[f64]| {
        SortedValues::new(values.iter().copied()).quantile(50).map(|median| median.value)
    };
    let observed = median(b)? - median(a)?;
    let all = SortedValues::new(a.iter().chain(b).copied());
    let mut deck = Deck::of(all.values(), a.len())?;
    let mut random = Rng::with_seed(seed);
    let beyond =
        (0..permutations).filter(|_| deck.deal(&mut random).abs() >= observed.abs()).count();
    let lower = match observed {
        0.0 => 0.5,
        less if less < 0.0 => 1.0,
        _ => 0.0,
    };
    Some(TestResult { p: to_f64(1 + beyond) / to_f64(1 + permutations), lower })
}

/// Values of both samples in ascending order, to be dealt: places are, so that nothing is sorted again.
struct Deck<'a> {
    values: &'a [f64],
    places: Vec<usize>,
    /// Whether the value at a place was dealt to the first sample.
    first: Vec<bool>,
    count: usize,
    ranks: (usize, usize),
}

impl<'a> Deck<'a> {
    /// To deal `count` of the values to the first sample, and the rest to the second.
    fn of(values: &'a [f64], count: usize) -> Option<Deck<'a>> {
        let ranks = (rank(count, 50)?, rank(values.len().checked_sub(count)?, 50)?);
        Some(Deck {
            values,
            places: (0..values.len()).collect(),
            first: vec![false; values.len()],
            count,
            ranks,
        })
    }

    /// Each choice is as likely. Gives the second median less the first.
    fn deal(&mut self, random: &mut Rng) -> f64 {
        self.first.fill(false);
        for at in 0..self.count {
            let other = random.u64(at as u64..self.places.len() as u64);
            self.places.swap(at, usize::try_from(other).unwrap_or(at));
            self.first[self.places[at]] = true;
        }
        let (mut in_first, mut in_second) = (0, 0);
        let (mut from, mut to) = (None, None);
        for (value, first) in self.values.iter().zip(&self.first) {
            in_first += usize::from(*first);
            in_second += usize::from(!*first);
            from = from.or((in_first == self.ranks.0).then_some(value));
            to = to.or((in_second == self.ranks.1).then_some(value));
            if let (Some(from), Some(to)) = (from, to) {
                return to - from;
            }
        }
        // Not reached: each rank is among its sample's values.
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_far_apart_are_found_and_equal_ones_are_not() {
        let (low, high): (Vec<f64>, Vec<f64>) =
            ((1..=20).map(f64::from).collect(), (101..=120).map(f64::from).collect());
        assert_eq!(medians(&high, &low, 9999, 1), Some(TestResult { p: 1e-4, lower: 1.0 }));
        assert_eq!(medians(&low, &low, 9999, 1), Some(TestResult { p: 1.0, lower: 0.5 }));
        assert_eq!(medians(&[], &low, 9999, 1), None);
    }

    #[test]
    fn a_seed_gives_the_same_p_again() {
        let (a, b) = ([1.0, 5.0, 9.0, 4.0, 7.0, 6.0, 2.0], [3.0, 8.0, 10.0, 12.0, 11.0, 6.5]);
        assert_eq!(medians(&a, &b, 9999, 3), medians(&a, &b, 9999, 3));
        // The same on every platform: the figure of the one on which this was written.
        insta::assert_snapshot!(medians(&a, &b, 9999, 3).unwrap().p, @"0.3277");
    }
}

//! A permutation test of medians: would chance alone move the median as far?
//!
//! This test answers whether the medians differ, where the Mann-Whitney test answers whether values
//! tend to be lower. p is (1 + permutations that are at least as extreme) / (1 + permutations),
//! which is never 0. The same seed gives the same p.

use super::estimate::{TestResult, to_f64};
use super::sorted_values::SortedValues;
use crate::downtime::quantile_ranks;
use fastrand::Rng;

/// Tests whether the medians of two independent samples differ, by dealing all values to the two
/// samples at random; `None` if one is empty.
#[must_use]
pub fn test_medians(a: &[f64], b: &[f64], permutations: usize, seed: u64) -> Option<TestResult> {
    let median = |values: &[f64]| {
        SortedValues::new(values.iter().copied()).quantile(50).map(|median| median.value)
    };
    let observed = median(b)? - median(a)?;
    let all = SortedValues::new(a.iter().chain(b).copied());
    let mut deck = Deck::new(all.values(), a.len())?;
    let mut random = Rng::with_seed(seed);
    let extreme = (0..permutations)
        .filter(|_| deck.deal_and_compare(&mut random).abs() >= observed.abs())
        .count();
    let lower = match observed {
        0.0 => 0.5,
        less if less < 0.0 => 1.0,
        _ => 0.0,
    };
    Some(TestResult { p: to_f64(1 + extreme) / to_f64(1 + permutations), lower })
}

/// The values of both samples in ascending order. Positions are dealt, so that nothing has to be
/// sorted again.
struct Deck<'a> {
    values: &'a [f64],
    positions: Vec<usize>,
    /// For each position, whether its value was dealt to the first sample.
    in_first: Vec<bool>,
    /// The size of the first sample.
    first_count: usize,
    /// The ranks of the medians of the two samples.
    ranks: [(usize, usize); 2],
}

impl<'a> Deck<'a> {
    /// Prepares to deal `first_count` of the values to the first sample and the rest to the second.
    fn new(values: &'a [f64], first_count: usize) -> Option<Deck<'a>> {
        let second_count = values.len().checked_sub(first_count)?;
        let ranks = [quantile_ranks(first_count, 50)?, quantile_ranks(second_count, 50)?];
        Some(Deck {
            values,
            positions: (0..values.len()).collect(),
            in_first: vec![false; values.len()],
            first_count,
            ranks,
        })
    }

    /// Deals at random, every choice being equally likely, and returns the second median minus the
    /// first.
    fn deal_and_compare(&mut self, random: &mut Rng) -> f64 {
        self.in_first.fill(false);
        for at in 0..self.first_count {
            let other = random.u64(at as u64..self.positions.len() as u64);
            self.positions.swap(at, usize::try_from(other).expect("below the number of values"));
            self.in_first[self.positions[at]] = true;
        }
        let [mut first, mut second] = self.ranks.map(MedianSearch::new);
        for (value, is_in_first) in self.values.iter().zip(&self.in_first) {
            let search = if *is_in_first { &mut first } else { &mut second };
            search.add(*value);
            if let (Some(from), Some(to)) = (first.median, second.median) {
                return to - from;
            }
        }
        unreachable!("each sample has values of the ranks of its median")
    }
}

/// Finds the median of values that are added in ascending order.
struct MedianSearch {
    ranks: (usize, usize),
    count: usize,
    lower: f64,
    median: Option<f64>,
}

impl MedianSearch {
    fn new(ranks: (usize, usize)) -> MedianSearch {
        MedianSearch { ranks, count: 0, lower: 0.0, median: None }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        if self.count == self.ranks.0 {
            self.lower = value;
        }
        if self.count == self.ranks.1 {
            self.median = Some(f64::midpoint(self.lower, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_difference_of_distant_samples_and_none_of_equal_ones() {
        let (low, high): (Vec<f64>, Vec<f64>) =
            ((1..=20).map(f64::from).collect(), (101..=120).map(f64::from).collect());
        assert_eq!(test_medians(&high, &low, 9999, 1), Some(TestResult { p: 1e-4, lower: 1.0 }));
        assert_eq!(test_medians(&low, &low, 9999, 1), Some(TestResult { p: 1.0, lower: 0.5 }));
        assert_eq!(test_medians(&[], &low, 9999, 1), None);
    }

    #[test]
    fn a_seed_gives_the_same_p_again() {
        let (a, b) = ([1.0, 5.0, 9.0, 4.0, 7.0, 6.0, 2.0], [3.0, 8.0, 10.0, 12.0, 11.0, 6.5]);
        assert_eq!(test_medians(&a, &b, 9999, 3), test_medians(&a, &b, 9999, 3));
        // The same on every platform: the figure of the one on which this was written.
        insta::assert_snapshot!(test_medians(&a, &b, 9999, 3).unwrap().p, @"0.0877");
    }
}

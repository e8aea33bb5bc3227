//! Permutation test of medians: would chance alone move the median as far?
//!
//! For those who ask for the medians themselves rather than whether values are rather lower. p is (1 + permutations at least as far out) /
//! (1 + permutations), which is never 0. The same seed gives the same p.

use super::{Ascending, Tested, real};
use crate::downtime::rank;
use fastrand::Rng;

/// Tests whether the medians of two independent samples differ: their values are mixed and dealt again. `None` if one is empty.
#[must_use]
pub fn medians(a: &[f64], b: &[f64], permutations: usize, seed: u64) -> Option<Tested> {
    let median = |values: &[f64]| Ascending::of(values.iter().copied()).quantile(50).map(|median| median.value);
    let observed = median(b)? - median(a)?;
    let mut all: Vec<f64> = a.iter().chain(b).copied().collect();
    let mut random = Rng::with_seed(seed);
    let mut as_far = || {
        deal(&mut all, a.len(), &mut random);
        let (a, b) = all.split_at_mut(a.len());
        select(b).zip(select(a)).is_some_and(|(to, from)| (to - from).abs() >= observed.abs())
    };
    let beyond = (0..permutations).filter(|_| as_far()).count();
    let lower = match observed {
        0.0 => 0.5,
        less if less < 0.0 => 1.0,
        _ => 0.0,
    };
    Some(Tested { p: real(1 + beyond) / real(1 + permutations), lower })
}

/// Puts any `count` of the values first, each choice as likely.
fn deal(values: &mut [f64], count: usize, random: &mut Rng) {
    let all = values.len();
    for at in 0..count.min(all) {
        let other = random.u64(at as u64..all as u64);
        values.swap(at, usize::try_from(other).unwrap_or(at));
    }
}

/// The median, of values in any order.
fn select(values: &mut [f64]) -> Option<f64> {
    let rank = rank(values.len(), 50)?;
    Some(*values.select_nth_unstable_by(rank - 1, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_far_apart_are_found_and_equal_ones_are_not() {
        let (low, high): (Vec<f64>, Vec<f64>) = ((1..=20).map(f64::from).collect(), (101..=120).map(f64::from).collect());
        assert_eq!(medians(&high, &low, 9999, 1), Some(Tested { p: 1e-4, lower: 1.0 }));
        assert_eq!(medians(&low, &low, 9999, 1), Some(Tested { p: 1.0, lower: 0.5 }));
        assert_eq!(medians(&[], &low, 9999, 1), None);
    }

    #[test]
    fn a_seed_gives_the_same_p_again() {
        let (a, b) = ([1.0, 5.0, 9.0, 4.0, 7.0, 6.0, 2.0], [3.0, 8.0, 10.0, 12.0, 11.0, 6.5]);
        assert_eq!(medians(&a, &b, 9999, 3), medians(&a, &b, 9999, 3));
        // The same on every platform: the figure of the one on which this was written.
        insta::assert_snapshot!(medians(&a, &b, 9999, 3).unwrap().p, @"0.3276");
    }
}

//! Proportions, k of n, with Wilson's interval; and Fisher's exact test of two of them.

use super::estimate::to_f64;
use serde::Serialize;

/// 95 % of a normal distribution lie within this many standard deviations of the mean.
const Z: f64 = 1.959_963_984_540_054;

/// A proportion with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Proportion {
    /// The proportion that was counted, from 0 to 1.
    pub share: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// Computes the proportion of `some` of `all` with Wilson's interval; `None` if `all` is 0. Unlike
/// the normal approximation this interval stays within 0 and 1, and 20 of 20 do not give 100 ± 0 %.
#[must_use]
pub fn proportion(some: usize, all: usize) -> Option<Proportion> {
    if all == 0 {
        return None;
    }
    let (n, share) = (to_f64(all), to_f64(some) / to_f64(all));
    let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    // The formula reaches 0 and 1 only up to rounding.
    let low = if some == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if some == all { 1.0 } else { (middle + half).min(1.0) };
    Some(Proportion { share, low, high })
}

/// Fisher's exact test: returns the two-sided p-value of `a` of `of_a` against `b` of `of_b`, or
/// `None` if one side has nothing. It adds up all tables with the same sums that are no more likely
/// than the observed one.
#[must_use]
pub fn fisher_exact((a, of_a): (usize, usize), (b, of_b): (usize, usize)) -> Option<f64> {
    if of_a == 0 || of_b == 0 {
        return None;
    }
    let some = a + b;
    let ln_choose = |n: usize, k: usize| {
        libm::lgamma(to_f64(n) + 1.0)
            - libm::lgamma(to_f64(k) + 1.0)
            - libm::lgamma(to_f64(n - k) + 1.0)
    };
    let probability = |a: usize| {
        libm::exp(ln_choose(of_a, a) + ln_choose(of_b, some - a) - ln_choose(of_a + of_b, some))
    };
    // Tables that are equally likely have equal probabilities only up to rounding.
    let observed = probability(a) * (1.0 + 1e-7);
    let tables = some.saturating_sub(of_b)..=some.min(of_a);
    Some(tables.map(probability).filter(|other| *other <= observed).sum::<f64>().min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_few_is_uncertain() {
        let all = proportion(20, 20).unwrap();
        assert!((all.low - 0.8389).abs() < 1e-4 && all.high == 1.0, "{all:?}");
        assert_eq!(proportion(0, 20).unwrap().low, 0.0);
        assert_eq!(proportion(0, 0), None);
    }

    #[test]
    fn fisher_matches_the_lady_tasting_tea() {
        // Fisher 1935: 3 of 4 against 1 of 4.
        let p = fisher_exact((3, 4), (1, 4)).unwrap();
        assert!((p - 34.0 / 70.0).abs() < 1e-12, "{p}");
        assert_eq!((fisher_exact((5, 5), (7, 7)), fisher_exact((0, 0), (1, 2))), (Some(1.0), None));
    }
}

//! Intervals, significance tests and modes of plain numbers. Pure.
//!
//! Samples give estimates with 95 % intervals, two-sided p-values, and modes. Everything random
//! starts from a seed that the caller gives.
//!
//! **Nothing presumes a distribution.** Blackouts have several modes and long tails, so there are
//! no means, standard deviations or t-tests here, only order statistics, ranks and resampling.
//!
//! **Little is random.** The interval of a quantile comes from ranks (`downtime::rank_interval`),
//! the bootstrap of a quantile is computed exactly (`bootstrap`), and so are the p-values of small
//! samples. Only permutations, if they are asked for, and resamples of pairs are drawn. They use
//! `fastrand` with 64-bit arithmetic, and logarithms come from `libm` and not from the system, so
//! that the same seed gives the same numbers on every platform.
//!
//! Modules: `sorted_values` (quantiles), `bootstrap` (the change of a quantile), `ranks` (mid-ranks
//! and the exact distribution of their sums), `rank_sum` (Mann-Whitney), `signed_rank` (Wilcoxon's
//! signed ranks and the sign test, for pairs), `permutation` (test of medians), `proportion`
//! (Wilson and Fisher), `family` (Holm's correction and minimum sample sizes), `modes` (one mode or
//! several).

pub mod bootstrap;
mod family;
mod modes;
pub mod permutation;
mod proportion;
mod rank_sum;
mod ranks;
mod signed_rank;
mod sorted_values;

pub use family::{Design, holm, min_p, min_values_per_side};
pub use modes::{Mode, find_modes};
pub use proportion::{Proportion, fisher_exact, proportion};
pub use rank_sum::rank_sum;
pub use signed_rank::{PairedChange, sign_test, signed_rank};
pub use sorted_values::SortedValues;

use serde::Serialize;

/// The significance level: the accepted probability of a wrong claim.
pub const ALPHA: f64 = 0.05;

/// A figure with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure of the sample.
    pub value: f64,
    /// The lower end of the interval; `None` if there are too few values for one.
    pub low: Option<f64>,
    /// The upper end of the interval; `None` if there are too few values for one.
    pub high: Option<f64>,
}

/// The result of a significance test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestResult {
    /// The two-sided p-value: how often chance alone gives a difference at least as large.
    pub p: f64,
    /// The share of the evidence for a lower second sample, from 0 to 1; above 0.5 the second
    /// sample is lower.
    pub lower: f64,
}

/// Returns the probability that a standard normal variable is at least this far from 0, to either
/// side.
fn normal_tails(distance: f64) -> f64 {
    libm::erfc(distance / std::f64::consts::SQRT_2)
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs fit into 53 bits")]
pub(super) fn to_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod simulations;
#[cfg(test)]
mod stored_answers;

//! Intervals, tests and modes, of plain numbers.
//!
//! Takes numbers; gives estimates with 95 % intervals, two-sided p-values, and modes. Pure: no clock, no I/O, and what is random starts
//! from a seed that the caller gives. Knows nothing of runs and of units.
//!
//! **Nothing presumes a shape.** Blackouts have several modes and long tails (facts/models.md §4.8), so there are no means, no standard
//! deviations and no t-tests here: order statistics, ranks and resampling only.
//!
//! **Little is random.** The interval of a quantile is read off at ranks (`downtime::rank_interval`), the bootstrap of a quantile is computed
//! exactly (`bootstrap`), and for small samples so are the tests' p-values. What remains are permutations, if asked for, and resamples of
//! pairs. Those come from `fastrand`, in 64-bit arithmetic throughout, and logarithms from `libm`, not from the system: the same seed gives
//! the same numbers on every platform.
//!
//! Map: `ascending` values in their order, quantiles · `bootstrap` how far two samples' quantiles are apart · `ranks` midranks, and sums of
//! them counted out · `rank_sum` Mann-Whitney · `signed_rank` Wilcoxon and signs, for pairs · `permutation` of medians · `proportion` Wilson,
//! Fisher · `family` Holm, and from how many values on a claim is possible at all · `modes` one hill or several.

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
pub use modes::{Mode, modes};
pub use proportion::{Proportion, fisher_exact, share};
pub use rank_sum::rank_sum;
pub use signed_rank::{PairedChange, signed_rank, signs};
pub use sorted_values::SortedValues;

use serde::Serialize;

/// What is claimed is wrong less often than this.
pub const ALPHA: f64 = 0.05;

/// A figure, and where it lies with 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// As measured.
    pub value: f64,
    /// Lower end; `null` where there are too few values for an interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// What a test found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestResult {
    /// How often chance alone would give as much or more, in either direction.
    pub p: f64,
    /// The share of what the test weighs that says that the second sample is lower: above a half, and it is lower.
    pub lower: f64,
}

/// A normal variable lies this far out, to either side, with this probability.
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

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
//! Modules: `sorted_values` (quantiles), `bootstrap` (the change of a quantile),
//! `quantile_distribution` (the quantile of a resample), `ranks` (mid-ranks and the exact
//! distribution of their sums), `rank_sum` (Mann-Whitney), `signed_rank` (Wilcoxon's signed ranks
//! and the sign test, for pairs), `permutation` (test of medians), `proportion` (Wilson and
//! Fisher), `family` (Holm's correction and minimum sample sizes), `modes` (one mode or several).

pub mod bootstrap;
mod estimate;
mod family;
mod modes;
pub mod permutation;
mod proportion;
mod quantile_distribution;
mod rank_sum;
mod ranks;
mod signed_rank;
mod sorted_values;

pub(super) use estimate::to_f64;
pub use estimate::{ALPHA, Estimate, TestResult};
pub use family::{Design, holm, min_p, min_values_per_side};
pub use modes::{Mode, find_modes};
pub use proportion::{Proportion, fisher_exact, proportion};
pub use rank_sum::rank_sum;
pub use signed_rank::{PairedChange, sign_test, signed_rank};
pub use sorted_values::SortedValues;

#[cfg(test)]
mod simulations;
#[cfg(test)]
mod stored_answers;

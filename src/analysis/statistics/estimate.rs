//! The types of all statistics, and small helpers.

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
pub(super) fn normal_tails(distance: f64) -> f64 {
    libm::erfc(distance / std::f64::consts::SQRT_2)
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs fit into 53 bits")]
pub(crate) fn to_f64(count: usize) -> f64 {
    count as f64
}

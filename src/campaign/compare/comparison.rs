//! What a comparison gives: names that scripts rely on, `null` for what is not known.
//!
//! A metric's name carries its unit (`downtime.best.us`), and `unit` says it again: quantiles and differences are in it, ratios and shares
//! have none. The form only grows.

use super::SignificanceTest;
use crate::campaign::MetricUnit;
use crate::campaign::statistics::{Estimate, Mode, Proportion};
use serde::Serialize;
use std::collections::BTreeMap;

pub use crate::campaign::statistics::bootstrap::Change;

/// The version of this form.
pub const SCHEMA: &str = "switchover.comparison/1";

/// `b` against `a`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// What is compared with.
    pub a: ComparedTable,
    /// What is compared.
    pub b: ComparedTable,
    /// Whether runs have partners.
    pub paired: bool,
    /// How many have; `null` without pairs.
    pub pairs: Option<usize>,
    /// What is tested.
    pub test: SignificanceTest,
    /// Of what is random.
    pub seed: u64,
    /// How many runs completed, in all cells that both have.
    pub completion: Completion,
    /// Each metric over the pairs of all cells; empty without pairs, and of one cell.
    pub pooled: Vec<MetricComparison>,
    /// The cells that both have, in the order of `a`.
    pub cells: Vec<CellComparison>,
    /// What `b` does not have, and is not compared.
    pub only_in_a: Unmatched,
    /// What `a` does not have.
    pub only_in_b: Unmatched,
}

/// One of the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComparedTable {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub runs: usize,
}

/// What one table has alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    /// Cells, and so all their runs.
    pub cells: Vec<String>,
    /// Metrics.
    pub metrics: Vec<String>,
}

/// One combination of settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellComparison {
    /// Its name.
    pub cell: String,
    /// How many of its runs completed.
    pub completion: Completion,
    /// In the order of `a`.
    pub metrics: Vec<MetricComparison>,
}

/// How many runs completed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Completion {
    /// Of `a`.
    pub a: CompletionCount,
    /// Of `b`.
    pub b: CompletionCount,
    /// By Fisher's exact test.
    pub p: Option<f64>,
    /// Corrected for as many tests as there are cells.
    pub p_corrected: Option<f64>,
    /// Of the share of `b`.
    pub verdict: Verdict,
}

/// How the runs of one side ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompletionCount {
    /// All runs.
    pub runs: usize,
    /// Those that completed.
    pub completed: usize,
    /// Their share, with Wilson's interval; `null` of no runs.
    pub share: Option<Proportion>,
    /// How many had each outcome.
    pub outcomes: BTreeMap<String, usize>,
}

/// One metric, of one cell or of all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricComparison {
    /// Its path in run.json.
    pub metric: String,
    /// What sentences call it.
    pub label: String,
    /// Of quantiles and differences.
    pub unit: MetricUnit,
    /// What is compared with.
    pub a: SampleSummary,
    /// What is compared.
    pub b: SampleSummary,
    /// From the median of `a` to that of `b`; of pairs the median change. `null` if a side has no value.
    pub change: Option<Change>,
    /// The same of what is rare.
    pub tails: TailChanges,
    /// The probability that a run of `b` is below one of `a` (of its partner, in a paired design), half of equal ones counted.
    pub probability_lower: Option<f64>,
    /// Two-sided; `null` where there are too few values to claim anything.
    pub p: Option<f64>,
    /// By Holm's correction over the family.
    pub p_corrected: Option<f64>,
    /// How many tests that is.
    pub family: usize,
    /// What may be claimed of `b`.
    pub verdict: Verdict,
    /// How many values each side would need, where the verdict is `too_few`.
    pub needed: Option<usize>,
    /// The share of what the test weighs that says "lower": above a half, and it says so.
    #[serde(skip)]
    pub(super) weight_lower: Option<f64>,
}

impl MetricComparison {
    /// Whether a difference is claimed.
    #[must_use]
    pub fn shows_difference(&self) -> bool {
        matches!(self.verdict, Verdict::Lower | Verdict::Higher)
    }
}

/// The values of one side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SampleSummary {
    /// How many were compared.
    pub values: usize,
    /// And how many not.
    pub left_out: ExcludedValues,
    /// Quantiles; `null` for all cells together, which have no common scale.
    pub quantiles: Option<Quantiles>,
    /// One, or several if shown; `null` where there are too few values to show one.
    pub modes: Option<Vec<Mode>>,
    /// Where one of the sides has several modes, how many values lie in each of [`HISTOGRAM_BINS`] equal parts of the axis from the least to the
    /// greatest value of both sides; else `null`. The axis is logarithmic if nothing is 0.
    pub histogram: Option<Vec<usize>>,
}

/// Of a histogram.
pub const HISTOGRAM_BINS: usize = 48;

/// Values that were not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExcludedValues {
    /// The run did not complete.
    pub not_completed: usize,
    /// The run completed, and this was not measured.
    pub not_measured: usize,
    /// The partner is missing, or its value.
    pub without_partner: usize,
}

impl ExcludedValues {
    /// Both.
    #[must_use]
    pub fn and(self, other: ExcludedValues) -> ExcludedValues {
        ExcludedValues {
            not_completed: self.not_completed + other.not_completed,
            not_measured: self.not_measured + other.not_measured,
            without_partner: self.without_partner + other.without_partner,
        }
    }
}

/// Of the values of one side, each with its interval by ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: Estimate,
    /// 90 of 100 are at most this.
    pub p90: Estimate,
    /// 99 of 100 are at most this.
    pub p99: Estimate,
}

/// Changes of the quantiles above the median; `null` where there are too few values for an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TailChanges {
    /// From 36 values on.
    pub p90: Option<Change>,
    /// From 368 values on.
    pub p99: Option<Change>,
}

/// What may be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// `b` is lower, 95 % sure.
    Lower,
    /// `b` is higher, 95 % sure.
    Higher,
    /// Nothing: the interval says how large a difference there may still be.
    NoDifferenceShown,
    /// Nothing: no outcome of so few runs could have shown a difference.
    TooFew,
}

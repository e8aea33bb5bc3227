//! The result of a comparison. Scripts rely on the names of the fields; `null` stands for what is
//! not known, and later versions only add fields.
//!
//! Quantiles and differences are in the `unit` of their metric. Ratios and shares have no unit.

use super::options::SignificanceTest;
use crate::statistics::{Estimate, Mode, Proportion};
use crate::table::MetricUnit;
use serde::Serialize;
use std::collections::BTreeMap;

pub use crate::statistics::bootstrap::Change;

/// The version of the JSON format.
pub const SCHEMA: &str = "switchover.comparison/1";

/// The comparison of table `b` with table `a`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The version of the format, [`SCHEMA`].
    pub schema: String,
    /// The table that is compared with.
    pub a: ComparedTable,
    /// The table that is compared.
    pub b: ComparedTable,
    /// Whether runs are compared in pairs.
    pub paired: bool,
    /// The number of pairs; `None` if runs are not compared in pairs.
    pub pairs: Option<usize>,
    /// The significance test.
    pub test: SignificanceTest,
    /// The seed of everything random.
    pub seed: u64,
    /// How many runs completed, over all cells that both tables have.
    pub completion: Completion,
    /// Each metric over the pairs of all cells; empty without pairs, and if there is only one cell.
    pub pooled: Vec<MetricComparison>,
    /// The cells that both tables have, in the order of `a`.
    pub cells: Vec<CellComparison>,
    /// What only `a` has. It is not compared.
    pub only_in_a: Unmatched,
    /// What only `b` has. It is not compared.
    pub only_in_b: Unmatched,
}

/// One of the compared tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComparedTable {
    /// The name of the table.
    pub name: String,
    /// The number of its runs.
    pub runs: usize,
}

/// What only one of the tables has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    /// The names of cells, of which no run is compared.
    pub cells: Vec<String>,
    /// The names of metrics.
    pub metrics: Vec<String>,
}

/// The comparison within one cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellComparison {
    /// The name of the cell.
    pub cell: String,
    /// How many of the cell's runs completed.
    pub completion: Completion,
    /// The metrics in the order of `a`.
    pub metrics: Vec<MetricComparison>,
}

/// How many runs completed in each table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Completion {
    /// The runs of `a`.
    pub a: CompletionCount,
    /// The runs of `b`.
    pub b: CompletionCount,
    /// The p-value of Fisher's exact test; `None` if a table has no runs.
    pub p: Option<f64>,
    /// The p-value after Holm's correction over the cells.
    pub p_corrected: Option<f64>,
    /// Whether `b` completes less or more often.
    pub verdict: Verdict,
}

/// How the runs of one table ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompletionCount {
    /// The number of runs.
    pub runs: usize,
    /// The number of runs that completed.
    pub completed: usize,
    /// The share that completed, with Wilson's interval; `None` without runs.
    pub share: Option<Proportion>,
    /// The number of runs by outcome.
    pub outcomes: BTreeMap<String, usize>,
}

/// The comparison of one metric, in one cell or pooled over all cells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricComparison {
    /// The path of the metric in run.json.
    pub metric: String,
    /// The name that reports use.
    pub label: String,
    /// The unit of quantiles and differences.
    pub unit: MetricUnit,
    /// The values of `a`.
    pub a: SampleSummary,
    /// The values of `b`.
    pub b: SampleSummary,
    /// The change from the median of `a` to that of `b`; with pairs, the median change of the
    /// pairs. `None` if a side has no values.
    pub change: Option<Change>,
    /// The changes of the upper quantiles.
    pub tails: TailChanges,
    /// The probability that a run of `b` is below a run of `a` (with pairs, below its partner),
    /// with half of the equal ones counted.
    pub probability_lower: Option<f64>,
    /// The two-sided p-value; `None` if there are too few values to show a difference.
    pub p: Option<f64>,
    /// The p-value after Holm's correction over the family.
    pub p_corrected: Option<f64>,
    /// The number of tests in the family.
    pub family: usize,
    /// Whether `b` is lower or higher.
    pub verdict: Verdict,
    /// How many values each side needs; `None` unless the verdict is `too_few`.
    pub needed: Option<usize>,
    /// [`TestResult::lower`](crate::statistics::TestResult::lower) of the test.
    #[serde(skip)]
    pub(super) evidence_lower: Option<f64>,
}

impl MetricComparison {
    /// Whether a difference is shown.
    #[must_use]
    pub fn shows_difference(&self) -> bool {
        matches!(self.verdict, Verdict::Lower | Verdict::Higher)
    }
}

/// The values of one metric in one table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SampleSummary {
    /// The number of values that were compared.
    pub values: usize,
    /// The number of values that were not compared, by reason.
    pub left_out: ExcludedValues,
    /// The quantiles; `None` for pooled cells, which have no common scale.
    pub quantiles: Option<Quantiles>,
    /// One mode, or several if they are shown; `None` if there are too few values to show several.
    pub modes: Option<Vec<Mode>>,
    /// The number of values in each of [`HISTOGRAM_BINS`] equal parts of the axis from the least to
    /// the greatest value of both tables; `None` unless one of them has several modes. The axis is
    /// logarithmic if no value is 0.
    pub histogram: Option<Vec<usize>>,
}

/// The number of bins of a histogram.
pub const HISTOGRAM_BINS: usize = 48;

/// The numbers of values that were not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExcludedValues {
    /// The run did not complete.
    pub not_completed: usize,
    /// The run completed, but the metric was not measured.
    pub not_measured: usize,
    /// The partner of the run is missing, or has no value.
    pub without_partner: usize,
}

impl ExcludedValues {
    /// Adds the numbers of both.
    #[must_use]
    pub fn plus(self, other: ExcludedValues) -> ExcludedValues {
        ExcludedValues {
            not_completed: self.not_completed + other.not_completed,
            not_measured: self.not_measured + other.not_measured,
            without_partner: self.without_partner + other.without_partner,
        }
    }
}

/// Quantiles of the values of one table, each with its interval by ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: Estimate,
    /// The 90th percentile.
    pub p90: Estimate,
    /// The 99th percentile.
    pub p99: Estimate,
}

/// Changes of the upper quantiles; `None` if there are too few values for an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TailChanges {
    /// The change of the 90th percentile, from 36 values on.
    pub p90: Option<Change>,
    /// The change of the 99th percentile, from 368 values on.
    pub p99: Option<Change>,
}

/// What the comparison shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// `b` is lower, at the 5 % level.
    Lower,
    /// `b` is higher, at the 5 % level.
    Higher,
    /// No difference is shown; the interval says how large it can still be.
    NoDifferenceShown,
    /// No result of so few runs could have shown a difference.
    TooFew,
}

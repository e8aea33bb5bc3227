//! What a check finds, and how measured ranges are compared with allowed ones.

use analysis::statistics::{Estimate, SortedValues};
use std::fmt;

/// The fewest runs of a cell that are used.
pub(super) const MIN_RUNS: usize = 2;

/// An expectation that runs are checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expectation {
    /// R1: pre-copy converges if the stressed memory is less than bandwidth × downtime-limit.
    Threshold,
    /// R2: close to that threshold, the blackout of pre-copy is the time that sending the memory
    /// takes, and at most downtime-limit and one window.
    PrecopyBlackout,
    /// R3: the total time of post-copy is linear in the stressed memory.
    LinearTime,
    /// R3: post-copy sends the stressed memory once, and twice with a pass of pre-copy before it.
    BytesSent,
    /// R4: post-copy completes where pre-copy does not.
    Completes,
    /// R5: the blackout of post-copy does not depend on the stressed memory.
    ConstantBlackout,
}

impl Expectation {
    /// Returns the name that docs/ulster.md uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Expectation::Threshold => "R1 threshold",
            Expectation::PrecopyBlackout => "R2 pre-copy blackout",
            Expectation::LinearTime => "R3 time is linear",
            Expectation::BytesSent => "R3 bytes",
            Expectation::Completes => "R4 post-copy completes",
            Expectation::ConstantBlackout => "R5 post-copy blackout",
        }
    }
}

/// Whether an expectation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// There are too few runs to decide.
    TooFewRuns,
    /// It does not hold.
    Violated,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Holds => "holds",
            Verdict::TooFewRuns => "too few runs",
            Verdict::Violated => "does not hold",
        })
    }
}

/// The result of checking one expectation over one link.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The expectation.
    pub expectation: Expectation,
    /// What was checked: a link, or a mode and a link such as `hybrid, halifax`.
    pub subject: String,
    /// Whether the expectation holds.
    pub verdict: Verdict,
    /// The measured figures, as text.
    pub detail: String,
}

/// Returns the median of a figure and the range that the runs leave open; `None` if there are too
/// few values for a range.
pub(super) fn estimate_range(values: &[f64]) -> Option<Estimate> {
    let ascending = SortedValues::new(values.iter().copied());
    let range = (ascending.values().len() >= MIN_RUNS)
        .then(|| ascending.values().first().zip(ascending.values().last()))
        .flatten();
    let estimate = ascending.quantile(50)?;
    let low = estimate.low.or(range.map(|range| *range.0));
    let high = estimate.high.or(range.map(|range| *range.1));
    low.zip(high).map(|(low, high)| Estimate {
        value: estimate.value,
        low: Some(low),
        high: Some(high),
    })
}

/// Compares a measured range with an allowed range.
pub(super) fn compare_range(estimate: Estimate, low: f64, high: f64) -> Verdict {
    let (from, to) =
        (estimate.low.unwrap_or(f64::NEG_INFINITY), estimate.high.unwrap_or(f64::INFINITY));
    match (low <= from && to <= high, to < low || high < from) {
        (true, _) => Verdict::Holds,
        (_, true) => Verdict::Violated,
        _ => Verdict::TooFewRuns,
    }
}

/// Formats a range with its unit and the number of values, such as `0.284 s [0.283, 0.304] (n =
/// 10)`.
pub(super) fn format_range(
    estimate: Estimate,
    decimals: usize,
    unit: &str,
    count: usize,
) -> String {
    let number = |figure: Option<f64>| {
        figure.map_or_else(|| "?".to_owned(), |figure| format!("{figure:.decimals$}"))
    };
    format!(
        "{:.decimals$} {unit} [{}, {}] (n = {count})",
        estimate.value,
        number(estimate.low),
        number(estimate.high)
    )
}

pub(super) fn too_few_runs(expectation: Expectation, subject: &str, problem: &str) -> Finding {
    Finding {
        expectation,
        subject: subject.to_owned(),
        verdict: Verdict::TooFewRuns,
        detail: format!("not known: {problem}"),
    }
}

pub(super) fn format_mb(gb: f64) -> String {
    format!("{:.0} MB", gb * 1024.0)
}

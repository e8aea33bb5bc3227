//! The laws behind the paper's figures, which hold at any scale, held against runs (R1 to R5 of docs/ulster.md). Pure.
//!
//! Takes cells; gives a finding for each law and each link. A law **holds** if all of what the runs leave open lies within it, is **broken** if none of it does, and
//! in between there were **too few runs**. What they leave open is the 95 % interval of the median from six runs on, before that all that was seen.
//!
//! Map: `precopy` R1, R2 · `postcopy` R3 to R5.

mod postcopy;
mod precopy;

pub(super) use postcopy::{line, slopes};

use super::cells::Cell;
use crate::campaign::statistics::{Estimate, SortedValues};
use crate::scenario::{Mode, spelling};
use std::collections::BTreeSet;
use std::fmt;

/// Fewer runs of a cell say nothing.
const LEAST: usize = 2;

/// Which law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// R1: pre-copy converges as long as the stressed memory is less than bandwidth × downtime-limit.
    Threshold,
    /// R2: close to that, its blackout is what the memory takes, and at most downtime-limit and one window.
    Blackout,
    /// R3: post-copy's total time is a straight line over the stressed memory.
    Straight,
    /// R3: it sends the stressed memory once, and twice with a pass of pre-copy before.
    Bytes,
    /// R4: it completes where pre-copy does not.
    Completes,
    /// R5: its blackout does not depend on the stressed memory.
    Level,
}

impl Law {
    /// As docs/ulster.md has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Law::Threshold => "R1 threshold",
            Law::Blackout => "R2 pre-copy blackout",
            Law::Straight => "R3 time is linear",
            Law::Bytes => "R3 bytes",
            Law::Completes => "R4 post-copy completes",
            Law::Level => "R5 post-copy blackout",
        }
    }
}

/// Whether it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It does.
    Holds,
    /// Nobody can say.
    TooFew,
    /// It does not.
    Broken,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Holds => "holds",
            Verdict::TooFew => "too few runs",
            Verdict::Broken => "does not hold",
        })
    }
}

/// What was found of one law over one link.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which.
    pub law: Law,
    /// Of what: `hybrid, halifax`.
    pub of: String,
    /// Whether it holds.
    pub verdict: Verdict,
    /// With figures.
    pub says: String,
}

/// All of them, in the order of the laws.
#[must_use]
pub fn laws(cells: &[Cell]) -> Vec<Finding> {
    let links: BTreeSet<&str> = cells.iter().map(|cell| cell.link.as_str()).collect();
    let mut findings = Vec::new();
    for link in links {
        let of = |mode: Mode| -> Vec<&Cell> {
            cells.iter().filter(|cell| cell.link == link && cell.mode == mode).collect()
        };
        let of_precopy = of(Mode::Precopy);
        if let Some(bandwidth) = precopy::bandwidth(&of_precopy) {
            findings.push(precopy::threshold(link, &of_precopy, bandwidth));
            findings.push(precopy::blackout(link, &of_precopy, bandwidth));
        }
        for mode in [Mode::Postcopy, Mode::Hybrid] {
            let cells = of(mode);
            if !cells.is_empty() {
                let name = format!("{}, {link}", spelling(&mode));
                findings.push(postcopy::straight(&name, &cells));
                findings.push(postcopy::bytes(&name, mode, &cells));
                findings.push(postcopy::completes(&name, &cells, &of_precopy));
                findings.push(postcopy::level(&name, &cells));
            }
        }
    }
    findings.sort_by(|one, other| (one.law, &one.of).cmp(&(other.law, &other.of)));
    findings
}

/// What is left open of a figure.
fn open(values: &[f64]) -> Option<Estimate> {
    let ascending = SortedValues::new(values.iter().copied());
    let range = (ascending.values().len() >= LEAST)
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

/// Whether all of what is left open lies within.
fn within(estimate: Estimate, low: f64, high: f64) -> Verdict {
    let (from, to) =
        (estimate.low.unwrap_or(f64::NEG_INFINITY), estimate.high.unwrap_or(f64::INFINITY));
    match (low <= from && to <= high, to < low || high < from) {
        (true, _) => Verdict::Holds,
        (_, true) => Verdict::Broken,
        _ => Verdict::TooFew,
    }
}

/// `1.98 [1.96, 2.01] of 10`.
fn shown(estimate: Estimate, decimals: usize, count: usize) -> String {
    let number = |figure: Option<f64>| {
        figure.map_or_else(|| "?".to_owned(), |figure| format!("{figure:.decimals$}"))
    };
    format!(
        "{:.decimals$} [{}, {}] of {count}",
        estimate.value,
        number(estimate.low),
        number(estimate.high)
    )
}

fn too_few(law: Law, of: &str, what: &str) -> Finding {
    Finding { law, of: of.to_owned(), verdict: Verdict::TooFew, says: format!("not known: {what}") }
}

fn mb(gb: f64) -> String {
    format!("{:.0} MB", gb * 1024.0)
}

#[cfg(test)]
mod tests;

//! Checks the expectations R1 to R5 of docs/ulster.md against runs. They follow from the paper's
//! figures and hold at any scale. Pure.
//!
//! Each check compares the range of a measured figure with an allowed range. The expectation
//! **holds** if the measured range lies inside, is **violated** if it lies outside, and there are
//! **too few runs** otherwise. The measured range is the 95 % interval of the median from six runs
//! on, and the range of all values before that.
//!
//! Modules: `finding` (what a check finds), `precopy` (R1 and R2), `postcopy` (R3 to R5).

mod finding;
mod postcopy;
mod precopy;

pub use finding::{Expectation, Finding, Verdict};
pub(super) use postcopy::{fit_line, slopes_by_repeat};

use super::cells::PaperCell;
use scenario::{Mode, serialized_name};
use std::collections::BTreeSet;

/// Checks all expectations, and returns the findings in the order of the expectations.
#[must_use]
pub fn check_expectations(cells: &[PaperCell]) -> Vec<Finding> {
    let links: BTreeSet<&str> = cells.iter().map(|cell| cell.link.as_str()).collect();
    let mut findings = Vec::new();
    for link in links {
        let of = |mode: Mode| -> Vec<&PaperCell> {
            cells.iter().filter(|cell| cell.link == link && cell.mode == mode).collect()
        };
        let of_precopy = of(Mode::Precopy);
        if let Some(bandwidth) = precopy::measure_bandwidth(&of_precopy) {
            findings.push(precopy::check_threshold(link, &of_precopy, bandwidth));
            findings.push(precopy::check_blackout(link, &of_precopy, bandwidth));
        }
        for mode in [Mode::Postcopy, Mode::Hybrid] {
            let cells = of(mode);
            if !cells.is_empty() {
                let name = format!("{}, {link}", serialized_name(&mode));
                findings.push(postcopy::check_linear_time(&name, &cells));
                findings.push(postcopy::check_bytes_sent(&name, mode, &cells));
                findings.push(postcopy::check_completes(&name, &cells, &of_precopy));
                findings.push(postcopy::check_constant_blackout(&name, &cells));
            }
        }
    }
    findings.sort_by(|one, other| {
        (one.expectation, &one.subject).cmp(&(other.expectation, &other.subject))
    });
    findings
}

#[cfg(test)]
mod tests;

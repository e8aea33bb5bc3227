//! R3 to R5: time, bytes, outcome and blackout of post-copy by stressed memory. Pure.

use super::super::cells::{PaperCell, PaperRun, RunFigure};
use super::super::scale::GB;
use super::finding::{
    Expectation, Finding, MIN_RUNS, Verdict, compare_range, estimate_range, format_mb,
    format_range, too_few_runs,
};
use analysis::statistics::{Estimate, SortedValues};
use scenario::Mode;
use std::collections::BTreeMap;

/// The allowed deviation from a straight line, as a share of the time of the largest cell.
const MAX_DEVIATION: f64 = 0.03;
/// The allowed deviation from the expected number of passes over the stressed memory.
const PASSES_TOLERANCE: f64 = 0.1;
/// A blackout that grows by less than this share of the time that the memory takes counts as
/// constant.
const MAX_GROWTH: f64 = 0.05;

/// Lists, for each repeat, the stressed memory and the figure of each cell.
fn points_by_repeat<'a>(
    cells: &[&'a PaperCell],
    wanted: impl Fn(&'a PaperRun) -> bool,
    figure: RunFigure,
) -> Vec<Vec<(f64, f64)>> {
    let mut repeats: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for cell in cells {
        for run in cell.completed_runs().filter(|run| wanted(run)) {
            if let Some(value) = figure(run) {
                repeats.entry(run.repeat).or_default().push((cell.stressed_gb, value));
            }
        }
    }
    repeats.into_values().collect()
}

/// Fits a line by least squares and returns its intercept and slope; `None` with fewer than two
/// different positions.
pub(crate) fn fit_line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = points.iter().map(|_| 1.0).sum::<f64>();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    (spread > 0.0).then_some((y - slope * x, slope))
}

/// Lists the slopes of a figure over the stressed memory, one per repeat.
pub(crate) fn slopes_by_repeat(cells: &[&PaperCell], figure: RunFigure) -> Vec<f64> {
    points_by_repeat(cells, |_| true, figure)
        .iter()
        .filter_map(|points| Some(fit_line(points)?.1))
        .collect()
}

pub(super) fn check_linear_time(subject: &str, cells: &[&PaperCell]) -> Finding {
    let expectation = Expectation::LinearTime;
    let repeats = points_by_repeat(cells, |_| true, |run| run.total);
    let deviations: Vec<f64> = repeats.into_iter().filter_map(deviation_from_line).collect();
    let (Some(seen), Some(slope)) =
        (estimate_range(&deviations), estimate_range(&slopes_by_repeat(cells, |run| run.total)))
    else {
        return too_few_runs(expectation, subject, "three sizes in each of two repeats are needed");
    };
    let percent = Estimate {
        value: seen.value * 100.0,
        low: seen.low.map(|low| low * 100.0),
        high: seen.high.map(|high| high * 100.0),
    };
    let detail = format!(
        "{}; sizes in between deviate from the straight line by {} of the longest time, \
         {:.0} % allowed",
        format_range(slope, 2, "s/GB", deviations.len()),
        format_range(percent, 1, "%", deviations.len()),
        MAX_DEVIATION * 100.0
    );
    Finding {
        expectation,
        subject: subject.to_owned(),
        verdict: compare_range(seen, -MAX_DEVIATION, MAX_DEVIATION),
        detail,
    }
}

/// Returns how far the inner points lie above the line from the smallest to the largest point, as
/// the mean over the points and as a share of the largest figure. Noise has both signs, a bend has
/// one.
fn deviation_from_line(mut points: Vec<(f64, f64)>) -> Option<f64> {
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let [(left, low), inner @ .., (right, high)] = points.as_slice() else { return None };
    let off = inner.iter().map(|(x, y)| y - low - (high - low) * (x - left) / (right - left));
    let count = inner.iter().map(|_| 1.0).sum::<f64>();
    (count > 0.0 && right > left).then(|| off.sum::<f64>() / count / high)
}

pub(super) fn check_bytes_sent(subject: &str, mode: Mode, cells: &[&PaperCell]) -> Finding {
    let expectation = Expectation::BytesSent;
    // A hybrid migration that completed by pre-copy alone sent nothing twice.
    let repeats = points_by_repeat(cells, |run| run.postcopy, |run| run.bytes);
    let slopes: Vec<f64> = repeats.iter().filter_map(|points| Some(fit_line(points)?.1)).collect();
    let Some(seen) = estimate_range(&slopes) else {
        return too_few_runs(expectation, subject, "two sizes in each of two repeats are needed");
    };
    let passes = if mode == Mode::Hybrid { 2.0 } else { 1.0 };
    let detail = format!(
        "{} per byte of stressed memory; expected are base + {passes} × W",
        format_range(seen, 3, "bytes sent", slopes.len())
    );
    Finding {
        expectation,
        subject: subject.to_owned(),
        verdict: compare_range(seen, passes - PASSES_TOLERANCE, passes + PASSES_TOLERANCE),
        detail,
    }
}

pub(super) fn check_completes(
    subject: &str,
    cells: &[&PaperCell],
    precopy: &[&PaperCell],
) -> Finding {
    let expectation = Expectation::Completes;
    let not_converging: Vec<&&PaperCell> = precopy
        .iter()
        .filter(|cell| cell.runs.len() >= MIN_RUNS && cell.completed_runs().count() == 0)
        .collect();
    let least = not_converging.iter().map(|cell| cell.stressed_gb).reduce(f64::min);
    let beyond: Vec<&&PaperCell> = cells
        .iter()
        .filter(|cell| cell.stressed_gb >= least.unwrap_or(0.0) && cell.stressed_gb > 0.0)
        .collect();
    let all: usize = beyond.iter().map(|cell| cell.runs.len()).sum();
    let done: usize = beyond.iter().map(|cell| cell.completed_runs().count()).sum();
    let largest = beyond.iter().map(|cell| cell.stressed_gb).fold(0.0, f64::max);
    let precopy_detail = match least {
        Some(least) => {
            let tries: usize = not_converging.iter().map(|cell| cell.runs.len()).sum();
            format!("; pre-copy with {} or more completed in 0 of {tries}", format_mb(least))
        }
        None => String::new(),
    };
    let detail =
        format!("completed in {done} of {all} runs with up to {largest} GB{precopy_detail}");
    let verdict = match all {
        few if few < MIN_RUNS => Verdict::TooFewRuns,
        all if done < all => Verdict::Violated,
        _ => Verdict::Holds,
    };
    Finding { expectation, subject: subject.to_owned(), verdict, detail }
}

pub(super) fn check_constant_blackout(subject: &str, cells: &[&PaperCell]) -> Finding {
    let expectation = Expectation::ConstantBlackout;
    let mut by_size: Vec<&&PaperCell> = cells
        .iter()
        .filter(|cell| {
            cell.completed_runs().count() > 0 && cell.completed_runs().all(|run| run.postcopy)
        })
        .collect();
    by_size.sort_by(|one, other| one.stressed_gb.total_cmp(&other.stressed_gb));
    let (Some(smallest), Some(largest)) = (by_size.first(), by_size.last()) else {
        return too_few_runs(expectation, subject, "no cell used post-copy");
    };
    let blackout = |cell: &PaperCell, repeat: u32| {
        cell.completed_runs().find(|run| run.repeat == repeat).and_then(|run| run.blackout)
    };
    let grown: Vec<f64> = largest
        .completed_runs()
        .filter_map(|run| Some(run.blackout? - blackout(smallest, run.repeat)?))
        .filter(|_| largest.stressed_gb > smallest.stressed_gb)
        .collect();
    let mean = SortedValues::new(largest.completed_runs().filter_map(|run| run.mean)).quantile(50);
    let (Some(seen), Some(mean)) = (estimate_range(&grown), mean) else {
        return too_few_runs(expectation, subject, "two sizes in each of two repeats are needed");
    };
    let transfer = (largest.stressed_gb - smallest.stressed_gb) * GB * 8.0 / (mean.value * 1e9);
    let detail = format!(
        "from {} to {} the blackout changes by {}; sending the additional memory takes \
         {transfer:.2} s",
        smallest.label,
        largest.label,
        format_range(seen, 3, "s", grown.len())
    );
    Finding {
        expectation,
        subject: subject.to_owned(),
        verdict: compare_range(seen, -MAX_GROWTH * transfer, MAX_GROWTH * transfer),
        detail,
    }
}

//! R1 and R2: the threshold of pre-copy, and its blackout close to the threshold. Pure.

use super::super::cells::PaperCell;
use super::super::scale::GB;
use super::finding::{
    Expectation, Finding, MIN_RUNS, Verdict, compare_range, estimate_range, format_mb,
    format_range, too_few_runs,
};
use analysis::statistics::SortedValues;

/// This close to the threshold a run may converge or not, because QEMU takes the bandwidth of one
/// window.
const MARGIN: f64 = 0.03;
/// The threshold is known if cells within this distance below and above it were run.
const MAX_DISTANCE: f64 = 0.25;
/// Cells from this share of the threshold on are close to it.
const CLOSE: f64 = 0.85;
/// QEMU checks its threshold every 100 ms, so a blackout may exceed the limit by this, in seconds.
const WINDOW: f64 = 0.1;
/// A blackout may be shorter by this share than the time that the memory takes at the mean rate.
const RATE_TOLERANCE: f64 = 0.05;

/// Measures the bandwidth of pre-copy over a link in GB/s, from the runs that did not converge, or
/// from all runs if all converged.
pub(super) fn measure_bandwidth(cells: &[&PaperCell]) -> Option<f64> {
    let means = |completed: bool| {
        let runs =
            cells.iter().flat_map(|cell| &cell.runs).filter(|run| run.completed == completed);
        SortedValues::new(runs.filter_map(|run| run.mean)).quantile(50)
    };
    means(false).or_else(|| means(true)).map(|gbit| gbit.value * 1e9 / 8.0 / GB)
}

pub(super) fn check_threshold(link: &str, cells: &[&PaperCell], bandwidth: f64) -> Finding {
    let expectation = Expectation::Threshold;
    let share = |cell: &PaperCell| cell.stressed_gb / (bandwidth * cell.limit);
    let (below, above): (Vec<&&PaperCell>, Vec<&&PaperCell>) = cells
        .iter()
        .filter(|cell| cell.runs.len() >= MIN_RUNS && (share(cell) - 1.0).abs() >= MARGIN)
        .partition(|cell| share(cell) < 1.0);
    let nearest = below.iter().max_by(|one, other| share(one).total_cmp(&share(other)));
    let next = above.iter().min_by(|one, other| share(one).total_cmp(&share(other)));
    let (Some(nearest), Some(next)) = (nearest, next) else {
        return too_few_runs(expectation, link, "no cells on both sides of the threshold");
    };
    let exceptions: Vec<String> = below
        .iter()
        .filter(|cell| !cell.all_completed())
        .chain(above.iter().filter(|cell| cell.completed_runs().count() > 0))
        .map(|cell| {
            format!(
                "{} at {} ms converged in {} of {}",
                cell.label,
                cell.limit * 1e3,
                cell.completed_runs().count(),
                cell.runs.len()
            )
        })
        .collect();
    let is_near = share(nearest) > 1.0 - MAX_DISTANCE && share(next) < 1.0 + MAX_DISTANCE;
    let verdict = match (exceptions.is_empty(), is_near) {
        (false, _) => Verdict::Violated,
        (true, false) => Verdict::TooFewRuns,
        (true, true) => Verdict::Holds,
    };
    let side = |cell: &PaperCell| {
        let (done, all) = (cell.completed_runs().count(), cell.runs.len());
        format!(
            "{} ({:.0} % of B × L) converged in {done} of {all}",
            cell.label,
            share(cell) * 100.0
        )
    };
    let exceptions = if exceptions.is_empty() {
        String::new()
    } else {
        format!("; exceptions: {}", exceptions.join(", "))
    };
    let detail = format!(
        "B × L = {} at 300 ms; {}, {}{exceptions}",
        format_mb(bandwidth * 0.3),
        side(nearest),
        side(next)
    );
    Finding { expectation, subject: link.to_owned(), verdict, detail }
}

pub(super) fn check_blackout(link: &str, cells: &[&PaperCell], bandwidth: f64) -> Finding {
    let expectation = Expectation::PrecopyBlackout;
    let close = |cell: &&&PaperCell| {
        let share = cell.stressed_gb / (bandwidth * cell.limit);
        (CLOSE..1.0 - MARGIN).contains(&share) && cell.all_completed()
    };
    let Some(cell) = cells
        .iter()
        .filter(close)
        .max_by(|one, other| one.stressed_gb.total_cmp(&other.stressed_gb))
    else {
        return too_few_runs(expectation, link, "no cell close to the threshold converged");
    };
    let values: Vec<f64> = cell.completed_runs().filter_map(|run| run.blackout).collect();
    let Some(seen) = estimate_range(&values) else {
        return too_few_runs(expectation, link, "too few blackouts");
    };
    let (min, max) =
        (cell.stressed_gb / bandwidth * (1.0 - RATE_TOLERANCE), cell.limit + WINDOW + cell.delay);
    let detail = format!(
        "{}: {}, allowed {min:.3} (the time that its memory takes, minus 5 %) to {max:.3} \
         (limit, one window and one-way delay)",
        cell.label,
        format_range(seen, 3, "s", values.len())
    );
    Finding {
        expectation,
        subject: link.to_owned(),
        verdict: compare_range(seen, min, max),
        detail,
    }
}

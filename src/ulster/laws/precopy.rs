//! R1 and R2: pre-copy's threshold, and its blackout close to that. Pure.

use super::super::cells::Cell;
use super::super::scale::GB;
use super::{Finding, LEAST, Law, Verdict, mb, open, shown, too_few, within};
use crate::campaign::statistics::SortedValues;

/// So near to the threshold either may happen: QEMU's bandwidth is that of one window.
const MARGIN: f64 = 0.03;
/// A threshold is known if sets up to so much below and above it were tried.
const BRACKET: f64 = 0.25;
/// "Close to the threshold" is from this share of it on.
const CLOSE: f64 = 0.85;
/// QEMU looks at its threshold once in 100 ms, and a blackout may be longer than the limit by so much, s.
const WINDOW: f64 = 0.1;
/// A blackout may be shorter by this share than what the memory takes at the mean rate.
const FASTER: f64 = 0.05;

/// Of pre-copy over a link, GB/s: of those that went on and on, or else of all.
pub(super) fn bandwidth(cells: &[&Cell]) -> Option<f64> {
    let means = |completed: bool| {
        let runs =
            cells.iter().flat_map(|cell| &cell.runs).filter(|run| run.completed == completed);
        SortedValues::new(runs.filter_map(|run| run.mean)).quantile(50)
    };
    means(false).or_else(|| means(true)).map(|gbit| gbit.value * 1e9 / 8.0 / GB)
}

pub(super) fn threshold(link: &str, cells: &[&Cell], bandwidth: f64) -> Finding {
    let law = Law::Threshold;
    let share = |cell: &Cell| cell.stressed / (bandwidth * cell.limit);
    let (below, above): (Vec<&&Cell>, Vec<&&Cell>) = cells
        .iter()
        .filter(|cell| cell.runs.len() >= LEAST && (share(cell) - 1.0).abs() >= MARGIN)
        .partition(|cell| share(cell) < 1.0);
    let nearest = below.iter().max_by(|one, other| share(one).total_cmp(&share(other)));
    let next = above.iter().min_by(|one, other| share(one).total_cmp(&share(other)));
    let (Some(nearest), Some(next)) = (nearest, next) else {
        return too_few(law, link, "no sets on both sides of it");
    };
    let strays: Vec<String> = below
        .iter()
        .filter(|cell| !cell.all_completed())
        .chain(above.iter().filter(|cell| cell.completed().count() > 0))
        .map(|cell| {
            format!(
                "{} at {} ms converged in {} of {}",
                cell.label,
                cell.limit * 1e3,
                cell.completed().count(),
                cell.runs.len()
            )
        })
        .collect();
    let is_near = share(nearest) > 1.0 - BRACKET && share(next) < 1.0 + BRACKET;
    let verdict = match (strays.is_empty(), is_near) {
        (false, _) => Verdict::Broken,
        (true, false) => Verdict::TooFew,
        (true, true) => Verdict::Holds,
    };
    let side = |cell: &Cell| {
        let (done, all) = (cell.completed().count(), cell.runs.len());
        format!(
            "{} ({:.0} % of B × L) converged in {done} of {all}",
            cell.label,
            share(cell) * 100.0
        )
    };
    let against = if strays.is_empty() {
        String::new()
    } else {
        format!("; against it: {}", strays.join(", "))
    };
    let says = format!(
        "B × L = {} at 300 ms; {}, {}{against}",
        mb(bandwidth * 0.3),
        side(nearest),
        side(next)
    );
    Finding { law, of: link.to_owned(), verdict, says }
}

pub(super) fn blackout(link: &str, cells: &[&Cell], bandwidth: f64) -> Finding {
    let law = Law::Blackout;
    let close = |cell: &&&Cell| {
        let share = cell.stressed / (bandwidth * cell.limit);
        (CLOSE..1.0 - MARGIN).contains(&share) && cell.all_completed()
    };
    let Some(cell) =
        cells.iter().filter(close).max_by(|one, other| one.stressed.total_cmp(&other.stressed))
    else {
        return too_few(law, link, "no set close to the threshold converged");
    };
    let values: Vec<f64> = cell.completed().filter_map(|run| run.blackout).collect();
    let Some(seen) = open(&values) else { return too_few(law, link, "too few blackouts") };
    let (least, most) =
        (cell.stressed / bandwidth * (1.0 - FASTER), cell.limit + WINDOW + cell.delay);
    let says = format!(
        "{}: {} s, between {least:.3} (what its memory takes, less 5 %) and {most:.3} (limit, one window and one way)",
        cell.label,
        shown(seen, 3, values.len())
    );
    Finding { law, of: link.to_owned(), verdict: within(seen, least, most), says }
}

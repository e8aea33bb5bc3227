//! R3 to R5: post-copy's time, bytes, outcome and blackout over the stressed memory. Pure.

use super::super::cells::{Cell, Figure, Run};
use super::super::scale::GB;
use super::{Finding, LEAST, Law, Verdict, mb, open, shown, too_few, within};
use crate::campaign::statistics::{Estimate, SortedValues};
use crate::scenario::Mode;
use std::collections::BTreeMap;

/// Off the straight line by this share of the time of the largest set.
const STRAIGHT: f64 = 0.03;
/// Passes over stressed memory, give or take.
const PASSES: f64 = 0.1;
/// Blackouts that grow by less than this share of the time that the memory takes do not depend on it.
const GROWTH: f64 = 0.05;

/// For each repeat, (stressed, figure) of its cells.
fn by_repeat<'a>(
    cells: &[&'a Cell],
    wanted: impl Fn(&'a Run) -> bool,
    figure: Figure,
) -> Vec<Vec<(f64, f64)>> {
    let mut repeats: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for cell in cells {
        for run in cell.completed().filter(|run| wanted(run)) {
            if let Some(value) = figure(run) {
                repeats.entry(run.repeat).or_default().push((cell.stressed, value));
            }
        }
    }
    repeats.into_values().collect()
}

/// Intercept and slope, by least squares. `None` of fewer than two different places.
pub(in crate::ulster) fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = points.iter().map(|_| 1.0).sum::<f64>();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    (spread > 0.0).then_some((y - slope * x, slope))
}

/// Slopes of a figure over the stressed memory, one for each repeat.
pub(in crate::ulster) fn slopes(cells: &[&Cell], figure: Figure) -> Vec<f64> {
    by_repeat(cells, |_| true, figure).iter().filter_map(|points| Some(line(points)?.1)).collect()
}

pub(super) fn straight(of: &str, cells: &[&Cell]) -> Finding {
    let law = Law::Straight;
    let repeats = by_repeat(cells, |_| true, |run| run.total);
    let bends: Vec<f64> = repeats.into_iter().filter_map(bend).collect();
    let (Some(seen), Some(slope)) = (open(&bends), open(&slopes(cells, |run| run.total))) else {
        return too_few(law, of, "three sizes in each of two repeats are needed");
    };
    let percent = Estimate {
        value: seen.value * 100.0,
        low: seen.low.map(|low| low * 100.0),
        high: seen.high.map(|high| high * 100.0),
    };
    let says = format!(
        "{} s/GB; sizes in between lie off the straight way by {} % of the longest, {:.0} % allowed",
        shown(slope, 2, bends.len()),
        shown(percent, 1, bends.len()),
        STRAIGHT * 100.0
    );
    Finding { law, of: of.to_owned(), verdict: within(seen, -STRAIGHT, STRAIGHT), says }
}

/// How far those in between lie, in the mean, above the straight way from the smallest to the largest, by the largest: noise has both signs, a bend has one.
fn bend(mut points: Vec<(f64, f64)>) -> Option<f64> {
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let [(left, low), inner @ .., (right, high)] = points.as_slice() else { return None };
    let off = inner.iter().map(|(x, y)| y - low - (high - low) * (x - left) / (right - left));
    let count = inner.iter().map(|_| 1.0).sum::<f64>();
    (count > 0.0 && right > left).then(|| off.sum::<f64>() / count / high)
}

pub(super) fn bytes(of: &str, mode: Mode, cells: &[&Cell]) -> Finding {
    let law = Law::Bytes;
    // A hybrid whose pre-copy got through sent nothing twice.
    let repeats = by_repeat(cells, |run| run.postcopy, |run| run.bytes);
    let slopes: Vec<f64> = repeats.iter().filter_map(|points| Some(line(points)?.1)).collect();
    let Some(seen) = open(&slopes) else {
        return too_few(law, of, "two sizes in each of two repeats are needed");
    };
    let passes = if mode == Mode::Hybrid { 2.0 } else { 1.0 };
    let says = format!(
        "{} bytes for each of stressed memory; base + {passes} × W",
        shown(seen, 3, slopes.len())
    );
    Finding {
        law,
        of: of.to_owned(),
        verdict: within(seen, passes - PASSES, passes + PASSES),
        says,
    }
}

pub(super) fn completes(of: &str, cells: &[&Cell], precopy: &[&Cell]) -> Finding {
    let law = Law::Completes;
    let stuck: Vec<&&Cell> = precopy
        .iter()
        .filter(|cell| cell.runs.len() >= LEAST && cell.completed().count() == 0)
        .collect();
    let least = stuck.iter().map(|cell| cell.stressed).reduce(f64::min);
    let beyond: Vec<&&Cell> = cells
        .iter()
        .filter(|cell| cell.stressed >= least.unwrap_or(0.0) && cell.stressed > 0.0)
        .collect();
    let all: usize = beyond.iter().map(|cell| cell.runs.len()).sum();
    let done: usize = beyond.iter().map(|cell| cell.completed().count()).sum();
    let largest = beyond.iter().map(|cell| cell.stressed).fold(0.0, f64::max);
    let against = match least {
        Some(least) => {
            let tries: usize = stuck.iter().map(|cell| cell.runs.len()).sum();
            format!("; pre-copy of {} and more in 0 of {tries}", mb(least))
        }
        None => String::new(),
    };
    let says = format!("completed in {done} of {all} with up to {largest} GB{against}");
    let verdict = match all {
        few if few < LEAST => Verdict::TooFew,
        all if done < all => Verdict::Broken,
        _ => Verdict::Holds,
    };
    Finding { law, of: of.to_owned(), verdict, says }
}

pub(super) fn level(of: &str, cells: &[&Cell]) -> Finding {
    let law = Law::Level;
    let mut by_size: Vec<&&Cell> = cells
        .iter()
        .filter(|cell| cell.completed().count() > 0 && cell.completed().all(|run| run.postcopy))
        .collect();
    by_size.sort_by(|one, other| one.stressed.total_cmp(&other.stressed));
    let (Some(smallest), Some(largest)) = (by_size.first(), by_size.last()) else {
        return too_few(law, of, "no post-copy");
    };
    let blackout = |cell: &Cell, repeat: u32| {
        cell.completed().find(|run| run.repeat == repeat).and_then(|run| run.blackout)
    };
    let grown: Vec<f64> = largest
        .completed()
        .filter_map(|run| Some(run.blackout? - blackout(smallest, run.repeat)?))
        .filter(|_| largest.stressed > smallest.stressed)
        .collect();
    let mean = SortedValues::new(largest.completed().filter_map(|run| run.mean)).quantile(50);
    let (Some(seen), Some(mean)) = (open(&grown), mean) else {
        return too_few(law, of, "two sizes in each of two repeats are needed");
    };
    let transfer = (largest.stressed - smallest.stressed) * GB * 8.0 / (mean.value * 1e9);
    let says = format!(
        "from {} to {} it changes by {} s; the memory between them takes {transfer:.2} s",
        smallest.label,
        largest.label,
        shown(seen, 3, grown.len())
    );
    Finding {
        law,
        of: of.to_owned(),
        verdict: within(seen, -GROWTH * transfer, GROWTH * transfer),
        says,
    }
}

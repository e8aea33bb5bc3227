//! The laws behind the paper's figures, which hold at any scale, held against runs (R1 to R5 of docs/ulster.md). Pure.
//!
//! Takes cells; gives a finding for each law and each link. A law **holds** if all of what the runs leave open lies within it, is **broken** if none of it does, and
//! in between there were **too few runs**. What they leave open is the 95 % interval of the median from six runs on, before that all that was seen.

use super::cells::{Cell, Figure, Run};
use super::scale::GB;
use crate::campaign::statistics::{Ascending, Estimate};
use crate::scenario::{Mode, spelling};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Fewer runs of a cell say nothing.
const LEAST: usize = 2;
/// So near to the threshold either may happen: QEMU's bandwidth is that of one window.
const MARGIN: f64 = 0.03;
/// A threshold is known if sets up to so much below and above it were tried.
const BRACKET: f64 = 0.25;
/// "Close to the threshold" is from this share of it on.
const CLOSE: f64 = 0.85;
/// QEMU looks at its threshold once in 100 ms, and a blackout may be longer than the limit by so much, s.
const WINDOW: f64 = 0.1;
/// Off the straight line by this share of the time of the largest set.
const STRAIGHT: f64 = 0.03;
/// Passes over stressed memory, give or take.
const PASSES: f64 = 0.1;
/// Blackouts that grow by less than this share of the time that the memory takes do not depend on it.
const GROWTH: f64 = 0.05;

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
        let of = |mode: Mode| -> Vec<&Cell> { cells.iter().filter(|cell| cell.link == link && cell.mode == mode).collect() };
        let precopy = of(Mode::Precopy);
        if let Some(bandwidth) = bandwidth(&precopy) {
            findings.push(threshold(link, &precopy, bandwidth));
            findings.push(blackout(link, &precopy, bandwidth));
        }
        for mode in [Mode::Postcopy, Mode::Hybrid] {
            let cells = of(mode);
            if !cells.is_empty() {
                let name = format!("{}, {link}", spelling(&mode));
                findings.push(straight(&name, &cells));
                findings.push(bytes(&name, mode, &cells));
                findings.push(completes(&name, &cells, &precopy));
                findings.push(level(&name, &cells));
            }
        }
    }
    findings.sort_by(|one, other| (one.law, &one.of).cmp(&(other.law, &other.of)));
    findings
}

/// What is left open of a figure.
fn open(values: &[f64]) -> Option<Estimate> {
    let ascending = Ascending::of(values.iter().copied());
    let range = (ascending.values().len() >= LEAST).then(|| ascending.values().first().zip(ascending.values().last())).flatten();
    let estimate = ascending.quantile(50)?;
    let low = estimate.low.or(range.map(|range| *range.0));
    let high = estimate.high.or(range.map(|range| *range.1));
    low.zip(high).map(|(low, high)| Estimate { value: estimate.value, low: Some(low), high: Some(high) })
}

/// Whether all of what is left open lies within.
fn within(estimate: Estimate, low: f64, high: f64) -> Verdict {
    let (from, to) = (estimate.low.unwrap_or(f64::NEG_INFINITY), estimate.high.unwrap_or(f64::INFINITY));
    match (low <= from && to <= high, to < low || high < from) {
        (true, _) => Verdict::Holds,
        (_, true) => Verdict::Broken,
        _ => Verdict::TooFew,
    }
}

/// `1.98 [1.96, 2.01] of 10`.
fn shown(estimate: Estimate, decimals: usize, count: usize) -> String {
    let number = |figure: Option<f64>| figure.map_or_else(|| "?".to_owned(), |figure| format!("{figure:.decimals$}"));
    format!("{:.decimals$} [{}, {}] of {count}", estimate.value, number(estimate.low), number(estimate.high))
}

fn too_few(law: Law, of: &str, what: &str) -> Finding {
    Finding { law, of: of.to_owned(), verdict: Verdict::TooFew, says: format!("not known: {what}") }
}

/// Of pre-copy over a link, GB/s: of those that went on and on, or else of all.
fn bandwidth(cells: &[&Cell]) -> Option<f64> {
    let means = |completed: bool| {
        let runs = cells.iter().flat_map(|cell| &cell.runs).filter(|run| run.completed == completed);
        Ascending::of(runs.filter_map(|run| run.mean)).quantile(50)
    };
    means(false).or_else(|| means(true)).map(|gbit| gbit.value * 1e9 / 8.0 / GB)
}

fn mb(gb: f64) -> String {
    format!("{:.0} MB", gb * 1024.0)
}

fn threshold(link: &str, cells: &[&Cell], bandwidth: f64) -> Finding {
    let law = Law::Threshold;
    let share = |cell: &Cell| cell.stressed / (bandwidth * cell.limit);
    let (below, above): (Vec<&&Cell>, Vec<&&Cell>) = cells
        .iter()
        .filter(|cell| cell.runs.len() >= LEAST && (share(cell) - 1.0).abs() >= MARGIN)
        .partition(|cell| share(cell) < 1.0);
    let nearest = below.iter().max_by(|one, other| share(one).total_cmp(&share(other)));
    let next = above.iter().min_by(|one, other| share(one).total_cmp(&share(other)));
    let (Some(nearest), Some(next)) = (nearest, next) else { return too_few(law, link, "no sets on both sides of it") };
    let strays: Vec<String> = below
        .iter()
        .filter(|cell| !cell.all_completed())
        .chain(above.iter().filter(|cell| cell.completed().count() > 0))
        .map(|cell| {
            format!("{} at {} ms converged in {} of {}", cell.label, cell.limit * 1e3, cell.completed().count(), cell.runs.len())
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
        format!("{} ({:.0} % of B × L) converged in {done} of {all}", cell.label, share(cell) * 100.0)
    };
    let against = if strays.is_empty() { String::new() } else { format!("; against it: {}", strays.join(", ")) };
    let says = format!("B × L = {} at 300 ms; {}, {}{against}", mb(bandwidth * 0.3), side(nearest), side(next));
    Finding { law, of: link.to_owned(), verdict, says }
}

fn blackout(link: &str, cells: &[&Cell], bandwidth: f64) -> Finding {
    let law = Law::Blackout;
    let close = |cell: &&&Cell| {
        let share = cell.stressed / (bandwidth * cell.limit);
        (CLOSE..1.0 - MARGIN).contains(&share) && cell.all_completed()
    };
    let Some(cell) = cells.iter().filter(close).max_by(|one, other| one.stressed.total_cmp(&other.stressed)) else {
        return too_few(law, link, "no set close to the threshold converged");
    };
    let values: Vec<f64> = cell.completed().filter_map(|run| run.blackout).collect();
    let Some(seen) = open(&values) else { return too_few(law, link, "too few blackouts") };
    let (least, most) = (cell.stressed / bandwidth * (1.0 - PASSES / 2.0), cell.limit + WINDOW + cell.delay);
    let says = format!(
        "{}: {} s, between {least:.3} (what its memory takes, less 5 %) and {most:.3} (limit, one window and one way)",
        cell.label,
        shown(seen, 3, values.len())
    );
    Finding { law, of: link.to_owned(), verdict: within(seen, least, most), says }
}

/// For each repeat, (stressed, figure) of its cells.
fn by_repeat<'a>(cells: &[&'a Cell], wanted: impl Fn(&'a Run) -> bool, figure: Figure) -> Vec<Vec<(f64, f64)>> {
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
pub(super) fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = points.iter().map(|_| 1.0).sum::<f64>();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    (spread > 0.0).then_some((y - slope * x, slope))
}

/// Slopes of a figure over the stressed memory, one for each repeat.
pub(super) fn slopes(cells: &[&Cell], figure: Figure) -> Vec<f64> {
    by_repeat(cells, |_| true, figure).iter().filter_map(|points| Some(line(points)?.1)).collect()
}

fn straight(of: &str, cells: &[&Cell]) -> Finding {
    let law = Law::Straight;
    let off = |points: &Vec<(f64, f64)>| {
        let (intercept, slope) = line(points).filter(|_| points.len() >= 3)?;
        let largest = points.iter().map(|point| point.1).fold(0.0, f64::max);
        points.iter().map(|(x, y)| (y - intercept - slope * x).abs() / largest).reduce(f64::max)
    };
    let repeats = by_repeat(cells, |_| true, |run| run.total);
    let offs: Vec<f64> = repeats.iter().filter_map(off).collect();
    let (Some(seen), Some(slope)) = (open(&offs), open(&slopes(cells, |run| run.total))) else {
        return too_few(law, of, "three sizes in each of two repeats are needed");
    };
    let percent =
        Estimate { value: seen.value * 100.0, low: seen.low.map(|low| low * 100.0), high: seen.high.map(|high| high * 100.0) };
    let says = format!(
        "{} s/GB; off the line by at most {} % of the longest, {:.0} % allowed",
        shown(slope, 2, offs.len()),
        shown(percent, 1, offs.len()),
        STRAIGHT * 100.0
    );
    Finding { law, of: of.to_owned(), verdict: within(seen, 0.0, STRAIGHT), says }
}

fn bytes(of: &str, mode: Mode, cells: &[&Cell]) -> Finding {
    let law = Law::Bytes;
    // A hybrid whose pre-copy got through sent nothing twice.
    let repeats = by_repeat(cells, |run| run.postcopy, |run| run.bytes);
    let slopes: Vec<f64> = repeats.iter().filter_map(|points| Some(line(points)?.1)).collect();
    let Some(seen) = open(&slopes) else { return too_few(law, of, "two sizes in each of two repeats are needed") };
    let passes = if mode == Mode::Hybrid { 2.0 } else { 1.0 };
    let says = format!("{} bytes for each of stressed memory; base + {passes} × W", shown(seen, 3, slopes.len()));
    Finding { law, of: of.to_owned(), verdict: within(seen, passes - PASSES, passes + PASSES), says }
}

fn completes(of: &str, cells: &[&Cell], precopy: &[&Cell]) -> Finding {
    let law = Law::Completes;
    let stuck: Vec<&&Cell> = precopy.iter().filter(|cell| cell.runs.len() >= LEAST && cell.completed().count() == 0).collect();
    let least = stuck.iter().map(|cell| cell.stressed).reduce(f64::min);
    let beyond: Vec<&&Cell> = cells.iter().filter(|cell| cell.stressed >= least.unwrap_or(0.0) && cell.stressed > 0.0).collect();
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

fn level(of: &str, cells: &[&Cell]) -> Finding {
    let law = Law::Level;
    let mut by_size: Vec<&&Cell> =
        cells.iter().filter(|cell| cell.completed().count() > 0 && cell.completed().all(|run| run.postcopy)).collect();
    by_size.sort_by(|one, other| one.stressed.total_cmp(&other.stressed));
    let (Some(smallest), Some(largest)) = (by_size.first(), by_size.last()) else { return too_few(law, of, "no post-copy") };
    let blackout = |cell: &Cell, repeat: u32| cell.completed().find(|run| run.repeat == repeat).and_then(|run| run.blackout);
    let grown: Vec<f64> = largest
        .completed()
        .filter_map(|run| Some(run.blackout? - blackout(smallest, run.repeat)?))
        .filter(|_| largest.stressed > smallest.stressed)
        .collect();
    let mean = Ascending::of(largest.completed().filter_map(|run| run.mean)).quantile(50);
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
    Finding { law, of: of.to_owned(), verdict: within(seen, -GROWTH * transfer, GROWTH * transfer), says }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ulster::cells::Predicted;

    const NO: Predicted = Predicted { completes: true, total: 0.0, blackout: None, bytes: 0.0 };
    /// 8 Gb/s, in GB/s.
    const WAY: f64 = 1e9 / GB;

    fn cell(mode: Mode, stressed: f64, runs: u32, run: impl Fn(f64) -> Run) -> Cell {
        // Of no two runs the same.
        let noise = |repeat: u32| 1.0 + 0.002 * (f64::from(repeat * 7 % 5) - 2.0);
        let runs = (1..=runs).map(|repeat| Run { repeat, ..run(noise(repeat)) }).collect();
        let label = format!("{stressed}GB");
        Cell { mode, link: "local".to_owned(), label, stressed, limit: 0.3, delay: 0.0, runs, scaled: NO, whole: NO }
    }

    fn run(completed: bool, postcopy: bool, [total, blackout, bytes]: [f64; 3]) -> Run {
        Run {
            repeat: 0,
            completed,
            postcopy,
            total: Some(total),
            blackout: completed.then_some(blackout),
            bytes: Some(bytes),
            mean: Some(8.0),
            peak: Some(8.0),
        }
    }

    /// All as it should be: pre-copy up to B × L = 0.28 GB, hybrid beyond.
    fn lawful(runs: u32) -> Vec<Cell> {
        let precopy = |stressed: f64| {
            cell(Mode::Precopy, stressed, runs, move |noise| {
                run(stressed < 0.28, false, [1.0, stressed / WAY * noise + 0.01, 0.7 + stressed])
            })
        };
        let hybrid = |stressed: f64| {
            cell(Mode::Hybrid, stressed, runs, move |noise| {
                run(true, true, [(0.7 + 2.0 * stressed) * noise, 0.2 * noise, 0.7 + 2.0 * stressed])
            })
        };
        [0.1, 0.26, 0.3].map(precopy).into_iter().chain([1.0, 2.0, 4.0, 8.0].map(hybrid)).collect()
    }

    /// The laws that are not the ones that hold.
    fn not_holding(cells: &[Cell], verdict: Verdict) -> Vec<Law> {
        laws(cells).into_iter().filter(|finding| finding.verdict == verdict).map(|finding| finding.law).collect()
    }

    fn spoiled(mut cells: Vec<Cell>, mode: Mode, change: impl Fn(f64, &mut Run)) -> Vec<Cell> {
        for cell in cells.iter_mut().filter(|cell| cell.mode == mode) {
            let stressed = cell.stressed;
            cell.runs.iter_mut().for_each(|run| change(stressed, run));
        }
        cells
    }

    #[test]
    fn what_is_lawful_holds() {
        for runs in [2, 3, 10] {
            let all = laws(&lawful(runs));
            assert!(all.iter().all(|finding| finding.verdict == Verdict::Holds), "{all:#?}");
            assert_eq!(all.len(), 6);
        }
    }

    #[test]
    fn one_run_is_too_few() {
        assert_eq!(not_holding(&lawful(1), Verdict::Broken), []);
        assert_eq!(not_holding(&lawful(1), Verdict::Holds), [Law::Completes], "four cells of one run each");
    }

    #[test]
    fn each_law_can_be_broken_and_no_other_with_it() {
        let broken = |mode, change: fn(f64, &mut Run)| not_holding(&spoiled(lawful(10), mode, change), Verdict::Broken);
        // Beyond the threshold one of ten gets through; or below it one does not.
        assert_eq!(broken(Mode::Precopy, |w, run| run.completed |= w == 0.3 && run.repeat == 3), [Law::Threshold]);
        assert_eq!(broken(Mode::Precopy, |w, run| run.completed &= w != 0.1 || run.repeat != 3), [Law::Threshold]);
        assert_eq!(broken(Mode::Precopy, |_, run| run.blackout = run.blackout.map(|s| s * 2.0)), [Law::Blackout]);
        assert_eq!(broken(Mode::Precopy, |_, run| run.blackout = run.blackout.map(|s| s / 2.0)), [Law::Blackout]);
        assert_eq!(broken(Mode::Hybrid, |w, run| run.total = Some(w * w)), [Law::Straight]);
        // Pages that are sent once.
        assert_eq!(broken(Mode::Hybrid, |w, run| run.bytes = Some(0.7 + w)), [Law::Bytes]);
        assert_eq!(broken(Mode::Hybrid, |w, run| run.completed &= w != 4.0 || run.repeat != 9), [Law::Completes]);
        // It waits for a tenth of the memory.
        assert_eq!(broken(Mode::Hybrid, |w, run| run.blackout = Some(0.1 * w / WAY)), [Law::Level]);
    }

    #[test]
    fn where_runs_disagree_there_are_too_few() {
        let torn = spoiled(lawful(10), Mode::Hybrid, |w, run| {
            if run.repeat % 2 == 0 {
                run.bytes = Some(0.7 + w);
            }
        });
        assert_eq!(not_holding(&torn, Verdict::TooFew), [Law::Bytes]);
    }

    #[test]
    fn no_sets_near_the_threshold_leave_it_open() {
        let mut cells = lawful(10);
        cells.retain(|cell| cell.stressed != 0.26);
        assert_eq!(not_holding(&cells, Verdict::TooFew), [Law::Threshold, Law::Blackout]);
        assert_eq!(laws(&[]), []);
    }

    #[test]
    fn a_line_goes_through_its_points() {
        assert_eq!(line(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Some((1.0, 2.0)));
        assert_eq!((line(&[]), line(&[(1.0, 2.0)]), line(&[(1.0, 2.0), (1.0, 3.0)])), (None, None, None));
    }
}

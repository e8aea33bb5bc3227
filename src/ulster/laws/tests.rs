//! On made runs: what is lawful holds, and each law can be broken alone.

use super::super::cells::{Cell, Predicted, Run};
use super::super::scale::GB;
use super::postcopy::line;
use super::{Law, Verdict, laws};
use crate::scenario::Mode;

const NO: Predicted = Predicted { completes: true, total: 0.0, blackout: None, bytes: 0.0 };
/// 8 Gb/s, in GB/s.
const WAY: f64 = 1e9 / GB;

fn cell(mode: Mode, stressed: f64, runs: u32, run: impl Fn(f64) -> Run) -> Cell {
    // Of no two runs the same.
    let noise = |repeat: u32| 1.0 + 0.002 * (f64::from(repeat * 7 % 5) - 2.0);
    let runs = (1..=runs).map(|repeat| Run { repeat, ..run(noise(repeat)) }).collect();
    let label = format!("{stressed}GB");
    Cell {
        mode,
        link: "local".to_owned(),
        label,
        stressed,
        limit: 0.3,
        delay: 0.0,
        runs,
        scaled: NO,
        whole: NO,
    }
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
    laws(cells)
        .into_iter()
        .filter(|finding| finding.verdict == verdict)
        .map(|finding| finding.law)
        .collect()
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
    assert_eq!(
        not_holding(&lawful(1), Verdict::Holds),
        [Law::Completes],
        "four cells of one run each"
    );
}

#[test]
fn each_law_can_be_broken_and_no_other_with_it() {
    let broken = |mode, change: fn(f64, &mut Run)| {
        not_holding(&spoiled(lawful(10), mode, change), Verdict::Broken)
    };
    // Beyond the threshold one of ten gets through; or below it one does not.
    assert_eq!(
        broken(Mode::Precopy, |w, run| run.completed |= w == 0.3 && run.repeat == 3),
        [Law::Threshold]
    );
    assert_eq!(
        broken(Mode::Precopy, |w, run| run.completed &= w != 0.1 || run.repeat != 3),
        [Law::Threshold]
    );
    assert_eq!(
        broken(Mode::Precopy, |_, run| run.blackout = run.blackout.map(|s| s * 2.0)),
        [Law::Blackout]
    );
    assert_eq!(
        broken(Mode::Precopy, |_, run| run.blackout = run.blackout.map(|s| s / 2.0)),
        [Law::Blackout]
    );
    assert_eq!(broken(Mode::Hybrid, |w, run| run.total = Some(w * w)), [Law::Straight]);
    // Pages that are sent once.
    assert_eq!(broken(Mode::Hybrid, |w, run| run.bytes = Some(0.7 + w)), [Law::Bytes]);
    assert_eq!(
        broken(Mode::Hybrid, |w, run| run.completed &= w != 4.0 || run.repeat != 9),
        [Law::Completes]
    );
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
    assert_eq!(
        (line(&[]), line(&[(1.0, 2.0)]), line(&[(1.0, 2.0), (1.0, 3.0)])),
        (None, None, None)
    );
}

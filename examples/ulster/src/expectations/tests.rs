//! Checks the expectations on artificial runs: all of them hold on expected runs, and each one can
//! be violated alone.

use super::super::cells::{PaperCell, PaperPrediction, PaperRun};
use super::super::scale::GB;
use super::postcopy::fit_line;
use super::{Expectation, Verdict, check_expectations};
use scenario::Mode;

const NO_PREDICTION: PaperPrediction =
    PaperPrediction { completes: true, total: 0.0, blackout: None, bytes: 0.0 };
/// 8 Gb/s in GB/s.
const BANDWIDTH: f64 = 1e9 / GB;

fn cell(mode: Mode, stressed: f64, runs: u32, run: impl Fn(f64) -> PaperRun) -> PaperCell {
    // Every run has slightly different figures.
    let noise = |repeat: u32| 1.0 + 0.002 * (f64::from(repeat * 7 % 5) - 2.0);
    let runs = (1..=runs).map(|repeat| PaperRun { repeat, ..run(noise(repeat)) }).collect();
    let label = format!("{stressed}GB");
    PaperCell {
        mode,
        link: "local".to_owned(),
        label,
        stressed_gb: stressed,
        limit: 0.3,
        delay: 0.0,
        runs,
        our_size: NO_PREDICTION,
        full_size: NO_PREDICTION,
    }
}

fn run(completed: bool, postcopy: bool, [total, blackout, bytes]: [f64; 3]) -> PaperRun {
    PaperRun {
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

/// Returns cells that meet all expectations: pre-copy converges up to B × L = 0.28 GB, and hybrid
/// completes beyond it.
fn expected_cells(runs: u32) -> Vec<PaperCell> {
    let precopy = |stressed: f64| {
        cell(Mode::Precopy, stressed, runs, move |noise| {
            run(stressed < 0.28, false, [1.0, stressed / BANDWIDTH * noise + 0.01, 0.7 + stressed])
        })
    };
    let hybrid = |stressed: f64| {
        cell(Mode::Hybrid, stressed, runs, move |noise| {
            run(true, true, [(0.7 + 2.0 * stressed) * noise, 0.2 * noise, 0.7 + 2.0 * stressed])
        })
    };
    [0.1, 0.26, 0.3].map(precopy).into_iter().chain([1.0, 2.0, 4.0, 8.0].map(hybrid)).collect()
}

/// Lists the expectations with this verdict.
fn with_verdict(cells: &[PaperCell], verdict: Verdict) -> Vec<Expectation> {
    check_expectations(cells)
        .into_iter()
        .filter(|finding| finding.verdict == verdict)
        .map(|finding| finding.expectation)
        .collect()
}

fn change_runs(
    mut cells: Vec<PaperCell>,
    mode: Mode,
    change: impl Fn(f64, &mut PaperRun),
) -> Vec<PaperCell> {
    for cell in cells.iter_mut().filter(|cell| cell.mode == mode) {
        let stressed = cell.stressed_gb;
        cell.runs.iter_mut().for_each(|run| change(stressed, run));
    }
    cells
}

#[test]
fn expected_cells_meet_all_expectations() {
    for runs in [2, 3, 10] {
        let all = check_expectations(&expected_cells(runs));
        assert!(all.iter().all(|finding| finding.verdict == Verdict::Holds), "{all:#?}");
        assert_eq!(all.len(), 6);
    }
}

#[test]
fn one_run_is_too_few_to_decide() {
    assert_eq!(with_verdict(&expected_cells(1), Verdict::Violated), []);
    assert_eq!(
        with_verdict(&expected_cells(1), Verdict::Holds),
        [Expectation::Completes],
        "four cells of one run each"
    );
}

#[test]
fn each_expectation_can_be_violated_alone() {
    let violated = |mode, change: fn(f64, &mut PaperRun)| {
        with_verdict(&change_runs(expected_cells(10), mode, change), Verdict::Violated)
    };
    // One of ten converges beyond the threshold, or one of ten does not below it.
    assert_eq!(
        violated(Mode::Precopy, |w, run| run.completed |= w == 0.3 && run.repeat == 3),
        [Expectation::Threshold]
    );
    assert_eq!(
        violated(Mode::Precopy, |w, run| run.completed &= w != 0.1 || run.repeat != 3),
        [Expectation::Threshold]
    );
    assert_eq!(
        violated(Mode::Precopy, |_, run| run.blackout = run.blackout.map(|s| s * 2.0)),
        [Expectation::PrecopyBlackout]
    );
    assert_eq!(
        violated(Mode::Precopy, |_, run| run.blackout = run.blackout.map(|s| s / 2.0)),
        [Expectation::PrecopyBlackout]
    );
    assert_eq!(violated(Mode::Hybrid, |w, run| run.total = Some(w * w)), [Expectation::LinearTime]);
    // Pages are sent only once.
    assert_eq!(
        violated(Mode::Hybrid, |w, run| run.bytes = Some(0.7 + w)),
        [Expectation::BytesSent]
    );
    assert_eq!(
        violated(Mode::Hybrid, |w, run| run.completed &= w != 4.0 || run.repeat != 9),
        [Expectation::Completes]
    );
    // The blackout includes a tenth of the memory.
    assert_eq!(
        violated(Mode::Hybrid, |w, run| run.blackout = Some(0.1 * w / BANDWIDTH)),
        [Expectation::ConstantBlackout]
    );
}

#[test]
fn contradicting_runs_are_too_few_to_decide() {
    let contradicting = change_runs(expected_cells(10), Mode::Hybrid, |w, run| {
        if run.repeat % 2 == 0 {
            run.bytes = Some(0.7 + w);
        }
    });
    assert_eq!(with_verdict(&contradicting, Verdict::TooFewRuns), [Expectation::BytesSent]);
}

#[test]
fn without_cells_near_the_threshold_it_is_undecided() {
    let mut cells = expected_cells(10);
    cells.retain(|cell| cell.stressed_gb != 0.26);
    assert_eq!(
        with_verdict(&cells, Verdict::TooFewRuns),
        [Expectation::Threshold, Expectation::PrecopyBlackout]
    );
    assert_eq!(check_expectations(&[]), []);
}

#[test]
fn a_line_fits_its_points() {
    assert_eq!(fit_line(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Some((1.0, 2.0)));
    assert_eq!(
        (fit_line(&[]), fit_line(&[(1.0, 2.0)]), fit_line(&[(1.0, 2.0), (1.0, 3.0)])),
        (None, None, None)
    );
}

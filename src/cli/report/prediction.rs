//! A prediction on the terminal: what was measured of a VM, the predicted migration, and its
//! outcome.

use super::columns::LabelledLines;
use super::judgement::{LABEL_COLUMNS, bytes, format_judgement_with};
use model::{Judgement, Prediction, Setup, Spread, Verdict, time};
use record::{Outcome, Summary};
use std::fmt::Write;
use switchover::capture::{Captured, Seen};

/// Formats a judgement with what was measured and the uncertainty of the prediction.
#[must_use]
pub fn format_prediction(
    captured: &Captured,
    setup: &Setup,
    judgement: &Judgement,
    spread: &Spread,
) -> String {
    let mut lines = LabelledLines::new(LABEL_COLUMNS);
    lines.push(
        "measured",
        format!(
            "QEMU {}, {} RAM, at most {} of it not zero; {}",
            captured.version,
            bytes(setup.ram),
            bytes(setup.filled),
            format_method(&captured.seen)
        ),
    );
    if spread.of > 1 {
        lines.push("uncertainty", format_spread(spread));
    }
    for note in &captured.notes {
        lines.push("note", note);
    }
    format_judgement_with(setup, judgement, lines)
}

/// The range of the predictions from which one measurement at a time was left out.
fn format_spread(spread: &Spread) -> String {
    let range = |(low, high): (f64, f64), format: fn(f64) -> String| {
        format!("{} to {}", format(low), format(high))
    };
    let blackout = spread
        .blackout
        .map_or_else(String::new, |blackout| format!(", blackout {}", range(blackout, time)));
    let converging = if spread.converging == spread.of || spread.converging == 0 {
        String::new()
    } else {
        format!("; only {} of {} fits converge", spread.converging, spread.of)
    };
    let (total, sent) = (range(spread.total, time), range(spread.bytes, bytes));
    format!("without one measurement at a time: {total}, {sent} sent{blackout}{converging}")
}

/// Says how the VM was measured.
fn format_method(seen: &Seen) -> String {
    match seen {
        Seen::DirtyRate(measured) => {
            format!("calc-dirty-rate over {} periods", measured.dirtied.len())
        }
        Seen::Migration(observed) => {
            format!("{} passes of the running migration", observed.later())
        }
    }
}

/// Formats the prediction beside the outcome.
#[must_use]
pub fn format_verification(judgement: &Judgement, run: &Summary) -> String {
    let Prediction { converges, total, bytes: sent, blackout, .. } = &judgement.prediction;
    let result = match (judgement.verdict, run.outcome) {
        (Verdict::Barely, _) => "the prediction was undecided",
        (_, Outcome::Completed | Outcome::NotConverged)
            if *converges == (run.outcome == Outcome::Completed) =>
        {
            "as predicted"
        }
        (_, Outcome::Completed | Outcome::NotConverged) => "NOT as predicted",
        _ => "the migration ended before the prediction could be checked",
    };
    let mut text = format!("\n{}: {result}\n", run.outcome.name());
    let mut line = |name: &str, predicted: f64, actual: Option<f64>, format: fn(f64) -> String| {
        let Some(actual) = actual else { return };
        let error = if actual > 0.0 {
            format!(", {:+.1} %", (predicted / actual - 1.0) * 100.0)
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "  {name:<13} predicted {}, was {}{error}",
            format(predicted),
            format(actual)
        );
    };
    let seconds = |us: Option<u64>| us.map(|us| us as f64 / 1e6);
    if *converges {
        line("total", *total, seconds(run.time_us.total), time);
        line(
            "blackout",
            blackout.unwrap_or(0.0),
            seconds(run.downtime.best.as_ref().map(|best| best.us)),
            time,
        );
    }
    line("sent", *sent, run.transfer.total_bytes.map(|bytes| bytes as f64), bytes);
    text.push('\n');
    text
}

/// Formats the comment lines at the top of a captured scenario.
#[must_use]
pub fn format_capture_header(
    captured: &Captured,
    scale: u32,
    of_vm: &Judgement,
    of_lab: &Judgement,
) -> String {
    let mut text = String::new();
    let (workload, verdict) = (&captured.workload, of_vm.verdict.sentence());
    let _ = writeln!(
        text,
        "# Captured from QEMU {} by {}.",
        captured.version,
        format_method(&captured.seen)
    );
    let _ = writeln!(
        text,
        "# Its guest writes {} at {}/s, and has filled {} of {} RAM.",
        bytes(workload.working_set()),
        bytes(workload.rate()),
        bytes(captured.filled),
        bytes(captured.ram)
    );
    let _ = writeln!(text, "# The model predicts of its migration: {verdict}.");
    if scale > 1 {
        let _ = writeln!(
            text,
            "# All sizes and rates below are divided by {scale}; times are the same."
        );
    }
    if of_lab.verdict != of_vm.verdict {
        let _ = writeln!(
            text,
            "# The model predicts of the scenario below: {}.",
            of_lab.verdict.sentence()
        );
    }
    for note in &captured.notes {
        let _ = writeln!(text, "# Note: {note}.");
    }
    text
}

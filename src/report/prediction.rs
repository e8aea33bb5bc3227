//! What was measured of a VM and predicted of its migration; and whether that came true.

use super::judgement::{bytes, format_judgement};
use crate::capture::{Captured, Seen};
use crate::convergence::{Judgement, Prediction, Setup, Spread, Verdict, time};
use crate::record::{Outcome, Summary};
use std::fmt::Write;

/// The page of a judgement, with what was measured and how sure it is.
#[must_use]
pub fn format_prediction(
    captured: &Captured,
    setup: &Setup,
    judged: &Judgement,
    spread: &Spread,
) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, what: String| {
        let _ = writeln!(lines, "  {name:<13} {what}");
    };
    line(
        "measured",
        format!(
            "QEMU {}, {} RAM of which {} may not be zero; {}",
            captured.version,
            bytes(setup.ram),
            bytes(setup.filled),
            by(&captured.seen)
        ),
    );
    if spread.of > 1 {
        let range = |(low, high): (f64, f64), text: fn(f64) -> String| {
            format!("{} to {}", text(low), text(high))
        };
        let blackout = spread
            .blackout
            .map_or_else(String::new, |blackout| format!(", blackout {}", range(blackout, time)));
        let agreeing = if spread.converging == spread.of || spread.converging == 0 {
            String::new()
        } else {
            format!("; only {} of {} fits converge", spread.converging, spread.of)
        };
        let (total, sent) = (range(spread.total, time), range(spread.bytes, bytes));
        line(
            "how sure",
            format!(
                "leaving out one measurement at a time: {total}, {sent} sent{blackout}{agreeing}"
            ),
        );
    }
    for note in &captured.notes {
        line("note", note.clone());
    }
    let mut text = format_judgement(setup, judged);
    let after_verdict = text.find('\n').map_or(0, |at| at + 1);
    text.insert_str(after_verdict, &lines);
    text
}

fn by(seen: &Seen) -> String {
    match seen {
        Seen::DirtyRate(measured) => {
            format!("calc-dirty-rate over {} periods", measured.dirtied.len())
        }
        Seen::Migration(observed) => {
            format!("{} passes of the migration that goes on", observed.later())
        }
    }
}

/// Prediction against outcome.
#[must_use]
pub fn format_verification(judged: &Judgement, run: &Summary) -> String {
    let Prediction { converges, total, bytes: sent, blackout, .. } = &judged.prediction;
    let came_true = match (judged.verdict, run.outcome) {
        (Verdict::Barely, _) => "it could have been either",
        (_, Outcome::Completed | Outcome::NotConverged)
            if *converges == (run.outcome == Outcome::Completed) =>
        {
            "as predicted"
        }
        (_, Outcome::Completed | Outcome::NotConverged) => "NOT as predicted",
        _ => "neither was tried to its end",
    };
    let mut text = format!("\n{}: {came_true}\n", run.outcome.name());
    let mut line = |name: &str, predicted: f64, was: Option<f64>, of: fn(f64) -> String| {
        let Some(was) = was else { return };
        let off = if was > 0.0 {
            format!(", {:+.1} %", (predicted / was - 1.0) * 100.0)
        } else {
            String::new()
        };
        let _ = writeln!(text, "  {name:<13} predicted {}, was {}{off}", of(predicted), of(was));
    };
    let seconds = |us: Option<u64>| us.map(|us| us as f64 / 1e6);
    if *converges {
        line("total", *total, seconds(run.time_us.total), time);
        line(
            "blackout",
            blackout.unwrap_or_default(),
            seconds(run.downtime.best.as_ref().map(|best| best.us)),
            time,
        );
    }
    line("sent", *sent, run.transfer.total_bytes.map(|bytes| bytes as f64), bytes);
    text.push('\n');
    text
}

/// Comment lines above a captured scenario.
#[must_use]
pub fn format_capture_header(
    captured: &Captured,
    scale: u32,
    real: &Judgement,
    lab: &Judgement,
) -> String {
    let mut text = String::new();
    let (workload, verdict) = (&captured.workload, real.verdict.sentence());
    let _ = writeln!(text, "# Captured from QEMU {} by {}.", captured.version, by(&captured.seen));
    let _ = writeln!(
        text,
        "# Its guest writes {} at {}/s, and holds {} of {} RAM.",
        bytes(workload.working_set()),
        bytes(workload.rate()),
        bytes(captured.filled),
        bytes(captured.ram)
    );
    let _ = writeln!(text, "# Its migration, by the model: {verdict}.");
    if scale > 1 {
        let _ = writeln!(
            text,
            "# Here all sizes and rates are divided by {scale}; times stay the same."
        );
    }
    if lab.verdict != real.verdict {
        let _ = writeln!(text, "# In the lab, as it is set here: {}.", lab.verdict.sentence());
    }
    for note in &captured.notes {
        let _ = writeln!(text, "# Note: {note}.");
    }
    text
}

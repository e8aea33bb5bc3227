//! The model's judgement of a migration on the terminal.

use super::columns::LabelledLines;
use analysis::Diagnosis;
use base::units::human_bytes;
use model::{Boundaries, Judgement, Prediction, Setup, Textbook, Workload, time};
use record::Outcome;
use std::fmt::Write;

/// Width of the labels.
pub(super) const LABEL_COLUMNS: usize = 13;
/// The size of the plot in columns and rows.
const COLUMNS: usize = 64;
const ROWS: usize = 8;

/// Formats a judgement: the verdict, the prediction, what would help, and a plot of pending bytes.
#[must_use]
pub fn format_judgement(setup: &Setup, judgement: &Judgement) -> String {
    format_judgement_with(setup, judgement, LabelledLines::new(LABEL_COLUMNS))
}

/// As [`format_judgement`], with `lines` after the verdict.
pub(super) fn format_judgement_with(
    setup: &Setup,
    judgement: &Judgement,
    mut lines: LabelledLines,
) -> String {
    lines.push("needs", format_condition(setup));
    lines.push("guest", format_workload(&setup.workload));
    push_prediction(&mut lines, &judgement.prediction);
    lines.push("textbook", format_textbook(&judgement.textbook));
    let bounds = format_bounds(&judgement.boundaries);
    if !bounds.is_empty() {
        lines.push("converges at", format!("{bounds} (each alone)"));
    }
    let remedies = judgement.remedies.iter();
    lines.push_all(
        "remedies",
        remedies.map(|remedy| format!("{} → {} ({})", remedy.setting, remedy.effect, remedy.harm)),
    );
    let plot = format_plot(&judgement.prediction.passes, setup.threshold());
    format!("{}\n{}{plot}", judgement.verdict.sentence(), lines.into_text())
}

/// The condition under which QEMU switches over.
fn format_condition(setup: &Setup) -> String {
    let (bandwidth, is_limited) = setup.bandwidth();
    let limit = if is_limited { "max-bandwidth" } else { "the network" };
    format!(
        "at most {} pending: {}/s (limited by {limit}) × downtime-limit {}",
        bytes(setup.threshold()),
        bytes(setup.switchover_bandwidth.unwrap_or(bandwidth)),
        time(setup.downtime_limit)
    )
}

fn format_workload(workload: &Workload) -> String {
    format!(
        "writes {} at {}/s; after a sync it dirties {} in 100 ms, {} in 1 s",
        bytes(workload.working_set()),
        bytes(workload.rate()),
        bytes(workload.dirtied(0.1)),
        bytes(workload.dirtied(1.0))
    )
}

fn push_prediction(lines: &mut LabelledLines, prediction: &Prediction) {
    let (total, sent) = (time(prediction.total), bytes(prediction.bytes));
    lines.push(
        "predicted",
        if prediction.converges {
            let blackout = prediction
                .blackout
                .map_or_else(String::new, |blackout| format!(", blackout {}", time(blackout)));
            format!("completes in {total}{blackout}, {sent} sent, {} syncs", prediction.syncs)
        } else {
            format!(
                "cancelled after {total}, {sent} sent; pending falls to {}, expected-downtime {}",
                bytes(prediction.pending),
                time(prediction.expected_downtime)
            )
        },
    );
    if prediction.throttle > 0.0 {
        lines.push("throttle", format!("{:.0} % at the end", prediction.throttle * 100.0));
    }
    if let Some(postcopy) = &prediction.postcopy {
        let (seconds, blocked, fault) =
            (time(postcopy.seconds), time(postcopy.blocked), time(postcopy.fault));
        let faults = postcopy.faults;
        lines.push(
            "post-copy",
            format!(
                "{seconds}; the guest waits {blocked} in total for {faults:.0} pages, {fault} each"
            ),
        );
    }
}

fn format_textbook(textbook: &Textbook) -> String {
    let result = if textbook.converges {
        format!("completes in {}", time(textbook.total))
    } else {
        "never".to_owned()
    };
    format!("{result}, expected-downtime {}", time(textbook.expected_downtime))
}

/// The limits of each setting within which the migration converges; empty if there are none.
fn format_bounds(boundaries: &Boundaries) -> String {
    let all = [
        boundaries.rate.map(|rate| format!("write rate ≤ {}/s", bytes(rate))),
        boundaries.working_set.map(|set| format!("working set ≤ {}", bytes(set))),
        boundaries.bandwidth.map(|rate| format!("bandwidth ≥ {}/s", bytes(rate))),
        boundaries.downtime_limit.map(|limit| format!("downtime-limit ≥ {}", time(limit))),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Formats what a run showed, and the judgement of the workload that was fitted to it.
#[must_use]
pub fn format_diagnosis(diagnosis: &Diagnosis) -> String {
    let observed = &diagnosis.observed;
    let outcome = diagnosis
        .outcome
        .map_or_else(|| "still running, or ended without a result".to_owned(), Outcome::name);
    let passes = observed.passes.len().saturating_sub(1);
    let mut text = format!("{outcome}: {passes} syncs in {} samples", observed.samples);
    if let Some(rate) = observed.bandwidth {
        let _ = write!(text, ", {}/s", bytes(rate));
    }
    if let Some(floor) = observed.floor() {
        let _ = write!(text, ", minimum pending {}", bytes(floor));
    }
    if let Some(expected) = observed.expected_downtime {
        let _ = write!(text, ", expected-downtime {}", time(expected));
    }
    let mut lines = LabelledLines::new(LABEL_COLUMNS);
    lines.push("observed", text);
    format_judgement_with(&diagnosis.setup, &diagnosis.judgement, lines)
}

/// Formats the header of the table that `simulate --sweep` prints.
#[must_use]
pub fn format_value_sweep_header(key: &str) -> String {
    format!(
        "{key:>24}  {:<32} {:>10} {:>10} {:>10}  textbook\n",
        "verdict", "total", "blackout", "sent"
    )
}

/// Formats one row of the table that `simulate --sweep` prints.
#[must_use]
pub fn format_value_sweep_row(value: &str, judgement: &Judgement) -> String {
    let Judgement { verdict, prediction, textbook, .. } = judgement;
    let blackout = prediction.blackout.map_or_else(|| "none".to_owned(), time);
    let textbook = if textbook.converges { time(textbook.total) } else { "never".to_owned() };
    format!(
        "{value:>24}  {:<32} {:>10} {blackout:>10} {:>10}  {textbook}\n",
        verdict.name(),
        time(prediction.total),
        bytes(prediction.bytes)
    )
}

/// Plots the pending bytes after each sync, and the threshold as a horizontal line.
fn format_plot(passes: &[(f64, f64)], threshold: f64) -> String {
    let (Some(last), Some(highest)) =
        (passes.last(), passes.iter().map(|pass| pass.1).max_by(f64::total_cmp))
    else {
        return String::new();
    };
    let top = highest.max(threshold) * 1.05;
    if passes.len() < 2 || top <= 0.0 || last.0 <= 0.0 {
        return String::new();
    }
    let mut rows = vec![vec![' '; COLUMNS]; ROWS];
    let row = |value: f64| ROWS - 1 - step(value / top, ROWS);
    rows[row(threshold)].fill('-');
    for (seconds, pending) in passes {
        rows[row(*pending)][step(seconds / (last.0 * 1.001), COLUMNS)] = '•';
    }
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let label = if index == 0 {
            bytes(top)
        } else if index == ROWS - 1 {
            "0".to_owned()
        } else {
            String::new()
        };
        let _ = writeln!(text, "  {label:>10} │{}", row.iter().collect::<String>().trim_end());
    }
    let _ = writeln!(
        text,
        "  {:>10} └{} {}\n  {:>10}  • pending after each sync   - threshold for the switchover",
        "",
        "─".repeat(COLUMNS),
        time(last.0),
        ""
    );
    text
}

/// The index of the step in which `share` (0 to 1) falls, of `steps` equal ones.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn step(share: f64, steps: usize) -> usize {
    ((share * steps as f64).max(0.0) as usize).min(steps - 1)
}

/// Formats a number of bytes that the model computed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded for display; not negative"
)]
pub(super) fn bytes(value: f64) -> String {
    human_bytes(value.max(0.0) as u64)
}

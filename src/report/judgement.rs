//! The model's judgement of a migration on the terminal.

use crate::convergence::{Diagnosis, Judgement, Setup, time};
use crate::record::Outcome;
use crate::units::human_bytes;
use std::fmt::Write;

/// The size of the plot in columns and rows.
const COLUMNS: usize = 64;
const ROWS: usize = 8;

/// Formats a judgement: the verdict, the prediction, what would help, and a plot of pending bytes.
#[must_use]
pub fn format_judgement(setup: &Setup, judgement: &Judgement) -> String {
    let Judgement { verdict, prediction, textbook, boundaries, remedies } = judgement;
    let mut text = format!("{}\n", verdict.sentence());
    let mut line = |name: &str, what: String| {
        let _ = writeln!(text, "  {name:<13} {what}");
    };
    let (bandwidth, limited) = setup.bandwidth();
    let limit = if limited { "max-bandwidth" } else { "the network" };
    line(
        "needs",
        format!(
            "at most {} pending: {}/s (limited by {limit}) × downtime-limit {}",
            bytes(setup.threshold()),
            bytes(setup.switchover_bandwidth.unwrap_or(bandwidth)),
            time(setup.downtime_limit)
        ),
    );
    line(
        "guest",
        format!(
            "writes {} at {}/s; after a sync it dirties {} in 100 ms, {} in 1 s",
            bytes(setup.workload.working_set()),
            bytes(setup.workload.rate()),
            bytes(setup.workload.dirtied(0.1)),
            bytes(setup.workload.dirtied(1.0))
        ),
    );
    if prediction.converges {
        let blackout = prediction
            .blackout
            .map_or_else(String::new, |blackout| format!(", blackout {}", time(blackout)));
        line(
            "predicted",
            format!(
                "completes in {}{blackout}, {} sent, {} syncs",
                time(prediction.total),
                bytes(prediction.bytes),
                prediction.syncs
            ),
        );
    } else {
        line(
            "predicted",
            format!(
                "cancelled after {}, {} sent; pending falls to {}, expected-downtime {}",
                time(prediction.total),
                bytes(prediction.bytes),
                bytes(prediction.pending),
                time(prediction.expected_downtime)
            ),
        );
    }
    if prediction.throttle > 0.0 {
        line("throttle", format!("{:.0} % at the end", prediction.throttle * 100.0));
    }
    if let Some(postcopy) = prediction.postcopy {
        let (seconds, blocked, fault) =
            (time(postcopy.seconds), time(postcopy.blocked), time(postcopy.fault));
        line(
            "post-copy",
            format!(
                "{seconds}; the guest waits {blocked} in total for {:.0} pages, {fault} each",
                postcopy.faults
            ),
        );
    }
    let textbooks = if textbook.converges {
        format!("completes in {}", time(textbook.total))
    } else {
        "never".to_owned()
    };
    line(
        "textbook",
        format!("{textbooks}, expected-downtime {}", time(textbook.expected_downtime)),
    );
    let bounds = [
        ("write rate", boundaries.rate.map(|rate| format!("≤ {}/s", bytes(rate)))),
        ("working set", boundaries.working_set.map(|set| format!("≤ {}", bytes(set)))),
        ("bandwidth", boundaries.bandwidth.map(|rate| format!("≥ {}/s", bytes(rate)))),
        ("downtime-limit", boundaries.downtime_limit.map(|limit| format!("≥ {}", time(limit)))),
    ];
    let bounds: Vec<String> =
        bounds.into_iter().filter_map(|(name, bound)| Some(format!("{name} {}", bound?))).collect();
    if !bounds.is_empty() {
        line("converges at", format!("{} (each alone)", bounds.join(", ")));
    }
    for (index, remedy) in remedies.iter().enumerate() {
        line(
            if index == 0 { "remedies" } else { "" },
            format!("{} → {} ({})", remedy.setting, remedy.effect, remedy.harm),
        );
    }
    text.push_str(&format_plot(&prediction.passes, setup.threshold()));
    text
}

/// Formats what a run showed, and the judgement of the workload that was fitted to it.
#[must_use]
pub fn format_diagnosis(diagnosis: &Diagnosis) -> String {
    let observed = &diagnosis.observed;
    let ended = diagnosis
        .outcome
        .map_or_else(|| "still running, or ended without a result".to_owned(), Outcome::name);
    let rate = observed.bandwidth.map_or_else(String::new, |rate| format!(", {}/s", bytes(rate)));
    let floor = observed
        .floor()
        .map_or_else(String::new, |floor| format!(", minimum pending {}", bytes(floor)));
    let expected = observed
        .expected_downtime
        .map_or_else(String::new, |expected| format!(", expected-downtime {}", time(expected)));
    let passes = observed.passes.len().saturating_sub(1);
    let mut text = format_judgement(&diagnosis.setup, &diagnosis.judgement);
    let line = format!(
        "  {:<13} {ended}: {passes} syncs in {} samples{rate}{floor}{expected}\n",
        "observed", observed.samples
    );
    let after_verdict = text.find('\n').map_or(0, |at| at + 1);
    text.insert_str(after_verdict, &line);
    text
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

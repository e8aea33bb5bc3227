//! A comparison on the terminal: sentences, a table of the figures, and a drawing of metrics with
//! several modes.
//!
//! The most important comes first: runs that failed, then differences, then metrics without a
//! significant difference, then metrics with too few values. Within each, metrics keep their order.

pub(super) mod figures;
mod metrics;
mod modes;
mod sentences;
mod table;

use analysis::Comparison;
use std::fmt::Write;

/// Formats a comparison as a page of text.
#[must_use]
pub fn format_comparison(comparison: &Comparison) -> String {
    let mut text = format_head(comparison);
    for line in sentences::format_sentences(comparison) {
        let _ = writeln!(text, "{line}");
    }
    if comparison.cells.is_empty() {
        return text;
    }
    let _ = write!(text, "\n{}", table::format_table(comparison));
    for drawing in modes::draw_metrics(comparison) {
        let _ = write!(text, "\n{drawing}");
    }
    text
}

fn format_head(comparison: &Comparison) -> String {
    let (a, b) = (&comparison.a, &comparison.b);
    let cells = if comparison.cells.len() == 1 {
        String::new()
    } else {
        format!(", {} cells", comparison.cells.len())
    };
    let pairs = comparison
        .pairs
        .map_or_else(|| ", not paired".to_owned(), |pairs| format!(", {pairs} pairs"));
    format!("{} against {}: {} and {} runs{cells}{pairs}\n", b.name, a.name, b.runs, a.runs)
}

#[cfg(test)]
mod tests;

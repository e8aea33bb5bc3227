//! Drawings of metrics that have several modes: both sides on one axis.

use super::super::columns::LEVELS;
use super::figures::format_value;
use super::metrics::metric_by_cell;
use analysis::Comparison;
use analysis::compare::{MetricComparison, SampleSummary};
use std::fmt::Write;

/// At most this many metrics are drawn; `--json` has the modes of all of them.
const MAX_DRAWINGS: usize = 4;

/// Draws each metric of each cell that has several modes on a side, the most important first.
pub(super) fn draw_metrics(comparison: &Comparison) -> Vec<String> {
    let columns = comparison.cells.first().map_or(0, |cell| cell.metrics.len());
    let all = (0..columns).flat_map(|column| metric_by_cell(&comparison.cells, column));
    let drawn = all.filter_map(|(cell, figures)| {
        let place = if comparison.cells.len() > 1 { format!(" in {cell}") } else { String::new() };
        draw(comparison, figures, &place)
    });
    let mut drawn: Vec<String> = drawn.collect();
    let more = drawn.len().saturating_sub(MAX_DRAWINGS);
    drawn.truncate(MAX_DRAWINGS);
    if more > 0 {
        drawn.push(format!("{more} more have several modes\n"));
    }
    drawn
}

fn draw(comparison: &Comparison, figures: &MetricComparison, place: &str) -> Option<String> {
    let (a, b) = (figures.a.histogram.as_ref()?, figures.b.histogram.as_ref()?);
    let name_width = comparison.a.name.chars().count().max(comparison.b.name.chars().count());
    let mut text = format!(
        "{}{place} has several modes, so its median describes none of them\n",
        figures.label
    );
    for (name, side, counts) in
        [(&comparison.a.name, &figures.a, a), (&comparison.b.name, &figures.b, b)]
    {
        let _ = writeln!(
            text,
            "  {name:<name_width$}  │{}│ {}",
            draw_bars(counts),
            format_modes(side, figures)
        );
    }
    let ends = [&figures.a, &figures.b].into_iter().filter_map(|side| side.modes.as_ref());
    let (min, max) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), modes| {
        let first = modes.first().map_or(min, |mode| mode.least);
        (min.min(first), modes.last().map_or(max, |mode| max.max(mode.greatest)))
    });
    let (min, max) = (format_value(min, figures.unit), format_value(max, figures.unit));
    let between = (a.len() + 2).saturating_sub(min.chars().count());
    let _ = writeln!(text, "  {:name_width$}  {min}{max:>between$}", "");
    Some(text)
}

/// Formats the modes of one side: "4.01 ms (65 %), 43.1 ms (35 %)".
fn format_modes(side: &SampleSummary, figures: &MetricComparison) -> String {
    let Some(modes) = &side.modes else { return "too few values to find modes".to_owned() };
    if let [only] = modes.as_slice() {
        return format_value(only.center, figures.unit);
    }
    let modes = modes.iter().map(|mode| {
        format!("{} ({:.0} %)", format_value(mode.center, figures.unit), mode.share * 100.0)
    });
    modes.collect::<Vec<_>>().join(", ")
}

/// Draws each count as a bar in proportion to the largest. A count of at least 1 is always visible.
fn draw_bars(counts: &[usize]) -> String {
    let largest = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &usize| match count.checked_sub(1) {
        None => ' ',
        Some(_) => LEVELS[(count * (LEVELS.len() - 1)).div_ceil(largest).min(LEVELS.len() - 1)],
    };
    counts.iter().map(bar).collect()
}

//! Several modes, as a drawing of both sides on one axis.

use super::of_column;
use super::words::value;
use crate::campaign::Comparison;
use crate::campaign::compare::{MetricComparison, SampleSummary};
use std::fmt::Write;

/// Drawings. All modes are in the JSON.
const MOST: usize = 4;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One for each metric of a cell that has several modes on a side, the most important first.
pub(super) fn drawings(comparison: &Comparison) -> Vec<String> {
    let columns = comparison.cells.first().map_or(0, |cell| cell.metrics.len());
    let all = (0..columns).flat_map(|column| of_column(&comparison.cells, column));
    let drawn = all.filter_map(|(cell, figures)| {
        let place = if comparison.cells.len() > 1 { format!(" in {cell}") } else { String::new() };
        drawing(comparison, figures, &place)
    });
    let mut drawn: Vec<String> = drawn.collect();
    let more = drawn.len().saturating_sub(MOST);
    drawn.truncate(MOST);
    if more > 0 {
        drawn.push(format!("{more} more have several modes\n"));
    }
    drawn
}

fn drawing(comparison: &Comparison, figures: &MetricComparison, place: &str) -> Option<String> {
    let (a, b) = (figures.a.histogram.as_ref()?, figures.b.histogram.as_ref()?);
    let name_width = comparison.a.name.chars().count().max(comparison.b.name.chars().count());
    let mut text =
        format!("{}{place} has several modes, and no median stands for them\n", figures.label);
    for (name, side, counts) in
        [(&comparison.a.name, &figures.a, a), (&comparison.b.name, &figures.b, b)]
    {
        let _ =
            writeln!(text, "  {name:<name_width$}  │{}│ {}", bars(counts), named(side, figures));
    }
    let ends = [&figures.a, &figures.b].into_iter().filter_map(|side| side.modes.as_ref());
    let (least, most) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), modes| {
        let first = modes.first().map_or(least, |mode| mode.least);
        (least.min(first), modes.last().map_or(most, |mode| most.max(mode.greatest)))
    });
    let (least, most) = (value(least, figures.unit), value(most, figures.unit));
    let between = (a.len() + 2).saturating_sub(least.chars().count());
    let _ = writeln!(text, "  {:name_width$}  {least}{most:>between$}", "");
    Some(text)
}

/// "4.01 ms (65 %), 43.1 ms (35 %)".
fn named(side: &SampleSummary, figures: &MetricComparison) -> String {
    let Some(modes) = &side.modes else { return "too few to tell modes apart".to_owned() };
    if let [only] = modes.as_slice() {
        return value(only.center, figures.unit);
    }
    let named = modes
        .iter()
        .map(|mode| format!("{} ({:.0} %)", value(mode.center, figures.unit), mode.share * 100.0));
    named.collect::<Vec<_>>().join(", ")
}

/// In proportion to the fullest column; what there is can be seen, however little.
fn bars(counts: &[usize]) -> String {
    let fullest = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &usize| match count.checked_sub(1) {
        None => ' ',
        Some(_) => LEVELS[(count * (LEVELS.len() - 1)).div_ceil(fullest).min(LEVELS.len() - 1)],
    };
    counts.iter().map(bar).collect()
}

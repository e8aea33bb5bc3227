//! The results of a comparison in sentences.

use super::figures::{
    format_change_after_verb, format_change_interval, format_change_only, format_proportion,
};
use super::metrics::{all_columns, measured_columns, metric_by_cell, sides_with_values};
use analysis::compare::{
    CellComparison, Change, Completion, CompletionCount, ExcludedValues, MetricComparison,
    Unmatched, Verdict,
};
use analysis::{Comparison, MetricUnit};

/// At most this many cells are named; `--json` has all of them.
const MAX_NAMED: usize = 3;

/// Formats the sentences, the most important first.
pub(super) fn format_sentences(comparison: &Comparison) -> Vec<String> {
    let mut lines = format_unmatched(comparison);
    if comparison.cells.is_empty() {
        lines.push("the two have no cell in common: nothing can be compared".to_owned());
        return lines;
    }
    lines.extend(format_completions(comparison));
    lines.extend(match (comparison.pooled.as_slice(), comparison.cells.as_slice()) {
        ([], [only]) => format_metrics(comparison, &only.metrics, ""),
        ([], _) => format_by_cell(comparison),
        _ => format_pooled(comparison),
    });
    lines.extend(format_excluded(comparison));
    lines.extend(format_not_compared(comparison));
    lines
}

/// Names the cells and metrics that only one side has.
fn format_unmatched(comparison: &Comparison) -> Vec<String> {
    let sides =
        [(&comparison.a.name, &comparison.only_in_a), (&comparison.b.name, &comparison.only_in_b)];
    let line = |(name, only): (&String, &Unmatched)| {
        let kinds = [("cells", &only.cells), ("metrics", &only.metrics)];
        let named = kinds
            .iter()
            .filter(|(_, all)| !all.is_empty())
            .map(|(kind, all)| format!("{kind} {}", join_first(all)));
        let named: Vec<String> = named.collect();
        (!named.is_empty())
            .then(|| format!("not compared, because only {name} has them: {}", named.join("; ")))
    };
    sides.into_iter().filter_map(line).collect()
}

fn join_first(all: &[String]) -> String {
    let named = all.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        Some(more) => format!("{named} and {more} more"),
        None => named,
    }
}

/// Says how many runs completed, if not all. Failed runs are a result too, and all other figures
/// are of completed runs only.
fn format_completions(comparison: &Comparison) -> Vec<String> {
    let all = &comparison.completion;
    let mut lines = Vec::new();
    if all.a.completed < all.a.runs || all.b.completed < all.b.runs {
        lines.push(format_completion(comparison, all, ""));
    }
    if comparison.cells.len() > 1 {
        let differ = |cell: &&CellComparison| {
            matches!(cell.completion.verdict, Verdict::Lower | Verdict::Higher)
        };
        let cells = comparison.cells.iter().filter(differ).take(MAX_NAMED);
        lines.extend(cells.map(|cell| {
            format_completion(comparison, &cell.completion, &format!("in {}: ", cell.cell))
        }));
    }
    lines
}

fn format_completion(comparison: &Comparison, completion: &Completion, place: &str) -> String {
    let count = |side: &CompletionCount| {
        let percent = side
            .share
            .as_ref()
            .map_or_else(String::new, |all| format!(" ({})", format_proportion(all)));
        format!("{} of {} runs{percent}", side.completed, side.runs)
    };
    let (a, b) = (&comparison.a.name, &comparison.b.name);
    let (claim, confidence) = match completion.verdict {
        Verdict::Lower => (format!("{b} completes less often"), ", 95 % sure"),
        Verdict::Higher => (format!("{b} completes more often"), ", 95 % sure"),
        Verdict::NoDifferenceShown => ("completed".to_owned(), ", no difference shown"),
        Verdict::TooFew => ("completed".to_owned(), ", too few runs to say more"),
    };
    format!(
        "{place}{claim}: {} against {} of {a}{confidence}",
        count(&completion.b),
        count(&completion.a)
    )
}

/// Formats metrics with a significant difference, then those without one, then those with too few
/// values. `scope` follows each difference.
fn format_metrics(
    comparison: &Comparison,
    metrics: &[MetricComparison],
    scope: &str,
) -> Vec<String> {
    let measured: Vec<&MetricComparison> =
        measured_columns(comparison).into_iter().filter_map(|column| metrics.get(column)).collect();
    let mut lines: Vec<String> = measured
        .iter()
        .filter_map(|figures| format_difference(comparison, figures, scope))
        .collect();
    lines.extend(format_no_difference(&measured));
    lines.extend(format_too_few(&measured));
    lines
}

/// Formats a significant difference: "B cuts the blackout by 61 % (55 to 66 %), 95 % sure".
fn format_difference(
    comparison: &Comparison,
    figures: &MetricComparison,
    scope: &str,
) -> Option<String> {
    let verb = match figures.verdict {
        Verdict::Lower => "cuts",
        Verdict::Higher => "raises",
        Verdict::NoDifferenceShown | Verdict::TooFew => return None,
    };
    let change = format_change_after_verb(figures.change.as_ref()?, figures.unit);
    let several = if has_several_modes(figures) { "; it has several modes, see below" } else { "" };
    Some(format!(
        "{} {verb} the {} {change}{scope}, 95 % sure{several}",
        comparison.b.name, figures.label
    ))
}

fn has_several_modes(figures: &MetricComparison) -> bool {
    figures.a.histogram.is_some()
}

fn format_no_difference(metrics: &[&MetricComparison]) -> Option<String> {
    let format_one = |figures: &&MetricComparison| {
        let several = if has_several_modes(figures) { ", several modes" } else { "" };
        Some(format!(
            "{} ({}{several})",
            figures.label,
            format_change_interval(figures.change.as_ref()?, figures.unit)
        ))
    };
    let all = metrics
        .iter()
        .filter(|figures| figures.verdict == Verdict::NoDifferenceShown)
        .filter_map(format_one);
    let all: Vec<String> = all.collect();
    (!all.is_empty()).then(|| format!("no difference shown: {}", all.join(", ")))
}

fn format_too_few(metrics: &[&MetricComparison]) -> Option<String> {
    let mut few: Vec<&MetricComparison> =
        metrics.iter().copied().filter(|figures| figures.verdict == Verdict::TooFew).collect();
    let needed = few.iter().filter_map(|figures| figures.needed).max()?;
    let values = |figures: &MetricComparison| (figures.b.values, figures.a.values);
    few.sort_by_key(|figures| values(figures));
    let groups = few.chunk_by(|one, two| values(one) == values(two)).map(|alike| {
        let labels: Vec<&str> = alike.iter().map(|figures| figures.label.as_str()).collect();
        let (b, a) = values(alike[0]);
        format!("{} ({b} and {a} values)", labels.join(", "))
    });
    let groups: Vec<String> = groups.collect();
    Some(format!("too few values to compare {}; each side needs {needed}", groups.join(", ")))
}

/// Counts the cells with a difference for each metric. Without pairs the cells have no common
/// scale, so their changes cannot be pooled.
fn format_by_cell(comparison: &Comparison) -> Vec<String> {
    measured_columns(comparison)
        .into_iter()
        .filter_map(|column| count_cells(comparison, column))
        .collect()
}

fn count_cells(comparison: &Comparison, column: usize) -> Option<String> {
    let all: Vec<&MetricComparison> =
        metric_by_cell(&comparison.cells, column).map(|(_, figures)| figures).collect();
    let with = |verdict| {
        all.iter().copied().filter(move |figures: &&MetricComparison| figures.verdict == verdict)
    };
    let mut parts = Vec::new();
    for (verdict, word) in [(Verdict::Lower, "lower"), (Verdict::Higher, "higher")] {
        let found = with(verdict).count();
        if found > 0 {
            parts.push(format!(
                "{word} in {found} of {} cells{}",
                all.len(),
                format_range_of_changes(with(verdict))
            ));
        }
    }
    let (none, few) = (with(Verdict::NoDifferenceShown).count(), with(Verdict::TooFew).count());
    if none > 0 {
        parts.push(format!("no difference shown in {none}"));
    }
    if few > 0 {
        let needed = with(Verdict::TooFew).filter_map(|figures| figures.needed).max().unwrap_or(0);
        parts.push(format!("too few values in {few} (each side needs {needed})"));
    }
    Some(format!("{}: {}", all.first()?.label, parts.join(", ")))
}

/// Formats the range of the changes, from the smallest to the largest.
fn format_range_of_changes<'a>(figures: impl Iterator<Item = &'a MetricComparison>) -> String {
    let mut changes: Vec<(&Change, MetricUnit)> =
        figures.filter_map(|figures| Some((figures.change.as_ref()?, figures.unit))).collect();
    let size = |change: &Change| {
        change
            .ratio
            .map_or(change.difference.value.abs(), |ratio| ratio.value.max(1.0 / ratio.value))
    };
    changes.sort_by(|one, two| size(one.0).total_cmp(&size(two.0)));
    let short = |(change, unit): &(&Change, MetricUnit)| format_change_only(change, *unit);
    match changes.as_slice() {
        [] => String::new(),
        [only] => format!(" ({})", short(only)),
        [min, .., max] => format!(" ({} to {})", short(min), short(max)),
    }
}

/// Formats the metrics over all pairs, and in how many cells alone there is a difference.
fn format_pooled(comparison: &Comparison) -> Vec<String> {
    let mut lines = format_metrics(comparison, &comparison.pooled, ", pair by pair");
    let shows = |column: &usize| {
        metric_by_cell(&comparison.cells, *column).any(|(_, figures)| figures.shows_difference())
    };
    let columns = measured_columns(comparison).into_iter().filter(shows);
    lines.extend(
        columns.filter_map(|column| {
            Some(format!("cell by cell, {}", count_cells(comparison, column)?))
        }),
    );
    lines
}

/// Says how many values were excluded, and why.
fn format_excluded(comparison: &Comparison) -> Vec<String> {
    let (a, b) = (&comparison.a.name, &comparison.b.name);
    let sides = [
        format_excluded_of(comparison, a, |figures| figures.a.left_out),
        format_excluded_of(comparison, b, |figures| figures.b.left_out),
    ];
    sides.into_iter().flatten().collect()
}

fn format_excluded_of(
    comparison: &Comparison,
    name: &str,
    of: impl Fn(&MetricComparison) -> ExcludedValues,
) -> Option<String> {
    let measured = measured_columns(comparison);
    let mut parts = Vec::new();
    let counts = |column: usize| {
        metric_by_cell(&comparison.cells, column)
            .fold(ExcludedValues::default(), |sum, (_, figures)| sum.plus(of(figures)))
    };
    let not_completed = counts(0).not_completed;
    if not_completed > 0 {
        parts.push(format!("runs that did not complete: {not_completed}"));
    }
    let mut add = |reason: &str, part: &dyn Fn(ExcludedValues) -> usize| {
        let labels = measured
            .iter()
            .map(|column| (part(counts(*column)), &comparison.cells[0].metrics[*column].label));
        let labels = labels
            .filter(|(count, _)| *count > 0)
            .map(|(count, label)| format!("{count} of {label}"));
        let labels: Vec<String> = labels.collect();
        if !labels.is_empty() {
            parts.push(format!("{reason}: {}", labels.join(", ")));
        }
    };
    add("not measured", &|left_out| left_out.not_measured);
    add("without partner", &|left_out| left_out.without_partner);
    (!parts.is_empty()).then(|| format!("excluded from {name}'s figures: {}", parts.join("; ")))
}

/// Names the metrics that one side or both have no value of.
fn format_not_compared(comparison: &Comparison) -> Vec<String> {
    let line = |sides: [bool; 2], words: String| {
        let labels = all_columns(comparison)
            .filter(|column| sides_with_values(comparison, *column) == sides);
        let labels: Vec<&str> =
            labels.map(|column| comparison.cells[0].metrics[column].label.as_str()).collect();
        (!labels.is_empty()).then(|| format!("{words}: {}", labels.join(", ")))
    };
    let lines = [
        line([true, false], format!("measured only in {}", comparison.a.name)),
        line([false, true], format!("measured only in {}", comparison.b.name)),
        line([false, false], "measured on neither side".to_owned()),
    ];
    lines.into_iter().flatten().collect()
}

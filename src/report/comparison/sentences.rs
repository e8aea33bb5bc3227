//! What a comparison comes to, in sentences.

use super::words::{by_how_much, change_alone, share, within};
use super::{columns, measured, of_column, sides_with};
use crate::campaign::compare::{
    CellComparison, Change, Completion, CompletionCount, ExcludedValues, MetricComparison,
    Unmatched, Verdict,
};
use crate::campaign::{Comparison, MetricUnit};

/// Cells that are named. All of them are in the JSON.
const NAMED: usize = 3;

/// The most important first.
pub(super) fn sentences(comparison: &Comparison) -> Vec<String> {
    let mut lines = missing(comparison);
    if comparison.cells.is_empty() {
        lines.push("the two have no cell in common: nothing can be compared".to_owned());
        return lines;
    }
    lines.extend(completion(comparison));
    lines.extend(match (comparison.pooled.as_slice(), comparison.cells.as_slice()) {
        ([], [only]) => plain(comparison, &only.metrics, ""),
        ([], _) => by_cell(comparison),
        _ => together(comparison),
    });
    lines.extend(left_out(comparison));
    lines.extend(not_compared(comparison));
    lines
}

/// What only one of the two has.
fn missing(comparison: &Comparison) -> Vec<String> {
    let sides =
        [(&comparison.a.name, &comparison.only_in_a), (&comparison.b.name, &comparison.only_in_b)];
    let line = |(name, only): (&String, &Unmatched)| {
        let kinds = [("cells", &only.cells), ("metrics", &only.metrics)];
        let named = kinds
            .iter()
            .filter(|(_, all)| !all.is_empty())
            .map(|(kind, all)| format!("{kind} {}", some_of(all)));
        let named: Vec<String> = named.collect();
        (!named.is_empty())
            .then(|| format!("not compared, because only {name} has them: {}", named.join("; ")))
    };
    sides.into_iter().filter_map(line).collect()
}

fn some_of(all: &[String]) -> String {
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(NAMED).filter(|more| *more > 0) {
        Some(more) => format!("{named} and {more} more"),
        None => named,
    }
}

/// Runs that failed are a result, and what the others show is of those that did not.
fn completion(comparison: &Comparison) -> Vec<String> {
    let all = &comparison.completion;
    let mut lines = Vec::new();
    if all.a.completed < all.a.runs || all.b.completed < all.b.runs {
        lines.push(completed(comparison, all, ""));
    }
    if comparison.cells.len() > 1 {
        let differ = |cell: &&CellComparison| {
            matches!(cell.completion.verdict, Verdict::Lower | Verdict::Higher)
        };
        let cells = comparison.cells.iter().filter(differ).take(NAMED);
        lines.extend(
            cells.map(|cell| {
                completed(comparison, &cell.completion, &format!("in {}: ", cell.cell))
            }),
        );
    }
    lines
}

fn completed(comparison: &Comparison, completion: &Completion, place: &str) -> String {
    let of = |side: &CompletionCount| {
        let percent =
            side.share.as_ref().map(|all| format!(" ({})", share(all))).unwrap_or_default();
        format!("{} of {} runs{percent}", side.completed, side.runs)
    };
    let (a, b) = (&comparison.a.name, &comparison.b.name);
    let (claim, sure) = match completion.verdict {
        Verdict::Lower => (format!("{b} completes less often"), ", 95 % sure"),
        Verdict::Higher => (format!("{b} completes more often"), ", 95 % sure"),
        Verdict::NoDifferenceShown => ("completed".to_owned(), ", no difference shown"),
        Verdict::TooFew => ("completed".to_owned(), ", too few to say more"),
    };
    format!("{place}{claim}: {} against {} of {a}{sure}", of(&completion.b), of(&completion.a))
}

/// Claims, then what was not shown, then what cannot be said.
fn plain(comparison: &Comparison, metrics: &[MetricComparison], over: &str) -> Vec<String> {
    let measured: Vec<&MetricComparison> =
        measured(comparison).into_iter().filter_map(|column| metrics.get(column)).collect();
    let mut lines: Vec<String> =
        measured.iter().filter_map(|figures| claim(comparison, figures, over)).collect();
    lines.extend(not_shown(&measured));
    lines.extend(too_few(&measured));
    lines
}

/// "B cuts the blackout by 61 % (55 to 66 %), 95 % sure".
fn claim(comparison: &Comparison, figures: &MetricComparison, over: &str) -> Option<String> {
    let verb = match figures.verdict {
        Verdict::Lower => "cuts",
        Verdict::Higher => "raises",
        Verdict::NoDifferenceShown | Verdict::TooFew => return None,
    };
    let much = by_how_much(figures.change.as_ref()?, figures.unit);
    let several = if has_several_modes(figures) { "; it has several modes, see below" } else { "" };
    Some(format!(
        "{} {verb} the {} {much}{over}, 95 % sure{several}",
        comparison.b.name, figures.label
    ))
}

fn has_several_modes(figures: &MetricComparison) -> bool {
    figures.a.histogram.is_some()
}

fn not_shown(metrics: &[&MetricComparison]) -> Option<String> {
    let of = |figures: &&MetricComparison| {
        let several = if has_several_modes(figures) { ", several modes" } else { "" };
        Some(format!(
            "{} ({}{several})",
            figures.label,
            within(figures.change.as_ref()?, figures.unit)
        ))
    };
    let all = metrics
        .iter()
        .filter(|figures| figures.verdict == Verdict::NoDifferenceShown)
        .filter_map(of);
    let all: Vec<String> = all.collect();
    (!all.is_empty()).then(|| format!("no difference shown: {}", all.join(", ")))
}

fn too_few(metrics: &[&MetricComparison]) -> Option<String> {
    let mut few: Vec<&MetricComparison> =
        metrics.iter().copied().filter(|figures| figures.verdict == Verdict::TooFew).collect();
    let needed = few.iter().filter_map(|figures| figures.needed).max()?;
    let values = |figures: &MetricComparison| (figures.b.values, figures.a.values);
    few.sort_by_key(|figures| values(figures));
    let together = few.chunk_by(|one, two| values(one) == values(two)).map(|alike| {
        let labels: Vec<&str> = alike.iter().map(|figures| figures.label.as_str()).collect();
        let (b, a) = values(alike[0]);
        format!("{} ({b} and {a} values)", labels.join(", "))
    });
    let together: Vec<String> = together.collect();
    Some(format!(
        "too few to say anything of {}; {needed} on each side are needed",
        together.join(", ")
    ))
}

/// Cells without pairs have no common scale: they are counted.
fn by_cell(comparison: &Comparison) -> Vec<String> {
    measured(comparison).into_iter().filter_map(|column| counted(comparison, column)).collect()
}

fn counted(comparison: &Comparison, column: usize) -> Option<String> {
    let all: Vec<&MetricComparison> =
        of_column(&comparison.cells, column).map(|(_, figures)| figures).collect();
    let with = |verdict| {
        all.iter().copied().filter(move |figures: &&MetricComparison| figures.verdict == verdict)
    };
    let mut parts = Vec::new();
    for (verdict, words) in [(Verdict::Lower, "lower"), (Verdict::Higher, "higher")] {
        let found = with(verdict).count();
        if found > 0 {
            parts.push(format!(
                "{words} in {found} of {} cells{}",
                all.len(),
                spread(with(verdict))
            ));
        }
    }
    let (none, few) = (with(Verdict::NoDifferenceShown).count(), with(Verdict::TooFew).count());
    if none > 0 {
        parts.push(format!("no difference shown in {none}"));
    }
    if few > 0 {
        let needed = with(Verdict::TooFew).filter_map(|figures| figures.needed).max().unwrap_or(0);
        parts.push(format!("too few to say in {few} ({needed} values on each side are needed)"));
    }
    Some(format!("{}: {}", all.first()?.label, parts.join(", ")))
}

/// From the least to the greatest change.
fn spread<'a>(figures: impl Iterator<Item = &'a MetricComparison>) -> String {
    let mut changes: Vec<(&Change, MetricUnit)> =
        figures.filter_map(|figures| Some((figures.change.as_ref()?, figures.unit))).collect();
    let size = |change: &Change| {
        change
            .ratio
            .map_or(change.difference.value.abs(), |ratio| ratio.value.max(1.0 / ratio.value))
    };
    changes.sort_by(|one, two| size(one.0).total_cmp(&size(two.0)));
    let short = |(change, unit): &(&Change, MetricUnit)| change_alone(change, *unit);
    match changes.as_slice() {
        [] => String::new(),
        [only] => format!(" ({})", short(only)),
        [least, .., most] => format!(" ({} to {})", short(least), short(most)),
    }
}

/// Over all pairs, and in which of the cells something shows by itself.
fn together(comparison: &Comparison) -> Vec<String> {
    let mut lines = plain(comparison, &comparison.pooled, ", pair by pair");
    let shows = |column: &usize| {
        of_column(&comparison.cells, *column).any(|(_, figures)| figures.shows_difference())
    };
    let columns = measured(comparison).into_iter().filter(shows);
    lines.extend(
        columns
            .filter_map(|column| Some(format!("cell by cell, {}", counted(comparison, column)?))),
    );
    lines
}

/// How many values could not be used, and why.
fn left_out(comparison: &Comparison) -> Vec<String> {
    let (a, b) = (&comparison.a.name, &comparison.b.name);
    let sides = [
        left_out_of(comparison, a, |figures| figures.a.left_out),
        left_out_of(comparison, b, |figures| figures.b.left_out),
    ];
    sides.into_iter().flatten().collect()
}

fn left_out_of(
    comparison: &Comparison,
    name: &str,
    of: impl Fn(&MetricComparison) -> ExcludedValues,
) -> Option<String> {
    let measured = measured(comparison);
    let mut parts = Vec::new();
    let counts = |column: usize| {
        of_column(&comparison.cells, column)
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
    (!parts.is_empty()).then(|| format!("left out of {name}'s figures: {}", parts.join("; ")))
}

/// Metrics that one side or both have no value of.
fn not_compared(comparison: &Comparison) -> Vec<String> {
    let line = |sides: [bool; 2], words: String| {
        let labels = columns(comparison).filter(|column| sides_with(comparison, *column) == sides);
        let labels: Vec<&str> =
            labels.map(|column| comparison.cells[0].metrics[column].label.as_str()).collect();
        (!labels.is_empty()).then(|| format!("{words}: {}", labels.join(", ")))
    };
    let lines = [
        line([true, false], format!("measured of {} only", comparison.a.name)),
        line([false, true], format!("measured of {} only", comparison.b.name)),
        line([false, false], "measured on neither side".to_owned()),
    ];
    lines.into_iter().flatten().collect()
}

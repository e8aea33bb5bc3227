//! Tables II and III of the paper with our measurements. The paper's own cells are not available,
//! except for those that its text states. Pure.

use super::cells::{PaperCell, PaperPrediction, RunFigure, find_cell};
use analysis::statistics::Estimate;
use scenario::Mode;
use std::fmt::Write;

/// All links in the paper's order. The last is not in the paper.
pub(super) const LINKS: [&str; 4] = ["local", "dublin", "halifax", "gigabit"];
/// The stressed memory of the campaigns with post-copy.
const SIZES: [&str; 5] = ["thin", "1GB", "2GB", "4GB", "8GB"];
/// The total times of table II that the paper's text states, in seconds.
pub(super) const STATED: [(&str, &str, f64); 6] = [
    ("local", "thin", 7.2),
    ("dublin", "thin", 11.2),
    ("halifax", "thin", 11.3),
    ("local", "8GB", 41.1),
    ("dublin", "8GB", 151.2),
    ("halifax", "8GB", 152.8),
];

/// Formats seconds with three significant digits, such as `14.7 s [14.6, 14.9]`.
pub(super) fn format_seconds(estimate: Option<Estimate>) -> String {
    estimate
        .map_or_else(|| "–".to_owned(), |seen| format_estimate(seen, "s", decimals_for(seen.value)))
}

/// Formats seconds as milliseconds, such as `212 ms [205, 230]`.
pub(super) fn format_millis(estimate: Option<Estimate>) -> String {
    let scaled = |seen: Estimate| Estimate {
        value: seen.value * 1e3,
        low: seen.low.map(|low| low * 1e3),
        high: seen.high.map(|high| high * 1e3),
    };
    estimate.map_or_else(|| "–".to_owned(), |seen| format_estimate(scaled(seen), "ms", 0))
}

/// Formats a figure with its interval, if it has one.
pub(super) fn format_estimate(seen: Estimate, unit: &str, decimals: usize) -> String {
    let ends = seen
        .low
        .zip(seen.high)
        .map(|(low, high)| format!(" [{low:.decimals$}, {high:.decimals$}]"));
    format!("{:.decimals$} {unit}{}", seen.value, ends.unwrap_or_default())
}

/// Returns the number of decimals that give three significant digits.
pub(super) fn decimals_for(value: f64) -> usize {
    if value >= 9.995 { 1 } else { 2 }
}

/// Makes table II: total times of post-copy.
pub(super) fn table_two(cells: &[PaperCell]) -> String {
    let stated = |link: &str, label: &str| {
        STATED.iter().find(|row| (row.0, row.1) == (link, label)).map(|row| format!("{} s", row.2))
    };
    let model = |predicted: &PaperPrediction| {
        format!("{:.*} s", decimals_for(predicted.total), predicted.total)
    };
    table(cells, &stated, |run| run.total, format_seconds, &model)
}

/// Makes table III: blackouts of post-copy.
pub(super) fn table_three(cells: &[PaperCell]) -> String {
    let stated = |link: &str, _: &str| (link != "gigabit").then(|| "200–700 ms".to_owned());
    let model = |predicted: &PaperPrediction| {
        predicted
            .blackout
            .map_or_else(|| "–".to_owned(), |seconds| format!("{:.0} ms", seconds * 1e3))
    };
    table(cells, &stated, |run| run.blackout, format_millis, &model)
}

fn table(
    cells: &[PaperCell],
    stated: &dyn Fn(&str, &str) -> Option<String>,
    figure: RunFigure,
    format: fn(Option<Estimate>) -> String,
    model: &dyn Fn(&PaperPrediction) -> String,
) -> String {
    let mut text = "| link | stressed | the paper's text | hybrid, here | model, full size | \
        post-copy, here | model, full size |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (link, label) in
        LINKS.iter().flat_map(|link| SIZES.iter().map(move |label| (*link, *label)))
    {
        let of = |mode: Mode| find_cell(cells, mode, link, label);
        let both = [Mode::Hybrid, Mode::Postcopy].map(of);
        if both.iter().all(Option::is_none) {
            continue;
        }
        let ours = both.map(|cell| {
            cell.map_or_else(
                || "–".to_owned(),
                |cell| format!("{}{}", format(cell.median(figure)), footnote_mark(cell)),
            )
        });
        let models =
            both.map(|cell| cell.map_or_else(|| "–".to_owned(), |cell| model(&cell.full_size)));
        let [hybrid, postcopy] = ours;
        let [of_hybrid, of_postcopy] = models;
        let paper = stated(link, label).unwrap_or_else(|| "–".to_owned());
        let _ = writeln!(
            text,
            "| {link} | {label} | {paper} | {hybrid} | {of_hybrid} | {postcopy} | {of_postcopy} |"
        );
    }
    text
}

/// Returns the mark of the footnote that a hybrid migration completed by pre-copy alone.
fn footnote_mark(cell: &PaperCell) -> &'static str {
    if cell.completed_runs().any(|run| run.postcopy) { "" } else { " ¹" }
}

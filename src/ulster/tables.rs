//! Tables II and III, filled with what was measured here: the paper's own cells are not to be had, but for those that its text states. Pure.

use super::cells::{Cell, Figure, Predicted};
use super::checklist::find;
use crate::campaign::statistics::Estimate;
use crate::scenario::Mode;
use std::fmt::Write;

/// Every link, in the paper's order; the last is ours.
pub(super) const LINKS: [&str; 4] = ["local", "dublin", "halifax", "gigabit"];
/// Every size of the campaigns with post-copy.
const SIZES: [&str; 5] = ["thin", "1GB", "2GB", "4GB", "8GB"];
/// What the paper's text says of Table II, s.
pub(super) const STATED: [(&str, &str, f64); 6] = [
    ("local", "thin", 7.2),
    ("dublin", "thin", 11.2),
    ("halifax", "thin", 11.3),
    ("local", "8GB", 41.1),
    ("dublin", "8GB", 151.2),
    ("halifax", "8GB", 152.8),
];

/// `14.7 s [14.6, 14.9]`: as many decimals as three digits take.
pub(super) fn seconds(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(|| "–".to_owned(), |seen| bracketed(seen, "s", digits(seen.value)))
}

/// `212 ms [205, 230]`.
pub(super) fn millis(estimate: Option<Estimate>) -> String {
    let scaled = |seen: Estimate| Estimate {
        value: seen.value * 1e3,
        low: seen.low.map(|low| low * 1e3),
        high: seen.high.map(|high| high * 1e3),
    };
    estimate.map_or_else(|| "–".to_owned(), |seen| bracketed(scaled(seen), "ms", 0))
}

/// With its interval, where there is one.
pub(super) fn bracketed(seen: Estimate, unit: &str, decimals: usize) -> String {
    let ends = seen
        .low
        .zip(seen.high)
        .map(|(low, high)| format!(" [{low:.decimals$}, {high:.decimals$}]"));
    format!("{:.decimals$} {unit}{}", seen.value, ends.unwrap_or_default())
}

pub(super) fn digits(value: f64) -> usize {
    if value >= 9.995 { 1 } else { 2 }
}

/// Total times of post-copy.
pub(super) fn second(cells: &[Cell]) -> String {
    let stated = |link: &str, label: &str| {
        STATED.iter().find(|row| (row.0, row.1) == (link, label)).map(|row| format!("{} s", row.2))
    };
    let model =
        |predicted: &Predicted| format!("{:.*} s", digits(predicted.total), predicted.total);
    table(cells, &stated, |run| run.total, seconds, &model)
}

/// Blackouts of post-copy.
pub(super) fn third(cells: &[Cell]) -> String {
    let stated = |link: &str, _: &str| (link != "gigabit").then(|| "200–700 ms".to_owned());
    let model = |predicted: &Predicted| {
        predicted
            .blackout
            .map_or_else(|| "–".to_owned(), |seconds| format!("{:.0} ms", seconds * 1e3))
    };
    table(cells, &stated, |run| run.blackout, millis, &model)
}

fn table(
    cells: &[Cell],
    stated: &dyn Fn(&str, &str) -> Option<String>,
    figure: Figure,
    shown: fn(Option<Estimate>) -> String,
    model: &dyn Fn(&Predicted) -> String,
) -> String {
    let mut text = "| link | stressed | the paper's text | hybrid, here | model, full size | post-copy, here | model, full size |\n|---|---|---|---|---|---|---|\n".to_owned();
    for (link, label) in
        LINKS.iter().flat_map(|link| SIZES.iter().map(move |label| (*link, *label)))
    {
        let of = |mode: Mode| find(cells, mode, link, label);
        let both = [Mode::Hybrid, Mode::Postcopy].map(of);
        if both.iter().all(Option::is_none) {
            continue;
        }
        let ours = both.map(|cell| {
            cell.map_or_else(
                || "–".to_owned(),
                |cell| format!("{}{}", shown(cell.median(figure)), mark(cell)),
            )
        });
        let models =
            both.map(|cell| cell.map_or_else(|| "–".to_owned(), |cell| model(&cell.whole)));
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

/// Says where a hybrid got through by pre-copy alone.
fn mark(cell: &Cell) -> &'static str {
    if cell.completed().any(|run| run.postcopy) { "" } else { " ¹" }
}

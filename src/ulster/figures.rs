//! Figures 6 to 9 with our measurements, and the points that the paper's text states. Pure.

use super::cells::{Cell, Figure};
use super::plot::{Plot, Point, Series, Stroke};
use super::scale::Scale;
use super::store::{Curve, Evidence};
use super::tables::STATED;
use crate::campaign::statistics::{Estimate, SortedValues};
use crate::scenario::Mode;

/// Links, and their colours for hybrid and for post-copy.
const LINKS: [(&str, &str, &str); 4] = [
    ("local", "#1a7f37", "#8fce9e"),
    ("dublin", "#0550ae", "#8db9ee"),
    ("halifax", "#b3261e", "#eea19c"),
    ("gigabit", "#666666", "#bbbbbb"),
];
/// Slots of a curve a second of ours.
const SLOTS: f64 = 20.0;
/// The paper's points.
const PAPER: &str = "#7a4d00";

/// File names, and what they hold.
#[must_use]
pub fn figures(evidence: &Evidence) -> Vec<(&'static str, String)> {
    let cells = &evidence.cells;
    vec![
        ("figure-6.svg", sixth(cells).svg()),
        ("figure-7.svg", seventh(cells).svg()),
        ("figure-8.svg", eighth(cells).svg()),
        ("figure-9.svg", ninth(&evidence.curves).svg()),
    ]
}

fn point(x: f64, seen: Estimate, factor: f64) -> Point {
    Point {
        x,
        y: seen.value * factor,
        ends: seen.low.zip(seen.high).map(|(low, high)| (low * factor, high * factor)),
    }
}

fn series(
    cells: &[&Cell],
    name: String,
    colour: &'static str,
    figure: Figure,
    factor: f64,
) -> Series {
    let mut points: Vec<Point> = cells
        .iter()
        .filter_map(|cell| Some(point(cell.stressed, cell.median(figure)?, factor)))
        .collect();
    points.sort_by(|one, other| one.x.total_cmp(&other.x));
    Series { name, colour, stroke: Stroke::Solid, points }
}

fn of<'a>(cells: &'a [Cell], mode: Mode, link: &str) -> Vec<&'a Cell> {
    cells
        .iter()
        .filter(|cell| cell.mode == mode && cell.link == link && cell.limit < 0.35)
        .collect()
}

fn sixth(cells: &[Cell]) -> Plot {
    let mut all = Vec::new();
    let in_mb = |mut series: Series| {
        series.points.iter_mut().for_each(|point| point.x *= 1024.0);
        series
    };
    for (link, colour, _) in &LINKS[..3] {
        let mine = of(cells, Mode::Precopy, link);
        all.push(in_mb(series(&mine, (*link).to_owned(), colour, |run| run.total, 1.0)));
        let stuck =
            mine.iter().filter(|cell| !cell.runs.is_empty() && cell.completed().count() == 0);
        let given_up = |cell: &&&Cell| {
            let seen =
                SortedValues::new(cell.runs.iter().filter_map(|run| run.total)).quantile(50)?;
            Some(Point { ends: None, ..point(cell.stressed, seen, 1.0) })
        };
        let points = stuck.filter_map(|cell| given_up(&cell)).collect();
        all.push(in_mb(Series {
            name: format!("{link}, given up"),
            colour,
            stroke: Stroke::Crosses,
            points,
        }));
    }
    let stated = vec![Point { x: 400.0, y: 15.0, ends: None }];
    all.push(Series {
        name: "the paper, local".to_owned(),
        colour: PAPER,
        stroke: Stroke::Rings,
        points: stated,
    });
    Plot {
        title: "Figure 6: pre-copy, total time".to_owned(),
        x: "stressed memory, MB",
        y: "s",
        series: all,
    }
}

fn both_modes(cells: &[Cell], links: usize, figure: Figure, factor: f64) -> Vec<Series> {
    let mut all = Vec::new();
    for (link, dark, light) in &LINKS[..links] {
        for (mode, name, colour) in
            [(Mode::Hybrid, "hybrid", dark), (Mode::Postcopy, "post-copy", light)]
        {
            let mut mine = of(cells, mode, link);
            // What pre-copy alone brought over is no post-copy.
            mine.retain(|cell| cell.completed().all(|run| run.postcopy));
            if !mine.is_empty() {
                all.push(series(&mine, format!("{link}, {name}"), colour, figure, factor));
            }
        }
    }
    all
}

fn seventh(cells: &[Cell]) -> Plot {
    let mut all = both_modes(cells, LINKS.len(), |run| run.total, 1.0);
    let stated = |(_, label, seconds): (&str, &str, f64)| Point {
        x: if label == "thin" { 0.0 } else { 8.0 },
        y: seconds,
        ends: None,
    };
    let points = STATED.into_iter().map(stated).collect();
    all.push(Series {
        name: "the paper's text".to_owned(),
        colour: PAPER,
        stroke: Stroke::Rings,
        points,
    });
    Plot {
        title: "Figure 7: post-copy, total time".to_owned(),
        x: "stressed memory, GB",
        y: "s",
        series: all,
    }
}

fn eighth(cells: &[Cell]) -> Plot {
    let mut all = both_modes(cells, 3, |run| run.blackout, 1e3);
    let span = |x: f64| Point { x, y: 450.0, ends: Some((200.0, 700.0)) };
    all.push(Series {
        name: "the paper, 200–700".to_owned(),
        colour: PAPER,
        stroke: Stroke::Area,
        points: vec![span(0.0), span(8.0)],
    });
    Plot {
        title: "Figure 8: post-copy, blackout".to_owned(),
        x: "stressed memory, GB",
        y: "ms",
        series: all,
    }
}

fn ninth(curves: &[Curve]) -> Plot {
    let scale = Scale::of_campaign("ulster-volume").unwrap_or(Scale { rate: 1.0, time: 1.0 });
    let of_link = |(link, colour, _): &(&str, &'static str, &str)| {
        let mine: Vec<&Curve> =
            curves.iter().filter(|curve| curve.link == *link && curve.mode == "hybrid").collect();
        let longest = mine.iter().map(|curve| curve.bytes.len()).max().unwrap_or(0);
        let points = (0..longest).filter_map(|slot| at(&mine, slot, scale)).collect();
        Series { name: (*link).to_owned(), colour, stroke: Stroke::Band, points }
    };
    let series = LINKS[..3].iter().map(of_link).collect();
    Plot { title: "Figure 9: hybrid of 2 GB, over the link".to_owned(), x: "s", y: "Gb/s", series }
}

/// What passed in a slot, over all runs; nothing of one that had ended.
#[expect(
    clippy::cast_precision_loss,
    reason = "bytes of 50 ms, and slots of a migration, have fewer than 15 digits"
)]
fn at(curves: &[&Curve], slot: usize, scale: Scale) -> Option<Point> {
    let gbit =
        |curve: &&Curve| scale.gbit(curve.bytes.get(slot).copied().unwrap_or(0) as f64 * SLOTS);
    let seen = SortedValues::new(curves.iter().map(gbit)).quantile(50)?;
    Some(point((slot as f64 + 0.5) / SLOTS * scale.time, seen, 1.0))
}

//! Draws figures 6 to 9 with our measurements, and with the points that the paper's text states.
//! Pure.

use super::cells::{PaperCell, RunFigure};
use super::evidence::{Curve, Evidence};
use super::plot::{Plot, Point, Series, Stroke};
use super::scale::Scale;
use super::tables::STATED;
use analysis::statistics::{Estimate, SortedValues};
use scenario::Mode;

/// The links, and their colours for hybrid and for post-copy.
const LINKS: [(&str, &str, &str); 4] = [
    ("local", "#1a7f37", "#8fce9e"),
    ("dublin", "#0550ae", "#8db9ee"),
    ("halifax", "#b3261e", "#eea19c"),
    ("gigabit", "#666666", "#bbbbbb"),
];
/// The slots of a curve per second of our run.
const SLOTS_PER_SECOND: f64 = 20.0;
/// The colour of the paper's points.
const PAPER: &str = "#7a4d00";

/// Draws the figures, and returns the name and the content of each SVG file.
#[must_use]
pub fn draw_figures(evidence: &Evidence) -> Vec<(&'static str, String)> {
    let cells = &evidence.cells;
    vec![
        ("figure-6.svg", figure_6(cells).to_svg()),
        ("figure-7.svg", figure_7(cells).to_svg()),
        ("figure-8.svg", figure_8(cells).to_svg()),
        ("figure-9.svg", figure_9(&evidence.curves).to_svg()),
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
    cells: &[&PaperCell],
    name: String,
    colour: &'static str,
    figure: RunFigure,
    factor: f64,
) -> Series {
    let mut points: Vec<Point> = cells
        .iter()
        .filter_map(|cell| Some(point(cell.stressed_gb, cell.median(figure)?, factor)))
        .collect();
    points.sort_by(|one, other| one.x.total_cmp(&other.x));
    Series { name, colour, stroke: Stroke::Solid, points }
}

fn cells_of<'a>(cells: &'a [PaperCell], mode: Mode, link: &str) -> Vec<&'a PaperCell> {
    cells
        .iter()
        .filter(|cell| cell.mode == mode && cell.link == link && cell.limit < 0.35)
        .collect()
}

fn figure_6(cells: &[PaperCell]) -> Plot {
    let mut all = Vec::new();
    let in_mb = |mut series: Series| {
        series.points.iter_mut().for_each(|point| point.x *= 1024.0);
        series
    };
    for (link, colour, _) in &LINKS[..3] {
        let mine = cells_of(cells, Mode::Precopy, link);
        all.push(in_mb(series(&mine, (*link).to_owned(), colour, |run| run.total, 1.0)));
        let not_converging =
            mine.iter().filter(|cell| !cell.runs.is_empty() && cell.completed_runs().count() == 0);
        let given_up = |cell: &&&PaperCell| {
            let seen =
                SortedValues::new(cell.runs.iter().filter_map(|run| run.total)).quantile(50)?;
            Some(Point { ends: None, ..point(cell.stressed_gb, seen, 1.0) })
        };
        let points = not_converging.filter_map(|cell| given_up(&cell)).collect();
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

fn both_modes(cells: &[PaperCell], links: usize, figure: RunFigure, factor: f64) -> Vec<Series> {
    let mut all = Vec::new();
    for (link, dark, light) in &LINKS[..links] {
        for (mode, name, colour) in
            [(Mode::Hybrid, "hybrid", dark), (Mode::Postcopy, "post-copy", light)]
        {
            let mut mine = cells_of(cells, mode, link);
            // A hybrid migration that completed by pre-copy alone is not post-copy.
            mine.retain(|cell| cell.completed_runs().all(|run| run.postcopy));
            if !mine.is_empty() {
                all.push(series(&mine, format!("{link}, {name}"), colour, figure, factor));
            }
        }
    }
    all
}

fn figure_7(cells: &[PaperCell]) -> Plot {
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

fn figure_8(cells: &[PaperCell]) -> Plot {
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

fn figure_9(curves: &[Curve]) -> Plot {
    let scale = Scale::of_campaign("ulster-volume").expect("the campaign has a scale");
    let of_link = |(link, colour, _): &(&str, &'static str, &str)| {
        let mine: Vec<&Curve> =
            curves.iter().filter(|curve| curve.link == *link && curve.mode == "hybrid").collect();
        let longest = mine.iter().map(|curve| curve.bytes.len()).max().unwrap_or(0);
        let points = (0..longest).filter_map(|slot| rate_in_slot(&mine, slot, scale)).collect();
        Series { name: (*link).to_owned(), colour, stroke: Stroke::Band, points }
    };
    let series = LINKS[..3].iter().map(of_link).collect();
    Plot { title: "Figure 9: hybrid of 2 GB, over the link".to_owned(), x: "s", y: "Gb/s", series }
}

/// Returns the median rate in a slot over all runs. A run that had ended before counts as 0.
#[expect(
    clippy::cast_precision_loss,
    reason = "the bytes of 50 ms and the number of slots have fewer than 15 digits"
)]
fn rate_in_slot(curves: &[&Curve], slot: usize, scale: Scale) -> Option<Point> {
    let gbit = |curve: &&Curve| {
        scale.gbit(curve.bytes.get(slot).copied().unwrap_or(0) as f64 * SLOTS_PER_SECOND)
    };
    let seen = SortedValues::new(curves.iter().map(gbit)).quantile(50)?;
    Some(point((slot as f64 + 0.5) / SLOTS_PER_SECOND * scale.time, seen, 1.0))
}

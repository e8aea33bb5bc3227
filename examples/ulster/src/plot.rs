//! Draws lines over two axes as SVG. Pure.

use std::fmt::Write;

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 168.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
const LABELS: f64 = 6.0;

/// A point with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    /// The ends of the interval in y, if there is one.
    pub(super) ends: Option<(f64, f64)>,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    /// A line with marks and intervals.
    Solid,
    /// Rings without a line, for the paper's points.
    Rings,
    /// Crosses without a line, for migrations that were given up.
    Crosses,
    /// A line with its intervals as an area.
    Band,
    /// An area without a line, for a range that the paper states.
    Area,
}

/// A series of points under one name.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) colour: &'static str,
    pub(super) stroke: Stroke,
    pub(super) points: Vec<Point>,
}

/// A drawing with all its series.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    pub(super) series: Vec<Series>,
}

/// The ranges of both axes, to convert figures to positions.
struct Axes {
    x: (f64, f64),
    y: (f64, f64),
}

impl Axes {
    fn position(&self, x: f64, y: f64) -> (f64, f64) {
        let share =
            |value: f64, (low, high): (f64, f64)| ((value - low) / (high - low)).clamp(0.0, 1.0);
        (
            LEFT + share(x, self.x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - share(y, self.y) * (HEIGHT - TOP - BOTTOM),
        )
    }
}

impl Plot {
    pub(super) fn to_svg(&self) -> String {
        let max_of = |of: fn(&Point) -> f64| {
            let all =
                self.series.iter().flat_map(|series| &series.points).map(of).fold(0.0, f64::max);
            if all > 0.0 { all } else { 1.0 }
        };
        let (x, y) = (
            max_of(|point| point.x),
            max_of(|point| point.ends.map_or(point.y, |ends| ends.1.max(point.y))),
        );
        let (across, up) = (tick_step(x), tick_step(y));
        let axes = Axes { x: (0.0, (x / across).ceil() * across), y: (0.0, (y / up).ceil() * up) };
        let mut text = svg_head(&self.title);
        self.draw_grid(&mut text, &axes, across, up);
        for (index, series) in (0_u8..).zip(&self.series) {
            series.draw(&mut text, &axes);
            series.draw_legend(&mut text, f64::from(index));
        }
        text.push_str("</svg>\n");
        text
    }

    fn draw_grid(&self, text: &mut String, axes: &Axes, across: f64, up: f64) {
        for tick in ticks(across, axes.x.1) {
            let (x, y) = axes.position(tick, 0.0);
            let _ = writeln!(
                text,
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{y:.1}\" class=\"grid\"/>"
            );
            let _ = writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                y + 16.0,
                format_tick(tick)
            );
        }
        for tick in ticks(up, axes.y.1) {
            let (x, y) = axes.position(axes.x.1, tick);
            let _ = writeln!(
                text,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{y:.1}\" class=\"grid\"/>"
            );
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                format_tick(tick)
            );
        }
        let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
        let _ = writeln!(
            text,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 10.0,
            self.x
        );
        let up = TOP + (HEIGHT - TOP - BOTTOM) / 2.0;
        let _ = writeln!(
            text,
            "<text x=\"16\" y=\"{up:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 16 \
                {up:.1})\">{}</text>",
            self.y
        );
    }
}

impl Series {
    fn draw(&self, text: &mut String, axes: &Axes) {
        let colour = self.colour;
        let path = |points: &mut dyn Iterator<Item = (f64, f64)>| -> String {
            points
                .map(|(x, y)| axes.position(x, y))
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let line = path(&mut self.points.iter().map(|point| (point.x, point.y)));
        match self.stroke {
            Stroke::Solid | Stroke::Band => {
                let _ = writeln!(
                    text,
                    "<polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" \
                        stroke-width=\"1.5\"/>"
                );
            }
            Stroke::Rings | Stroke::Crosses | Stroke::Area => {}
        }
        if matches!(self.stroke, Stroke::Band | Stroke::Area) {
            let (low, high) = (
                |point: &Point| point.ends.map_or(point.y, |ends| ends.0),
                |point: &Point| point.ends.map_or(point.y, |ends| ends.1),
            );
            let there = self.points.iter().map(|point| (point.x, low(point)));
            let back = self.points.iter().rev().map(|point| (point.x, high(point)));
            let _ = writeln!(
                text,
                "<polygon points=\"{}\" fill=\"{colour}\" opacity=\"0.2\"/>",
                path(&mut there.chain(back))
            );
            return;
        }
        for point in &self.points {
            let (x, y) = axes.position(point.x, point.y);
            self.draw_mark(text, x, y);
            if let Some((low, high)) = point.ends.filter(|_| self.stroke == Stroke::Solid) {
                let ((_, low), (_, high)) =
                    (axes.position(point.x, low), axes.position(point.x, high));
                let _ = writeln!(
                    text,
                    "<line x1=\"{x:.1}\" y1=\"{low:.1}\" x2=\"{x:.1}\" y2=\"{high:.1}\" \
                        stroke=\"{colour}\" stroke-width=\"3\" opacity=\"0.45\"/>"
                );
            }
        }
    }

    /// Draws the mark of one point.
    fn draw_mark(&self, text: &mut String, x: f64, y: f64) {
        let colour = self.colour;
        let _ = match self.stroke {
            Stroke::Solid => {
                writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")
            }
            Stroke::Rings => writeln!(
                text,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"none\" stroke=\"{colour}\" \
                    stroke-width=\"1.5\"/>"
            ),
            Stroke::Crosses => {
                let (left, up) = (x - 4.0, y - 4.0);
                writeln!(
                    text,
                    "<path d=\"M{left:.1} {up:.1}l8 8m-8 0l8 -8\" stroke=\"{colour}\" \
                        stroke-width=\"1.5\"/>"
                )
            }
            Stroke::Band | Stroke::Area => Ok(()),
        };
    }

    fn draw_legend(&self, text: &mut String, index: f64) {
        let (x, y, colour) = (WIDTH - RIGHT + 14.0, TOP + 10.0 + index * 17.0, self.colour);
        let right = x + 16.0;
        let _ = match self.stroke {
            Stroke::Solid | Stroke::Band => {
                writeln!(
                    text,
                    "<line x1=\"{x}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\" stroke=\"{colour}\" \
                        stroke-width=\"2\"/>"
                )
            }
            Stroke::Area => {
                writeln!(
                    text,
                    "<rect x=\"{x}\" y=\"{}\" width=\"16\" height=\"10\" fill=\"{colour}\" \
                        opacity=\"0.2\"/>",
                    y - 5.0
                )
            }
            Stroke::Rings | Stroke::Crosses => Ok(()),
        };
        if matches!(self.stroke, Stroke::Rings | Stroke::Crosses) {
            self.draw_mark(text, x + 8.0, y);
        }
        let _ = writeln!(text, "<text x=\"{}\" y=\"{}\">{}</text>", x + 22.0, y + 4.0, self.name);
    }
}

fn svg_head(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
            font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>{title}</title>\n<style>.grid {{ stroke: #ddd }}</style>\n<rect width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"13\" font-weight=\"bold\">{title}</text>\n"
    )
}

/// Returns the distance of ticks: 1, 2 or 5 times a power of ten, with about six of them up to
/// `max`.
fn tick_step(max: f64) -> f64 {
    let wanted = max / LABELS;
    let decade = 10_f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|first| first * decade)
        .into_iter()
        .find(|step| *step >= wanted * 0.999)
        .unwrap_or(decade * 10.0)
}

fn ticks(step: f64, max: f64) -> impl Iterator<Item = f64> {
    (0_u8..=20)
        .map(move |index| f64::from(index) * step)
        .take_while(move |tick| *tick <= max * 1.001)
}

/// Formats a tick with as many decimals as it needs, at most three.
fn format_tick(tick: f64) -> String {
    let text = format!("{tick:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!([8.0, 152.0, 0.37, 1.0, 9.4].map(tick_step), [2.0, 50.0, 0.1, 0.2, 2.0]);
        assert_eq!(ticks(2.0, 8.0).map(format_tick).collect::<Vec<_>>(), ["0", "2", "4", "6", "8"]);
        assert_eq!([0.05, 0.25, 100.0].map(format_tick), ["0.05", "0.25", "100"]);
    }

    #[test]
    fn draws_every_series_and_an_empty_plot() {
        let point = |x, y| Point { x, y, ends: Some((y / 2.0, y * 2.0)) };
        let series = |stroke| Series {
            name: "a".to_owned(),
            colour: "#c00",
            stroke,
            points: vec![point(1.0, 10.0), point(2.0, 30.0)],
        };
        let all = [Stroke::Solid, Stroke::Rings, Stroke::Crosses, Stroke::Band, Stroke::Area]
            .map(series)
            .to_vec();
        let svg = Plot { title: "t".to_owned(), x: "x", y: "y", series: all }.to_svg();
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<polygon").count()), (2, 2));
        assert_eq!(svg.matches("<circle").count(), 2 + 2 + 1);
        let empty = Plot { title: "t".to_owned(), x: "x", y: "y", series: Vec::new() }.to_svg();
        assert!(empty.ends_with("</svg>\n") && !empty.contains("NaN"), "{empty}");
    }
}

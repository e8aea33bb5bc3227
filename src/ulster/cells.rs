//! Cells of the campaigns, with their runs in the paper's units, and what the model says of both sizes. Pure.

use super::scale::Scale;
use crate::campaign::definition::{self, Definition};
use crate::campaign::results::ResultRow;
use crate::campaign::statistics::{Estimate, SortedValues};
use crate::convergence::{Prediction, Setup, predict};
use crate::scenario::Mode;

/// A combination of mode, link and stressed memory.
#[derive(Clone, Debug)]
pub struct Cell {
    /// How it migrates.
    pub mode: Mode,
    /// Over which link: `halifax`.
    pub link: String,
    /// What the paper calls it: `thin`, `8GB`.
    pub label: String,
    /// Stressed memory, GB.
    pub stressed: f64,
    /// `downtime-limit`, s.
    pub limit: f64,
    /// One way, s.
    pub delay: f64,
    /// What happened.
    pub runs: Vec<Run>,
    /// The model's word on what was run, in the paper's units.
    pub scaled: Predicted,
    /// Its word on the paper's own size.
    pub whole: Predicted,
}

/// A run, in the paper's units.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Which of its cell's.
    pub repeat: u32,
    /// The guest runs on the destination, and its memory is not known to be wrong.
    pub completed: bool,
    /// It went on running there before all of its memory was there.
    pub postcopy: bool,
    /// Total time, s.
    pub total: Option<f64>,
    /// Blackout, s.
    pub blackout: Option<f64>,
    /// Over the link, GB.
    pub bytes: Option<f64>,
    /// From the first byte to the last, Gb/s.
    pub mean: Option<f64>,
    /// In the busiest 100 ms of ours, Gb/s.
    pub peak: Option<f64>,
}

/// What the model says, in the paper's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Whether it completes.
    pub completes: bool,
    /// Total time, s.
    pub total: f64,
    /// Blackout, s.
    pub blackout: Option<f64>,
    /// Over the link, GB.
    pub bytes: f64,
}

impl Predicted {
    fn of(prediction: &Prediction, scale: Scale) -> Predicted {
        Predicted {
            completes: prediction.converges,
            total: prediction.total * scale.time,
            blackout: prediction.blackout.map(|seconds| seconds * scale.time),
            bytes: scale.gb(prediction.bytes),
        }
    }
}

/// A figure of a run.
pub type Figure = fn(&Run) -> Option<f64>;

impl Cell {
    /// Median of the runs that completed, with its interval of 95 %.
    #[must_use]
    pub fn median(&self, figure: Figure) -> Option<Estimate> {
        SortedValues::new(self.completed().filter_map(figure)).quantile(50)
    }

    /// Runs that completed.
    pub fn completed(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.completed)
    }

    /// All did.
    #[must_use]
    pub fn all_completed(&self) -> bool {
        !self.runs.is_empty() && self.runs.iter().all(|run| run.completed)
    }

    /// Post-copy, at once or after a pass.
    #[must_use]
    pub fn is_postcopy(&self) -> bool {
        self.mode != Mode::Precopy
    }
}

/// The cells of a campaign that name a link and stressed memory.
#[must_use]
pub fn cells(definition: &Definition, scale: Scale, rows: &[ResultRow]) -> Vec<Cell> {
    definition.cells.iter().filter_map(|cell| of(cell, scale, rows)).collect()
}

fn of(cell: &definition::Cell, scale: Scale, rows: &[ResultRow]) -> Option<Cell> {
    let setting = |key: &str| {
        cell.settings.iter().find(|setting| setting.key == key).map(|setting| setting.value.clone())
    };
    let (link, label) = (setting("link")?, setting("stressed")?);
    let (setup, one) = (Setup::of_scenario(&cell.scenario), Scale { rate: 1.0, time: 1.0 });
    let whole = scale.whole(&setup);
    let mine = rows.iter().filter(|row| row.settings == cell.settings);
    Some(Cell {
        mode: cell.scenario.mode,
        link,
        stressed: gigabytes(&label)?,
        label,
        limit: whole.downtime_limit,
        delay: whole.delay,
        runs: mine.map(|row| run(row, scale)).collect(),
        scaled: Predicted::of(&predict(&setup), scale),
        whole: Predicted::of(&predict(&whole), one),
    })
}

/// `thin` is next to nothing.
fn gigabytes(label: &str) -> Option<f64> {
    let number =
        |suffix: &str| label.strip_suffix(suffix).and_then(|number| number.parse::<f64>().ok());
    match label {
        "thin" => Some(0.0),
        _ => number("GB").or_else(|| Some(number("MB")? / 1024.0)),
    }
}

fn run(row: &ResultRow, scale: Scale) -> Run {
    let value = |name: &str| row.values.get(name).copied();
    Run {
        repeat: row.repeat,
        completed: row.is_successful(),
        postcopy: row.postcopy_happened,
        total: value("time_us.total").map(|us| scale.seconds(us)),
        blackout: value("downtime.best.us").map(|us| scale.seconds(us)),
        bytes: value("link.bytes").map(|bytes| scale.gb(bytes)),
        mean: value("link.mean_bps").map(|bps| scale.gbit(bps)),
        peak: value("link.peak_bps").map(|bps| scale.gbit(bps)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_paper_calls_memory() {
        assert_eq!(
            ["thin", "8GB", "512MB", "open", "GB"].map(gigabytes),
            [Some(0.0), Some(8.0), Some(0.5), None, None]
        );
    }
}

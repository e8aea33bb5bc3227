//! The cells of the campaigns: their runs in the paper's units, and what the model predicts for our
//! size and for the paper's. Pure.

use super::scale::Scale;
use analysis::results::ResultRow;
use analysis::statistics::{Estimate, SortedValues};
use model::{Prediction, Setup, predict};
use scenario::Mode;
use switchover::campaign::definition;
use switchover::campaign::definition::Definition;

/// A combination of migration mode, link and stressed memory, in the paper's units.
#[derive(Clone, Debug)]
pub struct PaperCell {
    /// The migration mode.
    pub mode: Mode,
    /// The name of the link, such as `halifax`.
    pub link: String,
    /// The stressed memory as the paper writes it: `thin`, `8GB`.
    pub label: String,
    /// The stressed memory in GB.
    pub stressed_gb: f64,
    /// `downtime-limit` in seconds.
    pub limit: f64,
    /// The one-way delay of the link in seconds.
    pub delay: f64,
    /// The runs of the cell.
    pub runs: Vec<PaperRun>,
    /// The model's prediction for our size, in the paper's units.
    pub our_size: PaperPrediction,
    /// The model's prediction for the paper's size.
    pub full_size: PaperPrediction,
}

/// A run in the paper's units. A figure is `None` if it was not measured.
#[derive(Clone, Debug, PartialEq)]
pub struct PaperRun {
    /// The number of the run within its cell, from 1.
    pub repeat: u32,
    /// Whether the guest runs on the destination and no memory error is known.
    pub completed: bool,
    /// Whether the guest ran on the destination before all of its memory was there.
    pub postcopy: bool,
    /// The total time in seconds.
    pub total: Option<f64>,
    /// The blackout in seconds.
    pub blackout: Option<f64>,
    /// The amount sent over the link in GB.
    pub bytes: Option<f64>,
    /// The mean rate from the first byte to the last in Gb/s.
    pub mean: Option<f64>,
    /// The rate in the busiest 100 ms of our run in Gb/s.
    pub peak: Option<f64>,
}

/// What the model predicts, in the paper's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaperPrediction {
    /// Whether the migration completes.
    pub completes: bool,
    /// The total time in seconds.
    pub total: f64,
    /// The blackout in seconds; `None` if there is none.
    pub blackout: Option<f64>,
    /// The amount sent over the link in GB.
    pub bytes: f64,
}

impl PaperPrediction {
    fn new(prediction: &Prediction, scale: Scale) -> PaperPrediction {
        PaperPrediction {
            completes: prediction.converges,
            total: prediction.total * scale.time,
            blackout: prediction.blackout.map(|seconds| seconds * scale.time),
            bytes: scale.gb(prediction.bytes),
        }
    }
}

/// A function that takes one figure from a run.
pub type RunFigure = fn(&PaperRun) -> Option<f64>;

impl PaperCell {
    /// Returns the median of the completed runs with its 95 % interval; `None` if no run has the
    /// figure.
    #[must_use]
    pub fn median(&self, figure: RunFigure) -> Option<Estimate> {
        SortedValues::new(self.completed_runs().filter_map(figure)).quantile(50)
    }

    /// Iterates over the runs that completed.
    pub fn completed_runs(&self) -> impl Iterator<Item = &PaperRun> {
        self.runs.iter().filter(|run| run.completed)
    }

    /// Whether there are runs and all of them completed.
    #[must_use]
    pub fn all_completed(&self) -> bool {
        !self.runs.is_empty() && self.runs.iter().all(|run| run.completed)
    }

    /// Whether the mode is post-copy or hybrid.
    #[must_use]
    pub fn uses_postcopy(&self) -> bool {
        self.mode != Mode::Precopy
    }
}

/// Finds a cell by its names, at QEMU's default downtime-limit of 300 ms.
pub(super) fn find_cell<'a>(
    cells: &'a [PaperCell],
    mode: Mode,
    link: &str,
    label: &str,
) -> Option<&'a PaperCell> {
    cells.iter().find(|cell| {
        cell.mode == mode
            && cell.link == link
            && cell.label == label
            && (cell.limit - 0.3).abs() < 0.01
    })
}

/// Builds the cells of a campaign that have a link and stressed memory among their settings.
#[must_use]
pub fn build_cells(definition: &Definition, scale: Scale, rows: &[ResultRow]) -> Vec<PaperCell> {
    definition.cells.iter().filter_map(|cell| build_cell(cell, scale, rows)).collect()
}

fn build_cell(cell: &definition::Cell, scale: Scale, rows: &[ResultRow]) -> Option<PaperCell> {
    let setting = |key: &str| {
        cell.settings.iter().find(|setting| setting.key == key).map(|setting| setting.value.clone())
    };
    let (link, label) = (setting("link")?, setting("stressed")?);
    let setup = Setup::of_scenario(&cell.scenario);
    let full = scale.full_size(&setup);
    let unscaled = Scale { rate: 1.0, time: 1.0 };
    let mine = rows.iter().filter(|row| row.settings == cell.settings);
    Some(PaperCell {
        mode: cell.scenario.mode,
        link,
        stressed_gb: parse_gigabytes(&label)?,
        label,
        limit: full.downtime_limit,
        delay: full.delay,
        runs: mine.map(|row| convert_run(row, scale)).collect(),
        our_size: PaperPrediction::new(&predict(&setup), scale),
        full_size: PaperPrediction::new(&predict(&full), unscaled),
    })
}

/// Parses stressed memory such as `8GB` or `100MB` into GB. `thin` is close to nothing and counts
/// as 0.
fn parse_gigabytes(label: &str) -> Option<f64> {
    let number =
        |suffix: &str| label.strip_suffix(suffix).and_then(|number| number.parse::<f64>().ok());
    match label {
        "thin" => Some(0.0),
        _ => number("GB").or_else(|| Some(number("MB")? / 1024.0)),
    }
}

fn convert_run(row: &ResultRow, scale: Scale) -> PaperRun {
    let value = |name: &str| row.values.get(name).copied();
    PaperRun {
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
    fn parses_memory_as_the_paper_writes_it() {
        assert_eq!(
            ["thin", "8GB", "512MB", "open", "GB"].map(parse_gigabytes),
            [Some(0.0), Some(8.0), Some(0.5), None, None]
        );
    }
}

//! Loads what was measured: a Parquet file per campaign, and the throughput of the links.
//!
//! The definitions of the campaigns are loaded as well, because the model predicts each cell from
//! its scenario.

use super::cells::{self, PaperCell};
use super::scale::Scale;
use analysis::results;
use analysis::results::ResultsError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use switchover::campaign::definition::Overrides;
use switchover::campaign::{Definition, DefinitionError};

/// The names of the campaign files.
const CAMPAIGNS: [&str; 3] = ["threshold", "volume", "gigabit"];
/// The throughput of the links without QEMU, one measurement per line.
const LINKS: &str = "links.json";
/// The traffic over the links by time, one run per line.
const CURVES: &str = "curves.json";

/// One measurement of the throughput of a link without QEMU, scaled to full size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// The name of the link.
    pub link: String,
    /// The throughput in Gb/s.
    pub gbit: f64,
    /// The median round trip of one byte in milliseconds.
    pub round_trip_ms: f64,
}

/// The traffic over a link in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The migration mode.
    pub mode: String,
    /// The name of the link.
    pub link: String,
    /// The number of the run within its cell, from 1.
    pub repeat: u32,
    /// The bytes to the destination in each 50 ms of our run, from the first byte on.
    pub bytes: Vec<u64>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The cells of all campaigns.
    pub cells: Vec<PaperCell>,
    /// The throughput of the links, for the rows L1 to L3.
    pub links: Vec<Throughput>,
    /// The traffic over time, for figure 9.
    pub curves: Vec<Curve>,
}

/// Why the evidence cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// A campaign file cannot be used.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The results of a campaign cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The scale of the campaign is not known.
    #[error("{0} is not a campaign of fixtures/campaigns/ulster, so its scale is not known")]
    UnknownScale(String),
    /// A file with measurements of the links cannot be read.
    #[error("cannot read {path}: {detail}")]
    Links {
        /// The file.
        path: PathBuf,
        /// The reason.
        detail: String,
    },
}

impl Evidence {
    /// Loads the results in the directory `from`, with the campaign files in the directory
    /// `campaigns`.
    ///
    /// # Errors
    /// Returns [`EvidenceError`] if a file is missing or damaged.
    pub fn load(campaigns: &Path, from: &Path) -> Result<Evidence, EvidenceError> {
        let mut evidence = Evidence {
            cells: Vec::new(),
            links: load_lines(&from.join(LINKS))?,
            curves: load_lines(&from.join(CURVES))?,
        };
        for name in CAMPAIGNS {
            let results = from.join(format!("{name}.parquet"));
            evidence.cells.extend(load_cells(&campaigns.join(format!("{name}.toml")), &results)?);
        }
        Ok(evidence)
    }
}

/// Loads the cells of one campaign from its file and its results.
///
/// # Errors
/// Returns [`EvidenceError`] if a file is missing or damaged, or if the campaign is not one of
/// fixtures/campaigns/ulster.
pub fn load_cells(file: &Path, results: &Path) -> Result<Vec<PaperCell>, EvidenceError> {
    let definition = Definition::from_file(file, &Overrides::default())?;
    let (name, rows) = results::read(results)?;
    let scale = Scale::of_campaign(&name).ok_or(EvidenceError::UnknownScale(name))?;
    Ok(cells::build_cells(&definition, scale, &rows))
}

/// Loads a file with one JSON value per line.
fn load_lines<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>, EvidenceError> {
    let failed = |detail: String| EvidenceError::Links { path: path.to_owned(), detail };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|error| failed(error.to_string())))
        .collect()
}

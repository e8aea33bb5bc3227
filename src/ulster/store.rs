//! What lies in the directory of a repetition: a Parquet file for each campaign, and what the links carried.
//!
//! Takes paths; gives [`Evidence`]. The campaigns' definitions say what a cell is, so that the model can be asked about it.

use super::cells::{self, Cell};
use super::scale::Scale;
use crate::campaign::definition::Overrides;
use crate::campaign::results::{self, ResultsError};
use crate::campaign::{Definition, DefinitionError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The campaigns, by the names of their files.
const CAMPAIGNS: [&str; 3] = ["threshold", "volume", "gigabit"];
/// What the links carried, without QEMU.
const LINKS: &str = "links.json";
/// What passed over the links by time.
const CURVES: &str = "curves.json";

/// What a plain sender got through a link at its full size: one measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Which link.
    pub link: String,
    /// Gb/s.
    pub gbit: f64,
    /// Median of a byte there and back, ms.
    pub round_trip_ms: f64,
}

/// What passed over a link in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// How it migrated.
    pub mode: String,
    /// Over which link.
    pub link: String,
    /// Which run of its cell.
    pub repeat: u32,
    /// To the destination in each 50 ms of ours, from the first byte on.
    pub bytes: Vec<u64>,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Of all campaigns.
    pub cells: Vec<Cell>,
    /// Rows L1 to L3.
    pub links: Vec<Throughput>,
    /// Figure 9.
    pub curves: Vec<Curve>,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A campaign's file is none.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Its results cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// Nobody knows of which size it is.
    #[error("{0} is none of the campaigns of fixtures/campaigns/ulster: its scale is not known")]
    Scale(String),
    /// What the links carried cannot be read.
    #[error("cannot read {path}: {detail}")]
    Links {
        /// Which file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

impl Evidence {
    /// From results in `from`, of the campaigns in `campaigns`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(campaigns: &Path, from: &Path) -> Result<Evidence, StoreError> {
        let mut evidence = Evidence {
            cells: Vec::new(),
            links: lines(&from.join(LINKS))?,
            curves: lines(&from.join(CURVES))?,
        };
        for name in CAMPAIGNS {
            let results = from.join(format!("{name}.parquet"));
            evidence.cells.extend(campaign(&campaigns.join(format!("{name}.toml")), &results)?);
        }
        Ok(evidence)
    }
}

/// The cells of one campaign, from its file and its results.
///
/// # Errors
/// [`StoreError`].
pub fn campaign(file: &Path, results: &Path) -> Result<Vec<Cell>, StoreError> {
    let definition = Definition::from_file(file, &Overrides::default())?;
    let (name, rows) = results::read(results)?;
    let scale = Scale::of_campaign(&name).ok_or(StoreError::Scale(name))?;
    Ok(cells::cells(&definition, scale, &rows))
}

/// One value a line.
fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>, StoreError> {
    let failed = |detail: String| StoreError::Links { path: path.to_owned(), detail };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|error| failed(error.to_string())))
        .collect()
}

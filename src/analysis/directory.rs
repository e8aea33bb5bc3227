//! The names and size limits of the files in a campaign directory, shared by their writer and their
//! reader, and the part of `campaign.json` that comparisons read.

use super::setting::Setting;
use serde::Deserialize;

/// Describes the campaign that the directory belongs to: its cells and its baseline.
pub const CAMPAIGN_JSON: &str = "campaign.json";
/// The journal, with one line per visit that took place.
pub const JOURNAL: &str = "visits.jsonl";
/// The results, with one row per run.
pub const RESULTS: &str = "results.parquet";
/// The directory that holds the run directories.
pub const RUNS: &str = "runs";
/// The largest `campaign.json` that is read, in bytes. The file holds one scenario per cell, and a
/// campaign may have 100,000 cells.
pub const MAX_CAMPAIGN_JSON_BYTES: u64 = 512 << 20;

/// The part of `campaign.json` that says which cells can be compared with which.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CampaignOutline {
    /// The settings of the baseline; empty if the campaign has none.
    #[serde(default)]
    pub baseline: Vec<Setting>,
    /// All cells of the campaign.
    #[serde(default)]
    pub cells: Vec<CellOutline>,
}

/// One cell of a [`CampaignOutline`].
#[derive(Clone, Debug, Deserialize)]
pub struct CellOutline {
    /// The settings that distinguish the cell from the others.
    #[serde(default)]
    pub settings: Vec<Setting>,
}

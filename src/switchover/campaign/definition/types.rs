//! The types of a campaign definition.

use analysis::setting::{Setting, join_settings};
use base::units::Micros;
use scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A campaign, loaded and checked.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The name of the campaign: the `name` of the file, or the file's own name.
    pub name: String,
    /// The number of measured runs of each cell.
    pub repeats: u32,
    /// The number of migrations that each fresh guest makes before its measured ones; they do not
    /// count.
    pub warm_up: u32,
    /// The number of measured runs that one guest makes before a fresh one is started.
    pub together: u32,
    /// The seed for the order of the runs and for the guests.
    pub seed: u64,
    /// The order in which cells are visited.
    pub order: Order,
    /// How long one guest's runs may take before they are cancelled safely.
    pub timeout: Micros,
    /// Which run directories are kept.
    pub keep: Keep,
    /// The settings of the cells that the others are compared with; empty if there is no baseline.
    pub baseline: Vec<Setting>,
    /// The keys that differ between cells, in the order of the file.
    pub keys: Vec<String>,
    /// All cells, in the order of the file.
    pub cells: Vec<Cell>,
}

/// The order in which cells are visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// A new random order for each repeat, so that a drift of the machine is not mistaken for an
    /// effect. Cells that differ only in the keys of the baseline come directly one after the
    /// other.
    #[default]
    Random,
    /// The order of the file.
    Written,
}

/// Which run directories are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// All run directories are kept.
    #[default]
    All,
    /// Only the directories of runs that did not complete, or whose memory is corrupt.
    Failed,
    /// No run directory is kept, only the rows of the results.
    None,
}

/// One combination of settings.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The number of the cell, from 1, in the order of the file.
    pub number: u32,
    /// The settings that distinguish the cell from the others.
    pub settings: Vec<Setting>,
    /// The scenario of each run.
    pub scenario: Scenario,
}

impl Definition {
    /// Returns the cell with this number; `None` if there is none.
    #[must_use]
    pub fn cell(&self, number: u32) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.number == number)
    }

    /// Returns the settings of every cell, by the number of the cell.
    #[must_use]
    pub fn settings_by_cell(&self) -> BTreeMap<u32, &[Setting]> {
        self.cells.iter().map(|cell| (cell.number, cell.settings.as_slice())).collect()
    }
}

impl Cell {
    /// Returns the name of the cell, such as `mode=postcopy link.preset=halifax`.
    #[must_use]
    pub fn name(&self) -> String {
        join_settings(self.settings.iter())
    }

    /// Returns the name of the cell without these keys: what it has in common with the cell that it
    /// is compared with.
    #[must_use]
    pub fn name_without(&self, keys: &[&str]) -> String {
        join_settings(self.settings.iter().filter(|setting| !keys.contains(&setting.key.as_str())))
    }
}

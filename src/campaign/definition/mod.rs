//! What a campaign is: a file of TOML, and the cells that it spans.
//!
//! Takes text; gives a [`Definition`] with every cell's scenario loaded and checked, or the reason why there is none. Knows nothing of running.
//!
//! Map: here the whole · `axis` what a key may be varied over · `load` TOML to a definition · `matrix` axes to cells.

mod axis;
mod load;
mod matrix;

pub use super::setting::Setting;
pub use load::{DefinitionError, Overrides};

use super::setting::join_settings;
use crate::scenario::Scenario;
use crate::units::Micros;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One campaign.
#[derive(Clone, Debug)]
pub struct Definition {
    /// What it is called.
    pub name: String,
    /// Measured runs of each cell.
    pub repeats: u32,
    /// Migrations of a fresh guest before the measured ones, which do not count.
    pub warm_up: u32,
    /// Measured runs of one guest that goes on and on before there is a fresh one.
    pub together: u32,
    /// Of the order, and of the guests.
    pub seed: u64,
    /// In which order cells come.
    pub order: Order,
    /// Of one visit to a cell: then it is ended, safely.
    pub timeout: Micros,
    /// Which run directories are kept.
    pub keep: Keep,
    /// What the others are compared with: these keys at these values.
    pub baseline: Vec<Setting>,
    /// Keys that differ between cells, in the order of the file.
    pub keys: Vec<String>,
    /// All combinations.
    pub cells: Vec<Cell>,
}

/// In which order cells come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Anew for each repeat, so that what drifts over an hour is no effect. Cells that differ only in the baseline's keys come one after the other.
    #[default]
    Random,
    /// As in the file.
    Written,
}

/// Which run directories are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// All.
    #[default]
    All,
    /// Of runs that did not complete, or whose memory is not intact.
    Failed,
    /// None: only the rows of the results.
    None,
}

/// One combination.
#[derive(Clone, Debug)]
pub struct Cell {
    /// From 1, in the order of the file.
    pub number: u32,
    /// What makes it this cell.
    pub settings: Vec<Setting>,
    /// What is run.
    pub scenario: Scenario,
}

impl Definition {
    /// The settings of every cell, by the number of the cell.
    #[must_use]
    pub fn settings_by_cell(&self) -> BTreeMap<u32, &[Setting]> {
        self.cells.iter().map(|cell| (cell.number, cell.settings.as_slice())).collect()
    }
}

impl Cell {
    /// `mode=postcopy link.preset=halifax`.
    #[must_use]
    pub fn name(&self) -> String {
        join_settings(self.settings.iter())
    }

    /// Its name without these keys: what it shares with the cell that it is compared with.
    #[must_use]
    pub fn name_without(&self, keys: &[&str]) -> String {
        join_settings(self.settings.iter().filter(|setting| !keys.contains(&setting.key.as_str())))
    }
}

#[cfg(test)]
mod tests;

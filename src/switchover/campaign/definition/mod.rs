//! The definition of a campaign: a TOML file, and the cells that it spans.
//!
//! Loading a definition also loads and checks the scenario of every cell, so that a campaign fails
//! before its first run if any cell is wrong.
//!
//! Modules: `types` (a definition and its cells), `axis` (the values of one varied key), `matrix`
//! (from axes to cells), `load` (from TOML to a definition), `error` (why that fails).

mod axis;
mod error;
mod load;
mod matrix;
mod types;

pub use analysis::setting::Setting;
pub use error::DefinitionError;
pub use load::Overrides;
pub use types::{Cell, Definition, Keep, Order};

#[cfg(test)]
mod tests;

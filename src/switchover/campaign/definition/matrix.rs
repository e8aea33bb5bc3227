//! From axes to cells: all combinations without the excluded ones, and the included ones in
//! addition. Pure.
//!
//! A value may be a bundle, which is a table with a `name`: several keys that change together and
//! are shown as one. An included cell may have a `case`, a name that is shown in place of its keys.

use super::axis;
use super::error::DefinitionError;
use super::types::Cell;
use analysis::setting::Setting;
use toml::{Table, Value};

pub(super) struct Matrix<'a> {
    pub(super) vary: &'a Table,
    pub(super) include: &'a [Table],
    pub(super) exclude: &'a [Table],
}

/// A key of the file, and what is wrong with it.
pub(super) struct Problem {
    key: String,
    problem: String,
}

impl Problem {
    pub(super) fn into_error(self, origin: &str) -> DefinitionError {
        DefinitionError::Axis { origin: origin.to_owned(), key: self.key, problem: self.problem }
    }
}

pub(super) type Combination = Vec<(String, Value)>;

impl Matrix<'_> {
    /// Lists the cells, at most `max`. The last key changes fastest. Without any keys there is one
    /// cell.
    pub(super) fn combinations(&self, max: usize) -> Result<Vec<Combination>, Problem> {
        let mut all: Vec<Combination> = vec![Vec::new()];
        for (key, axis) in flatten(self.vary) {
            let values = axis::list_values(&axis)
                .map_err(|problem| Problem { key: format!("[vary] {key}"), problem })?;
            if all.len().saturating_mul(values.len()) > max {
                let problem = format!("makes more than {max} cells");
                return Err(Problem { key: format!("[vary] {key}"), problem });
            }
            all = all
                .iter()
                .flat_map(|cell| values.iter().map(|value| with(cell, &key, value)))
                .collect();
        }
        // A file with `include` and without `vary` has only the included cells.
        if self.vary.is_empty() && !self.include.is_empty() {
            all.clear();
        }
        all.retain(|cell| !self.exclude.iter().any(|table| has_all(cell, &flatten(table))));
        all.extend(self.include.iter().map(flatten));
        Ok(all)
    }
}

fn with(cell: &Combination, key: &str, value: &Value) -> Combination {
    let mut cell = cell.clone();
    cell.push((key.to_owned(), value.clone()));
    cell
}

fn has_all(cell: &Combination, wanted: &[(String, Value)]) -> bool {
    let shown = shown_settings(cell);
    wanted.iter().all(|(key, value)| shown.contains(&setting(key, value)))
}

/// The key that names an included cell.
const CASE: &str = "case";
/// The key that names a bundle.
const NAME: &str = "name";

/// Returns the settings that distinguish this cell from the others.
pub(super) fn shown_settings(cell: &Combination) -> Vec<Setting> {
    let is_case = |(key, _): &&(String, Value)| key == CASE;
    match cell.iter().find(is_case) {
        Some((key, value)) if value.is_str() => vec![setting(key, value)],
        _ => cell.iter().map(|(key, value)| setting(key, value)).collect(),
    }
}

/// Returns the scenario keys and values of this cell, with bundles taken apart.
pub(super) fn scenario_values(cell: &Combination) -> Combination {
    let mut all = Vec::new();
    for (key, value) in cell {
        match value {
            Value::Table(bundle) if bundle.contains_key(NAME) => {
                all.extend(flatten(bundle).into_iter().filter(|(key, _)| key != NAME));
            }
            value if key == CASE && value.is_str() => {}
            value => all.push((key.clone(), value.clone())),
        }
    }
    all
}

/// Returns a key and its value as text; the value of a bundle is its name.
pub(super) fn setting(key: &str, value: &Value) -> Setting {
    let value = match value {
        Value::String(text) => text.clone(),
        Value::Table(bundle) => bundle
            .get(NAME)
            .and_then(Value::as_str)
            .map_or_else(|| bundle.to_string(), str::to_owned),
        other => other.to_string(),
    };
    Setting { key: key.to_owned(), value }
}

/// Lists the keys of nested tables, joined by dots. A table that is a range or a bundle is a value.
pub(super) fn flatten(table: &Table) -> Combination {
    let mut flat = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.contains_key("from") && !inner.contains_key(NAME) => {
                flat.extend(
                    flatten(inner)
                        .into_iter()
                        .map(|(name, value)| (format!("{key}.{name}"), value)),
                );
            }
            value => flat.push((key.clone(), value.clone())),
        }
    }
    flat
}

/// Lists the keys of all cells in the order in which they first occur.
pub(super) fn collect_keys(cells: &[Cell]) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for setting in cells.iter().flat_map(|cell| &cell.settings) {
        if !keys.contains(&setting.key) {
            keys.push(setting.key.clone());
        }
    }
    keys
}

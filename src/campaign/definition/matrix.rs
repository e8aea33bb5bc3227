//! Axes to cells: all combinations, less those that are excluded, and those that are included besides. Pure.
//!
//! A value may be a bundle, a table with a `name`: several keys that change together, shown as one. An included cell may have a name, its `case`,
//! which then stands for all its keys.

use super::axis;
use super::load::DefinitionError;
use super::{Cell, Setting};
use toml::{Table, Value};

pub(super) struct Matrix<'a> {
    pub(super) vary: &'a Table,
    pub(super) include: &'a [Table],
    pub(super) exclude: &'a [Table],
}

/// A key, and what is wrong with it.
pub(super) struct Problem {
    key: String,
    problem: String,
}

impl Problem {
    pub(super) fn named(self, origin: &str) -> DefinitionError {
        DefinitionError::Axis { origin: origin.to_owned(), key: self.key, problem: self.problem }
    }
}

pub(super) type Combination = Vec<(String, Value)>;

impl Matrix<'_> {
    /// At most `most`. The last key changes fastest. No keys at all are one cell.
    pub(super) fn combinations(&self, most: usize) -> Result<Vec<Combination>, Problem> {
        let mut all: Vec<Combination> = vec![Vec::new()];
        for (key, axis) in settings(self.vary) {
            let values = axis::values(&axis)
                .map_err(|problem| Problem { key: format!("[vary] {key}"), problem })?;
            if all.len().saturating_mul(values.len()) > most {
                let problem = format!("makes more than {most} cells");
                return Err(Problem { key: format!("[vary] {key}"), problem });
            }
            all = all
                .iter()
                .flat_map(|cell| values.iter().map(|value| with(cell, &key, value)))
                .collect();
        }
        // Where only some are named, those are all.
        if self.vary.is_empty() && !self.include.is_empty() {
            all.clear();
        }
        all.retain(|cell| !self.exclude.iter().any(|table| has_all(cell, &settings(table))));
        all.extend(self.include.iter().map(settings));
        Ok(all)
    }
}

fn with(cell: &Combination, key: &str, value: &Value) -> Combination {
    let mut cell = cell.clone();
    cell.push((key.to_owned(), value.clone()));
    cell
}

fn has_all(cell: &Combination, wanted: &[(String, Value)]) -> bool {
    let shown = shown(cell);
    wanted.iter().all(|(key, value)| shown.contains(&setting(key, value)))
}

/// The name of an included cell.
const CASE: &str = "case";
/// The name of a bundle.
const NAME: &str = "name";

/// What makes it this cell.
pub(super) fn shown(cell: &Combination) -> Vec<Setting> {
    let is_case = |(key, _): &&(String, Value)| key == CASE;
    match cell.iter().find(is_case) {
        Some((key, value)) if value.is_str() => vec![setting(key, value)],
        _ => cell.iter().map(|(key, value)| setting(key, value)).collect(),
    }
}

/// What the scenario gets.
pub(super) fn applied(cell: &Combination) -> Combination {
    let mut all = Vec::new();
    for (key, value) in cell {
        match value {
            Value::Table(bundle) if bundle.contains_key(NAME) => {
                all.extend(settings(bundle).into_iter().filter(|(key, _)| key != NAME));
            }
            value if key == CASE && value.is_str() => {}
            value => all.push((key.clone(), value.clone())),
        }
    }
    all
}

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

/// The keys of nested tables, with dots; a table that is a range is a value.
pub(super) fn settings(table: &Table) -> Combination {
    let mut flat = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.contains_key("from") && !inner.contains_key(NAME) => {
                flat.extend(
                    settings(inner)
                        .into_iter()
                        .map(|(name, value)| (format!("{key}.{name}"), value)),
                );
            }
            value => flat.push((key.clone(), value.clone())),
        }
    }
    flat
}

/// All keys of all cells, as they first come.
pub(super) fn keys(cells: &[Cell]) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for setting in cells.iter().flat_map(|cell| &cell.settings) {
        if !keys.contains(&setting.key) {
            keys.push(setting.key.clone());
        }
    }
    keys
}

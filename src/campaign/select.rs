//! What is compared, from where it lies: `runs/campaign:mode=postcopy`.
//!
//! Takes a path and settings that rows must have; gives a [`Table`]. A path is a campaign's directory, a directory of such (shards), its results.parquet, a
//! run's directory (one row for each of its migrations), or a table that was kept. Knows nothing of what is compared with what.

use super::directory::{CAMPAIGN_JSON, CampaignOutline, MAX_CAMPAIGN_JSON_BYTES, RESULTS};
use super::results::{self, ResultRow, ResultsError};
use super::setting::{Setting, join_settings};
use super::{Metric, Row, Table, metrics};
use crate::record::{Outcome, RUN_JSON, RecordError, Run};
use crate::text::read_all;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Which rows of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Where they lie.
    pub path: PathBuf,
    /// What they must have; these keys are no part of the name of their cells.
    pub settings: Vec<Setting>,
}

impl FromStr for Selection {
    type Err = String;

    /// What is there as it is written is a path; else what follows the last colon are settings.
    fn from_str(text: &str) -> Result<Selection, String> {
        let whole = || Ok(Selection { path: text.into(), settings: Vec::new() });
        if Path::new(text).exists() {
            return whole();
        }
        let Some((path, settings)) =
            text.rsplit_once(':').filter(|(_, settings)| settings.contains('='))
        else {
            return whole();
        };
        let settings = settings.split(',').map(|setting| {
            let (key, value) =
                setting.split_once('=').ok_or_else(|| format!("`{setting}` is no key=value"))?;
            Ok(Setting { key: key.trim().to_owned(), value: value.trim().to_owned() })
        });
        Ok(Selection { path: path.into(), settings: settings.collect::<Result<_, String>>()? })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<String> = self
            .settings
            .iter()
            .map(|setting| format!("{}={}", setting.key, setting.value))
            .collect();
        let colon = if settings.is_empty() { "" } else { ":" };
        write!(f, "{}{colon}{}", self.path.display(), settings.join(","))
    }
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// The results cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The run cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is not there, or nothing that is known.
    #[error(
        "{0} is no campaign (results.parquet), no run directory (run.json) and no table that was kept. A campaign that was never finished is one after `switchover sweep --resume`"
    )]
    Nothing(PathBuf),
    /// The file that was kept is none.
    #[error("{path} is no table that `switchover compare --keep` wrote: {detail}")]
    Kept {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// No row is left.
    #[error("{selection}: no run is like that; there are: {there}")]
    Empty {
        /// What was asked for.
        selection: String,
        /// Keys and their values.
        there: String,
    },
}

impl Selection {
    /// The rows as a table, with all metrics.
    ///
    /// # Errors
    /// [`SelectionError`].
    pub fn table(&self) -> Result<Table, SelectionError> {
        let rows = match self.path.extension().and_then(|extension| extension.to_str()) {
            Some("json") if self.path.is_file() => return kept(&self.path),
            _ if self.path.join(RUN_JSON).exists() => return of_run(&self.path),
            _ => self.rows()?,
        };
        let (name, rows) = rows;
        let chosen: Vec<&ResultRow> = rows
            .iter()
            .filter(|row| self.settings.iter().all(|setting| row.settings.contains(setting)))
            .collect();
        if chosen.is_empty() {
            return Err(SelectionError::Empty {
                selection: self.to_string(),
                there: what_there_is(&rows),
            });
        }
        let name = if self.settings.is_empty() { name } else { name_of_values(&self.settings) };
        Ok(Table {
            name,
            metrics: metrics::all(),
            rows: chosen.into_iter().map(|row| self.row(row)).collect(),
        })
    }

    fn rows(&self) -> Result<(String, Vec<ResultRow>), SelectionError> {
        if self.path.is_file() {
            return Ok(results::read(&self.path)?);
        }
        let own = self.path.join(RESULTS);
        if own.exists() {
            return Ok(results::read(&own)?);
        }
        let mut shards: Vec<PathBuf> = std::fs::read_dir(&self.path)
            .map_err(|_| SelectionError::Nothing(self.path.clone()))?
            .filter_map(|entry| Some(entry.ok()?.path().join(RESULTS)))
            .filter(|path| path.exists())
            .collect();
        shards.sort();
        let mut all = None;
        for shard in shards {
            let (name, rows) = results::read(&shard)?;
            all.get_or_insert_with(|| (name, Vec::new())).1.extend(rows);
        }
        all.ok_or_else(|| SelectionError::Nothing(self.path.clone()))
    }

    fn row(&self, read: &ResultRow) -> Row {
        let is_chosen =
            |setting: &&Setting| !self.settings.iter().any(|chosen| chosen.key == setting.key);
        Row {
            cell: join_settings(read.settings.iter().filter(is_chosen)),
            pair: Some(read.repeat.to_string()),
            outcome: outcome(&read.outcome),
            values: metrics::all()
                .iter()
                .map(|metric| read.values.get(&metric.name).copied())
                .collect(),
        }
    }
}

/// What never began has failed.
fn outcome(name: &str) -> Outcome {
    serde_json::from_value(Value::from(name)).unwrap_or(Outcome::Failed)
}

fn name_of_values(settings: &[Setting]) -> String {
    settings.iter().map(|setting| setting.value.as_str()).collect::<Vec<_>>().join(" ")
}

fn what_there_is(rows: &[ResultRow]) -> String {
    let all: BTreeSet<String> = rows
        .iter()
        .flat_map(|row| &row.settings)
        .map(|setting| format!("{}={}", setting.key, setting.value))
        .collect();
    if all.is_empty() {
        "runs of one cell".to_owned()
    } else {
        all.into_iter().collect::<Vec<_>>().join(", ")
    }
}

fn kept(path: &Path) -> Result<Table, SelectionError> {
    let broken = |detail: String| SelectionError::Kept { path: path.to_owned(), detail };
    let text =
        read_all(path, MAX_CAMPAIGN_JSON_BYTES).map_err(|error| broken(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| broken(error.to_string()))
}

/// One run, or many by `--repeat`.
fn of_run(path: &Path) -> Result<Table, SelectionError> {
    let run = Run::open(path);
    let switchovers = run.switchovers()?;
    let summary = run.summary()?;
    let alone = switchovers.len() == 1;
    let rows = switchovers.iter().map(|switchover| Row {
        cell: String::new(),
        pair: None,
        outcome: switchover.outcome,
        values: if alone {
            metrics::of_summary(&summary)
        } else {
            metrics::of_switchover(switchover)
        },
    });
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Table { name, metrics: metrics::all(), rows: rows.collect() })
}

impl Selection {
    /// What each other value of the campaign's baseline keys is compared with, and that value; nothing without a baseline.
    ///
    /// # Errors
    /// [`SelectionError::Nothing`] for what is no campaign's directory.
    pub fn baseline_comparisons(&self) -> Result<Vec<(Selection, Selection)>, SelectionError> {
        let nothing = || SelectionError::Nothing(self.path.clone());
        let shards = std::fs::read_dir(&self.path)
            .map_err(|_| nothing())?
            .filter_map(Result::ok)
            .map(|entry| entry.path());
        let mut all = std::iter::once(self.path.clone()).chain(shards);
        let text = all
            .find_map(|path| read_all(&path.join(CAMPAIGN_JSON), MAX_CAMPAIGN_JSON_BYTES).ok())
            .ok_or_else(nothing)?;
        let CampaignOutline { baseline, cells } =
            serde_json::from_str(&text).map_err(|_| nothing())?;
        let with = |settings: &[Setting]| Selection {
            path: self.path.clone(),
            settings: [&self.settings, settings].concat(),
        };
        let mut others: Vec<Vec<Setting>> = Vec::new();
        for cell in &cells {
            let other: Vec<Setting> = cell
                .settings
                .iter()
                .filter(|setting| baseline.iter().any(|base| base.key == setting.key))
                .cloned()
                .collect();
            if other.len() == baseline.len()
                && !baseline.is_empty()
                && other.iter().any(|setting| !baseline.contains(setting))
                && !others.contains(&other)
            {
                others.push(other);
            }
        }
        Ok(others.iter().map(|other| (with(&baseline), with(other))).collect())
    }
}

impl Table {
    /// Only these columns, by the names that they have in run.json; an error names what there is not.
    ///
    /// # Errors
    /// The first name that is none.
    pub fn only(mut self, names: &[String]) -> Result<Table, String> {
        let at = |name: &String| {
            self.metrics.iter().position(|metric| metric.name == *name).ok_or_else(|| name.clone())
        };
        let columns: Vec<usize> = names.iter().map(at).collect::<Result<_, String>>()?;
        self.metrics =
            columns.iter().map(|column| self.metrics[*column].clone()).collect::<Vec<Metric>>();
        for row in &mut self.rows {
            row.values =
                columns.iter().map(|column| row.values.get(*column).copied().flatten()).collect();
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_follow_the_last_colon_unless_there_is_such_a_path() {
        let parsed: Selection = "a/b:mode=postcopy,link.preset=halifax".parse().unwrap();
        assert_eq!((parsed.path.to_str(), parsed.settings.len()), (Some("a/b"), 2));
        assert_eq!(parsed.to_string(), "a/b:mode=postcopy,link.preset=halifax");
        assert_eq!("a:b".parse::<Selection>().unwrap().path, PathBuf::from("a:b"));
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("x:y=z");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(odd.to_str().unwrap().parse::<Selection>().unwrap().path, odd);
        assert_eq!("a:b=c,d".parse::<Selection>().unwrap_err(), "`d` is no key=value");
    }

    #[test]
    fn what_is_nothing_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: PathBuf| {
            let error = Selection { path, settings: Vec::new() }.table().unwrap_err();
            error.to_string().replace(&dir.path().display().to_string(), "DIR")
        };
        insta::assert_snapshot!(said(dir.path().join("none")), @"DIR/none is no campaign (results.parquet), no run directory (run.json) and no table that was kept. A campaign that was never finished is one after `switchover sweep --resume`");
        insta::assert_snapshot!(said(dir.path().to_owned()), @"DIR is no campaign (results.parquet), no run directory (run.json) and no table that was kept. A campaign that was never finished is one after `switchover sweep --resume`");
        std::fs::write(dir.path().join("t.json"), "{}").unwrap();
        insta::assert_snapshot!(said(dir.path().join("t.json")), @"DIR/t.json is no table that `switchover compare --keep` wrote: missing field `name` at line 1 column 2");
    }
}

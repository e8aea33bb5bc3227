//! Selections: which runs to compare, such as `runs/campaign:mode=postcopy`.
//!
//! A selection is a path, and settings that the runs must have. The path is a campaign directory, a
//! directory of several (shards), a results.parquet, a run directory (one row per migration), or a
//! table that `switchover compare --keep` wrote.

use super::directory::{CAMPAIGN_JSON, CampaignOutline, MAX_CAMPAIGN_JSON_BYTES, RESULTS};
use super::metrics;
use super::results::{self, ResultRow, ResultsError};
use super::setting::{Setting, join_settings};
use super::table::{Metric, Row, Table};
use base::text::read_all;
use record::{RUN_JSON, RecordError, Run};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The runs to compare: a path, and settings that they must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The directory or file that has the runs.
    pub path: PathBuf,
    /// The settings that a run must have. Their keys are left out of the names of the cells.
    pub settings: Vec<Setting>,
}

impl FromStr for Selection {
    type Err = String;

    /// Takes the whole text as a path if that path exists; otherwise what follows the last colon
    /// are settings.
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
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("`{setting}` is not of the form KEY=VALUE"))?;
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

/// Why runs cannot be selected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// The results of a campaign cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A run directory cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The path does not exist, or is neither a campaign nor a run nor a table.
    #[error(
        "{0} is not a campaign (results.parquet), a run directory (run.json) or a table that \
         `switchover compare --keep` wrote. If it is a campaign that was never finished, finish it \
         with `switchover sweep --resume`"
    )]
    NotFound(PathBuf),
    /// A JSON file is not a table.
    #[error("{path} is not a table that `switchover compare --keep` wrote: {detail}")]
    SavedTable {
        /// The path as it was opened.
        path: PathBuf,
        /// The rule that the content breaks, with the value that was found.
        detail: String,
    },
    /// A `campaign.json` cannot be understood.
    #[error("{path} cannot be understood: {source}")]
    CampaignFile {
        /// The path as it was opened.
        path: PathBuf,
        /// The parser's error, with its position.
        source: serde_json::Error,
    },
    /// No run has the settings.
    #[error("{selection}: no run has these settings; the runs have: {available}")]
    NoMatchingRun {
        /// The selection as it was written.
        selection: String,
        /// All settings of the runs.
        available: String,
    },
}

impl Selection {
    /// Loads the selected runs as a table with all metrics.
    ///
    /// # Errors
    /// Returns [`SelectionError`] if the path has no runs, if they cannot be read, or if none of
    /// them has the settings.
    pub fn load_table(&self) -> Result<Table, SelectionError> {
        let rows = match self.path.extension().and_then(|extension| extension.to_str()) {
            Some("json") if self.path.is_file() => return load_saved_table(&self.path),
            _ if self.path.join(RUN_JSON).exists() => return load_run(&self.path),
            _ => self.load_results()?,
        };
        let (name, rows) = rows;
        let chosen: Vec<&ResultRow> = rows
            .iter()
            .filter(|row| self.settings.iter().all(|setting| row.settings.contains(setting)))
            .collect();
        if chosen.is_empty() {
            return Err(SelectionError::NoMatchingRun {
                selection: self.to_string(),
                available: list_settings(&rows),
            });
        }
        let name = if self.settings.is_empty() { name } else { name_of_values(&self.settings) };
        Ok(Table {
            name,
            metrics: metrics::all(),
            rows: chosen.into_iter().map(|row| self.row(row)).collect(),
        })
    }

    fn load_results(&self) -> Result<(String, Vec<ResultRow>), SelectionError> {
        if self.path.is_file() {
            return Ok(results::read(&self.path)?);
        }
        let own = self.path.join(RESULTS);
        if own.exists() {
            return Ok(results::read(&own)?);
        }
        let mut shards: Vec<PathBuf> = std::fs::read_dir(&self.path)
            .map_err(|_| SelectionError::NotFound(self.path.clone()))?
            .filter_map(|entry| Some(entry.ok()?.path().join(RESULTS)))
            .filter(|path| path.exists())
            .collect();
        shards.sort();
        let mut all = None;
        for shard in shards {
            let (name, rows) = results::read(&shard)?;
            all.get_or_insert_with(|| (name, Vec::new())).1.extend(rows);
        }
        all.ok_or_else(|| SelectionError::NotFound(self.path.clone()))
    }

    fn row(&self, read: &ResultRow) -> Row {
        let is_named =
            |setting: &&Setting| !self.settings.iter().any(|chosen| chosen.key == setting.key);
        Row {
            cell: join_settings(read.settings.iter().filter(is_named)),
            pair: Some(read.repeat.to_string()),
            outcome: read.status.outcome(),
            values: metrics::all()
                .iter()
                .map(|metric| read.values.get(&metric.name).copied())
                .collect(),
        }
    }
}

fn name_of_values(settings: &[Setting]) -> String {
    settings.iter().map(|setting| setting.value.as_str()).collect::<Vec<_>>().join(" ")
}

fn list_settings(rows: &[ResultRow]) -> String {
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

fn load_saved_table(path: &Path) -> Result<Table, SelectionError> {
    let broken = |detail: String| SelectionError::SavedTable { path: path.to_owned(), detail };
    let text =
        read_all(path, MAX_CAMPAIGN_JSON_BYTES).map_err(|error| broken(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| broken(error.to_string()))
}

/// Loads a run directory: one row per migration, of which `--repeat` makes several.
fn load_run(path: &Path) -> Result<Table, SelectionError> {
    let run = Run::open(path);
    let switchovers = run.switchovers()?;
    let summary = run.summary()?;
    let is_single = switchovers.len() == 1;
    let rows = switchovers.iter().map(|switchover| Row {
        cell: String::new(),
        pair: None,
        outcome: switchover.outcome,
        values: if is_single {
            metrics::of_summary(&summary)
        } else {
            metrics::of_switchover(switchover)
        },
    });
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Table { name, metrics: metrics::all(), rows: rows.collect() })
}

impl Selection {
    /// Lists the comparisons with the campaign's baseline: the baseline, and each other combination
    /// of values of its keys. The list is empty if the campaign has no baseline.
    ///
    /// # Errors
    /// Returns [`SelectionError::NotFound`] if the path is not a campaign directory or a directory
    /// of shards, and [`SelectionError::CampaignFile`] if its `campaign.json` cannot be understood.
    pub fn baseline_comparisons(&self) -> Result<Vec<(Selection, Selection)>, SelectionError> {
        let not_found = || SelectionError::NotFound(self.path.clone());
        let shards = std::fs::read_dir(&self.path)
            .map_err(|_| not_found())?
            .filter_map(Result::ok)
            .map(|entry| entry.path());
        let mut all = std::iter::once(self.path.clone()).chain(shards);
        let (text, path) = all
            .find_map(|directory| {
                let path = directory.join(CAMPAIGN_JSON);
                Some((read_all(&path, MAX_CAMPAIGN_JSON_BYTES).ok()?, path))
            })
            .ok_or_else(not_found)?;
        let CampaignOutline { baseline, cells } = serde_json::from_str(&text)
            .map_err(|source| SelectionError::CampaignFile { path, source })?;
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
    /// Keeps only these metrics, named by their paths in run.json, in this order.
    ///
    /// # Errors
    /// Returns the first name that the table does not have.
    pub fn select_metrics(mut self, names: &[String]) -> Result<Table, String> {
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
    fn settings_follow_the_last_colon_unless_the_whole_text_is_a_path() {
        let parsed: Selection = "a/b:mode=postcopy,link.preset=halifax".parse().unwrap();
        assert_eq!((parsed.path.to_str(), parsed.settings.len()), (Some("a/b"), 2));
        assert_eq!(parsed.to_string(), "a/b:mode=postcopy,link.preset=halifax");
        assert_eq!("a:b".parse::<Selection>().unwrap().path, PathBuf::from("a:b"));
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("x:y=z");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(odd.to_str().unwrap().parse::<Selection>().unwrap().path, odd);
        assert_eq!("a:b=c,d".parse::<Selection>().unwrap_err(), "`d` is not of the form KEY=VALUE");
    }

    #[test]
    fn refuses_a_path_without_runs_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = |path: PathBuf| {
            let error = Selection { path, settings: Vec::new() }.load_table().unwrap_err();
            error.to_string().replace(&dir.path().display().to_string(), "DIR")
        };
        insta::assert_snapshot!(refusal(dir.path().join("none")), @"DIR/none is not a campaign \
            (results.parquet), a run directory (run.json) or a table that `switchover compare \
            --keep` wrote. If it is a campaign that was never finished, finish it with \
            `switchover sweep --resume`");
        insta::assert_snapshot!(refusal(dir.path().to_owned()), @"DIR is not a campaign \
            (results.parquet), a run directory (run.json) or a table that `switchover compare \
            --keep` wrote. If it is a campaign that was never finished, finish it with \
            `switchover sweep --resume`");
        std::fs::write(dir.path().join("t.json"), "{}").unwrap();
        insta::assert_snapshot!(refusal(dir.path().join("t.json")), @"DIR/t.json is not a table \
            that `switchover compare --keep` wrote: missing field `name` at line 1 column 2");
    }
}

//! Makes the runs of a campaign, one visit after the other.
//!
//! Takes a definition and a directory; gives the campaign's directory with a line of the journal for each visit and the results as Parquet. A run that
//! fails, or cannot even start, is a row like any other, and the rest goes on. RunStatus at any moment, by whatever, it goes on with `resume` where it was: what is
//! in the journal is not done again, and what is not in it is.

use super::definition::{Cell, Definition, Keep};
use super::directory::{CAMPAIGN_JSON, JOURNAL, MAX_CAMPAIGN_JSON_BYTES, RESULTS, RUNS};
use super::journal::{CompletedVisit, Journal};
use super::progress::{self, SweepProgress};
use super::results::ResultsHeader;
use super::row::{RunRow, RunStatus};
use super::schedule::{Shard, Visit};
use super::{metrics, results};
use crate::causes::with_causes;
use crate::clock::monotonic_ns;
use crate::drive::{DriveError, Interrupt, Progress};
use crate::plan::Support;
use crate::record::{Outcome, Switchover};
use crate::run::{Finished, Options, RunError, in_lab_again};
use crate::scenario::Scenario;
use crate::text::read_all;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// The version of campaign.json.
const SCHEMA: &str = "switchover.campaign/1";

/// After its time-out a visit is asked to end; after so long it is ended.
const GRACE: Duration = Duration::from_secs(60);
/// The results are written anew at most each so many visits, and at the end.
const WRITE_EACH: usize = 25;

/// Called some 50 times a second while a migration goes on.
pub type OnProgress = Box<dyn FnMut(&Progress) + Send>;

/// What a sweep needs besides its definition.
pub struct SweepOptions {
    /// The campaign's directory.
    pub out: PathBuf,
    /// Go on with what is there.
    pub resume: bool,
    /// Only a part of it.
    pub shard: Option<Shard>,
    /// The user's way out.
    pub interrupt: Interrupt,
    /// Called before each visit.
    pub on_visit: Box<dyn FnMut(&SweepProgress) + Send>,
    /// Makes what is called while a migration goes on.
    pub progress: Box<dyn FnMut() -> OnProgress + Send>,
}

impl std::fmt::Debug for SweepOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SweepOptions")
            .field("out", &self.out)
            .field("resume", &self.resume)
            .finish_non_exhaustive()
    }
}

/// What a sweep did.
#[derive(Debug)]
pub struct SweepOutcome {
    /// All rows of the campaign so far, in the order in which the runs were made.
    pub rows: Vec<RunRow>,
    /// The number of visits that this call made.
    pub visits_made: usize,
    /// The number of visits that are still to be made, because the user interrupted the sweep.
    pub visits_remaining: usize,
    /// The time from the first visit of this call to the end of its last, in seconds.
    pub seconds: f64,
}

/// Why a campaign ended before its end, or did not begin. What is in the journal is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// There is something already.
    #[error("{path} is there already; go on with it by --resume, or name another place with --out")]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// There is nothing to go on with.
    #[error("{path} has no campaign to go on with")]
    Nothing {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is another one's.
    #[error(
        "{path} is of another campaign: {difference}. Nothing there was changed; name another place with --out"
    )]
    Another {
        /// Where.
        path: PathBuf,
        /// In what they differ.
        difference: String,
    },
    /// It cannot be written.
    #[error(
        "cannot write {path}. What was finished before is kept there: make room, and go on with --resume"
    )]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Runs it, or what is left of it.
///
/// # Errors
/// [`SweepError`].
pub async fn sweep(
    definition: &Definition,
    mut options: SweepOptions,
) -> Result<SweepOutcome, SweepError> {
    let mut journal = open(definition, &options)?;
    let visits = definition.visits(options.shard);
    let mut sweep = Sweep { definition, out: &options.out, refused: Vec::new(), known: Vec::new() };
    let mut open: Vec<Visit> =
        visits.iter().copied().filter(|visit| !journal.has(*visit)).collect();
    open.reverse();
    let began_ns = monotonic_ns();
    let mut made = 0;
    while let Some(visit) = open.last().copied() {
        let Some(cell) = definition.cells.iter().find(|cell| cell.number == visit.cell) else {
            break;
        };
        let waiting: Vec<Visit> = open.iter().rev().copied().collect();
        (options.on_visit)(&SweepProgress {
            visits_done: visits.len() - open.len(),
            visits_total: visits.len(),
            failed_runs: journal
                .done
                .iter()
                .flat_map(|visited| &visited.rows)
                .filter(|row| !row.is_good())
                .count(),
            cell: cell.name(),
            remaining: progress::estimate_remaining(definition, &journal.done, &waiting),
        });
        let began = monotonic_ns();
        let Some(rows) =
            sweep.visit(cell, visit, &mut options.interrupt, &mut *options.progress).await?
        else {
            break;
        };
        journal
            .add(CompletedVisit { visit, seconds: seconds_since(began), rows })
            .map_err(|source| write_error(&options.out.join(JOURNAL), source))?;
        open.pop();
        made += 1;
        if made % WRITE_EACH == 0 {
            write_results(definition, &options.out, &journal.done)?;
        }
    }
    write_results(definition, &options.out, &journal.done)?;
    let seconds = seconds_since(began_ns);
    let rows = journal.done.into_iter().flat_map(|visited| visited.rows).collect();
    Ok(SweepOutcome { rows, visits_made: made, visits_remaining: open.len(), seconds })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a campaign takes less than 2^53 ns, a hundred days"
)]
fn seconds_since(began_ns: u64) -> f64 {
    monotonic_ns().saturating_sub(began_ns) as f64 / 1e9
}

fn write_error(path: &Path, source: io::Error) -> SweepError {
    SweepError::Write { path: path.to_owned(), source }
}

fn write_results(
    definition: &Definition,
    out: &Path,
    done: &[CompletedVisit],
) -> Result<(), SweepError> {
    let rows: Vec<&RunRow> = done.iter().flat_map(|visited| &visited.rows).collect();
    let path = out.join(RESULTS);
    let campaign = ResultsHeader {
        name: &definition.name,
        keys: &definition.keys,
        cells: definition.settings_by_cell(),
    };
    results::write(&path, &campaign, &rows)
        .map_err(|error| write_error(&path, io::Error::other(error)))
}

/// The directory, new or as it was left.
fn open(definition: &Definition, options: &SweepOptions) -> Result<Journal, SweepError> {
    let out = &options.out;
    let path = out.join(CAMPAIGN_JSON);
    let now = campaign_json(definition);
    if options.resume {
        let nothing = |source| SweepError::Nothing { path: out.clone(), source };
        let text = read_all(&path, MAX_CAMPAIGN_JSON_BYTES).map_err(nothing)?;
        let before: Value = serde_json::from_str(&text).map_err(|error| nothing(error.into()))?;
        if let Some(difference) = difference(&before, &now) {
            return Err(SweepError::Another { path: out.clone(), difference });
        }
    } else {
        if out.exists() {
            return Err(SweepError::Exists { path: out.clone() });
        }
        std::fs::create_dir_all(out.join(RUNS)).map_err(|source| write_error(out, source))?;
    }
    let text = serde_json::to_string_pretty(&now).unwrap_or_default();
    let partial = out.join("campaign.json.partial");
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, &path))
        .map_err(|source| write_error(&path, source))?;
    let journal = out.join(JOURNAL);
    Journal::open(&journal).map_err(|source| write_error(&journal, source))
}

fn campaign_json(definition: &Definition) -> Value {
    let cells: Vec<Value> = definition
        .cells
        .iter()
        .map(|cell| json!({"number": cell.number, "name": cell.name(), "settings": cell.settings, "scenario": cell.scenario}))
        .collect();
    json!({
        "schema": SCHEMA, "name": definition.name, "repeats": definition.repeats, "warm_up": definition.warm_up, "together": definition.together,
        "seed": definition.seed, "order": definition.order, "baseline": definition.baseline, "keys": definition.keys, "cells": cells,
        "switchover": env!("CARGO_PKG_VERSION"),
    })
}

/// More repeats, another seed or order are no other campaign; another cell is.
fn difference(before: &Value, now: &Value) -> Option<String> {
    if before["schema"] != now["schema"] {
        return Some(format!("its schema is {}, and {SCHEMA} is known", before["schema"]));
    }
    for key in ["name", "warm_up", "together"] {
        if before[key] != now[key] {
            return Some(format!("its {key} is {}, not {}", before[key], now[key]));
        }
    }
    let cells = |json: &Value| json["cells"].as_array().cloned().unwrap_or_default();
    let (before, now) = (cells(before), cells(now));
    if before.len() != now.len() {
        return Some(format!("it has {} cells, not {}", before.len(), now.len()));
    }
    let other = before.iter().zip(&now).find(|(before, now)| before != now)?;
    Some(format!("its cell {} is not the same", other.0["name"]))
}

struct Sweep<'a> {
    definition: &'a Definition,
    out: &'a Path,
    /// Cells whose scenario no QEMU here takes, and why: it would be the same each time.
    refused: Vec<(u32, String)>,
    /// What the QEMUs can that were asked.
    known: Vec<Support>,
}

impl Sweep<'_> {
    /// The rows; `None` if the user wanted out. A run that does not complete is the last of its guest: the rest is made with another.
    async fn visit(
        &mut self,
        cell: &Cell,
        visit: Visit,
        interrupt: &mut Interrupt,
        progress: &mut (dyn FnMut() -> OnProgress + Send),
    ) -> Result<Option<Vec<RunRow>>, SweepError> {
        let repeats: Vec<u32> = (0..self.definition.runs_in_round(visit.round))
            .map(|run| self.definition.first_repeat(visit.round) + run)
            .collect();
        let mut rows = Vec::new();
        for guest in 1.. {
            let open = &repeats[rows.len()..];
            if open.is_empty() {
                break;
            }
            let Some(made) = self.guest(cell, visit, guest, open, interrupt, progress()).await?
            else {
                return Ok(None);
            };
            rows.extend(made);
        }
        Ok(Some(rows))
    }

    /// One fresh guest, and at least one of these runs; `None` if the user wanted out. What could not be recorded is no result: it is an error.
    async fn guest(
        &mut self,
        cell: &Cell,
        visit: Visit,
        guest: u32,
        repeats: &[u32],
        interrupt: &mut Interrupt,
        progress: OnProgress,
    ) -> Result<Option<Vec<RunRow>>, SweepError> {
        let none = |ended, reason: &str| {
            repeats
                .iter()
                .map(|repeat| {
                    RunRow::without_figures(visit.cell, *repeat, ended, reason.to_owned())
                })
                .collect()
        };
        if let Some((_, reason)) = self.refused.iter().find(|(cell, _)| *cell == visit.cell) {
            return Ok(Some(none(RunStatus::NotStarted, reason)));
        }
        let more = if guest > 1 { format!("-{guest}") } else { String::new() };
        let directory = format!("{RUNS}/{:03}-{:03}{more}", visit.cell, visit.round);
        let out = self.out.join(&directory);
        // Of a visit that was cut off.
        let _ = std::fs::remove_dir_all(&out);
        let scenario = self.scenario(cell, visit, repeats.len());
        let timeout = Duration::from_micros(self.definition.timeout.0);
        let (result, timed_out) =
            match bounded(scenario, &out, &mut self.known, timeout, interrupt, progress).await {
                Made::Interrupted => {
                    let _ = std::fs::remove_dir_all(&out);
                    return Ok(None);
                }
                Made::Run { result, timed_out } => (*result, timed_out),
                Made::Nothing => (Err(DriveError::Interrupted.into()), true),
            };
        let rows = match result {
            Ok(Finished { record_error: Some(error), .. }) | Err(RunError::Record(error)) => {
                return Err(write_error(&out, io::Error::other(with_causes(&error))));
            }
            Ok(finished) => {
                rows(&finished, self.definition.warm_up, visit, repeats, &directory, timed_out)
            }
            Err(RunError::Drive(DriveError::Interrupted)) => {
                none(RunStatus::TimedOut, &format!("not over within {}", self.definition.timeout))
            }
            Err(error) => {
                let reason = with_causes(&error);
                if matches!(error, RunError::Refused(_)) {
                    self.refused.push((visit.cell, reason.clone()));
                }
                none(RunStatus::NotStarted, &reason)
            }
        };
        self.keep(&rows, &out);
        Ok(Some(rows))
    }

    fn scenario(&self, cell: &Cell, visit: Visit, runs: usize) -> Scenario {
        let mut scenario = cell.scenario.clone();
        scenario.repeat =
            self.definition.warm_up.saturating_add(u32::try_from(runs).unwrap_or(u32::MAX));
        // The same guest in all cells of a round, and another in the next; unless a cell says which.
        if !cell.settings.iter().any(|setting| setting.key == "guest.seed") {
            scenario.guest.seed =
                self.definition.seed.wrapping_mul(1000).wrapping_add(u64::from(visit.round));
        }
        scenario
    }

    fn keep(&self, rows: &[RunRow], out: &Path) {
        let keeps = match self.definition.keep {
            Keep::All => true,
            Keep::Failed => rows.iter().any(|row| !row.is_good()),
            Keep::None => false,
        };
        if !keeps {
            let _ = std::fs::remove_dir_all(out);
        }
    }
}

/// What became of a visit's run.
enum Made {
    Run {
        result: Box<Result<Finished, RunError>>,
        timed_out: bool,
    },
    /// It did not even end when it was asked to.
    Nothing,
    /// The user wants out.
    Interrupted,
}

/// A run that is asked to end, safely, when its time is up or the user wants out.
async fn bounded(
    scenario: Scenario,
    out: &Path,
    known: &mut Vec<Support>,
    timeout: Duration,
    interrupt: &mut Interrupt,
    progress: OnProgress,
) -> Made {
    let (ask, wanted) = watch::channel(false);
    let options =
        Options { scenario, out: Some(out.to_owned()), interrupt: Interrupt(wanted), progress };
    let running = in_lab_again(options, known);
    tokio::pin!(running);
    let result = tokio::select! {
        result = &mut running => return Made::Run { result: Box::new(result), timed_out: false },
        () = tokio::time::sleep(timeout) => {
            let _ = ask.send(true);
            tokio::time::timeout(GRACE, &mut running).await
        }
        () = interrupt.wait() => {
            let _ = ask.send(true);
            let _ = tokio::time::timeout(GRACE, &mut running).await;
            return Made::Interrupted;
        }
    };
    result.map_or(Made::Nothing, |result| Made::Run { result: Box::new(result), timed_out: true })
}

fn rows(
    finished: &Finished,
    warm_up: u32,
    visit: Visit,
    repeats: &[u32],
    directory: &str,
    timed_out: bool,
) -> Vec<RunRow> {
    let summary = &finished.summary;
    let measured: Vec<&Switchover> =
        finished.switchovers.iter().filter(|switchover| switchover.number > warm_up).collect();
    let alone = finished.switchovers.len() == 1;
    let row = |repeat: u32, switchover: &Switchover| RunRow {
        cell: visit.cell,
        repeat,
        started: switchover.started.clone(),
        ended: if timed_out && switchover.outcome == Outcome::Cancelled {
            RunStatus::TimedOut
        } else {
            RunStatus::Migrated(switchover.outcome)
        },
        reason: switchover.reason.clone(),
        postcopy_happened: switchover.postcopy_happened,
        integrity: summary.guest.integrity,
        qemu: format!(
            "{} → {}",
            summary.environment.source_qemu, summary.environment.destination_qemu
        ),
        accelerator: summary.environment.accelerator.clone().unwrap_or_default(),
        directory: directory.to_owned(),
        values: if alone {
            metrics::of_summary(summary)
        } else {
            metrics::of_switchover(switchover)
        },
    };
    let rows: Vec<RunRow> = repeats
        .iter()
        .zip(&measured)
        .map(|(repeat, switchover)| row(*repeat, switchover))
        .collect();
    if !rows.is_empty() {
        return rows;
    }
    // It ended while it warmed up, and would do so again.
    let ended = if timed_out { RunStatus::TimedOut } else { RunStatus::NotStarted };
    let reason = format!("the series had ended: {}", summary.reason);
    repeats
        .iter()
        .map(|repeat| RunRow::without_figures(visit.cell, *repeat, ended, reason.clone()))
        .collect()
}

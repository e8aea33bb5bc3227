//! Makes the runs of a campaign, one visit after the other.
//!
//! The campaign directory gets one line in the journal per visit, and the results as Parquet. A run
//! that fails, or that cannot even start, becomes a row like any other, and the sweep continues.
//! Whatever ended a sweep, `resume` continues it: a visit that is in the journal is not made again.

use super::campaign_file::CampaignFile;
use super::definition::{Cell, Definition, Keep};
use super::journal::{CompletedVisit, Journal};
use super::progress::{SweepProgress, estimate_remaining};
use super::schedule::{Shard, Visit};
use crate::run::{Finished, Options, RunError, in_lab_again};
use analysis::directory::{CAMPAIGN_JSON, JOURNAL, RESULTS, RUNS};
use analysis::metrics;
use analysis::results::{self, ResultsHeader};
use analysis::{RunRow, RunStatus};
use base::causes::with_causes;
use base::clock::monotonic_ns;
use migrate::drive::{DriveError, Interrupt, Progress};
use migrate::plan::Support;
use record::{Outcome, Switchover};
use scenario::Scenario;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// How long a visit may take to end after it was asked to, before it is dropped.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// The results are written after every so many visits, and at the end.
const VISITS_PER_RESULTS_WRITE: usize = 25;

/// A callback that is called about 50 times a second while a migration runs.
pub type OnProgress = Box<dyn FnMut(&Progress) + Send>;

/// What a sweep needs besides the campaign's definition.
pub struct SweepOptions {
    /// The directory to create or, with `resume`, to continue.
    pub out: PathBuf,
    /// Whether to continue an earlier sweep of the same campaign in `out`; otherwise `out` must not
    /// exist.
    pub resume: bool,
    /// The part of the campaign to run; `None` for all of it.
    pub shard: Option<Shard>,
    /// Ends the sweep safely when the user interrupts it.
    pub interrupt: Interrupt,
    /// Called before each visit.
    pub on_visit: Box<dyn FnMut(&SweepProgress) + Send>,
    /// Called for each guest; returns the callback for the progress of its migrations.
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

/// Why a sweep did not start, or stopped early. All visits that are in the journal are kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The campaign directory exists, and `resume` was not asked for.
    #[error(
        "{path} exists already; continue it with --resume, or name another directory with --out"
    )]
    AlreadyExists {
        /// The campaign directory, as `--out` named it or as it was chosen from the name.
        path: PathBuf,
    },
    /// There is nothing to resume: `campaign.json` cannot be read.
    #[error("{path} has no campaign to resume")]
    NothingToResume {
        /// The campaign directory, as `--out` named it or as it was chosen from the name.
        path: PathBuf,
        /// Why `campaign.json` cannot be read.
        source: io::Error,
    },
    /// The directory was made for a campaign with other cells.
    #[error(
        "{path} belongs to another campaign: {difference}. Nothing there was changed; name another \
         directory with --out"
    )]
    DifferentCampaign {
        /// The campaign directory, as `--out` named it or as it was chosen from the name.
        path: PathBuf,
        /// The first difference between the two campaigns.
        difference: String,
    },
    /// A file of the campaign directory or of a run directory cannot be written.
    #[error(
        "cannot write {path}. The visits that were finished before are kept there: free some \
            space, \
         and continue with --resume"
    )]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Makes all visits of a campaign that are not in the journal yet.
///
/// # Errors
/// Returns [`SweepError`] if the campaign directory cannot be used or written. A run that fails is
/// not an error but a row.
pub async fn sweep(
    definition: &Definition,
    mut options: SweepOptions,
) -> Result<SweepOutcome, SweepError> {
    let mut journal = open_directory(definition, &options)?;
    let visits = definition.visits(options.shard);
    let mut sweep = Sweep { definition, out: &options.out, refused: Vec::new(), known: Vec::new() };
    // In reverse order, so that the next visit is the last element.
    let mut open: Vec<Visit> =
        visits.iter().rev().copied().filter(|visit| !journal.contains(*visit)).collect();
    let began_ns = monotonic_ns();
    let mut visits_made = 0;
    while let Some(visit) = open.last().copied() {
        let cell = definition.cell(visit.cell).expect("visits are of the definition's cells");
        (options.on_visit)(&SweepProgress {
            visits_done: visits.len() - open.len(),
            visits_total: visits.len(),
            failed_runs: count_failed(&journal.visits),
            cell: cell.name(),
            remaining: estimate_remaining(definition, &journal.visits, &open),
        });
        let visit_began_ns = monotonic_ns();
        let Some(rows) =
            sweep.visit(cell, visit, &mut options.interrupt, &mut *options.progress).await?
        else {
            break;
        };
        journal
            .append(CompletedVisit { visit, seconds: seconds_since(visit_began_ns), rows })
            .map_err(|source| write_error(&options.out.join(JOURNAL), source))?;
        open.pop();
        visits_made += 1;
        if visits_made % VISITS_PER_RESULTS_WRITE == 0 {
            write_results(definition, &options.out, &journal.visits)?;
        }
    }
    write_results(definition, &options.out, &journal.visits)?;
    let seconds = seconds_since(began_ns);
    let rows = journal.visits.into_iter().flat_map(|visited| visited.rows).collect();
    Ok(SweepOutcome { rows, visits_made, visits_remaining: open.len(), seconds })
}

fn count_failed(visits: &[CompletedVisit]) -> usize {
    visits.iter().flat_map(|visited| &visited.rows).filter(|row| !row.is_successful()).count()
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
    visits: &[CompletedVisit],
) -> Result<(), SweepError> {
    let rows: Vec<&RunRow> = visits.iter().flat_map(|visited| &visited.rows).collect();
    let path = out.join(RESULTS);
    let campaign = ResultsHeader {
        name: &definition.name,
        keys: &definition.keys,
        cells: definition.settings_by_cell(),
    };
    results::write(&path, &campaign, &rows)
        .map_err(|error| write_error(&path, io::Error::other(error)))
}

/// Creates the campaign directory, or checks that it belongs to this campaign; opens its journal.
fn open_directory(definition: &Definition, options: &SweepOptions) -> Result<Journal, SweepError> {
    let out = &options.out;
    let path = out.join(CAMPAIGN_JSON);
    let file = CampaignFile::of(definition);
    if options.resume {
        let difference = file
            .difference_from(&path)
            .map_err(|source| SweepError::NothingToResume { path: out.clone(), source })?;
        if let Some(difference) = difference {
            return Err(SweepError::DifferentCampaign { path: out.clone(), difference });
        }
    } else {
        if out.exists() {
            return Err(SweepError::AlreadyExists { path: out.clone() });
        }
        std::fs::create_dir_all(out.join(RUNS)).map_err(|source| write_error(out, source))?;
    }
    file.write(&path).map_err(|source| write_error(&path, source))?;
    let journal = out.join(JOURNAL);
    Journal::open(&journal).map_err(|source| write_error(&journal, source))
}

struct Sweep<'a> {
    definition: &'a Definition,
    out: &'a Path,
    /// Cells whose scenario these QEMUs refuse, with the reason. They are not tried again.
    refused: Vec<(u32, String)>,
    /// What the QEMU binaries support that were queried so far.
    known: Vec<Support>,
}

impl Sweep<'_> {
    /// Makes one visit and returns its rows, or `None` if the user interrupted it. A guest whose
    /// migration does not complete is not used again: the remaining runs get a fresh guest.
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
            let remaining = &repeats[rows.len()..];
            if remaining.is_empty() {
                break;
            }
            let Some(made) =
                self.run_guest(cell, visit, guest, remaining, interrupt, progress()).await?
            else {
                return Ok(None);
            };
            rows.extend(made);
        }
        Ok(Some(rows))
    }

    /// Starts one fresh guest and returns the rows of at least the first of these repeats, or
    /// `None` if the user interrupted it. A run whose record cannot be written is an error, not a
    /// row.
    async fn run_guest(
        &mut self,
        cell: &Cell,
        visit: Visit,
        guest: u32,
        repeats: &[u32],
        interrupt: &mut Interrupt,
        progress: OnProgress,
    ) -> Result<Option<Vec<RunRow>>, SweepError> {
        let rows_without_figures = |status, reason: &str| {
            repeats
                .iter()
                .map(|repeat| {
                    RunRow::without_figures(visit.cell, *repeat, status, reason.to_owned())
                })
                .collect()
        };
        if let Some((_, reason)) = self.refused.iter().find(|(cell, _)| *cell == visit.cell) {
            return Ok(Some(rows_without_figures(RunStatus::NotStarted, reason)));
        }
        let suffix = if guest > 1 { format!("-{guest}") } else { String::new() };
        let directory = format!("{RUNS}/{:03}-{:03}{suffix}", visit.cell, visit.round);
        let out = self.out.join(&directory);
        // A visit that was killed may have left this directory. If it cannot be removed, creating
        // the run directory fails below and reports it.
        let _ = std::fs::remove_dir_all(&out);
        let scenario = self.scenario(cell, visit, repeats.len());
        let timeout = Duration::from_micros(self.definition.timeout.0);
        let (result, timed_out) =
            match run_with_timeout(scenario, &out, &mut self.known, timeout, interrupt, progress)
                .await
            {
                BoundedRun::Interrupted => {
                    let _ = std::fs::remove_dir_all(&out);
                    return Ok(None);
                }
                BoundedRun::Ended { result, timed_out } => (*result, timed_out),
                BoundedRun::Dropped => (Err(DriveError::Interrupted.into()), true),
            };
        let rows = match result {
            Ok(Finished { record_error: Some(error), .. }) | Err(RunError::Record(error)) => {
                return Err(write_error(&out, io::Error::other(with_causes(&error))));
            }
            Ok(finished) => {
                rows_of(&finished, self.definition.warm_up, visit, repeats, &directory, timed_out)
            }
            Err(RunError::Drive(DriveError::Interrupted)) => {
                let reason = format!("not finished within timeout = {}", self.definition.timeout);
                rows_without_figures(RunStatus::TimedOut, &reason)
            }
            Err(error) => {
                let reason = with_causes(&error);
                if matches!(error, RunError::Refused(_)) {
                    self.refused.push((visit.cell, reason.clone()));
                }
                rows_without_figures(RunStatus::NotStarted, &reason)
            }
        };
        self.remove_unless_kept(&rows, &out);
        Ok(Some(rows))
    }

    fn scenario(&self, cell: &Cell, visit: Visit, runs: usize) -> Scenario {
        let mut scenario = cell.scenario.clone();
        scenario.repeat =
            self.definition.warm_up.saturating_add(u32::try_from(runs).unwrap_or(u32::MAX));
        // All cells of a round get the same guest, and the next round another one, unless the cell
        // sets the seed itself.
        if !cell.settings.iter().any(|setting| setting.key == "guest.seed") {
            scenario.guest.seed =
                self.definition.seed.wrapping_mul(1000).wrapping_add(u64::from(visit.round));
        }
        scenario
    }

    fn remove_unless_kept(&self, rows: &[RunRow], out: &Path) {
        let keeps = match self.definition.keep {
            Keep::All => true,
            Keep::Failed => rows.iter().any(|row| !row.is_successful()),
            Keep::None => false,
        };
        if !keeps {
            // A directory that stays costs only space.
            let _ = std::fs::remove_dir_all(out);
        }
    }
}

/// How a run ended that has a timeout.
enum BoundedRun {
    Ended {
        result: Box<Result<Finished, RunError>>,
        timed_out: bool,
    },
    /// The run did not end within [`END_TIMEOUT`] after it was asked to, and was dropped.
    Dropped,
    /// The user interrupted the sweep, and the run has ended.
    Interrupted,
}

/// Runs a scenario, and asks it to end safely at the timeout or when the user interrupts.
async fn run_with_timeout(
    scenario: Scenario,
    out: &Path,
    known: &mut Vec<Support>,
    timeout: Duration,
    interrupt: &mut Interrupt,
    progress: OnProgress,
) -> BoundedRun {
    let (request_end, end_requested) = watch::channel(false);
    let options = Options {
        scenario,
        out: Some(out.to_owned()),
        interrupt: Interrupt(end_requested),
        progress,
    };
    let running = in_lab_again(options, known);
    tokio::pin!(running);
    let result = tokio::select! {
        result = &mut running => return BoundedRun::Ended { result: Box::new(result),
            timed_out: false },
        () = tokio::time::sleep(timeout) => {
            let _ = request_end.send(true);
            tokio::time::timeout(END_TIMEOUT, &mut running).await
        }
        () = interrupt.wait() => {
            let _ = request_end.send(true);
            let _ = tokio::time::timeout(END_TIMEOUT, &mut running).await;
            return BoundedRun::Interrupted;
        }
    };
    result.map_or(BoundedRun::Dropped, |result| BoundedRun::Ended {
        result: Box::new(result),
        timed_out: true,
    })
}

/// Makes the rows of one guest's measured runs.
fn rows_of(
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
    let is_single = finished.switchovers.len() == 1;
    let row = |repeat: u32, switchover: &Switchover| RunRow {
        cell: visit.cell,
        repeat,
        started: switchover.started.clone(),
        status: if timed_out && switchover.outcome == Outcome::Cancelled {
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
        // Empty if QEMU did not say which accelerator it uses.
        accelerator: summary.environment.accelerator.clone().unwrap_or_default(),
        directory: directory.to_owned(),
        values: if is_single {
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
    // A warm-up migration failed; it would fail again with a fresh guest.
    let status = if timed_out { RunStatus::TimedOut } else { RunStatus::NotStarted };
    let reason = format!("the series ended during warm-up: {}", summary.reason);
    repeats
        .iter()
        .map(|repeat| RunRow::without_figures(visit.cell, *repeat, status, reason.clone()))
        .collect()
}

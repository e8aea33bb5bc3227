//! One run, from scenario to summary: the rooms in their order.
//!
//! Takes a scenario, and a lab to start or two QEMUs that somebody else started; gives a run
//! directory and its summary. This is what the command and every campaign call. Knows nothing of
//! arguments and terminals.
//!
//! Map: here the run · `in_lab` the migrations of a lab, one or many · `attached` sessions to QEMUs
//! that are there · `foreign_trace` their trace points · `path` what the stream goes through ·
//! `link_view` what passed there · `migration` one migration between two sides · `digest` figures
//! gathered while samples go by · `guest` what the lab's guest says before and after ·
//! `application` what one in it made of it · `host` what else the machine did · `switchovers` each
//! migration of a run · `series` what many have in common · `convergence` why it converged or not ·
//! `recovery` of a broken post-copy · `summarize` run.json from all of it.

mod application;
mod attached;
mod convergence;
mod digest;
mod foreign_trace;
mod guest;
mod host;
mod in_lab;
mod link_view;
mod migration;
mod path;
mod recovery;
mod series;
mod summarize;
mod switchovers;

pub use attached::Attach;

use analysis::Timeline;
use analysis::downtime::Clocks;
use digest::Digest;
use guest::GuestFacts;
use lab::{Accelerator, LabError};
use migrate::drive::{DriveError, Interrupt, Progress};
use migrate::plan::{Refused, Support};
use migration::Migration;
use qmp::QmpError;
use record::{HISTOGRAMS, RecordError, RunDir, Summary, Switchover};
use scenario::Scenario;
use std::path::PathBuf;
use std::time::Duration;
use switchovers::Recorded;

/// What a run needs besides its scenario.
pub struct Options {
    /// What to do.
    pub scenario: Scenario,
    /// The run directory; a fresh one under `./runs` if `None`.
    pub out: Option<PathBuf>,
    /// The user's way out.
    pub interrupt: Interrupt,
    /// Called some 50 times a second while the migration goes on.
    pub progress: Box<dyn FnMut(&Progress) + Send>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("scenario", &self.scenario)
            .field("out", &self.out)
            .finish_non_exhaustive()
    }
}

/// A run that took place, however it ended.
#[derive(Debug)]
pub struct Finished {
    /// Its summary.
    pub summary: Summary,
    /// Each of its migrations.
    pub switchovers: Vec<Switchover>,
    /// The last of them over time.
    pub timeline: Timeline,
    /// Its directory.
    pub path: PathBuf,
    /// The record could not be written in full; the summary is true all the same.
    pub record_error: Option<RecordError>,
}

/// Why there was no run. No migration was started, nothing is left running or on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The run directory.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A QEMU cannot be reached or asked.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// It cannot be done.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The settings.
    #[error(transparent)]
    Drive(#[from] DriveError),
}

/// What was seen besides the samples, for the summary.
struct Seen {
    scenario: Scenario,
    supports: [Support; 2],
    /// One, or many of a series.
    migrations: Vec<Migration>,
    guest: GuestFacts,
    accelerator: Option<Accelerator>,
    boot: Option<Duration>,
    clocks: Clocks,
    warnings: Vec<String>,
}

/// Starts a lab, migrates in it, measures.
///
/// # Errors
/// [`RunError`]: there was no migration. A migration that fails or does not converge is no error
/// but an outcome.
pub async fn in_lab(options: Options) -> Result<Finished, RunError> {
    in_lab_again(options, &mut Vec::new()).await
}

/// The same for one of many: what the QEMUs of earlier runs can (`known`) is not asked again where
/// they are of the same build.
///
/// # Errors
/// As [`in_lab()`].
pub async fn in_lab_again(
    options: Options,
    known: &mut Vec<Support>,
) -> Result<Finished, RunError> {
    let (id, directory) = directory_for(&options)?;
    let result = in_lab::run(options, &directory, known).await;
    if let Ok(seen) = &result {
        let new = seen
            .supports
            .iter()
            .filter(|support| !known.iter().any(|known| known.package == support.package));
        known.extend(new.cloned().collect::<Vec<_>>());
    }
    finish(result, id, directory)
}

/// Migrates between two QEMUs that somebody else started.
///
/// # Errors
/// As [`in_lab()`].
pub async fn attached(
    options: Options,
    source: Attach,
    destination: Attach,
) -> Result<Finished, RunError> {
    if options.scenario.repeat > 1 {
        let reason = "repeat is for a lab, which can start fresh destinations; QEMUs of your own are migrated once";
        return Err(Refused(vec![reason.to_owned()]).into());
    }
    let (id, directory) = directory_for(&options)?;
    let result = attached::run(options, &directory, source, destination, false).await;
    finish(result, id, directory)
}

/// Sees a migration through that goes on between two QEMUs: its driver died, or somebody else began
/// it. Nothing is set; of the scenario only `timeout`, `give_up`, `recovery`, `sampling` and
/// `record` count. The blackout is only known if it is still to come.
///
/// # Errors
/// As [`in_lab()`]; also if no migration is under way.
pub async fn adopted(
    options: Options,
    source: Attach,
    destination: Attach,
) -> Result<Finished, RunError> {
    let (id, directory) = directory_for(&options)?;
    let result = attached::run(options, &directory, source, destination, true).await;
    finish(result, id, directory)
}

fn directory_for(options: &Options) -> Result<(String, RunDir), RecordError> {
    let id = summarize::new_id();
    let path = options.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&id));
    let directory =
        RunDir::create(&path, &options.scenario.to_toml(), options.scenario.record.transcript)?;
    Ok((id, directory))
}

/// Makes the run directory whole, or removes it where nothing was measured.
fn finish(
    result: Result<Seen, RunError>,
    id: String,
    directory: RunDir,
) -> Result<Finished, RunError> {
    let seen = match result {
        Ok(seen) => seen,
        Err(error) => {
            directory.discard();
            return Err(error);
        }
    };
    let path = directory.path().to_owned();
    let mut digests = vec![Digest::default(); seen.migrations.len()];
    let (closed, mut record_error) = match directory.close(|row| {
        let after =
            seen.migrations.partition_point(|migration| migration.sampled_from_ns <= row.sent_ns);
        if let Some(digest) = digests.get_mut(after.saturating_sub(1)) {
            digest.look(row);
        }
    }) {
        Ok(closed) => (Some(closed), None),
        Err(error) => (None, Some(error)),
    };
    let recorded = Recorded::read(&record::Run::open(&path), seen.migrations.len());
    let switchovers = switchovers::switchovers(&seen, &recorded, &digests);
    let summary = summarize::summarize(id, &seen, &recorded, &digests, &switchovers, &path);
    // There is a migration wherever there is no error.
    let Some(summary) = summary else { return Err(DriveError::Interrupted.into()) };
    if let Some(closed) = closed {
        let log = series::interval_log(&seen, &switchovers);
        record_error = closed
            .write(HISTOGRAMS, &log)
            .and_then(|()| closed.finish(&summary, &switchovers))
            .err();
    }
    let timeline = recorded.timeline(&seen, &summary.brownout.write_rate);
    Ok(Finished { summary, switchovers, timeline, path, record_error })
}

/// Writes `run.json` again, for a summary to which checks were added.
///
/// # Errors
/// [`RecordError::Write`].
pub fn rewrite(finished: &Finished) -> Result<(), RecordError> {
    record::write_summary(&finished.path, &finished.summary)
}

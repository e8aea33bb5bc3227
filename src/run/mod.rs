//! One run, from scenario to summary: the rooms in their order.
//!
//! Takes a scenario, and a lab to start or two QEMUs that somebody else started; gives a run directory and its summary. This is
//! what the command and every campaign call. Knows nothing of arguments and terminals.
//!
//! Map: here the run · `attached` sessions to QEMUs that are there · `digest` figures gathered while samples go by ·
//! `guest` what the micro-guest says before and after · `summarize` run.json from all of it.

mod attached;
mod digest;
mod guest;
mod summarize;

pub use attached::Attach;

use crate::drive::{DriveError, Driver, End, Interrupt, Progress, Report};
use crate::lab::{Accelerator, Lab, LabError, choose_accelerator};
use crate::observe::{BeatReport, Heartbeats, Latest, Sampler, SharedSampler};
use crate::plan::{OLDEST, Plan, Refused, Side, Support, plan};
use crate::qmp::{Blocking, QmpError, Session};
use crate::record::{Integrity, Outcome, RecordError, RunDir, Sampling, Sink, Summary};
use crate::scenario::Scenario;
use crate::units::SampleRate;
use guest::{GuestFacts, GuestWatch};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::mpsc;

const ASK_DEADLINE: Duration = Duration::from_secs(10);

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
        f.debug_struct("Options").field("scenario", &self.scenario).field("out", &self.out).finish_non_exhaustive()
    }
}

/// A run that took place, however it ended.
#[derive(Debug)]
pub struct Finished {
    /// Its summary.
    pub summary: Summary,
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

/// Both sides of a run, wherever they come from.
struct Sides {
    ends: [End; 2],
    sampling: [Option<Blocking>; 2],
    exits: mpsc::UnboundedReceiver<(Side, String)>,
    local_uri: Option<String>,
    clocks: crate::downtime::Clocks,
}

/// What was seen besides the samples, for the summary.
struct Seen {
    supports: [Support; 2],
    plan: Plan,
    report: Report,
    sampling: Sampling,
    beats: Option<BeatReport>,
    guest: GuestFacts,
    accelerator: Option<Accelerator>,
    boot: Option<Duration>,
    clocks: crate::downtime::Clocks,
}

/// Starts a lab, migrates in it, measures.
///
/// # Errors
/// [`RunError`]: there was no migration. A migration that fails or does not converge is no error but an outcome.
pub async fn in_lab(options: Options) -> Result<Finished, RunError> {
    let (id, directory) = directory_for(&options)?;
    let result = lab_run(options, &directory).await;
    finish(result, id, directory)
}

async fn lab_run(mut options: Options, directory: &RunDir) -> Result<(Scenario, Seen), RunError> {
    let scenario = options.scenario.clone();
    let transcript = scenario.record.transcript;
    let starting = async {
        let accelerator = choose_accelerator(&scenario).await?;
        Lab::start(&scenario, accelerator, &directory.sink(), directory.path(), transcript).await
    };
    let mut lab = tokio::select! {
        lab = starting => lab?,
        () = options.interrupt.wait() => return Err(DriveError::Interrupted.into()),
    };
    let result = lab_migration(options, &mut lab, directory.sink()).await;
    lab.stop().await;
    result.map(|seen| (scenario, seen))
}

async fn lab_migration(options: Options, lab: &mut Lab, sink: Sink) -> Result<Seen, RunError> {
    let mut watch = GuestWatch::default();
    let lost = || LabError::System { what: "the lab's connections".to_owned(), source: std::io::ErrorKind::NotConnected.into() };
    let ends = [lab.source.end.take().ok_or_else(lost)?, lab.destination.end.take().ok_or_else(lost)?];
    let stream = |side: &mut crate::lab::LabSide| -> Result<_, LabError> {
        let what = || "the heartbeat sockets".to_owned();
        let stream = side.heartbeat.take().ok_or_else(lost)?;
        stream.into_std().map_err(|source| LabError::System { what: what(), source })
    };
    let heartbeats = Heartbeats::start(stream(&mut lab.source)?, stream(&mut lab.destination)?, sink.clone())
        .map_err(|source| LabError::System { what: "the heartbeat thread".to_owned(), source })?;
    let (_, no_exits) = mpsc::unbounded_channel();
    let sides = Sides {
        ends,
        sampling: [lab.source.sampling.take(), lab.destination.sampling.take()],
        exits: std::mem::replace(&mut lab.exits, no_exits),
        local_uri: Some(lab.uri.clone()),
        clocks: crate::downtime::Clocks::Shared,
    };
    let scenario = options.scenario.clone();
    let console = &mut lab.source.console;
    let before_migrate = async { watch.before_migrate(console).await };
    let mut seen = migrate(options, sides, sink, before_migrate).await?;

    let console = match seen.report.ending.outcome {
        Outcome::Completed => Some(&mut lab.destination.console),
        Outcome::NotConverged | Outcome::Cancelled | Outcome::Failed => Some(&mut lab.source.console),
        Outcome::Lost | Outcome::Unknown => None,
    };
    if let Some(console) = console {
        seen.guest = watch.after_migration(console, &scenario.guest, &seen.report).await;
    }
    seen.beats = Some(heartbeats.stop());
    seen.accelerator = Some(lab.accelerator.clone());
    seen.boot = Some(lab.boot);
    Ok(seen)
}

/// Migrates between two QEMUs that somebody else started.
///
/// # Errors
/// As [`in_lab`].
pub async fn attached(options: Options, source: Attach, destination: Attach) -> Result<Finished, RunError> {
    let (id, directory) = directory_for(&options)?;
    let result = attached_run(options, &directory, source, destination).await;
    finish(result, id, directory)
}

async fn attached_run(
    mut options: Options,
    directory: &RunDir,
    source: Attach,
    destination: Attach,
) -> Result<(Scenario, Seen), RunError> {
    let scenario = options.scenario.clone();
    let sink = directory.sink();
    let connecting = attached::connect(&source, &destination, &sink, scenario.record.transcript);
    let (sides, _private) = tokio::select! {
        connected = connecting => connected?,
        () = options.interrupt.wait() => return Err(DriveError::Interrupted.into()),
    };
    let seen = migrate(options, sides, sink, std::future::ready(())).await?;
    Ok((scenario, seen))
}

/// What labs and attached QEMUs have in common: plan, prepare, sample, drive.
async fn migrate(options: Options, sides: Sides, sink: Sink, before_migrate: impl Future<Output = ()>) -> Result<Seen, RunError> {
    let Options { scenario, interrupt, progress, .. } = options;
    let Sides { ends: [source, destination], sampling, exits, local_uri, clocks } = sides;
    // Before anything is asked: what is too old may not know the questions.
    for session in [&source.session, &destination.session] {
        too_old(session)?;
    }
    // The destination first: where both are one build, its schema serves for both, and the running guest is not held up.
    let on_destination = Support::ask(&destination.session, None, ASK_DEADLINE).await?;
    let supports = [Support::ask(&source.session, Some(&on_destination), ASK_DEADLINE).await?, on_destination];
    let plan = plan(&scenario, &supports[0], &supports[1], local_uri.as_deref())?;
    let latest = [Latest::default(), Latest::default()];
    let pass = Arc::new(AtomicU64::new(0));
    let sessions = [source.session.clone(), destination.session.clone()];
    let mut driver = Driver {
        plan: plan.clone(),
        source,
        destination,
        sink: sink.clone(),
        latest: latest.clone(),
        pass: pass.clone(),
        interrupt,
        exits,
        run_state_before: supports[0].run_state.clone(),
        progress,
    };
    let uri = driver.prepare().await?;
    before_migrate.await;
    let rates = [scenario.sampling.source, scenario.sampling.destination];
    let samplers = start_samplers(rates, sampling, &sessions, &sink, &latest, &pass);
    let report = driver.migrate(uri).await;
    let mut sampled = [None, None];
    for (sampler, slot) in samplers.into_iter().zip(&mut sampled) {
        *slot = match sampler {
            Some(AnySampler::Own(sampler)) => Some(sampler.stop()),
            Some(AnySampler::Shared(sampler)) => Some(sampler.stop().await),
            None => None,
        };
    }
    let [source, destination] = sampled;
    let sampling = Sampling { source, destination };
    let (beats, guest, accelerator, boot) = (None, GuestFacts::default(), None, None);
    Ok(Seen { supports, plan, report, sampling, beats, guest, accelerator, boot, clocks })
}

fn too_old(session: &Session) -> Result<(), Refused> {
    let greeting = session.greeting();
    if greeting.version >= OLDEST {
        return Ok(());
    }
    let (major, minor, _) = OLDEST;
    let reason = format!("{}: QEMU {} is too old; {major}.{minor} or newer is needed", session.side(), greeting.version_text());
    Err(Refused(vec![reason]))
}

enum AnySampler {
    Own(Sampler),
    Shared(SharedSampler),
}

/// A sampler for each side that wants one: on its own connection where there is one, else behind everything on the session.
fn start_samplers(
    rates: [SampleRate; 2],
    own: [Option<Blocking>; 2],
    sessions: &[Session; 2],
    sink: &Sink,
    latest: &[Latest; 2],
    pass: &Arc<AtomicU64>,
) -> Vec<Option<AnySampler>> {
    let both = [Side::Source, Side::Destination].into_iter().zip(rates).zip(own).zip(sessions).zip(latest);
    both.map(|((((side, rate), own), session), latest)| {
        if rate == SampleRate::Off {
            return None;
        }
        let (sink, latest) = (sink.clone(), latest.clone());
        match own {
            Some(connection) => match Sampler::start(side, connection, rate, sink, latest) {
                Ok(sampler) => Some(AnySampler::Own(sampler)),
                Err(error) => {
                    tracing::warn!(%side, %error, "no sampling: its thread cannot be started");
                    None
                }
            },
            None => Some(AnySampler::Shared(SharedSampler::start(session.clone(), side, rate, sink, latest, pass.clone()))),
        }
    })
    .collect()
}

fn directory_for(options: &Options) -> Result<(String, RunDir), RecordError> {
    let id = summarize::new_id();
    let path = options.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&id));
    let directory = RunDir::create(&path, &options.scenario.to_toml(), options.scenario.record.transcript)?;
    Ok((id, directory))
}

/// Makes the run directory whole, or removes it where nothing was measured.
fn finish(result: Result<(Scenario, Seen), RunError>, id: String, directory: RunDir) -> Result<Finished, RunError> {
    let (scenario, seen) = match result {
        Ok(seen) => seen,
        Err(error) => {
            directory.discard();
            return Err(error);
        }
    };
    let path = directory.path().to_owned();
    let mut digest = digest::Digest::default();
    let (closed, record_error) = match directory.close(|row| digest.look(row)) {
        Ok(closed) => (Some(closed), None),
        Err(error) => (None, Some(error)),
    };
    let events = crate::record::Run::open(&path).events().unwrap_or_default();
    let summary = summarize::summarize(id, &scenario, &seen, &events, &digest, &path);
    let record_error = record_error.or_else(|| closed.and_then(|closed| closed.finish(&summary).err()));
    Ok(Finished { summary, path, record_error })
}

/// Writes `run.json` again, for a summary to which checks were added.
///
/// # Errors
/// [`RecordError::Write`].
pub fn rewrite(finished: &Finished) -> Result<(), RecordError> {
    crate::record::write_summary(&finished.path, &finished.summary)
}

/// Exit codes that a run can give by itself; the command adds those of its own. See ARCHITECTURE.md.
#[must_use]
pub fn exit_code(summary: &Summary) -> u8 {
    match (summary.outcome, summary.guest.integrity) {
        (Outcome::Lost, _) | (_, Integrity::Corrupt) => 6,
        (Outcome::Unknown, _) => 7,
        (Outcome::Failed, _) => 8,
        (Outcome::NotConverged | Outcome::Cancelled, _) => 3,
        (Outcome::Completed, _) => 0,
    }
}

//! One migration between two sides, wherever they come from: plan, prepare, sample, drive.

use super::RunError;
use super::host::HostWatch;
use super::path::Path;
use base::Side;
use base::clock::{Stamp, monotonic_ns};
use base::units::SampleRate;
use lab::Route;
use lab::link::Totals;
use migrate::drive::{Driver, End, InstalledTls, Interrupt, Progress, Report};
use migrate::observe::{Latest, Sampler, SharedSampler};
use migrate::plan::{OLDEST, Plan, Refused, StreamContext, Support, adopt, plan};
use qmp::{BlockingSession, Session};
use record::{Host, SampledSide, Sampling, Sink};
use scenario::Scenario;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::mpsc;

const ASK_DEADLINE: Duration = Duration::from_secs(10);

/// Both sides of a migration.
pub(super) struct Sides {
    pub(super) ends: [End; 2],
    pub(super) sampling: [Option<BlockingSession>; 2],
    pub(super) exits: mpsc::UnboundedReceiver<(Side, String)>,
    /// Files for the stream may be made under this name, where both are on this host.
    pub(super) local: Option<PathBuf>,
    /// The way between them, where it is not this host's own network.
    pub(super) network: Option<Route>,
    /// We started them, so that what they use is not somebody else's.
    pub(super) ours: bool,
}

/// What a migration needs besides its sides.
pub(super) struct Means<'a> {
    /// Which of the run, from 1.
    pub(super) number: u32,
    pub(super) scenario: &'a Scenario,
    pub(super) sink: Sink,
    pub(super) interrupt: Interrupt,
    pub(super) progress: Box<dyn FnMut(&Progress) + Send>,
    /// Somebody else began it, and it goes on.
    pub(super) adopts: bool,
}

/// A migration that took place, however it ended.
#[derive(Debug)]
pub(super) struct Migration {
    pub(super) plan: Plan,
    /// When `migrate-incoming` was sent.
    pub(super) incoming_asked: Option<Stamp>,
    pub(super) report: Report,
    pub(super) sampling: Sampling,
    /// Samples from here on are its own.
    pub(super) sampled_from_ns: u64,
    /// What passed over the link, where there is one.
    pub(super) passed: Option<Totals>,
    /// What else this machine did meanwhile.
    pub(super) host: Host,
    /// The sampling connections, to go on with.
    pub(super) connections: [Option<BlockingSession>; 2],
}

/// Asks both sides what they are and can. What builds of `known` can is known.
pub(super) async fn ask(ends: &[End; 2], known: &[Support]) -> Result<[Support; 2], RunError> {
    let [source, destination] = ends;
    // Before anything is asked: what is too old may not know the questions.
    for session in [&source.session, &destination.session] {
        too_old(session)?;
    }
    // The destination first: where both are one build, its schema serves for both, and the running
    // guest is not held up.
    let twin = known.iter().find(|known| known.is_build_of(&destination.session));
    let on_destination = Support::ask(&destination.session, twin, ASK_DEADLINE).await?;
    Ok([Support::ask(&source.session, Some(&on_destination), ASK_DEADLINE).await?, on_destination])
}

fn too_old(session: &Session) -> Result<(), Refused> {
    let greeting = session.greeting();
    if greeting.version >= OLDEST {
        return Ok(());
    }
    let reason = format!(
        "{}: QEMU {} is too old; {}.{} or newer is needed",
        session.side(),
        greeting.version,
        OLDEST.major,
        OLDEST.minor
    );
    Err(Refused(vec![reason]))
}

/// Migrates. `before_migrate` is awaited when all settings are made.
pub(super) async fn migrate(
    means: Means<'_>,
    sides: Sides,
    supports: &[Support; 2],
    before_migrate: impl Future<Output = ()>,
) -> Result<Migration, RunError> {
    let Means { number, scenario, sink, interrupt, progress, adopts } = means;
    let Sides { ends: [source, destination], sampling, exits, local, network, ours } = sides;
    let context = StreamContext {
        local: local.clone(),
        host: network.as_ref().map(|route| route.host().to_owned()),
        can_pass_descriptors: [
            source.session.can_pass_descriptors(),
            destination.session.can_pass_descriptors(),
        ],
    };
    let plan = if adopts {
        adopt(scenario, &supports[0], &supports[1])?
    } else {
        plan(scenario, &supports[0], &supports[1], &context)?
    };
    let (mut path, own) = Path::lay(scenario, &plan, network.as_ref(), &sink, number)?;
    let latest = [Latest::default(), Latest::default()];
    let pass = Arc::new(AtomicU64::new(0));
    let sessions = [source.session.clone(), destination.session.clone()];
    let mut driver = Driver {
        migration: number,
        plan: plan.clone(),
        source,
        destination,
        sink: sink.clone(),
        latest: latest.clone(),
        pass: pass.clone(),
        interrupt,
        exits,
        run_state_before: state_to_have_again(&supports[0].run_state),
        progress,
        on_state: Box::new(|_| ()),
        installed_tls: InstalledTls::default(),
        rejoin: path.again(scenario, &plan, network.as_ref(), local.as_ref()),
    };
    let (outgoing, incoming_asked) = if adopts {
        (None, None)
    } else {
        let prepared = driver.prepare(own).await?;
        match path.lead(&plan, &prepared, local.as_ref()) {
            Ok(outgoing) => (Some(outgoing), prepared.incoming_asked),
            Err(error) => {
                driver.give_up().await;
                return Err(error);
            }
        }
    };
    before_migrate.await;
    let rates = [scenario.sampling.source, scenario.sampling.destination];
    let sampled_from_ns = monotonic_ns();
    let samplers = start_samplers(rates, sampling, &sessions, &sink, &latest, &pass);
    driver.on_state = path.begin();
    let watch = ours.then(HostWatch::begin).flatten();
    let report = match outgoing {
        Some(outgoing) => driver.migrate(outgoing).await,
        None => driver.adopt().await,
    };
    let host = watch.and_then(HostWatch::end).unwrap_or_default();
    let passed = path.end();
    let mut sampled = [None, None];
    let mut connections = [None, None];
    for (index, sampler) in samplers.into_iter().enumerate() {
        (sampled[index], connections[index]) = sampler.stop().await;
    }
    let [source, destination] = sampled;
    Ok(Migration {
        plan,
        incoming_asked,
        report,
        sampling: Sampling { source, destination },
        sampled_from_ns,
        connections,
        passed,
        host,
    })
}

/// A source that is stopped for its switchover ran before.
fn state_to_have_again(now: &str) -> String {
    if matches!(now, "finish-migrate" | "postmigrate") {
        "running".to_owned()
    } else {
        now.to_owned()
    }
}

enum AnySampler {
    Own(Sampler),
    Shared(SharedSampler),
    /// Nobody wants samples; the connection is kept.
    Idle(Option<BlockingSession>),
}

impl AnySampler {
    async fn stop(self) -> (Option<SampledSide>, Option<BlockingSession>) {
        match self {
            AnySampler::Own(sampler) => {
                let (sampled, connection) = sampler.stop();
                (Some(sampled), connection)
            }
            AnySampler::Shared(sampler) => (Some(sampler.stop().await), None),
            AnySampler::Idle(connection) => (None, connection),
        }
    }
}

/// A sampler for each side that wants one: on its own connection where there is one, else behind
/// everything on the session.
fn start_samplers(
    rates: [SampleRate; 2],
    own: [Option<BlockingSession>; 2],
    sessions: &[Session; 2],
    sink: &Sink,
    latest: &[Latest; 2],
    pass: &Arc<AtomicU64>,
) -> Vec<AnySampler> {
    let both =
        [Side::Source, Side::Destination].into_iter().zip(rates).zip(own).zip(sessions).zip(latest);
    both.map(|((((side, rate), own), session), latest)| {
        if rate == SampleRate::Off {
            return AnySampler::Idle(own);
        }
        let (sink, latest) = (sink.clone(), latest.clone());
        match own {
            Some(connection) => match Sampler::start(side, connection, rate, sink, latest) {
                Ok(sampler) => AnySampler::Own(sampler),
                Err(error) => {
                    tracing::warn!(%side, %error, "no sampling: its thread cannot be started");
                    AnySampler::Idle(None)
                }
            },
            None => AnySampler::Shared(SharedSampler::start(
                session.clone(),
                side,
                rate,
                sink,
                latest,
                pass.clone(),
            )),
        }
    })
    .collect()
}

//! What a running VM is like, as far as migration goes: what it writes, how much memory it holds,
//! how its QEMU is set.
//!
//! Takes a session to the source; gives a [`Captured`], from which come the model's [`Setup`]
//! (`predict`) and a scenario whose lab guest writes alike (`capture`). Changes nothing: no
//! setting, no migration. Knows nothing of a lab.
//!
//! Map: `dirty_rate` measures a VM that is not migrating · `watching` one that is · `settings` how
//! QEMU is set · `resident` how much memory it holds · `lab_guest` a guest that writes alike.

mod dirty_rate;
mod lab_guest;
mod resident;
mod settings;
mod watching;

use analysis::{Observed, way};
use model::{Measured, Setup, Workload};
use qmp::{QmpError, Session, Status};
use scenario::Scenario;
use serde_json::{Value, json};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(5);

/// What was captured.
#[derive(Clone, Debug)]
pub struct Captured {
    /// `10.0.2`.
    pub version: String,
    /// How QEMU is set, and nothing of the guest.
    pub settings: Scenario,
    /// What the guest writes.
    pub workload: Workload,
    /// Guest RAM, bytes.
    pub ram: f64,
    /// What of it may be other than zero.
    pub filled: f64,
    /// From where it is known.
    pub seen: Seen,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// From where a workload is known.
#[derive(Clone, Debug)]
pub enum Seen {
    /// `calc-dirty-rate`.
    DirtyRate(Measured),
    /// Its own migration, while it went on.
    Migration(Observed),
}

/// Why nothing was captured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// QEMU did not do it.
    #[error("the source could not be measured")]
    Qmp(#[from] QmpError),
    /// It was begun and never ended.
    #[error("calc-dirty-rate over {0} ms did not end; does somebody else measure too?")]
    Unended(u64),
    /// It can be measured before a migration and while it is active, not between.
    #[error(
        "the source's migration is in state {0}: it can be captured when there is none, and while one is active"
    )]
    Busy(Status),
    /// The migration that goes on has not shown enough.
    #[error(
        "{passes} passes were seen in {watched:?}, and a workload needs 2 after the first; watch for longer (--for)"
    )]
    TooFewPasses {
        /// So many, after the first.
        passes: usize,
        /// For so long.
        watched: Duration,
    },
}

/// Captures: in some 6 s where nothing migrates, else by watching for `watch`.
///
/// # Errors
/// [`CaptureError`].
pub async fn capture(session: &Session, watch: Duration) -> Result<Captured, CaptureError> {
    let (settings, mut notes) = settings::read(session).await?;
    let memory: Value = session.ask("query-memory-size-summary", json!({}), DEADLINE).await?;
    let size = |name: &str| memory[name].as_u64().unwrap_or(0) as f64;
    let ram = size("base-memory") + size("plugged-memory");
    let resident = session.peer_pid().and_then(|pid| resident::resident(pid, ram));
    let version = session.greeting().version.to_string();
    match session.query_migrate(DEADLINE).await?.status.unwrap_or(Status::None) {
        Status::Active => {
            let observed = watching::watch(session, watch).await?;
            let workload = observed
                .fitted()
                .ok_or(CaptureError::TooFewPasses { passes: observed.later(), watched: watch })?;
            let filled = observed.filled().or(resident).unwrap_or(observed.ram);
            let ram = observed.ram;
            Ok(Captured {
                version,
                settings,
                workload,
                ram,
                filled,
                seen: Seen::Migration(observed),
                notes,
            })
        }
        Status::None | Status::Completed | Status::Cancelled | Status::Failed => {
            if resident.is_none() {
                notes.push(
                    "how much of its memory is zero is not known from afar: all of it counts, so the first pass may be shorter"
                        .into(),
                );
            }
            let measured = dirty_rate::measure(session, ram).await?;
            let workload = measured.fitted().unwrap_or_else(|| {
                notes.push(
                    "calc-dirty-rate saw less than 1 MiB/s: the guest is idle, or writes again what is there already, to which it is blind; \
                     1 MiB/s is assumed"
                        .into(),
                );
                measured.at_most()
            });
            let filled = resident.unwrap_or(ram);
            Ok(Captured {
                version,
                settings,
                workload,
                ram,
                filled,
                seen: Seen::DirtyRate(measured),
                notes,
            })
        }
        busy => Err(CaptureError::Busy(busy)),
    }
}

impl Captured {
    /// The migration as the model sees it, under these settings, over a network that carries
    /// `bandwidth` (bytes a second).
    #[must_use]
    pub fn setup(&self, scenario: &Scenario, bandwidth: Option<f64>) -> Setup {
        let asked = Setup::of_scenario(scenario);
        let seen = match &self.seen {
            Seen::DirtyRate(_) => None,
            Seen::Migration(observed) => observed.bandwidth,
        };
        Setup {
            ram: self.ram,
            filled: self.filled.min(self.ram),
            workload: self.workload.clone(),
            capacity: bandwidth.unwrap_or_else(|| way(&asked, seen)),
            ..asked
        }
    }

    /// Other workloads that were nearly as likely: how sure a prediction is.
    #[must_use]
    pub fn alternatives(&self) -> Vec<Workload> {
        match &self.seen {
            Seen::DirtyRate(measured) => measured.without_each(),
            Seen::Migration(_) => Vec::new(),
        }
    }

    /// A scenario whose lab guest does the same, at 1/`scale` of the size and of all rates: times
    /// stay the same.
    #[must_use]
    pub fn lab(&self, scale: u32, bandwidth: Option<f64>) -> Scenario {
        lab_guest::scenario(self, f64::from(scale.max(1)), bandwidth)
    }
}

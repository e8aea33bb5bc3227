//! The migrations of a lab: one, or a series in which the guest keeps running and goes on to a
//! fresh destination each time.

use super::guest::GuestWatch;
use super::migration::{Means, Migration, Sides, ask, migrate};
use super::{Options, RunError, Seen};
use analysis::downtime::Clocks;
use base::Side;
use lab::{Exited, Lab, LabError, choose_accelerator};
use migrate::drive::{DriveError, End, Interrupt, Progress};
use migrate::plan::{Refused, Support};
use record::{Outcome, RunDir, Sink};
use scenario::Scenario;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Starts a lab, migrates in it, ends it.
pub(super) async fn run(
    options: Options,
    directory: &RunDir,
    known: &[Support],
) -> Result<Seen, RunError> {
    let Options { scenario, mut interrupt, progress, .. } = options;
    if scenario.repeat > 1 && scenario.destination_qemu() != scenario.qemu.source {
        let reason = "repeat migrates the guest on and on between fresh QEMUs of one kind; for two kinds, run it several times";
        return Err(Refused(vec![reason.to_owned()]).into());
    }
    let starting = async {
        let accelerator = choose_accelerator(&scenario).await?;
        let transcript = scenario.record.transcript;
        Lab::start(&scenario, accelerator, &directory.sink(), directory.path(), transcript).await
    };
    let lab = tokio::select! {
        lab = starting => lab?,
        () = interrupt.wait() => return Err(DriveError::Interrupted.into()),
    };
    let shown = Arc::new(Mutex::new(progress));
    let working = with_credentials(&scenario, lab.directory())?;
    let series =
        Series { scenario: &working, asked: &scenario, sink: directory.sink(), interrupt, shown };
    series.run(lab, known).await
}

/// The scenario with credentials of the lab's own where it names none; they live as long as the
/// lab, in its private directory.
fn with_credentials(scenario: &Scenario, private: &Path) -> Result<Scenario, LabError> {
    let mut scenario = scenario.clone();
    let tls = &mut scenario.tls;
    if tls.credentials.is_some()
        && [&tls.dir, &tls.source_dir, &tls.destination_dir].iter().all(|named| named.is_none())
    {
        let directory = private.join("credentials");
        make_credentials(&directory)?;
        tls.dir = Some(directory.to_string_lossy().into_owned());
        // Of the addresses of namespaces the certificates know nothing.
        tls.hostname.get_or_insert_with(|| "localhost".to_owned());
    }
    Ok(scenario)
}

type Shown = Arc<Mutex<Box<dyn FnMut(&Progress) + Send>>>;

struct Series<'a> {
    /// With what the lab added.
    scenario: &'a Scenario,
    /// As it was given.
    asked: &'a Scenario,
    sink: Sink,
    interrupt: Interrupt,
    shown: Shown,
}

impl Series<'_> {
    async fn run(self, mut lab: Lab, known: &[Support]) -> Result<Seen, RunError> {
        let mut watch = GuestWatch::default();
        let first = take_ends(&mut lab)?;
        let supports = ask(&first, known).await?;
        let mut ends = Some(first);
        let mut seen = Seen {
            scenario: self.asked.clone(),
            supports,
            migrations: Vec::new(),
            guest: super::GuestFacts::default(),
            accelerator: Some(lab.accelerator.clone()),
            boot: lab.boot,
            clocks: Clocks::Shared,
            warnings: Vec::new(),
        };
        let mut number = 1;
        while let Some(both) = ends.take() {
            let migration = self.migrate(number, &mut lab, both, &seen.supports, &mut watch).await;
            let mut migration = match migration {
                Ok(migration) => migration,
                Err(error) if seen.migrations.is_empty() => return Err(error),
                Err(error) => {
                    seen.warnings.push(format!(
                        "the series ended after {} migrations: {error}",
                        seen.migrations.len()
                    ));
                    break;
                }
            };
            let completed = migration.report.ending.outcome == Outcome::Completed;
            let after = migration.report.ends.take();
            let [_, connection] = std::mem::take(&mut migration.connections);
            seen.migrations.push(migration);
            let Some([_, new_source]) =
                after.filter(|_| completed && number < self.scenario.repeat && !self.interrupted())
            else {
                break;
            };
            lab.destination.sampling = connection;
            let fresh = lab
                .advance(self.scenario.repeat - number)
                .await
                .and_then(|()| lab.destination.end.take().ok_or_else(lost));
            match fresh {
                Ok(fresh) => ends = Some([new_source, fresh]),
                Err(error) => seen
                    .warnings
                    .push(format!("the series ended after {number} migrations: {error}")),
            }
            number += 1;
        }
        self.ask_the_guest(&mut lab, &watch, &mut seen).await;
        lab.stop().await;
        Ok(seen)
    }

    /// One migration of the series. The guest is asked before the first only: that takes longer
    /// than a migration.
    async fn migrate(
        &self,
        number: u32,
        lab: &mut Lab,
        ends: [End; 2],
        supports: &[Support; 2],
        watch: &mut GuestWatch,
    ) -> Result<Migration, RunError> {
        let sides = Sides {
            ends,
            sampling: [lab.source.sampling.take(), lab.destination.sampling.take()],
            exits: exits([lab.source.exited(), lab.destination.exited()]),
            local: Some(lab.stream_files(number)),
            network: lab.route(number),
            ours: true,
        };
        let shown = self.shown.clone();
        let progress = move |progress: &Progress| {
            shown.lock().unwrap_or_else(PoisonError::into_inner)(progress);
        };
        let means = Means {
            number,
            scenario: self.scenario,
            sink: self.sink.clone(),
            interrupt: self.interrupt.clone(),
            progress: Box::new(progress),
            adopts: false,
        };
        let console = lab.source.console().filter(|_| number == 1);
        let before = async {
            if let Some(console) = console {
                watch.before_migrate(console).await;
            }
        };
        migrate(means, sides, supports, before).await
    }

    async fn ask_the_guest(&self, lab: &mut Lab, watch: &GuestWatch, seen: &mut Seen) {
        let Some(last) = seen.migrations.last() else { return };
        let console = match last.report.ending.outcome {
            Outcome::Completed => lab.destination.console(),
            Outcome::NotConverged | Outcome::Cancelled | Outcome::Failed => lab.source.console(),
            Outcome::Lost | Outcome::Unknown => return,
        };
        let Some(console) = console else { return };
        seen.guest = watch.after_migration(console, &self.scenario.guest, &last.report).await;
    }

    fn interrupted(&self) -> bool {
        *self.interrupt.0.borrow()
    }
}

fn lost() -> LabError {
    LabError::System {
        what: "the lab's connections".to_owned(),
        source: std::io::ErrorKind::NotConnected.into(),
    }
}

fn take_ends(lab: &mut Lab) -> Result<[End; 2], LabError> {
    Ok([lab.source.end.take().ok_or_else(lost)?, lab.destination.end.take().ok_or_else(lost)?])
}

/// Ends of the two processes, by the side that they are in this migration.
fn exits(processes: [Exited; 2]) -> mpsc::UnboundedReceiver<(Side, String)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (side, mut exited) in [Side::Source, Side::Destination].into_iter().zip(processes) {
        let sender = sender.clone();
        tokio::spawn(async move {
            tokio::select! {
                reason = exited.wait() => {
                    let _ = sender.send((side, reason));
                }
                () = sender.closed() => {}
            }
        });
    }
    receiver
}

#[cfg(feature = "credentials")]
fn make_credentials(directory: &Path) -> Result<(), LabError> {
    lab::credentials::create(directory, &[]).map_err(|source| LabError::Credentials { source })?;
    Ok(())
}

#[cfg(not(feature = "credentials"))]
fn make_credentials(_: &Path) -> Result<(), LabError> {
    Err(LabError::NoCredentials)
}

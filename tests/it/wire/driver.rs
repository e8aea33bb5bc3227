//! Migrations between two scripted QEMUs: what real ones do only once in a while.

use super::server::{Peer, Server, served};
use base::Side;
use base::units::Micros;
use migrate::drive::{Driver, End, InstalledTls, Interrupt, Progress, Rejoin, Report, RunStates};
use migrate::observe::Latest;
use migrate::plan::{Listen, Plan, RecoveryRules, Settings, Stream};
use model::policy::{GiveUpWhen, SwitchWhen};
use record::{Outcome, RunDir};
use scenario::{Hooks, Mode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

fn plan(mode: Mode) -> Plan {
    Plan {
        mode,
        source: Settings::default(),
        destination: Settings::default(),
        listen: Listen::Already,
        stream: Stream::default(),
        switch: match mode {
            Mode::Precopy => SwitchWhen::Never,
            Mode::Postcopy => SwitchWhen::AtOnce,
            Mode::Hybrid => SwitchWhen::AfterPass(1),
        },
        finish: SwitchWhen::Never,
        downtime_limit: Micros(0),
        give_up: GiveUpWhen { passes: Some(2), bytes: None, after: Micros(60_000_000) },
        cancel_is_guarded: true,
        return_path: true,
        recovery: RecoveryRules {
            attempts: 1,
            backoff: Micros(100_000),
            stalled_after: Micros(60_000_000),
        },
        tls: None,
        confirms: false,
        hooks: Hooks::default(),
    }
}

/// A migration that has been started, and the servers' ends of it.
struct Running {
    source: Peer,
    destination: Peer,
    interrupt: watch::Sender<bool>,
    exits: mpsc::UnboundedSender<(Side, String)>,
    migration: JoinHandle<Report>,
    phases: Arc<Mutex<Vec<String>>>,
    record: RunDir,
    servers: [Server; 2],
    _directory: tempfile::TempDir,
}

/// Starts a migration; `migrate` is not answered yet.
async fn start(plan: Plan) -> Running {
    let (source_server, (source_session, source_notices, source)) = served().await;
    let (destination_server, (destination_session, destination_notices, destination)) =
        served().await;
    let directory = tempfile::tempdir().unwrap();
    let record = RunDir::create(&directory.path().join("run"), "", false).unwrap();
    let (interrupt, interrupted) = watch::channel(false);
    let (exits, exited) = mpsc::unbounded_channel();
    let phases: Arc<Mutex<Vec<String>>> = Arc::default();
    let progress = {
        let phases = phases.clone();
        move |progress: &Progress| {
            let phase = format!("{:?}", progress.phase);
            let mut phases = phases.lock().unwrap();
            if phases.last() != Some(&phase) {
                phases.push(phase);
            }
        }
    };
    let driver = Driver {
        migration: 1,
        plan,
        source: End { session: source_session, notices: source_notices },
        destination: End { session: destination_session, notices: destination_notices },
        sink: record.sink(),
        latest: [Latest::default(), Latest::default()],
        pass: Arc::default(),
        interrupt: Interrupt(interrupted),
        exits: exited,
        run_state_before: "running".to_owned(),
        progress: Box::new(progress),
        on_state: Box::new(|_| ()),
        rejoin: Arc::new(Elsewhere),
        installed_tls: InstalledTls::default(),
    };
    let migration = tokio::spawn(driver.migrate(json!({"uri": "unix:/nowhere"})));
    Running {
        source,
        destination,
        interrupt,
        exits,
        migration,
        phases,
        record,
        servers: [source_server, destination_server],
        _directory: directory,
    }
}

/// A new channel for a post-copy that broke.
#[derive(Debug)]
struct Elsewhere;

impl Rejoin for Elsewhere {
    fn incoming(&self, attempt: u32) -> String {
        format!("unix:/again{attempt}")
    }

    fn outgoing(&self, listening: &str) -> std::io::Result<String> {
        Ok(listening.to_owned())
    }
}

/// A migration whose `migrate` was accepted and whose source copies.
async fn start_copying(plan: Plan) -> Running {
    let mut running = start(plan).await;
    let migrate = running.source.expect("migrate").await;
    assert_eq!(migrate.arguments, json!({"uri": "unix:/nowhere"}));
    running.source.answer(&migrate, json!({})).await;
    running.source.status("setup").await;
    running.source.status("active").await;
    running
}

/// Answers for the rest: state of the migration, run state.
fn state(status: &str, run_state: &str) -> [(&'static str, Value); 2] {
    [
        ("query-migrate", json!({"status": status})),
        ("query-status", json!({"status": run_state, "running": run_state == "running"})),
    ]
}

impl Running {
    /// Before a cancel, the destination is told not to start the guest by itself.
    async fn held(&mut self) {
        let waits = json!({"status": "inmigrate", "running": false});
        for (name, answer) in
            [("query-status", &waits), ("stop", &json!({})), ("query-status", &waits)]
        {
            let asked = self.destination.serve_until(name, &[]).await;
            self.destination.answer(&asked, answer.clone()).await;
        }
    }

    /// Waits for the end, while both sides answer as they are told.
    async fn end(
        mut self,
        source: [(&'static str, Value); 2],
        destination: [(&'static str, Value); 2],
    ) -> Report {
        let migration = reported(self.migration);
        let (report, (), ()) = tokio::join!(
            migration,
            self.source.serve(&source),
            self.destination.serve(&destination)
        );
        self.record.discard();
        report
    }
}

/// The report, with the sessions closed that it gives back.
async fn reported(migration: JoinHandle<Report>) -> Report {
    let mut report = migration.await.unwrap();
    report.ends = None;
    report
}

fn words(report: &Report) -> String {
    format!("{}: {}", report.ending.outcome.name(), report.ending.reason)
}

#[tokio::test]
async fn post_copy_that_was_asked_for_and_did_not_happen_is_told_so() {
    let mut running = start_copying(plan(Mode::Postcopy)).await;
    let asked = running.source.serve_until("migrate-start-postcopy", &[]).await;
    running.source.answer(&asked, json!({})).await;
    running.source.status("device").await;
    running.destination.status("completed").await;
    running.source.status("completed").await;
    let report =
        running.end(state("completed", "postmigrate"), state("completed", "running")).await;
    insta::assert_snapshot!(words(&report),
        @"completed: completed; post-copy was asked for, but pre-copy finished first");
    assert!(!report.ending.postcopy_happened);
    let there = RunStates {
        source: Some("postmigrate".to_owned()),
        destination: Some("running".to_owned()),
    };
    assert_eq!(report.run_states, there);
}

#[tokio::test]
async fn states_that_nobody_knows_are_states_in_progress() {
    let mut running = start_copying(plan(Mode::Precopy)).await;
    for status in ["warp", "device", "failing", "warp"] {
        running.source.status(status).await;
    }
    running.destination.status("completed").await;
    running.source.status("completed").await;
    let report =
        running.end(state("completed", "postmigrate"), state("completed", "running")).await;
    insta::assert_snapshot!(words(&report), @"completed: completed by pre-copy");
}

#[tokio::test]
async fn failing_is_not_the_end_and_failed_comes_with_qemus_text() {
    let mut running = start_copying(plan(Mode::Precopy)).await;
    running.source.status("failing").await;
    running.source.status("failed").await;
    let mut source = state("failed", "running");
    source[0].1["error-desc"] = json!("Unable to write to socket: Broken pipe");
    let report = running.end(source, state("failed", "inmigrate")).await;
    insta::assert_snapshot!(
        words(&report),
        @"failed: source: the migration failed (QEMU: Unable to write to socket: Broken pipe)"
    );
}

#[tokio::test]
async fn post_copy_is_asked_for_on_the_event_alone() {
    let mut running = start_copying(plan(Mode::Hybrid)).await;
    running.source.event("MIGRATION_PASS", json!({"pass": 1})).await;
    running.source.event("MIGRATION_PASS", json!({"pass": 2})).await;
    // Nothing is answered until it is asked for: no sample can have told.
    let asked = running.source.serve_until("migrate-start-postcopy", &[]).await;
    running.source.answer(&asked, json!({})).await;
    running.source.status("postcopy-active").await;
    running.destination.status("postcopy-active").await;
    running.destination.status("completed").await;
    running.source.status("completed").await;
    let report =
        running.end(state("completed", "postmigrate"), state("completed", "running")).await;
    insta::assert_snapshot!(words(&report), @"completed: completed by post-copy");
    assert!(report.ending.postcopy_happened);
    assert_eq!((report.ending.passes, report.decisions), (2, 1));
}

#[tokio::test]
async fn a_start_of_post_copy_that_is_refused_leaves_pre_copy_to_finish() {
    let mut running = start_copying(plan(Mode::Postcopy)).await;
    let asked = running.source.serve_until("migrate-start-postcopy", &[]).await;
    running
        .source
        .refuse(
            &asked,
            "GenericError",
            "Enable postcopy with migrate_set_capability before the start of migration",
        )
        .await;
    running.destination.status("completed").await;
    running.source.status("completed").await;
    let report =
        running.end(state("completed", "postmigrate"), state("completed", "running")).await;
    assert_eq!(
        (report.ending.outcome, report.ending.postcopy_happened),
        (Outcome::Completed, false)
    );
}

/// Gives the source's limit before, and answers it from then on.
async fn start_finishing() -> Running {
    let mut running = start(Plan { finish: SwitchWhen::AfterPass(1), ..plan(Mode::Precopy) }).await;
    let asked = running.source.expect("query-migrate-parameters").await;
    running.source.answer(&asked, json!({"downtime-limit": 77, "of-another-version": {}})).await;
    let migrate = running.source.expect("migrate").await;
    running.source.answer(&migrate, json!({})).await;
    running.source.status("active").await;
    running.source.event("MIGRATION_PASS", json!({"pass": 2})).await;
    let raise = running.source.serve_until("migrate-set-parameters", &[]).await;
    assert_eq!(raise.arguments, json!({"downtime-limit": 2_000_000}));
    running.source.answer(&raise, json!({})).await;
    running
}

#[tokio::test]
async fn a_limit_that_was_raised_is_put_back_when_it_comes_to_nothing() {
    let mut running = start_finishing().await;
    running.interrupt.send(true).unwrap();
    running.held().await;
    let cancel = running.source.serve_until("migrate_cancel", &[]).await;
    running.source.answer(&cancel, json!({})).await;
    running.source.status("cancelled").await;
    let waiting =
        tokio::spawn(async move { running.destination.serve(&state("failed", "inmigrate")).await });
    let lower =
        running.source.serve_until("migrate-set-parameters", &state("cancelled", "running")).await;
    assert_eq!(lower.arguments, json!({"downtime-limit": 77}));
    running.source.answer(&lower, json!({})).await;
    let report = reported(running.migration).await;
    running.record.discard();
    waiting.abort();
    insta::assert_snapshot!(words(&report), @"cancelled: interrupted");
    assert_eq!(report.not_restored, [""; 0]);
}

#[tokio::test]
async fn a_limit_that_cannot_be_put_back_is_said() {
    let mut running = start_finishing().await;
    running.source.status("failed").await;
    let waiting =
        tokio::spawn(async move { running.destination.serve(&state("failed", "inmigrate")).await });
    let lower =
        running.source.serve_until("migrate-set-parameters", &state("failed", "running")).await;
    running.source.refuse(&lower, "GenericError", "not today").await;
    let report = reported(running.migration).await;
    running.record.discard();
    waiting.abort();
    insta::assert_snapshot!(words(&report), @"failed: source: the migration failed");
    insta::assert_snapshot!(report.not_restored.join("\n"),
        @"source: downtime-limit may still be 2000s, to which it was raised to let pre-copy finish \
        (source: QEMU refused migrate-set-parameters: not today (GenericError)); before it was 77 \
        ms");
}

#[tokio::test]
async fn giving_up_waits_until_the_guest_runs_on_the_source() {
    let mut running = start_copying(plan(Mode::Precopy)).await;
    running.source.event("MIGRATION_PASS", json!({"pass": 3})).await;
    running.held().await;
    let asked = running.source.serve_until("migrate_cancel", &[]).await;
    running.source.answer(&asked, json!({})).await;
    running.source.status("cancelling").await;
    assert!(!running.migration.is_finished());
    running.source.status("cancelled").await;
    // QEMU reports the cancel before it starts the guest again.
    let (stopped, waiting) = (state("cancelled", "paused"), state("failed", "inmigrate"));
    let first = running.source.serve_until("query-status", &stopped).await;
    running.source.answer(&first, stopped[1].1.clone()).await;
    let there = running.destination.serve_until("query-status", &waiting).await;
    running.destination.answer(&there, waiting[1].1.clone()).await;
    let again = running.source.serve_until("query-status", &stopped).await;
    running.source.answer(&again, stopped[1].1.clone()).await;
    let report = running.end(state("cancelled", "running"), waiting).await;
    insta::assert_snapshot!(words(&report), @"not-converged: not converged after 2 passes");
    assert_eq!(report.run_states.source.as_deref(), Some("running"));
}

#[tokio::test]
async fn a_source_that_does_not_run_again_after_a_cancel_is_unknown() {
    let mut running = start_copying(plan(Mode::Precopy)).await;
    running.interrupt.send(true).unwrap();
    running.held().await;
    let asked = running.source.serve_until("migrate_cancel", &[]).await;
    running.source.answer(&asked, json!({})).await;
    running.source.status("cancelled").await;
    let paused = state("cancelled", "paused");
    let waiting = state("failed", "inmigrate");
    // Both are asked once; what comes then is the wait for the guest to run again, which need not
    // be waited for here.
    let first = running.source.serve_until("query-status", &paused[..1]).await;
    running.source.answer(&first, paused[1].1.clone()).await;
    let there = running.destination.serve_until("query-status", &waiting[..1]).await;
    running.destination.answer(&there, waiting[1].1.clone()).await;
    let again = running.source.serve_until("query-status", &paused[..1]).await;
    tokio::time::pause();
    running.source.answer(&again, paused[1].1.clone()).await;
    let report = running.end(paused, waiting).await;
    insta::assert_snapshot!(
        words(&report),
        @"unknown: interrupted; but the source's run state is paused, not running: look at both \
            QEMUs before doing anything"
    );
}

#[tokio::test]
async fn a_cancel_that_is_refused_in_post_copy_goes_on_to_the_end() {
    let mut running = start_copying(plan(Mode::Postcopy)).await;
    let asked = running.source.serve_until("migrate-start-postcopy", &[]).await;
    running.source.answer(&asked, json!({})).await;
    running.interrupt.send(true).unwrap();
    running.held().await;
    let cancel = running.source.serve_until("migrate_cancel", &[]).await;
    running
        .source
        .refuse(&cancel, "GenericError", "Postcopy migration in progress, cannot cancel.")
        .await;
    let released = running.destination.serve_until("cont", &[]).await;
    running.destination.answer(&released, json!({})).await;
    running.source.status("postcopy-active").await;
    running.destination.status("completed").await;
    running.source.status("completed").await;
    let report =
        running.end(state("completed", "postmigrate"), state("completed", "running")).await;
    insta::assert_snapshot!(words(&report),
        @"completed: completed before it could be cancelled (interrupted)");
    assert!(report.ending.postcopy_happened);
}

#[tokio::test]
async fn where_qemu_would_obey_an_interrupt_in_post_copy_cancels_nothing() {
    let mut running =
        start_copying(Plan { cancel_is_guarded: false, ..plan(Mode::Postcopy) }).await;
    let asked = running.source.serve_until("migrate-start-postcopy", &[]).await;
    running.source.answer(&asked, json!({})).await;
    running.source.status("postcopy-active").await;
    running.interrupt.send(true).unwrap();
    running.destination.status("completed").await;
    running.source.status("completed").await;
    let report =
        running.end(state("completed", "postmigrate"), state("completed", "running")).await;
    assert_eq!(report.ending.outcome, Outcome::Completed, "{report:?}");
}

#[tokio::test]
async fn a_migrate_that_is_refused_has_changed_nothing() {
    let mut running = start(plan(Mode::Precopy)).await;
    let migrate = running.source.expect("migrate").await;
    running.source.refuse(&migrate, "GenericError", "Guest is not migratable").await;
    let report = running.end(state("none", "running"), state("setup", "inmigrate")).await;
    insta::assert_snapshot!(words(&report),
        @"failed: source: QEMU refused migrate: Guest is not migratable (GenericError)");
}

#[tokio::test]
async fn pre_switchover_is_let_go_on() {
    let mut running = start_copying(plan(Mode::Precopy)).await;
    running.source.status("pre-switchover").await;
    let asked = running.source.serve_until("migrate-continue", &[]).await;
    assert_eq!(asked.arguments, json!({"state": "pre-switchover"}));
    running.source.answer(&asked, json!({})).await;
    running.source.status("device").await;
    running.destination.status("completed").await;
    running.source.status("completed").await;
    let report =
        running.end(state("completed", "postmigrate"), state("completed", "running")).await;
    assert_eq!(report.ending.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_destination_that_ends_in_pre_copy_leaves_the_guest_on_the_source() {
    let mut running = start_copying(plan(Mode::Precopy)).await;
    running.exits.send((Side::Destination, "QEMU was killed by signal 9".to_owned())).unwrap();
    let cancel = running.source.serve_until("migrate_cancel", &[]).await;
    running.source.answer(&cancel, json!({})).await;
    running.source.status("cancelled").await;
    let report = running.end(state("cancelled", "running"), state("", "")).await;
    insta::assert_snapshot!(words(&report), @"failed: destination: QEMU was killed by signal 9");
}

/// Drops the source's connection, and has nobody listen there any more.
#[tokio::test]
async fn without_a_source_to_be_asked_the_destination_decides() {
    for (status, words_of_it) in [
        (
            "completed",
            "completed: completed by pre-copy, by the destination's word; the source cannot be \
                asked",
        ),
        ("failed", "unknown: the destination has failed; and the source cannot be asked"),
    ] {
        let running = start_copying(plan(Mode::Precopy)).await;
        let Running {
            source, mut destination, migration, record, servers: [server, _other], ..
        } = running;
        drop((source, server));
        destination.status(status).await;
        let answers = state(status, "running");
        let (report, ()) = tokio::join!(reported(migration), destination.serve(&answers));
        record.discard();
        assert!(words(&report).starts_with(words_of_it), "{}", words(&report));
        assert_eq!(report.run_states.source, None);
    }
}

#[tokio::test]
async fn a_connection_that_ends_is_made_again_and_the_state_asked_for() {
    let mut running = start_copying(plan(Mode::Postcopy)).await;
    let asked = running.source.serve_until("migrate-start-postcopy", &[]).await;
    drop(asked);
    running.source = running.servers[0].accept_after(running.source).await;
    let again =
        running.source.serve_until("migrate-start-postcopy", &state("active", "running")).await;
    running.source.answer(&again, json!({})).await;
    running.source.status("postcopy-active").await;
    running.destination = running.servers[1].accept_after(running.destination).await;
    let report =
        running.end(state("completed", "postmigrate"), state("completed", "running")).await;
    insta::assert_snapshot!(words(&report), @"completed: completed by post-copy");
    assert_eq!(report.run_states.destination.as_deref(), Some("running"));
}

#[tokio::test]
async fn progress_is_shown_while_it_goes_on() {
    let mut running = start_copying(plan(Mode::Precopy)).await;
    let phases = running.phases.clone();
    // The loop asks by itself when no sampler does.
    let asked = running.source.serve_until("query-migrate", &[]).await;
    running.source.answer(&asked, json!({"status": "active"})).await;
    assert_eq!(*phases.lock().unwrap(), ["Precopy"]);
    running.destination.status("completed").await;
    running.source.status("completed").await;
    let report =
        running.end(state("completed", "postmigrate"), state("completed", "running")).await;
    assert_eq!(report.ending.outcome, Outcome::Completed);
}

/// Post-copy begins and fails after these states of the source; what the sides say of themselves
/// then decides.
async fn post_copy_that_fails(states: &[&str], source: &str, destination: &str) -> Report {
    let mut running = start_copying(plan(Mode::Postcopy)).await;
    let asked = running.source.serve_until("migrate-start-postcopy", &[]).await;
    running.source.answer(&asked, json!({})).await;
    running.source.event("STOP", json!({})).await;
    for status in states {
        running.source.status(status).await;
    }
    running.source.event("RESUME", json!({})).await;
    running.source.status("failed").await;
    running.end(state("failed", source), state("failed", destination)).await
}

/// Before the destination has loaded the guest (11.1.3).
async fn post_copy_that_fails_early(source: &str, destination: &str) -> Report {
    post_copy_that_fails(&["device", "postcopy-device", "failing"], source, destination).await
}

/// Which QEMU may do at the very end of post-copy; the copy on the source is long out of date then.
#[tokio::test]
async fn an_older_copy_that_runs_again_is_no_success() {
    let report = post_copy_that_fails(&["device", "postcopy-active"], "running", "inmigrate").await;
    assert_eq!(report.ending.outcome, Outcome::Unknown, "{report:?}");
    assert!(report.ending.reason.contains("runs an older copy"), "{report:?}");
}

#[tokio::test]
async fn a_post_copy_that_failed_early_is_no_loss_where_the_source_runs_on() {
    let report = post_copy_that_fails_early("running", "inmigrate").await;
    assert_eq!(report.ending.outcome, Outcome::Failed, "{report:?}");
    assert!(
        report.ending.reason.contains("QEMU let the guest run on, on the source"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_post_copy_after_which_both_sides_run_is_unknown() {
    let report = post_copy_that_fails_early("running", "running").await;
    assert_eq!(report.ending.outcome, Outcome::Unknown, "{report:?}");
    assert!(report.ending.reason.contains("both sides' VMs run"), "{report:?}");
}

#[tokio::test]
async fn a_post_copy_after_which_neither_side_runs_is_a_loss() {
    let report = post_copy_that_fails_early("postmigrate", "inmigrate").await;
    assert_eq!(report.ending.outcome, Outcome::Lost, "{report:?}");
    assert!(!report.ending.reason.contains("revive"), "{report:?}");
}

#[tokio::test]
async fn where_the_source_stands_with_all_of_the_guest_the_way_out_is_named() {
    let report = post_copy_that_fails_early("finish-migrate", "inmigrate").await;
    assert_eq!(report.ending.outcome, Outcome::Lost, "{report:?}");
    assert!(report.ending.reason.ends_with("`switchover revive` starts it there"), "{report:?}");
    let report = post_copy_that_fails_early("finish-migrate", "running").await;
    assert!(!report.ending.reason.contains("revive"), "{report:?}");
}

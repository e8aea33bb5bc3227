//! QEMUs that the user started: they are migrated between, and left running.

use super::cells;
use crate::harness::{Done, Pair, Scratch, Switchover, Vm, Wish, loses_writes, qemu};
use migrate::drive::Interrupt;
use record::Outcome;
use scenario::Loader;
use serde_json::json;
use switchover::run::{Attach, Options, attached};

fn migrate(scratch: &Scratch, endpoints: &[String], arguments: &[&str]) -> Done {
    let words: Vec<&str> =
        ["migrate"].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
    Switchover::new(scratch, &words).args(&["--out", "run"]).args(arguments).run()
}

/// That the guest was moved, its memory is right, and the user's QEMUs are there as the user would
/// expect.
#[track_caller]
fn assert_moved(version: &str, pair: &mut Pair, done: &Done, scratch: &Scratch) {
    done.assert_code(0);
    let summary = done.summary();
    assert_eq!(summary["outcome"], "completed", "{}", done.story());
    assert!(
        summary["downtime"]["views"]["events_us"].as_u64().is_some_and(|us| us > 0),
        "{}",
        done.story()
    );
    assert!(summary["sampling"]["source"]["samples"].as_u64().unwrap() > 0, "{}", done.story());
    assert!(done.samples() > 0);
    // Nobody talked to the guest: nothing is claimed of it, and no accelerator of somebody else's
    // QEMU.
    assert_eq!(
        (&summary["guest"]["integrity"], &summary["environment"]["accelerator"]),
        (&"unknown".into(), &().into())
    );
    assert!(pair.source.is_alive() && pair.destination.is_alive());
    assert_eq!(
        (pair.source.qmp.run_state(), pair.destination.qmp.run_state()),
        ("postmigrate".to_owned(), "running".to_owned())
    );
    let verdict = pair.destination.check();
    assert!(verdict.intact || loses_writes(version, false), "{:?}", verdict.said);
    scratch.assert_clean();
}

fn shared_sampling(version: &'static str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let done = migrate(&scratch, &pair.endpoints(), &[]);
    assert_moved(version, &mut pair, &done, &scratch);
}

cells! { shared_sampling;
    one_unix_socket_a_side_is_enough_on_7_2: "7.2";
    one_unix_socket_a_side_is_enough_on_10_0: "10.0";
    one_unix_socket_a_side_is_enough_on_the_newest: "newest";
}

#[test]
fn a_second_socket_takes_the_sampling() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let sampling = [
        "--source-sampling",
        &pair.source.samples(),
        "--destination-sampling",
        &pair.destination.samples(),
    ];
    let done = migrate(&scratch, &pair.endpoints(), &sampling);
    assert!(
        done.summary()["sampling"]["destination"]["samples"].as_u64().unwrap() > 0,
        "{}",
        done.story()
    );
    assert_moved("10.0", &mut pair, &done, &scratch);
}

#[test]
fn qmp_over_tcp_with_a_uri_works() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let endpoints = [
        "--source".to_owned(),
        pair.source.tcp(),
        "--destination".to_owned(),
        pair.destination.tcp(),
    ];
    let refused = migrate(&scratch, &endpoints, &[]);
    refused.assert_refused(&scratch, 5, &["no migration URI", "--uri tcp:"]);
    let done = migrate(&scratch, &endpoints, &["--uri", "tcp:127.0.0.1:0"]);
    assert_eq!(done.summary()["environment"]["transport"], "tcp", "{}", done.story());
    assert_moved("10.0", &mut pair, &done, &scratch);
}

#[test]
fn a_destination_that_listens_already_is_taken_as_it_is() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let wish = Wish { destination: &["-incoming", "tcp:127.0.0.1:0"], ..Wish::default() };
    let mut pair = Pair::start(&scratch, qemu, qemu, &wish);
    let done = migrate(&scratch, &pair.endpoints(), &[]);
    assert_moved("10.0", &mut pair, &done, &scratch);
}

#[test]
fn a_destination_that_does_not_wait_is_refused_and_the_guest_left_alone() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish { destination: &[], ..Wish::default() });
    let done = migrate(&scratch, &pair.endpoints(), &[]);
    done.assert_refused(
        &scratch,
        5,
        &["destination: it does not wait for a migration (run state running)", "-incoming defer"],
    );
    assert_eq!(
        (pair.source.qmp.run_state(), pair.source.qmp.migration()),
        ("running".to_owned(), "none".to_owned())
    );
    assert!(pair.source.check().intact);
}

#[test]
fn a_source_that_was_migrated_away_is_refused() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let done = migrate(&scratch, &pair.endpoints(), &[]);
    assert_moved("10.0", &mut pair, &done, &scratch);
    std::fs::rename(done.out(), scratch.join("first")).unwrap();
    let again = migrate(&scratch, &pair.endpoints(), &[]);
    again.assert_refused(
        &scratch,
        5,
        &["source: its VM has already been migrated away (run state postmigrate)"],
    );
    assert_eq!(pair.destination.qmp.run_state(), "running");
}

fn gives_up_and_tries_again(version: &'static str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish { rate: 200, ..Wish::default() });
    let hopeless =
        ["--max-bandwidth", "32MiB/s", "--downtime-limit", "1ms", "--set", "give_up.passes=2"];
    let done = migrate(&scratch, &pair.endpoints(), &hopeless);
    done.assert_code(3);
    assert_eq!(done.summary()["outcome"], "not-converged");
    assert_eq!(pair.source.qmp.run_state(), "running");
    assert!(pair.source.check().intact);
    std::fs::rename(done.out(), scratch.join("first")).unwrap();
    if pair.destination.is_alive() {
        // A QEMU waits for one migration only.
        let again = migrate(&scratch, &pair.endpoints(), &[]);
        again.assert_refused(&scratch, 5, &["destination: ", "start it again"]);
        assert_eq!(pair.source.qmp.run_state(), "running");
    }
    pair.destination =
        Vm::start(&scratch, "fresh", qemu, &Wish::default(), &["-incoming", "defer"]);
    // The source still has the limits of the first try.
    let again = migrate(
        &scratch,
        &pair.endpoints(),
        &["--max-bandwidth", "unlimited", "--downtime-limit", "1s"],
    );
    assert_moved(version, &mut pair, &again, &scratch);
}

cells! { gives_up_and_tries_again;
    after_giving_up_on_7_2_a_second_try_with_a_fresh_destination_succeeds: "7.2";
    after_giving_up_on_10_0_a_second_try_with_a_fresh_destination_succeeds: "10.0";
    after_giving_up_on_the_newest_a_second_try_with_a_fresh_destination_succeeds: "newest";
}

fn finishes(version: &'static str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish { rate: 200, ..Wish::default() });
    let slow =
        ["--max-bandwidth", "64MiB/s", "--downtime-limit", "1ms", "--set", "finish.after_pass=1"];
    let done = migrate(&scratch, &pair.endpoints(), &slow);
    assert_moved(version, &mut pair, &done, &scratch);
    let decisions = std::fs::read_to_string(done.out().join("decisions.jsonl")).unwrap();
    assert!(decisions.contains("\"finish\""), "{decisions}");
    let parameters = pair.source.qmp.execute("query-migrate-parameters", json!({}));
    assert_eq!(parameters["downtime-limit"], 1, "{parameters}");
}

cells! { finishes;
    told_to_finish_7_2_does_and_its_downtime_limit_is_as_before: "7.2";
    told_to_finish_10_0_does_and_its_downtime_limit_is_as_before: "10.0";
    told_to_finish_the_newest_does_and_its_downtime_limit_is_as_before: "newest";
}

#[test]
fn a_panic_of_ours_cancels_and_leaves_the_guest_running_on_the_source() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish { rate: 200, ..Wish::default() });
    let mut loader = Loader::new();
    for setting in ["limits.bandwidth=8MiB/s", "limits.downtime=1ms"] {
        loader.set(setting).unwrap();
    }
    let mut calls = 0;
    let progress = Box::new(move |_: &_| {
        calls += 1;
        assert!(calls < 3, "on purpose");
    });
    let scenario = loader.load().unwrap();
    let options = Options {
        scenario,
        out: Some(scratch.join("run")),
        interrupt: Interrupt::never(),
        progress,
    };
    let attach =
        |endpoint: String| Attach { qmp: endpoint.parse().unwrap(), sampling: None, trace: None };
    let run = attached(options, attach(pair.source.control()), attach(pair.destination.control()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let finished = runtime.block_on(run).unwrap();
    assert_eq!(finished.summary.outcome, Outcome::Failed, "{}", finished.summary.reason);
    assert!(
        finished.summary.reason.starts_with("switchover itself broke"),
        "{}",
        finished.summary.reason
    );
    assert!(finished.summary.reason.contains("on purpose"), "{}", finished.summary.reason);
    assert_eq!(
        (pair.source.qmp.run_state(), pair.source.qmp.migration()),
        ("running".to_owned(), "cancelled".to_owned())
    );
    assert!(pair.source.check().intact);
}

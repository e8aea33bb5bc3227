//! A migration whose driver died, or that somebody else drives: `attach`, and the single steps,
//! each of which refuses what is not safe.

use super::cells;
use crate::harness::{Done, Pair, Scratch, Switchover, Wish, eventually, loses_writes, qemu};
use nix::sys::signal::{Signal, kill};
use serde_json::json;

/// Never converges at 32 MiB/s.
const WRITER: Wish = Wish { working_set: 32, rate: 100, destination: &["-incoming", "defer"] };

fn pair(scratch: &Scratch, version: &'static str) -> Option<Pair> {
    let qemu = qemu(version)?;
    Some(Pair::start(scratch, qemu, qemu, &WRITER))
}

/// Somebody begins a migration of these two by hand.
fn begin(scratch: &Scratch, pair: &mut Pair, postcopy: bool) {
    let uri = format!("unix:{}", scratch.join("stream").display());
    let capabilities = json!({ "capabilities": [{"capability": "postcopy-ram", "state": postcopy},
        {"capability": "events", "state": true}] });
    pair.destination.qmp.execute("migrate-set-capabilities", capabilities.clone());
    pair.source.qmp.execute("migrate-set-capabilities", capabilities);
    pair.source.qmp.execute(
        "migrate-set-parameters",
        json!({ "max-bandwidth": 32 << 20, "max-postcopy-bandwidth": 8 << 20 }),
    );
    pair.destination.qmp.execute("migrate-incoming", json!({ "uri": uri }));
    pair.source.qmp.execute("migrate", json!({ "uri": uri }));
    eventually("a migration that is active", || {
        (pair.source.qmp.migration() == "active").then_some(())
    });
}

fn step(scratch: &Scratch, pair: &Pair, words: &[&str]) -> Done {
    let source = pair.source.control();
    Switchover::new(scratch, &[&words[..1], &["--source", &source], &words[1..]].concat()).run()
}

#[track_caller]
fn refused(done: &Done, because: &str) {
    done.assert_code(5);
    assert!(done.stderr.contains("not done") && done.stderr.contains(because), "{}", done.stderr);
}

#[test]
fn in_pre_copy_it_can_be_cancelled_and_not_paused() {
    let scratch = Scratch::new();
    let Some(mut pair) = pair(&scratch, "10.0") else { return };
    refused(&step(&scratch, &pair, &["cancel"]), "no migration is under way");
    begin(&scratch, &mut pair, false);
    refused(&step(&scratch, &pair, &["pause"]), "only post-copy can be paused");
    refused(&step(&scratch, &pair, &["switch"]), "postcopy-ram is off");
    refused(&step(&scratch, &pair, &["continue"]), "does not wait in pre-switchover");
    let done = step(&scratch, &pair, &["cancel", "--json"]);
    done.assert_code(0);
    assert_eq!(done.stdout.trim(), r#"{"status":"cancelled"}"#);
    assert_eq!(pair.source.qmp.run_state(), "running");
    assert!(pair.source.check().intact);
}

#[test]
fn a_qemu_that_would_obey_a_cancel_in_post_copy_gets_none_where_that_may_begin() {
    let scratch = Scratch::new();
    let Some(mut pair) = pair(&scratch, "7.2") else { return };
    begin(&scratch, &mut pair, true);
    refused(&step(&scratch, &pair, &["cancel"]), "would obey a cancel even then");
}

/// Switched over, paused, recovered, seen through: all by hand, and the guest's memory is right.
fn from_switch_to_the_end(version: &'static str) {
    let scratch = Scratch::new();
    let Some(mut pair) = pair(&scratch, version) else { return };
    begin(&scratch, &mut pair, true);
    step(&scratch, &pair, &["switch"]).assert_code(0);
    refused(&step(&scratch, &pair, &["cancel"]), "past the point of no return");
    eventually("post-copy on both sides", || {
        (pair.source.qmp.migration() == "postcopy-active"
            && pair.destination.qmp.migration() == "postcopy-active")
            .then_some(())
    });
    step(&scratch, &pair, &["pause"]).assert_code(0);
    refused(&step(&scratch, &pair, &["pause"]), "paused already");
    let (destination, uri) =
        (pair.destination.control(), format!("unix:{}", scratch.join("again").display()));
    step(&scratch, &pair, &["recover", "--destination", &destination, "--uri", &uri])
        .assert_code(0);
    pair.source.qmp.execute("migrate-set-parameters", json!({ "max-postcopy-bandwidth": 0 }));
    let call = Switchover::new(
        &scratch,
        &[
            "attach",
            "--source",
            &pair.source.control(),
            "--destination",
            &destination,
            "--out",
            "run",
        ],
    );
    let done = call.run();
    done.assert_code(0);
    assert_eq!(done.summary()["outcome"], "completed", "{}", done.story());
    assert_eq!(pair.destination.qmp.run_state(), "running");
    let verdict = pair.destination.check();
    assert!(verdict.intact || loses_writes(version, true), "{:?}", verdict.said);
}

cells! { from_switch_to_the_end;
    a_post_copy_by_hand_on_7_2: "7.2";
    a_post_copy_by_hand_on_10_0: "10.0";
    a_post_copy_by_hand_on_the_newest: "newest";
}

/// The driver is killed in post-copy, and its channel breaks: another carries on, recovers, and the
/// guest is whole.
#[test]
fn a_driver_that_died_is_replaced_by_one_that_recovers() {
    let scratch = Scratch::new();
    let Some(mut pair) = pair(&scratch, "10.0") else { return };
    let words: Vec<String> = ["migrate".to_owned()].into_iter().chain(pair.endpoints()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let slow = ["--mode", "postcopy", "--out", "run", "--set", "limits.postcopy_bandwidth=4MiB/s"];
    let mut running = Switchover::new(&scratch, &words).args(&slow).start();
    running.wait_for_event("post-copy", |event| event.status() == Some("postcopy-active"));
    kill(running.pid(), Signal::SIGKILL).unwrap();
    running.wait();
    eventually("post-copy on both sides", || {
        (pair.source.qmp.migration() == "postcopy-active"
            && pair.destination.qmp.migration() == "postcopy-active")
            .then_some(())
    });
    pair.source.qmp.execute("migrate-pause", json!({}));
    pair.source.qmp.execute("migrate-set-parameters", json!({ "max-postcopy-bandwidth": 0 }));
    let [_, source, _, destination] = pair.endpoints();
    let done = Switchover::new(
        &scratch,
        &["attach", "--source", &source, "--destination", &destination, "--out", "again"],
    )
    .run();
    done.assert_code(0);
    let text = std::fs::read_to_string(scratch.join("again/run.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&summary["outcome"], &summary["recovery"]["recovered"]),
        (&"completed".into(), &1.into()),
        "{text}"
    );
    assert!(pair.destination.check().intact);
}

#[test]
fn in_pre_copy_a_driver_that_died_is_replaced_and_ctrl_c_leaves_the_guest_on_the_source() {
    let scratch = Scratch::new();
    let Some(mut pair) = pair(&scratch, "10.0") else { return };
    let [_, source, _, destination] = pair.endpoints();
    let words = ["attach", "--source", &source, "--destination", &destination, "--out", "run"];
    Switchover::new(&scratch, &words).run().assert_refused(
        &scratch,
        5,
        &["no migration is under way"],
    );
    begin(&scratch, &mut pair, false);
    let mut running = Switchover::new(&scratch, &words).start();
    running.wait_for_event("a pass", |event| event.pass().is_some());
    kill(running.pid(), Signal::SIGINT).unwrap();
    let done = running.wait();
    assert_eq!(done.summary()["outcome"], "cancelled", "{}", done.story());
    assert_eq!(pair.source.qmp.run_state(), "running");
    assert!(pair.source.check().intact);
}

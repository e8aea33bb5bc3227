//! `predict` and `capture`: what is measured of a VM that the user started, and whether it comes
//! true.

use super::cells;
use crate::harness::{Pair, Scratch, Switchover, Wish, eventually, qemu};
use serde_json::{Value, json};

/// Far too fast for 30 MiB/s, also where 7.2 with its whole seconds can only tell that it is fast;
/// and not too fast for 200.
const WRITER: Wish = Wish { working_set: 32, rate: 100, destination: &["-incoming", "defer"] };
const MIB: f64 = 1_048_576.0;

fn pair(scratch: &Scratch, version: &'static str) -> Option<(Pair, &'static str)> {
    let qemu = qemu(version)?;
    Some((Pair::start(scratch, qemu, qemu, &WRITER), qemu))
}

fn predict(scratch: &Scratch, pair: &Pair, arguments: &[&str]) -> Value {
    let call = Switchover::new(
        scratch,
        &["predict", "--json", "--source", &pair.source.control(), "--timeout", "20s"],
    );
    let done = call.args(&["--out", "run"]).args(arguments).run();
    done.assert_code(0);
    serde_json::from_str(&done.stdout).unwrap()
}

fn comes_true(version: &'static str) {
    let scratch = Scratch::new();
    let Some((mut pair, _)) = pair(&scratch, version) else { return };
    let never = predict(&scratch, &pair, &["--max-bandwidth", "30MiB/s"]);
    assert_eq!(
        (&never["predicted"]["converges"], &never["verdict"]),
        (&false.into(), &"capped-by-max-bandwidth".into()),
        "{never:#}"
    );
    let measured = &never["measured"];
    let working_set = measured["working_set_bytes"].as_f64().unwrap() / MIB;
    assert!((26.0..40.0).contains(&working_set), "{never:#}");
    // Beside the working set the guest has itself and its table; all else is zero.
    let filled = measured["filled_bytes"].as_f64().unwrap() / MIB;
    assert!((30.0..50.0).contains(&filled), "{never:#}");
    let destination = pair.destination.control();
    let done = predict(
        &scratch,
        &pair,
        &["--max-bandwidth", "200MiB/s", "--verify", "--destination", &destination],
    );
    assert_eq!(
        (&done["predicted"]["converges"], &done["verified"]["outcome"]),
        (&true.into(), &"completed".into()),
        "{done:#}"
    );
    assert_eq!(pair.destination.qmp.run_state(), "running");
}

cells! { comes_true;
    a_prediction_comes_true_on_7_2: "7.2";
    a_prediction_comes_true_on_10_0: "10.0";
    a_prediction_comes_true_on_the_newest: "newest";
}

/// That the scenario which was captured gets this verdict in the lab too.
fn assert_same_in_the_lab(scratch: &Scratch, qemu: &str, verdict: &str) {
    let text = std::fs::read_to_string(scratch.join("captured.toml")).unwrap();
    assert!(text.starts_with("# Captured from QEMU "), "{text}");
    let run = Switchover::new(
        scratch,
        &["run", "captured.toml", "--qemu", qemu, "--accel", "tcg", "--out", "again"],
    );
    let done = run.args(&["--expect", "not-converged", "--timeout", "5s", "--json"]).run();
    done.assert_code(0);
    let summary: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(summary["convergence"]["verdict"], verdict, "{text}{:#}", summary["convergence"]);
    assert!(!summary["convergence"]["remedies"].as_array().unwrap().is_empty());
}

fn capture(scratch: &Scratch, pair: &Pair) {
    let call = Switchover::new(
        scratch,
        &["capture", "--source", &pair.source.control(), "--out", "captured.toml"],
    );
    call.run().assert_code(0);
}

fn captured(version: &'static str) {
    let scratch = Scratch::new();
    let Some((mut pair, qemu)) = pair(&scratch, version) else { return };
    pair.source.qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 30 << 20 }));
    capture(&scratch, &pair);
    assert_same_in_the_lab(&scratch, qemu, "capped-by-max-bandwidth");
}

cells! { captured;
    a_vm_is_reproduced_from_7_2: "7.2";
    a_vm_is_reproduced_from_10_0: "10.0";
}

fn captured_while_it_migrates(version: &'static str) {
    let scratch = Scratch::new();
    let Some((mut pair, qemu)) = pair(&scratch, version) else { return };
    let uri = format!("unix:{}", scratch.join("stream").display());
    pair.destination.qmp.execute("migrate-incoming", json!({ "uri": uri }));
    pair.source.qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 50 << 20 }));
    pair.source.qmp.execute("migrate", json!({ "uri": uri }));
    eventually("a migration that is active", || {
        (pair.source.qmp.migration() == "active").then_some(())
    });
    capture(&scratch, &pair);
    assert_eq!(pair.source.qmp.migration(), "active");
    assert_same_in_the_lab(&scratch, qemu, "capped-by-max-bandwidth");
}

cells! { captured_while_it_migrates;
    a_migration_that_goes_on_is_reproduced_from_10_0: "10.0";
    a_migration_that_goes_on_is_reproduced_from_the_newest: "newest";
}

#[test]
fn a_vm_of_which_nothing_can_be_known_gets_no_verdict() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let idle = Wish { working_set: 1, rate: 1, ..WRITER };
    let mut pair = Pair::start(&scratch, qemu, qemu, &idle);
    let nobody = Switchover::new(&scratch, &["predict", "--source", "unix:nowhere"]).run();
    nobody.assert_code(5);
    // Stopped: it writes nothing.
    pair.source.qmp.execute("stop", json!({}));
    let stopped = predict(&scratch, &pair, &[]);
    let notes = stopped["measured"]["notes"].as_array().unwrap();
    assert!(
        notes.iter().any(|note| note.as_str().unwrap().contains("less than 1 MiB/s")),
        "{stopped:#}"
    );
    // A migration with a destination that never answers shows no passes.
    let listener = std::os::unix::net::UnixListener::bind(scratch.join("deaf")).unwrap();
    pair.source.qmp.execute("cont", json!({}));
    pair.source.qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": 1 << 20 }));
    pair.source
        .qmp
        .execute("migrate", json!({ "uri": format!("unix:{}", scratch.join("deaf").display()) }));
    eventually("a migration that is active", || {
        (pair.source.qmp.migration() == "active").then_some(())
    });
    let early = Switchover::new(
        &scratch,
        &["capture", "--for", "300ms", "--source", &pair.source.control()],
    )
    .run();
    early.assert_code(5);
    assert!(early.stderr.contains("passes") && early.stderr.contains("--for"), "{}", early.stderr);
    drop(listener);
}

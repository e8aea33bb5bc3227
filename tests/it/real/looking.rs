//! Subcommands that migrate nothing.

use crate::harness::{Scratch, Switchover, Vm, Wish, qemu};
use serde_json::Value;

#[test]
fn inspect_shows_one_qemu() {
    let Some(program) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let vm = Vm::start(&scratch, "vm", program, &Wish::default(), &[]);
    let done = Switchover::new(&scratch, &["inspect", &vm.control()]).run();
    done.assert_code(0);
    for part in [
        "QEMU 10.0",
        "VM running",
        "capabilities off:",
        "postcopy-ram",
        "downtime-limit",
        "cannot be combined:",
    ] {
        assert!(done.stdout.contains(part), "{part} is not in {}", done.stdout);
    }
    assert!(!done.stdout.contains("differences"));
}

#[test]
fn inspect_shows_what_two_qemus_differ_in() {
    let (Some(old), Some(new)) = (qemu("7.2"), qemu("newest")) else { return };
    let scratch = Scratch::new();
    let first = Vm::start(&scratch, "first", old, &Wish::default(), &[]);
    let second = Vm::start(&scratch, "second", new, &Wish::default(), &["-incoming", "defer"]);
    let text = Switchover::new(&scratch, &["inspect", &first.control(), &second.control()]).run();
    text.assert_code(0);
    let (_, differences) = text.stdout.split_once("differences:").unwrap();
    let line = differences.lines().find(|line| line.contains("mapped-ram")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["capability", "mapped-ram", "unknown", "false"]
    );

    let json =
        Switchover::new(&scratch, &["inspect", "--json", &first.control(), &second.control()])
            .run();
    json.assert_code(0);
    let seen: Value = serde_json::from_str(&json.stdout).unwrap();
    let version = |index: usize| seen["qemus"][index]["version"].as_str().unwrap();
    assert!(version(0).starts_with("7.2.") && !version(1).starts_with("7.2."), "{}", json.stdout);
    assert_eq!(
        (&seen["qemus"][0]["run_state"], &seen["qemus"][1]["run_state"]),
        (&"running".into(), &"inmigrate".into())
    );
    let differences = seen["differences"].as_array().unwrap();
    assert!(
        differences
            .iter()
            .any(|d| d["name"] == "mapped-ram" && d["first"].is_null() && d["second"] == false)
    );
}

#[test]
fn doctor_tries_a_lab_and_says_what_works() {
    let Some(program) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let arguments = ["doctor", "--accel", "tcg", "--qemu", program];
    let done = Switchover::new(&scratch, &arguments).run();
    done.assert_code(0);
    for line in ["QEMU", "lab", "post-copy"] {
        assert!(
            done.stdout
                .lines()
                .any(|text| text.starts_with("works") && text[9..].starts_with(line)),
            "{}",
            done.stdout
        );
    }
    let json = Switchover::new(&scratch, &arguments).arg("--json").run();
    json.assert_code(0);
    assert!(
        serde_json::from_str::<Value>(&json.stdout).unwrap().as_array().unwrap().len() >= 4,
        "{}",
        json.stdout
    );
    scratch.assert_clean();
}

#[test]
fn doctor_without_qemu_says_what_is_missing() {
    let scratch = Scratch::new();
    let done =
        Switchover::new(&scratch, &["doctor", "--accel", "tcg", "--qemu", "/nonexistent/qemu"])
            .run();
    done.assert_code(5);
    assert!(
        done.stdout.contains("MISSING") && done.stdout.contains("/nonexistent/qemu"),
        "{}",
        done.stdout
    );
    scratch.assert_clean();
}

#[test]
fn a_printed_scenario_prints_the_same_again() {
    let scratch = Scratch::new();
    let settings = [
        "--mode",
        "hybrid",
        "--cap",
        "xbzrle=on",
        "--param",
        "multifd-channels=4",
        "--max-bandwidth",
        "100MiB/s",
    ];
    let more = [
        "--set",
        "guest.rate=max",
        "--set",
        "give_up.bytes=1GiB",
        "--sample-rate",
        "max",
        "--accel",
        "tcg",
    ];
    let first =
        Switchover::new(&scratch, &["run", "--print-scenario"]).args(&settings).args(&more).run();
    first.assert_code(0);
    let file = scratch.file("printed.toml", &first.stdout);
    let second = Switchover::new(&scratch, &["run", "--print-scenario"]).arg(file).run();
    second.assert_code(0);
    assert_eq!(first.stdout, second.stdout);
    assert!(first.stdout.contains("after_pass = 1"), "defaults are filled in: {}", first.stdout);
    assert!(!scratch.join("runs").exists());
}

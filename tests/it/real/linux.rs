//! The Linux guest: it boots, beats, bears a load, and comes over whole, with an application that
//! keeps answering.

use super::cells;
use crate::harness::{Done, Scratch, Switchover, linux_guest, qemu};
use serde_json::Value;

/// Small, so that a test takes seconds.
const SMALL: &str =
    "[guest]\nkind = \"linux\"\nmemory = \"160MiB\"\nworking_set = \"8MiB\"\nrate = \"10MiB/s\"\n";

/// A run with this guest between two QEMUs of this version; `None` where one of them cannot be had.
fn run(scratch: &Scratch, version: &'static str, arguments: &[&str]) -> Option<Done> {
    let (qemu, linux) = (qemu(version)?, linux_guest()?);
    let scenario = format!(
        "[qemu]\nsource = {qemu:?}\naccel = \"tcg\"\n{SMALL}load_memory = \"8MiB\"\nlinux = \
            {linux:?}\n"
    );
    let scenario = scratch.file("linux.toml", &scenario);
    let done = Switchover::new(scratch, &["run"])
        .arg(scenario)
        .args(&["--out", "run"])
        .args(arguments)
        .run();
    scratch.assert_clean();
    Some(done)
}

/// It comes over by this mode, its pages intact, its load running.
fn comes_over(version: &'static str, machine: &str, load: &str, mode: &str) -> Option<Value> {
    let scratch = Scratch::new();
    let (machine, load) = (format!("qemu.machine={machine}"), format!("guest.load={load}"));
    let done = run(
        &scratch,
        version,
        &["--mode", mode, "--set", &machine, "--set", &load, "--set", "guest.memory=192MiB"],
    )?;
    let summary = done.assert_completed(version);
    assert_eq!(summary["postcopy_happened"], mode == "postcopy", "{}", done.story());
    let (guest, views) = (&summary["guest"], &summary["downtime"]["views"]);
    for figure in
        [&guest["boot_us"], &guest["beats"], &guest["dirty_bps_before"], &guest["dirty_bps_after"]]
    {
        assert!(figure.as_u64().is_some_and(|figure| figure > 0), "{}", done.story());
    }
    assert!(views["heartbeat_us"].is_u64() && views["trace_us"].is_u64(), "{}", done.story());
    assert!(!summary["warnings"].to_string().contains("ended by itself"), "{}", done.story());
    Some(summary)
}

fn with_a_load(version: &'static str, machine: &str, load: &str, mode: &str) {
    if let Some(summary) = comes_over(version, machine, load, mode) {
        assert!(summary["guest"]["application"].is_null(), "{summary}");
    }
}

cells! { with_a_load;
    a_linux_without_a_load_goes_over_by_pre_copy_on_the_newest: "newest", "microvm", "none",
        "precopy";
    a_linux_under_stress_goes_over_by_pre_copy_on_10_0: "10.0", "microvm", "stress", "precopy";
    a_linux_under_stress_goes_over_by_post_copy_on_10_0: "10.0", "q35", "stress", "postcopy";
    a_linux_under_stress_ng_goes_over_on_a_pc: "10.0", "pc", "stress-ng", "precopy";
}

/// What the client of an application saw.
fn with_an_application(load: &str, mode: &str) {
    let Some(summary) = comes_over("10.0", "microvm", load, mode) else { return };
    let application = &summary["guest"]["application"];
    let figure = |name: &str| {
        application[name].as_u64().unwrap_or_else(|| panic!("no {name}: {application}"))
    };
    assert_eq!(application["name"], load);
    assert_eq!((figure("wrong_answers"), figure("missing")), (0, 0), "{application}");
    assert!(
        figure("rps_before") > 0 && figure("rps_after") > 0 && figure("requests") > 0,
        "{application}"
    );
    // The client is in the guest, so it cannot have waited for less than the guest stood still.
    let blackout = summary["downtime"]["views"]["events_us"].as_u64().unwrap();
    assert!(figure("longest_gap_during_us") >= blackout, "{application}: {blackout}");
}

cells! { with_an_application;
    redis_answers_through_a_pre_copy: "redis", "precopy";
    memcached_answers_through_a_post_copy: "memcached", "postcopy";
}

/// The paper's scenario, with so much stressed memory.
fn as_in_the_paper(load_memory: &str, mode: &str, outcome: &str) {
    let (Some(qemu), Some(linux)) = (qemu("10.0"), linux_guest()) else { return };
    let scratch = Scratch::new();
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/scenarios/paper-stress.toml");
    let (linux, load_memory) =
        (format!("guest.linux={linux}"), format!("guest.load_memory={load_memory}"));
    let done = Switchover::new(
        &scratch,
        &["run", scenario, "--qemu", qemu, "--accel", "tcg", "--out", "run", "--expect", outcome],
    )
    .args(&["--mode", mode, "--set", &linux, "--set", &load_memory])
    .run();
    done.assert_code(0);
    done.assert_intact(outcome);
}

cells! { as_in_the_paper;
    pre_copy_ends_below_the_papers_threshold: "12MiB", "precopy", "completed";
    pre_copy_does_not_end_above_the_papers_threshold: "64MiB", "precopy", "not-converged";
    post_copy_ends_above_the_papers_threshold: "64MiB", "postcopy", "completed";
}

#[test]
fn linux_writes_nothing_of_its_own_if_told_so() {
    let scratch = Scratch::new();
    let Some(done) = run(&scratch, "10.0", &["--set", "guest.working_set=0B"]) else { return };
    done.assert_code(0);
    let summary = done.assert_intact("completed");
    assert_eq!(
        (&summary["guest"]["pages_checked"], &summary["guest"]["dirty_bps_during"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn a_fault_injected_into_linux_is_found() {
    let scratch = Scratch::new();
    let Some(done) = run(&scratch, "10.0", &["--set", "guest.inject_fault=true"]) else { return };
    done.assert_code(6);
    assert_eq!(done.summary()["guest"]["bad_pages"], 1, "{}", done.story());
}

fn refused(arguments: &[&str], words: &[&str]) {
    let scratch = Scratch::new();
    if let Some(done) = run(&scratch, "10.0", arguments) {
        done.assert_refused(&scratch, 5, words);
    }
}

cells! { refused;
    a_load_that_ends_at_once_is_quoted:
        &["--set", "guest.load=stress", "--set", "guest.load_arguments=--nonsense"],
        &["the load ended at once", "unrecognized option: --nonsense"];
    a_word_that_neither_linux_nor_the_guest_knows: &["--set", "guest.append=fast"],
        &["could not start", "not key=value: fast"];
    a_kernel_that_panics_is_quoted: &["--set", "guest.append=rdinit=/nowhere root=/dev/none"],
        &["QEMU ended", "Kernel panic"];
}

#[test]
fn a_linux_guest_that_was_not_built() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let arguments = [
        "--set",
        "guest.kind=linux",
        "--set",
        "guest.linux=nowhere",
        "--set",
        "guest.memory=256MiB",
    ];
    let done = Switchover::lab(&scratch, qemu, qemu).args(&arguments).run();
    done.assert_refused(
        &scratch,
        5,
        &["cannot read nowhere/kernel of the Linux guest", "qemu-scripts/linux-guest"],
    );
}

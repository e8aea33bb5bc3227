//! Migrations that work: by mode, version, machine and capability; and that a damaged guest is
//! found.

use super::cells;
use crate::harness::{Done, Scratch, Switchover, qemu};
use base::Side;
use serde_json::Value;

const FILES: &[&str] = &[
    "run.json",
    "scenario.toml",
    "samples.parquet",
    "events.jsonl",
    "decisions.jsonl",
    "heartbeats.jsonl.zst",
    "qemu.source.log",
    "qemu.destination.log",
];

/// Runs a lab between two versions.
fn run(scratch: &Scratch, versions: [&'static str; 2], arguments: &[&str]) -> Option<Done> {
    let done =
        Switchover::lab(scratch, qemu(versions[0])?, qemu(versions[1])?).args(arguments).run();
    scratch.assert_clean();
    Some(done)
}

/// What every run that completed has.
#[track_caller]
fn assert_measured(done: &Done) -> Value {
    let summary = done.summary();
    assert_eq!(summary["outcome"], "completed", "{}", done.story());
    assert!(
        summary["downtime"]["views"]["events_us"].as_u64().is_some_and(|us| us > 0),
        "{}",
        done.story()
    );
    for file in FILES {
        assert!(done.out().join(file).is_file(), "{file} is missing");
    }
    assert!(!done.out().join("samples.jsonl.zst").exists(), "the stream of samples is still there");
    let samples = done.samples();
    assert!(
        summary["sampling"]["source"]["samples"].as_u64().is_some_and(|n| n > 0 && n <= samples),
        "{}",
        done.story()
    );
    let others_us = summary["host"]["others_us"].as_u64();
    assert!(
        others_us.is_some() && others_us <= summary["host"]["cpu_us"].as_u64(),
        "{}",
        done.story()
    );
    assert!(!done.record().heartbeats().unwrap().is_empty());
    assert!(!done.record().events().unwrap().is_empty());
    summary
}

fn completes(versions: [&'static str; 2], arguments: &[&str]) -> Option<Value> {
    let scratch = Scratch::new();
    let done = run(&scratch, versions, arguments)?;
    done.assert_completed(versions[0]);
    Some(assert_measured(&done))
}

fn precopy(version: &'static str) {
    let Some(summary) = completes([version; 2], &["--mode", "precopy"]) else { return };
    assert_eq!(summary["postcopy_happened"], false);
}

fn postcopy(version: &'static str) {
    let Some(summary) = completes([version; 2], &["--mode", "postcopy"]) else { return };
    assert_eq!(summary["postcopy_happened"], true);
}

cells! { precopy;
    pre_copy_on_7_2_completes_and_tells_the_truth_about_the_guest: "7.2";
    pre_copy_on_10_0_completes_with_the_guest_intact: "10.0";
    pre_copy_on_the_newest_completes_with_the_guest_intact: "newest";
}
cells! { postcopy;
    post_copy_on_7_2_completes_and_tells_the_truth_about_the_guest: "7.2";
    post_copy_on_10_0_completes_with_the_guest_intact: "10.0";
    post_copy_on_the_newest_completes_and_tells_the_truth_about_the_guest: "newest";
}

/// No write can be lost where there is none.
#[test]
fn pre_copy_on_7_2_of_a_guest_that_only_reads_keeps_it_intact() {
    let arguments = ["--set", "guest.reads_percent=100"];
    let Some(summary) = completes(["7.2"; 2], &arguments) else { return };
    assert_eq!(summary["guest"]["integrity"], "intact", "{summary}");
}

fn injected_fault_is_found(version: &'static str) {
    let scratch = Scratch::new();
    let Some(done) = run(&scratch, [version; 2], &["--set", "guest.inject_fault=true"]) else {
        return;
    };
    done.assert_code(6);
    let summary = assert_measured(&done);
    assert_eq!(summary["guest"]["integrity"], "corrupt");
    assert!(summary["guest"]["bad_pages"].as_u64().unwrap() >= 1, "{}", done.story());
    assert!(summary["warnings"].to_string().contains("injected on purpose"), "{}", done.story());
}

cells! { injected_fault_is_found;
    a_fault_injected_on_7_2_is_found: "7.2";
    a_fault_injected_on_10_0_is_found: "10.0";
    a_fault_injected_on_the_newest_is_found: "newest";
}

/// Too busy to converge by pre-copy.
const BUSY: &[&str] =
    &["--max-bandwidth", "40MiB/s", "--downtime-limit", "1ms", "--set", "guest.rate=200MiB/s"];

#[test]
fn hybrid_on_10_0_switches_to_post_copy_where_pre_copy_does_not_converge() {
    let arguments = [&["--mode", "hybrid", "--after-pass", "1"], BUSY].concat();
    let scratch = Scratch::new();
    let Some(done) = run(&scratch, ["10.0"; 2], &arguments) else { return };
    done.assert_code(0);
    assert_eq!(done.assert_intact("completed")["postcopy_happened"], true);
    assert_eq!(done.decisions(), ["start-postcopy: pass 2 began, 1 asked for"]);
    assert_eq!(done.summary()["reason"], "completed by post-copy");
}

#[test]
fn hybrid_whose_moment_never_comes_completes_by_pre_copy() {
    let Some(summary) = completes(["10.0"; 2], &["--mode", "hybrid", "--after-pass", "1000"])
    else {
        return;
    };
    assert_eq!(summary["postcopy_happened"], false);
    assert_eq!(summary["reason"], "completed by pre-copy");
}

/// "Asked for" is not "happened": with so little to do, either may be first.
fn tells_whether_postcopy_happened(version: &'static str) {
    let arguments = ["--mode", "hybrid", "--after-pass", "1", "--set", "guest.rate=1MiB/s"];
    let Some(summary) = completes([version; 2], &arguments) else { return };
    let reasons: &[&str] = if summary["postcopy_happened"] == true {
        &["completed by post-copy"]
    } else {
        &[
            "completed by pre-copy",
            "completed; post-copy was asked for, but pre-copy finished first",
        ]
    };
    assert!(reasons.contains(&summary["reason"].as_str().unwrap()), "{summary}");
}

cells! { tells_whether_postcopy_happened;
    hybrid_on_7_2_tells_whether_post_copy_happened: "7.2";
    hybrid_on_10_0_tells_whether_post_copy_happened: "10.0";
}

fn pauses_before_switchover(version: &'static str) {
    let scratch = Scratch::new();
    let Some(done) = run(&scratch, [version; 2], &["--cap", "pause-before-switchover=on"]) else {
        return;
    };
    done.assert_completed(version);
    assert_measured(&done);
    assert_eq!(done.decisions(), ["continue: the source is ready to switch over"]);
}

cells! { pauses_before_switchover;
    pause_before_switchover_on_7_2_is_continued: "7.2";
    pause_before_switchover_on_10_0_is_continued: "10.0";
}

fn on_machine(machine: &str) {
    let setting = format!("qemu.machine={machine}");
    let Some(summary) = completes(["10.0"; 2], &["--set", &setting]) else { return };
    assert_eq!(summary["environment"]["machine"], machine);
}

cells! { on_machine;
    machine_q35_migrates: "q35";
    machine_pc_migrates: "pc";
}

#[test]
fn multifd_over_tcp_carries_the_memory() {
    let scratch = Scratch::new();
    let capability = ["--cap", "multifd=on", "--param", "multifd-channels=4"];
    let arguments =
        [&capability[..], &["--set", "transport=tcp", "--set", "record.transcript=true"]].concat();
    let Some(done) = run(&scratch, ["10.0"; 2], &arguments) else { return };
    done.assert_code(0);
    done.assert_intact("completed");
    let ram = done.last_answer(Side::Source, "ram").unwrap();
    assert!(ram["multifd-bytes"].as_u64().unwrap() > 16 << 20, "{ram}");
}

#[test]
fn xbzrle_sends_differences_of_pages_that_change_little() {
    let scratch = Scratch::new();
    // Four passes for sure: a page enters the cache in its second.
    let passes = [
        "--mode",
        "hybrid",
        "--after-pass",
        "4",
        "--downtime-limit",
        "1ms",
        "--max-bandwidth",
        "100MiB/s",
    ];
    let guest = [
        "--set",
        "guest.content=delta",
        "--set",
        "guest.rate=200MiB/s",
        "--set",
        "record.transcript=true",
    ];
    let arguments =
        [&["--cap", "xbzrle=on", "--param", "xbzrle-cache-size=64MiB"], &passes[..], &guest]
            .concat();
    let Some(done) = run(&scratch, ["10.0"; 2], &arguments) else { return };
    done.assert_code(0);
    done.assert_intact("completed");
    let cache = done.last_answer(Side::Source, "xbzrle-cache").unwrap();
    assert!(cache["pages"].as_u64().unwrap() > 0, "{cache}");
}

#[test]
fn accelerator_auto_says_what_it_chose_and_why() {
    let Some(summary) = completes(["10.0"; 2], &["--accel", "auto"]) else { return };
    let environment = &summary["environment"];
    assert!(
        environment["accelerator"] == "tcg" || environment["accelerator"] == "kvm",
        "{environment}"
    );
    assert!(!environment["accelerator_reason"].as_str().unwrap().is_empty());
}

/// Whatever QEMU says to two versions, what we say must be true.
fn across(source: &'static str, destination: &'static str, machine: &str) {
    let scratch = Scratch::new();
    let Some(done) =
        run(&scratch, [source, destination], &["--set", &format!("qemu.machine={machine}")])
    else {
        return;
    };
    match done.status.code() {
        Some(0 | 6) => done.assert_completed(source),
        Some(8) => done.assert_intact("failed"),
        _ => panic!("{}", done.story()),
    };
    println!("{source} to {destination}, {machine}: {}", done.summary()["reason"]);
}

cells! { across;
    from_7_2_to_10_0_on_a_versioned_pc_ends_well_or_stays: "7.2", "10.0", "pc-i440fx-7.2";
    from_10_0_to_the_newest_on_a_versioned_q35_ends_well_or_stays: "10.0", "newest", "pc-q35-10.0";
    from_7_2_to_10_0_on_microvm_ends_well_or_stays: "7.2", "10.0", "microvm";
    from_7_2_to_10_0_on_q35_ends_well_or_stays: "7.2", "10.0", "q35";
    from_7_2_to_10_0_on_pc_ends_well_or_stays: "7.2", "10.0", "pc";
    from_10_0_to_the_newest_on_microvm_ends_well_or_stays: "10.0", "newest", "microvm";
    from_10_0_to_the_newest_on_q35_ends_well_or_stays: "10.0", "newest", "q35";
    from_10_0_to_the_newest_on_pc_ends_well_or_stays: "10.0", "newest", "pc";
}

//! The blackout in its views, of one switchover and of many, as real QEMUs give them.

use super::cells;
use crate::harness::{Done, Pair, Scratch, Switchover, Wish, qemu, skewed};
use record::Switchover as Line;
use serde_json::Value;

fn lines(done: &Done) -> Vec<Line> {
    let text = std::fs::read_to_string(done.out().join("switchovers.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// That a line's views are there and make sense, whatever the machine was doing meanwhile: nothing
/// here is about how long it took.
#[track_caller]
fn assert_views(version: &str, line: &Line, done: &Done) {
    let downtime = &line.downtime;
    assert!(
        downtime.views.events_us.is_some() && downtime.views.heartbeat_us.is_some(),
        "{line:?} {}",
        done.story()
    );
    assert_eq!(downtime.best.as_ref().unwrap().view.name(), "heartbeat");
    assert!(downtime.spans.heartbeat.as_ref().unwrap().uncertainty_us.is_some());
    assert!(
        !downtime.disagreements.iter().any(|text| text.contains("were lost")),
        "{:?}",
        downtime.disagreements
    );
    if version == "7.2" {
        assert_eq!(downtime.views.trace_us, None);
        assert!(
            downtime.trace_missing.as_ref().unwrap().contains("since 8.2"),
            "{:?}",
            downtime.trace_missing
        );
        return;
    }
    let (trace, events) =
        (downtime.spans.trace.as_ref().unwrap(), downtime.spans.events.as_ref().unwrap());
    // QEMU stops its vCPUs between src-downtime-start and STOP, and starts them between RESUME and
    // bh-vm-started.
    assert!(trace.from_us <= events.from_us && events.to_us <= trace.to_us, "{line:?}");
    let parts = serde_json::to_value(downtime.breakdown_us.unwrap()).unwrap();
    let sum: u64 = parts.as_object().unwrap().values().map(|part| part.as_u64().unwrap()).sum();
    assert_eq!(Some(sum), downtime.views.trace_us);
    assert!(downtime.devices.iter().any(|device| device.device == "cpu"), "{:?}", downtime.devices);
}

fn views(version: &'static str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let done = Switchover::lab(&scratch, qemu, qemu).run();
    let summary = done.assert_completed(version);
    let [line] = lines(&done).try_into().unwrap();
    assert_views(version, &line, &done);
    assert_eq!(summary["downtime"], serde_json::to_value(&line.downtime).unwrap());
    assert_eq!(summary["repeat"], Value::Null);
    let brownout = &summary["brownout"];
    for phase in ["before", "precopy", "after"] {
        assert!(
            brownout["beats"][phase]["count"].as_u64()
                <= brownout["beats_corrected"][phase]["count"].as_u64(),
            "{brownout}"
        );
        assert!(brownout["accesses"][phase]["count"].as_u64().is_some(), "{brownout}");
    }
    assert!(!brownout["write_rate"].as_array().unwrap().is_empty());
    let log = std::fs::read_to_string(done.out().join("histograms.hlog")).unwrap();
    assert!(log.contains("Tag=heartbeat,") && log.contains("Tag=events,"), "{log}");
    assert!(done.stdout.contains("X blackout"), "no timeline: {}", done.stdout);
    scratch.assert_clean();
}

cells! { views;
    the_views_of_7_2_are_there_but_for_traces: "7.2";
    the_views_of_10_0_are_there: "10.0";
    the_views_of_the_newest_are_there: "newest";
}

fn series(version: &'static str, arguments: &[&str]) -> Option<Value> {
    const REPEAT: usize = 8;
    let qemu = qemu(version)?;
    let scratch = Scratch::new();
    let more = ["--repeat", "8", "--set", "guest.working_set=4MiB"];
    let done = Switchover::lab(&scratch, qemu, qemu).args(&more).args(arguments).run();
    // All of them together must have left the guest's memory as it should be: it is checked once,
    // at the end.
    let summary = done.assert_completed(version);
    let lines = lines(&done);
    assert_eq!(lines.len(), REPEAT, "{}", done.story());
    for line in &lines {
        assert_views(version, line, &done);
    }
    assert_eq!(summary["repeat"]["completed"], 8);
    for view in ["best", "heartbeat", "events"] {
        assert_eq!(summary["repeat"][view]["count"], 8);
        assert!(summary["repeat"][view]["p50"]["low_us"].is_u64(), "{summary}");
        // Eight values say nothing of the 99th percentile.
        assert_eq!(summary["repeat"][view]["p99"]["low_us"], Value::Null);
    }
    let beats = done.record().heartbeats().unwrap();
    assert_eq!(beats.iter().map(|record| record.vm).max(), Some(8));
    assert!(beats.is_sorted_by_key(|record| record.vm), "beats of one VM among those of another");
    scratch.assert_clean();
    Some(summary)
}

fn series_by_precopy(version: &'static str) {
    series(version, &[]);
}

fn series_by_postcopy(version: &'static str) {
    let Some(summary) = series(version, &["--mode", "postcopy"]) else { return };
    assert!(summary["repeat"]["by_postcopy"].as_u64().unwrap() > 0, "{summary}");
}

cells! { series_by_precopy;
    the_guest_goes_on_and_on_by_pre_copy_on_7_2: "7.2";
    the_guest_goes_on_and_on_by_pre_copy_on_10_0: "10.0";
    the_guest_goes_on_and_on_by_pre_copy_on_the_newest: "newest";
}

cells! { series_by_postcopy;
    the_guest_goes_on_and_on_by_post_copy_on_7_2: "7.2";
    the_guest_goes_on_and_on_by_post_copy_on_10_0: "10.0";
    the_guest_goes_on_and_on_by_post_copy_on_the_newest: "newest";
}

#[test]
fn a_series_over_tcp_works() {
    series("10.0", &["--set", "transport=tcp"]);
}

#[test]
fn an_interrupt_ends_a_series_with_what_was_measured() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut running = Switchover::lab(&scratch, qemu, qemu).args(&["--repeat", "2000"]).start();
    running.wait_for_event("the third migration", |event| event.migration == 3);
    nix::sys::signal::kill(running.pid(), nix::sys::signal::Signal::SIGINT).unwrap();
    let done = running.wait();
    let summary = done.summary();
    assert_eq!(summary["guest"]["integrity"], "intact", "{}", done.story());
    let lines = lines(&done);
    assert!(lines.len() >= 3 && lines.len() < 2000, "{}", lines.len());
    assert_eq!(summary["repeat"]["wanted"], 2000);
    scratch.assert_clean();
}

fn faults(version: &'static str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let more =
        ["--mode", "postcopy", "--set", "record.fault_trace=true", "--set", "guest.rate=100MiB/s"];
    let done = Switchover::lab(&scratch, qemu, qemu).args(&more).run();
    let faults = &done.assert_completed(version)["faults"];
    // A page may have come before the request for it reached the source, so the counts of both
    // sides need not be the same.
    assert!(faults["timed"].as_u64().unwrap() > 0, "{faults} {}", done.story());
    let figure = |name: &str| faults[name].as_u64().unwrap();
    assert!(
        figure("p50_us") <= figure("p99_us") && figure("p99_us") <= figure("max_us"),
        "{faults}"
    );
    assert!(faults["blocktime_us"].is_u64(), "{faults}");
    scratch.assert_clean();
}

cells! { faults;
    faults_of_10_0_are_timed_by_traces: "10.0";
    faults_of_the_newest_are_timed_by_traces: "newest";
}

#[test]
fn faults_of_the_newest_are_timed_by_qemu_itself() {
    let Some(qemu) = qemu("newest") else { return };
    let scratch = Scratch::new();
    let done = Switchover::lab(&scratch, qemu, qemu)
        .args(&["--mode", "postcopy", "--set", "guest.rate=100MiB/s"])
        .run();
    let faults = &done.assert_completed("newest")["faults"];
    assert!(
        faults["timed"].as_u64().unwrap() > 0 && faults["mean_us"].is_u64(),
        "{faults} {}",
        done.story()
    );
    scratch.assert_clean();
}

#[test]
fn without_traces_it_is_said_so() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let done = Switchover::lab(&scratch, qemu, qemu).args(&["--set", "record.trace=false"]).run();
    let downtime = &done.assert_intact("completed")["downtime"];
    assert_eq!(downtime["trace_missing"], "not traced (record.trace = false)");
    assert!(!done.out().join("trace.source.log").exists());
}

fn attached(version: &'static str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let traces = [pair.source.trace(), pair.destination.trace()];
    let [source, source_qmp, destination, destination_qmp] = pair.endpoints();
    let done = Switchover::new(
        &scratch,
        &["migrate", &source, &source_qmp, &destination, &destination_qmp],
    )
    .args(&["--source-trace", &traces[0], "--destination-trace", &traces[1], "--out", "run"])
    .run();
    done.assert_code(0);
    let downtime = &done.summary()["downtime"];
    if version == "7.2" {
        assert!(downtime["trace_missing"].as_str().unwrap().contains("since 8.2"), "{downtime}");
        assert_eq!(downtime["best"]["view"], "events");
    } else {
        assert_eq!(downtime["best"]["view"], "trace", "{downtime}");
        assert!(downtime["views"]["trace_us"].as_u64() >= downtime["views"]["events_us"].as_u64());
        // They were switched off again.
        let length = || std::fs::metadata(&traces[1]).unwrap().len();
        assert!(length() > 0);
    }
}

cells! { attached;
    traces_of_a_users_7_2_are_missed_in_words: "7.2";
    traces_of_a_users_10_0_are_switched_on: "10.0";
    traces_of_a_users_newest_are_switched_on: "newest";
}

#[test]
fn a_trace_file_that_is_not_there_is_a_warning() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let [source, source_qmp, destination, destination_qmp] = pair.endpoints();
    let done = Switchover::new(
        &scratch,
        &["migrate", &source, &source_qmp, &destination, &destination_qmp],
    )
    .args(&["--source-trace", "/nowhere", "--out", "run"])
    .run();
    done.assert_code(0);
    assert!(
        done.summary()["warnings"].to_string().contains("/nowhere cannot be read"),
        "{}",
        done.story()
    );
}

#[test]
fn a_series_needs_a_lab_with_one_kind_of_qemu() {
    let (Some(old), Some(new)) = (qemu("7.2"), qemu("10.0")) else { return };
    let scratch = Scratch::new();
    Switchover::lab(&scratch, old, new).args(&["--repeat", "2"]).run().assert_refused(
        &scratch,
        5,
        &["between fresh QEMUs of one kind"],
    );
    let pair = Pair::start(&scratch, new, new, &Wish::default());
    let [source, source_qmp, destination, destination_qmp] = pair.endpoints();
    let done = Switchover::new(
        &scratch,
        &["migrate", &source, &source_qmp, &destination, &destination_qmp],
    )
    .args(&["--repeat", "2", "--out", "run"])
    .run();
    done.assert_code(5);
    assert!(done.stderr.contains("repeat is for a lab"), "{}", done.story());
}

#[test]
fn a_fast_heartbeat_holds_up_no_guest_that_takes_its_time_to_fill_memory() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let more = [
        "--set",
        "guest.heartbeat=100us",
        "--set",
        "guest.memory=512MiB",
        "--set",
        "guest.working_set=400MiB",
    ];
    let done = Switchover::lab(&scratch, qemu, qemu)
        .args(&more)
        .args(&["--max-bandwidth", "unlimited"])
        .run();
    let summary = done.assert_intact("completed");
    assert!(summary["guest"]["beats"].as_u64().unwrap() > 1000, "{summary}");
    scratch.assert_clean();
}

#[test]
fn clocks_of_two_hosts_are_estimated_and_the_truth_lies_within_the_uncertainty() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let (source, stopped) = skewed(&pair.source.control(), 7_000_000);
    let (destination, resumed) = skewed(&pair.destination.control(), -3_600_000_000);
    let done =
        Switchover::new(&scratch, &["migrate", "--source", &source, "--destination", &destination])
            .args(&["--uri", "tcp:127.0.0.1:0", "--out", "run", "--allow-plain-qmp"])
            .run();
    done.assert_code(0);
    let summary = done.summary();
    let best = &summary["downtime"]["best"];
    assert_eq!(best["view"], "events", "{}", done.story());
    let truth = resumed.lock().unwrap()["RESUME"] - stopped.lock().unwrap()["STOP"];
    let (measured, uncertainty) =
        (best["us"].as_i64().unwrap(), best["uncertainty_us"].as_i64().unwrap());
    assert!(
        (measured - truth).abs() <= uncertainty,
        "{measured} ± {uncertainty} of {truth}: {}",
        done.story()
    );
    assert!(
        summary["warnings"].to_string().contains("the difference of their clocks was estimated"),
        "{}",
        done.story()
    );
}

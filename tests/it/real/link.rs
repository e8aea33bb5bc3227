//! Migrations over a link: each preset in each mode on each version, several channels, outages,
//! ends that go away.

use super::cells;
use crate::harness::{Done, Pair, Running, Scratch, Switchover, Wish, eventually, qemu};
use base::Side;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::io::Write;

fn run(scratch: &Scratch, version: &'static str, arguments: &[&str]) -> Option<Done> {
    let qemu = qemu(version)?;
    let done = Switchover::lab(scratch, qemu, qemu).args(arguments).run();
    scratch.assert_clean();
    Some(done)
}

fn figure(summary: &Value, path: &str) -> u64 {
    summary
        .pointer(path)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no {path} in {summary:#}"))
}

/// That what the link counted is what QEMU says it sent, but for what it counts otherwise (headers,
/// the device state).
#[track_caller]
fn assert_counts_agree(summary: &Value) {
    let (link, qemu) = (figure(summary, "/link/bytes"), figure(summary, "/transfer/total_bytes"));
    assert!(link.abs_diff(qemu) <= qemu / 50 + (256 << 10), "link {link}, QEMU {qemu}");
    assert!(figure(summary, "/link/back_bytes") > 0);
}

/// One way from Coleraine to Halifax, µs.
const HALIFAX_US: u64 = 26_250;

fn goes_over(preset: &str, mode: &str, version: &'static str) {
    let scratch = Scratch::new();
    let preset_key = format!("link.preset={preset}");
    let Some(done) = run(&scratch, version, &["--mode", mode, "--set", &preset_key]) else {
        return;
    };
    let summary = done.assert_completed(version);
    assert_eq!(summary["environment"]["transport"], "owned");
    assert_counts_agree(&summary);
    if preset == "halifax" {
        // The last of the state is on its way for so long, whatever QEMU says of its downtime.
        let events_us = figure(&summary, "/downtime/views/events_us");
        assert!(events_us >= HALIFAX_US, "{}", done.story());
    }
    assert!(done.record().flows().iter().map(|record| record.flow.bytes).sum::<u64>() > 16 << 20);
}

cells! { goes_over;
    pre_copy_on_7_2_over_local: "local", "precopy", "7.2";
    pre_copy_on_7_2_over_dublin: "dublin", "precopy", "7.2";
    pre_copy_on_7_2_over_halifax: "halifax", "precopy", "7.2";
    post_copy_on_7_2_over_local: "local", "postcopy", "7.2";
    post_copy_on_7_2_over_dublin: "dublin", "postcopy", "7.2";
    post_copy_on_7_2_over_halifax: "halifax", "postcopy", "7.2";
    pre_copy_on_10_0_over_local: "local", "precopy", "10.0";
    pre_copy_on_10_0_over_dublin: "dublin", "precopy", "10.0";
    pre_copy_on_10_0_over_halifax: "halifax", "precopy", "10.0";
    post_copy_on_10_0_over_local: "local", "postcopy", "10.0";
    post_copy_on_10_0_over_dublin: "dublin", "postcopy", "10.0";
    post_copy_on_10_0_over_halifax: "halifax", "postcopy", "10.0";
    pre_copy_on_the_newest_over_local: "local", "precopy", "newest";
    pre_copy_on_the_newest_over_dublin: "dublin", "precopy", "newest";
    pre_copy_on_the_newest_over_halifax: "halifax", "precopy", "newest";
    post_copy_on_the_newest_over_local: "local", "postcopy", "newest";
    post_copy_on_the_newest_over_dublin: "dublin", "postcopy", "newest";
    post_copy_on_the_newest_over_halifax: "halifax", "postcopy", "newest";
}

fn several_channels(version: &'static str, arguments: &[&str], channels: u64) {
    let scratch = Scratch::new();
    let arguments = [&["--set", "link.preset=dublin"], arguments].concat();
    let Some(done) = run(&scratch, version, &arguments) else { return };
    let summary = done.assert_completed(version);
    assert_eq!(
        (&summary["environment"]["transport"], figure(&summary, "/link/channels")),
        (&"unix".into(), channels)
    );
    assert_counts_agree(&summary);
}

cells! { several_channels;
    multifd_on_10_0_shares_a_link: "10.0",
        &["--cap", "multifd=on", "--param", "multifd-channels=3"], 4;
    multifd_on_the_newest_shares_a_link: "newest", &["--cap", "multifd=on"], 3;
    preempt_on_10_0_has_a_channel_of_its_own: "10.0",
        &["--mode", "postcopy", "--cap", "postcopy-preempt=on"], 2;
    preempt_on_the_newest_has_a_channel_of_its_own: "newest",
        &["--mode", "postcopy", "--cap", "postcopy-preempt=on"], 2;
}

/// The time for which the guest waits for one page. The link is halifax at a tenth of its size.
const FAULTS: &[&str] = &[
    "--mode",
    "postcopy",
    "--max-bandwidth",
    "unlimited",
    "--set",
    "guest.memory=160MiB",
    "--set",
    "guest.working_set=128MiB",
    "--set",
    "guest.rate=40MiB/s",
    "--set",
    "guest.pattern=random",
    "--set",
    "link.preset=halifax",
    "--set",
    "link.scale=10",
    "--set",
    "record.fault_trace=true",
];

/// `queued`: bytes that the page waits behind.
fn a_fault_costs(version: &'static str, arguments: &[&str], queued: u64) {
    let scratch = Scratch::new();
    let Some(done) = run(&scratch, version, &[FAULTS, arguments].concat()) else { return };
    let summary = done.assert_completed(version);
    let p50_us = figure(&summary, "/faults/p50_us");
    // Of one connection: window over round trip.
    let bytes_a_second = ((16 << 20) / 10) * 1_000_000 / (2 * HALIFAX_US);
    let predicted_us = 2 * HALIFAX_US + (queued + 4096) * 1_000_000 / bytes_a_second;
    let off = p50_us.abs_diff(predicted_us);
    assert!(
        off * 5 <= predicted_us,
        "p50 {p50_us} µs, predicted {predicted_us} µs: {}",
        done.story()
    );
    assert!(figure(&summary, "/faults/timed") >= 20);
}

/// What a unix socket holds.
const UNIX_QUEUE: u64 = 208 << 10;

cells! { a_fault_costs;
    a_fault_on_10_0_costs_a_round_trip_and_the_queue: "10.0", &["--transport", "fd"], UNIX_QUEUE;
    a_fault_on_10_0_with_preempt_costs_a_round_trip: "10.0", &["--cap", "postcopy-preempt=on"], 0;
    a_fault_on_the_newest_costs_a_round_trip_and_the_queue: "newest", &["--transport", "fd"],
        UNIX_QUEUE;
    a_fault_on_the_newest_with_preempt_costs_a_round_trip: "newest",
        &["--cap", "postcopy-preempt=on"], 0;
}

#[test]
fn the_way_back_can_differ() {
    let scratch = Scratch::new();
    let arguments = ["--set", "link.preset=open", "--set", "link.back={delay=\"300ms\"}"];
    let Some(done) = run(&scratch, "10.0", &arguments) else { return };
    // The source has completed when the destination's last word has come.
    let total_us = figure(&done.assert_completed("10.0"), "/time_us/total");
    assert!(total_us >= 300_000, "{}", done.story());
}

#[test]
fn post_copy_waits_for_a_link_that_stalls_and_goes_on() {
    let scratch = Scratch::new();
    let outage = "link.outages=[{at_state=\"postcopy-active\", lasts=\"400ms\"}]";
    let arguments = ["--mode", "postcopy", "--set", "link.preset=open", "--set", outage];
    let Some(done) = run(&scratch, "10.0", &arguments) else { return };
    let summary = done.assert_completed("10.0");
    assert!(figure(&summary, "/time_us/total") >= 400_000, "{}", done.story());
}

/// Less than 1 MiB passes before post-copy begins, and about 10 MiB in all. The link breaks early
/// enough that more is left than the socket buffers hold: a QEMU that has handed over everything
/// waits for the end of the migration, and does not pause but fails.
const BREAKS_IN_POSTCOPY: &[&str] = &[
    "--mode",
    "postcopy",
    "--max-bandwidth",
    "8MiB/s",
    "--timeout",
    "20s",
    "--set",
    "limits.postcopy_bandwidth=32MiB/s",
    "--set",
    "link.outages=[{after_bytes=\"4MiB\", breaks=true}]",
    "--set",
    "recovery.attempts=2",
    "--set",
    "recovery.backoff=100ms",
];

fn breaks_in_postcopy(version: &'static str) {
    let scratch = Scratch::new();
    let Some(done) = run(&scratch, version, BREAKS_IN_POSTCOPY) else { return };
    done.assert_code(7);
    let summary = done.summary();
    assert_eq!(summary["outcome"], "unknown", "{}", done.story());
    assert!(
        summary["reason"].as_str().unwrap().contains("2 attempts to recover it failed"),
        "{}",
        done.story()
    );
}

cells! { breaks_in_postcopy;
    a_link_that_breaks_in_post_copy_on_7_2_leaves_the_guest_to_be_recovered: "7.2";
    a_link_that_breaks_in_post_copy_on_10_0_leaves_the_guest_to_be_recovered: "10.0";
    a_link_that_breaks_in_post_copy_on_the_newest_leaves_the_guest_to_be_recovered: "newest";
}

/// The guest waits for as long as the link is broken, and loses nothing.
fn recovers(version: &'static str, outage: &str, more: &[&str]) {
    let scratch = Scratch::new();
    let outage = format!("link.outages=[{{after_bytes=\"20MiB\", {outage}}}]");
    let guest = ["--set", "guest.memory=128MiB", "--set", "guest.working_set=64MiB"];
    let common =
        [&guest[..], &["--mode", "postcopy", "--set", "link.rate=50MiB/s", "--set", &outage]]
            .concat();
    let Some(done) = run(&scratch, version, &[&common[..], more].concat()) else { return };
    let summary = done.assert_completed(version);
    assert_eq!(summary["postcopy_happened"], true);
    let recovery = &summary["recovery"];
    assert_eq!(recovery["recovered"], 1, "{}", done.story());
    assert!(
        figure(&summary, "/recovery/attempts") >= 1 && figure(&summary, "/recovery/paused_us") > 0,
        "{}",
        done.story()
    );
    assert!(
        done.decisions().contains(&"recovered: post-copy goes on".to_owned()),
        "{}",
        done.story()
    );
    // Of a working set of which much is missing, the guest soon touches a page that is.
    assert!(figure(&summary, "/brownout/beats/postcopy/max_us") > 300_000, "{}", done.story());
}

cells! { recovers;
    a_post_copy_that_breaks_is_recovered_on_7_2: "7.2", "lasts=\"700ms\", breaks=true", &[];
    a_post_copy_that_breaks_is_recovered_on_10_0: "10.0", "lasts=\"700ms\", breaks=true", &[];
    a_post_copy_that_breaks_is_recovered_on_the_newest: "newest", "lasts=\"700ms\", breaks=true",
        &[];
    a_post_copy_that_breaks_with_two_channels_is_recovered: "10.0", "lasts=\"700ms\", breaks=true",
        &["--cap", "postcopy-preempt=on"];
    a_post_copy_over_tcp_is_recovered: "10.0", "lasts=\"700ms\", breaks=true",
        &["--transport", "tcp"];
    a_post_copy_that_stalls_is_paused_and_recovered: "10.0", "lasts=\"2s\"",
        &["--set", "recovery.stalled_after=500ms"];
}

fn breaks_in_precopy(version: &'static str) {
    let scratch = Scratch::new();
    let arguments = [
        "--max-bandwidth",
        "32MiB/s",
        "--set",
        "link.outages=[{after_bytes=\"4MiB\", breaks=true}]",
    ];
    let Some(done) = run(&scratch, version, &arguments) else { return };
    done.assert_code(8);
    let summary = done.assert_intact("failed");
    assert!(figure(&summary, "/link/bytes") >= 4 << 20);
}

cells! { breaks_in_precopy;
    a_link_that_breaks_in_pre_copy_on_7_2_leaves_the_guest_on_the_source: "7.2";
    a_link_that_breaks_in_pre_copy_on_10_0_leaves_the_guest_on_the_source: "10.0";
    a_link_that_breaks_in_pre_copy_on_the_newest_leaves_the_guest_on_the_source: "newest";
}

#[test]
fn a_destination_that_dies_behind_a_link_leaves_the_guest_on_the_source() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let endless =
        ["--max-bandwidth", "32MiB/s", "--downtime-limit", "1ms", "--set", "guest.rate=400MiB/s"];
    let mut running = Switchover::lab(&scratch, qemu, qemu)
        .args(&endless)
        .args(&["--set", "link.preset=dublin"])
        .start();
    running.wait_for_event("its first pass", |event| event.pass() >= Some(1));
    scratch.kill_qemu(Side::Destination);
    let done = running.wait();
    done.assert_code(8);
    done.assert_intact("failed");
    scratch.assert_clean();
}

/// A link by itself, and a migration between the user's QEMUs over it.
fn over_a_link(
    scratch: &Scratch,
    pair: &Pair,
    leads_to: &str,
    arguments: &[&str],
) -> (Running, Running) {
    let (front, incoming) = (scratch.join("front"), scratch.join("incoming"));
    let [listen, connect, arrives] =
        [front.display().to_string(), leads_to.to_owned(), incoming.display().to_string()]
            .map(|path| format!("unix:{path}"));
    let link = ["link", "--listen", &listen, "--connect", &connect, "--set", "link.preset=local"];
    let link = Switchover::new(scratch, &link).start();
    eventually("the link listens", || front.exists().then_some(()));
    let endpoints = pair.endpoints();
    let words: Vec<&str> =
        ["migrate"].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
    let incoming_uri = format!("incoming_uri={arrives}");
    let migrate = ["--uri", &listen, "--set", &incoming_uri, "--out", "run"];
    (link, Switchover::new(scratch, &words).args(&migrate).args(arguments).start())
}

#[test]
fn a_link_by_itself_leads_to_the_destination_and_counts() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let leads_to = scratch.join("incoming").display().to_string();
    let (link, migration) = over_a_link(&scratch, &pair, &leads_to, &[]);
    let done = migration.wait();
    done.assert_code(0);
    kill(link.pid(), Signal::SIGINT).unwrap();
    let link = link.wait();
    link.assert_code(0);
    assert!(
        link.stdout.contains("forwards to") && link.stdout.contains("1 connection: "),
        "{}",
        link.stdout
    );
    assert!(pair.destination.check().intact);
}

#[test]
fn a_link_that_is_killed_leaves_the_guest_on_the_source() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let leads_to = scratch.join("incoming").display().to_string();
    let (link, mut migration) =
        over_a_link(&scratch, &pair, &leads_to, &["--max-bandwidth", "4MiB/s"]);
    migration.wait_for_event("its first pass", |event| event.pass() >= Some(1));
    kill(link.pid(), Signal::SIGKILL).unwrap();
    let done = migration.wait();
    done.assert_code(8);
    assert_eq!(done.summary()["outcome"], "failed", "{}", done.story());
    assert_eq!(pair.source.qmp.run_state(), "running");
    assert!(pair.source.check().intact);
}

#[test]
fn a_destination_that_refuses_leaves_the_guest_on_the_source() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let nobody = scratch.join("nobody").display().to_string();
    let (link, migration) = over_a_link(&scratch, &pair, &nobody, &["--timeout", "20s"]);
    let done = migration.wait();
    done.assert_code(8);
    assert_eq!(done.summary()["outcome"], "failed", "{}", done.story());
    assert!(pair.source.check().intact);
    kill(link.pid(), Signal::SIGTERM).unwrap();
    let link = link.wait();
    assert!(link.stderr.contains("cannot connect the link to its target"), "{}", link.stderr);
}

/// A scenario or arguments that make no link.
fn refused(arguments: &[&str], words: &[&str]) {
    let scratch = Scratch::new();
    Switchover::new(&scratch, arguments).run().assert_refused(&scratch, 2, words);
}

cells! { refused;
    a_rate_of_nothing: &["run", "--out", "run", "--set", "link.rate=0MiB/s"], &["link.rate", "transfers nothing"];
    a_delay_beyond_the_timeout: &["run", "--out", "run", "--timeout", "2s", "--set", "link.delay=1s"], &["link.delay", "timeout of 2s"];
    an_outage_that_never_comes: &["run", "--out", "run", "--set", "link.outages=[{lasts=\"1s\"}]"], &["link.outages", "after_bytes"];
    a_link_by_itself_that_waits_for_a_state:
        &["link", "--listen", "unix:a", "--connect", "unix:b", "--set",
            "link.outages=[{at_state=\"active\"}]"], &["at_state", "after_bytes"];
    a_link_by_itself_of_namespaces:
        &["link", "--listen", "unix:a", "--connect", "unix:b", "--set", "link.kind=netns"],
            &["netns", "emulated"];
    a_link_that_leads_nowhere: &["link", "--listen", "unix:a", "--connect", "b"],
        &["`b` is not an address"];
}

fn namespaces(arguments: &[&str], transport: &str) {
    if !nix::unistd::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "skipped: only root makes network namespaces");
        return;
    }
    let scratch = Scratch::new();
    let arguments =
        [&["--set", "link.kind=netns", "--set", "link.rate=100MiB/s"], arguments].concat();
    let Some(done) = run(&scratch, "10.0", &arguments) else { return };
    let summary = done.assert_completed("10.0");
    assert_eq!(summary["environment"]["transport"], transport);
    // With the headers of TCP and IP, and what was sent again.
    assert!(
        figure(&summary, "/link/bytes") >= figure(&summary, "/transfer/total_bytes"),
        "{}",
        done.story()
    );
}

cells! { namespaces;
    namespaces_with_an_owned_socket: &["--mode", "postcopy"], "owned";
    namespaces_with_qemus_own: &["--transport", "tcp"], "tcp";
}

#[test]
fn namespaces_are_not_for_other_peoples_qemus() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let endpoints = pair.endpoints();
    let words: Vec<&str> =
        ["migrate"].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
    let done =
        Switchover::new(&scratch, &words).args(&["--out", "run", "--set", "link.kind=netns"]).run();
    done.assert_refused(&scratch, 5, &["link.kind = \"netns\"", "a lab's QEMUs"]);
}

//! QEMUs that die in mid-migration: where the guest is then, and that we say so.

use super::cells;
use crate::harness::{Pair, Scratch, Switchover, Wish, qemu};
use base::Side;

/// A pre-copy that goes on for long.
const ENDLESS: &[&str] =
    &["--max-bandwidth", "32MiB/s", "--downtime-limit", "1ms", "--set", "guest.rate=400MiB/s"];
/// A post-copy that does.
const SLOW_POSTCOPY: &[&str] = &["--mode", "postcopy", "--set", "limits.postcopy_bandwidth=4MiB/s"];

fn destination_dies_in_precopy(version: &'static str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let mut running = Switchover::lab(&scratch, qemu, qemu).args(ENDLESS).start();
    running.wait_for_event("its first pass", |event| event.pass() >= Some(1));
    scratch.kill_qemu(Side::Destination);
    let done = running.wait();
    done.assert_code(8);
    let reason = done.assert_intact("failed")["reason"].to_string();
    assert!(
        reason.contains("destination: QEMU ended with signal: 9") || reason.contains("QEMU: "),
        "{}",
        done.story()
    );
    scratch.assert_clean();
}

cells! { destination_dies_in_precopy;
    a_destination_of_7_2_that_dies_in_pre_copy_leaves_the_guest_on_the_source: "7.2";
    a_destination_of_10_0_that_dies_in_pre_copy_leaves_the_guest_on_the_source: "10.0";
    a_newest_destination_that_dies_in_pre_copy_leaves_the_guest_on_the_source: "newest";
}

fn dies_in_postcopy(version: &'static str, side: Side) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let mut running = Switchover::lab(&scratch, qemu, qemu).args(SLOW_POSTCOPY).start();
    running.wait_for_event("post-copy", |event| {
        event.side == Side::Source && event.status() == Some("postcopy-active")
    });
    scratch.kill_qemu(side);
    let done = running.wait();
    done.assert_code(6);
    let summary = done.summary();
    assert_eq!(
        (&summary["outcome"], &summary["guest"]["integrity"]),
        (&"lost".into(), &"unknown".into()),
        "{}",
        done.story()
    );
    // Whichever is known first.
    let ended = format!("{side}: QEMU ended with signal: 9");
    let reason = summary["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(&ended) || reason.starts_with("post-copy failed: "),
        "{}",
        done.story()
    );
    scratch.assert_clean();
}

cells! { dies_in_postcopy;
    a_source_of_10_0_that_dies_in_post_copy_takes_the_guest_with_it: "10.0", Side::Source;
    a_destination_of_10_0_that_dies_in_post_copy_takes_the_guest_with_it: "10.0", Side::Destination;
    a_source_of_7_2_that_dies_in_post_copy_takes_the_guest_with_it: "7.2", Side::Source;
}

/// Of the user's QEMUs we see that a connection ended, and that the process at its other end is no
/// more: pages that only it had are gone.
#[test]
fn a_users_source_that_ends_in_post_copy_is_known_to_be_lost() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let endpoints = pair.endpoints();
    let arguments: Vec<&str> =
        ["migrate"].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
    let mut running =
        Switchover::new(&scratch, &arguments).args(SLOW_POSTCOPY).args(&["--out", "run"]).start();
    running.wait_for_event("post-copy", |event| {
        event.side == Side::Source && event.status() == Some("postcopy-active")
    });
    pair.source.kill();
    let done = running.wait();
    done.assert_code(6);
    let summary = done.summary();
    assert_eq!(summary["outcome"], "lost", "{}", done.story());
    assert!(
        summary["reason"].as_str().unwrap().starts_with("source: the QEMU process has ended"),
        "{}",
        done.story()
    );
    assert!(pair.destination.is_alive());
    scratch.assert_clean();
}

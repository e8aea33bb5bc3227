//! Signals: the guest is left safe, nothing is left behind, and the shell learns the truth.

use super::cells;
use crate::harness::{Running, Scratch, Switchover, eventually, qemu};
use base::Side;
use nix::sys::signal::{Signal, kill};
use std::os::unix::process::ExitStatusExt;

/// A pre-copy that goes on for long.
const ENDLESS: &[&str] =
    &["--max-bandwidth", "32MiB/s", "--downtime-limit", "1ms", "--set", "guest.rate=400MiB/s"];

fn endless(scratch: &Scratch, version: &'static str) -> Option<Running> {
    let qemu = qemu(version)?;
    let mut running = Switchover::lab(scratch, qemu, qemu).args(ENDLESS).start();
    running.wait_for_event("its second pass", |event| event.pass() >= Some(2));
    Some(running)
}

fn cancels(version: &'static str, signal: Signal) {
    let scratch = Scratch::new();
    let Some(running) = endless(&scratch, version) else { return };
    kill(running.pid(), signal).unwrap();
    let done = running.wait();
    assert_eq!(done.status.signal(), Some(signal as i32), "{}", done.story());
    let summary = done.assert_intact("cancelled");
    assert_eq!(summary["reason"], "interrupted");
    assert_eq!(done.decisions(), ["cancel: interrupted"]);
    scratch.assert_clean();
}

cells! { cancels;
    sigint_in_pre_copy_cancels_and_is_died_of: "10.0", Signal::SIGINT;
    sigterm_in_pre_copy_cancels_and_is_died_of: "10.0", Signal::SIGTERM;
    sigint_in_pre_copy_on_7_2_cancels_and_is_died_of: "7.2", Signal::SIGINT;
}

fn postcopy_goes_on(version: &'static str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let slow = ["--mode", "postcopy", "--set", "limits.postcopy_bandwidth=8MiB/s"];
    let mut running = Switchover::lab(&scratch, qemu, qemu).args(&slow).start();
    running.wait_for_event("post-copy", |event| {
        event.side == Side::Source && event.status() == Some("postcopy-active")
    });
    kill(running.pid(), Signal::SIGINT).unwrap();
    let done = running.wait();
    assert_eq!(done.status.signal(), Some(Signal::SIGINT as i32), "{}", done.story());
    assert_eq!(done.assert_completed(version)["postcopy_happened"], true);
    let last = done.decisions().pop().unwrap();
    assert!(last.starts_with("go-on: interrupted; not cancelled"), "{}", done.story());
    scratch.assert_clean();
}

cells! { postcopy_goes_on;
    sigint_in_post_copy_on_7_2_does_not_cancel: "7.2";
    sigint_in_post_copy_on_10_0_does_not_cancel: "10.0";
}

#[test]
fn sigkill_leaves_no_qemu_and_no_file_but_a_record_that_can_be_read() {
    let scratch = Scratch::new();
    let Some(running) = endless(&scratch, "10.0") else { return };
    assert!(
        !scratch.leftovers().is_empty(),
        "the check for leftovers sees a lab while it is there"
    );
    kill(running.pid(), Signal::SIGKILL).unwrap();
    let done = running.wait();
    assert_eq!(done.status.signal(), Some(Signal::SIGKILL as i32));
    eventually("everything of the lab is gone", || scratch.leftovers().is_empty().then_some(()));
    let run = done.record();
    assert!(!run.is_whole());
    assert!(done.samples() > 0);
    assert!(!run.events().unwrap().is_empty());
}

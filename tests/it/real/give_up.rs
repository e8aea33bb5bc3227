//! Migrations that do not converge: given up, and the guest runs on, on the source, as it was.

use super::cells;
use crate::harness::{Scratch, Switchover, qemu};

/// Writes faster than the stream may carry.
const HOPELESS: &[&str] =
    &["--max-bandwidth", "32MiB/s", "--downtime-limit", "1ms", "--set", "guest.rate=400MiB/s"];

fn given_up(version: &'static str, bound: &[&str], reason: &str, expected: bool) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let expect: &[&str] = if expected { &["--expect", "not-converged"] } else { &[] };
    let done = Switchover::lab(&scratch, qemu, qemu).args(HOPELESS).args(bound).args(expect).run();
    done.assert_code(if expected { 0 } else { 3 });
    let summary = done.assert_intact("not-converged");
    assert_eq!(summary["reason"], reason);
    assert_eq!(done.decisions(), [format!("cancel: {reason}")]);
    assert!(summary["downtime"]["best"].is_null(), "there was no blackout to measure: {summary}");
    assert!(
        summary["time_us"]["total"].is_null() && summary["time_us"]["ended"].as_u64() > Some(0),
        "{summary}"
    );
    scratch.assert_clean();
}

const PASSES: &[&str] = &["--set", "give_up.passes=2"];
const TIMEOUT: &[&str] = &["--timeout", "3s"];

cells! { given_up;
    too_many_passes_on_7_2_are_given_up: "7.2", PASSES, "not converged after 2 passes", false;
    too_many_passes_on_the_newest_are_given_up: "newest", PASSES, "not converged after 2 passes",
        false;
    a_timeout_on_7_2_is_a_giving_up: "7.2", TIMEOUT, "not converged within 3s", false;
    a_timeout_on_the_newest_is_a_giving_up: "newest", TIMEOUT, "not converged within 3s", false;
    giving_up_on_7_2_is_a_success_if_it_was_expected: "7.2", PASSES, "not converged after 2 passes",
        true;
    giving_up_on_the_newest_is_a_success_if_it_was_expected: "newest", PASSES,
        "not converged after 2 passes", true;
}

#[test]
fn completing_is_a_failed_check_if_giving_up_was_expected() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let done = Switchover::lab(&scratch, qemu, qemu).args(&["--expect", "not-converged"]).run();
    done.assert_code(4);
    let summary = done.assert_intact("completed");
    assert_eq!(summary["checks"][0]["pass"], false);
    scratch.assert_clean();
}

//! The user's commands around the switchover: in their order, and safe when they fail.

use super::cells;
use crate::harness::{Done, Scratch, Switchover, qemu};

/// Each leaves a line.
const TELLING: [&str; 3] = ["before_switchover", "after_switchover", "on_failure"];

fn run(scratch: &Scratch, version: &'static str, before: &str, arguments: &[&str]) -> Option<Done> {
    let qemu = qemu(version)?;
    let mut command = Switchover::lab(scratch, qemu, qemu).args(arguments);
    for hook in TELLING {
        let first = if hook == "before_switchover" { before } else { "true" };
        command = command.args(&[
            "--set",
            &format!("hooks.{hook}=echo $SWITCHOVER_HOOK $SWITCHOVER_OUTCOME >> hooks; {first}"),
        ]);
    }
    let done = command.run();
    scratch.assert_clean();
    Some(done)
}

fn told(scratch: &Scratch) -> Vec<String> {
    let text = std::fs::read_to_string(scratch.join("hooks")).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn in_order(version: &'static str, arguments: &[&str]) {
    let scratch = Scratch::new();
    let Some(done) = run(&scratch, version, "true", arguments) else { return };
    done.assert_completed(version);
    assert_eq!(told(&scratch), ["before_switchover", "after_switchover"], "{}", done.story());
}

cells! { in_order;
    hooks_around_a_pre_copy_on_7_2: "7.2", &[];
    hooks_around_a_pre_copy_on_10_0: "10.0", &[];
    hooks_around_a_pre_copy_on_the_newest: "newest", &[];
    hooks_around_a_post_copy_on_10_0: "10.0", &["--mode", "postcopy"];
    hooks_around_a_hybrid_on_10_0: "10.0", &["--mode", "hybrid", "--max-bandwidth", "64MiB/s"];
}

fn fails(version: &'static str, before: &str, because: &str, arguments: &[&str]) {
    let scratch = Scratch::new();
    let Some(done) =
        run(&scratch, version, before, &[&["--set", "hooks.deadline=500ms"], arguments].concat())
    else {
        return;
    };
    done.assert_code(8);
    let summary = done.assert_intact("failed");
    assert!(summary["reason"].as_str().unwrap().contains(because), "{}", done.story());
    assert_eq!(told(&scratch), ["before_switchover", "on_failure failed"], "{}", done.story());
}

cells! { fails;
    a_hook_that_fails_leaves_the_guest_on_the_source: "10.0", "exit 7", "failed: exit status: 7",
        &[];
    a_hook_that_hangs_leaves_the_guest_on_the_source: "10.0", "sleep 60",
        "was not done within 500ms", &[];
    a_hook_that_fails_on_7_2_leaves_the_guest_on_the_source: "7.2", "exit 7",
        "failed: exit status: 7", &[];
    a_hook_that_fails_on_the_newest_leaves_the_guest_on_the_source: "newest", "exit 7",
        "failed: exit status: 7", &[];
    a_hook_that_fails_before_a_post_copy_leaves_the_guest_on_the_source: "10.0", "exit 7",
        "failed: exit status: 7", &["--mode", "postcopy"];
}

//! Others on this machine: their share is measured, and said where it is large. That there are none
//! cannot be tested here: other tests run beside this one.

use crate::harness::{Scratch, Switchover, qemu};
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes a post-copy last 1.5 s, which is long enough for the 10 ms ticks in which the kernel
/// counts CPU time. `limits.bandwidth` holds only in pre-copy: with it this post-copy took 25 ms.
const SLOW: &[&str] = &[
    "--set",
    "guest.memory=64MiB",
    "--set",
    "guest.working_set=16MiB",
    "--set",
    "limits.postcopy_bandwidth=10MiB/s",
];

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something while every processor has somebody else's work.
fn with_busy_neighbours<T>(act: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let spin = || {
        while !over.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    };
    std::thread::scope(|scope| {
        let _ends = Ends(&over);
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(spin);
        }
        act()
    })
}

#[test]
fn who_takes_the_machine_from_a_migration_is_told_of() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let done = with_busy_neighbours(|| {
        Switchover::lab(&scratch, qemu, qemu).args(&["--mode", "postcopy"]).args(SLOW).run()
    });
    done.assert_completed("10.0");
    let host = &done.summary()["host"];
    let us = |name: &str| host[name].as_u64().unwrap_or_else(|| panic!("{name}: {}", done.story()));
    assert!(us("others_us") * 10 > us("cpu_us") && us("others_us") <= us("cpu_us"), "{host}");
    assert!(
        done.stdout.contains("of this machine's CPU time during the migration"),
        "{}",
        done.story()
    );
    scratch.assert_clean();
}

#[test]
fn a_campaign_says_in_how_many_runs_there_was_one() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let campaign =
        scratch.file("c.toml", "repeats = 2\n[set]\nmode = \"postcopy\"\nqemu.accel = \"tcg\"\n");
    let sweep = Switchover::new(&scratch, &["sweep"])
        .arg(campaign)
        .args(&["--qemu", qemu])
        .args(SLOW)
        .out(&scratch.join("c"));
    let done = with_busy_neighbours(|| sweep.run());
    done.assert_code(0);
    assert!(
        done.stdout.contains(
            "in 2 of 2 runs other processes used more than a tenth of this machine's CPU time"
        ),
        "{}",
        done.story()
    );
    scratch.assert_clean();
}

//! QMP sockets of another host, by way of ssh: a real one, to a real server.

use crate::harness::{Done, Pair, Scratch, Ssh, Switchover, Vm, Wish, eventually, qemu};
use nix::sys::signal::{Signal, kill};

fn call(scratch: &Scratch, ssh: &Ssh, words: &[&str]) -> Switchover {
    Switchover::new(scratch, words).env("SWITCHOVER_SSH", &ssh.program)
}

fn migrate(scratch: &Scratch, ssh: &Ssh, pair: &Pair) -> Switchover {
    let (source, destination) =
        (Ssh::to(&pair.source.control()), Ssh::to(&pair.destination.control()));
    call(
        scratch,
        ssh,
        &["migrate", "--source", &source, "--destination", &destination, "--out", "run"],
    )
}

/// The servers notice a moment later that nobody is there any more.
fn assert_clean_soon(scratch: &Scratch) {
    eventually("nothing is left behind", || scratch.leftovers().is_empty().then_some(()));
}

#[test]
fn a_migration_between_two_hosts() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let Some(ssh) = Ssh::new(&scratch) else { return };
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    migrate(&scratch, &ssh, &pair).run().assert_refused(
        &scratch,
        5,
        &["no migration URI", "--uri tcp:"],
    );
    let sampling = [
        "--source-sampling",
        &Ssh::to(&pair.source.samples()),
        "--destination-sampling",
        &Ssh::to(&pair.destination.samples()),
    ];
    let done =
        migrate(&scratch, &ssh, &pair).args(&["--uri", "tcp:127.0.0.1:0"]).args(&sampling).run();
    done.assert_code(0);
    let summary = done.summary();
    assert_eq!(
        (&summary["outcome"], &summary["environment"]["transport"]),
        (&"completed".into(), &"tcp".into())
    );
    assert!(summary["sampling"]["source"]["samples"].as_u64().unwrap() > 0, "{}", done.story());
    // Nobody knows whether clocks are shared with a host behind ssh.
    assert!(
        summary["warnings"].to_string().contains("may be on different hosts"),
        "{}",
        done.story()
    );
    assert_eq!(pair.destination.qmp.run_state(), "running");
    assert!(pair.destination.check().intact);
    assert_clean_soon(&scratch);
}

#[test]
fn looking_and_single_steps() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let Some(ssh) = Ssh::new(&scratch) else { return };
    let vm = Vm::start(&scratch, "vm", qemu, &Wish::default(), &[]);
    let at = Ssh::to(&vm.control());
    let done = call(&scratch, &ssh, &["inspect", &at]).run();
    done.assert_code(0);
    assert!(done.stdout.starts_with(&format!("{at}: QEMU 10.0.")), "{}", done.stdout);
    let done = call(&scratch, &ssh, &["cancel", "--source", &at]).run();
    done.assert_code(5);
    assert!(done.stderr.contains("no migration is under way"), "{}", done.stderr);
    assert_clean_soon(&scratch);
}

/// Killed, so that nothing of ours runs any more: ssh and its directory go, and the migration goes
/// on.
#[test]
fn nothing_is_left_of_a_driver_that_is_killed() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let Some(ssh) = Ssh::new(&scratch) else { return };
    let pair =
        Pair::start(&scratch, qemu, qemu, &Wish { working_set: 32, rate: 100, ..Wish::default() });
    let slow = ["--uri", "tcp:127.0.0.1:0", "--max-bandwidth", "16MiB/s"];
    let mut driver = migrate(&scratch, &ssh, &pair).args(&slow).start();
    driver.wait_for_event("a migration that goes on", |event| event.event == "MIGRATION_PASS");
    assert!(!scratch.leftovers().is_empty());
    kill(driver.pid(), Signal::SIGKILL).unwrap();
    driver.wait();
    assert_clean_soon(&scratch);
}

/// As when the network between us and both hosts fails: the migration goes on without us, and what
/// ssh says is told.
#[test]
fn a_way_that_breaks_is_told_in_sshs_words() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let Some(ssh) = Ssh::new(&scratch) else { return };
    let mut pair =
        Pair::start(&scratch, qemu, qemu, &Wish { working_set: 32, rate: 100, ..Wish::default() });
    let slow = ["--uri", "tcp:127.0.0.1:0", "--max-bandwidth", "16MiB/s"];
    let mut driver = migrate(&scratch, &ssh, &pair).args(&slow).start();
    driver.wait_for_event("a migration that goes on", |event| event.event == "MIGRATION_PASS");
    // Nor is there a way again: nobody knows the host any more.
    std::fs::write(scratch.join("ssh/known"), "").unwrap();
    assert!(scratch.kill_children("ssh_config -aNTx") == 2);
    let done = driver.wait();
    done.assert_code(7);
    assert!(done.summary()["reason"].to_string().contains("ssh said: "), "{}", done.story());
    assert_eq!(
        (pair.source.qmp.run_state(), pair.source.qmp.migration()),
        ("running".to_owned(), "active".to_owned())
    );
    assert_clean_soon(&scratch);
}

#[track_caller]
fn assert_says(done: &Done, words: &[&str]) {
    done.assert_code(5);
    for word in words {
        assert!(done.stderr.contains(word), "`{word}` is not in {}", done.stderr);
    }
}

#[test]
fn what_ssh_says_is_in_the_message() {
    let scratch = Scratch::new();
    let Some(ssh) = Ssh::new(&scratch) else { return };
    let inspect = |at: &str| call(&scratch, &ssh, &["inspect", at]).run();
    assert_says(
        &inspect("ssh:node7:/nonexistent/vm.qmp"),
        &["must work without a question", "ssh said: ", "open failed"],
    );
    assert_says(
        &inspect("ssh:host.invalid:/run/vm.qmp"),
        &["ssh ended with exit status: 255", "Could not resolve hostname"],
    );
    std::fs::write(scratch.join("ssh/known"), "").unwrap();
    assert_says(&inspect("ssh:node7:/run/vm.qmp"), &["Host key verification failed"]);
    assert_clean_soon(&scratch);
}

#[test]
fn without_ssh_the_message_says_so() {
    let scratch = Scratch::new();
    let done = Switchover::new(&scratch, &["inspect", "ssh:h:/a"])
        .env("SWITCHOVER_SSH", scratch.join("none"))
        .run();
    assert_says(&done, &["ssh:h:/a", "/none cannot be started", "No such file"]);
    scratch.assert_clean();
}

#[test]
fn nothing_is_smuggled_into_its_arguments() {
    let scratch = Scratch::new();
    let touched = scratch.join("touched");
    for at in [
        format!("ssh:-oProxyCommand=touch {}:/a", touched.display()),
        format!("ssh:h:/a:{}", touched.display()),
    ] {
        let done = Switchover::new(&scratch, &["inspect", &at]).run();
        done.assert_code(2);
        assert!(done.stderr.contains("is not a QMP endpoint"), "{}", done.stderr);
    }
    assert!(!touched.exists());
}

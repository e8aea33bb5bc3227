//! Runs the console blocks of docs/tutorial: every line that begins with `$ `, in the order of the
//! page, in one directory for each page.
//!
//! A command must exit with 0, or with N if its line ends with `# exit status N`.

use super::{command_of, console_lines, list_files, top};
use crate::harness::{Scratch, qemu};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// Commands that fetch or build the project: the tests run on a project that is built already.
const SETUP: [&str; 4] = ["git clone", "cd switchover", "cargo ", "export PATH="];

/// What to run in place of a line of the tutorial. `None` if the line only sets the project up.
fn command_to_run(line: &str) -> Option<String> {
    if SETUP.iter().any(|setup| line.starts_with(setup)) {
        return None;
    }
    // quickstart builds a release first; what it then runs is `switchover run` with its arguments.
    let line = line
        .strip_prefix("qemu-scripts/quickstart")
        .map_or_else(|| line.to_owned(), |arguments| format!("switchover run{arguments}"));
    Some(line.replace("target/release/switchover", "switchover"))
}

fn exit_status_of(line: &str) -> i32 {
    line.rsplit_once("# exit status ").map_or(0, |(_, status)| status.trim().parse().unwrap())
}

/// A directory that looks like a clone of the project in which switchover is on PATH, and a QEMU
/// as `qemu-system-x86_64`, as on a machine that has both installed.
fn make_clone(scratch: &Scratch, qemu: &str) -> String {
    for name in ["fixtures", "qemu-scripts", "docs"] {
        symlink(top().join(name), scratch.join(name)).unwrap();
    }
    std::fs::create_dir(scratch.join("bin")).unwrap();
    // A script, not a link: the program finds its libraries beside the name it is called by.
    scratch.file("bin/qemu-system-x86_64", &format!("#!/bin/sh\nexec '{qemu}' \"$@\"\n"));
    let program = Path::new(env!("CARGO_BIN_EXE_switchover")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    format!("{}:{}:{path}", scratch.join("bin").display(), program.display())
}

#[test]
fn every_command_of_the_tutorial_runs_with_the_exit_status_it_documents() {
    let Some(qemu) = qemu("10.0") else { return };
    let pages = list_files(&top().join("docs/tutorial"), "md");
    let mut commands = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        let scratch = Scratch::new();
        let path = make_clone(&scratch, qemu);
        for (number, line) in console_lines(&text) {
            let Some(line) = command_of(&line) else { continue };
            let Some(command) = command_to_run(line) else { continue };
            let output = Command::new("sh")
                .args(["-c", &command])
                .current_dir(scratch.path())
                .env("PATH", &path)
                .env("TMPDIR", scratch.path())
                .env_remove("SWITCHOVER_LOG")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert_eq!(
                output.status.code(),
                Some(exit_status_of(line)),
                "{}:{number}: $ {command}\n{}{}",
                page.display(),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            commands += 1;
        }
        scratch.assert_clean();
    }
    assert!(commands > 0, "docs/tutorial has no console block with a command ({pages:?})");
}

#[test]
fn reads_the_documented_exit_status_and_replaces_quickstart() {
    assert_eq!(exit_status_of("switchover run a.toml"), 0);
    assert_eq!(exit_status_of("switchover run a.toml  # exit status 3"), 3);
    assert_eq!(
        command_to_run("qemu-scripts/quickstart --mode postcopy").as_deref(),
        Some("switchover run --mode postcopy")
    );
    assert_eq!(command_to_run("git clone https://example.org/switchover"), None);
}

//! What cannot be done: the exit code, the words that help, and nothing left running or on disk.

use super::cells;
use crate::harness::{Done, Scratch, Switchover, Vm, Wish, qemu};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// `switchover run` that gets as far as starting QEMU.
fn lab(scratch: &Scratch, qemu: &str, arguments: &[&str]) -> Done {
    Switchover::lab(scratch, qemu, qemu).args(arguments).run()
}

#[test]
fn a_qemu_that_is_not_there() {
    let scratch = Scratch::new();
    let done = lab(&scratch, "/nonexistent/qemu", &[]);
    done.assert_refused(
        &scratch,
        5,
        &["cannot start /nonexistent/qemu", "install QEMU", "--qemu", "No such file"],
    );
}

#[test]
fn a_qemu_that_dies_at_start_is_quoted() {
    let scratch = Scratch::new();
    let qemu = scratch.file("qemu", "#!/bin/sh\necho boom >&2\nexit 1\n");
    lab(&scratch, qemu.to_str().unwrap(), &[]).assert_refused(
        &scratch,
        5,
        &["QEMU ended with exit status: 1; its last output: boom"],
    );
}

#[test]
fn a_capability_that_this_qemu_lacks() {
    let Some(qemu) = qemu("7.2") else { return };
    let scratch = Scratch::new();
    let done = lab(&scratch, qemu, &["--cap", "mapped-ram=on"]);
    done.assert_refused(
        &scratch,
        5,
        &["this QEMU (7.2.", "has no capability `mapped-ram`: it came with 9.0"],
    );
}

#[test]
fn capabilities_that_do_not_go_together() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let done = lab(&scratch, qemu, &["--mode", "postcopy", "--cap", "multifd=on"]);
    done.assert_refused(
        &scratch,
        5,
        &["source: multifd does not go with postcopy-ram on this QEMU (10.0.", "11.1 supports it"],
    );
}

#[test]
fn a_parameter_out_of_range_is_refused_in_qemus_words() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let done = lab(&scratch, qemu, &["--param", "multifd-channels=0"]);
    done.assert_refused(
        &scratch,
        5,
        &["parameters could not be set up; the migration was not started", "between 1 and 255"],
    );
}

/// Scenarios and arguments are checked before any QEMU is looked for.
fn usage(scenario: &str, arguments: &[&str], words: &[&str]) {
    let scratch = Scratch::new();
    let file = scratch.file("bad.toml", scenario);
    let done =
        Switchover::new(&scratch, &["run"]).arg(file).args(&["--out", "run"]).args(arguments).run();
    done.assert_refused(&scratch, 2, words);
}

cells! { usage;
    a_scenario_that_is_no_toml: "mode = \n", &[], &["bad.toml is not valid TOML", "line 1"];
    an_unknown_key_with_the_nearest: "[guest]\nworkingset = \"1MiB\"\n", &[],
        &["no key `guest.workingset`", "did you mean `guest.working_set`?"];
    a_working_set_larger_than_memory: "[guest]\nmemory = \"64MiB\"\nworking_set = \"64MiB\"\n", &[],
        &["guest.working_set", "does not fit"];
    an_unknown_flag: "", &["--no-such-flag"], &["--no-such-flag", "--help"];
    a_value_without_unit: "", &["--max-bandwidth", "fast"], &["fast", "--max-bandwidth"];
    a_bad_flag_is_named_and_not_the_file: "", &["--cap", "xbzrle=maybe"], &["--cap xbzrle=maybe: "];
    a_switch_without_hybrid: "", &["--after-pass", "2"], &["switch", "hybrid", "--after-pass 2"];
}

#[test]
fn no_subcommand_is_a_usage_error() {
    let scratch = Scratch::new();
    Switchover::new(&scratch, &[]).run().assert_refused(&scratch, 2, &["Usage"]);
}

/// The results could not be written, so nothing was begun.
#[test]
fn a_run_directory_that_is_not_empty_or_cannot_be() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.join("full")).unwrap();
    let kept = scratch.file("full/kept", "kept");
    let file = scratch.file("file", "");
    for (out, word) in [
        (scratch.join("full"), "not empty"),
        (file.join("below"), "Not a directory"),
        (file, "File exists"),
    ] {
        let scenario =
            scratch.file("scenario.toml", &format!("[qemu]\nsource = {qemu:?}\naccel = \"tcg\"\n"));
        let done = Switchover::new(&scratch, &["run"]).arg(scenario).arg("--out").arg(&out).run();
        let path = out.display().to_string();
        done.assert_refused(
            &scratch,
            9,
            &["cannot create the run directory", &path, "--out DIR", word],
        );
    }
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "kept");
}

fn fail_if(expression: &str, code: i32) {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let done = lab(&scratch, qemu, &["--fail-if", expression]);
    done.assert_code(code);
    let check = done.assert_intact("completed")["checks"][0].clone();
    assert_eq!(
        (&check["name"], &check["pass"]),
        (&expression.into(), &(code == 0).into()),
        "{}",
        done.story()
    );
    scratch.assert_clean();
}

cells! { fail_if;
    a_check_that_fails: "downtime.best.us > 1us", 4;
    a_check_that_passes: "downtime.best.us > 1h", 0;
}

/// `migrate` with this as the source, and the same as the destination.
fn migrate(scratch: &Scratch, endpoint: &str) -> Done {
    let arguments = [
        "migrate",
        "--source",
        endpoint,
        "--destination",
        endpoint,
        "--uri",
        "tcp:127.0.0.1:1",
        "--out",
        "run",
    ];
    Switchover::new(scratch, &arguments).run()
}

fn endpoint(path: &Path) -> String {
    format!("unix:{}", path.display())
}

#[test]
fn a_qmp_path_that_is_a_plain_file() {
    let scratch = Scratch::new();
    let at = endpoint(&scratch.file("plain", ""));
    migrate(&scratch, &at).assert_refused(&scratch, 5, &["source: cannot connect to", &at]);
}

#[test]
fn a_qmp_path_that_is_not_there() {
    let scratch = Scratch::new();
    let at = endpoint(&scratch.join("missing"));
    migrate(&scratch, &at).assert_refused(
        &scratch,
        5,
        &["source: cannot connect to", &at, "No such file"],
    );
}

#[test]
fn a_qmp_endpoint_that_is_none() {
    let scratch = Scratch::new();
    migrate(&scratch, "/run/vm.qmp").assert_refused(&scratch, 2, &["put `unix:` before it"]);
}

#[test]
fn a_qmp_socket_that_another_client_holds() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let vm = Vm::start(&scratch, "vm", qemu, &Wish::default(), &[]);
    let at = vm.control();
    let held = UnixStream::connect(at.strip_prefix("unix:").unwrap()).unwrap();
    let mut greeting = String::new();
    BufReader::new(&held).read_line(&mut greeting).unwrap();
    migrate(&scratch, &at).assert_refused(
        &scratch,
        5,
        &["no QMP greeting", "another client probably holds it", "second QMP socket"],
    );
}

/// Answers every request by `answer`, after `first`, for as many clients as come.
fn server(scratch: &Scratch, first: &'static str, answer: fn(&Value) -> Value) -> String {
    let path = scratch.join("server");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut stream = stream?;
                writeln!(stream, "{first}")?;
                // Not by lines: a request ends where its JSON does.
                for request in
                    serde_json::Deserializer::from_reader(stream.try_clone()?).into_iter()
                {
                    let request: Value = request?;
                    writeln!(
                        stream,
                        "{}",
                        json!({"return": answer(&request), "id": request["id"]})
                    )?;
                }
                Ok(())
            });
        }
    });
    endpoint(&path)
}

#[test]
fn something_that_does_not_speak_qmp() {
    let scratch = Scratch::new();
    let at = server(&scratch, "220 smtp.example.org ESMTP", |_| Value::Null);
    migrate(&scratch, &at).assert_refused(
        &scratch,
        5,
        &["does not speak QMP: it sent `220 smtp.example.org ESMTP`"],
    );
}

#[test]
fn a_qemu_that_is_too_old() {
    let scratch = Scratch::new();
    let greeting = concat!(
        r#"{"QMP":{"version":{"qemu":{"major":2,"minor":1,"micro":0},"package":""},"#,
        r#""capabilities":[]}}"#
    );
    let at = server(&scratch, greeting, |request| match request["execute"].as_str().unwrap() {
        "query-qmp-schema" | "query-migrate-capabilities" => json!([]),
        "query-status" => json!({"status": "running", "running": true, "singlestep": false}),
        _ => json!({}),
    });
    migrate(&scratch, &at).assert_refused(
        &scratch,
        5,
        &["source: QEMU 2.1.0 is too old; 6.0 or newer is needed"],
    );
}

//! Encrypted streams: a lab's with one key of the scenario, the user's own QEMUs, sides that do not
//! trust each other, and what is left behind: no object, no parameter, no secret.

use super::cells;
use crate::harness::{Done, Pair, Qmp, Scratch, Switchover, Wish, loses_writes, qemu};
use migrate::plan::OBJECT;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// One key of the scenario is enough in a lab.
fn encrypted(version: &'static str, credentials: &str, arguments: &[&str], transport: &str) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let set = format!("tls.credentials={credentials}");
    let done = Switchover::lab(&scratch, qemu, qemu).args(&["--set", &set]).args(arguments).run();
    let summary = done.assert_completed(version);
    let environment = &summary["environment"];
    assert_eq!(
        (&environment["tls"], &environment["transport"]),
        (&credentials.into(), &transport.into()),
        "{}",
        done.story()
    );
    scratch.assert_clean();
}

const MULTIFD: &[&str] = &["--cap", "multifd=on", "--param", "multifd-channels=2"];
const POSTCOPY: &[&str] = &["--mode", "postcopy"];
/// Each destination is the source of the next.
const SERIES: &[&str] = &["--mode", "postcopy", "--repeat", "3"];
const TCP: &[&str] = &["--transport", "tcp", "--set", "link.preset=local"];

cells! { encrypted;
    certificates_on_7_2: "7.2", "x509", &[], "owned";
    certificates_on_10_0: "10.0", "x509", &[], "owned";
    certificates_on_the_newest: "newest", "x509", &[], "owned";
    a_key_in_post_copy_on_7_2: "7.2", "psk", POSTCOPY, "owned";
    certificates_in_post_copy_on_10_0: "10.0", "x509", POSTCOPY, "owned";
    certificates_in_post_copy_on_the_newest: "newest", "x509", POSTCOPY, "owned";
    several_encrypted_channels_on_7_2: "7.2", "psk", MULTIFD, "unix";
    several_encrypted_channels_on_10_0: "10.0", "x509", MULTIFD, "unix";
    several_encrypted_channels_on_the_newest: "newest", "x509", MULTIFD, "unix";
    a_client_is_the_next_server_on_7_2: "7.2", "x509", SERIES, "owned";
    a_client_is_the_next_server_on_10_0: "10.0", "psk", SERIES, "owned";
    a_client_is_the_next_server_on_the_newest: "newest", "x509", SERIES, "owned";
    over_tcp_and_a_link: "10.0", "x509", TCP, "tcp";
}

/// The new channel of a post-copy is encrypted too.
#[test]
fn a_broken_post_copy_goes_on_encrypted() {
    let outage = "link.outages=[{after_bytes=\"20MiB\", lasts=\"500ms\", breaks=true}]";
    let guest = [
        "--set",
        "guest.memory=128MiB",
        "--set",
        "guest.working_set=64MiB",
        "--set",
        "link.rate=50MiB/s",
    ];
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let tls = ["--mode", "postcopy", "--set", "tls.credentials=x509", "--set", outage];
    let done = Switchover::lab(&scratch, qemu, qemu).args(&guest).args(&tls).run();
    let summary = done.assert_completed("10.0");
    assert_eq!(
        (&summary["recovery"]["recovered"], &summary["environment"]["tls"]),
        (&1.into(), &"x509".into()),
        "{}",
        done.story()
    );
    scratch.assert_clean();
}

/// Whoever recovers it needs them.
#[test]
fn credentials_stay_where_the_migration_could_still_go_on() {
    let outage = "link.outages=[{after_bytes=\"8MiB\", breaks=true}]";
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let slow = [
        "--max-bandwidth",
        "8MiB/s",
        "--set",
        "limits.postcopy_bandwidth=32MiB/s",
        "--set",
        outage,
    ];
    let tls =
        ["--mode", "postcopy", "--set", "tls.credentials=psk", "--set", "recovery.attempts=1"];
    let done = Switchover::lab(&scratch, qemu, qemu).args(&slow).args(&tls).run();
    done.assert_code(7);
    assert!(
        done.summary()["warnings"].to_string().contains("are still in both QEMUs"),
        "{}",
        done.story()
    );
    scratch.assert_clean();
}

/// `switchover credentials`: the directory, as an argument.
fn credentials(scratch: &Scratch, name: &str) -> PathBuf {
    let directory = scratch.join(name);
    let done = Switchover::new(scratch, &["credentials", name]).run();
    done.assert_code(0);
    assert!(
        done.stdout.contains("ca-cert.pem") && done.stdout.contains("tls.credentials=x509"),
        "{}",
        done.stdout
    );
    directory
}

fn migrate(scratch: &Scratch, pair: &Pair, arguments: &[&str]) -> Done {
    let endpoints = pair.endpoints();
    let words: Vec<&str> =
        ["migrate"].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
    Switchover::new(scratch, &words).args(&["--out", "run"]).args(arguments).run()
}

fn set(key: &str, directory: &Path) -> String {
    format!("tls.{key}={}", directory.display())
}

fn tls_parameters(qmp: &mut Qmp) -> (Value, Value) {
    let mut all = qmp.execute("query-migrate-parameters", json!({}));
    (all["tls-creds"].take(), all["tls-hostname"].take())
}

/// That a VM has no object of ours, and its parameters say so.
#[track_caller]
fn assert_as_before(qmp: &mut Qmp, creds: &str) {
    let objects = qmp.execute("qom-list", json!({ "path": "/objects" }));
    assert!(!objects.to_string().contains(OBJECT), "{objects}");
    assert_eq!(tls_parameters(qmp), (creds.into(), "".into()));
}

fn the_users_own(version: &'static str, kind: &str, arguments: &[&str]) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let directory = credentials(&scratch, "keys");
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let kind = format!("tls.credentials={kind}");
    let done = migrate(
        &scratch,
        &pair,
        &[&["--set", &kind, "--set", &set("dir", &directory)], arguments].concat(),
    );
    done.assert_code(0);
    assert!(done.stdout.contains(", TLS ("), "{}", done.stdout);
    assert_eq!(
        (pair.source.qmp.run_state(), pair.destination.qmp.run_state()),
        ("postmigrate".to_owned(), "running".to_owned())
    );
    let verdict = pair.destination.check();
    assert!(verdict.intact || loses_writes(version, false), "{:?}", verdict.said);
    assert_as_before(&mut pair.source.qmp, "");
    assert_as_before(&mut pair.destination.qmp, "");
    scratch.assert_clean();
}

const BY_NAME: &[&str] = &["--uri", "tcp:localhost:0", "--transport", "owned"];

cells! { the_users_own;
    vms_of_7_2_are_left_as_they_were: "7.2", "psk", &[];
    vms_of_10_0_are_left_as_they_were: "10.0", "x509", &[];
    vms_of_the_newest_are_left_as_they_were: "newest", "x509", &[];
    the_host_of_the_uri_is_what_the_certificate_must_be_for: "10.0", "x509", BY_NAME;
}

#[test]
fn a_migration_that_is_given_up_leaves_nothing() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let directory = credentials(&scratch, "keys");
    let mut pair =
        Pair::start(&scratch, qemu, qemu, &Wish { working_set: 32, rate: 100, ..Wish::default() });
    let hopeless =
        ["--max-bandwidth", "32MiB/s", "--downtime-limit", "1ms", "--set", "give_up.passes=2"];
    let tls = ["--set", "tls.credentials=x509", "--set", &set("dir", &directory)];
    migrate(&scratch, &pair, &[hopeless.as_slice(), &tls].concat()).assert_code(3);
    assert_eq!(pair.source.qmp.run_state(), "running");
    assert!(pair.source.check().intact);
    assert_as_before(&mut pair.source.qmp, "");
}

/// A driver that died left its object, and the user has credentials of their own.
#[test]
fn a_dead_drivers_object_is_replaced_and_the_users_parameter_comes_back() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let directory = credentials(&scratch, "keys");
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let object = |id: &str| {
        json!({"qom-type": "tls-creds-psk", "id": id, "endpoint": "client", "username": "qemu",
            "dir": directory})
    };
    for id in [OBJECT, "theirs"] {
        pair.source.qmp.execute("object-add", object(id));
        pair.source.qmp.execute("migrate-set-parameters", json!({ "tls-creds": id }));
    }
    migrate(&scratch, &pair, &["--set", "tls.credentials=x509", "--set", &set("dir", &directory)])
        .assert_code(0);
    assert_as_before(&mut pair.source.qmp, "theirs");
    assert_as_before(&mut pair.destination.qmp, "");
}

/// A driver that is killed leaves the credentials, for the migration goes on; who sees it through
/// takes them back.
#[test]
fn whoever_takes_over_from_a_dead_driver_takes_the_credentials_back() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let directory = credentials(&scratch, "keys");
    let mut pair =
        Pair::start(&scratch, qemu, qemu, &Wish { working_set: 32, rate: 100, ..Wish::default() });
    let endpoints = pair.endpoints();
    let words: Vec<&str> =
        ["migrate"].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
    let tls = [
        "--set",
        "tls.credentials=psk",
        "--set",
        &set("dir", &directory),
        "--max-bandwidth",
        "32MiB/s",
        "--out",
        "run",
    ];
    let mut driver = Switchover::new(&scratch, &words).args(&tls).start();
    driver.wait_for_event("a pass", |event| event.event == "MIGRATION_PASS");
    kill(driver.pid(), Signal::SIGKILL).unwrap();
    driver.wait();
    assert_eq!(tls_parameters(&mut pair.source.qmp).0, OBJECT);
    pair.source
        .qmp
        .execute("migrate-set-parameters", json!({ "max-bandwidth": 0, "downtime-limit": 2000 }));
    let words: Vec<&str> =
        ["attach"].into_iter().chain(endpoints.iter().map(String::as_str)).collect();
    Switchover::new(&scratch, &words).args(&["--out", "after"]).run().assert_code(0);
    assert_eq!(pair.destination.qmp.run_state(), "running");
    assert_as_before(&mut pair.source.qmp, "");
    assert_as_before(&mut pair.destination.qmp, "");
}

/// The source's credentials are of another making than the destination's.
fn strangers(version: &'static str, kind: &str, arguments: &[&str], words: &[&str]) {
    let Some(qemu) = qemu(version) else { return };
    let scratch = Scratch::new();
    let directories = [credentials(&scratch, "mine"), credentials(&scratch, "yours")];
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let kind = format!("tls.credentials={kind}");
    let (mine, yours) =
        (set("source_dir", &directories[0]), set("destination_dir", &directories[1]));
    let done = migrate(
        &scratch,
        &pair,
        &[&["--set", &kind, "--set", &mine, "--set", &yours], arguments].concat(),
    );
    done.assert_code(8);
    let summary = done.summary();
    assert_eq!(summary["outcome"], "failed", "{}", done.story());
    for word in words {
        assert!(
            summary["reason"].as_str().unwrap().contains(word),
            "`{word}` is not in {}",
            done.story()
        );
    }
    assert!(
        summary["warnings"].to_string().contains("do not trust each other"),
        "{}",
        done.story()
    );
    assert_eq!(pair.source.qmp.run_state(), "running");
    assert!(pair.source.check().intact);
    assert_as_before(&mut pair.source.qmp, "");
    scratch.assert_clean();
}

cells! { strangers;
    a_wrong_key_on_7_2: "7.2", "psk", &[], &["TLS handshake failed"];
    a_wrong_key_on_10_0: "10.0", "psk", &[], &["TLS handshake failed"];
    a_wrong_key_on_the_newest: "newest", "psk", &[], &["TLS handshake failed"];
    a_wrong_key_with_several_channels: "10.0", "psk", MULTIFD, &["TLS handshake failed"];
    a_wrong_ca_on_7_2: "7.2", "x509", &[], &["certificate"];
    a_wrong_ca_on_10_0: "10.0", "x509", &[], &["certificate"];
    a_wrong_ca_on_the_newest: "newest", "x509", &[], &["certificate"];
    a_wrong_ca_in_post_copy: "newest", "x509", POSTCOPY, &["certificate"];
}

#[test]
fn a_certificate_for_another_host_is_refused_in_qemus_words() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let directory = credentials(&scratch, "keys");
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let tls = [
        "--set",
        "tls.credentials=x509",
        "--set",
        "tls.hostname=elsewhere.example.org",
        "--set",
        &set("dir", &directory),
    ];
    let done = migrate(&scratch, &pair, &tls);
    done.assert_code(8);
    let reason = done.summary()["reason"].to_string();
    assert!(
        reason.contains("Certificate does not match the hostname elsewhere.example.org"),
        "{}",
        done.story()
    );
    assert_eq!(pair.source.qmp.run_state(), "running");
    assert_as_before(&mut pair.source.qmp, "");
}

#[test]
fn a_directory_without_credentials_is_refused_and_nothing_left() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let done = migrate(
        &scratch,
        &pair,
        &["--set", "tls.credentials=psk", "--set", "tls.dir=/nonexistent"],
    );
    done.assert_refused(
        &scratch,
        5,
        &["destination: its TLS credentials (object-add)", "was not started", "/nonexistent"],
    );
    assert_as_before(&mut pair.source.qmp, "");
    assert_as_before(&mut pair.destination.qmp, "");
    let done = migrate(&scratch, &pair, &["--set", "tls.credentials=psk"]);
    done.assert_refused(
        &scratch,
        5,
        &["tls.source_dir and tls.destination_dir", "switchover credentials DIR"],
    );
}

/// Without certificates on the source: only a destination that does not look at them takes it.
fn anonymous(look: bool, code: i32) {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let directory = credentials(&scratch, "keys");
    for file in ["client-cert.pem", "client-key.pem"] {
        std::fs::remove_file(directory.join(file)).unwrap();
    }
    let mut pair = Pair::start(&scratch, qemu, qemu, &Wish::default());
    let verify = format!("tls.verify_peer={look}");
    let done = migrate(
        &scratch,
        &pair,
        &["--set", "tls.credentials=x509", "--set", &set("dir", &directory), "--set", &verify],
    );
    done.assert_code(code);
    let at = if code == 0 { &mut pair.destination } else { &mut pair.source };
    assert_eq!(at.qmp.run_state(), "running", "{}", done.story());
}

cells! { anonymous;
    a_source_without_a_certificate_is_turned_away: true, 8;
    a_source_without_a_certificate_is_let_in_where_nobody_looks: false, 0;
}

#[test]
fn a_destination_that_listens_already_is_made_to_encrypt() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let directory = credentials(&scratch, "keys");
    let wish = Wish { destination: &["-incoming", "tcp:127.0.0.1:0"], ..Wish::default() };
    let mut pair = Pair::start(&scratch, qemu, qemu, &wish);
    migrate(&scratch, &pair, &["--set", "tls.credentials=x509", "--set", &set("dir", &directory)])
        .assert_code(0);
    assert_eq!(pair.destination.qmp.run_state(), "running");
    assert_as_before(&mut pair.destination.qmp, "");
}

fn not_with_tls(arguments: &[&str], words: &[&str]) {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let done = Switchover::lab(&scratch, qemu, qemu)
        .args(&["--set", "tls.credentials=x509"])
        .args(arguments)
        .run();
    done.assert_refused(&scratch, 5, words);
}

cells! { not_with_tls;
    zero_copy_is_refused: &["--cap", "multifd=on", "--cap", "zero-copy-send=on"],
        &["zero-copy-send does not go with TLS"];
    a_file_with_fixed_places_is_refused: &["--transport", "file", "--cap", "mapped-ram=on"],
        &["mapped-ram does not go with TLS"];
    a_file_is_refused: &["--transport", "file"], &["a file does not"];
    a_pipe_of_ours_is_refused: &["--transport", "exec"],
        &["nothing comes back", "use owned, unix or tcp"];
}

/// Every file below, as text; what is compressed is looked into.
fn texts(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let plain = zstd::decode_all(bytes.as_slice()).unwrap_or(bytes);
        found.push((path, String::from_utf8_lossy(&plain).into_owned()));
    }
    found
}

/// The key is in its file and nowhere else: not in the record, the transcript, the log, the
/// arguments of any process.
#[test]
fn the_key_is_told_to_nobody() {
    let Some(qemu) = qemu("10.0") else { return };
    let scratch = Scratch::new();
    let directory = credentials(&scratch, "keys");
    let line = std::fs::read_to_string(directory.join("keys.psk")).unwrap();
    let key = line.trim_end().strip_prefix("qemu:").unwrap();
    let tls = [
        "-vv",
        "--set",
        "tls.credentials=psk",
        "--set",
        &set("dir", &directory),
        "--set",
        "record.transcript=true",
    ];
    let mut running = Switchover::lab(&scratch, qemu, qemu)
        .args(&tls)
        .args(&["--max-bandwidth", "8MiB/s"])
        .start();
    running.wait_for_event("a migration that goes on", |event| event.event == "MIGRATION_PASS");
    for entry in std::fs::read_dir("/proc").unwrap() {
        let arguments = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&arguments).contains(key),
            "in {}",
            String::from_utf8_lossy(&arguments)
        );
    }
    kill(running.pid(), Signal::SIGINT).unwrap();
    let done = running.wait();
    let transcript = texts(done.out());
    // It is really looked into: what was said there of the credentials is found.
    assert!(transcript.iter().any(|(_, text)| text.contains("tls-creds-psk")), "{}", done.story());
    for (path, text) in transcript {
        assert!(!text.contains(key), "in {}", path.display());
    }
    assert!(!done.stdout.contains(key) && !done.stderr.contains(key));
}

#[test]
fn credentials_are_never_written_over() {
    let scratch = Scratch::new();
    credentials(&scratch, "keys");
    let again = Switchover::new(&scratch, &["credentials", "keys"]).run();
    again.assert_code(9);
    assert!(again.stderr.contains("keys is not empty"), "{}", again.stderr);
}

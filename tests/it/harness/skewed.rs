//! A way to a QMP socket on which QEMU's clock seems to be wrong: as if it ran on another host.

use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

/// The events' true times, µs since 1970, by name: the last one of each.
pub(crate) type Truth = Arc<Mutex<HashMap<String, i64>>>;

/// Listens, and gives the endpoint of a QEMU whose events are stamped `skew_us` late. The address
/// is this host's, but not one that says so: nobody can know that clocks are shared.
pub(crate) fn skewed(control: &str, skew_us: i64) -> (String, Truth) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp:0.0.0.0:{}", listener.local_addr().unwrap().port());
    let path = control.strip_prefix("unix:").unwrap().to_owned();
    let truth = Truth::default();
    let told = truth.clone();
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            client.set_nodelay(true).unwrap();
            let qemu = UnixStream::connect(&path).unwrap();
            let (mut to_qemu, mut from_client) =
                (qemu.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_qemu);
                let _ = to_qemu.shutdown(std::net::Shutdown::Both);
            });
            let told = told.clone();
            std::thread::spawn(move || forward(BufReader::new(qemu), client, skew_us, &told));
        }
    });
    (endpoint, truth)
}

fn forward(mut from: impl BufRead, mut to: impl Write, skew_us: i64, truth: &Truth) {
    let mut line = String::new();
    while from.read_line(&mut line).is_ok_and(|read| read > 0) {
        let mut message: Value = serde_json::from_str(&line).unwrap();
        if let (Some(name), Some(seconds)) = (
            message["event"].as_str().map(ToOwned::to_owned),
            message["timestamp"]["seconds"].as_i64(),
        ) {
            let at_us =
                seconds * 1_000_000 + message["timestamp"]["microseconds"].as_i64().unwrap();
            truth.lock().unwrap().insert(name, at_us);
            let skewed_us = at_us + skew_us;
            message["timestamp"] = serde_json::json!({"seconds": skewed_us / 1_000_000,
                "microseconds": skewed_us % 1_000_000});
            line = format!("{message}\r\n");
        }
        if to.write_all(line.as_bytes()).is_err() {
            return;
        }
        line.clear();
    }
}

//! A QMP client that shares no code with the crate: it judges it.

use super::DEADLINE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

/// A connection, negotiated.
pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    pub(crate) fn over(stream: UnixStream) -> Qmp {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut qmp = Qmp { stream: BufReader::new(stream) };
        let greeting = qmp.line();
        assert!(greeting["QMP"].is_object(), "{greeting}");
        qmp.execute("qmp_capabilities", json!({}));
        qmp
    }

    fn line(&mut self) -> Value {
        let mut text = String::new();
        self.stream.read_line(&mut text).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: `{text}`"))
    }

    /// The answer; panics if QEMU refuses.
    pub(crate) fn execute(&mut self, command: &str, arguments: Value) -> Value {
        let request = json!({"execute": command, "arguments": arguments});
        writeln!(self.stream.get_mut(), "{request}").unwrap();
        loop {
            let mut line = self.line();
            if line.get("event").is_none() {
                assert!(line.get("return").is_some(), "{request}: {line}");
                return line["return"].take();
            }
        }
    }

    /// Whether it answers within this time. One that does not is not to be asked again.
    pub(crate) fn answers_within(&mut self, time: std::time::Duration) -> bool {
        self.stream.get_ref().set_read_timeout(Some(time)).unwrap();
        writeln!(self.stream.get_mut(), "{}", json!({"execute": "query-name"})).unwrap();
        let mut text = String::new();
        while !text.contains("\"return\"") {
            text.clear();
            if !self.stream.read_line(&mut text).is_ok_and(|read| read > 0) {
                return false;
            }
        }
        self.stream.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
        true
    }

    /// `running`, `postmigrate` ...
    pub(crate) fn run_state(&mut self) -> String {
        self.execute("query-status", json!({}))["status"].as_str().unwrap().to_owned()
    }

    /// The status of `query-migrate`.
    pub(crate) fn migration(&mut self) -> String {
        self.execute("query-migrate", json!({}))["status"].as_str().unwrap_or("none").to_owned()
    }
}

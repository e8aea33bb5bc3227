//! Lines of QMP to messages, and requests to the shortest bytes. Pure: no socket, no clock.
//!
//! Requests are short because QEMU's monitor reads one byte per system call, about 2.7 µs each
//! (docs/qemu-notes.md, "The monitor"), so an empty `"arguments":{}` costs 40 µs and every blank
//! counts.

use super::limits::{MAX_ERROR_BYTES, MAX_EVENT_BYTES, MAX_UNKNOWN_BYTES};
use super::version::QemuVersion;
use base::clock::Stamp;
use base::text::truncate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A command to send: name, arguments, and whether it goes out of band.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// QAPI's name of the command.
    pub name: Cow<'static, str>,
    /// Arguments; `Value::Null` for none.
    pub arguments: Value,
    /// Sent as `exec-oob` where the session negotiated it: QEMU runs it at once, even while its
    /// main loop is blocked.
    pub out_of_band: bool,
}

impl Request {
    /// One of `qapi`'s typed requests. Goes out of band if QAPI allows it for this command.
    pub fn typed<C: qapi::Command>(command: &C) -> Request {
        // A struct of plain values always serialises; were it not so, QEMU would refuse the empty
        // arguments by name.
        let arguments = serde_json::to_value(command).unwrap_or(Value::Null);
        Request { name: C::NAME.into(), arguments, out_of_band: C::ALLOW_OOB }
    }

    /// Any command, for what `qapi`'s 9.1 schema does not know.
    pub fn raw(name: impl Into<Cow<'static, str>>, arguments: Value) -> Request {
        Request { name: name.into(), arguments, out_of_band: false }
    }

    /// The bytes to send. No line end: QEMU acts on the closing brace.
    #[must_use]
    pub fn encode(&self, id: Option<u32>, oob_negotiated: bool) -> Vec<u8> {
        let verb = if self.out_of_band && oob_negotiated { "exec-oob" } else { "execute" };
        let mut text = format!("{{\"{verb}\":{}", Value::from(self.name.as_ref()));
        let empty = matches!(&self.arguments, Value::Null)
            || self.arguments.as_object().is_some_and(serde_json::Map::is_empty);
        if !empty {
            text.push_str(",\"arguments\":");
            text.push_str(&self.arguments.to_string());
        }
        if let Some(id) = id {
            text.push_str(",\"id\":");
            text.push_str(&id.to_string());
        }
        text.push('}');
        text.into_bytes()
    }
}

/// Which way a line went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From us to QEMU.
    Sent,
    /// From QEMU to us.
    Received,
}

/// What QEMU says of itself when a client connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Greeting {
    /// The version of QEMU itself.
    pub version: QemuVersion,
    /// The distributor's version, may be empty.
    pub package: String,
    /// Whether out-of-band execution is offered.
    pub oob: bool,
}

/// An event, with both its times.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// QAPI's name, such as `STOP`; may be one that no schema of ours knows.
    pub name: String,
    /// Its data, `null` for none.
    pub data: Value,
    /// QEMU's timestamp: microseconds since 1970 on QEMU's host, when the event was emitted. `None`
    /// if it had none.
    pub qemu_us: Option<u64>,
    /// When the line arrived here.
    pub arrived: Stamp,
}

/// Something QEMU said without being asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// An event.
    Event(Event),
    /// A line that is no message we know. Kept, never fatal.
    Unknown {
        /// The line; of a long one, its beginning.
        line: String,
        /// When it arrived.
        arrived: Stamp,
    },
}

/// A reply as it stands on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The value, not parsed yet.
    Return(String),
    /// QEMU's error class and text.
    Error {
        /// `GenericError` and the like.
        class: String,
        /// For people.
        description: String,
    },
}

/// One line, sorted.
#[derive(Debug)]
pub(super) enum Line {
    Greeting(Greeting),
    Reply { id: u32, reply: Reply },
    Notice(Notice),
}

/// As little of it as possible is built before it is known what it is: a value that is not used
/// stays text, in the line.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "return")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    id: Option<u32>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    timestamp: Option<Timestamp>,
    #[serde(borrow, rename = "QMP")]
    greeting: Option<&'a RawValue>,
}

impl Envelope<'_> {
    fn event(&self, arrived: Stamp) -> Option<Event> {
        let name = read(self.event?)?;
        let qemu_us = self.timestamp.as_ref().and_then(|t| {
            let (seconds, micros) =
                (u64::try_from(t.seconds).ok()?, u64::try_from(t.microseconds).ok()?);
            seconds.checked_mul(1_000_000)?.checked_add(micros)
        });
        let data = self.data.map_or(Some(Value::Null), read)?;
        Some(Event { name, data, qemu_us, arrived })
    }

    fn greeting(&self) -> Option<Greeting> {
        let greeting: WireGreeting = read(self.greeting?)?;
        let oob = greeting.capabilities.iter().any(|c| c == "oob");
        let package = truncate(&greeting.version.package, MAX_ERROR_BYTES).into_owned();
        Some(Greeting { version: greeting.version.qemu, package, oob })
    }

    fn reply(&self) -> Option<Reply> {
        match (self.value, self.error) {
            (Some(value), None) => Some(Reply::Return(value.get().to_owned())),
            (None, Some(error)) => {
                let WireError { class, desc } = read(error)?;
                let [class, description] =
                    [class, desc].map(|text| truncate(&text, MAX_ERROR_BYTES).into_owned());
                Some(Reply::Error { class, description })
            }
            _ => None,
        }
    }
}

fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

#[derive(Deserialize)]
struct WireError {
    class: String,
    desc: String,
}

#[derive(Deserialize)]
struct Timestamp {
    // Signed: QEMU sends -1 for both when its clock could not be read (QMP specification,
    // "Asynchronous events").
    seconds: i64,
    microseconds: i64,
}

#[derive(Deserialize)]
struct WireGreeting {
    version: WireVersion,
    #[serde(default)]
    capabilities: Vec<Value>,
}

#[derive(Deserialize)]
struct WireVersion {
    qemu: QemuVersion,
    #[serde(default)]
    package: String,
}

/// Sorts one line (without its line end). Never fails: what is not understood is an unknown notice.
pub(super) fn classify(line: &[u8], arrived: Stamp) -> Line {
    sorted(line, arrived).unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&line[..line.len().min(MAX_UNKNOWN_BYTES)]);
        let more = if line.len() > MAX_UNKNOWN_BYTES {
            format!("… ({} bytes in all)", line.len())
        } else {
            String::new()
        };
        Line::Notice(Notice::Unknown { line: text.into_owned() + &more, arrived })
    })
}

fn sorted(line: &[u8], arrived: Stamp) -> Option<Line> {
    let envelope: Envelope<'_> = serde_json::from_slice(line).ok()?;
    if (envelope.event.is_some() || envelope.greeting.is_some()) && line.len() > MAX_EVENT_BYTES {
        return None;
    }
    if envelope.event.is_some() {
        return envelope.event(arrived).map(|event| Line::Notice(Notice::Event(event)));
    }
    if envelope.greeting.is_some() {
        return envelope.greeting().map(Line::Greeting);
    }
    // An error without id is QEMU's complaint about bytes that it could not parse; no waiter is
    // meant by it.
    let id = envelope.id?;
    Some(Line::Reply { id, reply: envelope.reply()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Stamp = Stamp { mono_ns: 1, wall_ns: 2 };

    #[test]
    fn the_hot_command_is_as_short_as_it_can_be() {
        let request = Request::typed(&qapi::qmp::query_migrate {});
        assert_eq!(request.encode(None, true), br#"{"execute":"query-migrate"}"#);
        assert_eq!(request.encode(Some(7), true), br#"{"execute":"query-migrate","id":7}"#);
    }

    #[test]
    fn out_of_band_is_used_only_when_allowed_and_negotiated() {
        let pause = Request::typed(&qapi::qmp::migrate_pause {});
        assert_eq!(pause.encode(Some(1), true), br#"{"exec-oob":"migrate-pause","id":1}"#);
        assert_eq!(pause.encode(Some(1), false), br#"{"execute":"migrate-pause","id":1}"#);
    }

    #[test]
    fn an_event_no_schema_knows_is_an_event_all_the_same() {
        let line = br#"{"timestamp":{"seconds":3,"microseconds":5},"event":"NEW_IN_QEMU_99","data":{"a":[1]}}"#;
        let Line::Notice(Notice::Event(event)) = classify(line, AT) else { panic!("not an event") };
        assert_eq!((event.name.as_str(), event.qemu_us), ("NEW_IN_QEMU_99", Some(3_000_005)));
    }

    #[test]
    fn an_event_whose_clock_could_not_be_read_has_no_time() {
        let line = br#"{"timestamp":{"seconds":-1,"microseconds":-1},"event":"STOP"}"#;
        let Line::Notice(Notice::Event(event)) = classify(line, AT) else { panic!("not an event") };
        assert_eq!(event.qemu_us, None);
    }

    #[test]
    fn a_greeting_says_whether_oob_is_offered() {
        let line = br#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "Debian"}, "capabilities": ["oob"]}}"#;
        let Line::Greeting(greeting) = classify(line, AT) else { panic!("not a greeting") };
        assert!(greeting.oob);
        assert_eq!(greeting.version.to_string(), "10.0.2");
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = classify(&line, AT);
        }

        #[test]
        fn a_line_cut_anywhere_is_kept_as_unknown(cut in 1usize..70) {
            let whole = br#"{"timestamp":{"seconds":3,"microseconds":5},"event":"STOP","data":{}}"#;
            let cut = cut.min(whole.len() - 1);
            let kept = matches!(classify(&whole[..cut], AT), Line::Notice(Notice::Unknown { .. }));
            prop_assert!(kept);
        }
    }
}

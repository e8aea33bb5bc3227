//! What QEMU 7.2, 10.0 and 11.1 really said (fixtures/qmp), played back to everything that listens
//! to them.

use super::server::{DEADLINE, Peer, Server};
use base::Side;
use base::units::Micros;
use migrate::drive::{Command, Effect, Ending, Held, Input, Machine};
use migrate::plan::{Listen, Plan, RecoveryRules, Settings, Stream};
use model::policy::{GiveUpWhen, SwitchWhen};
use qmp::{Direction, Event, Kind, MigrationInfo, Notice, QmpError, Request, Schema, Session};
use record::Outcome;
use scenario::{Hooks, Mode};
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Deserialize)]
struct Header {
    qemu: String,
    scenario: String,
    mode: Mode,
    outcome: Outcome,
    postcopy_happened: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Record {
    side: Side,
    direction: Direction,
    mono_ns: u64,
    line: String,
}

impl Record {
    fn json(&self) -> Value {
        serde_json::from_str(&self.line).unwrap()
    }

    fn is_event(&self) -> bool {
        self.direction == Direction::Received && self.json().get("event").is_some()
    }
}

struct Recording {
    header: Header,
    records: Vec<Record>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/qmp")
}

/// All recordings, in order of time within each.
fn recordings() -> Vec<Recording> {
    let mut paths: Vec<PathBuf> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .flat_map(|version| fs::read_dir(version).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    paths.sort();
    paths.iter().map(|path| recording(path)).collect()
}

fn recording(path: &Path) -> Recording {
    let text = fs::read_to_string(path).unwrap();
    let (header, records) = text.split_once('\n').unwrap();
    let mut records: Vec<Record> =
        records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.sort_by_key(|record| record.mono_ns);
    Recording { header: serde_json::from_str(header).unwrap(), records }
}

#[test]
fn there_is_every_scenario_of_every_version() {
    let all: Vec<String> = recordings()
        .iter()
        .map(|recording| {
            format!(
                "{} {}",
                recording.header.qemu.split(' ').next().unwrap(),
                recording.header.scenario
            )
        })
        .collect();
    assert_eq!(all.len(), 18, "{all:?}");
}

/// Plays one side of a recording to a session: what was sent is sent again, what was received is
/// received again.
async fn play(recording: &Recording, side: Side) {
    let of = format!("{} {} {side}", recording.header.qemu, recording.header.scenario);
    let records: Vec<&Record> =
        recording.records.iter().filter(|record| record.side == side).collect();
    let server = Server::start();
    let [greeting, negotiation, accepted, rest @ ..] = records.as_slice() else {
        panic!("{of}: too short")
    };
    let negotiating = async {
        let mut peer = server.accept().await;
        peer.line(&greeting.line).await;
        assert_eq!(peer.expect("qmp_capabilities").await.text, negotiation.line);
        peer.line(&accepted.line).await;
        peer
    };
    let (session, mut peer): (_, Peer) =
        tokio::join!(Session::connect(side.name(), &server.endpoint, None, DEADLINE), negotiating);
    let (session, mut notices) = session.unwrap();

    let mut calls = Vec::new();
    for record in rest {
        if record.direction == Direction::Sent {
            let command = record.json();
            let name = command["execute"].as_str().unwrap().to_owned();
            let request = Request::raw(name.clone(), command["arguments"].clone());
            let session = session.clone();
            calls.push((
                command["id"].clone(),
                tokio::spawn(async move { session.execute(request, DEADLINE).await }),
            ));
            assert_eq!(peer.expect(&name).await.text, record.line, "{of}");
        } else {
            peer.line(&record.line).await;
        }
    }
    drop(peer);

    let mut events = Vec::new();
    while let Ok(notice) = notices.next().await {
        match notice {
            Notice::Event(event) => {
                assert!(event.qemu_us.is_some(), "{of}: {event:?}");
                events.push(event.name);
            }
            Notice::Unknown { line, .. } => panic!("{of}: not understood: {line}"),
        }
    }
    let recorded: Vec<String> = rest
        .iter()
        .filter(|record| record.is_event())
        .map(|record| record.json()["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(events, recorded, "{of}");
    for (id, call) in calls {
        let replies = rest
            .iter()
            .filter(|record| record.direction == Direction::Received)
            .map(|record| record.json());
        match (call.await.unwrap(), replies.into_iter().find(|reply| reply["id"] == id)) {
            (Ok(answer), Some(recorded)) => {
                assert_eq!(
                    serde_json::from_str::<Value>(&answer).unwrap(),
                    recorded["return"],
                    "{of} id {id}"
                );
            }
            // 7.2 as destination exits when the migration is cancelled, whatever it was asked.
            (Err(QmpError::Closed { .. }), None) => {}
            (answer, recorded) => panic!("{of} id {id}: {answer:?}, recorded: {recorded:?}"),
        }
    }
}

#[tokio::test]
async fn every_recorded_line_is_understood_and_every_answer_finds_its_question() {
    for recording in recordings() {
        play(&recording, Side::Source).await;
        play(&recording, Side::Destination).await;
    }
}

/// The plan under which it was recorded (qemu-scripts/record-transcripts), as far as the machine
/// looks at it.
fn plan_of(header: &Header) -> Plan {
    let seconds = if header.scenario == "not-converged" { 2 } else { 60 };
    Plan {
        mode: header.mode,
        source: Settings::default(),
        destination: Settings::default(),
        listen: Listen::Already,
        stream: Stream::default(),
        switch: match header.mode {
            Mode::Precopy => SwitchWhen::Never,
            Mode::Postcopy => SwitchWhen::AtOnce,
            Mode::Hybrid => SwitchWhen::AfterPass(1),
        },
        finish: SwitchWhen::Never,
        downtime_limit: Micros(0),
        give_up: GiveUpWhen { passes: None, bytes: None, after: Micros(seconds * 1_000_000) },
        cancel_is_guarded: !header.qemu.starts_with("7."),
        return_path: true,
        recovery: RecoveryRules {
            attempts: 1,
            backoff: Micros(100_000),
            stalled_after: Micros(60_000_000),
        },
        hooks: Hooks::default(),
        tls: None,
        confirms: false,
    }
}

/// Shows a machine what was recorded, and the time of everything; gives what it sent, and how it
/// ended.
fn replay(
    recording: &Recording,
    samples_too: bool,
    left_out: Option<usize>,
) -> (Vec<Command>, Option<Ending>) {
    let mut machine = Machine::new(&plan_of(&recording.header));
    let (mut sent, mut ending) = (Vec::new(), None);
    let mut take = |effects: Vec<Effect>| {
        for effect in effects {
            match effect {
                Effect::Send(command) => sent.push(command),
                Effect::End(end) => ending = Some(end),
                Effect::Decided(_) | Effect::Hook(_) => {}
            }
        }
    };
    let mut started = false;
    for (index, record) in recording.records.iter().enumerate() {
        let (json, now_ns) = (record.json(), record.mono_ns);
        if record.side == Side::Source && json["execute"] == "migrate" {
            started = true;
            take(machine.step(&Input::Started, now_ns));
        }
        if !started || left_out == Some(index) {
            continue;
        }
        take(machine.step(&Input::Tick, now_ns));
        if json["execute"] == "migrate_cancel" {
            take(machine.step(&Input::Held(Held::Waits), now_ns));
        }
        if record.is_event() {
            take(machine.step(&Input::Event(record.side, &as_event(&json)), now_ns));
        } else if let Some(value) =
            json.get("return").filter(|value| samples_too && value.get("status").is_some())
        {
            // Answers of query-status have a `status` too, one that is no migration's: `running`
            // says so.
            if value.get("running").is_none() {
                let info: MigrationInfo = serde_json::from_str(&value.to_string()).unwrap();
                take(machine.step(&Input::Sample(record.side, &info), now_ns));
            }
        }
    }
    (sent, ending)
}

fn as_event(json: &Value) -> Event {
    Event {
        name: json["event"].as_str().unwrap().to_owned(),
        data: json.get("data").cloned().unwrap_or_default(),
        qemu_us: None,
        arrived: base::clock::Stamp { mono_ns: 0, wall_ns: 0 },
    }
}

/// The commands that were sent in truth.
fn commands_of(recording: &Recording) -> Vec<Command> {
    let sent = recording.records.iter().filter(|record| record.direction == Direction::Sent);
    sent.filter_map(|record| match record.json()["execute"].as_str()? {
        "migrate-start-postcopy" => Some(Command::StartPostcopy),
        "stop" => Some(Command::Hold),
        "migrate_cancel" => Some(Command::Cancel),
        "migrate-continue" => Some(Command::Continue),
        _ => None,
    })
    .collect()
}

#[test]
fn the_machine_does_again_what_was_done_and_ends_as_it_ended() {
    for recording in recordings() {
        let header = &recording.header;
        let (sent, ending) = replay(&recording, false, None);
        let ending = ending.unwrap_or_else(|| panic!("{header:?}: no end"));
        assert_eq!(
            (ending.outcome, ending.postcopy_happened),
            (header.outcome, header.postcopy_happened),
            "{header:?}: {ending:?}"
        );
        assert_eq!(sent, commands_of(&recording), "{header:?}");
    }
}

#[test]
fn any_one_event_may_be_lost_if_query_migrate_is_asked() {
    for recording in recordings() {
        let header = &recording.header;
        for (index, record) in
            recording.records.iter().enumerate().filter(|(_, record)| record.is_event())
        {
            let (_, ending) = replay(&recording, true, Some(index));
            let ending =
                ending.unwrap_or_else(|| panic!("{header:?}: no end without {}", record.line));
            let got = (ending.outcome, ending.postcopy_happened);
            assert_eq!(
                got,
                (header.outcome, header.postcopy_happened),
                "{header:?} without {}: {ending:?}",
                record.line
            );
        }
    }
}

fn schema(version: &str) -> Schema {
    Schema::parse(&fs::read_to_string(fixtures().join(version).join("schema.json")).unwrap())
}

#[test]
fn the_schema_of_each_version_tells_its_capabilities() {
    let capabilities = |version| {
        schema(version).enum_values("migrate-set-capabilities", &["capabilities", "capability"])
    };
    let (old, middle, new) = (capabilities("7.2"), capabilities("10.0"), capabilities("11.1"));
    let has =
        |name: &str| [&old, &middle, &new].map(|values| values.iter().any(|value| value == name));
    assert_eq!(has("xbzrle"), [true, true, true]);
    assert_eq!(has("multifd"), [true, true, true]);
    assert_eq!(has("postcopy-ram"), [true, true, true]);
    assert_eq!(has("mapped-ram"), [false, true, true]);
    assert_eq!(has("dirty-limit"), [false, true, true]);
    assert_eq!(has("zero-blocks"), [true, true, false]);
    assert_eq!(has("compress"), [true, false, false]);
}

#[test]
fn the_schema_of_each_version_tells_what_parameters_take() {
    let kind = |version, name: &str| {
        let parameters = schema(version).arguments("migrate-set-parameters");
        parameters
            .into_iter()
            .find(|parameter| parameter.name == name)
            .map(|parameter| parameter.kind)
    };
    for version in ["7.2", "10.0", "11.1"] {
        assert_eq!(kind(version, "downtime-limit"), Some(Kind::Int), "{version}");
        assert_eq!(kind(version, "max-bandwidth"), Some(Kind::Int), "{version}");
        assert_eq!(kind(version, "cpu-throttle-tailslow"), Some(Kind::Bool), "{version}");
        assert_eq!(kind(version, "tls-hostname"), Some(Kind::Str), "{version}");
        assert_eq!(kind(version, "block-bitmap-mapping"), Some(Kind::Other), "{version}");
    }
    let compression = |version| match kind(version, "multifd-compression") {
        Some(Kind::Enum(values)) => values.iter().any(|value| value == "qatzip"),
        other => panic!("{version}: {other:?}"),
    };
    assert_eq!([compression("7.2"), compression("10.0")], [false, false]);
    assert_eq!(
        ["7.2", "10.0", "11.1"].map(|version| kind(version, "mode").is_some()),
        [false, true, true]
    );
}

#[test]
fn the_schema_of_each_version_tells_its_commands_and_their_arguments() {
    let takes = |command: &'static str, argument: &'static str| {
        ["7.2", "10.0", "11.1"].map(|version| {
            schema(version).arguments(command).iter().any(|member| member.name == argument)
        })
    };
    assert_eq!(takes("migrate-incoming", "uri"), [true, true, true]);
    assert_eq!(takes("migrate-incoming", "exit-on-error"), [false, true, true]);
    assert_eq!(takes("migrate", "resume"), [true, true, true]);
    assert_eq!(takes("migrate", "detach"), [true, true, false]);
    for version in ["7.2", "10.0", "11.1"] {
        let schema = schema(version);
        assert!(
            schema.has_command("migrate-start-postcopy") && !schema.has_command("MIGRATION"),
            "{version}"
        );
    }
}

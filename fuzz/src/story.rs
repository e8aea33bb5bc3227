//! A plan, and what happens to it: rules of a scenario on QEMUs of three versions, and any story of
//! what they say.

use base::Side;
use base::clock::Stamp;
use migrate::drive::{Command, Effect, Held, Input, Machine, Phase};
use migrate::plan::{StreamContext, Support, plan};
use qmp::{Event, MigrationInfo, QemuVersion, Schema, Status};
use scenario::Loader;
use std::sync::LazyLock;

/// The longest story; a longer one says nothing new.
const LONGEST: usize = 200;

const STATUSES: [&str; 16] = [
    "none",
    "setup",
    "active",
    "pre-switchover",
    "device",
    "postcopy-device",
    "postcopy-active",
    "postcopy-paused",
    "postcopy-recover-setup",
    "postcopy-recover",
    "completed",
    "cancelling",
    "cancelled",
    "failing",
    "failed",
    "of-the-future",
];

static QEMUS: LazyLock<[Support; 3]> = LazyLock::new(|| {
    [
        (QemuVersion::new(7, 2, 19), include_str!("../../fixtures/qmp/7.2/schema.json")),
        (QemuVersion::new(10, 0, 2), include_str!("../../fixtures/qmp/10.0/schema.json")),
        (QemuVersion::new(11, 1, 0), include_str!("../../fixtures/qmp/11.1/schema.json")),
    ]
    .map(|(version, schema)| support(version, &Schema::parse(schema)))
});

fn support(version: QemuVersion, schema: &Schema) -> Support {
    let capabilities =
        schema.enum_values("migrate-set-capabilities", &["capabilities", "capability"]);
    let takes = |command: &str, name: &str| {
        schema.arguments(command).iter().any(|member| member.name == name)
    };
    Support {
        version,
        package: String::new(),
        capabilities: capabilities.into_iter().map(|name| (name, false)).collect(),
        parameters: schema.arguments("migrate-set-parameters"),
        incoming_has_exit_on_error: takes("migrate-incoming", "exit-on-error"),
        migrate_has_channels: takes("migrate", "channels"),
        run_state: "running".to_owned(),
        status: Status::None,
        blocked_reasons: Vec::new(),
        listens: false,
        listens_at: None,
    }
}

/// A scenario's TOML, and after a NUL what happens, two bytes each. A refusal says why; what is
/// decided is decided once; and past the point of no return nothing is cancelled (safety rule 3).
pub fn policy(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..at]);
    let mut loader = Loader::new();
    let Ok(scenario) = loader.text("fuzzed.toml", &text).and_then(|loader| loader.load()) else {
        return;
    };
    let happens = bytes.get(at + 1..).unwrap_or_default();
    let version = happens.first().map_or(1, |byte| usize::from(byte % 3));
    let destination = Support { run_state: "inmigrate".to_owned(), ..QEMUS[version].clone() };
    let context = StreamContext {
        local: Some("/fuzzed/stream".into()),
        host: None,
        can_pass_descriptors: [true, true],
    };
    let planned = match plan(&scenario, &QEMUS[version], &destination, &context) {
        Ok(planned) => planned,
        Err(refused) => {
            return assert!(!refused.0.is_empty() && refused.0.iter().all(|why| !why.is_empty()));
        }
    };
    let mut machine = Machine::new(&planned);
    let (mut now_ns, mut over, mut postcopy) = (1_000_000_000u64, false, false);
    for pair in happens.get(1..).unwrap_or_default().chunks_exact(2).take(LONGEST) {
        now_ns += 1_000_000 << (pair[0] >> 5);
        postcopy |= pair[0] % 16 == 1
            && pair[1].is_multiple_of(2)
            && STATUSES[usize::from(pair[1] / 2 % 16)] == "postcopy-active";
        for effect in happen(&mut machine, pair[0], pair[1], now_ns) {
            assert!(!over, "{effect:?} after the end");
            match effect {
                Effect::End(ending) => {
                    assert!(!ending.reason.is_empty() && machine.phase() == Phase::Ended);
                    over = true;
                }
                Effect::Send(Command::Cancel) => assert!(!postcopy, "a cancel in post-copy"),
                Effect::Decided(decision) => assert!(!decision.reason.is_empty()),
                Effect::Send(_) | Effect::Hook(_) => {}
            }
        }
    }
}

fn happen(machine: &mut Machine, what: u8, how: u8, now_ns: u64) -> Vec<Effect> {
    let side = if how.is_multiple_of(2) { Side::Source } else { Side::Destination };
    let text = || "said so".to_owned();
    let status = STATUSES[usize::from(how / 2 % 16)];
    let mut step = |input: Input<'_>| machine.step(&input, now_ns);
    let event = |name: &str, data| Event {
        name: name.to_owned(),
        data,
        qemu_us: None,
        arrived: Stamp { mono_ns: now_ns, wall_ns: now_ns },
    };
    match what % 16 {
        0 => step(Input::Started),
        1 => step(Input::Event(side, &event("MIGRATION", serde_json::json!({ "status": status })))),
        2 => step(Input::Event(
            side,
            &event(if how & 2 == 0 { "STOP" } else { "RESUME" }, serde_json::Value::Null),
        )),
        3 => step(Input::Event(
            Side::Source,
            &event("MIGRATION_PASS", serde_json::json!({ "pass": how })),
        )),
        4 => {
            let text = format!(
                r#"{{"status":"{status}","ram":{{"transferred":{},"dirty-sync-count":{how}}}}}"#,
                now_ns >> 10
            );
            let info: MigrationInfo = serde_json::from_str(&text).unwrap();
            step(Input::Sample(side, &info))
        }
        5 => step(Input::Refused(
            [
                Command::StartPostcopy,
                Command::Finish,
                Command::Hold,
                Command::Release,
                Command::Cancel,
                Command::Continue,
            ][usize::from(how % 6)],
            text(),
        )),
        6 => step(Input::Recovered),
        7 => step(Input::Reopened(side)),
        8 => step(Input::Gone(side, text())),
        9 => step(Input::Exited(side, text())),
        10 => step(Input::Held(
            [Held::Waits, Held::Stopped, Held::Runs, Held::Stands][usize::from(how % 4)],
        )),
        11 => step(if how.is_multiple_of(2) { Input::Released } else { Input::StaleCopyStopped }),
        12 => step(Input::Hooked(if how.is_multiple_of(2) { Ok(()) } else { Err(text()) })),
        13 => step(Input::Interrupt),
        _ => step(Input::Tick),
    }
}

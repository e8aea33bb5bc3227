//! Recorded traces of two generations with known answers, and any order and any cut of them.

use super::super::trace::parse;
use super::*;
use proptest::prelude::*;
use record::EventRecord;
use std::path::PathBuf;

const RECORDED: [(&str, &str); 4] =
    [("10.0", "precopy"), ("10.0", "postcopy"), ("newest", "precopy"), ("newest", "postcopy")];

fn directory(version: &str, mode: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/traces").join(version).join(mode)
}

fn text(version: &str, mode: &str, side: Side) -> String {
    std::fs::read_to_string(directory(version, mode).join(format!("trace.{side}.log"))).unwrap()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index"
)]
fn index(part: f64, length: usize) -> usize {
    (length as f64 * part) as usize
}

fn recorded(version: &str, mode: &str) -> TraceBlackout {
    let log = |side| parse(text(version, mode, side).as_bytes());
    blackout(&log(Side::Source), &log(Side::Destination), 0).unwrap()
}

#[test]
fn stop_and_resume_lie_within_the_recorded_blackouts_and_the_parts_add_up() {
    for (version, mode) in RECORDED {
        let seen = recorded(version, mode);
        let events =
            std::fs::read_to_string(directory(version, mode).join("switchover.jsonl")).unwrap();
        let at = |name: &str| {
            let event = events
                .lines()
                .map(|line| serde_json::from_str::<EventRecord>(line).unwrap())
                .find(|e| e.event == name);
            event.unwrap().qemu_us.unwrap()
        };
        assert!(
            seen.start_us <= at("STOP") && at("RESUME") <= seen.end_us,
            "{version} {mode}: {seen:?}"
        );
        let Breakdown { stop, ram, devices, network, load, start, other } = seen.breakdown.unwrap();
        assert_eq!(
            stop + ram + devices + network + load + start + other,
            seen.end_us - seen.start_us,
            "{version} {mode}"
        );
    }
}

#[test]
fn recorded_blackouts_have_known_parts() {
    let text: Vec<String> = RECORDED
        .iter()
        .map(|(version, mode)| {
            let seen = recorded(version, mode);
            let dearest = seen.devices.first().map(|d| format!("{} {} µs", d.device, d.us));
            format!(
                "{version} {mode}: {} µs, {:?}, {dearest:?}",
                seen.end_us - seen.start_us,
                seen.breakdown.unwrap()
            )
        })
        .collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    10.0 precopy: 11771 µs, Breakdown { stop: 273, ram: 10589, devices: 243, network: 215, load: 148, start: 182, other: 121 }, Some("ram 10589 µs")
    10.0 postcopy: 1606 µs, Breakdown { stop: 195, ram: 0, devices: 68, network: 626, load: 110, start: 48, other: 559 }, Some("cpu_common 65 µs")
    newest precopy: 1585 µs, Breakdown { stop: 527, ram: 21, devices: 276, network: 102, load: 57, start: 97, other: 505 }, Some("cpu 103 µs")
    newest postcopy: 1831 µs, Breakdown { stop: 573, ram: 0, devices: 84, network: 707, load: 54, start: 113, other: 300 }, Some("cpu 32 µs")
    "#);
}

#[test]
fn what_is_missing_is_said() {
    let source = parse(text("10.0", "precopy", Side::Source).as_bytes());
    let destination = parse(text("10.0", "precopy", Side::Destination).as_bytes());
    let empty = TraceLog::default();
    let missing = |source, destination, offset| {
        blackout(source, destination, offset).unwrap_err().to_string()
    };
    assert_eq!(
        missing(&empty, &destination, 0),
        "source: no vmstate_downtime_checkpoint was traced: QEMU has these since 8.2"
    );
    assert_eq!(
        missing(&destination, &destination, 0),
        "the source's trace has no src-downtime-start"
    );
    assert_eq!(missing(&source, &source, 0), "the destination's trace has no dst-*-bh-vm-started");
    let backwards = missing(&source, &destination, -3_600_000_000);
    assert!(backwards.contains("a clock was stepped"), "{backwards}");
}

#[test]
fn a_source_that_came_by_a_migration_itself_and_gave_up_once_is_no_trouble() {
    let earlier = "1@5.000000:vmstate_downtime_checkpoint dst-precopy-loadvm-completed\n\
                   1@5.000100:vmstate_downtime_checkpoint dst-precopy-bh-vm-started\n\
                   1@6.000000:vmstate_downtime_checkpoint src-downtime-start\n";
    let source = parse(format!("{earlier}{}", text("10.0", "precopy", Side::Source)).as_bytes());
    let destination = parse(text("10.0", "precopy", Side::Destination).as_bytes());
    assert_eq!(blackout(&source, &destination, 0).unwrap(), recorded("10.0", "precopy"));
}

#[test]
fn without_what_divides_it_the_length_is_known_and_no_part_is_guessed() {
    let (version, mode) = RECORDED[0];
    let whole = recorded(version, mode);
    for name in ["src-vm-stopped", "src-non-iterable-saved", "dst-precopy-loadvm-completed"] {
        let log = |side| {
            let text = text(version, mode, side);
            parse(
                text.lines()
                    .filter(|line| !line.contains(name))
                    .map(|line| format!("{line}\n"))
                    .collect::<String>()
                    .as_bytes(),
            )
        };
        let seen = blackout(&log(Side::Source), &log(Side::Destination), 0).unwrap();
        assert_eq!(seen, TraceBlackout { breakdown: None, ..whole.clone() }, "{name}");
    }
}

#[test]
fn a_destination_that_started_while_the_source_still_saved_has_another_clock() {
    let log = |side| parse(text("10.0", "precopy", side).as_bytes());
    let seen = blackout(&log(Side::Source), &log(Side::Destination), -5000);
    assert_eq!(seen, Err(TraceMissing::Backwards));
}

#[test]
fn an_attempt_that_was_given_up_is_not_the_start_of_the_next_one() {
    // The second attempt's start is lost, so the first one's would make a blackout of ten seconds.
    let mut source = String::from(
        "1@1795423120.000000:vmstate_downtime_checkpoint src-downtime-start\n1@1795423120.000100:vmstate_downtime_checkpoint src-vm-stopped\n",
    );
    source.extend(
        text("10.0", "precopy", Side::Source)
            .lines()
            .filter(|line| !line.contains("src-downtime-start"))
            .map(|line| format!("{line}\n")),
    );
    let destination = parse(text("10.0", "precopy", Side::Destination).as_bytes());
    let seen = blackout(&parse(source.as_bytes()), &destination, 0);
    assert!(matches!(seen, Err(TraceMissing::Cut { .. })), "{seen:?}");
}

proptest! {
    #[test]
    fn any_order_of_the_lines_gives_the_same_result(which in 0usize..4, seed in any::<u64>()) {
        let (version, mode) = RECORDED[which];
        let shuffled = |side| {
            let text = text(version, mode, side);
            let mut lines: Vec<&str> = text.lines().collect();
            let mut state = seed | 1;
            for at in (1..lines.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                lines.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
            }
            parse((lines.join("\n") + "\n").as_bytes())
        };
        prop_assert_eq!(blackout(&shuffled(Side::Source), &shuffled(Side::Destination), 0).unwrap(), recorded(version, mode));
    }

    #[test]
    fn a_file_cut_anywhere_gives_nothing_or_no_more_than_the_whole(which in 0usize..4, source_part in 0.0f64..1.0, destination_part in 0.0f64..1.0) {
        let (version, mode) = RECORDED[which];
        let cut = |side, part: f64| {
            let text = text(version, mode, side);
            parse(&text.as_bytes()[..index(part, text.len())])
        };
        let whole = recorded(version, mode);
        if let Ok(seen) = blackout(&cut(Side::Source, source_part), &cut(Side::Destination, destination_part), 0) {
            prop_assert_eq!((seen.start_us, seen.end_us), (whole.start_us, whole.end_us));
        }
    }

    #[test]
    fn a_file_cut_short_anywhere_says_nothing_that_the_whole_does_not(which in 0usize..4, side in 0usize..2, part in 0.0f64..1.0) {
        let (version, mode) = RECORDED[which];
        let side = [Side::Source, Side::Destination][side];
        let text = text(version, mode, side);
        let at = index(part, text.len());
        let whole = parse(text.as_bytes());
        for log in [parse(&text.as_bytes()[..at]), parse(&text.as_bytes()[at..])] {
            prop_assert!(log.checkpoints.iter().all(|point| whole.checkpoints.contains(point)), "{log:?}");
            prop_assert!(log.devices.iter().all(|device| whole.devices.contains(device)), "{log:?}");
            prop_assert!(log.page_requests.iter().all(|request| whole.page_requests.contains(request)), "{log:?}");
        }
    }

    #[test]
    fn a_file_whose_end_is_gone_gives_the_whole_breakdown_or_none(which in 0usize..4, source_part in 0.0f64..1.0, destination_part in 0.0f64..1.0) {
        let (version, mode) = RECORDED[which];
        let cut = |side, part: f64| {
            let text = text(version, mode, side);
            parse(&text.as_bytes()[..index(part, text.len())])
        };
        // Only one of the two, or hardly a case would have any result.
        let (all, logs) = (1.0, |source, destination| blackout(&cut(Side::Source, source), &cut(Side::Destination, destination), 0));
        for seen in [logs(source_part, all), logs(all, destination_part), logs(source_part, destination_part)].into_iter().flatten() {
            let whole = recorded(version, mode);
            prop_assert_eq!((seen.start_us, seen.end_us), (whole.start_us, whole.end_us));
            prop_assert!(seen.breakdown.is_none() || seen == whole, "{:?}", seen);
        }
    }
}

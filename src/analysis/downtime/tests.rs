use super::trace::{TraceLog, parse};
use super::*;
use record::{Beat, TimeUs};
use serde_json::json;

/// Our wall clock is this far ahead of our monotonic one, µs.
const AHEAD_US: u64 = 5_000_000;

fn event(side: Side, name: &str, at_us: u64) -> EventRecord {
    EventRecord {
        migration: 1,
        side,
        event: name.into(),
        data: json!({}),
        qemu_us: Some(AHEAD_US + at_us),
        mono_ns: at_us * 1000 + 40_000,
        wall_ns: (AHEAD_US + at_us) * 1000 + 40_000,
    }
}

fn evidence(events: &[EventRecord]) -> Evidence<'_> {
    Evidence {
        events,
        started_ns: 0,
        offsets: Some([Offset::default(); 2]),
        reported_ms: Some(1),
        return_path: true,
        postcopy: false,
        beats: None,
        traces: Err("none here"),
    }
}

fn logs(start_us: u64, end_us: u64) -> [TraceLog; 2] {
    let line = |at: u64, name: &str| {
        let at = AHEAD_US + at;
        parse(
            format!(
                "1@{}.{:06}:vmstate_downtime_checkpoint {name}\n",
                at / 1_000_000,
                at % 1_000_000
            )
            .as_bytes(),
        )
    };
    [line(start_us, "src-downtime-start"), line(end_us, "dst-precopy-bh-vm-started")]
}

#[test]
fn the_blackout_is_from_the_last_stop_to_the_first_resume_of_the_destination() {
    let events = [
        event(Side::Source, "STOP", 10),
        event(Side::Source, "RESUME", 20),
        event(Side::Source, "STOP", 1000),
        event(Side::Destination, "RESUME", 4500),
    ];
    let downtime = measure(&evidence(&events));
    assert_eq!((downtime.views.events_us, downtime.views.reported_us), (Some(3500), Some(1000)));
    assert_eq!(
        downtime.best.unwrap(),
        Best { view: ViewKind::Events, us: 3500, uncertainty_us: Some(4000) }
    );
    let span = downtime.spans.events.unwrap();
    assert_eq!((span.from_us, span.to_us), (Some(1000), Some(4500)));
    assert_eq!(downtime.trace_missing.as_deref(), Some("none here"));
}

#[test]
fn a_stop_that_arrives_after_the_resume_counts_by_qemus_clock() {
    let mut events = [event(Side::Destination, "RESUME", 4500), event(Side::Source, "STOP", 1000)];
    events[1].mono_ns += 39_000_000;
    events[1].wall_ns += 39_000_000;
    assert_eq!(measure(&evidence(&events)).views.events_us, Some(3500));
    // By arrival it would be negative, so there is no figure.
    assert_eq!(measure(&Evidence { offsets: None, ..evidence(&events) }).views.events_us, None);
    assert_eq!(times(&events, 0, false).switchover, None);
}

#[test]
fn clocks_of_two_hosts_are_only_compared_by_their_offsets_and_the_error_is_in_the_uncertainty() {
    let mut events = [event(Side::Source, "STOP", 1000), event(Side::Destination, "RESUME", 4500)];
    // The destination's host is 3 s behind.
    events[1].qemu_us = events[1].qemu_us.map(|us| us - 3_000_000);
    let behind = Offset { ns: -3_000_000_000, error_ns: 400_000 };
    let downtime =
        measure(&Evidence { offsets: Some([Offset::default(), behind]), ..evidence(&events) });
    assert_eq!(downtime.views.events_us, Some(3500));
    assert_eq!(downtime.best.unwrap().uncertainty_us, Some(4400));
    // Taken for one clock, the RESUME would be before the STOP.
    let downtime = measure(&evidence(&events));
    assert_eq!(downtime.views.events_us, None);
    assert!(downtime.disagreements[0].contains("the clocks do not agree"), "{downtime:?}");
    // Not known at all: by arrival, and nobody can say how good that is.
    let downtime = measure(&Evidence { offsets: None, ..evidence(&events) });
    assert_eq!(
        downtime.best.unwrap(),
        Best { view: ViewKind::Events, us: 3500, uncertainty_us: None }
    );
}

#[test]
fn a_wall_clock_that_is_stepped_in_the_blackout_changes_no_figure_and_is_said() {
    for step_us in [3_600_000_000i64, -3_000_000] {
        let mut events =
            [event(Side::Source, "STOP", 1000), event(Side::Destination, "RESUME", 4500)];
        events[1].qemu_us = events[1].qemu_us.map(|us| us.saturating_add_signed(step_us));
        events[1].wall_ns = events[1].wall_ns.saturating_add_signed(step_us * 1000);
        let [source, destination] = logs(900, 4600u64.saturating_add_signed(step_us.max(0)));
        let traces = Ok([&source, &destination]);
        let downtime = measure(&Evidence { traces, ..evidence(&events) });
        assert_eq!(
            (downtime.views.events_us, downtime.views.trace_us),
            (Some(3500), None),
            "{downtime:?}"
        );
        assert!(downtime.trace_missing.is_some());
        assert!(
            step_us < 0
                || downtime.disagreements.iter().any(|text| text.contains("stepped by 3600000 ms")),
            "{downtime:?}"
        );
    }
}

#[test]
fn an_event_stamped_by_a_clock_that_was_set_back_before_it_arrived_is_not_believed() {
    let mut events = [event(Side::Source, "STOP", 1000), event(Side::Destination, "RESUME", 4500)];
    // Stamped an hour ahead, and the clock was set right before the arrival.
    events[1].qemu_us = events[1].qemu_us.map(|us| us + 3_600_000_000);
    let best = measure(&evidence(&events)).best.unwrap();
    assert_eq!((best.us, best.uncertainty_us), (3500, None));
}

#[test]
fn the_views_are_held_against_each_other() {
    let events = [event(Side::Source, "STOP", 21_000), event(Side::Destination, "RESUME", 24_500)];
    let [source, destination] = logs(20_800, 24_600);
    let beat =
        |number: u8, at_us: u64| Beat { sequence: number, arrived_ns: at_us * 1000, late_us: 0 };
    let with_gap = |gap_us: u64| {
        let before: Vec<Beat> = (0..20).map(|n| beat(n, 1000 + u64::from(n) * 1000)).collect();
        let after: Vec<Beat> =
            (20..40).map(|n| beat(n, 1000 + u64::from(n) * 1000 + gap_us)).collect();
        (before, after)
    };
    let measured = |(before, after): &(Vec<Beat>, Vec<Beat>)| {
        let beats =
            Beats { source: before, destination: after, period_us: 1000, stands_still: true };
        measure(&Evidence {
            beats: Some(beats),
            traces: Ok([&source, &destination]),
            ..evidence(&events)
        })
    };
    let agreeing = measured(&with_gap(3700));
    assert_eq!(
        agreeing.views,
        Views {
            reported_us: Some(1000),
            events_us: Some(3500),
            trace_us: Some(3800),
            heartbeat_us: Some(3700)
        }
    );
    assert_eq!(
        (agreeing.best.unwrap().view.name(), agreeing.disagreements.len()),
        ("heartbeat", 0)
    );
    assert_eq!(agreeing.spans.trace.unwrap().uncertainty_us, Some(300));
    let apart = measured(&with_gap(9000));
    assert_eq!(apart.disagreements.len(), 2, "{apart:?}");
    assert!(
        apart.disagreements[0]
            .contains("heartbeat (9000 µs) and trace (3800 µs) differ by 5200 µs"),
        "{apart:?}"
    );
}

#[test]
fn what_was_not_seen_is_nothing_and_not_zero() {
    let events = [event(Side::Source, "STOP", 1)];
    let downtime = measure(&Evidence { reported_ms: None, ..evidence(&events) });
    assert_eq!((downtime.best, downtime.views), (None, Views::default()));
    assert_eq!(times(&[], 0, false), TimeUs::default());
}

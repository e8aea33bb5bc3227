//! The blackout: no vCPU runs anywhere, from source vCPUs paused to destination vCPUs running.
//!
//! Takes the events of a run and what QEMU reported; gives the views of the blackout and which one to believe. Knows nothing of
//! how the run was made. So far the views `reported` and `events`; `trace` and `heartbeat` have their places in the result.
//!
//! Why `events` is believed over `reported`: without a return path, and always in post-copy, QEMU stops its clock when the data
//! has been handed to the socket (facts/qemu.md §6.1: 1 ms reported, 89.8 ms real in the worst case there), and a 0 is later
//! overwritten by something else altogether (§6.2).

use crate::plan::Side;
use crate::record::{Best, Downtime, EventRecord, TimeUs, Views};

/// Whether the events' timestamps of both sides are on one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// One host: QEMU's own timestamps, µs, can be subtracted.
    Shared,
    /// Perhaps two hosts: only the arrival on our clock can be compared, which includes the way of each message to us.
    Separate,
}

/// STOP on the source and RESUME on the destination, if both were seen.
fn blackout(events: &[EventRecord]) -> Option<(&EventRecord, &EventRecord)> {
    let resume = events.iter().find(|e| e.side == Side::Destination && e.event == "RESUME")?;
    // The last STOP: an earlier one was somebody's `stop` and `cont`. Not "the last that arrived before RESUME": over TCP it can
    // arrive 40 ms late, and so after it (QEMU's Nagle waits for our delayed ACK).
    let stop = events.iter().rfind(|e| e.side == Side::Source && e.event == "STOP")?;
    Some((stop, resume))
}

/// The blackout in the views that we have.
#[must_use]
pub fn measure(events: &[EventRecord], clocks: Clocks, reported_ms: Option<u64>) -> Downtime {
    let events_us = blackout(events).and_then(|(stop, resume)| match (clocks, stop.qemu_us, resume.qemu_us) {
        (Clocks::Shared, Some(stop_us), Some(resume_us)) => resume_us.checked_sub(stop_us),
        _ => resume.mono_ns.checked_sub(stop.mono_ns).map(|ns| ns / 1000),
    });
    let views = Views { reported_us: reported_ms.map(|ms| ms * 1000), events_us, trace_us: None, heartbeat_us: None };
    let best = |view: &str, us| Best { view: view.to_owned(), us, uncertainty_us: None };
    let best = match (views.events_us, views.reported_us) {
        (Some(us), _) => Some(best("events", us)),
        (None, Some(us)) => Some(best("reported", us)),
        (None, None) => None,
    };
    Downtime { best, views, ..Downtime::default() }
}

/// How long each part took, by arrival on our clock, from `migrate` at `started_ns` on.
#[must_use]
pub fn times(events: &[EventRecord], started_ns: u64, postcopy_happened: bool) -> TimeUs {
    let status = |side: Side, status: &str| {
        let is = |e: &&EventRecord| e.side == side && e.status() == Some(status) && e.mono_ns >= started_ns;
        events.iter().find(is).map(|e| e.mono_ns)
    };
    let between = |from: Option<u64>, to: Option<u64>| Some(to?.checked_sub(from?)? / 1000);
    let active = status(Side::Source, "active");
    let (stop, resume) = blackout(events).map_or((None, None), |(s, r)| (Some(s.mono_ns), Some(r.mono_ns)));
    let done = match (status(Side::Source, "completed"), status(Side::Destination, "completed")) {
        (Some(source), Some(destination)) => Some(source.max(destination)),
        _ => None,
    };
    TimeUs {
        setup: between(Some(started_ns), active),
        precopy: between(active, stop),
        switchover: between(stop, resume),
        postcopy: if postcopy_happened { between(resume, done) } else { None },
        total: between(Some(started_ns), done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(side: Side, name: &str, at_us: u64) -> EventRecord {
        EventRecord {
            side,
            event: name.into(),
            data: json!({}),
            qemu_us: Some(5_000_000 + at_us),
            mono_ns: at_us * 1000 + 40_000,
        }
    }

    #[test]
    fn the_blackout_is_from_the_last_stop_to_the_first_resume_of_the_destination() {
        let events = [
            event(Side::Source, "STOP", 10),
            event(Side::Source, "RESUME", 20),
            event(Side::Source, "STOP", 1000),
            event(Side::Destination, "RESUME", 4500),
        ];
        let downtime = measure(&events, Clocks::Shared, Some(1));
        assert_eq!(downtime.views.events_us, Some(3500));
        assert_eq!(downtime.views.reported_us, Some(1000));
        assert_eq!(downtime.best.unwrap().view, "events");
    }

    #[test]
    fn a_stop_that_arrives_after_the_resume_counts_by_qemus_clock() {
        let mut events = [event(Side::Destination, "RESUME", 4500), event(Side::Source, "STOP", 1000)];
        events[1].mono_ns = 40_000_000;
        assert_eq!(measure(&events, Clocks::Shared, None).views.events_us, Some(3500));
        assert_eq!(measure(&events, Clocks::Separate, None).views.events_us, None);
        assert_eq!(times(&events, 0, false).switchover, None);
    }

    #[test]
    fn separate_clocks_are_never_subtracted() {
        let mut events = [event(Side::Source, "STOP", 1000), event(Side::Destination, "RESUME", 4500)];
        events[1].qemu_us = Some(17);
        assert_eq!(measure(&events, Clocks::Separate, None).views.events_us, Some(3500));
        assert_eq!(measure(&events, Clocks::Shared, None).views.events_us, None);
    }

    #[test]
    fn what_was_not_seen_is_nothing_and_not_zero() {
        let downtime = measure(&[event(Side::Source, "STOP", 1)], Clocks::Shared, None);
        assert_eq!((downtime.best, downtime.views), (None, Views::default()));
        assert_eq!(times(&[], 0, false), TimeUs::default());
    }
}

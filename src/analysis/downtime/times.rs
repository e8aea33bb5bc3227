//! How long each part of a migration took, by the arrival of events on our clock.

use super::switchover_events;
use base::Side;
use record::{EventRecord, TimeUs};

/// From `migrate` at `started_ns` on. When it ended, if it did not complete, no event says.
#[must_use]
pub fn times(events: &[EventRecord], started_ns: u64, postcopy_happened: bool) -> TimeUs {
    let status = |side: Side, status: &str| {
        let is = |e: &&EventRecord| {
            e.side == side && e.status() == Some(status) && e.mono_ns >= started_ns
        };
        events.iter().find(is).map(|e| e.mono_ns)
    };
    let between = |from: Option<u64>, to: Option<u64>| Some(to?.checked_sub(from?)? / 1000);
    let active = status(Side::Source, "active");
    let (stop, resume) =
        switchover_events(events).map_or((None, None), |(s, r)| (Some(s.mono_ns), Some(r.mono_ns)));
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
        ended: None,
    }
}

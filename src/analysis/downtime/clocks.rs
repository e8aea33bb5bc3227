//! From QEMU's timestamps to one clock: ours, monotonic.
//!
//! Takes recorded events; gives when they happened on our monotonic clock, how far off that may be,
//! and whether the wall clock was stepped. QEMU stamps with CLOCK_REALTIME of its host
//! (qapi/qmp-event.c), which may be stepped and which differs between hosts; we read our wall clock
//! and our monotonic clock together with each arrival, so one can be told in terms of the other.

use base::Side;
use record::EventRecord;

/// Our two clocks, read together, drift apart by less than this: NTP slews by 500 ppm at most, and
/// a read may be interrupted.
const SLEW_PPM: u64 = 500;
const READ_NOISE_NS: u64 = 1_000_000;

/// How far a host's wall clock is ahead of ours, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// The estimate.
    pub ns: i64,
    /// It is off by this much at most.
    pub error_ns: u64,
}

/// Whose clock the events' timestamps are by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// One host, and it is ours.
    Shared,
    /// Perhaps other hosts: their offsets have to be estimated.
    Separate,
}

/// Estimates a host's offset from what we know of each event: it was stamped before it arrived
/// here, and after `caused` had been sent where that brought it about. The tightest of both bounds
/// is the round trip that took least; the truth lies between them.
///
/// `caused` is when we sent the command (our wall clock, ns) that set off the first MIGRATION
/// `setup` of this side.
#[must_use]
pub fn estimate(side: Side, events: &[EventRecord], caused_wall_ns: Option<u64>) -> Option<Offset> {
    let own = || events.iter().filter(|event| event.side == side);
    let stamp_ns =
        |event: &EventRecord| Some(i64::try_from(event.qemu_us?).ok()?.saturating_mul(1000));
    let arrived = |event: &EventRecord| i64::try_from(event.wall_ns).ok();
    let low = own().filter_map(|event| Some(stamp_ns(event)? - arrived(event)?)).max()?;
    let setup = own().find(|event| event.status() == Some("setup"))?;
    let high = stamp_ns(setup)? - i64::try_from(caused_wall_ns?).ok()?;
    // Bounds that cross mean that a clock was stepped between them.
    let width = u64::try_from(high.checked_sub(low)?).ok()?;
    Some(Offset { ns: low + i64::try_from(width / 2).ok()?, error_ns: width.div_ceil(2) })
}

/// When it happened on our monotonic clock, ns.
#[must_use]
pub(super) fn on_our_clock(event: &EventRecord, offset: Offset) -> Option<i64> {
    wall_on_our_clock(event.qemu_us?, event, offset)
}

/// A wall time of the same host, µs, by the two clocks as they were read when `near` arrived.
#[must_use]
pub(super) fn wall_on_our_clock(wall_us: u64, near: &EventRecord, offset: Offset) -> Option<i64> {
    let stamp_ns = i64::try_from(wall_us).ok()?.checked_mul(1000)?.checked_sub(offset.ns)?;
    let ahead_ns =
        i64::try_from(near.wall_ns).ok()?.checked_sub(i64::try_from(near.mono_ns).ok()?)?;
    stamp_ns.checked_sub(ahead_ns)
}

/// By how much our wall clock was stepped between the first and the last of `events`, ns: against
/// the monotonic clock, more than slewing explains.
#[must_use]
pub(super) fn step(events: &[&EventRecord]) -> Option<i64> {
    let ahead = |event: &EventRecord| {
        Some(i64::try_from(event.wall_ns).ok()? - i64::try_from(event.mono_ns).ok()?)
    };
    let mut steps = events.windows(2).filter_map(|pair| {
        let [earlier, later] = pair else { return None };
        let moved = ahead(later)? - ahead(earlier)?;
        let slewed = later.mono_ns.saturating_sub(earlier.mono_ns) / 1_000_000 * SLEW_PPM;
        (moved.unsigned_abs() > slewed + READ_NOISE_NS).then_some(moved)
    });
    let first = steps.next()?;
    Some(first + steps.sum::<i64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(name: &str, stamped_us: u64, mono_ms: u64, wall_ms: u64) -> EventRecord {
        EventRecord {
            migration: 1,
            side: Side::Source,
            event: name.into(),
            data: json!({"status": "setup"}),
            qemu_us: Some(stamped_us),
            mono_ns: mono_ms * 1_000_000,
            wall_ns: wall_ms * 1_000_000,
        }
    }

    #[test]
    fn a_host_that_is_7_s_ahead_is_found_so_within_the_round_trip() {
        // Sent at 1000.000 s, stamped 0.4 ms later by a clock 7 s ahead, here 1 ms after it was
        // sent.
        let mut setup = event("MIGRATION", 1_007_000_400, 5, 1_000_001);
        let offset =
            estimate(Side::Source, std::slice::from_ref(&setup), Some(1_000_000_000_000)).unwrap();
        assert_eq!(offset, Offset { ns: 6_999_900_000, error_ns: 500_000 });
        // Another that came faster makes it sharper.
        let quick = event("STOP", 1_008_000_900, 1005, 1_001_001);
        let offset =
            estimate(Side::Source, &[setup.clone(), quick], Some(1_000_000_000_000)).unwrap();
        assert_eq!(offset.error_ns, 250_000);
        assert!((7_000_000_000 - offset.ns).unsigned_abs() <= offset.error_ns, "{offset:?}");
        setup.qemu_us = None;
        assert_eq!(estimate(Side::Source, &[setup], Some(1)), None);
    }

    #[test]
    fn bounds_that_cross_give_no_offset() {
        let setup = event("MIGRATION", 1_000_000_400, 5, 1_000_001);
        let stepped = event("STOP", 1_500_000_000, 6, 1_000_002);
        assert_eq!(estimate(Side::Source, &[setup, stepped], Some(1_000_000_000_000)), None);
    }

    #[test]
    fn an_hour_forth_and_back_is_a_step_and_slewing_is_none() {
        let (a, slewed) = (event("A", 0, 0, 1_000_000), event("B", 0, 10_000, 1_010_004));
        assert_eq!(step(&[&a, &slewed]), None);
        let later = event("C", 0, 11_000, 1_011_004 + 3_600_000);
        assert_eq!(step(&[&a, &slewed, &later]), Some(3_600_000_000_000));
        assert_eq!(step(&[&a]), None);
    }
}

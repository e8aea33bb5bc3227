//! Where a blackout went, by the traces of both sides.
//!
//! The blackout of this view is from `src-downtime-start` (just before vm_stop_force_state in
//! migration_stop_vm) to `dst-precopy-bh-vm-started` or `dst-postcopy-bh-vm-started` (just after
//! vm_start). Every µs of it goes to exactly one part, the first of these that it belongs to:
//!
//! 1. `stop`: up to `src-vm-stopped`: vCPUs, notifiers, draining and flushing of disks.
//! 2. `ram`: in a save of iterable state.
//! 3. `devices`: in a save of a device.
//! 4. `load`: in a load of a device on the destination; a device that waits for its data counts as
//!    loading. Not so RAM: after the source has saved all, loading it is mostly waiting (41 ms of
//!    it where Nagle's algorithm held back the last bytes), so that is `network`.
//! 5. `start`: from `dst-precopy-loadvm-completed` (which is traced in post-copy too) on.
//! 6. `network`: from `src-non-iterable-saved` to `dst-precopy-loadvm-completed`: on its way, in a
//!    socket's buffer, or waiting for the destination's main loop. In post-copy also what the
//!    destination does between the package and the first device in it
//!    (loadvm_postcopy_handle_listen: userfaultfd, threads; none of it is traced here): on one host
//!    that is most of it.
//! 7. `other`: the rest, such as the last look at the dirty bitmap, post-copy's discard bitmap, a
//!    wait at pre-switchover, saves by multifd's threads (VFIO).
//!
//! Where a checkpoint that divides these is not there (a trace cut short, a garbled line) only the
//! length is known and no part: without it, time would go to the wrong one.

use super::trace::{DeviceRecord, TraceLog};
use base::Side;
use record::{Breakdown, DeviceTime};

/// A blackout by traces, on the source's wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceBlackout {
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    /// `None` where a checkpoint is missing that divides it.
    pub(super) breakdown: Option<Breakdown>,
    pub(super) devices: Vec<DeviceTime>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TraceMissing {
    #[error("{0}: no vmstate_downtime_checkpoint was traced: QEMU has these since 8.2")]
    None(Side),
    #[error("{0}: the traces have no times: start QEMU with -msg timestamp=on")]
    Untimed(Side),
    #[error("the {side}'s trace has no {what}")]
    Cut { side: Side, what: &'static str },
    #[error(
        "the destination's VM started before the source's stopped: the traces are of different migrations, or a clock was stepped"
    )]
    Backwards,
}

/// `offset_us`: what has to be added to the destination's times to have them on the source's clock.
pub(super) fn blackout(
    source: &TraceLog,
    destination: &TraceLog,
    offset_us: i64,
) -> Result<TraceBlackout, TraceMissing> {
    for (side, log) in [(Side::Source, source), (Side::Destination, destination)] {
        if log.checkpoints.is_empty() {
            return Err(if log.without_time > 0 {
                TraceMissing::Untimed(side)
            } else {
                TraceMissing::None(side)
            });
        }
    }
    let moved = |us: u64| us.saturating_add_signed(offset_us);
    let window = Window::find(source, destination, &moved)?;
    let edges = Edges::find(source, destination, &moved, &window)?;
    let mut intervals = Vec::new();
    let mut devices = Vec::new();
    for (device, to_us) in
        source.devices.iter().filter(|device| device.saved).map(|device| (device, device.wall_us))
    {
        if window.has(to_us) {
            let part = if device.iterable { Part::Ram } else { Part::Devices };
            intervals.push(Interval { part, from_us: to_us.saturating_sub(device.us), to_us });
            devices.extend(cost(Side::Source, device));
        }
    }
    for (device, to_us) in destination
        .devices
        .iter()
        .filter(|device| !device.saved)
        .map(|device| (device, moved(device.wall_us)))
    {
        if window.has(to_us) {
            let load =
                Interval { part: Part::Load, from_us: to_us.saturating_sub(device.us), to_us };
            intervals.extend(Some(load).filter(|_| !device.iterable));
            devices.extend(cost(Side::Destination, device));
        }
    }
    devices.sort_by_key(|device| std::cmp::Reverse(device.us));
    let breakdown = edges.map(|edges| {
        intervals.extend(edges.intervals(&window));
        share_out(&window, &intervals)
    });
    Ok(TraceBlackout { start_us: window.start_us, end_us: window.end_us, breakdown, devices })
}

/// When the checkpoints of this name were passed.
fn times<'a>(
    log: &'a TraceLog,
    is: impl Fn(&str) -> bool + 'a,
) -> impl DoubleEndedIterator<Item = u64> + 'a {
    log.checkpoints.iter().filter(move |point| is(&point.name)).map(|point| point.wall_us)
}

/// The checkpoints that divide a blackout.
struct Edges {
    stopped_us: u64,
    saved_us: u64,
    loaded_us: u64,
}

impl Edges {
    /// `None` where one is missing.
    fn find(
        source: &TraceLog,
        destination: &TraceLog,
        moved: &dyn Fn(u64) -> u64,
        window: &Window,
    ) -> Result<Option<Edges>, TraceMissing> {
        let mut stopped =
            times(source, |name| name == "src-vm-stopped").filter(|at| window.has(*at));
        let stopped_us = stopped.next();
        if stopped.next().is_some() {
            // Two attempts and one start: the start of the second is lost, and the first one's is
            // not this blackout's.
            return Err(TraceMissing::Cut { side: Side::Source, what: "src-downtime-start" });
        }
        let saved_us = times(source, |name| name == "src-non-iterable-saved")
            .find(|at| *at >= window.start_us);
        let mut loaded =
            times(destination, |name| name == "dst-precopy-loadvm-completed").map(moved);
        let loaded_us = loaded.rfind(|at| *at <= window.end_us);
        // Whatever the clocks say, nothing is loaded before it was saved; an error of the offset
        // that is smaller is let pass.
        if saved_us.is_some_and(|at| at > window.end_us)
            || loaded_us.is_some_and(|at| at < window.start_us)
        {
            return Err(TraceMissing::Backwards);
        }
        let (Some(stopped_us), Some(saved_us), Some(loaded_us)) = (stopped_us, saved_us, loaded_us)
        else {
            return Ok(None);
        };
        Ok(Some(Edges { stopped_us, saved_us, loaded_us }))
    }

    fn intervals(&self, window: &Window) -> [Interval; 3] {
        let of = |part, from_us, to_us| Interval { part, from_us, to_us };
        [
            of(Part::Stop, window.start_us, self.stopped_us),
            of(Part::Start, self.loaded_us, window.end_us),
            of(Part::Network, self.saved_us, self.loaded_us),
        ]
    }
}

fn cost(side: Side, device: &DeviceRecord) -> Option<DeviceTime> {
    let time = DeviceTime {
        side,
        device: device.device.clone(),
        instance: device.instance,
        us: device.us,
    };
    (device.us > 0).then_some(time)
}

struct Window {
    start_us: u64,
    end_us: u64,
}

impl Window {
    fn find(
        source: &TraceLog,
        destination: &TraceLog,
        moved: &dyn Fn(u64) -> u64,
    ) -> Result<Window, TraceMissing> {
        let cut = |side, what| TraceMissing::Cut { side, what };
        // A QEMU is a destination once, and may be a source many times: those that were given up
        // have no end.
        let mut ends =
            times(destination, |name| name.starts_with("dst-") && name.ends_with("bh-vm-started"));
        let end_us = ends.next().map(moved).ok_or(cut(Side::Destination, "dst-*-bh-vm-started"))?;
        let mut starts = times(source, |name| name == "src-downtime-start").peekable();
        starts.peek().ok_or(cut(Side::Source, "src-downtime-start"))?;
        let start_us = starts.rfind(|start| *start <= end_us).ok_or(TraceMissing::Backwards)?;
        Ok(Window { start_us, end_us })
    }

    fn has(&self, at_us: u64) -> bool {
        (self.start_us..=self.end_us).contains(&at_us)
    }
}

/// In the order in which they have a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Stop,
    Ram,
    Devices,
    Load,
    Start,
    Network,
}

struct Interval {
    part: Part,
    from_us: u64,
    to_us: u64,
}

/// Gives each µs of the window to the first part that has a claim to it.
fn share_out(window: &Window, intervals: &[Interval]) -> Breakdown {
    let inside = |at: u64| at.clamp(window.start_us, window.end_us);
    let mut cuts: Vec<u64> = intervals
        .iter()
        .flat_map(|interval| [inside(interval.from_us), inside(interval.to_us)])
        .collect();
    cuts.extend([window.start_us, window.end_us]);
    cuts.sort_unstable();
    cuts.dedup();
    let mut shares = Breakdown::default();
    for cut in cuts.windows(2) {
        let [from_us, to_us] = *cut else { continue };
        let claims = intervals
            .iter()
            .filter(|interval| interval.from_us <= from_us && to_us <= interval.to_us);
        let share = match claims.map(|interval| interval.part).min() {
            Some(Part::Stop) => &mut shares.stop,
            Some(Part::Ram) => &mut shares.ram,
            Some(Part::Devices) => &mut shares.devices,
            Some(Part::Load) => &mut shares.load,
            Some(Part::Start) => &mut shares.start,
            Some(Part::Network) => &mut shares.network,
            None => &mut shares.other,
        };
        *share += to_us - from_us;
    }
    shares
}

#[cfg(test)]
#[path = "breakdown_tests.rs"]
mod tests;

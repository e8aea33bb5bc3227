//! Each view of one blackout: its length, where it starts and ends, how far off it may be.

use super::breakdown::{self, TraceBlackout};
use super::clocks::{self, Offset};
use super::trace::TraceLog;
use super::{heartbeat, span, switchover_events};
use record::{Beat, Breakdown, DeviceTime, EventRecord, Span};

/// Without traces nobody saw how long before STOP the vCPUs stopped and how long after RESUME they
/// started. With the lab's devices on a busy machine it was less than this in 95 of 100
/// (benches/README.md, `accuracy`: 3.5 ms in the worst cell); a VM with vhost or VFIO devices needs
/// traces.
const UNSEEN_WITHOUT_TRACE_US: u64 = 4000;
/// A stamp may seem to come this long after its arrival, when our two clocks were read apart.
const FUTURE_NS: i64 = 1_000_000;

/// Everything that is known of one migration's blackout.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Its events.
    pub events: &'a [EventRecord],
    /// When `migrate` was sent, ns.
    pub started_ns: u64,
    /// How far the clocks of source and destination are ahead of ours; `None` where that is not
    /// known.
    pub offsets: Option<[Offset; 2]>,
    /// QEMU's own figure, as first seen.
    pub reported_ms: Option<u64>,
    /// Whether the source waited for the destination's word.
    pub return_path: bool,
    /// Whether post-copy happened.
    pub postcopy: bool,
    /// The guest's beats around the switchover.
    pub beats: Option<Beats<'a>>,
    /// QEMU's traces, source and destination, or why there are none.
    pub traces: Result<[&'a TraceLog; 2], &'a str>,
}

/// Beats around a switchover.
#[derive(Clone, Copy, Debug)]
pub struct Beats<'a> {
    /// Of the source's VM, the last ones last.
    pub source: &'a [Beat],
    /// Of the destination's.
    pub destination: &'a [Beat],
    /// Time between beats, µs.
    pub period_us: u64,
    /// The guest's clock stands still in the blackout.
    pub stands_still: bool,
}

/// One view.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) us: u64,
    pub(super) span: Span,
}

/// The view `trace`, and what else the traces tell.
pub(super) struct TraceView {
    pub(super) view: View,
    pub(super) breakdown: Option<Breakdown>,
    pub(super) devices: Vec<DeviceTime>,
}

impl Evidence<'_> {
    pub(super) fn guest_clock_stands_still(&self) -> bool {
        self.beats.is_some_and(|beats| beats.stands_still)
    }

    /// QEMU's `downtime`, ms, cut off at both ends.
    pub(super) fn reported(&self) -> Option<View> {
        let us = self.reported_ms?.saturating_mul(1000);
        let (to, note) = match (self.postcopy, self.return_path) {
            (true, _) => (
                "the device package handed to the socket",
                "leaves out its way, loading, and starting the destination",
            ),
            (false, true) => (
                "the destination's last word has come",
                "takes in the destination's clean-up and the way back",
            ),
            (false, false) => (
                "the last byte handed to the socket",
                "leaves out its way, loading, and starting the destination",
            ),
        };
        let mut span = span("before the vCPUs are stopped", to, None, self.started_ns, None);
        span.note = Some(note.to_owned());
        Some(View { us, span })
    }

    /// STOP → RESUME.
    pub(super) fn events_view(
        &self,
        trace: Option<&View>,
        findings: &mut Vec<String>,
    ) -> Option<View> {
        let (stop, resume) = switchover_events(self.events)?;
        let (from, to) = ("STOP on the source", "RESUME on the destination");
        let stamped = self.offsets.and_then(|[source, destination]| {
            let between = (trusted(stop, source)?, trusted(resume, destination)?);
            Some((between, (source.error_ns + destination.error_ns) / 1000))
        });
        let Some((between, error_us)) = stamped else {
            let between = (i64::try_from(stop.mono_ns).ok()?, i64::try_from(resume.mono_ns).ok()?);
            let us = micros(between)?;
            let mut span = span(from, to, Some(between), self.started_ns, None);
            span.note = Some(
                "by their arrival here: takes in the difference of their ways to us".to_owned(),
            );
            return Some(View { us, span });
        };
        let Some(us) = micros(between) else {
            findings.push("RESUME on the destination is stamped before STOP on the source: the clocks do not agree".to_owned());
            return None;
        };
        let unseen_us =
            trace.map_or(UNSEEN_WITHOUT_TRACE_US, |trace| trace.us.saturating_sub(us).max(2));
        let mut span = span(from, to, Some(between), self.started_ns, Some(unseen_us + error_us));
        span.note = Some("leaves out stopping before STOP and starting after RESUME".to_owned());
        Some(View { us, span })
    }

    /// `src-downtime-start` → `dst-*-bh-vm-started`.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn trace(&self, findings: &mut Vec<String>) -> Result<TraceView, String> {
        let [source_log, destination_log] = self.traces.map_err(str::to_owned)?;
        let [source, destination] =
            self.offsets.ok_or("the difference of the hosts' clocks is not known")?;
        let offset_us = (source.ns - destination.ns) / 1000;
        let TraceBlackout { start_us, end_us, breakdown, devices } =
            breakdown::blackout(source_log, destination_log, offset_us)
                .map_err(|missing| missing.to_string())?;
        let (stop, resume) =
            switchover_events(self.events).ok_or("no STOP and RESUME to place the traces by")?;
        let during: Vec<&EventRecord> = self
            .events
            .iter()
            .filter(|event| event.mono_ns >= stop.mono_ns.min(resume.mono_ns))
            .collect();
        if let Some(step) = clocks::step(&during) {
            findings.push(format!(
                "the wall clock was stepped by {} ms during the migration: the traces are not used",
                step / 1_000_000
            ));
            return Err("the wall clock was stepped".to_owned());
        }
        let us = end_us.checked_sub(start_us).ok_or("the traces end before they begin")?;
        let error_us = (source.error_ns + destination.error_ns) / 1000;
        let start_ns = clocks::wall_on_our_clock(start_us, stop, source);
        let between = start_ns.and_then(|start| {
            Some((start, start.checked_add(i64::try_from(us).ok()?.checked_mul(1000)?)?))
        });
        // The vCPUs stopped somewhere between the start of this view and STOP, and started between
        // RESUME and its end.
        let inside = trusted(stop, source).zip(trusted(resume, destination)).and_then(micros);
        let unseen_us = inside.map(|inside| us.saturating_sub(inside).max(2) + error_us);
        let mut span =
            span("src-downtime-start", "dst-*-bh-vm-started", between, self.started_ns, unseen_us);
        span.note = Some("takes in stopping and starting".to_owned());
        Ok(TraceView { view: View { us, span }, breakdown, devices })
    }

    /// The gap in the beats, less what the guest ran of it.
    pub(super) fn heartbeat(&self, findings: &mut Vec<String>) -> Option<View> {
        let beats = self.beats.filter(|beats| beats.period_us > 0)?;
        let seen = heartbeat::blackout(
            beats.source,
            beats.destination,
            beats.period_us,
            beats.stands_still,
        )?;
        if seen.lost + seen.duplicated > 0 {
            findings.push(format!(
                "of the beats next to the blackout, {} were lost and {} came twice",
                seen.lost, seen.duplicated
            ));
        }
        if seen.impossible {
            findings
                .push("the guest says that it ran for longer than its beats were apart: the heartbeat is not used".to_owned());
            return None;
        }
        let between = i64::try_from(seen.from_ns).ok().zip(i64::try_from(seen.to_ns).ok());
        let mut span = span(
            "the last beat on the source",
            "the first beat on the destination",
            between,
            self.started_ns,
            Some(seen.uncertainty_us),
        );
        span.note = Some(if beats.stands_still {
            format!(
                "a gap of {} µs, less what the guest ran of it by its own clock, which stands still in the blackout",
                seen.gap_us
            )
        } else {
            format!("a gap of {} µs, less half a period", seen.gap_us)
        });
        Some(View { us: seen.us, span })
    }
}

/// When it happened on our clock, unless its stamp lies after its arrival: then a clock was stepped
/// in between.
fn trusted(event: &EventRecord, offset: Offset) -> Option<i64> {
    let at = clocks::on_our_clock(event, offset)?;
    let latest = i64::try_from(event.mono_ns)
        .ok()?
        .checked_add(FUTURE_NS)?
        .checked_add(i64::try_from(offset.error_ns).ok()?)?;
    (at <= latest).then_some(at)
}

fn micros((from, to): (i64, i64)) -> Option<u64> {
    u64::try_from(to.checked_sub(from)?).ok().map(|ns| ns / 1000)
}

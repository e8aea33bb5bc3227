//! The blackout: no vCPU runs anywhere, from source vCPUs paused to destination vCPUs running.
//!
//! Takes what was recorded of one migration; gives four views of its blackout, which of them to
//! believe, and where the time went. Knows nothing of how the migration was run, and reads no
//! clock.
//!
//! **Which view is `best`**, the first of these that there is:
//! 1. `heartbeat`, where the guest's clock stands still in the blackout (a lab under TCG): seen
//!    from outside QEMU, and neither what ran before STOP nor what ran after RESUME is counted.
//! 2. `trace`: from just before the vCPUs are stopped to just after they were started; a little too
//!    long, never too short.
//! 3. `events`: from just after the vCPUs have stopped to just before they start; a little too
//!    short.
//! 4. `heartbeat` under another accelerator: known to half a period.
//! 5. `reported`: without a return path, and always in post-copy, QEMU stops its clock when the
//!    data has been handed to the socket (in the worst case measured, 1 ms was reported and 89.8 ms
//!    were real), and a 0 is later overwritten (docs/qemu-notes.md, "What QEMU reports as
//!    downtime").
//!
//! Views that differ by more than both their uncertainties are a finding, and are said.
//!
//! Map: here the rule · `views` each view · `clocks` one clock for all · `heartbeat` beats to a
//! blackout · `trace` QEMU's trace file · `breakdown` where the time went · `faults` latencies of
//! post-copy faults · `distribution` of many blackouts · `ranks` of quantiles · `times` the parts
//! of a migration.

mod breakdown;
pub mod brownout;
mod clocks;
mod distribution;
pub mod faults;
mod heartbeat;
mod ranks;
mod times;
pub mod trace;
mod views;

pub use clocks::{Clocks, Offset, estimate};
pub use distribution::{distribution, histogram_of};
pub use heartbeat::{HeartbeatBlackout, blackout as heartbeat_blackout};
pub use ranks::{quantile_ranks, rank_interval};
pub use times::times;
pub use views::{Beats, Evidence};

use base::Side;
use record::{Best, Downtime, EventRecord, Span, Spans, ViewKind, Views};
use views::View;

/// STOP on the source and RESUME on the destination, if both were seen.
fn switchover_events(events: &[EventRecord]) -> Option<(&EventRecord, &EventRecord)> {
    let resume = events.iter().find(|e| e.side == Side::Destination && e.event == "RESUME")?;
    // The last STOP: an earlier one was somebody's `stop` and `cont`. Not "the last that arrived
    // before RESUME": over TCP it can arrive 40 ms late, and so after it (QEMU's Nagle waits for
    // our delayed ACK).
    let stop = events.iter().rfind(|e| e.side == Side::Source && e.event == "STOP")?;
    Some((stop, resume))
}

/// The blackout in the views that there are.
#[must_use]
pub fn measure(evidence: &Evidence<'_>) -> Downtime {
    let mut findings = Vec::new();
    let (trace, trace_missing) = match evidence.trace(&mut findings) {
        Ok(trace) => (Some(trace), None),
        Err(missing) => (None, Some(missing)),
    };
    let events = evidence.events_view(trace.as_ref().map(|trace| &trace.view), &mut findings);
    let heartbeat = evidence.heartbeat(&mut findings);
    let reported = evidence.reported();
    let trace_view = trace.as_ref().map(|trace| trace.view.clone());
    findings.extend(disagreements(&[
        (ViewKind::Heartbeat, &heartbeat),
        (ViewKind::Trace, &trace_view),
        (ViewKind::Events, &events),
    ]));
    let sure = heartbeat.as_ref().filter(|_| evidence.guest_clock_stands_still());
    let order = [
        (ViewKind::Heartbeat, sure),
        (ViewKind::Trace, trace_view.as_ref()),
        (ViewKind::Events, events.as_ref()),
        (ViewKind::Heartbeat, heartbeat.as_ref()),
        (ViewKind::Reported, reported.as_ref()),
    ];
    let best = order.iter().find_map(|(kind, view)| {
        let view = (*view)?;
        Some(Best { view: *kind, us: view.us, uncertainty_us: view.span.uncertainty_us })
    });
    let us = |view: &Option<View>| view.as_ref().map(|view| view.us);
    let views = Views {
        reported_us: us(&reported),
        events_us: us(&events),
        trace_us: us(&trace_view),
        heartbeat_us: us(&heartbeat),
    };
    let span = |view: Option<View>| view.map(|view| view.span);
    let spans = Spans {
        reported: span(reported),
        events: span(events),
        trace: span(trace_view),
        heartbeat: span(heartbeat),
    };
    let (breakdown_us, devices) =
        trace.map_or((None, Vec::new()), |trace| (trace.breakdown, trace.devices));
    Downtime { best, views, spans, disagreements: findings, trace_missing, breakdown_us, devices }
}

/// Pairs that differ by more than they may, in sentences.
fn disagreements(views: &[(ViewKind, &Option<View>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, (kind, view)) in views.iter().enumerate() {
        for (other_kind, other) in &views[at + 1..] {
            let (Some(view), Some(other)) = (view, other) else { continue };
            let (Some(one), Some(two)) = (view.span.uncertainty_us, other.span.uncertainty_us)
            else {
                continue;
            };
            let (apart, allowed) = (view.us.abs_diff(other.us), one.saturating_add(two));
            if apart > allowed {
                found.push(format!(
                    "{} ({} µs) and {} ({} µs) differ by {apart} µs, more than their uncertainties \
                     allow ({allowed} µs)",
                    kind.name(),
                    view.us,
                    other_kind.name(),
                    other.us
                ));
            }
        }
    }
    found
}

/// Fills a span.
fn span(
    from: &str,
    to: &str,
    between: Option<(i64, i64)>,
    started_ns: u64,
    uncertainty_us: Option<u64>,
) -> Span {
    let since = |ns: i64| {
        i64::try_from(started_ns)
            .ok()
            .and_then(|started| ns.checked_sub(started))
            .map(|ns| ns / 1000)
    };
    let (from_us, to_us) = between.map_or((None, None), |(from, to)| (since(from), since(to)));
    Span { from: from.to_owned(), to: to.to_owned(), from_us, to_us, uncertainty_us, note: None }
}

#[cfg(test)]
mod tests;

//! `downtime` in run.json: one blackout in its views.

use base::Side;
use serde::{Deserialize, Serialize};

/// The blackout: no vCPU runs anywhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Downtime {
    /// The view to believe, by the rule in `downtime`.
    pub best: Option<Best>,
    /// All views.
    pub views: Views,
    /// Where each view starts and ends, and how far off it may be.
    pub spans: Spans,
    /// Views that differ by more than their uncertainties allow, in sentences.
    pub disagreements: Vec<String>,
    /// Why there is no view `trace`, where there is none.
    pub trace_missing: Option<String>,
    /// Where the time went, of the view `trace`; `null` without traces (QEMU before 8.2 has none of
    /// these).
    pub breakdown_us: Option<Breakdown>,
    /// What each device cost, the dearest first.
    pub devices: Vec<DeviceTime>,
}

/// A way to measure a blackout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViewKind {
    /// QEMU's own figure, in whole milliseconds.
    Reported,
    /// From STOP on the source to RESUME on the destination.
    Events,
    /// From QEMU's trace points.
    Trace,
    /// From the gap in the guest's heartbeat.
    Heartbeat,
}

impl ViewKind {
    /// The view's name, as in run.json.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ViewKind::Reported => "reported",
            ViewKind::Events => "events",
            ViewKind::Trace => "trace",
            ViewKind::Heartbeat => "heartbeat",
        }
    }
}

/// The most reliable view of a blackout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Best {
    /// Which view it is.
    pub view: ViewKind,
    /// The blackout by this view, µs.
    pub us: u64,
    /// The uncertainty of the figure, µs; `null` if it is not known.
    pub uncertainty_us: Option<u64>,
}

/// Ways to measure one blackout, µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Views {
    /// QEMU's own `downtime`, as first seen.
    pub reported_us: Option<u64>,
    /// STOP on the source → RESUME on the destination.
    pub events_us: Option<u64>,
    /// `src-downtime-start` → `dst-*-bh-vm-started`.
    pub trace_us: Option<u64>,
    /// The gap in the guest's beats, less what the guest ran of it.
    pub heartbeat_us: Option<u64>,
}

/// The spans of the views.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as the views are")]
pub struct Spans {
    pub reported: Option<Span>,
    pub events: Option<Span>,
    pub trace: Option<Span>,
    pub heartbeat: Option<Span>,
}

/// Where a view starts and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// What it starts with.
    pub from: String,
    /// What it ends with.
    pub to: String,
    /// When that was, µs since `migrate` was sent; `null` where only the length is known.
    pub from_us: Option<i64>,
    /// And when it ended.
    pub to_us: Option<i64>,
    /// How far off the length may be; `null` where nobody can say.
    pub uncertainty_us: Option<u64>,
    /// What it leaves out or takes in besides.
    pub note: Option<String>,
}

/// Where a blackout went, µs. The parts add up to the view `trace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Stopping the vCPUs, draining and flushing disks.
    pub stop: u64,
    /// Saving what remained of RAM (and other iterable state).
    pub ram: u64,
    /// Saving devices.
    pub devices: u64,
    /// On the way: saved by the source, not yet in the hands of the destination.
    pub network: u64,
    /// Loading devices on the destination.
    pub load: u64,
    /// Starting the VM there.
    pub start: u64,
    /// What nobody accounts for.
    pub other: u64,
}

/// What one device cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceTime {
    /// Saved by the source, or loaded by the destination.
    pub side: Side,
    /// QEMU's name of its state (`idstr`).
    pub device: String,
    /// Which of several.
    pub instance: u32,
    /// How long, µs.
    pub us: u64,
}

//! The run directory: its writer and its reader. The hub of the house.
//!
//! Takes records from whoever learnt something ([`Sink`]); gives files while the run goes on (a run
//! that is cut off can be read up to its last second), and when it is whole: Parquet and
//! `run.json`. Everything after this room reads runs only through [`Run`]. Knows nothing of how a
//! run was produced.
//!
//! Map: here the names · `sink` where records go in · `writer` the thread that writes · `samples`
//! the stream of samples and its Parquet form · `convergence_sample` what of them tells of
//! convergence · `guarded` damaged Parquet · `host` what else the machine did · `reader` a run as
//! it lies on disk · `summary` run.json · `blackout` its `downtime` · `application` its
//! `guest.application`.

mod application;
mod blackout;
mod brownout;
mod convergence;
#[cfg(feature = "parquet")]
mod convergence_parquet;
mod convergence_sample;
#[cfg(feature = "parquet")]
pub mod guarded;
mod host;
mod link;
mod reader;
mod repeat;
mod samples;
#[cfg(feature = "parquet")]
mod samples_parquet;
mod series;
mod sink;
mod summary;
mod switchover;
#[doc(hidden)]
pub mod testing;
mod writer;

pub use application::Application;
pub use blackout::{Best, Breakdown, DeviceTime, Downtime, Span, Spans, ViewKind, Views};
pub use brownout::{Brownout, Phases, WriteRate};
pub use convergence::Convergence;
pub use convergence_sample::ConvergenceSample;
pub use host::Host;
pub use link::LinkView;
pub use reader::{AnsweredRecord, BeatRecord, EventRecord, FlowRecord, Run, TranscriptRecord};
pub use repeat::Repeat;
pub use samples::{SampleRow, append_line};
pub use series::{Distribution, Quantile};
pub use sink::{Answered, Beat, Entry, Flow, Sink};
pub use summary::{
    Check, Environment, Faults, Guest, Integrity, Outcome, Policy, REQUESTED_ACCELERATOR, Recovery,
    SCHEMA, SampledSide, Sampling, Stalls, Summary, TimeUs, Transfer,
};
pub use switchover::Switchover;
pub use writer::{ClosedRun, RunDir, write_summary};

use std::path::PathBuf;

/// `run.json`.
pub const RUN_JSON: &str = "run.json";
/// The scenario as resolved.
pub const SCENARIO: &str = "scenario.toml";
/// Samples while the run goes on.
pub const SAMPLES_STREAM: &str = "samples.jsonl.zst";
/// Samples of a whole run.
pub const SAMPLES: &str = "samples.parquet";
/// QMP events, and lines that QEMU sent and we did not understand.
pub const EVENTS: &str = "events.jsonl";
/// What was decided, and why.
pub const DECISIONS: &str = "decisions.jsonl";
/// Every beat of the guest: `[vm, sequence number, arrival on the monotonic clock in ns, lateness
/// by the guest's clock in µs]`.
pub const HEARTBEATS: &str = "heartbeats.jsonl.zst";
/// An application's answers: `[vm, how many, arrival on the monotonic clock in ns]`.
pub const ANSWERS: &str = "answers.jsonl.zst";
/// What passed over the link in each 10 ms: `[migration, channel, direction (0 to the destination),
/// beginning in ns, bytes, bytes held]`.
pub const LINK: &str = "link.jsonl.zst";
/// What was measured of each migration.
pub const SWITCHOVERS: &str = "switchovers.jsonl";
/// Blackouts as an HdrHistogram interval log, tagged by view.
pub const HISTOGRAMS: &str = "histograms.hlog";
/// Every QMP line.
pub const TRANSCRIPT: &str = "transcript.jsonl.zst";

/// The name of a VM in file names: the first two are `source` and `destination`, the rest of a
/// series has numbers.
#[must_use]
pub fn vm_name(vm: u32) -> String {
    match vm {
        0 => "source".to_owned(),
        1 => "destination".to_owned(),
        more => format!("{more:04}"),
    }
}

/// What can go wrong with a run directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It cannot be made.
    #[error("cannot create the run directory {path}; name another place with --out DIR")]
    Create {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file in it cannot be written.
    #[error("cannot write {path}; the migration itself is not affected")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file in it cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What a file holds is not what it should be.
    #[error("{path} cannot be understood: {detail}")]
    Content {
        /// Which.
        path: PathBuf,
        /// The rule that the content breaks, with the value that was found.
        detail: String,
    },
}

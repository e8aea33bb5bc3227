//! The run directory: its writer and its reader. The hub of the house.
//!
//! Takes records from whoever learnt something ([`Sink`]); gives files while the run goes on (a run that is cut off can be
//! read up to its last second), and when it is whole: Parquet and `run.json`. Everything after this room reads runs only
//! through [`Run`]. Knows nothing of how a run was produced.
//!
//! Map: here the names · `sink` where records go in · `writer` the thread that writes · `samples` the stream of samples and
//! its Parquet form · `reader` a run as it lies on disk · `summary` run.json · `blackout` its `downtime`.

mod blackout;
mod reader;
mod samples;
mod sink;
mod summary;
mod writer;

pub use blackout::{Best, Breakdown, DeviceTime, Downtime, Span, Spans, Views};
pub use reader::{EventRecord, Run};
pub use samples::{SampleRow, append_line};
pub use sink::{Beat, Entry, Sink};
pub use summary::{
    Check, Convergence, Environment, Faults, Guest, Integrity, Outcome, Policy, SCHEMA, SampledSide, Sampling, Stalls, Summary,
    TimeUs, Transfer,
};
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
/// Every beat of the guest: `[side, sequence number, arrival on the monotonic clock in ns]`.
pub const HEARTBEATS: &str = "heartbeats.jsonl.zst";
/// Every QMP line.
pub const TRANSCRIPT: &str = "transcript.jsonl.zst";

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
        /// What is wrong.
        detail: String,
    },
}

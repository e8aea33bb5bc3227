//! A run as it lies on disk, whole or cut off.

use super::{
    ANSWERS, Answered, Beat, DECISIONS, EVENTS, Flow, Glance, HEARTBEATS, LINK, RUN_JSON, RecordError, SAMPLES, SAMPLES_STREAM,
    SWITCHOVERS, SampleRow, Summary, Switchover, glance, samples, vm_name,
};
use crate::plan::Side;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// An event as recorded.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EventRecord {
    /// Which migration of the run, from 1.
    #[serde(default = "one")]
    pub migration: u32,
    /// Whose.
    pub side: Side,
    /// QAPI's name.
    pub event: String,
    /// Its data.
    #[serde(default)]
    pub data: Value,
    /// QEMU's timestamp, µs since 1970.
    pub qemu_us: Option<u64>,
    /// Arrival on our monotonic clock, ns.
    pub mono_ns: u64,
    /// Arrival on our wall clock, ns since 1970.
    #[serde(default)]
    pub wall_ns: u64,
}

fn one() -> u32 {
    1
}

/// A beat as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "(u32, u8, u64, u32)")]
pub struct BeatRecord {
    /// Of which VM, from 0.
    pub vm: u32,
    /// What was seen.
    pub beat: Beat,
}

impl From<(u32, u8, u64, u32)> for BeatRecord {
    fn from((vm, sequence, arrived_ns, late_us): (u32, u8, u64, u32)) -> BeatRecord {
        BeatRecord { vm, beat: Beat { sequence, arrived_ns, late_us } }
    }
}

impl EventRecord {
    /// The `status` of a MIGRATION event.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        (self.event == "MIGRATION").then(|| self.data.get("status")?.as_str()).flatten()
    }

    /// The `pass` of a MIGRATION_PASS event.
    #[must_use]
    pub fn pass(&self) -> Option<u64> {
        (self.event == "MIGRATION_PASS").then(|| self.data.get("pass")?.as_u64()).flatten()
    }
}

/// Answers of an application as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnsweredRecord {
    /// In which VM, from 0.
    pub vm: u32,
    /// What was told.
    pub answered: Answered,
}

/// What passed over the link in 10 ms, of which migration of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// From 1.
    pub migration: u32,
    /// What.
    pub flow: Flow,
}

/// A run directory, for reading.
#[derive(Clone, Debug)]
pub struct Run {
    path: PathBuf,
}

impl Run {
    /// A run directory at `path`; nothing is read yet.
    #[must_use]
    pub fn open(path: &Path) -> Run {
        Run { path: path.to_owned() }
    }

    /// Whether it was finished: its summary is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.path.join(RUN_JSON).exists()
    }

    /// Its summary.
    ///
    /// # Errors
    /// [`RecordError::Read`] for a run that was cut off, [`RecordError::Content`].
    pub fn summary(&self) -> Result<Summary, RecordError> {
        let path = self.path.join(RUN_JSON);
        let text = std::fs::read_to_string(&path).map_err(|source| RecordError::Read { path: path.clone(), source })?;
        serde_json::from_str(&text).map_err(|error| RecordError::Content { path, detail: error.to_string() })
    }

    /// Its migrations, one or many.
    ///
    /// # Errors
    /// [`RecordError::Read`].
    pub fn switchovers(&self) -> Result<Vec<Switchover>, RecordError> {
        self.lines(SWITCHOVERS)
    }

    /// Its events, of both sides, in the order of arrival. A torn last line is passed over.
    ///
    /// # Errors
    /// [`RecordError::Read`].
    pub fn events(&self) -> Result<Vec<EventRecord>, RecordError> {
        let mut events: Vec<EventRecord> = self.lines(EVENTS)?;
        events.sort_by_key(|event| event.mono_ns);
        Ok(events)
    }

    /// Its decisions.
    ///
    /// # Errors
    /// [`RecordError::Read`].
    pub fn decisions(&self) -> Result<Vec<Value>, RecordError> {
        self.lines(DECISIONS)
    }

    /// Its heartbeats, in the order in which they arrived.
    ///
    /// # Errors
    /// [`RecordError::Read`].
    pub fn heartbeats(&self) -> Result<Vec<BeatRecord>, RecordError> {
        let path = self.path.join(HEARTBEATS);
        let failed = |source| RecordError::Read { path: path.clone(), source };
        let decoder = zstd::Decoder::new(File::open(&path).map_err(failed)?).map_err(failed)?;
        let mut beats: Vec<BeatRecord> = json_lines(BufReader::new(decoder));
        beats.sort_by_key(|record| record.beat.arrived_ns);
        Ok(beats)
    }

    /// What passed over the link, in the order of time; nothing where there was none.
    #[must_use]
    pub fn flows(&self) -> Vec<FlowRecord> {
        let decoder = File::open(self.path.join(LINK)).and_then(zstd::Decoder::new);
        let lines: Vec<(u32, u32, u8, u64, u64, u64)> = decoder.map(|d| json_lines(BufReader::new(d))).unwrap_or_default();
        let record = |(migration, channel, direction, at_ns, bytes, held)| FlowRecord {
            migration,
            flow: Flow { at_ns, channel, back: direction == 1, bytes, held },
        };
        let mut flows: Vec<FlowRecord> = lines.into_iter().map(record).collect();
        flows.sort_by_key(|record| record.flow.at_ns);
        flows
    }

    /// What an application answered, in the order of arrival; nothing where there was none.
    #[must_use]
    pub fn answers(&self) -> Vec<AnsweredRecord> {
        let decoder = File::open(self.path.join(ANSWERS)).and_then(zstd::Decoder::new);
        let lines: Vec<(u32, u8, u64)> = decoder.map(|d| json_lines(BufReader::new(d))).unwrap_or_default();
        let record = |(vm, count, arrived_ns)| AnsweredRecord { vm, answered: Answered { count, arrived_ns } };
        let mut answers: Vec<AnsweredRecord> = lines.into_iter().map(record).collect();
        answers.sort_by_key(|record| record.answered.arrived_ns);
        answers
    }

    /// What the guest wrote on the console of a VM: arrival in ns, line.
    #[must_use]
    pub fn guest_lines(&self, vm: u32) -> Vec<(u64, String)> {
        let text = std::fs::read(self.path.join(format!("guest.{}.log", vm_name(vm)))).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = |line: &str| line.split_once(' ').and_then(|(at, said)| Some((at.parse().ok()?, said.to_owned())));
        text.lines().filter_map(line).collect()
    }

    /// What a VM traced.
    ///
    /// # Errors
    /// [`RecordError::Read`].
    pub fn trace(&self, vm: u32) -> Result<Vec<u8>, RecordError> {
        let path = self.path.join(format!("trace.{}.log", vm_name(vm)));
        std::fs::read(&path).map_err(|source| RecordError::Read { path, source })
    }

    /// Its samples, from Parquet, or from the stream of a run that was cut off before there was any.
    ///
    /// # Errors
    /// [`RecordError::Read`], [`RecordError::Content`].
    pub fn samples(&self, each: impl FnMut(SampleRow)) -> Result<(), RecordError> {
        let stream = self.path.join(SAMPLES_STREAM);
        // The stream goes only when the Parquet file is complete; while both are there, the latter may be half written.
        if stream.exists() { samples::read_stream(&stream, each) } else { samples::read_parquet(&self.path.join(SAMPLES), each) }
    }

    /// What tells of convergence in its samples; much faster than [`Run::samples`].
    ///
    /// # Errors
    /// As [`Run::samples`].
    pub fn glances(&self, each: impl FnMut(Glance)) -> Result<(), RecordError> {
        let stream = self.path.join(SAMPLES_STREAM);
        if stream.exists() { glance::read_stream(&stream, each) } else { glance::read_parquet(&self.path.join(SAMPLES), each) }
    }

    fn lines<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, RecordError> {
        let path = self.path.join(name);
        let file = File::open(&path).map_err(|source| RecordError::Read { path, source })?;
        Ok(json_lines(BufReader::new(file)))
    }
}

/// Every line that reads as `T`. Others (unknown lines of QEMU, a torn end) are passed over.
fn json_lines<T: serde::de::DeserializeOwned>(mut from: impl BufRead) -> Vec<T> {
    let mut all = Vec::new();
    let mut text = String::new();
    while from.read_line(&mut text).is_ok_and(|read| read > 0) {
        all.extend(serde_json::from_str::<T>(&text));
        text.clear();
    }
    all
}

//! A run as it lies on disk, whole or cut off.

use super::{
    ANSWERS, Answered, Beat, ConvergenceSample, DECISIONS, EVENTS, Flow, HEARTBEATS, LINK,
    RUN_JSON, RecordError, SAMPLES, SAMPLES_STREAM, SWITCHOVERS, SampleRow, Summary, Switchover,
    TRANSCRIPT, convergence_sample, samples, vm_name,
};
use base::Side;
use base::text::{LineTooLong, MAX_LINE_BYTES, for_each_line, read_all, read_bytes};
use qmp::Direction;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A summary has some 10 KiB.
const MAX_SUMMARY_BYTES: u64 = 16 << 20;
/// A trace has some KiB, and 200 bytes for each page that post-copy asked for.
const MAX_TRACE_BYTES: u64 = 1 << 30;
/// A line of QMP in quotes, each of whose bytes may have become six.
const MAX_TRANSCRIPT_LINE_BYTES: usize = 16 << 20;
/// Beats and the like, unpacked: two VMs at 1 kHz for two days.
const MAX_UNPACKED_BYTES: u64 = 8 << 30;
/// 8 MiB.
const WINDOW_LOG: u32 = 23;

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

/// A line of QMP as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct TranscriptRecord {
    /// The name of the VM ([`vm_name`]).
    pub side: String,
    /// Which way it went.
    pub direction: Direction,
    /// When it was sent or had arrived, on our monotonic clock, ns.
    pub mono_ns: u64,
    /// On our wall clock, ns since 1970.
    pub wall_ns: u64,
    /// The line.
    pub line: String,
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
        let text = read_all(&path, MAX_SUMMARY_BYTES)
            .map_err(|source| RecordError::Read { path: path.clone(), source })?;
        serde_json::from_str(&text)
            .map_err(|error| RecordError::Content { path, detail: error.to_string() })
    }

    /// Its migrations, one or many.
    ///
    /// # Errors
    /// [`RecordError::Read`], [`RecordError::Content`].
    pub fn switchovers(&self) -> Result<Vec<Switchover>, RecordError> {
        self.lines(SWITCHOVERS)
    }

    /// Its events, of both sides, in the order of arrival. A torn last line is passed over.
    ///
    /// # Errors
    /// [`RecordError::Read`], [`RecordError::Content`].
    pub fn events(&self) -> Result<Vec<EventRecord>, RecordError> {
        let mut events: Vec<EventRecord> = self.lines(EVENTS)?;
        events.sort_by_key(|event| event.mono_ns);
        Ok(events)
    }

    /// Its decisions.
    ///
    /// # Errors
    /// [`RecordError::Read`], [`RecordError::Content`].
    pub fn decisions(&self) -> Result<Vec<Value>, RecordError> {
        self.lines(DECISIONS)
    }

    /// Its heartbeats, in the order in which they arrived.
    ///
    /// # Errors
    /// [`RecordError::Read`], [`RecordError::Content`].
    pub fn heartbeats(&self) -> Result<Vec<BeatRecord>, RecordError> {
        let mut beats: Vec<BeatRecord> = self.packed_lines(HEARTBEATS)?;
        beats.sort_by_key(|record| record.beat.arrived_ns);
        Ok(beats)
    }

    /// What passed over the link, in the order of time; nothing where there was none.
    #[must_use]
    pub fn flows(&self) -> Vec<FlowRecord> {
        let lines: Vec<(u32, u32, u8, u64, u64, u64)> = self.packed_lines(LINK).unwrap_or_default();
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
        let lines: Vec<(u32, u8, u64)> = self.packed_lines(ANSWERS).unwrap_or_default();
        let record = |(vm, count, arrived_ns)| AnsweredRecord {
            vm,
            answered: Answered { count, arrived_ns },
        };
        let mut answers: Vec<AnsweredRecord> = lines.into_iter().map(record).collect();
        answers.sort_by_key(|record| record.answered.arrived_ns);
        answers
    }

    /// What the guest wrote on the console of a VM: arrival in ns, line.
    #[must_use]
    pub fn guest_lines(&self, vm: u32) -> Vec<(u64, String)> {
        let Ok(file) = File::open(self.path.join(format!("guest.{}.log", vm_name(vm)))) else {
            return Vec::new();
        };
        let line = |line: &str| {
            line.split_once(' ').and_then(|(at, said)| Some((at.parse().ok()?, said.to_owned())))
        };
        let mut all = Vec::new();
        // A guest may write what it likes: what comes after a line that is too long is passed over.
        let _ = for_each_line(BufReader::new(file), MAX_LINE_BYTES, |bytes| {
            all.extend(line(String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n'])));
        });
        all
    }

    /// What a VM traced.
    ///
    /// # Errors
    /// [`RecordError::Read`].
    pub fn trace(&self, vm: u32) -> Result<Vec<u8>, RecordError> {
        let path = self.path.join(format!("trace.{}.log", vm_name(vm)));
        read_bytes(&path, MAX_TRACE_BYTES).map_err(|source| RecordError::Read { path, source })
    }

    /// Calls `each` with every QMP line of its transcript, in the order in which they were written
    /// down; a run has one only where it was asked for.
    ///
    /// # Errors
    /// [`RecordError::Read`], [`RecordError::Content`].
    pub fn transcript(&self, mut each: impl FnMut(TranscriptRecord)) -> Result<(), RecordError> {
        let path = self.path.join(TRANSCRIPT);
        let decoder = unpack(&path)?;
        let take = |line: &[u8]| serde_json::from_slice(line).into_iter().for_each(&mut each);
        for_each_line(BufReader::new(decoder), MAX_TRANSCRIPT_LINE_BYTES, take)
            .map_err(|error| too_long(&path, &error))
    }

    /// Its samples, from Parquet, or from the stream of a run that was cut off before there was
    /// any.
    ///
    /// # Errors
    /// [`RecordError::Read`], [`RecordError::Content`].
    pub fn samples(&self, each: impl FnMut(SampleRow)) -> Result<(), RecordError> {
        let stream = self.path.join(SAMPLES_STREAM);
        // The stream goes only when the Parquet file is complete; while both are there, the latter
        // may be half written.
        if stream.exists() {
            samples::read_stream(&stream, each)
        } else {
            read_samples_file(&self.path.join(SAMPLES), each)
        }
    }

    /// What tells of convergence in its samples; much faster than [`Run::samples`].
    ///
    /// # Errors
    /// As [`Run::samples`].
    pub fn convergence_samples(
        &self,
        each: impl FnMut(ConvergenceSample),
    ) -> Result<(), RecordError> {
        let stream = self.path.join(SAMPLES_STREAM);
        if stream.exists() {
            convergence_sample::read_stream(&stream, each)
        } else {
            read_convergence_samples_file(&self.path.join(SAMPLES), each)
        }
    }

    fn lines<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, RecordError> {
        let path = self.path.join(name);
        let file =
            File::open(&path).map_err(|source| RecordError::Read { path: path.clone(), source })?;
        json_lines(&path, BufReader::new(file))
    }

    fn packed_lines<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Vec<T>, RecordError> {
        let path = self.path.join(name);
        // However small the file: what is held is bounded by what comes out of it.
        let mut unpacked = unpack(&path)?.take(MAX_UNPACKED_BYTES);
        let all = json_lines(&path, BufReader::new(&mut unpacked))?;
        if unpacked.limit() == 0 {
            let detail = format!("it has more than {} GiB, unpacked", MAX_UNPACKED_BYTES >> 30);
            return Err(RecordError::Content { path, detail });
        }
        Ok(all)
    }
}

#[cfg(feature = "parquet")]
use super::{
    convergence_parquet::read_parquet as read_convergence_samples_file,
    samples_parquet::read_parquet as read_samples_file,
};

#[cfg(not(feature = "parquet"))]
fn read_samples_file(path: &Path, _: impl FnMut(SampleRow)) -> Result<(), RecordError> {
    Err(needs_parquet(path))
}

#[cfg(not(feature = "parquet"))]
fn read_convergence_samples_file(
    path: &Path,
    _: impl FnMut(ConvergenceSample),
) -> Result<(), RecordError> {
    Err(needs_parquet(path))
}

/// The error for a Parquet file in a build that cannot read one.
#[cfg(not(feature = "parquet"))]
fn needs_parquet(path: &Path) -> RecordError {
    if !path.exists() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return RecordError::Read { path: path.to_owned(), source };
    }
    let detail = "this program was built without the feature `parquet`".to_owned();
    RecordError::Content { path: path.to_owned(), detail }
}

/// The text of a compressed file, as far as it goes.
pub(super) fn unpack(path: &Path) -> Result<impl Read + use<>, RecordError> {
    let failed = |source| RecordError::Read { path: path.to_owned(), source };
    let mut decoder = zstd::Decoder::new(File::open(path).map_err(failed)?).map_err(failed)?;
    // What a frame may ask for as its window; the writer's level 1 asks for 512 KiB.
    decoder.window_log_max(WINDOW_LOG).map_err(failed)?;
    Ok(decoder)
}

/// A line is beyond its bound.
pub(super) fn too_long(path: &Path, error: &LineTooLong) -> RecordError {
    RecordError::Content { path: path.to_owned(), detail: error.to_string() }
}

/// Every line that reads as `T`. Others (unknown lines of QEMU, a torn end) are passed over.
fn json_lines<T: serde::de::DeserializeOwned>(
    path: &Path,
    from: impl BufRead,
) -> Result<Vec<T>, RecordError> {
    let mut all = Vec::new();
    for_each_line(from, MAX_LINE_BYTES, |line| all.extend(serde_json::from_slice::<T>(line)))
        .map_err(|error| too_long(path, &error))?;
    Ok(all)
}

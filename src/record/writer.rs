//! The thread that writes the run directory while the run goes on, and what makes it whole at the
//! end.

#[cfg(not(feature = "parquet"))]
use super::samples;
use super::samples::SampleRow;
use super::sink::{Message, Records};
use super::{
    ANSWERS, Answered, DECISIONS, EVENTS, Entry, Flow, HEARTBEATS, LINK, RUN_JSON, RecordError,
    SAMPLES_STREAM, SCENARIO, SWITCHOVERS, Sink, Summary, Switchover, TRANSCRIPT, vm_name,
};
use base::Side;
use base::clock::monotonic_ns;
use qmp::Notice;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::Duration;

/// What was measured is on disk this long after, even if we are killed (safety rule 5).
const FLUSH_EVERY: Duration = Duration::from_millis(500);

/// A run directory that is being written.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    sink: Option<Sink>,
    writer: Option<JoinHandle<Result<(), RecordError>>>,
    made: Vec<PathBuf>,
}

impl RunDir {
    /// Makes the directory, writes the scenario, starts the writer: all files are open before any
    /// VM is touched.
    ///
    /// # Errors
    /// [`RecordError::Create`] if it is not an empty or a new directory, [`RecordError::Write`].
    pub fn create(
        path: &Path,
        scenario_toml: &str,
        transcript: bool,
    ) -> Result<RunDir, RecordError> {
        let failed = |source| RecordError::Create { path: path.to_owned(), source };
        let made: Vec<PathBuf> = path
            .ancestors()
            .take_while(|p| !p.as_os_str().is_empty() && !p.exists())
            .map(Into::into)
            .collect();
        fs::create_dir_all(path).map_err(failed)?;
        if fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(failed(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it exists and is not empty",
            )));
        }
        let mut run = RunDir { path: path.to_owned(), sink: None, writer: None, made };
        if let Err(error) = run.start(scenario_toml, transcript) {
            run.discard();
            return Err(error);
        }
        Ok(run)
    }

    fn start(&mut self, scenario_toml: &str, transcript: bool) -> Result<(), RecordError> {
        let scenario = self.path.join(SCENARIO);
        fs::write(&scenario, scenario_toml)
            .map_err(|source| RecordError::Write { path: scenario, source })?;
        let files = Files::open(&self.path, transcript)?;
        let (sink, records) = Sink::new();
        self.sink = Some(sink);
        self.writer = Some(std::thread::spawn(move || files.write_all(&records)));
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a handle that queues records for the writer thread.
    ///
    /// # Panics
    /// Never: the sink exists until the directory is closed or discarded.
    #[must_use]
    pub fn sink(&self) -> Sink {
        self.sink.clone().expect("only `close` and `discard` take the sink, and both consume self")
    }

    /// Ends the writer and turns the stream of samples into Parquet; `look` sees every sample on
    /// the way.
    ///
    /// # Errors
    /// The first file that could not be written.
    pub fn close(mut self, look: impl FnMut(&SampleRow)) -> Result<ClosedRun, RecordError> {
        let written = self.end_writer();
        let stream = self.path.join(SAMPLES_STREAM);
        let converted = self.convert_samples(&stream, look);
        written.and(converted)?;
        Ok(ClosedRun { path: self.path })
    }

    #[cfg(feature = "parquet")]
    fn convert_samples(
        &self,
        stream: &Path,
        look: impl FnMut(&SampleRow),
    ) -> Result<(), RecordError> {
        super::samples_parquet::to_parquet(stream, &self.path.join(super::SAMPLES), look)?;
        // Readers prefer the stream while it exists, so a failure to remove it loses nothing.
        let _ = fs::remove_file(stream);
        Ok(())
    }

    /// Without the feature `parquet` the stream stays, and readers read it.
    #[cfg(not(feature = "parquet"))]
    fn convert_samples(
        &self,
        stream: &Path,
        mut look: impl FnMut(&SampleRow),
    ) -> Result<(), RecordError> {
        samples::read_stream(stream, |row| look(&row))
    }

    fn end_writer(&mut self) -> Result<(), RecordError> {
        let (Some(sink), Some(writer)) = (self.sink.take(), self.writer.take()) else {
            return Ok(());
        };
        sink.close();
        writer.join().unwrap_or_else(|_| {
            let source = io::Error::other("the writer ended unexpectedly");
            Err(RecordError::Write { path: self.path.clone(), source })
        })
    }

    /// Removes it: nothing was measured. Takes parents along that were made for it and are empty.
    pub fn discard(mut self) {
        let _ = self.end_writer();
        let _ = fs::remove_dir_all(&self.path);
        for parent in self.made.iter().skip(1) {
            let _ = fs::remove_dir(parent);
        }
    }
}

/// A run directory whose records are complete, short of its summary.
#[derive(Debug)]
pub struct ClosedRun {
    path: PathBuf,
}

impl ClosedRun {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one more file.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), RecordError> {
        let path = self.path.join(name);
        fs::write(&path, content).map_err(|source| RecordError::Write { path, source })
    }

    /// Writes a line for each migration, and then `run.json`, by a temporary file and a rename: its
    /// presence means that the run is whole.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn finish(&self, summary: &Summary, switchovers: &[Switchover]) -> Result<(), RecordError> {
        let path = self.path.join(SWITCHOVERS);
        let write = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create(&path)?);
            for switchover in switchovers {
                serde_json::to_writer(&mut file, switchover)?;
                file.write_all(b"\n")?;
            }
            file.flush()
        };
        write().map_err(|source| RecordError::Write { path: path.clone(), source })?;
        write_summary(&self.path, summary)
    }
}

/// Writes `run.json` into a run directory, by a temporary file and a rename.
///
/// # Errors
/// [`RecordError::Write`].
pub fn write_summary(directory: &Path, summary: &Summary) -> Result<(), RecordError> {
    let path = directory.join(RUN_JSON);
    let failed = |source| RecordError::Write { path: path.clone(), source };
    let mut text = serde_json::to_string_pretty(summary).map_err(|error| failed(error.into()))?;
    text.push('\n');
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    Ok(())
}

type Zstd = zstd::Encoder<'static, BufWriter<File>>;

struct Files {
    root: PathBuf,
    samples: Zstd,
    events: BufWriter<File>,
    decisions: BufWriter<File>,
    heartbeats: Zstd,
    transcript: Option<Zstd>,
    /// Only where there is a link.
    link: Option<Zstd>,
    /// Only where there is an application.
    answers: Option<Zstd>,
}

impl Files {
    fn open(root: &Path, transcript: bool) -> Result<Files, RecordError> {
        let plain = |name: &str| {
            let path = root.join(name);
            File::create(&path)
                .map(BufWriter::new)
                .map_err(|source| RecordError::Write { path, source })
        };
        let packed = |name: &str| {
            packed(root, name)
                .map_err(|source| RecordError::Write { path: root.join(name), source })
        };
        Ok(Files {
            root: root.to_owned(),
            samples: packed(SAMPLES_STREAM)?,
            events: plain(EVENTS)?,
            decisions: plain(DECISIONS)?,
            heartbeats: packed(HEARTBEATS)?,
            transcript: if transcript { Some(packed(TRANSCRIPT)?) } else { None },
            link: None,
            answers: None,
        })
    }

    /// Writes until it is told to end. After a failure it goes on taking records, so that nobody
    /// waits for it.
    fn write_all(mut self, records: &Records) -> Result<(), RecordError> {
        let mut failure = None;
        let mut flushed_ns = monotonic_ns();
        loop {
            let mut result = match records.next(FLUSH_EVERY) {
                Ok(Message::Record(entry)) if failure.is_none() => self.write(&entry),
                Ok(Message::Record(_)) | Err(RecvTimeoutError::Timeout) => Ok(()),
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
            };
            // By the clock, not in pauses: beats and samples come all the time, so there is none.
            let now_ns = monotonic_ns();
            if u128::from(now_ns - flushed_ns) >= FLUSH_EVERY.as_nanos() && failure.is_none() {
                flushed_ns = now_ns;
                result = result.and_then(|()| self.flush());
            }
            if let Err(source) = result {
                tracing::warn!(path = %self.root.display(), %source, "the record of this run is incomplete");
                failure.get_or_insert(source);
            }
        }
        let path = self.root.clone();
        let ended = self.end();
        match failure {
            Some(source) => Err(RecordError::Write { path, source }),
            None => ended.map_err(|source| RecordError::Write { path, source }),
        }
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        match entry {
            Entry::Samples(lines) => {
                self.samples.write_all(lines)?;
                // A batch comes at most every 100 ms, so flushing each is cheap and keeps the
                // promise of one second.
                self.samples.flush()
            }
            Entry::Notice(migration, side, notice) => {
                line(&mut self.events, &notice_json(*migration, *side, notice))?;
                self.events.flush()
            }
            Entry::Decision(decision) => {
                line(&mut self.decisions, decision)?;
                self.decisions.flush()
            }
            Entry::Beats(vm, beats) => {
                for beat in beats {
                    writeln!(
                        self.heartbeats,
                        "[{vm},{},{},{}]",
                        beat.sequence, beat.arrived_ns, beat.late_us
                    )?;
                }
                Ok(())
            }
            Entry::Link(migration, flows) => {
                let link = opened(&mut self.link, &self.root, LINK)?;
                for Flow { at_ns, channel, back, bytes, held } in flows {
                    writeln!(
                        link,
                        "[{migration},{channel},{},{at_ns},{bytes},{held}]",
                        u8::from(*back)
                    )?;
                }
                Ok(())
            }
            Entry::Answers(vm, all) => {
                let answers = opened(&mut self.answers, &self.root, ANSWERS)?;
                for Answered { count, arrived_ns } in all {
                    writeln!(answers, "[{vm},{count},{arrived_ns}]")?;
                }
                Ok(())
            }
            Entry::Transcript(vm, direction, stamp, text) => match &mut self.transcript {
                Some(transcript) => {
                    let text = String::from_utf8_lossy(text);
                    let record = json!({"side": vm_name(*vm), "direction": direction, "mono_ns": stamp.mono_ns, "wall_ns": stamp.wall_ns, "line": text});
                    line(transcript, &record)
                }
                None => Ok(()),
            },
            Entry::Guest(vm, stamp, text) => {
                let path = self.root.join(format!("guest.{}.log", vm_name(*vm)));
                let mut file = File::options().create(true).append(true).open(path)?;
                writeln!(file, "{} {text}", stamp.mono_ns)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.heartbeats.flush()?;
        self.link.as_mut().map_or(Ok(()), Write::flush)?;
        self.answers.as_mut().map_or(Ok(()), Write::flush)?;
        self.transcript.as_mut().map_or(Ok(()), Write::flush)
    }

    fn end(mut self) -> io::Result<()> {
        self.events.flush()?;
        self.decisions.flush()?;
        for stream in
            [Some(self.samples), Some(self.heartbeats), self.transcript, self.link, self.answers]
                .into_iter()
                .flatten()
        {
            stream.finish()?.flush()?;
        }
        Ok(())
    }
}

/// A stream that is made when there is something to put into it.
fn opened<'a>(stream: &'a mut Option<Zstd>, root: &Path, name: &str) -> io::Result<&'a mut Zstd> {
    match stream {
        Some(stream) => Ok(stream),
        none => Ok(none.insert(packed(root, name)?)),
    }
}

/// Level 1: records resemble each other so much that more would only cost time.
fn packed(root: &Path, name: &str) -> io::Result<Zstd> {
    zstd::Encoder::new(BufWriter::new(File::create(root.join(name))?), 1)
}

fn line(to: &mut impl Write, record: &Value) -> io::Result<()> {
    writeln!(to, "{record}")
}

fn notice_json(migration: u32, side: Side, notice: &Notice) -> Value {
    match notice {
        Notice::Event(event) => json!({
            "migration": migration,
            "side": side,
            "event": event.name,
            "data": event.data,
            "qemu_us": event.qemu_us,
            "mono_ns": event.arrived.mono_ns,
            "wall_ns": event.arrived.wall_ns,
        }),
        Notice::Unknown { line, arrived } => json!({
            "migration": migration,
            "side": side,
            "unknown": line,
            "mono_ns": arrived.mono_ns,
            "wall_ns": arrived.wall_ns,
        }),
    }
}

//! The guest's heartbeats, stamped as they arrive on the host.
//!
//! Stamped here and not in the guest, because a guest's own clock does not see the blackout under TCG (facts/qemu.md §6.4).

use crate::clock::monotonic_ns;
use crate::plan::Side;
use crate::record::{Beat, Entry, Sink};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

const BATCH_AGE_NS: u64 = 100_000_000;

/// What was seen of the beats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeatReport {
    /// Beats of both sides.
    pub beats: u64,
    /// The source's last beat, ns.
    pub source_last_ns: Option<u64>,
    /// The destination's first beat, ns.
    pub destination_first_ns: Option<u64>,
}

/// A thread that reads the beats of both sides.
#[derive(Debug)]
pub struct Heartbeats {
    thread: JoinHandle<BeatReport>,
    closers: Vec<UnixStream>,
}

struct Reader {
    side: Side,
    stream: UnixStream,
    batch: Vec<Beat>,
    open: bool,
}

impl Heartbeats {
    /// Starts reading.
    ///
    /// # Errors
    /// When no thread or descriptor is to be had.
    pub fn start(source: UnixStream, destination: UnixStream, sink: Sink) -> io::Result<Heartbeats> {
        let closers = vec![source.try_clone()?, destination.try_clone()?];
        let reader = |side, stream: UnixStream| -> io::Result<Reader> {
            stream.set_nonblocking(true)?;
            Ok(Reader { side, stream, batch: Vec::new(), open: true })
        };
        let readers = [reader(Side::Source, source)?, reader(Side::Destination, destination)?];
        let thread = std::thread::Builder::new().name("heartbeats".to_owned()).spawn(move || read_all(readers, &sink))?;
        Ok(Heartbeats { thread, closers })
    }

    /// Stops, and says what was seen. The guest cannot beat after this.
    #[must_use]
    pub fn stop(self) -> BeatReport {
        for stream in &self.closers {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.thread.join().unwrap_or_default()
    }
}

fn read_all(mut readers: [Reader; 2], sink: &Sink) -> BeatReport {
    let mut report = BeatReport::default();
    let mut batch_began_ns = monotonic_ns();
    while readers.iter().any(|reader| reader.open) {
        let mut waiting: Vec<PollFd<'_>> =
            readers.iter().filter(|r| r.open).map(|r| PollFd::new(r.stream.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut waiting, PollTimeout::NONE).is_err_and(|error| error != nix::errno::Errno::EINTR) {
            break;
        }
        for reader in readers.iter_mut().filter(|reader| reader.open) {
            read_one(reader, &mut report);
        }
        let now_ns = monotonic_ns();
        if now_ns - batch_began_ns >= BATCH_AGE_NS {
            batch_began_ns = now_ns;
            flush(&mut readers, sink);
        }
    }
    flush(&mut readers, sink);
    report
}

fn read_one(reader: &mut Reader, report: &mut BeatReport) {
    let mut bytes = [0; 4096];
    let read = match reader.stream.read(&mut bytes) {
        Ok(0) => {
            reader.open = false;
            return;
        }
        Ok(read) => read,
        Err(error) => {
            reader.open = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            return;
        }
    };
    let arrived_ns = monotonic_ns();
    reader.batch.extend(bytes[..read].iter().map(|sequence| Beat { sequence: *sequence, arrived_ns }));
    report.beats += read as u64;
    match reader.side {
        Side::Source => report.source_last_ns = Some(arrived_ns),
        Side::Destination => {
            report.destination_first_ns.get_or_insert(arrived_ns);
        }
    }
}

fn flush(readers: &mut [Reader; 2], sink: &Sink) {
    for reader in readers {
        let batch = std::mem::take(&mut reader.batch);
        if !batch.is_empty() {
            sink.give_and_wait(Entry::Beats(reader.side, batch));
        }
    }
}

//! Where records go in. A sink never fails and never changes the migration: what cannot be written
//! becomes a warning.

use base::Side;
use base::clock::Stamp;
use qmp::{Direction, Notice, Tap};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SendError, SyncSender, TrySendError, sync_channel,
};
use std::time::Duration;

/// One heartbeat of the guest, as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The guest's number of it, modulo 128.
    pub sequence: u8,
    /// Arrival on the monotonic clock, ns.
    pub arrived_ns: u64,
    /// How late the guest sent it by its own clock, µs; 0 if in time (within 1/16 of the period).
    pub late_us: u32,
}

/// Answers of an application that its client in the guest tells together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// How many.
    pub count: u8,
    /// Arrival on the monotonic clock, ns.
    pub arrived_ns: u64,
}

/// What one direction of one channel of a link delivered in 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// When they began, on the monotonic clock, ns.
    pub at_ns: u64,
    /// Connection, from 0 in the order in which they came.
    pub channel: u32,
    /// From the destination to the source.
    pub back: bool,
    /// Bytes delivered.
    pub bytes: u64,
    /// The most that was taken in and not yet delivered.
    pub held: u64,
}

/// One record.
#[derive(Debug)]
#[non_exhaustive]
pub enum Entry {
    /// Whole lines of samples, as [`super::append_line`] makes them.
    Samples(Vec<u8>),
    /// Something a QEMU said unasked, in which migration of this run.
    Notice(u32, Side, Notice),
    /// Something that was decided.
    Decision(Value),
    /// Beats of one VM in the order of arrival.
    Beats(u32, Vec<Beat>),
    /// Answers of an application in one VM, in the order of arrival.
    Answers(u32, Vec<Answered>),
    /// What passed over the link, in which migration of this run.
    Link(u32, Vec<Flow>),
    /// A QMP line of this VM.
    Transcript(u32, Direction, Stamp, Vec<u8>),
    /// A line that the guest wrote on the console of this VM.
    Guest(u32, Stamp, String),
}

impl Entry {
    /// What it is, for a message; what it holds may be long.
    fn name(&self) -> &'static str {
        match self {
            Entry::Samples(_) => "samples",
            Entry::Notice(..) => "an event",
            Entry::Decision(_) => "a decision",
            Entry::Beats(..) => "beats",
            Entry::Answers(..) => "answers",
            Entry::Link(..) => "figures of the link",
            Entry::Transcript(..) => "a QMP line",
            Entry::Guest(..) => "a line of the guest",
        }
    }

    /// About what it takes in memory.
    fn weight(&self) -> usize {
        size_of::<Message>()
            + match self {
                Entry::Samples(bytes) | Entry::Transcript(_, _, _, bytes) => bytes.len(),
                Entry::Notice(_, _, Notice::Event(event)) => weight_of(&event.data),
                Entry::Notice(_, _, Notice::Unknown { line, .. }) | Entry::Guest(_, _, line) => {
                    line.len()
                }
                Entry::Decision(value) => weight_of(value),
                Entry::Beats(_, all) => size_of_val(all.as_slice()),
                Entry::Answers(_, all) => size_of_val(all.as_slice()),
                Entry::Link(_, all) => size_of_val(all.as_slice()),
            }
    }
}

fn weight_of(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(all) => all.iter().map(weight_of).sum(),
            Value::Object(all) => all.iter().map(|(key, value)| key.len() + weight_of(value)).sum(),
        }
}

/// What goes through the channel. The end is said in so many words, as clones of the sink live on
/// in tasks that end later.
#[derive(Debug)]
pub(super) enum Message {
    Record(Entry),
    Close,
}

/// What may wait for the writer: so many records, and about so many bytes of them, whatever a peer
/// makes of its lines. A batch of samples is one record of some 64 KiB.
const MAX_QUEUED_RECORDS: usize = 1024;
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Who waits for room looks this often.
const NAP: Duration = Duration::from_millis(2);

/// The way into the record, cheap to clone. Records after the end of the run go nowhere.
#[derive(Clone, Debug)]
pub struct Sink {
    sender: SyncSender<Message>,
    waiting: Arc<AtomicUsize>,
}

/// Where they come out.
#[derive(Debug)]
pub(super) struct Records {
    receiver: Receiver<Message>,
    waiting: Arc<AtomicUsize>,
}

impl Records {
    pub(super) fn next(&self, at_most: Duration) -> Result<Message, RecvTimeoutError> {
        let message = self.receiver.recv_timeout(at_most)?;
        give_back(&self.waiting, &message);
        Ok(message)
    }
}

/// What was never taken is gone: nobody shall wait for room any more.
impl Drop for Records {
    fn drop(&mut self) {
        self.waiting.store(0, Ordering::Release);
    }
}

fn give_back(waiting: &AtomicUsize, message: &Message) {
    if let Message::Record(entry) = message {
        let less = |waiting: usize| Some(waiting.saturating_sub(entry.weight()));
        let _ = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}

impl Sink {
    pub(super) fn new() -> (Sink, Records) {
        let (sender, receiver) = sync_channel(MAX_QUEUED_RECORDS);
        let waiting = Arc::new(AtomicUsize::new(0));
        (Sink { sender, waiting: Arc::clone(&waiting) }, Records { receiver, waiting })
    }

    /// Gives a record, never waiting: the loop that drives the migration calls this. When the
    /// writer is thousands of records behind (a disk that hangs), the record is dropped with a
    /// warning.
    pub fn give(&self, entry: Entry) {
        let name = entry.name();
        if !self.reserve(entry.weight()) {
            tracing::warn!("the disk does not keep up; {name} was dropped");
            return;
        }
        match self.sender.try_send(Message::Record(entry)) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => {
                give_back(&self.waiting, &message);
                tracing::warn!("the disk does not keep up; {name} was dropped");
            }
            Err(TrySendError::Disconnected(message)) => give_back(&self.waiting, &message),
        }
    }

    /// Gives a record from a thread of its own (sampler, heartbeat), waiting while the writer is
    /// behind, so that nothing piles up in memory.
    pub fn give_and_wait(&self, entry: Entry) {
        while !self.reserve(entry.weight()) {
            std::thread::park_timeout(NAP);
        }
        if let Err(SendError(message)) = self.sender.send(Message::Record(entry)) {
            give_back(&self.waiting, &message);
        }
    }

    /// The last record has been given.
    pub(super) fn close(&self) {
        let _ = self.sender.send(Message::Close);
    }

    /// Room for so many bytes. One record always has it: it is held already.
    fn reserve(&self, weight: usize) -> bool {
        let fits = |waiting: usize| {
            (waiting == 0 || waiting.saturating_add(weight) <= MAX_QUEUED_BYTES)
                .then(|| waiting.saturating_add(weight))
        };
        self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok()
    }

    /// A tap that puts every line of a session with this VM into the transcript.
    #[must_use]
    pub fn tap(&self, vm: u32) -> Tap {
        let sink = self.clone();
        Tap(Arc::new(move |direction, stamp, line| {
            sink.give(Entry::Transcript(vm, direction, stamp, line.to_vec()));
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: usize) -> Entry {
        Entry::Samples(vec![0; bytes])
    }

    #[test]
    fn a_writer_that_is_behind_holds_so_many_bytes_and_no_more() {
        let (sink, records) = Sink::new();
        for _ in 0..MAX_QUEUED_RECORDS {
            sink.give(line(1 << 20));
        }
        let mut waiting = 0;
        while let Ok(Message::Record(_)) = records.next(Duration::ZERO) {
            waiting += 1;
        }
        assert_eq!(waiting, 63);
        assert_eq!(sink.waiting.load(Ordering::Acquire), 0);
        sink.give(line(2 * MAX_QUEUED_BYTES));
        assert!(
            matches!(records.next(Duration::ZERO), Ok(Message::Record(_))),
            "one record always has room"
        );
    }

    #[test]
    fn so_many_records_wait_and_no_more_and_after_the_end_none() {
        let (sink, records) = Sink::new();
        for _ in 0..2 * MAX_QUEUED_RECORDS {
            sink.give(line(1));
        }
        assert_eq!(sink.waiting.load(Ordering::Acquire), MAX_QUEUED_RECORDS * line(1).weight());
        drop(records);
        sink.give(line(1));
        sink.give_and_wait(line(2 * MAX_QUEUED_BYTES));
        assert_eq!(sink.waiting.load(Ordering::Acquire), 0);
    }
}

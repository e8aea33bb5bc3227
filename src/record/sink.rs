//! Where records go in. A sink never fails and never changes the migration: what cannot be written becomes a warning.

use crate::clock::Stamp;
use crate::plan::Side;
use crate::qmp::{Direction, Notice, Tap};
use serde_json::Value;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

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

/// What goes through the channel. The end is said in so many words, as clones of the sink live on in tasks that end later.
#[derive(Debug)]
pub(super) enum Message {
    Record(Entry),
    Close,
}

/// The way into the record, cheap to clone. Records after the end of the run go nowhere.
#[derive(Clone, Debug)]
pub struct Sink(pub(super) SyncSender<Message>);

impl Sink {
    /// Gives a record, never waiting: the loop that drives the migration calls this. When the writer is thousands of records
    /// behind (a disk that hangs), the record is dropped with a warning.
    pub fn give(&self, entry: Entry) {
        if let Err(TrySendError::Full(dropped)) = self.0.try_send(Message::Record(entry)) {
            tracing::warn!(?dropped, "the disk does not keep up; a record was dropped");
        }
    }

    /// Gives a record from a thread of its own (sampler, heartbeat), waiting while the writer is behind, so that nothing piles
    /// up in memory.
    pub fn give_and_wait(&self, entry: Entry) {
        let _ = self.0.send(Message::Record(entry));
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

//! The two tasks of a session, which own its socket, and what they share: which id waits for what,
//! and what nobody has taken yet.
//!
//! Take requests and lines; give answers to who waits for them, and notices. Know nothing of how
//! the socket was made.

use super::limits::{self, LimitExceeded, QueuedNotices};
use super::lines::Lines;
use super::stream::Writer;
use super::tunnel::Tunnel;
use super::wire::{self, Direction, Line, Notice, Reply, Request};
use base::clock::Stamp;
use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{Notify, mpsc, oneshot};

/// What a [`Tap`] calls: direction, when the line was sent or had arrived, the line.
pub type OnLine = dyn Fn(Direction, Stamp, &[u8]) + Send + Sync;

/// Sees every line both ways, as it is on the wire.
#[derive(Clone)]
pub struct Tap(pub Arc<OnLine>);

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// A notice, and what it was counted as while it waits.
#[derive(Debug)]
pub(super) struct QueuedNotice(pub(super) Notice, pub(super) usize);

#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) fd: Option<OwnedFd>,
    pub(super) answer: oneshot::Sender<Reply>,
}

/// State that both tasks see. The lock is held for a look-up at most, never across an await.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    state: Arc<Mutex<State>>,
    /// Notices that nobody has taken yet.
    pub(super) waiting: Arc<QueuedNotices>,
    /// Nothing more is read, so nothing more is written: the socket is closed, and the next client
    /// may have it.
    ended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    pending: HashMap<u32, oneshot::Sender<Reply>>,
    last_id: u32,
    end: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end_reason(&self) -> String {
        self.lock().end.clone().unwrap_or_else(|| "closed".to_owned())
    }

    /// Notes why the session ended and lets all waiters know.
    fn end(&self, reason: String) {
        let mut state = self.lock();
        state.end.get_or_insert(reason);
        state.pending.clear();
        self.ended.notify_one();
    }
}

impl State {
    /// The lowest free id after the last one: ids stay one or two digits, and an id whose reply is
    /// late is not used again.
    fn register(&mut self, answer: oneshot::Sender<Reply>) -> u32 {
        let mut id = self.last_id;
        loop {
            id = (id + 1) % 100;
            if !self.pending.contains_key(&id) {
                break;
            }
            if id == self.last_id {
                // A hundred unanswered: QEMU hangs. Go beyond two digits rather than reuse.
                id = self.pending.keys().max().map_or(100, |max| max + 1);
                break;
            }
        }
        self.last_id = id % 100;
        self.pending.insert(id, answer);
        id
    }
}

/// Reads until the connection ends.
pub(super) async fn read(
    mut lines: Lines,
    shared: Shared,
    notices: mpsc::UnboundedSender<QueuedNotice>,
    tap: Option<Tap>,
    way: Option<Weak<Tunnel>>,
) {
    let reason = loop {
        let (line, arrived) = match lines.next().await {
            Ok(line) => line,
            Err(reason) => break reason,
        };
        if let Some(tap) = &tap {
            tap.0(Direction::Received, arrived, line);
        }
        if let Err(beyond) = take(line, arrived, &shared, &notices) {
            break beyond.to_string();
        }
        // What a socket holds of events comes at once when we were held up; on one thread, nobody
        // could take any in between.
        if shared.waiting.is_nearly_full() {
            tokio::task::yield_now().await;
        }
    };
    let said =
        way.and_then(|way| way.upgrade()).map(|tunnel| tunnel.recent_log()).unwrap_or_default();
    shared.end(reason + &said);
}

/// Gives a line to whom it is meant for.
fn take(
    line: &[u8],
    arrived: Stamp,
    shared: &Shared,
    notices: &mpsc::UnboundedSender<QueuedNotice>,
) -> std::result::Result<(), LimitExceeded> {
    let values = limits::count_values(line)?;
    match wire::classify(line, arrived) {
        Line::Reply { id, reply } => {
            let waiter = shared.lock().pending.remove(&id);
            // No waiter: a late reply to a call that was given up, or an id that we never sent.
            // Neither is ours to judge.
            if let Some(waiter) = waiter {
                let _ = waiter.send(reply);
            }
        }
        // Nobody listens any more.
        Line::Notice(_) if notices.is_closed() => {}
        Line::Notice(notice) => {
            let weight = limits::weight(&notice, line, values);
            shared.waiting.add(weight)?;
            let _ = notices.send(QueuedNotice(notice, weight));
        }
        Line::Greeting(_) => {}
    }
    Ok(())
}

/// Writes until there is nobody left to ask.
pub(super) async fn write(
    mut writer: Writer,
    mut urgent: mpsc::Receiver<Job>,
    mut background: mpsc::Receiver<Job>,
    shared: Shared,
    tap: Option<Tap>,
    oob: bool,
) {
    // The background request that is on its way; the next one waits for its answer.
    let mut in_flight: Option<oneshot::Receiver<Reply>> = None;
    loop {
        let (job, was_background) = tokio::select! {
            biased;
            () = shared.ended.notified() => break,
            job = urgent.recv() => (job, false),
            job = background.recv(), if in_flight.is_none() => (job, true),
            () = answered(&mut in_flight), if in_flight.is_some() => continue,
        };
        let Some(Job { request, fd, answer }) = job else { break };
        let answer = if was_background {
            let (relay, received) = oneshot::channel();
            in_flight = Some(received);
            let (forward, result) = oneshot::channel();
            tokio::spawn(async move {
                if let Ok(reply) = result.await {
                    let _ = answer.send(reply);
                }
                drop(relay);
            });
            forward
        } else {
            answer
        };
        let id = {
            let mut state = shared.lock();
            if state.end.is_some() {
                break;
            }
            state.register(answer)
        };
        let bytes = request.encode(Some(id), oob);
        if let Some(tap) = &tap {
            tap.0(Direction::Sent, Stamp::now(), &bytes);
        }
        if let Err(error) = writer.send(&bytes, fd).await {
            shared.end(format!("writing to it failed: {error}"));
            break;
        }
    }
}

/// Resolves when the background request has been answered or can no longer be.
async fn answered(in_flight: &mut Option<oneshot::Receiver<Reply>>) {
    if let Some(receiver) = in_flight {
        let _ = receiver.await;
    }
    *in_flight = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_short_and_skip_the_ones_that_wait() {
        let mut state = State::default();
        let mut ids = Vec::new();
        for _ in 0..250 {
            let id = state.register(oneshot::channel().0);
            if id != 5 {
                state.pending.remove(&id);
            }
            ids.push(id);
        }
        assert!(ids.iter().all(|id| *id < 100));
        assert_eq!(ids.iter().filter(|id| **id == 5).count(), 1);
    }

    #[test]
    fn a_hundred_unanswered_requests_do_not_collide() {
        let mut state = State::default();
        let ids: std::collections::HashSet<u32> =
            (0..300).map(|_| state.register(oneshot::channel().0)).collect();
        assert_eq!(ids.len(), 300);
    }
}

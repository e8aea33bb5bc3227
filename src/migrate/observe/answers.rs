//! What the client of an application in the Linux guest says of its answers, stamped on the host:
//! so the host's clock tells how often the application answers and how long it does not, through
//! the blackout too. fixtures/guest/README.md, "Answers".

use super::stamped::{BATCH_AGE_NS, Stamped};
use record::{Answered, Entry, Sink};
use std::io;
use std::os::unix::net::UnixStream;

/// A thread that reads what the client in one QEMU says.
#[derive(Debug)]
pub struct Answers(Stamped);

impl Answers {
    /// Starts reading those of `vm`.
    ///
    /// # Errors
    /// When no thread or descriptor is to be had.
    pub fn start(vm: u32, stream: UnixStream, sink: Sink) -> io::Result<Answers> {
        let (mut batch, mut batch_began_ns) = (Vec::new(), 0);
        let take = move |bytes: &[u8], now_ns: u64| {
            batch.extend(bytes.iter().map(|count| Answered { count: *count, arrived_ns: now_ns }));
            let due = bytes.is_empty() || now_ns - batch_began_ns >= BATCH_AGE_NS;
            if due && !batch.is_empty() {
                batch_began_ns = now_ns;
                sink.give_and_wait(Entry::Answers(vm, std::mem::take(&mut batch)));
            }
        };
        Ok(Answers(Stamped::start(&format!("answers-{vm}"), stream, take)?))
    }

    /// Stops. The guest cannot say more after this.
    pub fn stop(self) {
        self.0.stop();
    }
}

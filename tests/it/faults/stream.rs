//! A way for the migration stream that is long, can stall, and can be cut. It is the test's own, as
//! the driver may die.

use base::clock::monotonic_ns;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One way. Long enough for what happens within it to be met: the source's last data on its way,
/// the destination's word on its way back.
const DELAY: Duration = Duration::from_millis(150);
const CHUNKS: usize = 4096;

/// Listens at `at`, and leads to `to`.
pub(super) struct Stream {
    pub(super) at: PathBuf,
    pub(super) to: PathBuf,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stalled_until_ns: AtomicU64,
    open: Mutex<Vec<UnixStream>>,
}

impl Stream {
    pub(super) fn start(at: PathBuf, to: PathBuf) -> Stream {
        let listener = UnixListener::bind(&at).unwrap();
        let state = Arc::new(State::default());
        let (shared, leads_to) = (state.clone(), to.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(server) = UnixStream::connect(&leads_to) {
                    let copy = |stream: &UnixStream| stream.try_clone().unwrap();
                    shared.open.lock().unwrap().extend([copy(&client), copy(&server)]);
                    lay(copy(&client), copy(&server), &shared);
                    lay(server, client, &shared);
                }
            }
        });
        Stream { at, to, state }
    }

    /// What is on its way is lost.
    pub(super) fn cut(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn stall(&self, time: Duration) {
        self.state.stalled_until_ns.store(after(time), Ordering::Relaxed);
    }
}

fn lay(from: UnixStream, to: UnixStream, state: &Arc<State>) {
    let (chunks, arrive) = sync_channel(CHUNKS);
    std::thread::spawn(move || take(from, &chunks));
    let state = state.clone();
    std::thread::spawn(move || give(to, &arrive, &state));
}

fn take(mut from: UnixStream, chunks: &SyncSender<(u64, Vec<u8>)>) {
    loop {
        let mut bytes = vec![0; 64 << 10];
        let Ok(length @ 1..) = from.read(&mut bytes) else { return };
        bytes.truncate(length);
        if chunks.send((after(DELAY), bytes)).is_err() {
            return;
        }
    }
}

fn give(mut to: UnixStream, chunks: &Receiver<(u64, Vec<u8>)>, state: &State) {
    for (due_ns, bytes) in chunks {
        wait_until(due_ns);
        wait_until(state.stalled_until_ns.load(Ordering::Relaxed));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn after(time: Duration) -> u64 {
    monotonic_ns() + u64::try_from(time.as_nanos()).unwrap()
}

fn wait_until(due_ns: u64) {
    loop {
        let left_ns = due_ns.saturating_sub(monotonic_ns());
        if left_ns == 0 {
            return;
        }
        std::thread::park_timeout(Duration::from_nanos(left_ns));
    }
}

//! A way to a QEMU's QMP socket that can be slow, and can end.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SLOWNESS: Duration = Duration::from_millis(100);

/// Listens at `at`, and leads to `to`.
pub(super) struct Wire {
    at: PathBuf,
    state: Arc<State>,
}

struct State {
    is_slow: AtomicBool,
    open: Mutex<Vec<UnixStream>>,
}

impl Wire {
    pub(super) fn start(at: PathBuf, to: PathBuf) -> Wire {
        let listener = UnixListener::bind(&at).unwrap();
        let state = Arc::new(State { is_slow: AtomicBool::new(false), open: Mutex::default() });
        let shared = state.clone();
        // It ends with the process: a test's threads may wait for what never comes.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A QEMU that is gone: the client sees its connection end.
                if let Ok(server) = UnixStream::connect(&to) {
                    join(&client, &server, &shared);
                }
            }
        });
        Wire { at, state }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("unix:{}", self.at.display())
    }

    pub(super) fn slow(&self) {
        self.state.is_slow.store(true, Ordering::Relaxed);
    }

    /// What is open ends.
    pub(super) fn close(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn join(client: &UnixStream, server: &UnixStream, state: &Arc<State>) {
    let copy = |stream: &UnixStream| stream.try_clone().unwrap();
    state.open.lock().unwrap().extend([copy(client), copy(server)]);
    for (from, to) in [(copy(client), copy(server)), (copy(server), copy(client))] {
        let state = state.clone();
        std::thread::spawn(move || pass(from, to, &state));
    }
}

fn pass(from: UnixStream, mut to: UnixStream, state: &State) {
    let mut reader = BufReader::new(from);
    while let Ok(bytes) = reader.fill_buf() {
        if bytes.is_empty() {
            break;
        }
        if state.is_slow.load(Ordering::Relaxed) {
            std::thread::park_timeout(SLOWNESS);
        }
        let length = bytes.len();
        if to.write_all(bytes).is_err() {
            break;
        }
        reader.consume(length);
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = reader.get_ref().shutdown(Shutdown::Both);
}

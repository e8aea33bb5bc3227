//! Bytes that a QEMU writes, stamped as they arrive: a thread for each stream, so that nothing else
//! delays the stamp.

use base::clock::monotonic_ns;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

/// What was read is recorded when so much time has passed, in one piece.
pub(super) const BATCH_AGE_NS: u64 = 100_000_000;

/// The thread.
#[derive(Debug)]
pub(super) struct Stamped {
    thread: JoinHandle<()>,
    closer: UnixStream,
}

impl Stamped {
    /// Calls `take` with what came and when; at the end with nothing.
    pub(super) fn start(
        name: &str,
        mut stream: UnixStream,
        mut take: impl FnMut(&[u8], u64) + Send + 'static,
    ) -> io::Result<Stamped> {
        let closer = stream.try_clone()?;
        stream.set_nonblocking(false)?;
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                match stream.read(&mut bytes) {
                    Ok(read) if read > 0 => take(&bytes[..read], monotonic_ns()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(_) | Err(_) => break,
                }
            }
            take(&[], monotonic_ns());
        })?;
        Ok(Stamped { thread, closer })
    }

    /// Nothing comes after this.
    pub(super) fn stop(self) {
        let _ = self.closer.shutdown(Shutdown::Both);
        let _ = self.thread.join();
    }
}

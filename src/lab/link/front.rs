//! Connections that are let in: each is accepted, and goes on to where the link leads.

use super::Entrance;
use super::emulator::Control;
use migrate::sockets::Address;
use scenario::Socket as Options;
use socket2::Socket;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A listener and its thread. Closes when dropped.
#[derive(Debug)]
pub struct Front {
    listener: Arc<Socket>,
    address: Address,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    pub(super) fn open(
        at: &Address,
        to: Address,
        entrance: Entrance,
    ) -> io::Result<(Front, Address)> {
        let (listener, address) = at.listen()?;
        let listener = Arc::new(listener);
        let accepting = listener.clone();
        let thread =
            std::thread::Builder::new().name("link-front".to_owned()).spawn(move || {
                // Ends when the listener is shut down.
                while let Ok((accepted, _)) = accepting.accept() {
                    entrance.control(Control::Begin);
                    // Nothing gets through a link that is broken, not even the beginning of a connection: QEMU 7.2 crashes and 11.1 fails as a
                    // post-copy destination when a connection ends before it has said anything.
                    if entrance.is_down() {
                        continue;
                    }
                    let joined = to
                        .connect(&Options::default())
                        .and_then(|onward| entrance.join([accepted, onward]));
                    if let Err(error) = joined {
                        // The accepted one is closed: that is what its peer sees of a destination that refuses.
                        tracing::warn!(%error, %to, "the link does not lead on");
                    }
                }
            })?;
        Ok((Front { listener, address: address.clone(), thread: Some(thread) }, address))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.listener.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Address::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

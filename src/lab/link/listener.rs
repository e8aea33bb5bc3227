//! Accepts connections and connects each of them through the link.

use super::SharedLink;
use super::emulator::Control;
use migrate::sockets::Address;
use scenario::Socket as Options;
use socket2::Socket;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A listening socket and its thread. It closes on drop.
#[derive(Debug)]
pub struct LinkListener {
    listener: Arc<Socket>,
    address: Address,
    thread: Option<JoinHandle<()>>,
}

impl LinkListener {
    pub(super) fn open(
        at: &Address,
        to: Address,
        shared: SharedLink,
    ) -> io::Result<(LinkListener, Address)> {
        let (listener, address) = at.listen()?;
        let listener = Arc::new(listener);
        let accepting = listener.clone();
        let thread =
            std::thread::Builder::new().name("link-listener".to_owned()).spawn(move || {
                // The loop ends when the listener is shut down.
                while let Ok((accepted, _)) = accepting.accept() {
                    shared.control(Control::Begin);
                    // A broken link passes nothing, not even the start of a connection: as a
                    // post-copy destination, QEMU 7.2 crashes and 11.1 fails when a connection ends
                    // before it has sent anything.
                    if shared.is_down() {
                        continue;
                    }
                    let joined = to
                        .connect(&Options::default())
                        .and_then(|onward| shared.join([accepted, onward]));
                    if let Err(error) = joined {
                        // The accepted socket closes. Its peer sees that as a refused connection.
                        tracing::warn!(%error, %to, "cannot connect the link to its target");
                    }
                }
            })?;
        Ok((LinkListener { listener, address: address.clone(), thread: Some(thread) }, address))
    }
}

impl Drop for LinkListener {
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

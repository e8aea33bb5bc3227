//! Reading from a peer: lines, as they arrive.
//!
//! Takes a socket's reading half; gives lines with their stamps, of bounded length. Knows nothing
//! of what is in them.

use super::limits::{LimitExceeded, MAX_LINE_BYTES};
use base::clock::Stamp;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::tcp;

const READ_BYTES: usize = 64 << 10;

/// The reading half of a TCP connection, acknowledging at once. QEMU leaves Nagle's algorithm on,
/// so an event waits until what was sent before it is acknowledged, which the kernel delays by up
/// to 40 ms: too late to act on, and out of order between two QEMUs.
pub(super) struct QuickAck(pub(super) tcp::OwnedReadHalf);

impl AsyncRead for QuickAck {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let half = &mut self.get_mut().0;
        let polled = Pin::new(&mut *half).poll_read(context, buffer);
        if polled.is_ready() {
            // The kernel forgets it by and by, so it is set again. Where it cannot be, events are
            // late and nothing else.
            let _ = half.as_ref().set_quickack(true);
        }
        polled
    }
}

/// Splits what arrives into lines. The stamp is that of the read that completed the line.
pub(super) struct Lines {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    buffer: Vec<u8>,
    /// So many bytes at its beginning were handed out as a line.
    handed_out: usize,
    searched: usize,
    arrived: Stamp,
}

impl Lines {
    pub(super) fn new(reader: Box<dyn AsyncRead + Send + Unpin>) -> Lines {
        Lines { reader, buffer: Vec::new(), handed_out: 0, searched: 0, arrived: Stamp::now() }
    }

    /// The next line without its end, and when it had arrived; or why there is none. Empty lines
    /// are passed over.
    pub(super) async fn next(&mut self) -> std::result::Result<(&[u8], Stamp), String> {
        let (from, to) = loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
                let (from, to) = (self.handed_out, self.searched + at);
                (self.handed_out, self.searched) = (to + 1, to + 1);
                if self.buffer[from..to].trim_ascii_end().is_empty() {
                    continue;
                }
                break (from, to);
            }
            // Only where there is no whole line any more, so that many short ones are not moved one
            // by one.
            self.buffer.drain(..self.handed_out);
            self.handed_out = 0;
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE_BYTES {
                return Err(LimitExceeded::Length.to_string());
            }
            self.reserve_for_read();
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) => return Err("QEMU closed it (has the process ended?)".to_owned()),
                Ok(_) => self.arrived = Stamp::now(),
                Err(error) => return Err(format!("reading from it failed: {error}")),
            }
        };
        Ok((self.buffer[from..to].trim_ascii_end(), self.arrived))
    }

    /// For one more read. No more than that, so that a long line takes what it has and not twice as
    /// much; and what the last long one took is given back.
    fn reserve_for_read(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 2 * READ_BYTES {
            self.buffer = Vec::new();
        }
        self.buffer.reserve_exact(READ_BYTES);
    }
}

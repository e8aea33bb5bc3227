//! Serial console of the user's own guest: recorded line by line, and searched for the text of
//! `guest.ready`.

use super::LabError;
use super::last_output::LastOutput;
use base::clock::Stamp;
use record::{Entry, Sink};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Maximum length of a line in bytes. A longer line is recorded in parts.
const MAX_LINE_BYTES: usize = 4096;

/// Minimum number of bytes kept for the search.
const MIN_SEARCH_BYTES: usize = 64 << 10;

/// Output of a guest that does not answer commands.
#[derive(Debug)]
pub(super) struct Serial {
    /// Output as it arrives; `None` once the search is over.
    text: Option<mpsc::UnboundedReceiver<String>>,
    seen: String,
    last: LastOutput,
}

impl Serial {
    pub(super) fn new(vm: u32, stream: UnixStream, sink: Sink) -> Serial {
        let (sender, text) = mpsc::unbounded_channel();
        tokio::spawn(read_all(vm, stream, sink, sender));
        Serial { text: Some(text), seen: String::new(), last: LastOutput::default() }
    }

    /// Waits until the guest has written `wanted`. The text may stand anywhere in a line, and the
    /// line need not have ended: a prompt has no newline.
    pub(super) async fn wait_for(&mut self, wanted: &str, limit: Duration) -> Result<(), LabError> {
        let Some(mut text) = self.text.take() else { return Ok(()) };
        let (seen, last) = (&mut self.seen, &mut self.last);
        let found = timeout(limit, async {
            while let Some(more) = text.recv().await {
                seen.push_str(&more);
                seen.lines().for_each(|line| last.record(line));
                if seen.contains(wanted) {
                    return true;
                }
                // Drop lines already searched, except the last ones.
                if let Some((at, _)) =
                    seen.rmatch_indices('\n').nth(1).filter(|_| !wanted.contains('\n'))
                {
                    seen.drain(..at);
                }
                // Limit the buffer for a guest that writes no newlines.
                let max = MIN_SEARCH_BYTES.max(2 * wanted.len());
                if seen.len() > 2 * max {
                    let from = (seen.len() - max..seen.len()).find(|at| seen.is_char_boundary(*at));
                    seen.drain(..from.unwrap_or(0));
                }
            }
            false
        });
        let problem = match found.await {
            Ok(true) => return Ok(()),
            Ok(false) => {
                format!("closed its serial console before it wrote `{wanted}` (guest.ready)")
            }
            Err(_) => format!(
                "did not write `{wanted}` (guest.ready) on its serial console within {limit:?}"
            ),
        };
        Err(LabError::Guest { problem, said: self.last.text() })
    }

    /// Ends the search. Later output is only recorded.
    pub(super) fn stop_search(&mut self) {
        self.text = None;
    }

    /// Returns the last output of the guest, for an error message.
    pub(super) fn last_output(&self) -> &LastOutput {
        &self.last
    }
}

async fn read_all(
    vm: u32,
    mut stream: UnixStream,
    sink: Sink,
    text: mpsc::UnboundedSender<String>,
) {
    let mut line = Vec::new();
    let mut bytes = [0; 1024];
    let record = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        sink.give(Entry::Guest(vm, Stamp::now(), text));
        line.clear();
    };
    loop {
        let read = match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        for byte in &bytes[..read] {
            line.push(*byte);
            if *byte == b'\n' || line.len() >= MAX_LINE_BYTES {
                record(&mut line);
            }
        }
        let _ = text.send(String::from_utf8_lossy(&bytes[..read]).into_owned());
    }
    if !line.is_empty() {
        record(&mut line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn wait_for(parts: &[&str], wanted: &str) -> Result<(), String> {
        let (mut guest, ours) = UnixStream::pair().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let run = record::RunDir::create(&directory.path().join("run"), "", false).unwrap();
        let mut serial = Serial::new(0, ours, run.sink());
        for part in parts {
            guest.write_all(part.as_bytes()).await.unwrap();
        }
        drop(guest);
        serial.wait_for(wanted, Duration::from_secs(60)).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn finds_a_prompt_without_newline_and_across_reads() {
        assert_eq!(wait_for(&["booting\nlog", "in: "], "login:").await, Ok(()));
        assert_eq!(wait_for(&["one\ntwo\n"], "one\ntwo").await, Ok(()));
        let missed = wait_for(&["Kernel panic - not syncing\n"], "login:").await.unwrap_err();
        assert!(missed.contains("before it wrote `login:`"), "{missed}");
    }
}

//! The serial console of a guest of the user's: recorded line by line, and looked through for the text that says that it is up.

use super::LabError;
use super::last_words::LastWords;
use base::clock::Stamp;
use record::{Entry, Sink};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A line that is longer is recorded in parts.
const LINE_MAX: usize = 4096;

/// So much is looked through for a text, at least.
const SEEN_MOST: usize = 64 << 10;

/// What a guest writes. It is asked nothing.
#[derive(Debug)]
pub(super) struct Serial {
    /// As it comes; let go when nobody waits for a text any more.
    text: Option<mpsc::UnboundedReceiver<String>>,
    seen: String,
    last: LastWords,
}

impl Serial {
    pub(super) fn new(vm: u32, stream: UnixStream, sink: Sink) -> Serial {
        let (sender, text) = mpsc::unbounded_channel();
        tokio::spawn(read_all(vm, stream, sink, sender));
        Serial { text: Some(text), seen: String::new(), last: LastWords::default() }
    }

    /// Waits until it has written `wanted`, at the end of a line or within it: a prompt has no end of line.
    pub(super) async fn wait_for(
        &mut self,
        wanted: &str,
        deadline: Duration,
    ) -> Result<(), LabError> {
        let Some(mut text) = self.text.take() else { return Ok(()) };
        let (seen, last) = (&mut self.seen, &mut self.last);
        let found = timeout(deadline, async {
            while let Some(more) = text.recv().await {
                seen.push_str(&more);
                seen.lines().for_each(|line| last.hear(line));
                if seen.contains(wanted) {
                    return true;
                }
                // What was looked through is of no more use but for its last lines.
                if let Some((at, _)) =
                    seen.rmatch_indices('\n').nth(1).filter(|_| !wanted.contains('\n'))
                {
                    seen.drain(..at);
                }
                // Nor is what a guest without ends of lines wrote long ago.
                let most = SEEN_MOST.max(2 * wanted.len());
                if seen.len() > 2 * most {
                    let from =
                        (seen.len() - most..seen.len()).find(|at| seen.is_char_boundary(*at));
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
                "did not write `{wanted}` (guest.ready) on its serial console within {deadline:?}"
            ),
        };
        Err(LabError::Guest { problem, said: self.last.text() })
    }

    /// Nobody waits for a text: what it writes is only recorded.
    pub(super) fn listen_no_more(&mut self) {
        self.text = None;
    }

    /// What it said last, for an error.
    pub(super) fn last_words(&self) -> &LastWords {
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
        let said = String::from_utf8_lossy(line).trim_end().to_owned();
        sink.give(Entry::Guest(vm, Stamp::now(), said));
        line.clear();
    };
    loop {
        let read = match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        for byte in &bytes[..read] {
            line.push(*byte);
            if *byte == b'\n' || line.len() >= LINE_MAX {
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

    async fn said(parts: &[&str], wanted: &str) -> Result<(), String> {
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
    async fn a_prompt_is_found_without_the_end_of_its_line_and_however_it_was_cut() {
        assert_eq!(said(&["booting\nlog", "in: "], "login:").await, Ok(()));
        assert_eq!(said(&["one\ntwo\n"], "one\ntwo").await, Ok(()));
        let missed = said(&["Kernel panic - not syncing\n"], "login:").await.unwrap_err();
        assert!(missed.contains("before it wrote `login:`"), "{missed}");
    }
}

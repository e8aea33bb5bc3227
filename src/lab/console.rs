//! Commands to the guest program: a command is one byte, its answer is lines up to `end`
//! (fixtures/guest/README.md).

use super::LabError;
use super::last_output::LastOutput;
use base::clock::Stamp;
use record::{Entry, Sink, vm_name};
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Prefix of the periodic lines that report how much the guest has written.
const RATE_PREFIX: &str = "rate ";
/// Maximum length of a line in bytes. A longer line is recorded in parts.
const MAX_LINE_BYTES: u64 = 16 << 10;
/// Maximum number of lines that wait to be read. The longest answer has about a hundred.
const MAX_WAITING_LINES: usize = 1024;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The guest's console on one side.
#[derive(Debug)]
pub struct Console {
    vm: u32,
    lines: mpsc::Receiver<String>,
    writer: OwnedWriteHalf,
    last: LastOutput,
}

/// Records every line, and passes on those that do not report the write rate.
async fn read_all(
    vm: u32,
    mut reader: BufReader<OwnedReadHalf>,
    sink: Sink,
    lines: mpsc::Sender<String>,
) {
    let mut bytes = Vec::new();
    while (&mut reader)
        .take(MAX_LINE_BYTES)
        .read_until(b'\n', &mut bytes)
        .await
        .is_ok_and(|read| read > 0)
    {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        sink.give(Entry::Guest(vm, Stamp::now(), line.clone()));
        if !line.starts_with(RATE_PREFIX) {
            // Only a guest other than ours fills the queue. Its commands then time out.
            let _ = lines.try_send(line);
        }
    }
}

/// The guest's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestStatus {
    /// Number of reads and writes.
    pub operations: u64,
    /// Number of writes. Each write dirties one page.
    pub writes: u64,
    /// Number of pages whose content was wrong when the guest read them.
    pub live_errors: u64,
}

/// Result of the guest's memory check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestCheck {
    /// Whether every page has the content last written, and the counters agree.
    pub intact: bool,
    /// Number of pages checked.
    pub pages: u64,
    /// Number of pages with wrong content.
    pub bad: u64,
    /// Number of pages whose content was wrong when the guest read them before the check.
    pub live_errors: u64,
    /// Number of writes by the table that holds a generation for each page.
    pub generations: u64,
    /// Number of writes by a single counter. Table and counter migrate too, and must agree.
    pub writes: u64,
}

/// State of the load in the Linux guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadStatus {
    /// Whether the load is running.
    pub running: bool,
    /// Number of requests that the application answered; `None` for a load without requests.
    pub answered: Option<u64>,
    /// Number of answers that differ from the value last stored.
    pub wrong: Option<u64>,
    /// Number of stored keys that are missing.
    pub missing: Option<u64>,
    /// Exit status and last output of the load; `None` while it runs.
    pub said: Option<String>,
}

impl Console {
    pub(super) fn new(vm: u32, stream: UnixStream, sink: Sink) -> Console {
        let (reader, writer) = stream.into_split();
        let (sender, lines) = mpsc::channel(MAX_WAITING_LINES);
        tokio::spawn(read_all(vm, BufReader::new(reader), sink, sender));
        Console { vm, lines, writer, last: LastOutput::default() }
    }

    /// Waits until the guest has filled its working set.
    pub(super) async fn ready(&mut self, limit: Duration) -> Result<(), LabError> {
        let wait = async {
            loop {
                let line = self.line().await?;
                if line == "ready" {
                    return Ok(());
                }
                if line.starts_with("error")
                    || line.starts_with("exception")
                    || line.starts_with("panic")
                {
                    return Err(LabError::Guest {
                        problem: "could not start".to_owned(),
                        said: line,
                    });
                }
            }
        };
        match timeout(limit, wait).await {
            Ok(result) => result,
            Err(_) => Err(self.guest_error(&format!("was not ready within {limit:?}"))),
        }
    }

    /// Reads the guest's counters.
    ///
    /// # Errors
    /// [`LabError::Guest`] if the guest does not answer.
    pub async fn status(&mut self) -> Result<GuestStatus, LabError> {
        let lines = self.ask(b's', ANSWER_TIMEOUT).await?;
        let values = self.values(&lines, "status")?;
        Ok(GuestStatus {
            operations: number(&values, "operations"),
            writes: number(&values, "writes"),
            live_errors: number(&values, "live_errors"),
        })
    }

    /// Makes the guest check every page. The guest pauses its work during the check.
    ///
    /// # Errors
    /// [`LabError::Guest`] if the guest does not answer within `limit`.
    pub async fn check(&mut self, limit: Duration) -> Result<GuestCheck, LabError> {
        let lines = self.ask(b'c', limit).await?;
        let values = self.values(&lines, "check")?;
        Ok(GuestCheck {
            intact: values.get("verdict").map(String::as_str) == Some("intact"),
            pages: number(&values, "pages"),
            bad: number(&values, "bad"),
            live_errors: number(&values, "live_errors"),
            generations: number(&values, "generations"),
            writes: number(&values, "writes"),
        })
    }

    /// Reads the histogram of the guest's stalls: the lower bound of each bucket in ns, and its
    /// count.
    ///
    /// # Errors
    /// [`LabError::Guest`] if the guest does not answer.
    pub async fn stalls(&mut self) -> Result<Vec<(u64, u64)>, LabError> {
        let lines = self.ask(b'h', ANSWER_TIMEOUT).await?;
        let bucket = |line: &String| {
            let (lower, count) = line.strip_prefix("stall ")?.split_once(' ')?;
            Some((lower.parse().ok()?, count.parse().ok()?))
        };
        Ok(lines.iter().filter_map(bucket).collect())
    }

    /// Reads the state of the load.
    ///
    /// # Errors
    /// [`LabError::Guest`] if the guest does not answer.
    pub async fn load(&mut self) -> Result<LoadStatus, LabError> {
        let lines = self.ask(b'l', ANSWER_TIMEOUT).await?;
        let values = self.values(&lines, "load")?;
        let count = |key: &str| values.get(key).and_then(|value| value.parse().ok());
        Ok(LoadStatus {
            running: values.get("running").map(String::as_str) == Some("true"),
            answered: count("answered"),
            wrong: count("wrong"),
            missing: count("missing"),
            said: lines.iter().find_map(|line| line.strip_prefix("said ").map(str::to_owned)),
        })
    }

    /// Makes the guest corrupt one page, to test that its check detects it.
    ///
    /// # Errors
    /// [`LabError::Guest`] if the guest does not answer.
    pub async fn inject_fault(&mut self) -> Result<(), LabError> {
        self.ask(b'x', ANSWER_TIMEOUT).await.map(drop)
    }

    /// Pauses (`true`) or resumes the guest's work. Heartbeats continue.
    ///
    /// # Errors
    /// [`LabError::Guest`] if the guest does not answer.
    pub async fn pause(&mut self, pause: bool) -> Result<(), LabError> {
        self.ask(if pause { b'p' } else { b'g' }, ANSWER_TIMEOUT).await.map(drop)
    }

    /// Returns the last output of the guest, for an error message.
    pub(super) async fn last_output(&mut self) -> &LastOutput {
        while let Ok(Ok(_)) = timeout(Duration::from_millis(20), self.line()).await {}
        &self.last
    }

    async fn ask(&mut self, command: u8, limit: Duration) -> Result<Vec<String>, LabError> {
        let exchange = async {
            if let Err(error) = self.writer.write_all(&[command]).await {
                return Err(LabError::Guest {
                    problem: format!("cannot be asked: {error}"),
                    said: self.last.text(),
                });
            }
            let mut lines = Vec::new();
            loop {
                let line = self.line().await?;
                if line == "end" {
                    return Ok(lines);
                }
                lines.push(line);
            }
        };
        match timeout(limit, exchange).await {
            Ok(result) => result,
            Err(_) => Err(self.guest_error(&format!(
                "did not answer `{}` within {limit:?}",
                char::from(command)
            ))),
        }
    }

    async fn line(&mut self) -> Result<String, LabError> {
        match self.lines.recv().await {
            Some(line) => {
                self.last.record(&line);
                Ok(line)
            }
            None => Err(self.guest_error("closed its console")),
        }
    }

    fn guest_error(&self, problem: &str) -> LabError {
        LabError::Guest {
            problem: format!("({}) {problem}", vm_name(self.vm)),
            said: self.last.text(),
        }
    }

    fn values(&self, lines: &[String], word: &str) -> Result<HashMap<String, String>, LabError> {
        let line = lines.iter().find(|line| line.split(' ').next() == Some(word));
        let line = line.ok_or_else(|| self.guest_error(&format!("answered without `{word}`")))?;
        Ok(line
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect())
    }
}

fn number(values: &HashMap<String, String>, key: &str) -> u64 {
    values.get(key).and_then(|value| value.parse().ok()).unwrap_or(0)
}

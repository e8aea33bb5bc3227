//! Talking to the micro-guest: one byte is a command, the answer is lines up to `end` (fixtures/guest/README.md).

use super::LabError;
use super::last_words::LastWords;
use base::clock::Stamp;
use record::{Entry, Sink, vm_name};
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How an unasked line begins that says how much was written.
const RATE: &str = "rate ";
/// A line that is longer is recorded in parts.
const LINE_MAX: u64 = 16 << 10;
/// Lines that nobody has asked for yet. The longest answer has some hundred.
const LINES_WAITING: usize = 1024;
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The guest's console on one side.
#[derive(Debug)]
pub struct Console {
    vm: u32,
    lines: mpsc::Receiver<String>,
    writer: OwnedWriteHalf,
    last: LastWords,
}

/// Records every line as it comes, whether or not anybody asked, and passes on what is not a report of the write rate.
async fn read_all(
    vm: u32,
    mut reader: BufReader<OwnedReadHalf>,
    sink: Sink,
    lines: mpsc::Sender<String>,
) {
    let mut bytes = Vec::new();
    while (&mut reader)
        .take(LINE_MAX)
        .read_until(b'\n', &mut bytes)
        .await
        .is_ok_and(|read| read > 0)
    {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        sink.give(Entry::Guest(vm, Stamp::now(), line.clone()));
        if !line.starts_with(RATE) {
            // A guest that says so much unasked is not one of ours; what is asked of it then has no answer.
            let _ = lines.try_send(line);
        }
    }
}

/// The guest's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestStatus {
    /// Operations, reads and writes.
    pub operations: u64,
    /// Writes; each dirties one page.
    pub writes: u64,
    /// Pages found wrong while working.
    pub live_errors: u64,
}

/// The guest's verdict on its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestCheck {
    /// Whether every page is as it was written last, and the counters agree.
    pub intact: bool,
    /// Pages checked.
    pub pages: u64,
    /// Pages that are wrong now.
    pub bad: u64,
    /// Pages that were found wrong while working.
    pub live_errors: u64,
    /// Writes by the table that holds a generation for each page.
    pub generations: u64,
    /// Writes by its one counter: both are memory that moves too, and must agree.
    pub writes: u64,
}

/// What runs in the Linux guest beside the guest program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadStatus {
    /// It has not ended.
    pub running: bool,
    /// Requests that an application answered; `None` where nobody asks it anything.
    pub answered: Option<u64>,
    /// Answers with another value than the one that was stored last.
    pub wrong: Option<u64>,
    /// Keys that were stored and are not there any more.
    pub missing: Option<u64>,
    /// How it ended and what it printed last, if it has.
    pub said: Option<String>,
}

impl Console {
    pub(super) fn new(vm: u32, stream: UnixStream, sink: Sink) -> Console {
        let (reader, writer) = stream.into_split();
        let (sender, lines) = mpsc::channel(LINES_WAITING);
        tokio::spawn(read_all(vm, BufReader::new(reader), sink, sender));
        Console { vm, lines, writer, last: LastWords::default() }
    }

    /// Waits until the guest has filled its working set.
    pub(super) async fn ready(&mut self, deadline: Duration) -> Result<(), LabError> {
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
        match timeout(deadline, wait).await {
            Ok(result) => result,
            Err(_) => Err(self.silent(&format!("was not ready within {deadline:?}"))),
        }
    }

    /// The guest's counters.
    ///
    /// # Errors
    /// [`LabError::Guest`] if it does not answer.
    pub async fn status(&mut self) -> Result<GuestStatus, LabError> {
        let lines = self.ask(b's', ANSWER_DEADLINE).await?;
        let values = self.values(&lines, "status")?;
        Ok(GuestStatus {
            operations: number(&values, "operations"),
            writes: number(&values, "writes"),
            live_errors: number(&values, "live_errors"),
        })
    }

    /// Has the guest check every page. It works no further meanwhile.
    ///
    /// # Errors
    /// [`LabError::Guest`] if it does not answer, or not within `deadline`.
    pub async fn check(&mut self, deadline: Duration) -> Result<GuestCheck, LabError> {
        let lines = self.ask(b'c', deadline).await?;
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

    /// The guest's histogram of stalls: lower bound of the bucket in ns, count.
    ///
    /// # Errors
    /// [`LabError::Guest`] if it does not answer.
    pub async fn stalls(&mut self) -> Result<Vec<(u64, u64)>, LabError> {
        let lines = self.ask(b'h', ANSWER_DEADLINE).await?;
        let bucket = |line: &String| {
            let (lower, count) = line.strip_prefix("stall ")?.split_once(' ')?;
            Some((lower.parse().ok()?, count.parse().ok()?))
        };
        Ok(lines.iter().filter_map(bucket).collect())
    }

    /// How the load is.
    ///
    /// # Errors
    /// [`LabError::Guest`] if it does not answer.
    pub async fn load(&mut self) -> Result<LoadStatus, LabError> {
        let lines = self.ask(b'l', ANSWER_DEADLINE).await?;
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

    /// Damages one page on purpose.
    ///
    /// # Errors
    /// [`LabError::Guest`] if it does not answer.
    pub async fn inject_fault(&mut self) -> Result<(), LabError> {
        self.ask(b'x', ANSWER_DEADLINE).await.map(drop)
    }

    /// Stops (`true`) or continues the guest's own work; its heart goes on.
    ///
    /// # Errors
    /// [`LabError::Guest`] if it does not answer.
    pub async fn pause(&mut self, pause: bool) -> Result<(), LabError> {
        self.ask(if pause { b'p' } else { b'g' }, ANSWER_DEADLINE).await.map(drop)
    }

    /// What it said last, for an error.
    pub(super) async fn last_words(&mut self) -> &LastWords {
        while let Ok(Ok(_)) = timeout(Duration::from_millis(20), self.line()).await {}
        &self.last
    }

    async fn ask(&mut self, command: u8, deadline: Duration) -> Result<Vec<String>, LabError> {
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
        match timeout(deadline, exchange).await {
            Ok(result) => result,
            Err(_) => Err(self
                .silent(&format!("did not answer `{}` within {deadline:?}", char::from(command)))),
        }
    }

    async fn line(&mut self) -> Result<String, LabError> {
        match self.lines.recv().await {
            Some(line) => {
                self.last.hear(&line);
                Ok(line)
            }
            None => Err(self.silent("is gone: its console is closed")),
        }
    }

    fn silent(&self, problem: &str) -> LabError {
        LabError::Guest {
            problem: format!("({}) {problem}", vm_name(self.vm)),
            said: self.last.text(),
        }
    }

    fn values(&self, lines: &[String], word: &str) -> Result<HashMap<String, String>, LabError> {
        let line = lines.iter().find(|line| line.split(' ').next() == Some(word));
        let line = line.ok_or_else(|| self.silent(&format!("answered without `{word}`")))?;
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

//! The journal of a campaign: one line of JSON per finished visit, written to disk before the next
//! visit begins.
//!
//! A last line that was cut off, for example by a power failure, does not count: that visit is made
//! again when the sweep is resumed.

use super::schedule::Visit;
use analysis::RunRow;
use base::text::for_each_line;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

/// A finished visit, as a line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletedVisit {
    /// The cell and the round of the visit.
    pub visit: Visit,
    /// The duration of the whole visit, in seconds.
    pub seconds: f64,
    /// One row per measured run.
    pub rows: Vec<RunRow>,
}

/// A journal that is open for appending.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// All finished visits, those from the file first.
    pub visits: Vec<CompletedVisit>,
}

impl Journal {
    /// Opens or creates the journal and removes an incomplete last line.
    ///
    /// # Errors
    /// Returns the error of the file system, or `InvalidData` for a line that is not a visit; the
    /// file is not changed then.
    pub fn open(path: &Path) -> io::Result<Journal> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let (visits, complete_bytes) = read_visits(BufReader::new(&mut file))?;
        file.set_len(complete_bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Journal { file, visits })
    }

    /// Reads the finished visits and leaves the file as it is.
    ///
    /// # Errors
    /// Returns the same errors as [`Journal::open`].
    pub fn read(path: &Path) -> io::Result<Vec<CompletedVisit>> {
        Ok(read_visits(BufReader::new(File::open(path)?))?.0)
    }

    /// Appends a visit. It is on disk when this returns.
    ///
    /// # Errors
    /// Returns the error of the file system. The incomplete line is then removed again, so that the
    /// next one starts on a line of its own.
    pub fn append(&mut self, visited: CompletedVisit) -> io::Result<()> {
        let before = self.file.stream_position()?;
        let mut line = serde_json::to_vec(&visited)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // If this fails too, `open` removes the incomplete line.
            let _ =
                self.file.set_len(before).and_then(|()| self.file.seek(SeekFrom::Start(before)));
        }
        written?;
        self.visits.push(visited);
        Ok(())
    }

    /// Whether this visit is finished.
    #[must_use]
    pub fn contains(&self, visit: Visit) -> bool {
        self.visits.iter().any(|visited| visited.visit == visit)
    }
}

/// The longest line that is read, in bytes. A visit takes a few KiB per run.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Reads the visits, and the length in bytes of the complete lines.
fn read_visits(from: impl BufRead) -> io::Result<(Vec<CompletedVisit>, u64)> {
    let (mut visits, mut complete_bytes, mut number) = (Vec::new(), 0u64, 0u64);
    let mut problem = None;
    for_each_line(from, MAX_LINE_BYTES, |line| {
        number += 1;
        if problem.is_some() || !line.ends_with(b"\n") {
            return;
        }
        complete_bytes += line.len() as u64;
        match serde_json::from_slice(line) {
            Ok(visited) => visits.push(visited),
            Err(error) => problem = Some(format!("line {number} is not a visit: {error}")),
        }
    })
    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match problem {
        Some(problem) => Err(io::Error::new(io::ErrorKind::InvalidData, problem)),
        None => Ok((visits, complete_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::RunStatus;

    fn visited(cell: u32) -> CompletedVisit {
        let visit = Visit { cell, round: 1 };
        CompletedVisit {
            visit,
            seconds: 1.5,
            rows: vec![RunRow::without_figures(
                cell,
                1,
                RunStatus::TimedOut,
                "it \"took\" long\n".to_owned(),
            )],
        }
    }

    #[test]
    fn continues_after_the_last_complete_line_wherever_the_file_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = Journal::open(&path).unwrap();
        for cell in 1..=3 {
            journal.append(visited(cell)).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            let before = journal.visits.len();
            assert_eq!(before, bytes[..cut].iter().filter(|byte| **byte == b'\n').count());
            journal.append(visited(9)).unwrap();
            let read = Journal::read(&path).unwrap();
            assert_eq!((read.len(), read.last().unwrap().visit.cell), (before + 1, 9));
        }
    }

    #[test]
    fn refuses_a_file_that_is_not_a_journal_and_does_not_change_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        std::fs::write(&path, "hello\n").unwrap();
        assert!(Journal::open(&path).unwrap_err().to_string().starts_with("line 1 is not a visit"));
        assert_eq!(std::fs::read(&path).unwrap(), b"hello\n");
    }
}

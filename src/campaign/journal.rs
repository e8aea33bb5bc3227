//! What a campaign has done so far: a line for each visit, on disk before the next one begins.
//!
//! Takes visits with their rows; gives them back. A line that was cut off is no visit: it is done again. Knows nothing of running.

use super::row::RunRow;
use super::schedule::Visit;
use crate::text::each_line;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

/// A visit that took place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletedVisit {
    /// To which cell, and which time.
    pub visit: Visit,
    /// How long it took in all, s.
    pub seconds: f64,
    /// One for each measured run.
    pub rows: Vec<RunRow>,
}

/// Opened to go on.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// What was there.
    pub done: Vec<CompletedVisit>,
}

impl Journal {
    /// Opens it, and cuts off what is no whole line.
    ///
    /// # Errors
    /// What the file system says; and for a line that is none of ours.
    pub fn open(path: &Path) -> io::Result<Journal> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let (done, whole) = visits(BufReader::new(&mut file))?;
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Journal { file, done })
    }

    /// Only reads it.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn read(path: &Path) -> io::Result<Vec<CompletedVisit>> {
        Ok(visits(BufReader::new(File::open(path)?))?.0)
    }

    /// Writes a visit down; it is on disk when this returns. If it could not be, the line is taken back, so that the file stays whole.
    ///
    /// # Errors
    /// What the file system says.
    pub fn add(&mut self, visited: CompletedVisit) -> io::Result<()> {
        let before = self.file.stream_position()?;
        let mut line = serde_json::to_vec(&visited)?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            let _ =
                self.file.set_len(before).and_then(|()| self.file.seek(SeekFrom::Start(before)));
        }
        written?;
        self.done.push(visited);
        Ok(())
    }

    /// Whether it has been made.
    #[must_use]
    pub fn has(&self, visit: Visit) -> bool {
        self.done.iter().any(|done| done.visit == visit)
    }
}

/// A visit has some KiB for each run that was made together.
const LONGEST_VISIT: usize = 16 << 20;

/// The visits, and how many bytes they take: what comes after the last whole line is none.
fn visits(from: impl BufRead) -> io::Result<(Vec<CompletedVisit>, u64)> {
    let (mut done, mut whole, mut number) = (Vec::new(), 0u64, 0u64);
    let mut wrong = None;
    each_line(from, LONGEST_VISIT, |line| {
        number += 1;
        if wrong.is_some() || !line.ends_with(b"\n") {
            return;
        }
        whole += line.len() as u64;
        match serde_json::from_slice(line) {
            Ok(visited) => done.push(visited),
            Err(error) => wrong = Some(format!("line {number} is no visit: {error}")),
        }
    })
    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match wrong {
        Some(wrong) => Err(io::Error::new(io::ErrorKind::InvalidData, wrong)),
        None => Ok((done, whole)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::RunStatus;
    use super::*;

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
    fn cut_off_anywhere_it_goes_on_with_what_was_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = Journal::open(&path).unwrap();
        for cell in 1..=3 {
            journal.add(visited(cell)).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            let before = journal.done.len();
            assert_eq!(before, bytes[..cut].iter().filter(|byte| **byte == b'\n').count());
            journal.add(visited(9)).unwrap();
            let read = Journal::read(&path).unwrap();
            assert_eq!((read.len(), read.last().unwrap().visit.cell), (before + 1, 9));
        }
    }

    #[test]
    fn what_is_none_of_ours_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        std::fs::write(&path, "hello\n").unwrap();
        assert!(Journal::open(&path).unwrap_err().to_string().starts_with("line 1 is no visit"));
        assert_eq!(std::fs::read(&path).unwrap(), b"hello\n");
    }
}

//! Reading no more than so much of what others wrote.
//!
//! A compressed stream of a few KiB may be gigabytes, and a file of a run directory anything that its maker wanted: so lines are taken one by one and
//! have a bound, and a whole file is read only up to one.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::path::Path;

/// The longest line of a run directory or of a campaign's that is read. A sample has 2 KiB, a visit of a campaign 1 KiB a run.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// A line that is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} has more than {most} bytes")]
pub struct LineTooLong {
    /// From 1.
    pub number: u64,
    /// What it may have.
    pub most: usize,
}

/// Calls `each` with every line, with its end; the last may have none. Where reading fails is the end: a run that was cut off ends in a torn frame.
///
/// # Errors
/// [`LineTooLong`], after all lines before it; no more than `most` bytes of it have been held.
pub fn for_each_line(
    mut from: impl BufRead,
    most: usize,
    mut each: impl FnMut(&[u8]),
) -> Result<(), LineTooLong> {
    let mut held = Vec::new();
    let mut number = 1;
    while let Some(there) = fill(&mut from) {
        let end = there.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let part = &there[..end.unwrap_or(there.len())];
        let length = part.len();
        if held.len() + length > most {
            return Err(LineTooLong { number, most });
        }
        match end {
            Some(_) if held.is_empty() => each(part),
            _ => held.extend_from_slice(part),
        }
        if end.is_some() {
            number += 1;
            if !held.is_empty() {
                each(&held);
                held.clear();
            }
        }
        from.consume(length);
    }
    if !held.is_empty() {
        each(&held);
    }
    Ok(())
}

/// What is there to read; `None` at the end. `Interrupted` is not an end.
fn fill(from: &mut impl BufRead) -> Option<&[u8]> {
    while let Err(error) = from.fill_buf() {
        if error.kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
    // Filled already: this only looks.
    from.fill_buf().ok().filter(|there| !there.is_empty())
}

/// The text of a file that is to be held as a whole.
///
/// # Errors
/// What the file system says; `InvalidData` for more than `most` bytes, and for what is no UTF-8.
pub fn read_all(path: &Path, most: u64) -> io::Result<String> {
    let bytes = read_bytes(path, most)?;
    String::from_utf8(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// As [`read_all`], whatever the bytes are.
///
/// # Errors
/// As [`read_all`].
pub fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {most} bytes"),
        ));
    }
    Ok(bytes)
}

/// The last `most` bytes of a file, as far as they are text; nothing where it cannot be read.
#[must_use]
pub fn read_tail(path: &Path, most: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn lines(bytes: &[u8], most: usize, buffer: usize) -> (Vec<Vec<u8>>, Option<u64>) {
        let mut all = Vec::new();
        let result = for_each_line(BufReader::with_capacity(buffer, bytes), most, |line| {
            all.push(line.to_vec())
        });
        (all, result.err().map(|error| error.number))
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_what_came_before_is_read() {
        let (read, too_long) = lines(b"ab\nabcdef\nx\n", 5, 2);
        assert_eq!((read, too_long), (vec![b"ab\n".to_vec()], Some(2)));
        let bomb = zstd::encode_all(io::repeat(b'x').take(100 << 20), 1).unwrap();
        assert!(bomb.len() < 20_000);
        let decoder = zstd::Decoder::new(bomb.as_slice()).unwrap();
        let error = for_each_line(BufReader::new(decoder), 4096, |_| panic!("there is no line"))
            .unwrap_err();
        assert_eq!(error.to_string(), "line 1 has more than 4096 bytes");
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_from_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\n").unwrap();
        assert_eq!(read_all(file.path(), 8).unwrap(), "one\ntwo\n");
        assert_eq!(read_all(file.path(), 7).unwrap_err().to_string(), "it has more than 7 bytes");
        assert_eq!(
            read_all(Path::new("/dev/zero"), 7).unwrap_err().to_string(),
            "it has more than 7 bytes"
        );
        assert_eq!(
            (read_tail(file.path(), 4), read_tail(file.path(), 100)),
            ("two\n".to_owned(), "one\ntwo\n".to_owned())
        );
        assert_eq!(read_tail(Path::new("/nowhere"), 4), "");
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_text_however_it_comes(text in "[ab\n]{0,40}", buffer in 1usize..9) {
            let (read, too_long) = lines(text.as_bytes(), 1000, buffer);
            let wanted: Vec<Vec<u8>> = text.split_inclusive('\n').map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!((read, too_long), (wanted, None));
        }
    }
}

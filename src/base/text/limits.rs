//! Reads lines and files up to a size limit.
//!
//! A compressed stream of a few KiB may expand to gigabytes, and a file of a run directory may have
//! been made to do harm. So lines are read one by one, and both lines and files have a size limit.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::path::Path;

/// The longest line that is read from a run directory or a campaign. A sample has 2 KiB, and a line
/// of a campaign's journal has 1 KiB for each run.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// A line is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} has more than {max} bytes")]
pub struct LineTooLong {
    /// The number of the line, counted from 1.
    pub number: u64,
    /// The limit in bytes.
    pub max: usize,
}

/// Calls `each` with every line, including its line end, which the last line may lack.
///
/// A read error counts as the end of the input: the file of a run that was killed ends in an
/// incomplete zstd frame.
///
/// # Errors
/// [`LineTooLong`], after all lines before it. No more than `max` bytes of it were in memory.
pub fn for_each_line(
    mut from: impl BufRead,
    max: usize,
    mut each: impl FnMut(&[u8]),
) -> Result<(), LineTooLong> {
    let mut held = Vec::new();
    let mut number = 1;
    while let Some(available) = fill_buffer(&mut from) {
        let end = available.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let part = &available[..end.unwrap_or(available.len())];
        let length = part.len();
        if held.len() + length > max {
            return Err(LineTooLong { number, max });
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

/// Returns the bytes that can be read now, or `None` at the end of the input. Retries a read that
/// was interrupted.
fn fill_buffer(from: &mut impl BufRead) -> Option<&[u8]> {
    while let Err(error) = from.fill_buf() {
        if error.kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
    // The buffer is filled already, so this does not read again.
    from.fill_buf().ok().filter(|available| !available.is_empty())
}

/// Reads a whole file as text.
///
/// # Errors
/// The system's error, or `InvalidData` if the file has more than `max` bytes or is not UTF-8.
pub fn read_all(path: &Path, max: u64) -> io::Result<String> {
    let bytes = read_bytes(path, max)?;
    String::from_utf8(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Reads a whole file of any content.
///
/// # Errors
/// The system's error, or `InvalidData` if the file has more than `max` bytes.
pub fn read_bytes(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {max} bytes"),
        ));
    }
    Ok(bytes)
}

/// Reads the last `max` bytes of a file; bytes that are not UTF-8 are replaced. Empty if the file
/// cannot be read: this is only for adding a log's end to another error.
#[must_use]
pub fn read_tail(path: &Path, max: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(max)))?;
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes)?;
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
            all.push(line.to_vec());
        });
        (all, result.err().map(|error| error.number))
    }

    #[test]
    fn reads_the_lines_before_one_that_is_too_long_and_gives_its_number() {
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
    fn reads_a_file_up_to_its_limit_and_from_its_end() {
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
        fn splits_lines_the_same_for_every_buffer_size(text in "[ab\n]{0,40}", buffer in 1usize..9) {
            let (read, too_long) = lines(text.as_bytes(), 1000, buffer);
            let wanted: Vec<Vec<u8>> = text.split_inclusive('\n').map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!((read, too_long), (wanted, None));
        }
    }
}

//! Parquet files of others, read so that a damaged one is an error and nothing else.
//!
//! The library (parquet 60.1) takes what a file says of itself at its word: a page that names a
//! dictionary which is not there is a panic in it, and a dictionary that claims two thousand
//! million words gets room for them (found by fuzzing: 2 GiB for a file of 10 KiB).

use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Result<T> = std::result::Result<T, ParquetError>;

/// More rows than this in a group are not read: they are held a column at a time, and a file may
/// claim any number. Ours have 8192.
const MAX_ROWS: i64 = 1 << 20;
/// Nor a page of more than this. Ours have 1 MiB at most. The library has unpacked it by then, up
/// to the format's own 2 GiB.
const MAX_PAGE_BYTES: usize = 64 << 20;

/// Opens a file, of which every page is looked at before it is believed.
pub fn open(file: File) -> Result<impl FileReader> {
    guarded(|| SerializedFileReader::new(file)).map(Checked)
}

/// What `read` gives; a panic on the way becomes an error.
pub fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    // Nothing of what `read` had in hand is used afterwards.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(ParquetError::General(format!(
            "it is damaged, and the Parquet library gave up: {}",
            said.unwrap_or("it does not say why")
        )))
    })
}

struct Checked(SerializedFileReader<File>);

impl FileReader for Checked {
    fn metadata(&self) -> &ParquetMetaData {
        self.0.metadata()
    }

    fn num_row_groups(&self) -> usize {
        self.0.num_row_groups()
    }

    fn get_row_group(&self, index: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        let group = self.0.get_row_group(index)?;
        if !(0..=MAX_ROWS).contains(&group.metadata().num_rows()) {
            return Err(ParquetError::General(format!(
                "a group of more than {MAX_ROWS} rows, as nothing of ours writes them"
            )));
        }
        Ok(Box::new(CheckedGroup(group)))
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

struct CheckedGroup<'a>(Box<dyn RowGroupReader + 'a>);

impl RowGroupReader for CheckedGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata()
    }

    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    fn get_column_page_reader(&self, index: usize) -> Result<Box<dyn PageReader>> {
        Ok(Box::new(CheckedPages(self.0.get_column_page_reader(index)?)))
    }

    fn get_column_bloom_filter(&self, index: usize) -> Option<&Sbbf> {
        self.0.get_column_bloom_filter(index)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

struct CheckedPages(Box<dyn PageReader>);

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.0.get_next_page()?;
        page.as_ref().map_or(Ok(()), check)?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }
}

/// What a page claims against what it holds.
fn check(page: &Page) -> Result<()> {
    let (held, words) =
        (page.buffer().len(), usize::try_from(page.num_values()).unwrap_or(usize::MAX));
    if held > MAX_PAGE_BYTES {
        return Err(ParquetError::General(format!(
            "a page of {held} bytes, more than {MAX_PAGE_BYTES}"
        )));
    }
    match (page, page.encoding()) {
        // Each takes a byte at least; those of text four.
        (Page::DictionaryPage { .. }, _) if words > held => {
            Err(ParquetError::General(format!("a dictionary of {words} words in {held} bytes")))
        }
        // Others say in their first bytes for how many values there shall be room.
        (
            _,
            Encoding::PLAIN | Encoding::PLAIN_DICTIONARY | Encoding::RLE | Encoding::RLE_DICTIONARY,
        ) => Ok(()),
        (_, other) => {
            Err(ParquetError::General(format!("pages by {other}, as nothing of ours writes them")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_claims_must_be_in_it() {
        let dictionary = |num_values| Page::DictionaryPage {
            buf: vec![0; 64].into(),
            num_values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        check(&dictionary(16)).unwrap();
        let error = check(&dictionary(1 << 30)).unwrap_err().to_string();
        assert!(error.contains("a dictionary of 1073741824 words in 64 bytes"), "{error}");
        let data = |encoding| Page::DataPage {
            buf: vec![0; 64].into(),
            num_values: 1 << 30,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        check(&data(Encoding::RLE_DICTIONARY)).unwrap();
        let error = check(&data(Encoding::DELTA_BYTE_ARRAY)).unwrap_err().to_string();
        assert!(error.contains("pages by DELTA_BYTE_ARRAY"), "{error}");
    }

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        let error = guarded::<()>(|| panic!("no {}", "dictionary")).unwrap_err().to_string();
        assert!(
            error.ends_with("it is damaged, and the Parquet library gave up: no dictionary"),
            "{error}"
        );
        assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
    }
}

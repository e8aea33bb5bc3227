//! Parquet files of others, read so that a damaged one is an error and nothing else.
//!
//! The library (parquet 60.1) takes what a file says of itself at its word: a page that names a dictionary which is not there is a panic in it.

use parquet::errors::ParquetError;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// More rows than this in a group are not read: they are held a column at a time, and a file may claim any number. Ours have 8192.
pub(super) const MOST_ROWS: usize = 1 << 20;

/// What `read` gives; a panic on the way becomes an error.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    // Nothing of what `read` had in hand is used afterwards.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(ParquetError::General(format!(
            "it is damaged, and the Parquet library gave up: {}",
            said.unwrap_or("it does not say why")
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        let error = guarded::<()>(|| panic!("no {}", "dictionary")).unwrap_err().to_string();
        assert!(error.ends_with("it is damaged, and the Parquet library gave up: no dictionary"), "{error}");
        assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
    }
}

//! Reads the [`ConvergenceSample`]s of a Parquet file of samples: only the columns that they need.

use super::convergence_sample::{ACTIVE, ConvergenceSample};
use super::{RecordError, guarded};
use base::Side;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader};
use std::fs::File;
use std::path::Path;

/// Calls `each` for every sample of a source that is active.
pub(super) fn read_parquet(
    path: &Path,
    mut each: impl FnMut(ConvergenceSample),
) -> Result<(), RecordError> {
    let failed = |error: ParquetError| RecordError::Content {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    let file =
        File::open(path).map_err(|source| RecordError::Read { path: path.to_owned(), source })?;
    let read = || {
        let reader = guarded::open(file)?;
        for number in 0..reader.num_row_groups() {
            convergence_samples(reader.get_row_group(number)?.as_ref())?
                .into_iter()
                .for_each(&mut each);
        }
        Ok(())
    };
    guarded::guarded(read).map_err(failed)
}

fn convergence_samples(group: &dyn RowGroupReader) -> Result<Vec<ConvergenceSample>, ParquetError> {
    let numbers = |name: &str| -> Result<Vec<Option<u64>>, ParquetError> {
        let cells = column::<Int64Type>(group, name)?;
        Ok(cells
            .into_iter()
            .map(|cell| cell.and_then(|number| u64::try_from(number).ok()))
            .collect())
    };
    let is = |name: &str, word: &str| -> Result<Vec<bool>, ParquetError> {
        let cells = column::<ByteArrayType>(group, name)?;
        Ok(cells
            .into_iter()
            .map(|cell| cell.is_some_and(|text| text.data() == word.as_bytes()))
            .collect())
    };
    let (source, active) = (is("side", Side::Source.name())?, is("status", ACTIVE)?);
    let (received, transferred, remaining) =
        (numbers("received_ns")?, numbers("ram.transferred")?, numbers("ram.remaining")?);
    let (total, syncs) = (numbers("ram.total")?, numbers("ram.dirty-sync-count")?);
    let (expected, throttle) = (numbers("expected-downtime")?, numbers("cpu-throttle-percentage")?);
    let sample = |row: usize| {
        (source[row] && active[row]).then(|| ConvergenceSample {
            received_ns: received[row].unwrap_or(0),
            transferred: transferred[row],
            remaining: remaining[row],
            total: total[row],
            syncs: syncs[row],
            expected_downtime: expected[row],
            throttle: throttle[row],
        })
    };
    Ok((0..source.len()).filter_map(sample).collect())
}

/// A column of a row group, a cell a row; all empty if the file does not have it.
fn column<T: DataType>(
    group: &dyn RowGroupReader,
    name: &str,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
    let Some(index) =
        group.metadata().columns().iter().position(|column| column.column_path().string() == name)
    else {
        return Ok(vec![None; rows]);
    };
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(index)?);
    let (mut there, mut values) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    while there.len() < rows {
        let (records, ..) =
            reader.read_records(rows - there.len(), Some(&mut there), None, &mut values)?;
        if records == 0 {
            break;
        }
    }
    let mut values = values.into_iter();
    let mut cells: Vec<Option<T::T>> =
        there.iter().map(|level| if *level > 0 { values.next() } else { None }).collect();
    cells.resize(rows, None);
    Ok(cells)
}

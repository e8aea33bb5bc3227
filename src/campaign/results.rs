//! The rows of a campaign as Parquet: one row a run, for DuckDB, Polars and pandas, and for comparisons.
//!
//! Takes rows and what their cells are; gives a file, and rows of a file. Columns: `run` in the order in which they were made, `cell`, `cell_name`,
//! `repeat`, `started`, `outcome`, `reason` ...; each varied key as text, `set_guest_rate`; and each figure under its name in run.json, with `_` for the
//! dots. What was not measured is null.

use super::metrics;
use super::row::RunRow;
use super::setting::{Setting, join_settings};
use crate::record::guarded;
use crate::scenario::spelling;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::FileReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// The version of this form, in the file's own metadata.
pub const SCHEMA: &str = "switchover.results/1";
const SCHEMA_KEY: &str = "switchover.schema";
const NAME_KEY: &str = "switchover.campaign";
const KEYS_KEY: &str = "switchover.keys";

/// A run as it comes out of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRow {
    /// What makes its cell this cell.
    pub settings: Vec<Setting>,
    /// Which of its cell's.
    pub repeat: u32,
    /// How it ended, as written.
    pub outcome: String,
    /// Whether post-copy really happened.
    pub postcopy_happened: bool,
    /// Whether the guest's memory came over, as written.
    pub integrity: String,
    /// By the names that they have in run.json.
    pub values: BTreeMap<String, f64>,
}

/// What the results say of the campaign besides its rows.
#[derive(Clone, Debug)]
pub struct ResultsHeader<'a> {
    /// The name of the campaign.
    pub name: &'a str,
    /// The scenario keys that differ between cells; each gets a column.
    pub keys: &'a [String],
    /// The settings of each cell, by its number.
    pub cells: BTreeMap<u32, &'a [Setting]>,
}

enum Column {
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Flag(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
}

/// Writes it anew, and puts it in its place when it is whole.
///
/// # Errors
/// What the file system or the library says.
pub fn write(
    path: &Path,
    campaign: &ResultsHeader<'_>,
    rows: &[&RunRow],
) -> Result<(), ParquetError> {
    let columns = columns(campaign, rows);
    let fields: Vec<String> = columns
        .iter()
        .map(|(name, column)| format!("OPTIONAL {} {name}{};", column.kind().0, column.kind().1))
        .collect();
    let schema = Arc::new(parse_message_type(&format!("message run {{ {} }}", fields.join(" ")))?);
    let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let metadata = vec![
        entry(SCHEMA_KEY, SCHEMA.to_owned()),
        entry(NAME_KEY, campaign.name.to_owned()),
        entry(KEYS_KEY, serde_json::to_string(campaign.keys).expect("strings serialize to JSON")),
    ];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(metadata))
        .build();
    let partial = path.with_extension("parquet.partial");
    let mut writer =
        SerializedFileWriter::new(File::create(&partial)?, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for (_, column) in columns {
        column.write(&mut group)?;
    }
    group.close()?;
    writer.close()?;
    std::fs::rename(&partial, path)?;
    Ok(())
}

fn columns(campaign: &ResultsHeader<'_>, rows: &[&RunRow]) -> Vec<(String, Column)> {
    let settings_of = |row: &RunRow| campaign.cells.get(&row.cell).copied();
    let text = |get: &dyn Fn(&RunRow) -> Option<String>| {
        Column::Text(rows.iter().map(|row| get(row).filter(|text| !text.is_empty())).collect())
    };
    let int = |get: &dyn Fn(usize, &RunRow) -> i64| {
        Column::Int(rows.iter().enumerate().map(|(index, row)| Some(get(index, row))).collect())
    };
    let mut columns = vec![
        ("run".to_owned(), int(&|index, _| i64::try_from(index + 1).unwrap_or(i64::MAX))),
        ("cell".to_owned(), int(&|_, row| i64::from(row.cell))),
        ("cell_name".to_owned(), text(&|row| settings_of(row).map(join_settings))),
        ("repeat".to_owned(), int(&|_, row| i64::from(row.repeat))),
        ("started".to_owned(), text(&|row| Some(row.started.clone()))),
        ("outcome".to_owned(), text(&|row| Some(row.status.name()))),
        ("reason".to_owned(), text(&|row| Some(row.reason.clone()))),
        (
            "postcopy_happened".to_owned(),
            Column::Flag(rows.iter().map(|row| Some(row.postcopy_happened)).collect()),
        ),
        ("integrity".to_owned(), text(&|row| Some(spelling(&row.integrity)))),
        ("qemu".to_owned(), text(&|row| Some(row.qemu.clone()))),
        ("accelerator".to_owned(), text(&|row| Some(row.accelerator.clone()))),
        ("directory".to_owned(), text(&|row| Some(row.directory.clone()))),
    ];
    for key in campaign.keys {
        let of = |row: &RunRow| {
            settings_of(row)?
                .iter()
                .find(|setting| setting.key == *key)
                .map(|setting| setting.value.clone())
        };
        columns.push((set_column(key), text(&of)));
    }
    for (index, metric) in metrics::all().into_iter().enumerate() {
        columns.push((
            column_name(&metric.name),
            Column::Real(rows.iter().map(|row| row.values.get(index).copied().flatten()).collect()),
        ));
    }
    columns
}

/// `guest.rate` becomes `set_guest_rate`.
fn set_column(key: &str) -> String {
    format!("set_{}", column_name(key))
}

fn column_name(name: &str) -> String {
    name.replace(['.', '-'], "_")
}

impl Column {
    fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Column::Int(_) => ("INT64", ""),
            Column::Real(_) => ("DOUBLE", ""),
            Column::Flag(_) => ("BOOLEAN", ""),
            Column::Text(_) => ("BYTE_ARRAY", " (UTF8)"),
        }
    }

    fn write(self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<(), ParquetError> {
        match self {
            Column::Int(cells) => write_column::<Int64Type>(group, cells),
            Column::Real(cells) => write_column::<DoubleType>(group, cells),
            Column::Flag(cells) => write_column::<BoolType>(group, cells),
            Column::Text(cells) => {
                let bytes = |text: String| ByteArray::from(text.into_bytes());
                write_column::<ByteArrayType>(
                    group,
                    cells.into_iter().map(|cell| cell.map(bytes)).collect(),
                )
            }
        }
    }
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    cells: Vec<Option<T::T>>,
) -> Result<(), ParquetError> {
    let there: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    column.typed::<T>().write_batch(&values, Some(&there), None)?;
    column.close()
}

/// Why a file gives no rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// It is not there, or may not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no Parquet.
    #[error("{path} is no whole Parquet file")]
    Parquet {
        /// Which.
        path: String,
        /// Why.
        source: ParquetError,
    },
    /// It is somebody else's, or of another version.
    #[error(
        "{path} holds no results of a campaign that this program knows: its schema is {found}, and {SCHEMA} is known"
    )]
    Schema {
        /// Which.
        path: String,
        /// What it says of itself.
        found: String,
    },
}

/// The rows, and the name of the campaign.
///
/// # Errors
/// [`ResultsError`].
pub fn read(path: &Path) -> Result<(String, Vec<ResultRow>), ResultsError> {
    let named = path.display().to_string();
    let broken = |source| ResultsError::Parquet { path: named.clone(), source };
    let file =
        File::open(path).map_err(|source| ResultsError::Read { path: named.clone(), source })?;
    let reader = guarded::open(file).map_err(broken)?;
    let metadata =
        reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let said = |key: &str| {
        metadata.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.clone())
    };
    let found = said(SCHEMA_KEY).unwrap_or_else(|| "none".to_owned());
    if found != SCHEMA {
        return Err(ResultsError::Schema { path: named, found });
    }
    let keys: Vec<String> =
        said(KEYS_KEY).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let names: Vec<String> = metrics::all().into_iter().map(|metric| metric.name).collect();
    let read =
        || reader.get_row_iter(None)?.map(|row| Ok(read_row(&row?, &keys, &names))).collect();
    let rows = guarded::guarded(read).map_err(broken)?;
    Ok((said(NAME_KEY).unwrap_or_default(), rows))
}

fn read_row(row: &Row, keys: &[String], names: &[String]) -> ResultRow {
    let fields: BTreeMap<&str, &Field> =
        row.get_column_iter().map(|(name, field)| (name.as_str(), field)).collect();
    let text = |name: &str| match fields.get(name) {
        Some(Field::Str(text)) => Some(text.clone()),
        _ => None,
    };
    let real = |name: &str| match fields.get(column_name(name).as_str()) {
        Some(Field::Double(value)) => Some(*value),
        _ => None,
    };
    let repeat = match fields.get("repeat") {
        Some(Field::Long(repeat)) => u32::try_from(*repeat).unwrap_or(0),
        _ => 0,
    };
    ResultRow {
        settings: keys
            .iter()
            .filter_map(|key| Some(Setting { key: key.clone(), value: text(&set_column(key))? }))
            .collect(),
        repeat,
        outcome: text("outcome").unwrap_or_default(),
        postcopy_happened: matches!(fields.get("postcopy_happened"), Some(Field::Bool(true))),
        integrity: text("integrity").unwrap_or_default(),
        values: names.iter().filter_map(|name| Some((name.clone(), real(name)?))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::RunStatus;
    use super::*;
    use crate::record::Outcome;

    fn setting(key: &str, value: &str) -> Setting {
        Setting { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn rows_come_back_with_what_their_cells_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.parquet");
        let postcopy = [setting("mode", "postcopy"), setting("capabilities.auto-converge", "true")];
        let odd = [setting("case", "odd")];
        let keys = ["mode", "capabilities.auto-converge", "case"].map(str::to_owned);
        let campaign = ResultsHeader {
            name: "n",
            keys: &keys,
            cells: BTreeMap::from([(2, &postcopy[..]), (3, &odd[..])]),
        };
        let mut row = RunRow::without_figures(
            2,
            7,
            RunStatus::Migrated(Outcome::Completed),
            "completed".to_owned(),
        );
        row.values[1] = Some(1234.5);
        let never = RunRow::without_figures(3, 1, RunStatus::NotStarted, "no QEMU".to_owned());
        write(&path, &campaign, &[&row, &never]).unwrap();
        let (name, rows) = read(&path).unwrap();
        assert_eq!((name.as_str(), rows.len()), ("n", 2));
        assert_eq!((rows[0].repeat, rows[0].outcome.as_str()), (7, "completed"));
        assert_eq!(rows[0].settings, postcopy);
        assert_eq!(rows[0].values, BTreeMap::from([("time_us.total".to_owned(), 1234.5)]));
        assert_eq!((rows[1].outcome.as_str(), rows[1].settings.len()), ("not-started", 1));
    }

    #[test]
    fn what_is_no_result_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.parquet");
        let said = || {
            read(&path).unwrap_err().to_string().replace(&dir.path().display().to_string(), "DIR")
        };
        insta::assert_snapshot!(said(), @"cannot read DIR/r.parquet");
        std::fs::write(&path, "PAR1 no").unwrap();
        insta::assert_snapshot!(said(), @"DIR/r.parquet is no whole Parquet file");
        let schema = Arc::new(parse_message_type("message m { OPTIONAL INT64 a; }").unwrap());
        let mut writer = SerializedFileWriter::new(
            File::create(&path).unwrap(),
            schema,
            Arc::new(WriterProperties::builder().build()),
        )
        .unwrap();
        let mut group = writer.next_row_group().unwrap();
        Column::Int(vec![Some(1)]).write(&mut group).unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        insta::assert_snapshot!(said(), @"DIR/r.parquet holds no results of a campaign that this program knows: its schema is none, and switchover.results/1 is known");
    }
}

//! The results of a campaign as Parquet, with one row per run, for DuckDB, Polars and pandas, and
//! for comparisons.
//!
//! The columns are: `run`, the number of the run in the order in which they were made; `cell`,
//! `cell_name`, `repeat`, `started`, `outcome`, `reason` and others; each varied key as text, such
//! as `set_guest_rate`; and each figure under its path in run.json with `_` in place of the dots. A
//! figure that was not measured is null.

use super::metrics;
use super::row::{RunRow, RunStatus};
use super::setting::{Setting, join_settings};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::FileReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;
use record::{Integrity, Outcome, guarded};
use scenario::serialized_name;
use serde::de::value::StringDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// The version of the format; the file's metadata has it.
pub const SCHEMA: &str = "switchover.results/1";
const SCHEMA_KEY: &str = "switchover.schema";
const NAME_KEY: &str = "switchover.campaign";
const KEYS_KEY: &str = "switchover.keys";

/// A run as it is read from a results file.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRow {
    /// The settings of the run's cell.
    pub settings: Vec<Setting>,
    /// The number of the run within its cell, from 1.
    pub repeat: u32,
    /// How the run ended.
    pub status: RunStatus,
    /// Whether the guest ran on the destination before all of its memory was there.
    pub postcopy_happened: bool,
    /// Whether the guest's memory arrived intact.
    pub integrity: Integrity,
    /// The figures that were measured, by their paths in run.json.
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

impl ResultRow {
    /// Whether the migration completed and no memory error is known.
    #[must_use]
    pub fn is_successful(&self) -> bool {
        self.status == RunStatus::Migrated(Outcome::Completed)
            && self.integrity != Integrity::Corrupt
    }
}

/// The values of one column; `None` is null.
enum Column {
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Flag(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
}

/// Writes all rows to a temporary file, and renames it to `path` when it is complete.
///
/// # Errors
/// Returns the error of the file system or of the Parquet library.
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
        ("integrity".to_owned(), text(&|row| Some(serialized_name(&row.integrity)))),
        ("qemu".to_owned(), text(&|row| Some(row.qemu.clone()))),
        ("accelerator".to_owned(), text(&|row| Some(row.accelerator.clone()))),
        ("directory".to_owned(), text(&|row| Some(row.directory.clone()))),
    ];
    for key in campaign.keys {
        let value = |row: &RunRow| {
            settings_of(row)?
                .iter()
                .find(|setting| setting.key == *key)
                .map(|setting| setting.value.clone())
        };
        columns.push((set_column(key), text(&value)));
    }
    for (index, metric) in metrics::all().into_iter().enumerate() {
        columns.push((
            column_name(&metric.name),
            Column::Real(rows.iter().map(|row| row.values.get(index).copied().flatten()).collect()),
        ));
    }
    columns
}

/// Names the column of a varied key: `guest.rate` becomes `set_guest_rate`.
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
    let definition_levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    let mut column = group.next_column()?.expect("the schema has a column for each of ours");
    column.typed::<T>().write_batch(&values, Some(&definition_levels), None)?;
    column.close()
}

/// Why a results file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// The file does not exist, or cannot be opened.
    #[error("cannot read {path}")]
    Read {
        /// The path as it was opened.
        path: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is not Parquet, or is damaged.
    #[error("{path} is not a complete Parquet file")]
    Parquet {
        /// The path as it was opened.
        path: String,
        /// The Parquet library's error.
        source: ParquetError,
    },
    /// The file was written by another program, or in another version of the format.
    #[error(
        "{path} is not a results file of a campaign that this version can read: its schema is \
         {found}, and {SCHEMA} is known"
    )]
    Schema {
        /// The path as it was opened.
        path: String,
        /// The schema that the file names; `none` if it names none.
        found: String,
    },
    /// A value that must be there is missing or unknown.
    #[error("{path}: {problem}")]
    Content {
        /// The path as it was opened.
        path: String,
        /// The rule that the content breaks, with the value that was found.
        problem: String,
    },
}

/// Reads the name of the campaign and the rows.
///
/// # Errors
/// Returns [`ResultsError`] if the file cannot be read or was not written by [`write()`].
pub fn read(path: &Path) -> Result<(String, Vec<ResultRow>), ResultsError> {
    let named = path.display().to_string();
    let broken = |source| ResultsError::Parquet { path: named.clone(), source };
    let file =
        File::open(path).map_err(|source| ResultsError::Read { path: named.clone(), source })?;
    let reader = guarded::open(file).map_err(broken)?;
    let metadata =
        reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let metadata_value = |key: &str| {
        metadata.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.clone())
    };
    let found = metadata_value(SCHEMA_KEY).unwrap_or_else(|| "none".to_owned());
    if found != SCHEMA {
        return Err(ResultsError::Schema { path: named, found });
    }
    let content = |problem: String| ResultsError::Content { path: named.clone(), problem };
    let keys = metadata_value(KEYS_KEY)
        .ok_or_else(|| content(format!("its metadata has no {KEYS_KEY}")))?;
    let keys: Vec<String> = serde_json::from_str(&keys)
        .map_err(|error| content(format!("{KEYS_KEY} of its metadata: {error}")))?;
    let name = metadata_value(NAME_KEY)
        .ok_or_else(|| content(format!("its metadata has no {NAME_KEY}")))?;
    let metric_names: Vec<String> = metrics::all().into_iter().map(|metric| metric.name).collect();
    let read_all = || reader.get_row_iter(None)?.collect::<Result<Vec<Row>, ParquetError>>();
    let rows = guarded::guarded(read_all).map_err(broken)?;
    let rows = rows
        .iter()
        .enumerate()
        .map(|(index, row)| {
            read_row(row, &keys, &metric_names)
                .map_err(|problem| content(format!("row {}: {problem}", index + 1)))
        })
        .collect::<Result<_, _>>()?;
    Ok((name, rows))
}

fn read_row(row: &Row, keys: &[String], metric_names: &[String]) -> Result<ResultRow, String> {
    let fields: BTreeMap<&str, &Field> =
        row.get_column_iter().map(|(name, field)| (name.as_str(), field)).collect();
    let text = |name: &str| match fields.get(name) {
        Some(Field::Str(text)) => Some(text.clone()),
        _ => None,
    };
    let number = |name: &str| match fields.get(column_name(name).as_str()) {
        Some(Field::Double(value)) => Some(*value),
        _ => None,
    };
    let repeat = match fields.get("repeat") {
        Some(Field::Long(repeat)) => u32::try_from(*repeat).ok(),
        _ => None,
    };
    Ok(ResultRow {
        settings: keys
            .iter()
            .filter_map(|key| Some(Setting { key: key.clone(), value: text(&set_column(key))? }))
            .collect(),
        repeat: repeat.ok_or("it has no repeat")?,
        status: parse_name("outcome", text("outcome"))?,
        postcopy_happened: matches!(fields.get("postcopy_happened"), Some(Field::Bool(true))),
        integrity: parse_name("integrity", text("integrity"))?,
        values: metric_names
            .iter()
            .filter_map(|name| Some((name.clone(), number(name)?)))
            .collect(),
    })
}

/// Parses the name of an enum's variant, as serde writes it.
fn parse_name<T: DeserializeOwned>(column: &str, name: Option<String>) -> Result<T, String> {
    let name = name.ok_or_else(|| format!("it has no {column}"))?;
    let deserializer: StringDeserializer<serde::de::value::Error> =
        name.clone().into_deserializer();
    T::deserialize(deserializer).map_err(|_| format!("its {column} {name:?} is not known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str, value: &str) -> Setting {
        Setting { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn reads_back_the_rows_with_the_settings_of_their_cells() {
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
        assert_eq!((rows[0].repeat, rows[0].status), (7, RunStatus::Migrated(Outcome::Completed)));
        assert_eq!(rows[0].settings, postcopy);
        assert_eq!(rows[0].values, BTreeMap::from([("time_us.total".to_owned(), 1234.5)]));
        assert_eq!((rows[1].status, rows[1].settings.len()), (RunStatus::NotStarted, 1));
    }

    #[test]
    fn refuses_a_file_that_is_not_a_results_file_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.parquet");
        let refusal = || {
            read(&path).unwrap_err().to_string().replace(&dir.path().display().to_string(), "DIR")
        };
        insta::assert_snapshot!(refusal(), @"cannot read DIR/r.parquet");
        std::fs::write(&path, "PAR1 no").unwrap();
        insta::assert_snapshot!(refusal(), @"DIR/r.parquet is not a complete Parquet file");
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
        insta::assert_snapshot!(refusal(), @"DIR/r.parquet is not a results file of a campaign \
            that this version can read: its schema is none, and switchover.results/1 is known");
    }
}

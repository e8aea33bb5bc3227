//! Samples as a Parquet file, which replaces the stream of lines when the run is complete.
//!
//! Each row has a column for every member of `query-migrate` that is known, and `other` for the
//! rest.

use super::samples::{SampleRow, read_stream};
use super::{RecordError, guarded};
use base::Side;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::FileReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Rows held in memory at a time while converting: 8 k rows of some 800 bytes are about 7 MB
/// (benches/memory.rs).
const ROWS_AT_ONCE: usize = 8 << 10;

type Int = fn(&SampleRow) -> Option<u64>;
type Float = fn(&SampleRow) -> Option<f64>;
type Text = fn(&SampleRow) -> Option<String>;

enum Get {
    Int(Int),
    Float(Float),
    Text(Text),
}

/// The columns: name (QEMU's, with `.` for members of `ram` and `xbzrle-cache`), and where the
/// value is.
const COLUMNS: &[(&str, Get)] = &[
    ("side", Get::Text(|r| Some(r.side.to_string()))),
    ("sent_ns", Get::Int(|r| Some(r.sent_ns))),
    ("received_ns", Get::Int(|r| Some(r.received_ns))),
    ("pass", Get::Int(|r| Some(r.pass))),
    ("status", Get::Text(|r| r.info.status.as_ref().map(ToString::to_string))),
    ("total-time", Get::Int(|r| r.info.total_time)),
    ("expected-downtime", Get::Int(|r| r.info.expected_downtime)),
    ("downtime", Get::Int(|r| r.info.downtime)),
    ("setup-time", Get::Int(|r| r.info.setup_time)),
    ("remaining", Get::Int(|r| r.info.remaining)),
    ("cpu-throttle-percentage", Get::Int(|r| r.info.cpu_throttle_percentage)),
    ("postcopy-blocktime", Get::Int(|r| r.info.postcopy_blocktime)),
    ("postcopy-latency", Get::Int(|r| r.info.postcopy_latency)),
    (
        "dirty-limit-throttle-time-per-round",
        Get::Int(|r| r.info.dirty_limit_throttle_time_per_round),
    ),
    ("dirty-limit-ring-full-time", Get::Int(|r| r.info.dirty_limit_ring_full_time)),
    ("ram.transferred", Get::Int(|r| r.info.ram.as_ref()?.transferred)),
    ("ram.remaining", Get::Int(|r| r.info.ram.as_ref()?.remaining)),
    ("ram.total", Get::Int(|r| r.info.ram.as_ref()?.total)),
    ("ram.duplicate", Get::Int(|r| r.info.ram.as_ref()?.duplicate)),
    ("ram.normal", Get::Int(|r| r.info.ram.as_ref()?.normal)),
    ("ram.normal-bytes", Get::Int(|r| r.info.ram.as_ref()?.normal_bytes)),
    ("ram.dirty-pages-rate", Get::Int(|r| r.info.ram.as_ref()?.dirty_pages_rate)),
    ("ram.mbps", Get::Float(|r| r.info.ram.as_ref()?.mbps)),
    ("ram.dirty-sync-count", Get::Int(|r| r.info.ram.as_ref()?.dirty_sync_count)),
    ("ram.postcopy-requests", Get::Int(|r| r.info.ram.as_ref()?.postcopy_requests)),
    ("ram.page-size", Get::Int(|r| r.info.ram.as_ref()?.page_size)),
    ("ram.multifd-bytes", Get::Int(|r| r.info.ram.as_ref()?.multifd_bytes)),
    ("ram.pages-per-second", Get::Int(|r| r.info.ram.as_ref()?.pages_per_second)),
    ("ram.precopy-bytes", Get::Int(|r| r.info.ram.as_ref()?.precopy_bytes)),
    ("ram.downtime-bytes", Get::Int(|r| r.info.ram.as_ref()?.downtime_bytes)),
    ("ram.postcopy-bytes", Get::Int(|r| r.info.ram.as_ref()?.postcopy_bytes)),
    (
        "ram.dirty-sync-missed-zero-copy",
        Get::Int(|r| r.info.ram.as_ref()?.dirty_sync_missed_zero_copy),
    ),
    ("xbzrle-cache.cache-size", Get::Int(|r| r.info.xbzrle_cache.as_ref()?.cache_size)),
    ("xbzrle-cache.bytes", Get::Int(|r| r.info.xbzrle_cache.as_ref()?.bytes)),
    ("xbzrle-cache.pages", Get::Int(|r| r.info.xbzrle_cache.as_ref()?.pages)),
    ("xbzrle-cache.cache-miss", Get::Int(|r| r.info.xbzrle_cache.as_ref()?.cache_miss)),
    ("xbzrle-cache.cache-miss-rate", Get::Float(|r| r.info.xbzrle_cache.as_ref()?.cache_miss_rate)),
    ("xbzrle-cache.encoding-rate", Get::Float(|r| r.info.xbzrle_cache.as_ref()?.encoding_rate)),
    ("xbzrle-cache.overflow", Get::Int(|r| r.info.xbzrle_cache.as_ref()?.overflow)),
    ("error-desc", Get::Text(|r| r.info.error_desc.clone())),
    ("other", Get::Text(other)),
];

/// What has no column, as JSON: what we did not understand, and lists. `None` when there is
/// nothing.
fn other(row: &SampleRow) -> Option<String> {
    let info = &row.info;
    let mut all = info.other.clone();
    if let Some(ram) = &info.ram {
        all.extend(ram.other.iter().map(|(key, value)| (format!("ram.{key}"), value.clone())));
    }
    if let Some(cache) = &info.xbzrle_cache {
        all.extend(
            cache.other.iter().map(|(key, value)| (format!("xbzrle-cache.{key}"), value.clone())),
        );
    }
    let mut list = |name: &str, values: Option<serde_json::Value>| {
        all.extend(values.map(|values| (name.to_owned(), values)));
    };
    list("postcopy-vcpu-blocktime", info.postcopy_vcpu_blocktime.clone().map(Into::into));
    list("postcopy-latency-dist", info.postcopy_latency_dist.clone().map(Into::into));
    list("blocked-reasons", info.blocked_reasons.clone().map(Into::into));
    list("socket-address", info.socket_address.clone().map(Into::into));
    // `skipped` of 7.2 is always 0 and unused: not worth a string in every row.
    all.remove("ram.skipped");
    (!all.is_empty()).then(|| serde_json::Value::Object(all).to_string())
}

/// Turns a stream into Parquet, a row group at a time; `look` sees every row.
pub(super) fn to_parquet(
    stream: &Path,
    parquet: &Path,
    mut look: impl FnMut(&SampleRow),
) -> Result<(), RecordError> {
    let failed = |error: ParquetError| RecordError::Write {
        path: parquet.to_owned(),
        source: std::io::Error::other(error),
    };
    let types: Vec<String> = COLUMNS
        .iter()
        .map(|(name, get)| match get {
            Get::Int(_) => format!("optional int64 {name};"),
            Get::Float(_) => format!("optional double {name};"),
            Get::Text(_) => format!("optional binary {name} (UTF8);"),
        })
        .collect();
    let schema = Arc::new(
        parse_message_type(&format!("message sample {{ {} }}", types.join(" "))).map_err(failed)?,
    );
    let level = ZstdLevel::try_new(1).map_err(failed)?;
    let properties =
        Arc::new(WriterProperties::builder().set_compression(Compression::ZSTD(level)).build());
    let file = File::create(parquet)
        .map_err(|source| RecordError::Write { path: parquet.to_owned(), source })?;
    let mut writer = SerializedFileWriter::new(file, schema, properties).map_err(failed)?;

    let mut rows = Vec::with_capacity(ROWS_AT_ONCE.min(1024));
    let mut result = Ok(());
    read_stream(stream, |row| {
        look(&row);
        rows.push(row);
        if rows.len() == ROWS_AT_ONCE && result.is_ok() {
            result = write_group(&mut writer, &rows);
            rows.clear();
        }
    })?;
    result
        .and_then(|()| if rows.is_empty() { Ok(()) } else { write_group(&mut writer, &rows) })
        .map_err(failed)?;
    writer.close().map(drop).map_err(failed)
}

/// Calls `each` with every sample of a Parquet file.
///
/// # Errors
/// [`RecordError::Read`], [`RecordError::Content`].
pub(super) fn read_parquet(
    path: &Path,
    mut each: impl FnMut(SampleRow),
) -> Result<(), RecordError> {
    let failed = |error: ParquetError| RecordError::Content {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    let file =
        File::open(path).map_err(|source| RecordError::Read { path: path.to_owned(), source })?;
    let read = || {
        for row in guarded::open(file)?.get_row_iter(None)? {
            row_from(&row?).into_iter().for_each(&mut each);
        }
        Ok(())
    };
    guarded::guarded(read).map_err(failed)
}

/// Puts a row together again, by way of the JSON that it came from: its columns are QEMU's own
/// names.
fn row_from(row: &Row) -> Option<SampleRow> {
    let mut own: HashMap<&str, u64> = HashMap::new();
    let mut side = None;
    let mut answer = Map::new();
    for (name, field) in row.get_column_iter() {
        let value = match field {
            Field::Long(number) => Value::from(*number),
            Field::Double(number) => Value::from(*number),
            Field::Str(text) => Value::from(text.as_str()),
            _ => continue,
        };
        match (name.as_str(), &value) {
            ("side", Value::String(text)) => {
                side = [Side::Source, Side::Destination].into_iter().find(|s| s.name() == text);
            }
            ("sent_ns" | "received_ns" | "pass", _) => {
                own.insert(name, value.as_u64()?);
            }
            ("other", Value::String(text)) => {
                for (key, value) in
                    serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default()
                {
                    place(&mut answer, &key, value);
                }
            }
            _ => place(&mut answer, name, value),
        }
    }
    let info = serde_json::from_str(&Value::Object(answer).to_string()).ok()?;
    let own = |name| own.get(name).copied();
    Some(SampleRow {
        side: side?,
        sent_ns: own("sent_ns")?,
        received_ns: own("received_ns")?,
        pass: own("pass")?,
        info,
    })
}

/// `ram.remaining` goes into the object `ram`.
fn place(answer: &mut Map<String, Value>, name: &str, value: Value) {
    let nested =
        name.split_once('.').filter(|(object, _)| matches!(*object, "ram" | "xbzrle-cache"));
    match nested {
        Some((object, member)) => {
            let object = answer.entry(object).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(object) = object {
                object.insert(member.to_owned(), value);
            }
        }
        None => {
            answer.insert(name.to_owned(), value);
        }
    }
}

fn write_group(
    writer: &mut SerializedFileWriter<File>,
    rows: &[SampleRow],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for (_, get) in COLUMNS {
        match get {
            Get::Int(get) => {
                let cell = |row: &SampleRow| get(row).and_then(|value| i64::try_from(value).ok());
                write_column::<Int64Type>(&mut group, rows, cell)?;
            }
            Get::Float(get) => write_column::<DoubleType>(&mut group, rows, get)?,
            Get::Text(get) => {
                write_column::<ByteArrayType>(&mut group, rows, |row: &SampleRow| {
                    get(row).map(|t| ByteArray::from(t.into_bytes()))
                })?;
            }
        }
    }
    group.close().map(drop)
}

fn write_column<T: parquet::data_type::DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    rows: &[SampleRow],
    cell: impl Fn(&SampleRow) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let cells: Vec<Option<T::T>> = rows.iter().map(cell).collect();
    let there: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    column.typed::<T>().write_batch(&values, Some(&there), None)?;
    column.close()
}

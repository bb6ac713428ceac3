//! Parquet encoding of each column. Every choice was measured on the 12-column workload
//! (`examples/parquet_cost.rs`), for CPU first and size second, within what Athena, Trino, Spark,
//! Redshift and DuckDB read:
//!
//! - whole numbers, times and decimals to 18 digits: DELTA_BINARY_PACKED, no dictionary;
//! - strings that repeat in a sample of the file's first rows, ENUM and SET: a dictionary, because
//!   hashing a value costs less than compressing it; other strings: plain;
//! - statistics where they can prune: numbers, times, labels, keys. None for other strings and
//!   bytes, whose values may be large (the writer would hold several copies of them).

use std::collections::HashSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field};
use lakeward_core::ColumnType;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::shape::Shape;
use crate::config::{Compression, FileOptions};

/// Rows of the sample that decides on a dictionary.
const SAMPLE_ROWS: usize = 8192;
/// A dictionary is tried if at most this many of 100 sampled values are distinct.
const DISTINCT_PERCENT: usize = 85;
/// Decimals with more digits are byte arrays in Parquet.
const DELTA_DIGITS: u8 = 18;

/// Encoding of one column of the file.
#[derive(Clone, Copy)]
enum Choice {
    Delta,
    Dictionary,
    Plain,
}

/// Properties of a file whose first rows are `sample`.
pub(super) fn properties(
    shape: &Shape,
    options: &FileOptions,
    told: Vec<KeyValue>,
    sample: &RecordBatch,
) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("lakeward ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec(options))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(told));
    let own = shape.table().columns.len();
    for (place, (field, column)) in shape.arrow.fields().iter().zip(sample.columns()).enumerate() {
        let ty = shape.table().columns.get(place).map(|column| &column.ty);
        if place < own {
            let is_key = shape.table().key.contains(&place);
            let path = vec![field.name().clone()];
            builder = with_column(builder, path, field, column, ty, statistics(field, ty, is_key));
        } else if let DataType::Struct(images) = field.data_type() {
            let children = column.as_struct().columns();
            for ((image, child), own) in images.iter().zip(children).zip(&shape.table().columns) {
                let path = vec![field.name().clone(), image.name().clone()];
                builder = with_column(builder, path, image, child, Some(&own.ty), EnabledStatistics::None);
            }
        } else {
            let path = vec![field.name().clone()];
            builder = match field.data_type() {
                DataType::Dictionary(_, _) => {
                    apply(builder, path, Choice::Dictionary, EnabledStatistics::None)
                }
                _ => apply(builder, path, Choice::Delta, EnabledStatistics::Page),
            };
        }
    }
    builder.build()
}

fn codec(options: &FileOptions) -> Codec {
    match options.compression {
        (Compression::Zstd, level) => Codec::ZSTD(ZstdLevel::try_new(level).unwrap_or_default()),
        (Compression::Snappy, _) => Codec::SNAPPY,
        (Compression::None, _) => Codec::UNCOMPRESSED,
    }
}

/// Statistics of a table's own column.
fn statistics(field: &Field, ty: Option<&ColumnType>, is_key: bool) -> EnabledStatistics {
    match (field.data_type(), ty) {
        (DataType::Utf8, Some(ColumnType::Enum { .. } | ColumnType::Set { .. })) => EnabledStatistics::Chunk,
        (DataType::Utf8 | DataType::Binary, _) if is_key => EnabledStatistics::Page,
        (DataType::Utf8 | DataType::Binary | DataType::List(_), _) => EnabledStatistics::None,
        _ => EnabledStatistics::Page,
    }
}

fn with_column(
    builder: WriterPropertiesBuilder,
    mut path: Vec<String>,
    field: &Field,
    column: &dyn Array,
    ty: Option<&ColumnType>,
    statistics: EnabledStatistics,
) -> WriterPropertiesBuilder {
    if matches!(field.data_type(), DataType::List(_)) {
        path.extend(["list".to_owned(), "element".to_owned()]);
    }
    apply(builder, path, choice(column, ty), statistics)
}

fn choice(column: &dyn Array, ty: Option<&ColumnType>) -> Choice {
    match column.data_type() {
        DataType::Utf8 | DataType::Binary => match ty {
            Some(ColumnType::Enum { .. } | ColumnType::Set { .. }) => Choice::Dictionary,
            _ if repeats(column) => Choice::Dictionary,
            _ => Choice::Plain,
        },
        DataType::Decimal128(digits, _) if *digits > DELTA_DIGITS => Choice::Plain,
        DataType::Float32 | DataType::Float64 | DataType::Boolean | DataType::List(_) => Choice::Plain,
        _ => Choice::Delta,
    }
}

fn apply(
    builder: WriterPropertiesBuilder,
    path: Vec<String>,
    choice: Choice,
    statistics: EnabledStatistics,
) -> WriterPropertiesBuilder {
    let path = ColumnPath::new(path);
    let builder = builder.set_column_statistics_enabled(path.clone(), statistics);
    match choice {
        Choice::Delta => builder.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        Choice::Dictionary => builder.set_column_dictionary_enabled(path, true),
        Choice::Plain => builder.set_column_encoding(path, Encoding::PLAIN),
    }
}

/// Whether the values of a string or bytes column repeat within the sample.
fn repeats(column: &dyn Array) -> bool {
    let rows = column.len().min(SAMPLE_ROWS);
    let valid = |row: &usize| column.is_valid(*row);
    let (values, distinct) = match column.data_type() {
        DataType::Utf8 => {
            count((0..rows).filter(valid).map(|row| column.as_string::<i32>().value(row).as_bytes()))
        }
        DataType::Binary => count((0..rows).filter(valid).map(|row| column.as_binary::<i32>().value(row))),
        _ => return false,
    };
    distinct.saturating_mul(100) <= values.saturating_mul(DISTINCT_PERCENT)
}

/// Values and distinct values.
fn count<'a>(values: impl Iterator<Item = &'a [u8]>) -> (usize, usize) {
    let mut distinct = HashSet::new();
    let all = values.map(|value| distinct.insert(value)).count();
    (all, distinct.len())
}

//! Row images to be written: the arrays of a batch with their types known, chosen once per batch, so that a
//! value costs one jump.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};
use lakeward_core::{Error, ErrorKind, Result};

use super::codec::{Codec, Put};
use super::layout::{Field, Layout};
use super::options::{BinaryMode, DecimalMode};
use super::{bytes, decimal, spatial, time};

/// The arrays of a batch, for writing.
pub(super) struct Image<'a> {
    columns: Vec<Column<'a>>,
}

struct Column<'a> {
    cells: Cells<'a>,
    codec: Codec,
    nulls: Option<&'a NullBuffer>,
    optional: bool,
}

enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a Int8Array),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Vector(&'a ListArray, &'a Float32Array),
}

/// Room for values that have to be put together.
#[derive(Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    text: String,
}

impl<'a> Image<'a> {
    pub(super) fn new(layout: &Layout, rows: &'a RecordBatch) -> Result<Image<'a>> {
        if rows.num_columns() != layout.fields.len() {
            return Err(Error::new(ErrorKind::Bug, "a batch without the columns of its version"));
        }
        let columns =
            layout.fields.iter().zip(rows.columns()).map(|(field, array)| Column::new(field, array));
        Ok(Image { columns: columns.collect::<Result<_>>()? })
    }

    /// Whether all columns of a row are null.
    pub(super) fn is_absent(&self, row: usize) -> bool {
        self.columns.iter().all(|column| column.is_null(row))
    }

    /// Whether a column of a row is null that must not be.
    pub(super) fn lacks(&self, row: usize) -> bool {
        self.columns.iter().any(|column| !column.optional && column.is_null(row))
    }

    /// Puts the value of a column.
    pub(super) fn put(
        &self,
        column: usize,
        row: usize,
        scratch: &mut Scratch,
        out: &mut impl Put,
    ) -> Result<()> {
        match self.columns.get(column) {
            Some(column) => column.put(row, scratch, out),
            None => Err(Error::new(ErrorKind::Bug, "a field beyond the last column")),
        }
    }
}

impl<'a> Column<'a> {
    fn new(field: &Field, array: &'a ArrayRef) -> Result<Column<'a>> {
        let cells = match array.data_type() {
            DataType::Boolean => Cells::Boolean(array.as_boolean()),
            DataType::Int8 => Cells::Int8(array.as_primitive::<Int8Type>()),
            DataType::Int16 => Cells::Int16(array.as_primitive::<Int16Type>()),
            DataType::Int32 => Cells::Int32(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Cells::Int64(array.as_primitive::<Int64Type>()),
            DataType::Float32 => Cells::Float(array.as_primitive::<Float32Type>()),
            DataType::Float64 => Cells::Double(array.as_primitive::<Float64Type>()),
            DataType::Decimal128(..) => Cells::Decimal(array.as_primitive::<Decimal128Type>()),
            DataType::Date32 => Cells::Date(array.as_primitive::<Date32Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Cells::Timestamp(array.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Utf8 => Cells::Text(array.as_string::<i32>()),
            DataType::Binary => Cells::Binary(array.as_binary::<i32>()),
            DataType::List(item) if *item.data_type() == DataType::Float32 => {
                let list = array.as_list::<i32>();
                Cells::Vector(list, list.values().as_primitive::<Float32Type>())
            }
            other => {
                let message = format!("column {} is of Arrow's {other}", field.name);
                return Err(Error::new(ErrorKind::Bug, message));
            }
        };
        Ok(Column { cells, codec: field.codec, nulls: array.nulls(), optional: field.optional })
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    #[inline]
    fn put(&self, row: usize, scratch: &mut Scratch, out: &mut impl Put) -> Result<()> {
        if self.is_null(row) {
            if !self.optional && !out.holds_null_anywhere() {
                return Err(Error::new(ErrorKind::UnreadableValue, "NULL in a column that is NOT NULL"));
            }
            out.null();
            return Ok(());
        }
        out.present(self.optional);
        match (&self.cells, self.codec) {
            (Cells::Text(array), Codec::Text) => out.text(array.value(row)),
            (Cells::Int64(array), Codec::Int | Codec::TimeMicros) => out.int(array.value(row)),
            (Cells::Int32(array), Codec::Int) => out.int(array.value(row).into()),
            (Cells::Int16(array), Codec::Int) => out.int(array.value(row).into()),
            (Cells::Int8(array), Codec::Int) => out.int(array.value(row).into()),
            (Cells::Decimal(array), Codec::Decimal { scale, mode }) => {
                put_decimal(array.value(row), scale, mode, &mut scratch.text, out);
            }
            (Cells::Timestamp(array), Codec::EpochMicros) => out.int(array.value(row)),
            (Cells::Timestamp(array), Codec::EpochMillis) => out.int(array.value(row).div_euclid(1000)),
            (Cells::Timestamp(array), Codec::Zoned { fsp }) => {
                scratch.bytes.clear();
                time::push_timestamp(array.value(row), fsp, &mut scratch.bytes);
                out.plain(&scratch.bytes);
            }
            (Cells::Timestamp(array), Codec::IsoTimestamp) => {
                scratch.bytes.clear();
                let us = array.value(row);
                time::push_timestamp(us, digits(us), &mut scratch.bytes);
                out.plain(&scratch.bytes);
            }
            (Cells::Double(array), Codec::Double) => out.double(array.value(row)),
            (Cells::Float(array), Codec::Float) => out.float(array.value(row)),
            (Cells::Boolean(array), Codec::Boolean) => out.boolean(array.value(row)),
            (Cells::Date(array), Codec::Days) => out.int(array.value(row).into()),
            (Cells::Date(array), Codec::IsoDate) => {
                scratch.bytes.clear();
                time::push_date(array.value(row).into(), &mut scratch.bytes);
                scratch.bytes.push(b'Z');
                out.plain(&scratch.bytes);
            }
            (Cells::Int64(array), Codec::TimeMillis) => out.int(array.value(row) / 1000),
            (Cells::Int64(array), Codec::IsoTime) => {
                scratch.bytes.clear();
                let us = array.value(row);
                time::push_time(us, digits(us), &mut scratch.bytes);
                out.plain(&scratch.bytes);
            }
            (Cells::Binary(array), Codec::Binary(BinaryMode::Bytes)) => out.bytes(array.value(row)),
            (Cells::Binary(array), Codec::Binary(mode)) => {
                scratch.bytes.clear();
                bytes::push(mode, array.value(row), &mut scratch.bytes);
                out.plain(&scratch.bytes);
            }
            (Cells::Binary(array), Codec::Bits) => {
                scratch.bytes.clear();
                scratch.bytes.extend(array.value(row).iter().rev());
                out.bytes(&scratch.bytes);
            }
            (Cells::Binary(array), Codec::Geometry) => {
                let (wkb, srid) = spatial::split(array.value(row), &mut scratch.bytes)?;
                out.geometry(wkb, srid);
            }
            (Cells::Text(array), Codec::WideDecimal { scale, mode }) => {
                put_wide_decimal(array.value(row), scale, mode, out)?;
            }
            (Cells::Decimal(array), Codec::UnsignedLong) => out.int(long(array.value(row))?),
            (Cells::Vector(list, floats), Codec::Vector) => out.floats(floats_of(list, floats, row)?),
            (
                Cells::Boolean(_)
                | Cells::Int8(_)
                | Cells::Int16(_)
                | Cells::Int32(_)
                | Cells::Int64(_)
                | Cells::Float(_)
                | Cells::Double(_)
                | Cells::Decimal(_)
                | Cells::Date(_)
                | Cells::Timestamp(_)
                | Cells::Text(_)
                | Cells::Binary(_)
                | Cells::Vector(..),
                codec,
            ) => return Err(Error::new(ErrorKind::Bug, format!("{codec:?} does not write this array"))),
        }
        Ok(())
    }
}

/// Digits of a fraction that hold it.
fn digits(us: i64) -> u8 {
    let (mut fraction, mut digits) = (us % 1_000_000, 6);
    while digits > 0 && fraction % 10 == 0 {
        fraction /= 10;
        digits -= 1;
    }
    digits
}

fn put_decimal(value: i128, scale: u8, mode: DecimalMode, text: &mut String, out: &mut impl Put) {
    match mode {
        DecimalMode::Precise => match i64::try_from(value) {
            Ok(short) => out.bytes(decimal::shortest(&short.to_be_bytes())),
            Err(_) => out.bytes(decimal::shortest(&value.to_be_bytes())),
        },
        DecimalMode::String => {
            decimal::text_of_narrow(value, scale, text);
            out.plain(text.as_bytes());
        }
        DecimalMode::Double => out.double(decimal::double_of_narrow(value, scale)),
    }
}

fn put_wide_decimal(text: &str, scale: u8, mode: DecimalMode, out: &mut impl Put) -> Result<()> {
    match mode {
        DecimalMode::Precise => out.bytes(decimal::shortest(&decimal::bytes_of_wide(text, scale)?)),
        DecimalMode::String => out.text(text),
        DecimalMode::Double => out.double(text.parse().map_err(|error| {
            Error::new(ErrorKind::UnreadableValue, format!("`{text}` is no number")).caused_by(error)
        })?),
    }
    Ok(())
}

/// The signed number with the bits of an unsigned one.
fn long(value: i128) -> Result<i64> {
    u64::try_from(value).map(u64::cast_signed).map_err(|error| {
        Error::new(ErrorKind::UnreadableValue, format!("{value} is no BIGINT UNSIGNED")).caused_by(error)
    })
}

fn floats_of<'a>(list: &ListArray, floats: &'a Float32Array, row: usize) -> Result<&'a [f32]> {
    let offset = |row: usize| list.offsets().get(row).and_then(|offset| usize::try_from(*offset).ok());
    let values = offset(row).zip(offset(row + 1)).and_then(|(from, to)| floats.values().get(from..to));
    values.ok_or_else(|| Error::new(ErrorKind::Bug, "a vector beyond its values"))
}

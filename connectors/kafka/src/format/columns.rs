//! Row images that are read: one builder per column, chosen once per table version.
//!
//! Every call of [`Columns::take`] either appends one value or leaves the builder as it was, so that
//! [`Columns::level`] can give a row that failed half-way its missing values.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use lakeward_core::{Error, ErrorKind, Result};

use super::codec::{Codec, Take};
use super::options::{BinaryMode, DecimalMode};
use super::{bytes, decimal, spatial, time, unreadable};

/// Builders of all columns of a table version.
pub(super) struct Columns {
    arrow: SchemaRef,
    builders: Vec<Builder>,
    scratch: Scratch,
    /// Bytes of text, bytes and vectors gathered.
    bytes: usize,
}

struct Builder {
    codec: Codec,
    values: Values,
}

enum Values {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
    Vector(ListBuilder<Float32Builder>),
}

#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    text: String,
    floats: Vec<f32>,
}

/// Offsets of text and bytes have 31 bits; a batch is to be taken long before.
const BYTES_MAX: usize = i32::MAX as usize;

impl Columns {
    pub(super) fn new(arrow: SchemaRef, codecs: impl Iterator<Item = Codec>) -> Result<Columns> {
        let builder = |(codec, field): (Codec, &Arc<arrow::datatypes::Field>)| {
            Values::new(field.data_type()).map(|values| Builder { codec, values })
        };
        let builders = codecs.zip(arrow.fields()).map(builder).collect::<Result<Vec<_>>>()?;
        Ok(Columns { arrow, builders, scratch: Scratch::default(), bytes: 0 })
    }

    /// Memory of the values gathered, about.
    pub(super) fn bytes(&self, rows: usize) -> usize {
        self.bytes + rows * self.builders.len() * 8
    }

    /// Takes the next value of a record into a column.
    #[inline]
    pub(super) fn take(&mut self, column: usize, from: &mut impl Take) -> Result<()> {
        let Some(builder) = self.builders.get_mut(column) else {
            return Err(Error::new(ErrorKind::Bug, "a field beyond the last column"));
        };
        if from.null()? {
            builder.values.push_null();
            return Ok(());
        }
        self.bytes += builder.take(from, &mut self.scratch, BYTES_MAX.saturating_sub(self.bytes))?;
        Ok(())
    }

    /// How many values a column has.
    pub(super) fn len(&self, column: usize) -> usize {
        self.builders.get(column).map_or(0, |builder| builder.values.len())
    }

    /// Appends nulls to the columns that have fewer than `rows` values.
    pub(super) fn level(&mut self, rows: usize) {
        for builder in &mut self.builders {
            while builder.values.len() < rows {
                builder.values.push_null();
            }
        }
    }

    /// What was gathered.
    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        self.bytes = 0;
        let arrays = self.builders.iter_mut().zip(self.arrow.fields());
        let arrays = arrays.map(|(builder, field)| builder.values.finish(field.data_type()));
        RecordBatch::try_new(Arc::clone(&self.arrow), arrays.collect())
            .map_err(|error| Error::new(ErrorKind::Bug, "read columns do not form a batch").caused_by(error))
    }
}

impl Builder {
    /// Takes a value; at most `room` bytes. Returns its bytes, where it is of varying length.
    #[inline]
    fn take(&mut self, from: &mut impl Take, scratch: &mut Scratch, room: usize) -> Result<usize> {
        match (&mut self.values, self.codec) {
            (Values::Text(values), Codec::Text) => {
                let text = fits(from.text()?, str::len, room)?;
                values.append_value(text);
                return Ok(text.len());
            }
            (Values::Int64(values), Codec::Int | Codec::TimeMicros) => values.append_value(from.int()?),
            (Values::Int32(values), Codec::Int) => values.append_value(whole(from.int()?)?),
            (Values::Int16(values), Codec::Int) => values.append_value(whole(from.int()?)?),
            (Values::Int8(values), Codec::Int) => values.append_value(whole(from.int()?)?),
            (Values::Decimal(values), Codec::Decimal { scale, mode }) => values.append_value(match mode {
                DecimalMode::Precise => decimal::narrow_of_bytes(from.bytes()?)?,
                DecimalMode::String => decimal::narrow_of_text(from.text()?, scale)?,
                DecimalMode::Double => return Err(inexact()),
            }),
            (Values::Timestamp(values), Codec::EpochMicros) => values.append_value(from.int()?),
            (Values::Timestamp(values), Codec::EpochMillis) => {
                let micros = from.int()?.checked_mul(1000);
                values.append_value(micros.ok_or_else(|| unreadable("a time out of range"))?);
            }
            (Values::Timestamp(values), Codec::Zoned { .. } | Codec::IsoTimestamp) => {
                values.append_value(time::timestamp(from.text()?)?);
            }
            (Values::Double(values), Codec::Double) => values.append_value(from.double()?),
            (Values::Float(values), Codec::Float) => values.append_value(from.float()?),
            (Values::Boolean(values), Codec::Boolean) => values.append_value(from.boolean()?),
            (Values::Date(values), Codec::Days) => values.append_value(whole(from.int()?)?),
            (Values::Date(values), Codec::IsoDate) => values.append_value(time::date(from.text()?)?),
            (Values::Int64(values), Codec::TimeMillis) => {
                let micros = from.int()?.checked_mul(1000);
                values.append_value(micros.ok_or_else(|| unreadable("a time out of range"))?);
            }
            (Values::Int64(values), Codec::IsoTime) => values.append_value(time::time(from.text()?)?),
            (Values::Binary(values), Codec::Binary(BinaryMode::Bytes)) => {
                let bytes = fits(from.bytes()?, <[u8]>::len, room)?;
                values.append_value(bytes);
                return Ok(bytes.len());
            }
            (Values::Binary(values), Codec::Binary(mode)) => {
                bytes::read(mode, from.text()?.as_bytes(), &mut scratch.bytes)?;
                values.append_value(fits(&*scratch.bytes, <[u8]>::len, room)?);
                return Ok(scratch.bytes.len());
            }
            (Values::Binary(values), Codec::Bits) => {
                scratch.bytes.clear();
                scratch.bytes.extend(fits(from.bytes()?, <[u8]>::len, room)?.iter().rev());
                values.append_value(&scratch.bytes);
                return Ok(scratch.bytes.len());
            }
            (Values::Binary(values), Codec::Geometry) => {
                let (wkb, srid) = from.geometry()?;
                let ewkb = fits(spatial::join(wkb, srid, &mut scratch.bytes)?, <[u8]>::len, room)?;
                values.append_value(ewkb);
                return Ok(ewkb.len());
            }
            (Values::Text(values), Codec::WideDecimal { scale, mode }) => {
                match mode {
                    DecimalMode::Precise => {
                        decimal::wide_of_bytes(from.bytes()?, scale, &mut scratch.text)?;
                    }
                    DecimalMode::String => {
                        scratch.text.clear();
                        scratch.text.push_str(from.text()?);
                    }
                    DecimalMode::Double => return Err(inexact()),
                }
                values.append_value(fits(&*scratch.text, str::len, room)?);
                return Ok(scratch.text.len());
            }
            (Values::Decimal(values), Codec::UnsignedLong) => {
                values.append_value(from.int()?.cast_unsigned().into());
            }
            (Values::Vector(values), Codec::Vector) => {
                scratch.floats.clear();
                from.floats(&mut scratch.floats)?;
                let floats = fits(&*scratch.floats, |floats| floats.len() * 4, room)?;
                values.values().append_slice(floats);
                values.append(true);
                return Ok(floats.len() * 4);
            }
            (values, codec) => {
                let message = format!("{codec:?} does not read into Arrow's {}", values.name());
                return Err(Error::new(ErrorKind::Bug, message));
            }
        }
        Ok(0)
    }
}

fn fits<T: ?Sized>(value: &T, len: impl Fn(&T) -> usize, room: usize) -> Result<&T> {
    match len(value) <= room {
        true => Ok(value),
        false => Err(Error::new(ErrorKind::Bug, "a batch of more than 2 GiB was gathered")),
    }
}

fn whole<T: TryFrom<i64>>(value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| unreadable(format!("{value} is beyond the column's type")))
}

#[cold]
fn inexact() -> Error {
    Error::new(ErrorKind::Config, "rounded decimals cannot be loaded")
        .remedy("set decimal_handling_mode to precise or string")
}

impl Values {
    fn new(ty: &DataType) -> Result<Values> {
        Ok(match ty {
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Values::Int8(Int8Builder::new()),
            DataType::Int16 => Values::Int16(Int16Builder::new()),
            DataType::Int32 => Values::Int32(Int32Builder::new()),
            DataType::Int64 => Values::Int64(Int64Builder::new()),
            DataType::Float32 => Values::Float(Float32Builder::new()),
            DataType::Float64 => Values::Double(Float64Builder::new()),
            DataType::Decimal128(..) => Values::Decimal(Decimal128Builder::new().with_data_type(ty.clone())),
            DataType::Date32 => Values::Date(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(ty.clone()))
            }
            DataType::Utf8 => Values::Text(StringBuilder::new()),
            DataType::Binary => Values::Binary(BinaryBuilder::new()),
            DataType::List(item) if *item.data_type() == DataType::Float32 => {
                Values::Vector(ListBuilder::new(Float32Builder::new()).with_field(Arc::clone(item)))
            }
            other => return Err(Error::new(ErrorKind::Bug, format!("no column is of Arrow's {other}"))),
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Values::Boolean(_) => "booleans",
            Values::Int8(_) | Values::Int16(_) | Values::Int32(_) | Values::Int64(_) => "whole numbers",
            Values::Float(_) | Values::Double(_) => "floats",
            Values::Decimal(_) => "decimals",
            Values::Date(_) => "dates",
            Values::Timestamp(_) => "times",
            Values::Text(_) => "text",
            Values::Binary(_) => "bytes",
            Values::Vector(_) => "vectors",
        }
    }

    fn push_null(&mut self) {
        match self {
            Values::Boolean(values) => values.append_null(),
            Values::Int8(values) => values.append_null(),
            Values::Int16(values) => values.append_null(),
            Values::Int32(values) => values.append_null(),
            Values::Int64(values) => values.append_null(),
            Values::Float(values) => values.append_null(),
            Values::Double(values) => values.append_null(),
            Values::Decimal(values) => values.append_null(),
            Values::Date(values) => values.append_null(),
            Values::Timestamp(values) => values.append_null(),
            Values::Text(values) => values.append_null(),
            Values::Binary(values) => values.append_null(),
            Values::Vector(values) => values.append_null(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Values::Boolean(values) => values.len(),
            Values::Int8(values) => values.len(),
            Values::Int16(values) => values.len(),
            Values::Int32(values) => values.len(),
            Values::Int64(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::Decimal(values) => values.len(),
            Values::Date(values) => values.len(),
            Values::Timestamp(values) => values.len(),
            Values::Text(values) => values.len(),
            Values::Binary(values) => values.len(),
            Values::Vector(values) => values.len(),
        }
    }

    fn finish(&mut self, ty: &DataType) -> ArrayRef {
        match self {
            Values::Boolean(values) => Arc::new(values.finish()),
            Values::Int8(values) => Arc::new(values.finish()),
            Values::Int16(values) => Arc::new(values.finish()),
            Values::Int32(values) => Arc::new(values.finish()),
            Values::Int64(values) => Arc::new(values.finish()),
            Values::Float(values) => Arc::new(values.finish()),
            Values::Double(values) => Arc::new(values.finish()),
            Values::Decimal(values) => Arc::new(values.finish().with_data_type(ty.clone())),
            Values::Date(values) => Arc::new(values.finish()),
            Values::Timestamp(values) => Arc::new(values.finish().with_data_type(ty.clone())),
            Values::Text(values) => Arc::new(values.finish()),
            Values::Binary(values) => Arc::new(values.finish()),
            Values::Vector(values) => Arc::new(values.finish()),
        }
    }
}

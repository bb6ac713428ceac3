//! One column of a batch: its decoder, chosen once, and the buffer it fills.
//!
//! Decoder and buffer are one enum, so that a decoder cannot meet a buffer of another type; a value
//! costs one jump. Buffers are the `Vec`s that Arrow arrays are made of, and they grow only as values
//! come: an idle table holds nothing. The null bitmap exists only from the first null on.

mod sent;

use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;
use lakeward_core::schema::DECIMAL_DIGITS_MAX;
use lakeward_core::{ColumnType, Error, ErrorKind, Result, TypeOptions, ZeroDates};

use super::charset::Charset;
use super::cursor::{Cursor, corrupt, unreadable};
use super::decimal::Format;
use super::strings::Strings;
use super::temporal::{Civil, Span, timestamp};
use super::wire::{Width, WireColumn, WireType};
use super::{geometry, json, json_diff};

/// A decoder and the values it has read.
#[derive(Clone, Debug)]
enum Values {
    TinyInt(Vec<i8>),
    TinyUnsigned(Vec<i16>),
    TinyBoolean(Vec<bool>),
    SmallInt(Vec<i16>),
    SmallUnsigned(Vec<i32>),
    MediumInt(Vec<i32>),
    MediumUnsigned(Vec<i32>),
    Int(Vec<i32>),
    IntUnsigned(Vec<i64>),
    BigInt(Vec<i64>),
    BigUnsigned(Vec<i128>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal { format: Format, values: Vec<i128> },
    DecimalText { format: Format, values: Strings },
    BitBoolean(Vec<bool>),
    Bit { width: u8, values: Strings },
    Year(Vec<i16>),
    Date { values: Vec<i32> },
    DateText { values: Strings },
    Datetime { fsp: Option<u8>, values: Vec<i64> },
    DatetimeText { fsp: Option<u8>, values: Strings },
    Timestamp { fsp: Option<u8>, values: Vec<i64> },
    TimestampText { fsp: Option<u8>, values: Strings },
    Time { fsp: Option<u8>, values: Vec<i64> },
    TimeText { fsp: Option<u8>, values: Strings },
    Text { charset: Charset, length_width: u8, values: Strings },
    Binary { padded_to: usize, length_width: u8, values: Strings },
    Enum { width: u8, labels: Arc<[String]>, values: Strings },
    Set { width: u8, labels: Arc<[String]>, values: Strings },
    Json { length_width: u8, values: Strings },
    Geometry { length_width: u8, values: Strings },
    Vector { length_width: u8, ends: Vec<i32>, values: Vec<f32> },
}

/// The buffer of [`Values`], whatever decodes into it.
enum Buffers<'a> {
    Bool(&'a mut Vec<bool>),
    I8(&'a mut Vec<i8>),
    I16(&'a mut Vec<i16>),
    I32(&'a mut Vec<i32>),
    I64(&'a mut Vec<i64>),
    I128(&'a mut Vec<i128>),
    F32(&'a mut Vec<f32>),
    F64(&'a mut Vec<f64>),
    Strings(&'a mut Strings),
    Lists { ends: &'a mut Vec<i32>, values: &'a mut Vec<f32> },
}

/// One column of a batch.
#[derive(Clone, Debug)]
pub(super) struct Column {
    values: Values,
    /// One bit per row, 0 where null; shorter than the column where no null follows.
    valid: Vec<u8>,
    nulls: usize,
    zero_dates: u64,
    on_zero_date: ZeroDates,
}

impl Column {
    /// The decoder of `ty` as `wire` sends it; `None` if the two do not belong together.
    pub(super) fn new(wire: WireColumn, ty: &ColumnType, options: &TypeOptions) -> Result<Option<Self>> {
        let values = decoder(wire, ty, options)?;
        Ok(values.map(|values| Column {
            values,
            valid: Vec::new(),
            nulls: 0,
            zero_dates: 0,
            on_zero_date: options.zero_dates,
        }))
    }

    /// Reads the value at the front of `image` as that of row `row`.
    #[inline]
    pub(super) fn push(&mut self, image: &mut Cursor<'_>, row: usize) -> Result<()> {
        match &mut self.values {
            Values::TinyInt(values) => values.push(i8::from_le_bytes(image.array()?)),
            Values::TinyUnsigned(values) => values.push(i16::from(image.u8()?)),
            Values::TinyBoolean(values) => values.push(image.u8()? != 0),
            Values::SmallInt(values) => values.push(i16::from_le_bytes(image.array()?)),
            Values::SmallUnsigned(values) => values.push(i32::from(image.u16()?)),
            Values::MediumInt(values) => {
                let [a, b, c] = image.array()?;
                values.push(i32::from_le_bytes([0, a, b, c]) >> 8);
            }
            Values::MediumUnsigned(values) => {
                let [a, b, c] = image.array()?;
                values.push(i32::from_le_bytes([a, b, c, 0]));
            }
            Values::Int(values) => values.push(i32::from_le_bytes(image.array()?)),
            Values::IntUnsigned(values) => values.push(i64::from(image.u32()?)),
            Values::BigInt(values) => values.push(i64::from_le_bytes(image.array()?)),
            Values::BigUnsigned(values) => values.push(i128::from(image.u64()?)),
            Values::Float(values) => values.push(f32::from_le_bytes(image.array()?)),
            Values::Double(values) => values.push(f64::from_le_bytes(image.array()?)),
            Values::Decimal { format, values } => {
                values.push(format.unscaled(image.take(usize::from(format.width()))?)?);
            }
            Values::DecimalText { format, values } => {
                let bytes = image.take(usize::from(format.width()))?;
                values.push_with(|out| format.append_text(bytes, out))?;
            }
            Values::BitBoolean(values) => values.push(image.u8()? & 1 != 0),
            Values::Bit { width, values } => values.push(image.take(usize::from(*width))?)?,
            Values::Year(values) => values.push(match image.u8()? {
                0 => 0,
                since_1900 => 1900 + i16::from(since_1900),
            }),
            Values::Date { values } => {
                let days = Civil::date(image)?.days();
                values.push(days.unwrap_or(0));
                if days.is_none() {
                    return self.zero_date(row);
                }
            }
            Values::Datetime { fsp, values } => {
                let micros = datetime(image, *fsp)?.micros();
                values.push(micros.unwrap_or(0));
                if micros.is_none() {
                    return self.zero_date(row);
                }
            }
            Values::Timestamp { fsp, values } => {
                let (seconds, micros) = moment(image, *fsp)?;
                values.push(i64::from(seconds) * 1_000_000 + i64::from(micros));
                if seconds == 0 && micros == 0 {
                    return self.zero_date(row);
                }
            }
            Values::Time { fsp, values } => values.push(span(image, *fsp)?.micros()),
            Values::Text { charset, length_width, values } => {
                let text = image.prefixed(*length_width)?;
                values.reserve(text.len())?;
                values.push_with(|out| charset.append_utf8(text, out))?;
            }
            Values::Enum { width, labels, values } => {
                values.push(enum_label(labels, image.uint(*width)?)?)?;
            }
            Values::Json { length_width, values } => {
                let document = image.prefixed(*length_width)?;
                values.reserve(document.len())?;
                values.push_with(|out| json::append_text(document, out))?;
            }
            Values::DateText { .. }
            | Values::DatetimeText { .. }
            | Values::TimestampText { .. }
            | Values::TimeText { .. }
            | Values::Binary { .. }
            | Values::Set { .. }
            | Values::Geometry { .. }
            | Values::Vector { .. } => return self.push_rarer(image),
        }
        Ok(())
    }

    /// The types that are seldom enough to stay out of the hot loop's code.
    fn push_rarer(&mut self, image: &mut Cursor<'_>) -> Result<()> {
        match &mut self.values {
            Values::DateText { values } => {
                let civil = Civil::date(image)?;
                values.push_with(|out| {
                    civil.append_date(out);
                    Ok(())
                })
            }
            Values::DatetimeText { fsp, values } => {
                let civil = datetime(image, *fsp)?;
                values.push_with(|out| {
                    civil.append_datetime(fsp.unwrap_or(0), out);
                    Ok(())
                })
            }
            Values::TimestampText { fsp, values } => {
                let civil = match moment(image, *fsp)? {
                    (0, 0) => Civil::default(),
                    (seconds, micros) => Civil::from_unix(seconds, micros),
                };
                values.push_with(|out| {
                    civil.append_datetime(fsp.unwrap_or(0), out);
                    Ok(())
                })
            }
            Values::TimeText { fsp, values } => {
                let span = span(image, *fsp)?;
                values.push_with(|out| {
                    span.append_text(fsp.unwrap_or(0), out);
                    Ok(())
                })
            }
            Values::Binary { padded_to, length_width, values } => {
                values.push_padded(image.prefixed(*length_width)?, *padded_to)
            }
            Values::Set { width, labels, values } => {
                let bits = image.uint(*width)?;
                values.push_with(|out| append_set(labels, bits, out))
            }
            Values::Geometry { length_width, values } => {
                let stored = image.prefixed(*length_width)?;
                values.reserve(stored.len())?;
                values.push_with(|out| geometry::append_ewkb(stored, out))
            }
            Values::Vector { length_width, ends, values } => {
                let (floats, rest) = image.prefixed(*length_width)?.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(corrupt("a VECTOR that is no whole number of floats"));
                }
                values.extend(floats.iter().map(|float| f32::from_le_bytes(*float)));
                ends.push(
                    i32::try_from(values.len()).map_err(|_| unreadable("too many floats in one batch"))?,
                );
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::Bug, "a column was sent to the wrong decoder")),
        }
    }

    /// Reads a JSON value that is sent as the differences to `before`.
    pub(super) fn push_json_difference(&mut self, before: &[u8], image: &mut Cursor<'_>) -> Result<()> {
        match &mut self.values {
            Values::Json { length_width, values } => {
                let differences = image.prefixed(*length_width)?;
                values.push_with(|out| json_diff::append_updated(before, differences, out))
            }
            _ => Err(Error::new(ErrorKind::Bug, "a JSON difference was sent to another column")),
        }
    }

    /// Whether it is a JSON column, which a partial update may send as differences.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.values, Values::Json { .. })
    }

    #[cold]
    fn zero_date(&mut self, row: usize) -> Result<()> {
        match self.on_zero_date {
            ZeroDates::Null => {
                self.zero_dates += 1;
                self.mark_null(row);
                Ok(())
            }
            ZeroDates::Error => Err(unreadable("a zero or partial date")
                .remedy("mend the value at the source, or set `types.zero_dates` to `null` or `string`")),
            // Such columns are text.
            ZeroDates::String => Err(Error::new(ErrorKind::Bug, "a date column of the wrong type")),
        }
    }

    /// Appends a null as row `row`.
    #[inline]
    pub(super) fn push_null(&mut self, row: usize) -> Result<()> {
        match self.values.buffers() {
            Buffers::Bool(values) => values.push(false),
            Buffers::I8(values) => values.push(0),
            Buffers::I16(values) => values.push(0),
            Buffers::I32(values) => values.push(0),
            Buffers::I64(values) => values.push(0),
            Buffers::I128(values) => values.push(0),
            Buffers::F32(values) => values.push(0.0),
            Buffers::F64(values) => values.push(0.0),
            Buffers::Strings(values) => values.push(&[])?,
            Buffers::Lists { ends, .. } => ends.push(ends.last().copied().unwrap_or(0)),
        }
        self.mark_null(row);
        Ok(())
    }

    #[inline]
    fn mark_null(&mut self, row: usize) {
        if self.valid.len() <= row >> 3 {
            self.valid.resize((row >> 3) + 1, u8::MAX);
        }
        if let Some(byte) = self.valid.get_mut(row >> 3) {
            *byte &= !(1 << (row & 7));
        }
        self.nulls += 1;
    }

    /// Drops everything from row `rows` on.
    pub(super) fn truncate(&mut self, rows: usize) {
        match self.values.buffers() {
            Buffers::Bool(values) => values.truncate(rows),
            Buffers::I8(values) => values.truncate(rows),
            Buffers::I16(values) => values.truncate(rows),
            Buffers::I32(values) => values.truncate(rows),
            Buffers::I64(values) => values.truncate(rows),
            Buffers::I128(values) => values.truncate(rows),
            Buffers::F32(values) => values.truncate(rows),
            Buffers::F64(values) => values.truncate(rows),
            Buffers::Strings(values) => values.truncate(rows),
            Buffers::Lists { ends, values } => {
                ends.truncate(rows);
                values.truncate(ends.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0)));
            }
        }
        self.valid.truncate(rows.div_ceil(8));
        if let Some(last) = self.valid.get_mut(rows >> 3) {
            *last |= u8::MAX << (rows & 7);
        }
        let kept: u32 = self.valid.iter().map(|byte| byte.count_zeros()).sum();
        self.nulls = usize::try_from(kept).unwrap_or(usize::MAX);
    }

    /// Bytes of its values.
    pub(super) fn byte_len(&mut self) -> usize {
        match self.values.buffers() {
            Buffers::Bool(values) => values.len(),
            Buffers::I8(values) => values.len(),
            Buffers::I16(values) => 2 * values.len(),
            Buffers::I32(values) => 4 * values.len(),
            Buffers::I64(values) => 8 * values.len(),
            Buffers::I128(values) => 16 * values.len(),
            Buffers::F32(values) => 4 * values.len(),
            Buffers::F64(values) => 8 * values.len(),
            Buffers::Strings(values) => values.byte_len(),
            Buffers::Lists { ends, values } => 4 * (ends.len() + values.len()),
        }
    }

    /// Zero and partial dates that became null since the last call.
    pub(super) fn take_zero_dates(&mut self) -> u64 {
        std::mem::take(&mut self.zero_dates)
    }

    /// Hands over its `rows` values as an array and is empty again.
    pub(super) fn finish(&mut self, data_type: &DataType, rows: usize) -> Result<ArrayRef> {
        let nulls = self.take_nulls(rows);
        let array = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls);
        let array = match self.values.buffers() {
            Buffers::Bool(values) => {
                array.add_buffer(BooleanBuffer::from(std::mem::take(values)).into_inner())
            }
            Buffers::I8(values) => array.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Buffers::I16(values) => array.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Buffers::I32(values) => array.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Buffers::I64(values) => array.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Buffers::I128(values) => array.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Buffers::F32(values) => array.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Buffers::F64(values) => array.add_buffer(Buffer::from_vec(std::mem::take(values))),
            Buffers::Strings(values) => {
                let (offsets, bytes) = values.take();
                array.add_buffer(Buffer::from_vec(offsets)).add_buffer(Buffer::from_vec(bytes))
            }
            Buffers::Lists { ends, values } => {
                let mut offsets = std::mem::take(ends);
                offsets.insert(0, 0);
                let floats = ArrayData::builder(DataType::Float32)
                    .len(values.len())
                    .add_buffer(Buffer::from_vec(std::mem::take(values)))
                    .build();
                array.add_buffer(Buffer::from_vec(offsets)).add_child_data(floats.map_err(not_an_array)?)
            }
        };
        Ok(make_array(array.build().map_err(not_an_array)?))
    }

    fn take_nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        let mut valid = std::mem::take(&mut self.valid);
        if std::mem::take(&mut self.nulls) == 0 {
            return None;
        }
        valid.resize(rows.div_ceil(8), u8::MAX);
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(valid), 0, rows)))
    }
}

#[cold]
fn not_an_array(error: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Bug, "decoded values do not form an Arrow array").caused_by(error)
}

impl Values {
    #[inline]
    fn buffers(&mut self) -> Buffers<'_> {
        match self {
            Values::TinyBoolean(values) | Values::BitBoolean(values) => Buffers::Bool(values),
            Values::TinyInt(values) => Buffers::I8(values),
            Values::TinyUnsigned(values) | Values::SmallInt(values) | Values::Year(values) => {
                Buffers::I16(values)
            }
            Values::SmallUnsigned(values)
            | Values::MediumInt(values)
            | Values::MediumUnsigned(values)
            | Values::Int(values)
            | Values::Date { values } => Buffers::I32(values),
            Values::IntUnsigned(values)
            | Values::BigInt(values)
            | Values::Datetime { values, .. }
            | Values::Timestamp { values, .. }
            | Values::Time { values, .. } => Buffers::I64(values),
            Values::BigUnsigned(values) | Values::Decimal { values, .. } => Buffers::I128(values),
            Values::Float(values) => Buffers::F32(values),
            Values::Double(values) => Buffers::F64(values),
            Values::DecimalText { values, .. }
            | Values::Bit { values, .. }
            | Values::DateText { values }
            | Values::DatetimeText { values, .. }
            | Values::TimestampText { values, .. }
            | Values::TimeText { values, .. }
            | Values::Text { values, .. }
            | Values::Binary { values, .. }
            | Values::Enum { values, .. }
            | Values::Set { values, .. }
            | Values::Json { values, .. }
            | Values::Geometry { values, .. } => Buffers::Strings(values),
            Values::Vector { ends, values, .. } => Buffers::Lists { ends, values },
        }
    }
}

/// `fsp` is `None` for the form of before MySQL 5.6.
#[inline]
fn datetime(image: &mut Cursor<'_>, fsp: Option<u8>) -> Result<Civil> {
    match fsp {
        Some(fsp) => Civil::datetime(image, fsp),
        None => Civil::old_datetime(image),
    }
}

#[inline]
fn moment(image: &mut Cursor<'_>, fsp: Option<u8>) -> Result<(u32, u32)> {
    match fsp {
        Some(fsp) => timestamp(image, fsp),
        None => Ok((image.u32()?, 0)),
    }
}

#[inline]
fn span(image: &mut Cursor<'_>, fsp: Option<u8>) -> Result<Span> {
    match fsp {
        Some(fsp) => Span::time(image, fsp),
        None => Span::old_time(image),
    }
}

/// Index 0 is the empty string that MySQL stores for a value it could not take.
#[inline]
fn enum_label(labels: &[String], index: u64) -> Result<&[u8]> {
    let Some(from_zero) = index.checked_sub(1) else { return Ok(&[]) };
    usize::try_from(from_zero)
        .ok()
        .and_then(|place| labels.get(place))
        .map(String::as_bytes)
        .ok_or_else(|| unreadable(format!("ENUM index {index} where the column has {} labels", labels.len())))
}

fn append_set(labels: &[String], bits: u64, out: &mut Vec<u8>) -> Result<()> {
    let mut rest = bits;
    let mut first = true;
    while rest != 0 {
        let place = rest.trailing_zeros();
        rest &= rest - 1;
        let label = usize::try_from(place).ok().and_then(|place| labels.get(place)).ok_or_else(|| {
            unreadable(format!("SET bit {place} where the column has {} labels", labels.len()))
        })?;
        if !first {
            out.push(b',');
        }
        first = false;
        out.extend_from_slice(label.as_bytes());
    }
    Ok(())
}

/// The decoder for a column type as it is sent; `None` if the two do not belong together.
fn decoder(wire: WireColumn, ty: &ColumnType, options: &TypeOptions) -> Result<Option<Values>> {
    let as_text = options.zero_dates == ZeroDates::String;
    let (Width::Fixed(length_width) | Width::Prefixed(length_width)) = wire.ty.width();
    let strings = Strings::default;
    Ok(Some(match (ty, wire.ty) {
        (ColumnType::Int { width, unsigned, display_one }, _) => {
            let boolean = *display_one && options.tinyint1_as_boolean;
            match integer(wire.ty, *width, boolean, *unsigned) {
                Some(values) if *unsigned == wire.unsigned => values,
                _ => return Ok(None),
            }
        }
        (ColumnType::Decimal { precision, scale }, WireType::NewDecimal { precision: p, scale: s })
            if *precision == p && *scale == s =>
        {
            let format = Format::new(p, s);
            match p <= DECIMAL_DIGITS_MAX {
                true => Values::Decimal { format, values: Vec::new() },
                false => Values::DecimalText { format, values: strings() },
            }
        }
        (ColumnType::Float, WireType::Float) => Values::Float(Vec::new()),
        (ColumnType::Double, WireType::Double) => Values::Double(Vec::new()),
        (ColumnType::Bit { bits: 1 }, WireType::Bit { bits: 1 }) => Values::BitBoolean(Vec::new()),
        (ColumnType::Bit { bits }, WireType::Bit { bits: sent }) if *bits == sent => {
            Values::Bit { width: length_width, values: strings() }
        }
        (ColumnType::Year, WireType::Year) => Values::Year(Vec::new()),
        (ColumnType::Date, WireType::Date) if as_text => Values::DateText { values: strings() },
        (ColumnType::Date, WireType::Date) => Values::Date { values: Vec::new() },
        (ColumnType::Datetime { fsp: declared }, WireType::Datetime { .. } | WireType::OldDatetime) => {
            let Some(fsp) = fraction(wire.ty, *declared) else { return Ok(None) };
            match as_text {
                true => Values::DatetimeText { fsp, values: strings() },
                false => Values::Datetime { fsp, values: Vec::new() },
            }
        }
        (ColumnType::Timestamp { fsp: declared }, WireType::Timestamp { .. } | WireType::OldTimestamp) => {
            let Some(fsp) = fraction(wire.ty, *declared) else { return Ok(None) };
            match as_text {
                true => Values::TimestampText { fsp, values: strings() },
                false => Values::Timestamp { fsp, values: Vec::new() },
            }
        }
        (ColumnType::Time { fsp: declared }, WireType::Time { .. } | WireType::OldTime) => {
            let Some(fsp) = fraction(wire.ty, *declared) else { return Ok(None) };
            match options.time_as_string {
                true => Values::TimeText { fsp, values: strings() },
                false => Values::Time { fsp, values: Vec::new() },
            }
        }
        (
            ColumnType::Text { collation },
            WireType::VarString { .. } | WireType::String { .. } | WireType::Blob { .. },
        ) => Values::Text { charset: Charset::of(*collation)?, length_width, values: strings() },
        (ColumnType::Binary { fixed: None }, WireType::VarString { .. } | WireType::Blob { .. }) => {
            Values::Binary { padded_to: 0, length_width, values: strings() }
        }
        (ColumnType::Binary { fixed: Some(width) }, WireType::String { max_bytes })
            if *width == max_bytes =>
        {
            Values::Binary { padded_to: usize::from(max_bytes), length_width, values: strings() }
        }
        (ColumnType::Enum { labels }, WireType::Enum { width }) if width == enum_width(labels.len()) => {
            Values::Enum { width, labels: labels.as_slice().into(), values: strings() }
        }
        (ColumnType::Set { labels }, WireType::Set { width }) if width == set_width(labels.len()) => {
            Values::Set { width, labels: labels.as_slice().into(), values: strings() }
        }
        (ColumnType::Json, WireType::Json { .. }) => Values::Json { length_width, values: strings() },
        (ColumnType::Geometry, WireType::Geometry { .. }) => {
            Values::Geometry { length_width, values: strings() }
        }
        (ColumnType::Vector, WireType::Vector { .. }) => {
            Values::Vector { length_width, ends: Vec::new(), values: Vec::new() }
        }
        (
            ColumnType::Decimal { .. }
            | ColumnType::Float
            | ColumnType::Double
            | ColumnType::Bit { .. }
            | ColumnType::Year
            | ColumnType::Date
            | ColumnType::Time { .. }
            | ColumnType::Datetime { .. }
            | ColumnType::Timestamp { .. }
            | ColumnType::Text { .. }
            | ColumnType::Binary { .. }
            | ColumnType::Enum { .. }
            | ColumnType::Set { .. }
            | ColumnType::Json
            | ColumnType::Geometry
            | ColumnType::Vector,
            _,
        ) => return Ok(None),
    }))
}

fn integer(wire: WireType, width: u8, boolean: bool, unsigned: bool) -> Option<Values> {
    Some(match (wire, width, unsigned) {
        (WireType::Tiny, 1, _) if boolean => Values::TinyBoolean(Vec::new()),
        (WireType::Tiny, 1, false) => Values::TinyInt(Vec::new()),
        (WireType::Tiny, 1, true) => Values::TinyUnsigned(Vec::new()),
        (WireType::Short, 2, false) => Values::SmallInt(Vec::new()),
        (WireType::Short, 2, true) => Values::SmallUnsigned(Vec::new()),
        (WireType::Int24, 3, false) => Values::MediumInt(Vec::new()),
        (WireType::Int24, 3, true) => Values::MediumUnsigned(Vec::new()),
        (WireType::Long, 4, false) => Values::Int(Vec::new()),
        (WireType::Long, 4, true) => Values::IntUnsigned(Vec::new()),
        (WireType::LongLong, 8, false) => Values::BigInt(Vec::new()),
        (WireType::LongLong, 8, true) => Values::BigUnsigned(Vec::new()),
        _ => return None,
    })
}

/// How the fraction is sent: `Some(None)` for the form of before MySQL 5.6, which has none; `None` if
/// the digits differ from those declared.
fn fraction(wire: WireType, declared: u8) -> Option<Option<u8>> {
    match wire {
        WireType::Time { fsp } | WireType::Datetime { fsp } | WireType::Timestamp { fsp } => {
            (fsp == declared).then_some(Some(fsp))
        }
        _ => (declared == 0).then_some(None),
    }
}

fn enum_width(labels: usize) -> u8 {
    if labels > 255 { 2 } else { 1 }
}

fn set_width(labels: usize) -> u8 {
    match labels.div_ceil(8) {
        0 | 1 => 1,
        2 => 2,
        3 => 3,
        4 => 4,
        _ => 8,
    }
}

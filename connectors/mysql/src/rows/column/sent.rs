//! Values as the binary protocol of a SELECT sends them, into the same buffers as those of row images.
//!
//! Guarantee: a row that is selected and the same row in the log give the same array values. Why: both
//! end in the same buffer of the same decoder ([`Values`]), with the same character sets, labels,
//! calendar and policy for zero dates; here only the way in differs. Where the SELECT sends what the
//! log does not (an ENUM's label, text in another character set), it is asked otherwise:
//! `character_set_results` is NULL, ENUM and SET are selected as numbers, `time_zone` is UTC. The
//! suite of all types compares both ways, value by value.

use lakeward_core::{ColumnType, Result, TypeOptions};
use mysql::Value;

use super::{Column, Values, append_set, enum_label};
use crate::rows::charset::is_utf8;
use crate::rows::cursor::unreadable;
use crate::rows::decimal::Format;
use crate::rows::temporal::{Civil, Span};
use crate::rows::wire::{WireColumn, WireType};
use crate::rows::{geometry, strings::Strings};

impl Column {
    /// The buffer of `ty` for values of a SELECT.
    pub(in crate::rows) fn selected(ty: &ColumnType, options: &TypeOptions) -> Result<Self> {
        Column::new(stored_as(ty), ty, options)?
            .ok_or_else(|| unreadable(format!("a column of type {ty:?} has no form in row images")))
    }

    /// Appends a value as that of row `row`.
    #[inline]
    pub(in crate::rows) fn push_sent(&mut self, value: &Value, row: usize) -> Result<()> {
        match (&mut self.values, value) {
            (_, Value::NULL) => self.push_null(row),
            (Values::Text { charset, values, .. }, Value::Bytes(text)) => {
                values.reserve(text.len())?;
                values.push_with(|out| charset.append_utf8(text, out))
            }
            (values, Value::Int(number)) => push_integer(values, i128::from(*number)),
            (values, Value::UInt(number)) => push_integer(values, i128::from(*number)),
            (Values::Decimal { format, values }, Value::Bytes(text)) => {
                values.push(unscaled(*format, text).ok_or_else(|| unlike("DECIMAL", value))?);
                Ok(())
            }
            (Values::Float(values), Value::Float(number)) => {
                values.push(*number);
                Ok(())
            }
            (Values::Double(values), Value::Double(number)) => {
                values.push(*number);
                Ok(())
            }
            (_, Value::Date(..)) => self.push_moment(value, row),
            (Values::Time { values, .. }, Value::Time(..)) => {
                values.push(span(value)?.micros());
                Ok(())
            }
            (Values::TimeText { fsp, values }, Value::Time(..)) => {
                let span = span(value)?;
                values.push_with(|out| {
                    span.append_text(fsp.unwrap_or(0), out);
                    Ok(())
                })
            }
            (values, Value::Bytes(bytes)) => push_bytes(values, bytes),
            _ => Err(unlike("column", value)),
        }
    }

    /// Appends a date, with or without a time.
    fn push_moment(&mut self, value: &Value, row: usize) -> Result<()> {
        let civil = civil(value)?;
        let known = match &mut self.values {
            Values::Date { values } => {
                let days = civil.days();
                values.push(days.unwrap_or(0));
                days.is_some()
            }
            Values::Datetime { values, .. } | Values::Timestamp { values, .. } => {
                let micros = civil.micros();
                values.push(micros.unwrap_or(0));
                micros.is_some()
            }
            Values::DateText { values } => {
                return values.push_with(|out| {
                    civil.append_date(out);
                    Ok(())
                });
            }
            Values::DatetimeText { fsp, values } | Values::TimestampText { fsp, values } => {
                return values.push_with(|out| {
                    civil.append_datetime(fsp.unwrap_or(0), out);
                    Ok(())
                });
            }
            _ => return Err(unlike("date", value)),
        };
        if known { Ok(()) } else { self.zero_date(row) }
    }
}

#[cold]
fn unlike(what: &str, value: &Value) -> lakeward_core::Error {
    let kind = match value {
        Value::NULL => "NULL",
        Value::Bytes(_) => "bytes",
        Value::Int(_) | Value::UInt(_) => "an integer",
        Value::Float(_) | Value::Double(_) => "a float",
        Value::Date(..) => "a date",
        Value::Time(..) => "a time",
    };
    unreadable(format!("the server sent {kind} for a {what} of another form"))
}

#[inline]
fn push_integer(values: &mut Values, number: i128) -> Result<()> {
    fn fit<T: TryFrom<i128>>(number: i128) -> Result<T> {
        T::try_from(number)
            .map_err(|_| unreadable(format!("the integer {number} is out of its column's range")))
    }
    match values {
        Values::TinyInt(values) => values.push(fit(number)?),
        Values::TinyBoolean(values) => values.push(number != 0),
        Values::TinyUnsigned(values) | Values::SmallInt(values) | Values::Year(values) => {
            values.push(fit(number)?);
        }
        Values::SmallUnsigned(values)
        | Values::MediumInt(values)
        | Values::MediumUnsigned(values)
        | Values::Int(values) => values.push(fit(number)?),
        Values::IntUnsigned(values) | Values::BigInt(values) => values.push(fit(number)?),
        Values::BigUnsigned(values) => values.push(number),
        Values::Enum { labels, values, .. } => values.push(enum_label(labels, fit(number)?)?)?,
        Values::Set { labels, values, .. } => {
            let bits = fit(number)?;
            values.push_with(|out| append_set(labels, bits, out))?;
        }
        _ => return Err(unreadable("the server sent an integer for a column of another type")),
    }
    Ok(())
}

fn push_bytes(values: &mut Values, bytes: &[u8]) -> Result<()> {
    match values {
        Values::DecimalText { values, .. } => push_decimal_text(values, bytes),
        Values::BitBoolean(values) => {
            values.push(bytes.last().is_some_and(|byte| byte & 1 != 0));
            Ok(())
        }
        Values::Bit { width, values } if bytes.len() == usize::from(*width) => values.push(bytes),
        Values::Binary { padded_to, values, .. } => values.push_padded(bytes, *padded_to),
        Values::Json { values, .. } if is_utf8(bytes) => values.push(bytes),
        Values::Geometry { values, .. } => {
            values.reserve(bytes.len())?;
            values.push_with(|out| geometry::append_ewkb(bytes, out))
        }
        Values::Vector { ends, values, .. } => {
            let (floats, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(unreadable("a VECTOR that is no whole number of floats"));
            }
            values.extend(floats.iter().map(|float| f32::from_le_bytes(*float)));
            ends.push(i32::try_from(values.len()).map_err(|_| unreadable("too many floats in one batch"))?);
            Ok(())
        }
        _ => Err(unreadable("the server sent bytes for a column of another type")),
    }
}

/// A decimal as the server writes it, times 10^scale.
#[inline]
fn unscaled(format: Format, text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, text),
    };
    let (mut value, mut after_point) = (0i128, None);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                after_point = after_point.map(|count: u8| count + 1);
            }
            b'.' if after_point.is_none() => after_point = Some(0),
            _ => return None,
        }
    }
    (after_point.unwrap_or(0) == format.scale()).then_some(if negative { -value } else { value })
}

/// A decimal of more digits than Arrow holds: as MySQL prints it, without the zeros of ZEROFILL.
fn push_decimal_text(values: &mut Strings, text: &[u8]) -> Result<()> {
    let (sign, digits) = match text.split_first() {
        Some((b'-', digits)) => (&b"-"[..], digits),
        _ => (&b""[..], text),
    };
    let whole = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let zeros = digits.iter().take(whole.saturating_sub(1)).take_while(|byte| **byte == b'0').count();
    if !digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return Err(unreadable("a DECIMAL that is no number"));
    }
    values.push_with(|out| {
        out.extend_from_slice(sign);
        out.extend_from_slice(digits.get(zeros..).unwrap_or(digits));
        Ok(())
    })
}

fn civil(value: &Value) -> Result<Civil> {
    let Value::Date(year, month, day, hour, minute, second, micros) = *value else {
        return Err(unlike("date", value));
    };
    Ok(Civil { year, month, day, hour, minute, second, micros })
}

fn span(value: &Value) -> Result<Span> {
    let Value::Time(negative, days, hours, minutes, seconds, micros) = *value else {
        return Err(unlike("time", value));
    };
    let hours = u64::from(days) * 24 + u64::from(hours);
    let hours = u16::try_from(hours).map_err(|_| unreadable("a TIME of more hours than it can hold"))?;
    Ok(Span { negative, hours, minutes, seconds, micros })
}

/// The form that row images have for the type: what chooses its decoder.
fn stored_as(ty: &ColumnType) -> WireColumn {
    let signed = |ty| WireColumn { ty, unsigned: false };
    match ty {
        ColumnType::Int { width, unsigned, .. } => {
            let wire = match width {
                1 => WireType::Tiny,
                2 => WireType::Short,
                3 => WireType::Int24,
                4 => WireType::Long,
                _ => WireType::LongLong,
            };
            WireColumn { ty: wire, unsigned: *unsigned }
        }
        ColumnType::Decimal { precision, scale } => {
            signed(WireType::NewDecimal { precision: *precision, scale: *scale })
        }
        ColumnType::Float => signed(WireType::Float),
        ColumnType::Double => signed(WireType::Double),
        ColumnType::Bit { bits } => signed(WireType::Bit { bits: *bits }),
        ColumnType::Year => signed(WireType::Year),
        ColumnType::Date => signed(WireType::Date),
        ColumnType::Time { fsp } => signed(WireType::Time { fsp: *fsp }),
        ColumnType::Datetime { fsp } => signed(WireType::Datetime { fsp: *fsp }),
        ColumnType::Timestamp { fsp } => signed(WireType::Timestamp { fsp: *fsp }),
        ColumnType::Text { .. } | ColumnType::Binary { fixed: None } => {
            signed(WireType::Blob { length_width: 4 })
        }
        ColumnType::Binary { fixed: Some(width) } => signed(WireType::String { max_bytes: *width }),
        ColumnType::Enum { labels } => signed(WireType::Enum { width: super::enum_width(labels.len()) }),
        ColumnType::Set { labels } => signed(WireType::Set { width: super::set_width(labels.len()) }),
        ColumnType::Json => signed(WireType::Json { length_width: 4 }),
        ColumnType::Geometry => signed(WireType::Geometry { length_width: 4 }),
        ColumnType::Vector => signed(WireType::Vector { length_width: 4 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_whole_or_refused() {
        let format = Format::new(10, 2);
        for (text, value) in [("-12.34", Some(-1234)), ("0.05", Some(5)), ("000007.00", Some(700))] {
            assert_eq!(unscaled(format, text.as_bytes()), value, "{text}");
        }
        for text in ["", "1", "1.5", "1.2.3", "1e5", "x"] {
            assert_eq!(unscaled(format, text.as_bytes()), None, "{text}");
        }
        assert_eq!(unscaled(Format::new(5, 0), b"99999"), Some(99999));
    }

    #[test]
    fn wide_decimals_lose_the_zeros_of_zerofill_only() {
        let mut values = Strings::default();
        for (text, printed) in [("-0.50", "-0.50"), ("00012.3", "12.3"), ("000", "0"), ("10", "10")] {
            push_decimal_text(&mut values, text.as_bytes()).unwrap();
            let (_, bytes) = values.take();
            assert_eq!(String::from_utf8(bytes).unwrap(), printed);
        }
        assert!(push_decimal_text(&mut values, b"1 OR 1").is_err());
    }

    #[test]
    fn a_value_of_another_form_is_an_error_and_never_a_guess() {
        let options = TypeOptions::default();
        let int = ColumnType::Int { width: 1, unsigned: false, display_one: false };
        for (ty, value) in [
            (int.clone(), Value::Int(128)),
            (int, Value::Bytes(b"1".into())),
            (ColumnType::Date, Value::Int(3)),
            (ColumnType::Float, Value::Double(1.0)),
            (ColumnType::Json, Value::Bytes(vec![0xff])),
            (ColumnType::Bit { bits: 12 }, Value::Bytes(vec![1])),
            (ColumnType::Enum { labels: vec!["a".into()] }, Value::UInt(2)),
        ] {
            let mut column = Column::selected(&ty, &options).unwrap();
            assert!(column.push_sent(&value, 0).is_err(), "{ty:?} {value:?}");
        }
    }
}

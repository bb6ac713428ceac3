//! Conditions that find the rows with a value of the lake in a key's column.
//!
//! Guarantee: every row whose value is this one in the lake is found. Why: numbers are written with all
//! their digits (a FLOAT as the double that it is), bytes as bytes, dates and times as text; ENUM and SET
//! as the numbers of their labels, and of all that print alike. Text is UTF-8 in the lake: the server
//! turns it into the column's own character set and compares it by the column's own collation, so that
//! the index is used. Where two codes of a character set are one character, that may be the other one;
//! such text is sought once more by what the server decodes, which no index helps with, before it is
//! said not to be there.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use lakeward_core::{ColumnType, Error, ErrorKind, Result};

use super::keys::{KeyColumn, hex, is_decimal};
use crate::session::backticked;

/// How a value is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// By a condition, and by another one that finds what the first may miss.
    By { equal: String, decoded: Option<String> },
    /// No row can have it.
    Nowhere,
    /// It cannot be looked for.
    Not,
}

/// Character sets in which each character has one code.
const ONE_CODE: &[&str] =
    &["utf8mb4", "utf8mb3", "utf8", "ucs2", "utf16", "utf16le", "utf32", "latin1", "ascii"];

/// How a value of `column` is looked for: row `at` of `values`, which are of the column's type in the lake.
pub(super) fn sought(column: &KeyColumn, values: &ArrayRef, at: usize) -> Result<Sought> {
    if values.is_null(at) {
        return Ok(Sought::Not);
    }
    let name = backticked(&column.name);
    let by = |value: String| Sought::By { equal: format!("{name} = {value}"), decoded: None };
    let printed = || array_value_to_string(values, at).map_err(unwritten);
    Ok(match (&column.ty, values.data_type()) {
        (ColumnType::Int { .. }, DataType::Boolean) => {
            let sign = if values.as_boolean().value(at) { "<>" } else { "=" };
            Sought::By { equal: format!("{name} {sign} 0"), decoded: None }
        }
        (ColumnType::Int { .. } | ColumnType::Year | ColumnType::Decimal { .. }, _) => {
            let digits = printed()?;
            if is_decimal(digits.as_bytes()) { by(digits) } else { Sought::Nowhere }
        }
        (ColumnType::Float, DataType::Float32) => {
            by(format!("{:e}", f64::from(values.as_primitive::<Float32Type>().value(at))))
        }
        (ColumnType::Double, DataType::Float64) => {
            by(format!("{:e}", values.as_primitive::<Float64Type>().value(at)))
        }
        (ColumnType::Bit { .. }, DataType::Boolean) => {
            by(u8::from(values.as_boolean().value(at)).to_string())
        }
        (ColumnType::Bit { .. }, DataType::Binary) => {
            let bits = values.as_binary::<i32>().value(at);
            by(bits.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)).to_string())
        }
        (ColumnType::Timestamp { .. }, DataType::Timestamp(..)) => {
            // The session's time zone is UTC.
            let plain = cast(&values.slice(at, 1), &DataType::Int64);
            let plain = plain.and_then(|us| cast(&us, &DataType::Timestamp(TimeUnit::Microsecond, None)));
            by(format!("'{}'", array_value_to_string(&plain.map_err(unwritten)?, 0).map_err(unwritten)?))
        }
        (ColumnType::Time { .. }, DataType::Int64) => by(time(values.as_primitive::<Int64Type>().value(at))),
        (
            ColumnType::Date
            | ColumnType::Datetime { .. }
            | ColumnType::Timestamp { .. }
            | ColumnType::Time { .. },
            _,
        ) => {
            let text = printed()?;
            let plain = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | ' ' | 'T');
            if text.chars().all(plain) { by(format!("'{text}'")) } else { Sought::Nowhere }
        }
        (ColumnType::Binary { .. }, DataType::Binary) => {
            by(format!("_binary {}", hex(values.as_binary::<i32>().value(at))))
        }
        (ColumnType::Text { .. }, DataType::Utf8) => {
            text(column, &name, values.as_string::<i32>().value(at))?
        }
        (ColumnType::Enum { labels }, DataType::Utf8) => {
            among(&name, &enum_numbers(labels, values.as_string::<i32>().value(at)))
        }
        (ColumnType::Set { labels }, DataType::Utf8) => {
            among(&name, &set_numbers(labels, values.as_string::<i32>().value(at)))
        }
        _ => {
            let message = format!("a key of type {:?} cannot be looked up", column.ty);
            return Err(Error::new(ErrorKind::SourceUnsupported, message).at("column", &column.name));
        }
    })
}

#[cold]
fn unwritten(error: ArrowError) -> Error {
    Error::new(ErrorKind::Bug, "a key cannot be written as a literal").caused_by(error)
}

fn text(column: &KeyColumn, name: &str, value: &str) -> Result<Sought> {
    let (Some(charset), Some(collation)) = (&column.charset, &column.collation) else {
        return Err(Error::new(ErrorKind::Bug, "text without a character set").at("column", &column.name));
    };
    let literal = format!("_utf8mb4 {}", hex(value.as_bytes()));
    let has_one_code = value.is_ascii() || ONE_CODE.contains(&charset.as_str());
    Ok(Sought::By {
        equal: format!("{name} = CONVERT({literal} USING {charset}) COLLATE {collation}"),
        decoded: (!has_one_code)
            .then(|| format!("CONVERT({name} USING utf8mb4) COLLATE utf8mb4_bin = {literal}")),
    })
}

/// `'-838:59:59.000000'`.
fn time(us: i64) -> String {
    let (sign, us) = (if us < 0 { "-" } else { "" }, us.unsigned_abs());
    let (seconds, micros) = (us / 1_000_000, us % 1_000_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("'{sign}{:02}:{:02}:{seconds:02}.{micros:06}'", minutes / 60, minutes % 60)
}

/// The numbers that print as `value`; 0 prints as nothing.
fn enum_numbers(labels: &[String], value: &str) -> Vec<u64> {
    let empty = value.is_empty().then_some(0);
    let of_labels = labels.iter().zip(1u64..).filter(|(label, _)| *label == value).map(|(_, number)| number);
    empty.into_iter().chain(of_labels).collect()
}

fn set_numbers(labels: &[String], value: &str) -> Vec<u64> {
    let bit = |label: &str| {
        let place = labels.iter().position(|known| known == label)?;
        1u64.checked_shl(u32::try_from(place).ok()?)
    };
    let bits: Option<Vec<u64>> = value.split(',').map(bit).collect();
    let empty = value.is_empty().then_some(0);
    empty.into_iter().chain(bits.map(|bits| bits.into_iter().fold(0, |all, bit| all | bit))).collect()
}

fn among(name: &str, numbers: &[u64]) -> Sought {
    let Some((first, others)) = numbers.split_first() else { return Sought::Nowhere };
    let mut list = first.to_string();
    for number in others {
        // Writing to a string does not fail.
        let _written = write!(list, ", {number}");
    }
    Sought::By { equal: format!("{name} IN ({list})"), decoded: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Int16Array, Int64Array,
        StringArray, TimestampMicrosecondArray,
    };

    use super::*;

    fn column(ty: ColumnType, charset: Option<&str>) -> KeyColumn {
        let (charset, collation) = (charset.map(str::to_owned), charset.map(|name| format!("{name}_x")));
        KeyColumn { name: "k`".into(), ty, charset, collation, descending: false }
    }

    fn labels(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    fn by(equal: &str) -> Sought {
        Sought::By { equal: equal.to_owned(), decoded: None }
    }

    fn strings(value: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![value]))
    }

    #[test]
    fn values_of_the_lake_become_conditions_with_every_digit_and_byte() {
        let int = ColumnType::Int { width: 8, unsigned: true, display_one: true };
        let decimal = |value: i128, digits, scale| -> ArrayRef {
            Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(digits, scale).unwrap())
        };
        let utc = TimestampMicrosecondArray::from(vec![1_767_323_045_000_006]).with_timezone("UTC");
        let cases: Vec<(ColumnType, ArrayRef, &str)> = vec![
            (int.clone(), decimal(u64::MAX.into(), 20, 0), "= 18446744073709551615"),
            (int.clone(), Arc::new(Int64Array::from(vec![i64::MIN])), "= -9223372036854775808"),
            (int, Arc::new(BooleanArray::from(vec![true])), "<> 0"),
            (ColumnType::Decimal { precision: 9, scale: 5 }, decimal(-150_000, 9, 5), "= -1.50000"),
            (ColumnType::Decimal { precision: 65, scale: 0 }, strings("123"), "= 123"),
            (ColumnType::Float, Arc::new(Float32Array::from(vec![1.1])), "= 1.100000023841858e0"),
            (ColumnType::Bit { bits: 12 }, Arc::new(BinaryArray::from(vec![&[0x0a, 0xff][..]])), "= 2815"),
            (ColumnType::Year, Arc::new(Int16Array::from(vec![1901])), "= 1901"),
            (ColumnType::Date, Arc::new(Date32Array::from(vec![-719_162])), "= '0001-01-01'"),
            (ColumnType::Date, strings("0000-00-00"), "= '0000-00-00'"),
            (ColumnType::Timestamp { fsp: 6 }, Arc::new(utc), "= '2026-01-02T03:04:05.000006'"),
            (
                ColumnType::Time { fsp: 1 },
                Arc::new(Int64Array::from(vec![-3_020_399_900_000])),
                "= '-838:59:59.900000'",
            ),
            (
                ColumnType::Binary { fixed: None },
                Arc::new(BinaryArray::from(vec![&[0, 255][..]])),
                "= _binary x'00ff'",
            ),
            (ColumnType::Enum { labels: labels(&["a", "b"]) }, strings("b"), "IN (2)"),
            (ColumnType::Enum { labels: labels(&["a", ""]) }, strings(""), "IN (0, 2)"),
            (ColumnType::Set { labels: labels(&["a", "b", "c"]) }, strings("a,c"), "IN (5)"),
            (ColumnType::Set { labels: labels(&["a"]) }, strings(""), "IN (0)"),
        ];
        for (ty, values, condition) in cases {
            assert_eq!(sought(&column(ty, None), &values, 0).unwrap(), by(&format!("`k``` {condition}")));
        }
    }

    #[test]
    fn text_is_turned_into_the_columns_charset_and_sought_again_where_codes_are_many() {
        let text = ColumnType::Text { collation: 1 };
        let equal = |hex: &str, charset: &str| {
            format!("`k``` = CONVERT(_utf8mb4 x'{hex}' USING {charset}) COLLATE {charset}_x")
        };
        assert_eq!(
            sought(&column(text.clone(), Some("gbk")), &strings("a'"), 0).unwrap(),
            by(&equal("6127", "gbk"))
        );
        let latin = sought(&column(text.clone(), Some("latin1")), &strings("é"), 0).unwrap();
        assert_eq!(latin, by(&equal("c3a9", "latin1")));
        let decoded = "CONVERT(`k``` USING utf8mb4) COLLATE utf8mb4_bin = _utf8mb4 x'e4b8ad'".to_owned();
        let sought = sought(&column(text, Some("gbk")), &strings("中"), 0).unwrap();
        assert_eq!(sought, Sought::By { equal: equal("e4b8ad", "gbk"), decoded: Some(decoded) });
    }

    #[test]
    fn what_no_row_can_have_and_what_cannot_be_sought_is_told() {
        let none: ArrayRef = Arc::new(Date32Array::from(vec![None]));
        assert_eq!(sought(&column(ColumnType::Date, None), &none, 0).unwrap(), Sought::Not);
        for (ty, text) in [
            (ColumnType::Enum { labels: labels(&["a"]) }, "gone"),
            (ColumnType::Set { labels: labels(&["a", "b"]) }, "a,gone"),
            (ColumnType::Decimal { precision: 65, scale: 0 }, "1 OR 1"),
            (ColumnType::Date, "1' OR '1"),
        ] {
            assert_eq!(sought(&column(ty, None), &strings(text), 0).unwrap(), Sought::Nowhere, "{text}");
        }
        assert!(sought(&column(ColumnType::Json, None), &strings("{}"), 0).is_err());
    }
}

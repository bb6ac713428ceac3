//! What MySQL itself says: the rows of a table through the binary protocol, in the plain form that
//! `python/events.py` gives the lake's values (a letter for the kind, then the value).

use std::collections::BTreeMap;

use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};

/// A value in plain form; `None` is NULL.
pub(crate) type Cell = Option<String>;

/// The mapping choices a pipeline was configured with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// `types.zero_dates: string`.
    pub(crate) dates_as_string: bool,
    /// `types.time_as_string: true`.
    pub(crate) time_as_string: bool,
    /// `types.tinyint1_as_boolean: true`.
    pub(crate) tinyint1_as_boolean: bool,
}

/// Rows of a table as the server has them.
#[derive(Debug)]
pub(crate) struct SourceTable {
    /// Every column, invisible ones included, in order.
    pub(crate) columns: Vec<String>,
    /// Its rows.
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl SourceTable {
    /// Its rows by the first column.
    pub(crate) fn by_key(self) -> BTreeMap<String, Vec<Cell>> {
        self.rows.into_iter().map(|row| (row[0].clone().expect("a key is not NULL"), row)).collect()
    }
}

/// How a column's values are brought to the plain form.
#[derive(Clone, Copy, Debug)]
enum Form {
    Integer,
    Boolean,
    Decimal,
    Float,
    Double,
    Text,
    Bytes,
    Date,
    Datetime,
    Timestamp,
    Time,
    Geometry,
    Vector,
}

struct Column {
    name: String,
    form: Form,
    as_text: bool,
}

/// Reads a whole table. The connection's session must be in UTC.
pub(crate) fn rows(conn: &mut Conn, database: &str, table: &str, mapping: Mapping) -> SourceTable {
    let columns = columns(conn, database, table, mapping);
    let list: Vec<String> = columns
        .iter()
        .map(|column| match column.as_text {
            true => format!("CAST({} AS CHAR)", quoted(&column.name)),
            false => quoted(&column.name),
        })
        .collect();
    let statement = format!("SELECT {} FROM {}.{}", list.join(", "), quoted(database), quoted(table));
    let rows: Vec<Row> = conn.exec(statement, ()).expect("the table can be read");
    let rows = rows
        .into_iter()
        .map(|row| row.unwrap().into_iter().zip(&columns).map(|(value, c)| plain(value, c.form)).collect())
        .collect();
    SourceTable { columns: columns.into_iter().map(|column| column.name).collect(), rows }
}

/// An identifier in backticks.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn columns(conn: &mut Conn, database: &str, table: &str, mapping: Mapping) -> Vec<Column> {
    type Described = (String, String, String, Option<u64>, Option<String>);
    let described: Vec<Described> = conn
        .exec(
            "SELECT column_name, data_type, column_type, numeric_precision, character_set_name \
             FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position",
            (database, table),
        )
        .expect("the catalog can be read");
    described
        .into_iter()
        .map(|(name, data_type, column_type, precision, charset)| {
            let form = form(&data_type, &column_type, precision, charset.as_deref(), mapping);
            let temporal =
                matches!(data_type.as_str(), "date" | "datetime" | "timestamp") && mapping.dates_as_string;
            let as_text = temporal || (data_type == "time" && mapping.time_as_string);
            Column { name, form: if as_text { Form::Text } else { form }, as_text }
        })
        .collect()
}

fn form(
    data_type: &str,
    column_type: &str,
    precision: Option<u64>,
    charset: Option<&str>,
    mapping: Mapping,
) -> Form {
    match data_type {
        "tinyint" if column_type == "tinyint(1)" && mapping.tinyint1_as_boolean => Form::Boolean,
        "bigint" if column_type.contains("unsigned") => Form::Decimal,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Form::Integer,
        "decimal" if precision > Some(38) => Form::Text,
        "decimal" => Form::Decimal,
        "float" => Form::Float,
        "double" => Form::Double,
        "bit" if precision == Some(1) => Form::Boolean,
        "bit" | "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Form::Bytes,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" if charset == Some("binary") => {
            Form::Bytes
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" | "json" => {
            Form::Text
        }
        "date" => Form::Date,
        "datetime" => Form::Datetime,
        "timestamp" => Form::Timestamp,
        "time" => Form::Time,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geomcollection" => Form::Geometry,
        "vector" => Form::Vector,
        other => panic!("the suite does not know the type {other}"),
    }
}

fn plain(value: Value, form: Form) -> Cell {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the session speaks utf8mb4");
    match (form, value) {
        (_, Value::NULL) => None,
        (Form::Integer, value) => Some(format!("i:{}", integer(&value))),
        (Form::Boolean, Value::Bytes(bits)) => {
            Some(format!("b:{}", u8::from(bits.iter().any(|byte| *byte != 0))))
        }
        (Form::Boolean, value) => Some(format!("b:{}", u8::from(integer(&value) != 0))),
        (Form::Decimal, Value::Bytes(digits)) => Some(format!("d:{}", without_zerofill(&text(digits)))),
        (Form::Decimal, value) => Some(format!("d:{}", integer(&value))),
        (Form::Float, Value::Float(value)) => Some(format!("f:{:08x}", value.to_bits())),
        (Form::Double, Value::Double(value)) => Some(format!("g:{:016x}", value.to_bits())),
        (Form::Text, Value::Bytes(bytes)) => Some(format!("s:{}", text(bytes))),
        (Form::Bytes, Value::Bytes(bytes)) => Some(format!("x:{}", hex(&bytes))),
        (Form::Geometry, Value::Bytes(bytes)) => Some(format!("x:{}", hex(&ewkb(&bytes)))),
        (Form::Vector, Value::Bytes(bytes)) => Some(format!("v:{}", floats(&bytes))),
        (Form::Date, Value::Date(year, month, day, ..)) => {
            days(year, month, day).map(|days| format!("D:{days}"))
        }
        (Form::Datetime, date) => micros(&date).map(|micros| format!("T:{micros}")),
        (Form::Timestamp, date) => micros(&date).map(|micros| format!("Z:{micros}")),
        (Form::Time, Value::Time(negative, days, hours, minutes, seconds, micros)) => {
            let seconds = ((i64::from(days) * 24 + i64::from(hours)) * 60 + i64::from(minutes)) * 60
                + i64::from(seconds);
            let value = seconds * 1_000_000 + i64::from(micros);
            Some(format!("i:{}", if negative { -value } else { value }))
        }
        (form, value) => panic!("{value:?} is no value of {form:?}"),
    }
}

fn integer(value: &Value) -> i128 {
    match value {
        Value::Int(value) => i128::from(*value),
        Value::UInt(value) => i128::from(*value),
        other => panic!("{other:?} is no integer"),
    }
}

fn without_zerofill(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let trimmed = digits.trim_start_matches('0');
    let zero = if trimmed.is_empty() || trimmed.starts_with('.') { "0" } else { "" };
    format!("{sign}{zero}{trimmed}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// MySQL's geometry (srid, then WKB) as EWKB: the srid stands behind the type, flagged there.
fn ewkb(bytes: &[u8]) -> Vec<u8> {
    const SRID_FLAG: u32 = 0x2000_0000;
    let (srid, wkb) = bytes.split_at(4);
    if srid == [0; 4] {
        return wkb.to_vec();
    }
    let (order, rest) = wkb.split_at(1);
    let (kind, rest) = rest.split_at(4);
    assert_eq!(order, [1], "MySQL writes little-endian WKB");
    let kind = u32::from_le_bytes(kind.try_into().expect("four bytes")) | SRID_FLAG;
    [order, &kind.to_le_bytes(), srid, rest].concat()
}

fn floats(bytes: &[u8]) -> String {
    let bits: Vec<String> = bytes
        .chunks_exact(4)
        .map(|chunk| format!("{:08x}", u32::from_le_bytes(chunk.try_into().expect("four bytes"))))
        .collect();
    bits.join(",")
}

/// Days since 1970-01-01; `None` for a date that no calendar has (zero and partial dates).
fn days(year: u16, month: u8, day: u8) -> Option<i64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u8::from(leap),
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Howard Hinnant, "chrono-compatible low-level date algorithms": days_from_civil.
    let (month, day) = (i64::from(month), i64::from(day));
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn micros(value: &Value) -> Option<i64> {
    let Value::Date(year, month, day, hours, minutes, seconds, micros) = *value else {
        panic!("{value:?} is no date");
    };
    let seconds = (i64::from(hours) * 60 + i64::from(minutes)) * 60 + i64::from(seconds);
    Some((days(year, month, day)? * 86_400 + seconds) * 1_000_000 + i64::from(micros))
}

#[test]
fn days_are_counted_from_1970() {
    assert_eq!(days(1970, 1, 1), Some(0));
    assert_eq!(days(1969, 12, 31), Some(-1));
    assert_eq!(days(2000, 3, 1), Some(11_017));
    assert_eq!(days(9999, 12, 31), Some(2_932_896));
    assert_eq!(days(2026, 2, 29), None);
    assert_eq!(days(0, 0, 0), None);
}

//! The key of a table as the server is asked about it: SQL literals of its values, and conditions that
//! bound a range.
//!
//! Guarantee: a literal that was made from what the server sent for a key compares equal to that key,
//! and with every other key as the column itself does. Why: numbers are written with all their digits
//! (a FLOAT as the double that it is), text and bytes as the bytes that the server sent, with the
//! column's own character set; a literal is weaker than a column in the rules of coercibility, so the
//! column's collation decides. Ranges are those of the order of the key's index, in which single columns may
//! descend. ENUM and SET are numbers, by which the server sorts them. Only the
//! server compares. Ranges of several columns are written out (`a > x OR (a = x AND b > y)`): the
//! server's range optimizer does not use an index for a comparison of rows.

use lakeward_core::{ColumnType, Error, ErrorKind, Result};
use mysql::Value;

use super::plan::Range;
use crate::session::backticked;

/// One column of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    pub(crate) ty: ColumnType,
    /// Of text: its character set.
    pub(crate) charset: Option<String>,
    /// Of text: its collation.
    pub(crate) collation: Option<String>,
    /// Its index has the greatest value first.
    pub(crate) descending: bool,
}

impl KeyColumn {
    /// How a value of it is selected.
    fn selected(&self) -> String {
        selected(&self.name, &self.ty)
    }

    /// `column IN (3, 4)` in place of `column > 2`, for the columns for which the server uses an index to
    /// find equal values only: ENUM and SET, where they have few.
    fn listed(&self, by: &str, literal: &str) -> Option<String> {
        let (last, literal) = (self.last_number()?, literal.parse::<u64>().ok()?);
        let numbers = match by {
            ">" => literal.saturating_add(1)..last.saturating_add(1),
            ">=" => literal..last.saturating_add(1),
            "<" => 0..literal,
            _ => 0..literal.saturating_add(1),
        };
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        Some(match numbers.is_empty() {
            true => "FALSE".to_owned(),
            false => format!("{} IN ({})", backticked(&self.name), numbers.join(", ")),
        })
    }

    /// The greatest number of an ENUM or SET, where it is small.
    fn last_number(&self) -> Option<u64> {
        const FEW: u64 = 256;
        let last = match &self.ty {
            ColumnType::Enum { labels } => u64::try_from(labels.len()).ok(),
            ColumnType::Set { labels } => u32::try_from(labels.len()).ok().and_then(|n| 1u64.checked_shl(n)),
            _ => None,
        };
        last.filter(|last| *last <= FEW)
    }

    /// A value as the binary protocol sends it, as a literal.
    pub(crate) fn literal(&self, value: &Value) -> Result<String> {
        let text = |bytes: &[u8]| match &self.charset {
            Some(charset) => format!("_{charset} {}", hex(bytes)),
            None => format!("_binary {}", hex(bytes)),
        };
        let literal = match (&self.ty, value) {
            (ColumnType::Decimal { .. }, Value::Bytes(digits)) if is_decimal(digits) => {
                String::from_utf8_lossy(digits).into_owned()
            }
            (ColumnType::Bit { .. }, Value::Bytes(bits)) if bits.len() <= 8 => {
                bits.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)).to_string()
            }
            (ColumnType::Text { .. } | ColumnType::Binary { .. }, Value::Bytes(bytes)) => text(bytes),
            (_, Value::Int(number)) => number.to_string(),
            (_, Value::UInt(number)) => number.to_string(),
            (ColumnType::Float, Value::Float(number)) if number.is_finite() => {
                format!("{:e}", f64::from(*number))
            }
            (ColumnType::Double, Value::Double(number)) if number.is_finite() => format!("{number:e}"),
            (ColumnType::Date, Value::Date(year, month, day, ..)) => {
                format!("'{year:04}-{month:02}-{day:02}'")
            }
            (_, Value::Date(year, month, day, hour, minute, second, micros)) => {
                format!("'{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}'")
            }
            (_, Value::Time(negative, days, hours, minutes, seconds, micros)) => {
                let hours = u64::from(*days) * 24 + u64::from(*hours);
                let sign = if *negative { "-" } else { "" };
                format!("'{sign}{hours:02}:{minutes:02}:{seconds:02}.{micros:06}'")
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::SourceUnsupported,
                    format!("a key of type {:?} cannot be written as a literal", self.ty),
                )
                .at("column", &self.name));
            }
        };
        Ok(literal)
    }
}

/// How a column is selected so that the binary protocol sends its value whole: ENUM and SET by number.
pub(crate) fn selected(name: &str, ty: &ColumnType) -> String {
    match ty {
        ColumnType::Enum { .. } | ColumnType::Set { .. } => format!("CAST({} AS UNSIGNED)", backticked(name)),
        ColumnType::Int { .. }
        | ColumnType::Decimal { .. }
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
        | ColumnType::Json
        | ColumnType::Geometry
        | ColumnType::Vector => backticked(name),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'")
}

pub(super) fn is_decimal(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

/// A key of one or more columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) Vec<KeyColumn>);

impl Key {
    /// The select list that gives a key.
    pub(crate) fn selected(&self) -> String {
        self.0.iter().map(KeyColumn::selected).collect::<Vec<_>>().join(", ")
    }

    /// Its columns as its index has them, to tell one order from another: `a`, `b DESC`.
    pub(crate) fn columns(&self) -> Vec<String> {
        let one = |column: &KeyColumn| format!("{}{}", column.name, direction(column.descending));
        self.0.iter().map(one).collect()
    }

    /// The order of its index, `a, b DESC`; or that backwards, `a DESC, b`.
    pub(crate) fn order(&self, backwards: bool) -> String {
        let one = |column: &KeyColumn| {
            format!("{}{}", backticked(&column.name), direction(column.descending != backwards))
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// A key as the server sent it, as literals.
    pub(crate) fn bound(&self, values: &[Value]) -> Result<Vec<String>> {
        if values.len() != self.0.len() {
            return Err(Error::new(ErrorKind::Bug, "a key with another number of columns"));
        }
        self.0.iter().zip(values).map(|(column, value)| column.literal(value)).collect()
    }

    /// The condition for the keys of a range.
    pub(crate) fn within(&self, range: &Range) -> String {
        let to = self.compared(&range.to, false, "=");
        match &range.from {
            Some(from) => format!("{} AND {to}", self.compared(from, true, "")),
            None => to,
        }
    }

    /// `(a < x OR (a = x AND b <= y))`: what is before a bound or behind it in the order of the index, and with
    /// `=` for `or_equal` the bound itself.
    fn compared(&self, bound: &[String], is_behind: bool, or_equal: &str) -> String {
        let mut ways = Vec::new();
        let mut equal = String::new();
        for (place, (column, literal)) in self.0.iter().zip(bound).enumerate() {
            let name = backticked(&column.name);
            let strict = if is_behind == column.descending { "<" } else { ">" };
            let by =
                if place + 1 == self.0.len() { format!("{strict}{or_equal}") } else { strict.to_owned() };
            let beyond = column.listed(&by, literal).unwrap_or_else(|| format!("{name} {by} {literal}"));
            ways.push(match equal.is_empty() {
                true => beyond,
                false => format!("({equal} AND {beyond})"),
            });
            if !equal.is_empty() {
                equal.push_str(" AND ");
            }
            equal.push_str(&format!("{name} = {literal}"));
        }
        format!("({})", ways.join(" OR "))
    }
}

fn direction(descending: bool) -> &'static str {
    if descending { " DESC" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, ty: ColumnType, charset: Option<&str>) -> KeyColumn {
        let charset = charset.map(str::to_owned);
        KeyColumn { name: name.into(), ty, charset, collation: None, descending: false }
    }

    fn int() -> ColumnType {
        ColumnType::Int { width: 8, unsigned: true, display_one: false }
    }

    #[test]
    fn values_become_literals_with_every_digit_and_byte() {
        let text = ColumnType::Text { collation: 28 };
        for (ty, charset, value, literal) in [
            (int(), None, Value::UInt(u64::MAX), "18446744073709551615"),
            (int(), None, Value::Int(i64::MIN), "-9223372036854775808"),
            (ColumnType::Decimal { precision: 65, scale: 30 }, None, Value::Bytes(b"-1.50".into()), "-1.50"),
            (text, Some("gbk"), Value::Bytes(vec![0x81, b'\'', b'\\']), "_gbk x'81275c'"),
            (ColumnType::Binary { fixed: None }, None, Value::Bytes(vec![0, 255]), "_binary x'00ff'"),
            (ColumnType::Binary { fixed: None }, None, Value::Bytes(vec![]), "_binary x''"),
            (ColumnType::Float, None, Value::Float(1.1), "1.100000023841858e0"),
            (ColumnType::Double, None, Value::Double(-1e300), "-1e300"),
            (ColumnType::Bit { bits: 12 }, None, Value::Bytes(vec![0x0a, 0xff]), "2815"),
            (ColumnType::Date, None, Value::Date(0, 0, 0, 0, 0, 0, 0), "'0000-00-00'"),
            (
                ColumnType::Datetime { fsp: 6 },
                None,
                Value::Date(2026, 1, 2, 3, 4, 5, 6),
                "'2026-01-02 03:04:05.000006'",
            ),
            (
                ColumnType::Time { fsp: 1 },
                None,
                Value::Time(true, 34, 22, 59, 59, 900_000),
                "'-838:59:59.900000'",
            ),
            (ColumnType::Enum { labels: vec![] }, None, Value::UInt(3), "3"),
        ] {
            assert_eq!(column("c", ty, charset).literal(&value).unwrap(), literal);
        }
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for (ty, value) in [
            (ColumnType::Decimal { precision: 5, scale: 0 }, Value::Bytes(b"1 OR 1".into())),
            (ColumnType::Json, Value::Bytes(b"{}".into())),
            (ColumnType::Float, Value::Float(f32::NAN)),
            (int(), Value::NULL),
        ] {
            assert!(column("c", ty, None).literal(&value).is_err());
        }
    }

    #[test]
    fn a_range_of_several_columns_is_written_out() {
        let key = Key(["a", "b`", "c"].map(|name| column(name, int(), None)).into());
        let bound = |n: [&str; 3]| n.map(str::to_owned).to_vec();
        let range = Range { from: Some(bound(["1", "2", "3"])), to: bound(["4", "5", "6"]) };
        assert_eq!(
            key.within(&range),
            "(`a` > 1 OR (`a` = 1 AND `b``` > 2) OR (`a` = 1 AND `b``` = 2 AND `c` > 3)) AND \
             (`a` < 4 OR (`a` = 4 AND `b``` < 5) OR (`a` = 4 AND `b``` = 5 AND `c` <= 6))"
        );
        let labels = vec!["x".to_owned(), "y".to_owned(), "z".to_owned()];
        let listed = Key(vec![column("e", ColumnType::Enum { labels }, None), column("n", int(), None)]);
        let range = Range { from: Some(vec!["2".into(), "7".into()]), to: vec!["3".into(), "9".into()] };
        assert_eq!(
            listed.within(&range),
            "(`e` IN (3) OR (`e` = 2 AND `n` > 7)) AND (`e` IN (0, 1, 2) OR (`e` = 3 AND `n` <= 9))"
        );
        let mut mixed = key;
        mixed.0[1].descending = true;
        assert_eq!(mixed.columns(), ["a", "b` DESC", "c"]);
        assert_eq!(
            (mixed.order(false), mixed.order(true)),
            ("`a`, `b``` DESC, `c`".to_owned(), "`a` DESC, `b```, `c` DESC".to_owned())
        );
        let range = Range { from: Some(bound(["1", "2", "3"])), to: bound(["4", "5", "6"]) };
        assert_eq!(
            mixed.within(&range),
            "(`a` > 1 OR (`a` = 1 AND `b``` < 2) OR (`a` = 1 AND `b``` = 2 AND `c` > 3)) AND \
             (`a` < 4 OR (`a` = 4 AND `b``` > 5) OR (`a` = 4 AND `b``` = 5 AND `c` <= 6))"
        );
        let mut listed = Key(listed.0.into_iter().take(1).collect());
        listed.0[0].descending = true;
        let range = Range { from: Some(vec!["3".into()]), to: vec!["2".into()] };
        assert_eq!(listed.within(&range), "(`e` IN (0, 1, 2)) AND (`e` IN (2, 3))");
        let one = Key(vec![column("id", int(), None)]);
        assert_eq!(one.within(&Range { from: None, to: vec!["7".into()] }), "(`id` <= 7)");
    }
}

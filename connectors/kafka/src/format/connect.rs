//! Connect schemas of records that others wrote: read from the schema part of JSON or from Avro's, and what
//! they tell of the table.
//!
//! A message's schema tells less than a catalog. What it does not tell, and what is taken then: TINYINT and
//! SMALLINT are one type (SMALLINT), as are SMALLINT UNSIGNED, MEDIUMINT and INT (INT), INT UNSIGNED and BIGINT
//! (BIGINT), TINYINT(1) as boolean and BIT(1); text is of utf8mb4; BINARY has no width; TIMESTAMP and
//! DATETIME in microseconds have six digits of a fraction. In the lake only the widths of integers differ from
//! what our own capture gives. Names and types that are not known are refused, never guessed.

use lakeward_core::{ColumnType, Result};
use serde::Deserialize;

use super::avro::types::{Kind, Type};
use super::codec::Codec;
use super::options::{BinaryMode, DecimalMode};
use super::unreadable;

/// A Connect schema, in the form that `JsonConverter` writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Connect {
    #[serde(rename = "type")]
    pub(crate) ty: String,
    #[serde(default)]
    pub(crate) optional: bool,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) parameters: std::collections::BTreeMap<String, String>,
    /// Its name in the structure around it.
    #[serde(default)]
    pub(crate) field: String,
    #[serde(default)]
    pub(crate) fields: Vec<Connect>,
    #[serde(default)]
    items: Option<Box<Connect>>,
}

impl Connect {
    /// The field that is called `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&Connect> {
        self.fields.iter().find(|field| field.field == name)
    }

    /// What an Avro type is to Kafka Connect.
    pub(crate) fn of_avro(ty: &Type, field: &str) -> Result<Connect> {
        let (present, nullable) = ty.present()?;
        let notes = &present.notes;
        let mut fields = Vec::new();
        let mut items = None;
        let mut name = notes.name.clone();
        let base = match &present.kind {
            Kind::Boolean => "boolean",
            Kind::Int { long: false } => notes.narrow.as_deref().unwrap_or("int32"),
            Kind::Int { long: true } => "int64",
            Kind::Float => "float",
            Kind::Double => "double",
            Kind::Bytes { text: false } => "bytes",
            Kind::Bytes { text: true } => "string",
            Kind::Array(item) => {
                items = Some(Box::new(Connect::of_avro(item, "")?));
                "array"
            }
            Kind::Record(record) => {
                name = name.or_else(|| Some(record.name.clone()));
                let field = |(name, ty): &(String, Type)| Connect::of_avro(ty, name);
                fields = record.fields.iter().map(field).collect::<Result<_>>()?;
                "struct"
            }
            Kind::Null | Kind::Fixed(_) | Kind::Enum | Kind::Map(_) | Kind::Union(_) => "other",
        };
        let mut parameters: std::collections::BTreeMap<_, _> = notes.parameters.iter().cloned().collect();
        for (key, value) in [("scale", notes.scale), ("connect.decimal.precision", notes.precision)] {
            // Without one of its own a decimal is noted as of 64 digits.
            if let Some(value) = value.filter(|value| key == "scale" || *value != 64) {
                parameters.entry(key.to_owned()).or_insert_with(|| value.to_string());
            }
        }
        let (ty, field) = (base.to_owned(), field.to_owned());
        Ok(Connect { ty, optional: nullable.is_some(), name, parameters, field, fields, items })
    }

    fn number(&self, parameter: &str) -> Option<u8> {
        self.parameters.get(parameter)?.parse().ok()
    }

    /// The column that such values come from, and how they are read.
    pub(crate) fn column(&self) -> Result<(ColumnType, Codec)> {
        let int = |width, codec| (ColumnType::Int { width, unsigned: false, display_one: false }, codec);
        let labels = || labels(self.parameters.get("allowed").map_or("", String::as_str));
        let named = (self.ty.as_str(), self.name.as_deref());
        Ok(match named {
            ("boolean", None) => (ColumnType::Bit { bits: 1 }, Codec::Boolean),
            ("int8", None) => int(1, Codec::Int),
            ("int16", None) => int(2, Codec::Int),
            ("int32", None) => int(4, Codec::Int),
            ("int64", None) => int(8, Codec::Int),
            ("int32", Some("io.debezium.time.Year")) => (ColumnType::Year, Codec::Int),
            ("int32", Some("io.debezium.time.Date" | "org.apache.kafka.connect.data.Date")) => {
                (ColumnType::Date, Codec::Days)
            }
            ("int32", Some("io.debezium.time.Time" | "org.apache.kafka.connect.data.Time")) => {
                (ColumnType::Time { fsp: 3 }, Codec::TimeMillis)
            }
            ("int64", Some("io.debezium.time.MicroTime")) => (ColumnType::Time { fsp: 6 }, Codec::TimeMicros),
            ("int64", Some("io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp")) => {
                (ColumnType::Datetime { fsp: 3 }, Codec::EpochMillis)
            }
            ("int64", Some("io.debezium.time.MicroTimestamp")) => {
                (ColumnType::Datetime { fsp: 6 }, Codec::EpochMicros)
            }
            ("float" | "float32", None) => (ColumnType::Float, Codec::Float),
            ("double" | "float64", None) => (ColumnType::Double, Codec::Double),
            ("string", None) => (ColumnType::Text { collation: UTF8MB4 }, Codec::Text),
            ("string", Some("io.debezium.data.Enum")) => (ColumnType::Enum { labels: labels() }, Codec::Text),
            ("string", Some("io.debezium.data.EnumSet")) => {
                (ColumnType::Set { labels: labels() }, Codec::Text)
            }
            ("string", Some("io.debezium.data.Json")) => (ColumnType::Json, Codec::Text),
            ("string", Some("io.debezium.time.ZonedTimestamp")) => {
                (ColumnType::Timestamp { fsp: 6 }, Codec::Zoned { fsp: 6 })
            }
            ("string", Some("io.debezium.time.IsoDate")) => (ColumnType::Date, Codec::IsoDate),
            ("string", Some("io.debezium.time.IsoTime")) => (ColumnType::Time { fsp: 6 }, Codec::IsoTime),
            ("string", Some("io.debezium.time.IsoTimestamp")) => {
                (ColumnType::Datetime { fsp: 6 }, Codec::IsoTimestamp)
            }
            ("bytes", None) => (ColumnType::Binary { fixed: None }, Codec::Binary(BinaryMode::Bytes)),
            ("bytes", Some("io.debezium.data.Bits")) => {
                let bits = self.number("length").filter(|bits| (2..=64).contains(bits));
                (ColumnType::Bit { bits: bits.ok_or_else(|| self.unknown())? }, Codec::Bits)
            }
            ("bytes", Some("org.apache.kafka.connect.data.Decimal")) => self.decimal()?,
            ("struct", Some("io.debezium.data.geometry.Geometry" | "io.debezium.data.geometry.Point")) => {
                (ColumnType::Geometry, Codec::Geometry)
            }
            ("array", Some("io.debezium.data.FloatVector"))
                if self
                    .items
                    .as_ref()
                    .is_some_and(|items| matches!(items.ty.as_str(), "float" | "float32")) =>
            {
                (ColumnType::Vector, Codec::Vector)
            }
            _ => return Err(self.unknown()),
        })
    }

    fn decimal(&self) -> Result<(ColumnType, Codec)> {
        let mode = DecimalMode::Precise;
        let scale = self.number("scale").filter(|scale| *scale <= 30).ok_or_else(|| self.unknown())?;
        let Some(precision) = self.number("connect.decimal.precision") else {
            return match scale {
                // BIGINT UNSIGNED has no precision.
                0 => Ok((
                    ColumnType::Int { width: 8, unsigned: true, display_one: false },
                    Codec::Decimal { scale, mode },
                )),
                _ => Ok((ColumnType::Decimal { precision: 38, scale }, Codec::Decimal { scale, mode })),
            };
        };
        let codec = match precision <= lakeward_core::schema::DECIMAL_DIGITS_MAX {
            true => Codec::Decimal { scale, mode },
            false => Codec::WideDecimal { scale, mode },
        };
        Ok((ColumnType::Decimal { precision, scale }, codec))
    }

    fn unknown(&self) -> lakeward_core::Error {
        let name = self.name.as_deref().unwrap_or("no name");
        unreadable(format!("field `{}` is of {} ({name}), which is not known", self.field, self.ty))
    }
}

/// Labels of one text, in which a comma of their own stands behind a backslash.
fn labels(allowed: &str) -> Vec<String> {
    let mut labels = vec![String::new()];
    let mut rest = allowed.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            (',', _) => labels.push(String::new()),
            ('\\', Some(',')) => {
                labels.iter_mut().next_back().into_iter().for_each(|label| label.extend(rest.next()))
            }
            _ => labels.iter_mut().next_back().into_iter().for_each(|label| label.push(c)),
        }
    }
    labels
}

/// The collation of utf8mb4's default.
const UTF8MB4: u16 = 255;

//! How change events are written into records: the settings, and which of them lose nothing.

use std::collections::BTreeMap;

use lakeward_core::{Error, ErrorKind, Result, TableId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::registry::RegistryOptions;

/// The settings of records. Words that users of Debezium know keep their meaning.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FormatOptions {
    /// Debezium's envelope as JSON, or as Avro with a schema registry.
    pub format: Format,
    /// `debezium-json`: each record says its schema, as Kafka Connect's JSON converter does; about five times
    /// the bytes. Default: not.
    pub schemas: bool,
    /// DECIMAL: `precise` (default) as bytes, exact; `string`, exact; `double`, rounded: `load` refuses it.
    pub decimal_handling_mode: DecimalMode,
    /// BIGINT UNSIGNED: `precise` (default) as a decimal of scale 0; `long` as a signed 64-bit number, where
    /// values from 2^63 on are negative.
    pub bigint_unsigned_handling_mode: UnsignedMode,
    /// TIME, DATE, DATETIME: `adaptive_time_microseconds` (default); `connect`, of milliseconds, which `load`
    /// refuses; `isostring`.
    pub time_precision_mode: TimeMode,
    /// BINARY, VARBINARY, BLOB: `bytes` (default), or text: `base64`, `base64-url-safe`, `hex`.
    pub binary_handling_mode: BinaryMode,
    /// After a delete, a record with the same key and no value, so that a compacted topic forgets the key.
    /// Default: yes.
    pub tombstones_on_delete: bool,
    /// Columns that are the record key of a table, by `database.table`. Default: the table's primary key.
    pub message_key_columns: BTreeMap<String, Vec<String>>,
    /// The schema registry of `avro`.
    pub schema_registry: Option<RegistryOptions>,
}

impl Default for FormatOptions {
    fn default() -> Self {
        FormatOptions {
            format: Format::default(),
            schemas: false,
            decimal_handling_mode: DecimalMode::default(),
            bigint_unsigned_handling_mode: UnsignedMode::default(),
            time_precision_mode: TimeMode::default(),
            binary_handling_mode: BinaryMode::default(),
            tombstones_on_delete: true,
            message_key_columns: BTreeMap::new(),
            schema_registry: None,
        }
    }
}

/// The form of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Debezium's envelope as JSON.
    #[default]
    DebeziumJson,
    /// Debezium's envelope as Avro, in the Confluent wire format.
    Avro,
}

/// Debezium's `decimal.handling.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecimalMode {
    /// Kafka Connect's decimal: the unscaled number, big-endian.
    #[default]
    Precise,
    /// Digits.
    String,
    /// A rounded number.
    Double,
}

/// Debezium's `bigint.unsigned.handling.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnsignedMode {
    /// Kafka Connect's decimal of scale 0.
    #[default]
    Precise,
    /// A signed 64-bit number with the same bits.
    Long,
}

/// Debezium's `time.precision.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeMode {
    /// Days; DATETIME in milliseconds to three digits, in microseconds from four; TIME in microseconds.
    #[default]
    AdaptiveTimeMicroseconds,
    /// Kafka Connect's own types: days and milliseconds.
    Connect,
    /// ISO 8601.
    Isostring,
}

/// Debezium's `binary.handling.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BinaryMode {
    /// Bytes as the format has them: base64 in JSON.
    #[default]
    Bytes,
    /// Text in base64.
    Base64,
    /// Text in base64 that URLs may hold.
    Base64UrlSafe,
    /// Text in hexadecimal.
    Hex,
}

/// How values are written: what a reader must know to read them back, and what a record may not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    /// `None` where a version wrote it that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    decimal_handling_mode: DecimalMode,
    bigint_unsigned_handling_mode: UnsignedMode,
    time_precision_mode: TimeMode,
    binary_handling_mode: BinaryMode,
}

impl Modes {
    /// That these are those that earlier records have: one value in two ways could be read as another one.
    ///
    /// # Errors
    /// `Config` names what differs.
    pub fn are_those_of(&self, written: &Modes) -> Result<()> {
        let of = |modes: &Modes| match serde_json::to_value(modes) {
            Ok(serde_json::Value::Object(modes)) => modes,
            // A struct of names is an object.
            Ok(_) | Err(_) => serde_json::Map::new(),
        };
        let (ours, theirs) = (of(self), of(written));
        let Some((key, theirs)) = theirs.iter().find(|(key, mode)| ours.get(*key) != Some(mode)) else {
            return Ok(());
        };
        let mode = theirs.as_str().unwrap_or_default();
        let message = format!(
            "records of this pipeline are written with `{key}: {mode}`, and to be read or written otherwise"
        );
        Err(Error::new(ErrorKind::Config, message).at("key", format!("transport.kafka.{key}")).remedy(
            format!("set it to {mode}; other values need a new pipeline: another `name` and `topic_prefix`"),
        ))
    }
}

impl FormatOptions {
    /// How values are written.
    pub fn modes(&self) -> Modes {
        Modes {
            format: Some(self.format),
            decimal_handling_mode: self.decimal_handling_mode,
            bigint_unsigned_handling_mode: self.bigint_unsigned_handling_mode,
            time_precision_mode: self.time_precision_mode,
            binary_handling_mode: self.binary_handling_mode,
        }
    }

    /// Whether every value comes back from records as it was.
    ///
    /// # Errors
    /// `Config` names the setting that loses values, with its remedy.
    pub fn exact(&self) -> Result<()> {
        let lossy = |key: &str, why: &str, exact: &str| {
            let message = format!("{why}: records with it cannot be loaded exactly");
            Err(Error::new(ErrorKind::Config, message).at("key", key).remedy(format!("set it to {exact}")))
        };
        if self.decimal_handling_mode == DecimalMode::Double {
            let why = "`decimal_handling_mode: double` rounds DECIMAL values";
            return lossy("transport.kafka.decimal_handling_mode", why, "precise or string");
        }
        match self.time_precision_mode {
            TimeMode::AdaptiveTimeMicroseconds | TimeMode::Isostring => Ok(()),
            TimeMode::Connect => {
                let why = "`time_precision_mode: connect` cuts times to milliseconds, and a TIME to one day";
                lossy("transport.kafka.time_precision_mode", why, "adaptive_time_microseconds or isostring")
            }
        }
    }

    /// The columns that the settings make the record key of a table; `None`: its own key.
    pub(super) fn key_columns(&self, table: &TableId) -> Option<&[String]> {
        self.message_key_columns.get(&table.to_string()).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_that_lose_values_are_refused_with_their_key() {
        let refused = |options: FormatOptions| options.exact().unwrap_err().to_string();
        FormatOptions::default().exact().unwrap();
        let double = FormatOptions { decimal_handling_mode: DecimalMode::Double, ..FormatOptions::default() };
        assert!(refused(double).contains("key transport.kafka.decimal_handling_mode"));
        let connect = FormatOptions { time_precision_mode: TimeMode::Connect, ..FormatOptions::default() };
        assert!(refused(connect).contains("To mend it: set it to adaptive_time_microseconds"));
    }

    #[test]
    fn values_are_read_as_they_were_written_or_not_at_all() {
        let bytes = FormatOptions::default().modes();
        let hex = FormatOptions { binary_handling_mode: BinaryMode::Hex, ..FormatOptions::default() }.modes();
        let stored: Modes = serde_json::from_str(&serde_json::to_string(&hex).unwrap()).unwrap();
        hex.are_those_of(&stored).unwrap();
        let refused = bytes.are_those_of(&stored).unwrap_err().to_string();
        assert!(refused.contains("`binary_handling_mode: hex`"), "{refused}");
        assert!(refused.contains("key transport.kafka.binary_handling_mode"), "{refused}");
    }

    #[test]
    fn records_of_another_format_are_refused_where_it_is_known() {
        let json = FormatOptions::default().modes();
        let avro = FormatOptions { format: Format::Avro, ..FormatOptions::default() }.modes();
        let refused = json.are_those_of(&avro).unwrap_err().to_string();
        assert!(
            refused.contains("`format: avro`") && refused.contains("key transport.kafka.format"),
            "{refused}"
        );
        let unsaid = Modes { format: None, ..json };
        let stored: Modes = serde_json::from_str(&serde_json::to_string(&unsaid).unwrap()).unwrap();
        avro.are_those_of(&stored).unwrap();
    }

    #[test]
    fn settings_are_written_as_debezium_names_them() {
        let text = r#"{ "format": "avro", "binary_handling_mode": "base64-url-safe",
            "time_precision_mode": "isostring", "decimal_handling_mode": "string",
            "bigint_unsigned_handling_mode": "long", "message_key_columns": { "shop.orders": ["a"] } }"#;
        let options: FormatOptions = serde_json::from_str(text).unwrap();
        assert_eq!(options.format, Format::Avro);
        assert_eq!(options.binary_handling_mode, BinaryMode::Base64UrlSafe);
        assert_eq!(options.key_columns(&TableId::new("shop", "orders")), Some(&["a".to_owned()][..]));
        options.exact().unwrap();
    }
}

//! The schemas of records, as Kafka Connect describes them: Debezium's names and parameters for each MySQL
//! type. From them come the schema part of JSON and the schema of Avro.

use lakeward_core::{ColumnType, TableSchema, TypeOptions, ZeroDates};

use super::codec::Codec;
use super::layout::Layout;
use super::options::{BinaryMode, DecimalMode};

/// A Connect schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) base: Base,
    pub(super) optional: bool,
    pub(super) name: Option<String>,
    pub(super) version: Option<u8>,
    pub(super) doc: Option<&'static str>,
    pub(super) parameters: Vec<(&'static str, String)>,
    /// The value of one that lacks it: only `snapshot` has one.
    pub(super) default: Option<&'static str>,
}

/// What a value is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float,
    Double,
    String,
    Bytes,
    /// Elements of one kind.
    Array(Box<Described>),
    Struct(Vec<(String, Described)>),
}

impl Described {
    pub(super) fn plain(base: Base) -> Described {
        Described {
            base,
            optional: false,
            name: None,
            version: None,
            doc: None,
            parameters: Vec::new(),
            default: None,
        }
    }

    pub(super) fn named(base: Base, name: &str) -> Described {
        Described { name: Some(name.to_owned()), version: Some(1), ..Described::plain(base) }
    }

    fn with(mut self, parameter: &'static str, value: impl ToString) -> Described {
        self.parameters.push((parameter, value.to_string()));
        self
    }

    pub(super) fn optional(mut self) -> Described {
        self.optional = true;
        self
    }

    fn structure(name: String, fields: Vec<(String, Described)>) -> Described {
        Described { name: Some(name), ..Described::plain(Base::Struct(fields)) }
    }
}

/// The schema of a column's values. `connect_times`: days and milliseconds are Kafka Connect's own types.
fn column(ty: &ColumnType, codec: Codec, options: &TypeOptions, connect_times: bool) -> Described {
    let decimal = |precision: u8, scale: u8, mode| match mode {
        DecimalMode::Precise => Described::named(Base::Bytes, "org.apache.kafka.connect.data.Decimal")
            .with("scale", scale)
            .with("connect.decimal.precision", precision),
        DecimalMode::String => Described::plain(Base::String),
        DecimalMode::Double => Described::plain(Base::Double),
    };
    match codec {
        Codec::Boolean => Described::plain(Base::Boolean),
        Codec::Int => int(ty),
        Codec::Float => Described::plain(Base::Float),
        Codec::Double => Described::plain(Base::Double),
        Codec::Text => text(ty, options),
        Codec::Binary(BinaryMode::Bytes) => Described::plain(Base::Bytes),
        Codec::Binary(BinaryMode::Base64 | BinaryMode::Base64UrlSafe | BinaryMode::Hex) => {
            Described::plain(Base::String)
        }
        Codec::Bits => match ty {
            ColumnType::Bit { bits } => {
                Described::named(Base::Bytes, "io.debezium.data.Bits").with("length", bits)
            }
            _ => Described::named(Base::Bytes, "io.debezium.data.Bits"),
        },
        Codec::Decimal { scale, mode } | Codec::WideDecimal { scale, mode } => match ty {
            ColumnType::Decimal { precision, .. } => decimal(*precision, scale, mode),
            // BIGINT UNSIGNED.
            _ => Described::named(Base::Bytes, "org.apache.kafka.connect.data.Decimal")
                .with("scale", 0)
                .with("connect.decimal.precision", 20),
        },
        Codec::UnsignedLong => Described::plain(Base::Int64),
        Codec::Days if connect_times => Described::named(Base::Int32, "org.apache.kafka.connect.data.Date"),
        Codec::Days => Described::named(Base::Int32, "io.debezium.time.Date"),
        Codec::IsoDate => Described::named(Base::String, "io.debezium.time.IsoDate"),
        Codec::TimeMicros => Described::named(Base::Int64, "io.debezium.time.MicroTime"),
        Codec::TimeMillis => Described::named(Base::Int32, "org.apache.kafka.connect.data.Time"),
        Codec::IsoTime => Described::named(Base::String, "io.debezium.time.IsoTime"),
        Codec::EpochMicros => Described::named(Base::Int64, "io.debezium.time.MicroTimestamp"),
        Codec::EpochMillis if connect_times => {
            Described::named(Base::Int64, "org.apache.kafka.connect.data.Timestamp")
        }
        Codec::EpochMillis => Described::named(Base::Int64, "io.debezium.time.Timestamp"),
        Codec::IsoTimestamp => Described::named(Base::String, "io.debezium.time.IsoTimestamp"),
        Codec::Zoned { .. } => Described::named(Base::String, "io.debezium.time.ZonedTimestamp"),
        Codec::Geometry => {
            let fields = vec![
                ("wkb".to_owned(), Described::plain(Base::Bytes)),
                ("srid".to_owned(), Described::plain(Base::Int32).optional()),
            ];
            let geometry = Described::named(Base::Struct(fields), "io.debezium.data.geometry.Geometry");
            Described { doc: Some("Geometry"), ..geometry }
        }
        Codec::Vector => {
            let floats = Base::Array(Box::new(Described::plain(Base::Float)));
            Described::named(floats, "io.debezium.data.FloatVector")
        }
    }
}

fn int(ty: &ColumnType) -> Described {
    match ty {
        ColumnType::Year => Described::named(Base::Int32, "io.debezium.time.Year"),
        ColumnType::Int { width: 1, .. } | ColumnType::Int { width: 2, unsigned: false, .. } => {
            Described::plain(Base::Int16)
        }
        ColumnType::Int { width: 4, unsigned: true, .. } | ColumnType::Int { width: 8, .. } => {
            Described::plain(Base::Int64)
        }
        _ => Described::plain(Base::Int32),
    }
}

fn text(ty: &ColumnType, options: &TypeOptions) -> Described {
    match ty {
        ColumnType::Enum { labels } => {
            Described::named(Base::String, "io.debezium.data.Enum").with("allowed", allowed(labels))
        }
        ColumnType::Set { labels } => {
            Described::named(Base::String, "io.debezium.data.EnumSet").with("allowed", allowed(labels))
        }
        ColumnType::Json => Described::named(Base::String, "io.debezium.data.Json"),
        // As MySQL prints them: by the options of types.
        ColumnType::Date | ColumnType::Datetime { .. } | ColumnType::Timestamp { .. }
            if options.zero_dates == ZeroDates::String =>
        {
            Described::plain(Base::String)
        }
        _ => Described::plain(Base::String),
    }
}

/// Labels as one text, in which a comma of their own stands behind a backslash.
fn allowed(labels: &[String]) -> String {
    labels.iter().map(|label| label.replace(',', "\\,")).collect::<Vec<_>>().join(",")
}

/// The fields of the columns `columns`, of images or of keys.
fn fields(layout: &Layout, columns: impl Iterator<Item = usize>) -> Vec<(String, Described)> {
    let TableSchema { columns: all, options, .. } = &*layout.schema;
    let field = |index: usize| {
        let (field, of_table) = layout.fields.get(index).zip(all.get(index))?;
        let described = column(&of_table.ty, field.codec, options, layout.connect_times);
        Some((field.name.clone(), Described { optional: field.optional, ..described }))
    };
    columns.filter_map(field).collect()
}

/// The schema of values.
pub(super) fn value(layout: &Layout, topic: &str) -> Described {
    let image = fields(layout, 0..layout.fields.len());
    let image = Described::structure(format!("{topic}.Value"), image).optional();
    let transaction = vec![
        ("id".to_owned(), Described::plain(Base::String)),
        ("total_order".to_owned(), Described::plain(Base::Int64)),
        ("data_collection_order".to_owned(), Described::plain(Base::Int64)),
    ];
    let transaction = Described::named(Base::Struct(transaction), "event.block").optional();
    let time = || Described::plain(Base::Int64).optional();
    let fields = [
        ("before", image.clone()),
        ("after", image),
        ("source", source()),
        ("transaction", transaction),
        ("op", Described::plain(Base::String)),
        ("ts_ms", time()),
        ("ts_us", time()),
        ("ts_ns", time()),
    ];
    let fields = fields.into_iter().map(|(name, described)| (name.to_owned(), described)).collect();
    let envelope = Described::structure(format!("{topic}.Envelope"), fields);
    Described { version: Some(2), ..envelope }
}

/// The schema of keys; `None`: there are none.
pub(super) fn key(layout: &Layout, topic: &str) -> Option<Described> {
    let fields = fields(layout, layout.key.iter().copied());
    (!fields.is_empty()).then(|| Described::structure(format!("{topic}.Key"), fields))
}

/// The schema of `source`.
pub(super) fn source() -> Described {
    let text = || Described::plain(Base::String);
    let number = || Described::plain(Base::Int64);
    let snapshot = Described {
        default: Some("false"),
        ..Described::named(Base::String, "io.debezium.data.Enum")
            .with(
                "allowed",
                "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental",
            )
            .optional()
    };
    let fields = [
        ("version", text()),
        ("connector", text()),
        ("name", text()),
        ("ts_ms", number()),
        ("snapshot", snapshot),
        ("db", text()),
        ("sequence", text().optional()),
        ("ts_us", number().optional()),
        ("ts_ns", number().optional()),
        ("table", text().optional()),
        ("server_id", number()),
        ("gtid", text().optional()),
        ("file", text()),
        ("pos", number()),
        ("row", Described::plain(Base::Int32)),
        ("thread", number().optional()),
        ("query", text().optional()),
    ];
    let fields = fields.into_iter().map(|(name, described)| (name.to_owned(), described)).collect();
    Described::named(Base::Struct(fields), "io.debezium.connector.mysql.Source")
}

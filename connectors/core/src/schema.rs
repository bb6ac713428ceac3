//! Tables, their versions and their columns, and the one mapping of MySQL types to Arrow.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table's name on the source. Written `database.table`; compared as the server stores it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// Database (schema) name.
    pub database: Arc<str>,
    /// Table name.
    pub table: Arc<str>,
}

impl TableId {
    /// Names a table.
    pub fn new(database: impl Into<Arc<str>>, table: impl Into<Arc<str>>) -> Self {
        TableId { database: database.into(), table: table.into() }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

impl Serialize for TableId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A pair, not "a.b": either name may hold a dot.
        (&*self.database, &*self.table).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TableId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (database, table) = <(String, String)>::deserialize(deserializer)?;
        Ok(TableId::new(database, table))
    }
}

/// A MySQL column type, as far as values and their reading depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// TINYINT, SMALLINT, MEDIUMINT, INT, BIGINT: width in bytes (1, 2, 3, 4, 8).
    Int {
        /// Width in bytes.
        width: u8,
        /// UNSIGNED.
        unsigned: bool,
        /// `TINYINT(1)`; known only from the catalog, so only there may a boolean be asked for.
        #[serde(default)]
        display_one: bool,
    },
    /// DECIMAL(precision, scale).
    Decimal {
        /// Digits in all, 1 to 65.
        precision: u8,
        /// Digits after the point, 0 to 30.
        scale: u8,
    },
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// BIT(bits).
    Bit {
        /// 1 to 64.
        bits: u8,
    },
    /// YEAR.
    Year,
    /// DATE.
    Date,
    /// TIME(fsp).
    Time {
        /// Digits of the fraction, 0 to 6.
        fsp: u8,
    },
    /// DATETIME(fsp).
    Datetime {
        /// Digits of the fraction, 0 to 6.
        fsp: u8,
    },
    /// TIMESTAMP(fsp).
    Timestamp {
        /// Digits of the fraction, 0 to 6.
        fsp: u8,
    },
    /// CHAR, VARCHAR, TINYTEXT..LONGTEXT.
    Text {
        /// Collation id (`information_schema.collations.id`); it names the charset.
        collation: u16,
    },
    /// VARBINARY, TINYBLOB..LONGBLOB, and BINARY.
    Binary {
        /// BINARY's width in bytes, to which values are padded; `None` for the others.
        #[serde(default)]
        fixed: Option<u16>,
    },
    /// ENUM; labels in order, index 1 first, as UTF-8.
    Enum {
        /// The labels.
        labels: Vec<String>,
    },
    /// SET; labels in bit order, as UTF-8.
    Set {
        /// The labels.
        labels: Vec<String>,
    },
    /// JSON.
    Json,
    /// GEOMETRY and its kinds.
    Geometry,
    /// VECTOR.
    Vector,
}

/// What to do with zero and partial dates (`0000-00-00`, `2026-02-00`), which Arrow cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZeroDates {
    /// Null, and counted in a metric.
    #[default]
    Null,
    /// Stop the table.
    Error,
    /// DATE and DATETIME and TIMESTAMP columns become strings as MySQL prints them.
    String,
}

/// Choices in the mapping of types. Defaults are the documented table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TypeOptions {
    /// `TINYINT(1)` as boolean (any non-zero value is true). Default: a number.
    pub tinyint1_as_boolean: bool,
    /// TIME as a string like `-12:34:56.5`. Default: microseconds as a 64-bit number.
    pub time_as_string: bool,
    /// Zero and partial dates.
    pub zero_dates: ZeroDates,
}

/// Decimals wider than this are strings: 38 digits is what the reader engines hold.
pub const DECIMAL_DIGITS_MAX: u8 = 38;

impl ColumnType {
    /// The Arrow type of its values.
    pub fn arrow(&self, options: &TypeOptions) -> DataType {
        let as_string = options.zero_dates == ZeroDates::String;
        match self {
            ColumnType::Int { width: 1, display_one: true, .. } if options.tinyint1_as_boolean => {
                DataType::Boolean
            }
            // Unsigned: the next wider signed type; Athena, Hive and Spark have no unsigned ones.
            ColumnType::Int { width: 1, unsigned: false, .. } => DataType::Int8,
            ColumnType::Int { width: 1, unsigned: true, .. }
            | ColumnType::Int { width: 2, unsigned: false, .. } => DataType::Int16,
            ColumnType::Int { width: 2 | 3, .. } | ColumnType::Int { width: 4, unsigned: false, .. } => {
                DataType::Int32
            }
            ColumnType::Int { width: 8, unsigned: true, .. } => DataType::Decimal128(20, 0),
            ColumnType::Int { .. } => DataType::Int64,
            ColumnType::Decimal { precision, scale } if *precision <= DECIMAL_DIGITS_MAX => {
                DataType::Decimal128(*precision, scale.cast_signed())
            }
            ColumnType::Decimal { .. } => DataType::Utf8,
            ColumnType::Float => DataType::Float32,
            ColumnType::Double => DataType::Float64,
            ColumnType::Bit { bits: 1 } => DataType::Boolean,
            ColumnType::Year => DataType::Int16,
            ColumnType::Date | ColumnType::Datetime { .. } | ColumnType::Timestamp { .. } if as_string => {
                DataType::Utf8
            }
            ColumnType::Date => DataType::Date32,
            ColumnType::Time { .. } if options.time_as_string => DataType::Utf8,
            ColumnType::Time { .. } => DataType::Int64,
            ColumnType::Datetime { .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
            ColumnType::Timestamp { .. } => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json => {
                DataType::Utf8
            }
            ColumnType::Bit { .. } | ColumnType::Binary { .. } | ColumnType::Geometry => DataType::Binary,
            ColumnType::Vector => DataType::List(Arc::new(Field::new("item", DataType::Float32, false))),
        }
    }
}

/// A column of one table version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: ColumnType,
    /// Whether the server allows NULL. In the lake every column is nullable.
    pub nullable: bool,
}

/// One version of a table's structure, as of a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredSchema", into = "StoredSchema")]
pub struct TableSchema {
    /// The table.
    pub table: TableId,
    /// Its version, from 1, dense per pipeline and table.
    pub version: u32,
    /// Columns in the order of the row image, invisible and generated ones included.
    pub columns: Vec<Column>,
    /// Indices into `columns` of the primary key's columns, in key order; empty without a key.
    pub key: Vec<usize>,
    /// The mapping choices in force.
    pub options: TypeOptions,
    /// The Arrow schema of the table's rows, every field nullable.
    pub arrow: SchemaRef,
}

impl TableSchema {
    /// Builds a version; derives the Arrow schema.
    pub fn new(
        table: TableId,
        version: u32,
        columns: Vec<Column>,
        key: Vec<usize>,
        options: TypeOptions,
    ) -> Self {
        let fields: Vec<Field> =
            columns.iter().map(|c| Field::new(&c.name, c.ty.arrow(&options), true)).collect();
        let arrow = Arc::new(Schema::new(fields));
        TableSchema { table, version, columns, key, options, arrow }
    }

    /// Whether both describe the same structure, whatever their versions.
    pub fn same_structure(&self, other: &TableSchema) -> bool {
        self.table == other.table
            && self.columns == other.columns
            && self.key == other.key
            && self.options == other.options
    }
}

/// [`TableSchema`] as it is stored: without what can be derived.
#[derive(Clone, Serialize, Deserialize)]
struct StoredSchema {
    table: TableId,
    version: u32,
    columns: Vec<Column>,
    key: Vec<usize>,
    options: TypeOptions,
}

impl From<StoredSchema> for TableSchema {
    fn from(s: StoredSchema) -> Self {
        TableSchema::new(s.table, s.version, s.columns, s.key, s.options)
    }
}

impl From<TableSchema> for StoredSchema {
    fn from(s: TableSchema) -> Self {
        StoredSchema {
            table: s.table,
            version: s.version,
            columns: s.columns,
            key: s.key,
            options: s.options,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(width: u8, unsigned: bool) -> DataType {
        ColumnType::Int { width, unsigned, display_one: false }.arrow(&TypeOptions::default())
    }

    #[test]
    fn unsigned_integers_widen_by_one_step() {
        assert_eq!(
            [int(1, false), int(2, false), int(3, false), int(4, false), int(8, false)],
            [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int32, DataType::Int64]
        );
        assert_eq!(
            [int(1, true), int(2, true), int(3, true), int(4, true), int(8, true)],
            [DataType::Int16, DataType::Int32, DataType::Int32, DataType::Int64, DataType::Decimal128(20, 0)]
        );
    }

    #[test]
    fn a_stored_schema_comes_back_whole() {
        let columns = vec![Column {
            name: "id".into(),
            ty: ColumnType::Decimal { precision: 65, scale: 30 },
            nullable: false,
        }];
        let schema = TableSchema::new(TableId::new("a.b", "c"), 3, columns, vec![0], TypeOptions::default());
        let text = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<TableSchema>(&text).unwrap(), schema);
    }
}

//! Tables, their versions and their columns, and the one mapping of MySQL types to Arrow.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Declaration;

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
    /// Its number in the table, from 1: kept when it is renamed or its type changes, never given to
    /// another column. So the columns of two versions belong together by their numbers.
    #[serde(default)]
    pub id: u32,
    /// The value that rows written before the column existed have in it, as the server prints it (bytes
    /// as `0x…`); `None`: NULL. Versions without the column's number lack the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<String>,
    /// How much text or how many bytes it holds, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// How it is declared, where that is kept. No value's reading depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Declaration>,
}

impl Column {
    /// A column that gets its number from its table.
    pub fn new(name: impl Into<String>, ty: ColumnType, nullable: bool) -> Self {
        Column { name: name.into(), ty, nullable, id: 0, fill: None, capacity: None, declared: None }
    }
}

/// How much a column of text or bytes holds. No value's reading depends on it; whether a change of it
/// keeps all values does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capacity {
    /// CHAR(n), BINARY(n): characters, or bytes.
    Char(u32),
    /// VARCHAR(n), VARBINARY(n): characters, or bytes.
    Varchar(u32),
    /// TINYTEXT to LONGTEXT, TINYBLOB to LONGBLOB: bytes of the length, 1 to 4.
    Blob(u8),
}

/// What statements that alter a table later build on, beside its columns. No value's reading depends
/// on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Groundwork {
    /// Collation id of new text columns that name none; `None`: not known.
    pub collation: Option<u16>,
    /// Its unique indexes in the server's order; `None`: not known, but for what the key says.
    pub indexes: Option<Vec<Index>>,
    /// The number of the next column that is added.
    pub next_column: u32,
    /// The number of its AUTO_INCREMENT column, 0 for none; `None`: not known.
    pub auto_increment: Option<u32>,
    /// The numbers of its generated columns; `None`: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated: Option<Vec<u32>>,
    /// The numbers of those of them that are VIRTUAL, as far as that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub virtual_columns: Vec<u32>,
    /// Something of this version was taken from what is usual, as neither the log nor the catalog told
    /// it. The first rows tell it, or the version is proved before they are read.
    pub unsure: bool,
}

impl Groundwork {
    /// The number of a new column.
    pub fn take_number(&mut self) -> u32 {
        self.next_column = self.next_column.max(1);
        let number = self.next_column;
        self.next_column = number.saturating_add(1);
        number
    }
}

/// A unique index of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name; `PRIMARY` is the primary key's; empty: not known.
    pub name: String,
    /// Its parts, in order.
    pub parts: Vec<IndexPart>,
}

/// A part of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPart {
    /// The column; `None`: an expression.
    pub column: Option<String>,
    /// Where it covers only the beginning of the column's values: its characters, or bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u32>,
}

/// The name of the primary key among indexes.
pub const PRIMARY: &str = "PRIMARY";

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
    /// Indices into `columns` of the key's columns, in key order: of the primary key, or else of the
    /// first unique key whose columns all are NOT NULL and none VIRTUAL; empty without one.
    pub key: Vec<usize>,
    /// The mapping choices in force.
    pub options: TypeOptions,
    /// What statements that alter the table later build on.
    pub groundwork: Groundwork,
    /// The Arrow schema of the table's rows, every field nullable.
    pub arrow: SchemaRef,
}

impl TableSchema {
    /// Builds a version without groundwork; numbers columns that have no number, derives the Arrow
    /// schema.
    pub fn new(
        table: TableId,
        version: u32,
        columns: Vec<Column>,
        key: Vec<usize>,
        options: TypeOptions,
    ) -> Self {
        TableSchema::with(table, version, columns, key, options, Groundwork::default())
    }

    /// As [`TableSchema::new`], with groundwork.
    pub fn with(
        table: TableId,
        version: u32,
        mut columns: Vec<Column>,
        key: Vec<usize>,
        options: TypeOptions,
        mut groundwork: Groundwork,
    ) -> Self {
        let highest = columns.iter().map(|column| column.id).max().unwrap_or_default();
        groundwork.next_column = groundwork.next_column.max(highest.saturating_add(1));
        for column in columns.iter_mut().filter(|column| column.id == 0) {
            column.id = groundwork.take_number();
        }
        let fields: Vec<Field> =
            columns.iter().map(|c| Field::new(&c.name, c.ty.arrow(&options), true)).collect();
        let arrow = Arc::new(Schema::new(fields));
        TableSchema { table, version, columns, key, options, groundwork, arrow }
    }

    /// Whether both describe the same structure, whatever their versions.
    pub fn same_structure(&self, other: &TableSchema) -> bool {
        self.table == other.table
            && self.columns == other.columns
            && self.key == other.key
            && self.options == other.options
            && self.groundwork == other.groundwork
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
    #[serde(default)]
    groundwork: Groundwork,
}

impl From<StoredSchema> for TableSchema {
    fn from(s: StoredSchema) -> Self {
        TableSchema::with(s.table, s.version, s.columns, s.key, s.options, s.groundwork)
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
            groundwork: s.groundwork,
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
        let mut name = Column::new("name", ColumnType::Text { collation: 255 }, true);
        (name.fill, name.capacity) = (Some("x".into()), Some(Capacity::Varchar(20)));
        let columns = vec![Column::new("id", ColumnType::Decimal { precision: 65, scale: 30 }, false), name];
        let part = IndexPart { column: Some("id".into()), prefix: None };
        let index = Index { name: PRIMARY.into(), parts: vec![part] };
        let groundwork = Groundwork {
            collation: Some(255),
            indexes: Some(vec![index]),
            next_column: 9,
            auto_increment: Some(0),
            generated: Some(vec![10]),
            virtual_columns: vec![10],
            unsure: true,
        };
        let table = TableId::new("a.b", "c");
        let schema = TableSchema::with(table, 3, columns, vec![0], TypeOptions::default(), groundwork);
        assert_eq!([schema.columns[0].id, schema.columns[1].id, schema.groundwork.next_column], [9, 10, 11]);
        let text = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<TableSchema>(&text).unwrap(), schema);
    }

    #[test]
    fn a_schema_stored_before_columns_had_numbers_is_read() {
        let old = r#"{ "table": ["d", "t"], "version": 1, "key": [0], "options": {}, "columns": [
            { "name": "a", "type": "json", "nullable": true }, { "name": "b", "type": "year", "nullable": true } ] }"#;
        let schema: TableSchema = serde_json::from_str(old).unwrap();
        assert_eq!([schema.columns[0].id, schema.columns[1].id], [1, 2]);
        assert_eq!((&schema.groundwork.indexes, schema.groundwork.next_column), (&None, 3));
        assert_eq!(schema.groundwork.generated, None, "which columns are generated was not stored either");
        assert!(schema.groundwork.virtual_columns.is_empty(), "nor which of them are VIRTUAL");
    }
}

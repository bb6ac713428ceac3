//! A table's columns as the lake has them, over all its versions.
//!
//! A reader opens the folder of a table as one table, by the names of columns. So one name must stand for
//! values of one kind in all files:
//! - A column keeps its name in the lake while its type is the same or widens so that readers read the
//!   narrower files as the wider type (DuckDB and pyarrow do, by themselves; Trino was not tried): whole numbers,
//!   FLOAT to DOUBLE, decimals of one scale. What is text in the lake stays text: VARCHAR, TEXT, ENUM,
//!   SET, JSON of any length and charset.
//! - Any other change is incompatible: BIGINT to BIGINT UNSIGNED (a decimal, of another physical type),
//!   another scale (values would be shifted), text to number, DATETIME to TIMESTAMP. By config the column
//!   goes on under a new name, `<name>_v<version>`, or is refused.
//! - A column that goes back to an earlier type goes back to the earlier name. A renamed column is another
//!   column of the lake; `renamed_from` tells where it comes from.
//! - Names differ by more than the case of letters, as most readers fold it.
//!
//! The names are settled once, when a version is new, from the version before, and are stored with it:
//! a later run cannot come to other ones. Two pipelines that share a table (`shared_tables`) settle their
//! names apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use arrow::datatypes::{DataType, Field, Fields};
use lakeward_core::{ColumnType, Error, ErrorKind, Result, TableSchema, TypeOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a column whose values do not fit its earlier ones into one column of the lake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncompatibleChange {
    /// It goes on as a new column, `<name>_v<version>`.
    #[default]
    NewColumn,
    /// The run stops, and names it.
    Stop,
}

/// A table version as the lake stores it: `schemas/<database>/<table>/<version>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct LakeVersion {
    /// The structure on the source.
    #[serde(flatten)]
    pub table: TableSchema,
    /// Names in the lake of the version's columns, in their order.
    pub lake_names: Vec<String>,
    /// Columns that were renamed since the version before: their earlier names on the source, by the
    /// names that they have there now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed_from: BTreeMap<String, String>,
    /// All columns of the table's files, of this version and those before.
    pub lake_columns: Vec<LakeColumn>,
}

/// A column of a table in the lake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeColumn {
    /// Its name in the files.
    pub name: String,
    /// Name of the source's column whose values it holds.
    pub source: String,
    /// Its type: that of the widest file.
    #[serde(rename = "type")]
    pub ty: LakeType,
}

/// [`LakeVersion`], also as it was stored when names were those of the source.
#[derive(Deserialize)]
struct Stored {
    #[serde(flatten)]
    table: TableSchema,
    lake_names: Option<Vec<String>>,
    #[serde(default)]
    renamed_from: BTreeMap<String, String>,
    #[serde(default)]
    lake_columns: Vec<LakeColumn>,
}

impl From<Stored> for LakeVersion {
    fn from(stored: Stored) -> Self {
        let Stored { table, lake_names, renamed_from, lake_columns } = stored;
        match lake_names {
            Some(lake_names) => LakeVersion { table, lake_names, renamed_from, lake_columns },
            None => LakeVersion::of_own_names(table),
        }
    }
}

impl LakeVersion {
    /// A version whose columns have their own names in the lake: the first one's.
    pub fn of_own_names(table: TableSchema) -> Self {
        let own = |name: &String, ty| LakeColumn { name: name.clone(), source: name.clone(), ty };
        let columns = table.columns.iter();
        LakeVersion {
            lake_names: columns.clone().map(|column| column.name.clone()).collect(),
            renamed_from: BTreeMap::new(),
            lake_columns: columns
                .map(|column| own(&column.name, LakeType::of(&column.ty, &table.options)))
                .collect(),
            table,
        }
    }

    /// The version `table`, which comes after `before`. `taken` are names that no column may get.
    ///
    /// # Errors
    /// `TableChanged` for an incompatible change that is to be refused.
    pub fn after(
        before: &LakeVersion,
        table: TableSchema,
        taken: &[&str],
        incompatible: IncompatibleChange,
    ) -> Result<Self> {
        let mut naming = Naming {
            columns: before.lake_columns.clone(),
            used: BTreeSet::new(),
            taken: taken.iter().map(|name| fold(name)).collect(),
            version: table.version,
        };
        naming.taken.extend(table.columns.iter().map(|column| fold(&column.name)));
        let mut lake_names = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let ty = LakeType::of(&column.ty, &table.options);
            let last = before.lake_name_of(&column.name);
            let place = match naming.earlier(&column.name, ty, last) {
                Earlier::Fits(place) => place,
                Earlier::None => naming.add(&column.name, ty),
                Earlier::Differs(earlier) => match incompatible {
                    IncompatibleChange::NewColumn => naming.add_renamed(&column.name, ty),
                    IncompatibleChange::Stop => return Err(refused(&table, &column.name, earlier, ty)),
                },
            };
            lake_names.push(naming.take(place, ty));
        }
        let renamed_from = renames(&before.table, &table);
        Ok(LakeVersion { table, lake_names, renamed_from, lake_columns: naming.columns })
    }

    /// The Arrow fields of the table's own columns in a file of this version.
    pub fn fields(&self) -> Fields {
        let own = self.table.arrow.fields().iter().zip(&self.lake_names);
        own.map(|(field, name)| Field::new(name, field.data_type().clone(), true)).collect()
    }

    /// The name in the lake of the column that the source calls `name`.
    fn lake_name_of(&self, name: &str) -> Option<&str> {
        let place = self.table.columns.iter().position(|column| fold(&column.name) == fold(name))?;
        self.lake_names.get(place).map(String::as_str)
    }
}

fn fold(name: &str) -> String {
    name.to_lowercase()
}

fn refused(table: &TableSchema, column: &str, earlier: LakeType, now: LakeType) -> Error {
    let message =
        format!("the column changed from {earlier} to {now}, which one column of the lake cannot both hold");
    Error::new(ErrorKind::TableChanged, message)
        .of_table(&table.table)
        .at("column", column)
        .at("version", table.version)
        .remedy("set `lake.incompatible_change: new_column` to go on under a new name, or exclude the table")
}

/// Columns of `now` that had another name in `before`; a column's number is the same in both.
fn renames(before: &TableSchema, now: &TableSchema) -> BTreeMap<String, String> {
    let earlier: BTreeMap<u32, &str> =
        before.columns.iter().map(|column| (column.id, column.name.as_str())).collect();
    let renamed = now.columns.iter().filter_map(|column| {
        let from = *earlier.get(&column.id)?;
        (from != column.name).then(|| (column.name.clone(), from.to_owned()))
    });
    renamed.collect()
}

/// What the lake's columns of a name say about a column that has it now.
enum Earlier {
    /// There is none.
    None,
    /// This one takes its values too.
    Fits(usize),
    /// None does; the newest has this type.
    Differs(LakeType),
}

/// Finds the names of a version's columns.
struct Naming {
    columns: Vec<LakeColumn>,
    /// Columns of the lake that a column of this version has got.
    used: BTreeSet<usize>,
    /// Names that are never made up, folded.
    taken: BTreeSet<String>,
    version: u32,
}

impl Naming {
    /// The column of the lake for values of the source's column `name`: the one it had `last` if that
    /// fits, else the newest that does.
    fn earlier(&self, name: &str, ty: LakeType, last: Option<&str>) -> Earlier {
        let of_name = |(place, column): &(usize, &LakeColumn)| {
            fold(&column.source) == fold(name) && !self.used.contains(place)
        };
        let mut earlier: Vec<_> = self.columns.iter().enumerate().rev().filter(of_name).collect();
        earlier.sort_by_key(|(_, column)| last != Some(column.name.as_str()));
        match (earlier.iter().find(|(_, column)| column.ty.join(ty).is_some()), earlier.first()) {
            (Some((place, _)), _) => Earlier::Fits(*place),
            (None, Some((_, newest))) => Earlier::Differs(newest.ty),
            (None, None) => Earlier::None,
        }
    }

    /// A new column for values that the source calls `name`, under that name if it is free: another
    /// column may have got it when its own did not fit any more.
    fn add(&mut self, name: &str, ty: LakeType) -> usize {
        match self.is_free(name) {
            true => self.push(name.to_owned(), name, ty),
            false => self.add_renamed(name, ty),
        }
    }

    /// A new column for values that the source calls `name`, under a name that is made up.
    fn add_renamed(&mut self, name: &str, ty: LakeType) -> usize {
        let wanted = format!("{name}_v{}", self.version);
        let numbered = (2_u32..).map(|number| format!("{wanted}_{number}"));
        let free = |name: &String| self.is_free(name) && !self.taken.contains(&fold(name));
        let found = std::iter::once(wanted.clone()).chain(numbered).find(free).unwrap_or(wanted);
        self.push(found, name, ty)
    }

    fn is_free(&self, name: &str) -> bool {
        !self.columns.iter().any(|column| fold(&column.name) == fold(name))
    }

    fn push(&mut self, name: String, source: &str, ty: LakeType) -> usize {
        self.columns.push(LakeColumn { name, source: source.to_owned(), ty });
        self.columns.len() - 1
    }

    /// Gives a column of the lake to one of this version; its name.
    fn take(&mut self, place: usize, ty: LakeType) -> String {
        self.used.insert(place);
        let Some(column) = self.columns.get_mut(place) else { return String::new() };
        column.ty = column.ty.join(ty).unwrap_or(ty);
        column.name.clone()
    }
}

/// Type of a column in the lake: what its values are and mean, as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LakeType {
    /// True and false.
    Boolean,
    /// A signed whole number of this many bits.
    Int(u8),
    /// A decimal with so many digits, so many of them behind the point.
    Decimal(u8, i8),
    /// A floating-point number of this many bits.
    Float(u8),
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// BIT(n) as bytes, the most significant first.
    Bits,
    /// EWKB.
    Geometry,
    /// Days.
    Date,
    /// Microseconds without a zone.
    Timestamp,
    /// Microseconds, UTC.
    TimestampUtc,
    /// A TIME as whole microseconds.
    Time,
    /// A list of 32-bit floating-point numbers.
    Vector,
}

impl LakeType {
    /// The type of a source's column.
    pub fn of(ty: &ColumnType, options: &TypeOptions) -> Self {
        let arrow = ty.arrow(options);
        let unless_text = |ty| if arrow == DataType::Utf8 { LakeType::Text } else { ty };
        match ty {
            ColumnType::Int { .. } | ColumnType::Year | ColumnType::Decimal { .. } => match arrow {
                DataType::Boolean => LakeType::Boolean,
                DataType::Int8 => LakeType::Int(8),
                DataType::Int16 => LakeType::Int(16),
                DataType::Int32 => LakeType::Int(32),
                DataType::Decimal128(digits, scale) => LakeType::Decimal(digits, scale),
                _ => unless_text(LakeType::Int(64)),
            },
            ColumnType::Float => LakeType::Float(32),
            ColumnType::Double => LakeType::Float(64),
            ColumnType::Bit { bits: 1 } => LakeType::Boolean,
            ColumnType::Bit { .. } => LakeType::Bits,
            ColumnType::Date => unless_text(LakeType::Date),
            ColumnType::Time { .. } => unless_text(LakeType::Time),
            ColumnType::Datetime { .. } => unless_text(LakeType::Timestamp),
            ColumnType::Timestamp { .. } => unless_text(LakeType::TimestampUtc),
            ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json => {
                LakeType::Text
            }
            ColumnType::Binary { .. } => LakeType::Binary,
            ColumnType::Geometry => LakeType::Geometry,
            ColumnType::Vector => LakeType::Vector,
        }
    }

    /// The type that holds the values of both as they are; `None` if readers do not make one of them.
    pub fn join(self, other: LakeType) -> Option<LakeType> {
        match (self, other) {
            (one, same) if one == same => Some(one),
            (LakeType::Int(one), LakeType::Int(other)) => Some(LakeType::Int(one.max(other))),
            (LakeType::Float(one), LakeType::Float(other)) => Some(LakeType::Float(one.max(other))),
            (LakeType::Decimal(one, scale), LakeType::Decimal(other, same)) if scale == same => {
                Some(LakeType::Decimal(one.max(other), scale))
            }
            _ => None,
        }
    }
}

impl fmt::Display for LakeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LakeType::Boolean => f.write_str("boolean"),
            LakeType::Int(bits) => write!(f, "int{bits}"),
            LakeType::Decimal(digits, scale) => write!(f, "decimal({digits},{scale})"),
            LakeType::Float(bits) => write!(f, "float{bits}"),
            LakeType::Text => f.write_str("text"),
            LakeType::Binary => f.write_str("binary"),
            LakeType::Bits => f.write_str("bits"),
            LakeType::Geometry => f.write_str("geometry"),
            LakeType::Date => f.write_str("date"),
            LakeType::Timestamp => f.write_str("timestamp"),
            LakeType::TimestampUtc => f.write_str("timestamp_utc"),
            LakeType::Time => f.write_str("time_us"),
            LakeType::Vector => f.write_str("vector"),
        }
    }
}

impl FromStr for LakeType {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let decimal = || {
            let (digits, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            Some(LakeType::Decimal(digits.parse().ok()?, scale.parse().ok()?))
        };
        Ok(match text {
            "boolean" => LakeType::Boolean,
            "int8" => LakeType::Int(8),
            "int16" => LakeType::Int(16),
            "int32" => LakeType::Int(32),
            "int64" => LakeType::Int(64),
            "float32" => LakeType::Float(32),
            "float64" => LakeType::Float(64),
            "text" => LakeType::Text,
            "binary" => LakeType::Binary,
            "bits" => LakeType::Bits,
            "geometry" => LakeType::Geometry,
            "date" => LakeType::Date,
            "timestamp" => LakeType::Timestamp,
            "timestamp_utc" => LakeType::TimestampUtc,
            "time_us" => LakeType::Time,
            "vector" => LakeType::Vector,
            other => return decimal().ok_or_else(|| format!("`{other}` is no type of the lake")),
        })
    }
}

impl TryFrom<String> for LakeType {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<LakeType> for String {
    fn from(ty: LakeType) -> String {
        ty.to_string()
    }
}

#[cfg(test)]
mod tests;

//! The server's catalog: tables, their columns and keys, and the foreign keys that change rows.
//!
//! Guarantee: columns come in the order of the row image (`ORDINAL_POSITION`), with invisible,
//! generated and generated-key columns among them; a type that is not known, or ENUM labels that are
//! not text, refuse that table by name and no other. Unknown: the catalog is of now. Whether it is
//! the one that an event was written under is for the stream to check against the table map.

use std::collections::BTreeMap;

use lakeward_core::{Column, ColumnType, Error, ErrorKind, Result, TableFilter, TableId};
use mysql::Conn;

use crate::session::{TextRow, quoted, rows};

/// A table as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogTable {
    /// Columns in the order of the row image.
    pub columns: Vec<Column>,
    /// Indices into `columns` of the primary key, in key order; empty without one.
    pub key: Vec<usize>,
    /// Storage engine.
    pub engine: String,
}

/// The captured tables that the account can see.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Those whose every column is understood.
    pub tables: BTreeMap<TableId, CatalogTable>,
    /// Why the others are not, each with its table.
    pub refused: Vec<Error>,
}

/// A foreign key whose rule changes rows of a captured child table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cascade {
    /// The table whose rows are changed.
    pub child: TableId,
    /// The table whose change causes it.
    pub parent: TableId,
    /// The constraint's name.
    pub constraint: String,
    /// `CASCADE`, `SET NULL`, `SET DEFAULT`, or a rule that changes nothing.
    pub on_update: String,
    /// As `on_update`.
    pub on_delete: String,
}

/// Databases of the server itself.
const SYSTEM: &str = "('mysql', 'sys', 'information_schema', 'performance_schema')";

/// Tables asked about at once.
const CHUNK: usize = 200;

/// Every base table that the account can see, with its engine. Temporary tables are not among them.
pub fn visible_tables(conn: &mut Conn) -> Result<BTreeMap<TableId, String>> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES \
         WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN {SYSTEM}"
    );
    Ok(rows(conn, &sql)?
        .into_iter()
        .map(|row| {
            let mut fields = Fields::of(row);
            (TableId::new(fields.text(), fields.text()), fields.text())
        })
        .collect())
}

/// The captured tables.
pub fn read(conn: &mut Conn, filter: &TableFilter) -> Result<Catalog> {
    let captured: Vec<(TableId, String)> =
        visible_tables(conn)?.into_iter().filter(|(table, _)| filter.captures(table)).collect();
    let collations = collations(conn)?;
    let mut catalog = Catalog::default();
    for chunk in captured.chunks(CHUNK) {
        let mut columns = read_columns(conn, chunk, &collations)?;
        let mut keys = read_keys(conn, chunk)?;
        for (table, engine) in chunk {
            // A table dropped since it was listed has no columns, and is left out like one.
            let Some(columns) = columns.remove(table) else { continue };
            let key = keys.remove(table).unwrap_or_default();
            match columns.and_then(|columns| Ok((key_indices(table, &columns, &key)?, columns))) {
                Ok((key, columns)) => {
                    let found = CatalogTable { columns, key, engine: engine.clone() };
                    catalog.tables.insert(table.clone(), found);
                }
                Err(error) => catalog.refused.push(error),
            }
        }
    }
    Ok(catalog)
}

fn key_indices(table: &TableId, columns: &[Column], key: &[String]) -> Result<Vec<usize>> {
    key.iter()
        .map(|name| {
            columns.iter().position(|column| column.name == *name).ok_or_else(|| {
                Error::new(ErrorKind::TableChanged, "the table changed while the catalog was read")
                    .of_table(table)
                    .at("column", name)
            })
        })
        .collect()
}

/// `(schema, name) IN (…)`, over the tables of a chunk.
fn names_in(chunk: &[(TableId, String)]) -> String {
    let pairs: Vec<String> = chunk
        .iter()
        .map(|(table, _)| format!("({}, {})", quoted(&table.database), quoted(&table.table)))
        .collect();
    format!("(TABLE_SCHEMA, TABLE_NAME) IN ({})", pairs.join(", "))
}

/// Collation ids by name. Ids reach 323 (MySQL 9.7) and are 16-bit in the table map.
fn collations(conn: &mut Conn) -> Result<BTreeMap<String, u16>> {
    Ok(rows(conn, "SELECT COLLATION_NAME, ID FROM information_schema.COLLATIONS")?
        .into_iter()
        .filter_map(|row| {
            let mut fields = Fields::of(row);
            Some((fields.text(), fields.number()?))
        })
        .collect())
}

type Columns = BTreeMap<TableId, Result<Vec<Column>>>;

fn read_columns(
    conn: &mut Conn,
    chunk: &[(TableId, String)],
    collations: &BTreeMap<String, u16>,
) -> Result<Columns> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, IS_NULLABLE, DATA_TYPE, COLUMN_TYPE, \
         CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, COLLATION_NAME \
         FROM information_schema.COLUMNS WHERE {} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION",
        names_in(chunk)
    );
    let mut tables = Columns::new();
    for row in rows(conn, &sql)? {
        let mut fields = Fields::of(row);
        let table = TableId::new(fields.text(), fields.text());
        let name = fields.text();
        let nullable = fields.text() == "YES";
        let described = Described {
            data_type: fields.text(),
            column_type: fields.text(),
            length: fields.number(),
            precision: fields.number(),
            scale: fields.number(),
            fsp: fields.number(),
            collation: fields.next().and_then(|name| collations.get(&name).copied()),
        };
        let column = described.column_type().map_err(|error| error.of_table(&table).at("column", &name));
        let entry = tables.entry(table).or_insert_with(|| Ok(Vec::new()));
        match (entry.as_mut(), column) {
            (Ok(columns), Ok(ty)) => columns.push(Column { name, ty, nullable }),
            (Ok(_), Err(error)) => *entry = Err(error),
            (Err(_), _) => {}
        }
    }
    Ok(tables)
}

fn read_keys(conn: &mut Conn, chunk: &[(TableId, String)]) -> Result<BTreeMap<TableId, Vec<String>>> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS \
         WHERE INDEX_NAME = 'PRIMARY' AND {} ORDER BY TABLE_SCHEMA, TABLE_NAME, SEQ_IN_INDEX",
        names_in(chunk)
    );
    let mut keys: BTreeMap<TableId, Vec<String>> = BTreeMap::new();
    for row in rows(conn, &sql)? {
        let mut fields = Fields::of(row);
        let table = TableId::new(fields.text(), fields.text());
        keys.entry(table).or_default().push(fields.text());
    }
    Ok(keys)
}

/// Foreign keys that change rows of captured tables when their parent's rows change. Whether those
/// changes are in the binlog is [`crate::ServerFacts::logs_cascades`]: seen on MySQL 9.7.4, they are
/// logged as rows of the child, before those of the parent and in the same transaction; the variable
/// `innodb_native_foreign_keys` is off there and can be set at the server's start only.
pub fn cascades(conn: &mut Conn, filter: &TableFilter) -> Result<Vec<Cascade>> {
    let sql = format!(
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, \
         CONSTRAINT_NAME, UPDATE_RULE, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS \
         WHERE CONSTRAINT_SCHEMA NOT IN {SYSTEM} AND \
         (UPDATE_RULE NOT IN ('NO ACTION', 'RESTRICT') OR DELETE_RULE NOT IN ('NO ACTION', 'RESTRICT')) \
         ORDER BY 1, 2, 5"
    );
    Ok(rows(conn, &sql)?
        .into_iter()
        .map(|row| {
            let mut fields = Fields::of(row);
            Cascade {
                child: TableId::new(fields.text(), fields.text()),
                parent: TableId::new(fields.text(), fields.text()),
                constraint: fields.text(),
                on_update: fields.text(),
                on_delete: fields.text(),
            }
        })
        .filter(|cascade| filter.captures(&cascade.child))
        .collect())
}

/// The fields of a row, in order.
struct Fields(std::vec::IntoIter<Option<String>>);

impl Fields {
    fn of(row: TextRow) -> Self {
        Fields(row.into_iter())
    }

    fn next(&mut self) -> Option<String> {
        self.0.next().flatten()
    }

    /// NULL as the empty text: the columns read this way are never NULL where it matters.
    fn text(&mut self) -> String {
        self.next().unwrap_or_default()
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }
}

/// A column as `information_schema.COLUMNS` describes it.
#[derive(Debug, Default)]
struct Described {
    data_type: String,
    column_type: String,
    length: Option<u64>,
    precision: Option<u8>,
    scale: Option<u8>,
    fsp: Option<u8>,
    collation: Option<u16>,
}

impl Described {
    fn column_type(&self) -> Result<ColumnType> {
        let int = |width| ColumnType::Int {
            width,
            unsigned: self.column_type.contains(" unsigned"),
            display_one: self.column_type.starts_with("tinyint(1)"),
        };
        let unknown = || {
            Error::new(
                ErrorKind::SourceUnsupported,
                format!("column type `{}` is not known", self.column_type),
            )
            .remedy("leave the table out with tables.exclude, and report the type")
        };
        Ok(match self.data_type.to_ascii_lowercase().as_str() {
            "tinyint" => int(1),
            "smallint" => int(2),
            "mediumint" => int(3),
            "int" => int(4),
            "bigint" => int(8),
            "decimal" => ColumnType::Decimal {
                precision: self.precision.ok_or_else(unknown)?,
                scale: self.scale.ok_or_else(unknown)?,
            },
            "float" => ColumnType::Float,
            "double" => ColumnType::Double,
            "bit" => ColumnType::Bit { bits: self.precision.ok_or_else(unknown)? },
            "year" => ColumnType::Year,
            "date" => ColumnType::Date,
            "time" => ColumnType::Time { fsp: self.fsp.ok_or_else(unknown)? },
            "datetime" => ColumnType::Datetime { fsp: self.fsp.ok_or_else(unknown)? },
            "timestamp" => ColumnType::Timestamp { fsp: self.fsp.ok_or_else(unknown)? },
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                ColumnType::Text { collation: self.collation.ok_or_else(unknown)? }
            }
            "binary" => {
                let width = self.length.and_then(|length| u16::try_from(length).ok());
                ColumnType::Binary { fixed: Some(width.ok_or_else(unknown)?) }
            }
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                ColumnType::Binary { fixed: None }
            }
            "enum" => {
                ColumnType::Enum { labels: labels(&self.column_type).ok_or_else(|| self.bad_labels())? }
            }
            "set" => ColumnType::Set { labels: labels(&self.column_type).ok_or_else(|| self.bad_labels())? },
            "json" => ColumnType::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geomcollection" | "geometrycollection" => ColumnType::Geometry,
            "vector" => ColumnType::Vector,
            _ => return Err(unknown()),
        })
    }

    fn bad_labels(&self) -> Error {
        Error::new(ErrorKind::UnreadableValue, format!("the labels of `{}` are not text", self.column_type))
            .remedy("leave the table out with tables.exclude, or give the column a character set")
    }
}

/// The labels of `enum('a','b''c')` or `set(…)`, as the server writes them: quotes doubled, and NUL,
/// newline, carriage return and backslash escaped with a backslash (`append_unescaped` in
/// `sql/sql_show.cc`). Labels that are not text it writes as `x'ff'`: `None`.
fn labels(column_type: &str) -> Option<Vec<String>> {
    let open = column_type.find('(')?;
    let mut chars = column_type.get(open + 1..)?.chars().peekable();
    let mut labels = Vec::new();
    loop {
        if chars.next()? != '\'' {
            return None;
        }
        let mut label = String::new();
        loop {
            match chars.next()? {
                '\'' if chars.next_if_eq(&'\'').is_some() => label.push('\''),
                '\'' => break,
                '\\' => label.push(match chars.next()? {
                    '0' => '\0',
                    'n' => '\n',
                    'r' => '\r',
                    other => other,
                }),
                other => label.push(other),
            }
        }
        labels.push(label);
        match chars.next()? {
            ',' => {}
            ')' => return Some(labels),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_with_quotes_commas_and_escapes() {
        for (text, expected) in [
            ("enum('a','b''c','d,e')", vec!["a", "b'c", "d,e"]),
            (r"set('x\\y','n\n','',' sp')", vec![r"x\y", "n\n", "", " sp"]),
            ("enum('é)','(')", vec!["é)", "("]),
        ] {
            assert_eq!(labels(text), Some(expected.into_iter().map(str::to_owned).collect()), "{text}");
        }
        for broken in ["enum('x',x'ff')", "enum('x'", "enum", "enum('x'y)", "enum()"] {
            assert_eq!(labels(broken), None, "{broken}");
        }
    }

    #[test]
    fn only_a_signed_tinyint_of_width_one_may_be_a_boolean() {
        for (column_type, display_one, unsigned) in
            [("tinyint(1)", true, false), ("tinyint", false, false), ("tinyint unsigned", false, true)]
        {
            let described = Described {
                data_type: "tinyint".into(),
                column_type: column_type.into(),
                ..Described::default()
            };
            assert_eq!(described.column_type().unwrap(), ColumnType::Int { width: 1, unsigned, display_one });
        }
    }

    #[test]
    fn a_type_that_is_not_known_is_refused_by_name() {
        let described =
            Described { data_type: "uuid".into(), column_type: "uuid".into(), ..Described::default() };
        assert!(described.column_type().unwrap_err().to_string().contains("`uuid`"));
    }
}

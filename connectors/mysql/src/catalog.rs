//! The server's catalog: tables, their columns and keys, and the foreign keys that change rows.
//!
//! Guarantee: columns come in the order of the row image (`ORDINAL_POSITION`), with invisible,
//! generated and generated-key columns among them; a type that is not known, or ENUM labels that are
//! not text, refuse that table by name and no other. A table's key is its primary key, or else the first
//! unique key over whole columns that are never NULL and not VIRTUAL, in the server's own order. Unknown: the
//! catalog is of now. Whether it is the one that an event was written under is for the stream to check against the
//! table map.

use std::collections::BTreeMap;

use lakeward_core::error::Policy;
use lakeward_core::schema::PRIMARY;
use lakeward_core::{
    Capacity, Column, ColumnType, Error, ErrorKind, Groundwork, Index, IndexPart, Result, Scope, TableFilter,
    TableId,
};
use mysql::Conn;

use crate::schema::{self, Definition};
use crate::session::{TextRow, quoted, rows};

/// A table as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogTable {
    /// Columns in the order of the row image.
    pub columns: Vec<Column>,
    /// Indices into `columns` of the key, in key order; empty without one.
    pub key: Vec<usize>,
    /// What statements that alter it build on.
    pub groundwork: Groundwork,
    /// The default of each column, by its name.
    pub defaults: BTreeMap<String, ColumnDefault>,
    /// Storage engine.
    pub engine: String,
    /// Whether its rows are divided among partitions.
    pub is_partitioned: bool,
}

/// A column's default as the catalog has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnDefault {
    /// Its text; `None`: NULL, or none.
    pub text: Option<String>,
    /// It is computed, or the column is.
    pub computed: bool,
}

impl CatalogTable {
    /// Its structure.
    pub fn definition(&self) -> Definition {
        Definition {
            columns: self.columns.clone(),
            key: self.key.clone(),
            groundwork: self.groundwork.clone(),
        }
    }
}

/// The captured tables that the account can see.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Those whose every column is understood.
    pub tables: BTreeMap<TableId, CatalogTable>,
    /// Why the others are not, each with its table.
    pub refused: Vec<Error>,
    /// The default collation of each database.
    pub databases: BTreeMap<String, u16>,
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
    Ok(listed(conn, None)?.into_iter().map(|(table, listed)| (table, listed.engine)).collect())
}

/// A table as it is listed.
struct Listed {
    engine: String,
    /// Name of its default collation.
    collation: Option<String>,
    is_partitioned: bool,
}

/// All tables, or those whose names are equal to that of `only` where the server compares them.
fn listed(conn: &mut Conn, only: Option<&TableId>) -> Result<BTreeMap<TableId, Listed>> {
    let named = only.map_or_else(String::new, |table| format!(" AND {}", is_named(table)));
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_COLLATION, CREATE_OPTIONS LIKE '%partitioned%' \
         FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN {SYSTEM}{named}"
    );
    Ok(rows(conn, &sql)?
        .into_iter()
        .map(|row| {
            let mut fields = Fields::of(row);
            let table = TableId::new(fields.text(), fields.text());
            let (engine, collation) = (fields.text(), fields.next());
            (table, Listed { engine, collation, is_partitioned: fields.text() == "1" })
        })
        .collect())
}

/// The captured tables.
pub fn read(conn: &mut Conn, filter: &TableFilter) -> Result<Catalog> {
    read_some(conn, |table| filter.captures(table))
}

/// The tables that are wanted.
pub(crate) fn read_some(conn: &mut Conn, wanted: impl Fn(&TableId) -> bool) -> Result<Catalog> {
    let listed: Vec<(TableId, Listed)> =
        listed(conn, None)?.into_iter().filter(|(table, _)| wanted(table)).collect();
    let collations = collations(conn)?;
    let mut catalog = Catalog { databases: databases(conn)?, ..Catalog::default() };
    for chunk in listed.chunks(CHUNK) {
        let mut columns = read_columns(conn, chunk, &collations)?;
        let mut indexes = read_indexes(conn, chunk)?;
        for (table, listed) in chunk {
            // A table dropped since it was listed has no columns, and is left out like one.
            let Some(columns) = columns.remove(table) else { continue };
            let indexes = indexes.remove(table).unwrap_or_default();
            let collation = listed.collation.as_ref().and_then(|name| collations.get(name).copied());
            let described = columns.and_then(|mut columns| {
                let defaults = std::mem::take(&mut columns.defaults);
                Ok((describe(conn, table, columns, indexes)?, defaults))
            });
            match described {
                Ok((definition, defaults)) => {
                    let Definition { columns, key, mut groundwork } = definition;
                    groundwork.collation = collation;
                    let (engine, is_partitioned) = (listed.engine.clone(), listed.is_partitioned);
                    let found = CatalogTable { columns, key, groundwork, defaults, engine, is_partitioned };
                    catalog.tables.insert(table.clone(), found);
                }
                Err(error) if matches!(error.scope(), Scope::Table(_)) => catalog.refused.push(error),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(catalog)
}

/// One table, whether it is captured or not; `None` if the account cannot see it.
pub fn read_one(
    conn: &mut Conn,
    table: &TableId,
    collations: &BTreeMap<String, u16>,
) -> Result<Option<Definition>> {
    let Some(listed) = listed(conn, Some(table))?.remove(table) else { return Ok(None) };
    let collation = listed.collation.as_ref().and_then(|name| collations.get(name).copied());
    let one = [(table.clone(), listed)];
    let Some(columns) = read_columns(conn, &one, collations)?.remove(table) else { return Ok(None) };
    let indexes = read_indexes(conn, &one)?.remove(table).unwrap_or_default();
    let mut definition = describe(conn, table, columns?, indexes)?;
    definition.groundwork.collation = collation;
    Ok(Some(definition))
}

/// Whether a view, and no table, has the name now.
pub(crate) fn is_view(conn: &mut Conn, name: &TableId) -> Result<bool> {
    let sql = format!("SELECT TABLE_TYPE FROM information_schema.TABLES WHERE {}", is_named(name));
    let kind = rows(conn, &sql)?.into_iter().flatten().flatten().next();
    Ok(kind.is_some_and(|kind| kind != "BASE TABLE"))
}

/// The default collation of each database.
pub fn databases(conn: &mut Conn) -> Result<BTreeMap<String, u16>> {
    let sql = "SELECT SCHEMA_NAME, ID FROM information_schema.SCHEMATA \
               JOIN information_schema.COLLATIONS ON COLLATION_NAME = DEFAULT_COLLATION_NAME";
    Ok(rows(conn, sql)?
        .into_iter()
        .filter_map(|row| {
            let mut fields = Fields::of(row);
            Some((fields.text(), fields.number()?))
        })
        .collect())
}

/// Puts a table's columns and indexes together.
fn describe(
    conn: &mut Conn,
    table: &TableId,
    found: FoundColumns,
    mut indexes: Vec<Index>,
) -> Result<Definition> {
    let FoundColumns { mut columns, counting, generated, virtuals, defaults: _ } = found;
    for name in indexes.iter().flat_map(|index| &index.parts).filter_map(|part| part.column.as_ref()) {
        if !columns.iter().any(|column| column.name == *name) {
            return Err(changed_meanwhile(table).at("column", name));
        }
    }
    let candidates = indexes.iter().filter(|index| index.name != PRIMARY).count();
    if candidates > 1 {
        let order = index_order(conn, table)?;
        let place = |index: &Index| order.iter().position(|name| *name == index.name);
        if !indexes.iter().all(|index| place(index).is_some()) {
            return Err(changed_meanwhile(table));
        }
        indexes.sort_by_key(place);
    }
    let mut groundwork = Groundwork::default();
    for column in &mut columns {
        column.id = groundwork.take_number();
    }
    let number = |name: &String| columns.iter().find(|column| column.name == *name).map(|column| column.id);
    groundwork.auto_increment = Some(counting.as_ref().and_then(number).unwrap_or(0));
    groundwork.generated = Some(schema::column_numbers(&generated, &columns));
    groundwork.virtual_columns = schema::column_numbers(&virtuals, &columns);
    groundwork.indexes = Some(indexes);
    let mut definition = Definition { columns, key: Vec::new(), groundwork };
    definition.settle_key();
    Ok(definition)
}

fn changed_meanwhile(table: &TableId) -> Error {
    Error::new(ErrorKind::TableChanged, "the table changed while the catalog was read").of_table(table)
}

/// Names of a table's indexes in the server's order, which `information_schema` does not tell.
fn index_order(conn: &mut Conn, table: &TableId) -> Result<Vec<String>> {
    let name = |name: &str| format!("`{}`", name.replace('`', "``"));
    let sql = format!("SHOW INDEX FROM {}.{}", name(&table.database), name(&table.table));
    let mut names: Vec<String> = Vec::new();
    let answer = rows(conn, &sql).map_err(|error| match error.policy() {
        Policy::Retry => error,
        Policy::StopTable | Policy::StopPipeline => changed_meanwhile(table).caused_by(error),
    });
    for row in answer? {
        let name = row.into_iter().nth(2).flatten().unwrap_or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The condition for one table.
fn is_named(table: &TableId) -> String {
    format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", quoted(&table.database), quoted(&table.table))
}

/// `(schema, name) IN (…)`, over the tables of a chunk.
fn names_in(chunk: &[(TableId, Listed)]) -> String {
    let pairs: Vec<String> = chunk
        .iter()
        .map(|(table, _)| format!("({}, {})", quoted(&table.database), quoted(&table.table)))
        .collect();
    format!("(TABLE_SCHEMA, TABLE_NAME) IN ({})", pairs.join(", "))
}

/// Collation ids by name. Ids reach 323 (MySQL 9.7) and are 16-bit in the table map.
pub fn collations(conn: &mut Conn) -> Result<BTreeMap<String, u16>> {
    Ok(rows(conn, "SELECT COLLATION_NAME, ID FROM information_schema.COLLATIONS")?
        .into_iter()
        .filter_map(|row| {
            let mut fields = Fields::of(row);
            Some((fields.text(), fields.number()?))
        })
        .collect())
}

/// A table's columns, and the names of the one that counts by itself, of those that are generated, and of those of them
/// that are VIRTUAL.
#[derive(Debug, Default)]
struct FoundColumns {
    columns: Vec<Column>,
    counting: Option<String>,
    generated: Vec<String>,
    virtuals: Vec<String>,
    defaults: BTreeMap<String, ColumnDefault>,
}

type Columns = BTreeMap<TableId, Result<FoundColumns>>;

fn read_columns(
    conn: &mut Conn,
    chunk: &[(TableId, Listed)],
    collations: &BTreeMap<String, u16>,
) -> Result<Columns> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, IS_NULLABLE, DATA_TYPE, COLUMN_TYPE, \
         CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, COLLATION_NAME, EXTRA, \
         COLUMN_DEFAULT \
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
        let extra = fields.text();
        let counts = extra.contains("auto_increment");
        let default = ColumnDefault { text: fields.next(), computed: counts || extra.contains("GENERATED") };
        let text = default.text.as_deref();
        let declared =
            schema::declaration_of_catalog(&described.column_type, described.collation, text, &extra);
        let column = described.column_type().map_err(|error| error.of_table(&table).at("column", &name));
        let entry = tables.entry(table).or_insert_with(|| Ok(FoundColumns::default()));
        match (entry.as_mut(), column) {
            (Ok(found), Ok(ty)) => {
                if counts {
                    found.counting = Some(name.clone());
                }
                let is_virtual = extra.contains("VIRTUAL GENERATED");
                if is_virtual {
                    found.virtuals.push(name.clone());
                }
                if is_virtual || extra.contains("STORED GENERATED") {
                    found.generated.push(name.clone());
                }
                found.defaults.insert(name.clone(), default);
                let capacity = described.capacity();
                found.columns.push(Column { capacity, declared, ..Column::new(name, ty, nullable) });
            }
            (Ok(_), Err(error)) => *entry = Err(error),
            (Err(_), _) => {}
        }
    }
    Ok(tables)
}

/// Unique indexes, by name.
fn read_indexes(conn: &mut Conn, chunk: &[(TableId, Listed)]) -> Result<BTreeMap<TableId, Vec<Index>>> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART \
         FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 AND {} \
         ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
        names_in(chunk)
    );
    let mut indexes: BTreeMap<TableId, Vec<Index>> = BTreeMap::new();
    for row in rows(conn, &sql)? {
        let mut fields = Fields::of(row);
        let table = indexes.entry(TableId::new(fields.text(), fields.text())).or_default();
        let name = fields.text();
        let part = IndexPart { column: fields.next(), prefix: fields.number() };
        match table.last_mut().filter(|index| index.name == name) {
            Some(index) => index.parts.push(part),
            None => table.push(Index { name, parts: vec![part] }),
        }
    }
    Ok(indexes)
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

/// What a table has that may refuse rows, or make others of them, when they are copied into it; unique indexes and
/// the types of columns, as far as a [`ColumnType`] tells them, are not among it.
pub fn limits(conn: &mut Conn, table: &TableId) -> Result<Option<String>> {
    let named = is_named(table);
    let sql = format!(
        "SELECT CONCAT('it has the constraint ', CONSTRAINT_NAME) FROM information_schema.TABLE_CONSTRAINTS \
         WHERE {named} AND CONSTRAINT_TYPE IN ('CHECK', 'FOREIGN KEY') \
         UNION ALL SELECT 'it has partitions that may not take all rows' FROM information_schema.PARTITIONS \
         WHERE {named} AND (PARTITION_METHOD LIKE 'RANGE%' OR PARTITION_METHOD LIKE 'LIST%') \
         UNION ALL SELECT CONCAT('column ', COLUMN_NAME, ' may be rounded or clamped') FROM information_schema.COLUMNS \
         WHERE {named} AND DATA_TYPE IN ('decimal', 'float', 'double') AND (COLUMN_TYPE LIKE '% unsigned%' \
         OR (DATA_TYPE <> 'decimal' AND COLUMN_TYPE LIKE '%(%'))"
    );
    let first = rows(conn, &sql)?.into_iter().next();
    Ok(first.and_then(|row| Fields::of(row).next()))
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
    fn capacity(&self) -> Option<Capacity> {
        let length = self.length.and_then(|length| u32::try_from(length).ok());
        match self.data_type.to_ascii_lowercase().as_str() {
            "char" | "binary" => length.map(Capacity::Char),
            "varchar" | "varbinary" => length.map(Capacity::Varchar),
            "tinytext" | "tinyblob" => Some(Capacity::Blob(1)),
            "text" | "blob" => Some(Capacity::Blob(2)),
            "mediumtext" | "mediumblob" => Some(Capacity::Blob(3)),
            "longtext" | "longblob" => Some(Capacity::Blob(4)),
            _ => None,
        }
    }

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

//! A table of the server, with its rows, beside the structure that we have of it.

use std::collections::BTreeMap;

use lakeward_core::{Column, ColumnType, TableFilter, TableId};
use lakeward_mysql::schema::Definition;
use lakeward_mysql::{MysqlConfig, Purpose, catalog, connect};
use lakeward_test_support::Random;
use lakeward_test_support::mysql::MySql;
use mysql::prelude::Queryable;

use crate::statements;

pub(crate) struct Table {
    database: String,
    pub(crate) name: String,
    conn: mysql::Conn,
    /// Reads the catalog as the source does.
    reader: mysql::Conn,
    next_row: u32,
}

/// The rows of a table: by `rid`, each column's value by the column's number.
type Rows = BTreeMap<String, BTreeMap<u32, Option<String>>>;

impl Table {
    pub(crate) fn new(server: &MySql, database: &str, name: &str) -> Table {
        let config: MysqlConfig = serde_json::from_value(serde_json::json!({
            "host": "127.0.0.1", "port": server.port(), "user": "root",
        }))
        .unwrap();
        let mut conn = server.conn();
        conn.query_drop(format!("USE `{database}`")).unwrap();
        let reader = connect(&config, Purpose::Questions).unwrap();
        Table { database: database.into(), name: name.into(), conn, reader, next_row: 0 }
    }

    pub(crate) fn run(&mut self, statement: &str) -> Result<(), mysql::Error> {
        self.conn.query_drop(statement)
    }

    /// The structure that the server has.
    pub(crate) fn catalog(&mut self) -> Definition {
        let table = TableId::new(self.database.as_str(), self.name.as_str());
        let filter = TableFilter { include: vec![table.to_string()], exclude: Vec::new() };
        let found = catalog::read(&mut self.reader, &filter).unwrap();
        assert!(found.refused.is_empty(), "{:?}", found.refused);
        found.tables[&table].definition()
    }

    /// The names of its unique indexes in the server's own order.
    pub(crate) fn order(&mut self) -> Vec<String> {
        let rows: Vec<mysql::Row> = self.conn.query(format!("SHOW INDEX FROM `{}`", self.name)).unwrap();
        let mut names: Vec<String> = Vec::new();
        for row in rows {
            let (others, name): (u8, String) = (row.get("Non_unique").unwrap(), row.get("Key_name").unwrap());
            if others == 0 && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The text by which the server would make the table.
    pub(crate) fn shown(&mut self) -> String {
        let row: Option<(String, String)> =
            self.conn.query_first(format!("SHOW CREATE TABLE `{}`", self.name)).unwrap();
        row.unwrap().1
    }

    /// Adds a row, if the server takes one.
    pub(crate) fn insert(&mut self, random: &mut Random, known: &Definition) {
        let mut names = vec!["rid".to_owned()];
        let mut values = vec![self.next_row.to_string()];
        let generated = known.groundwork.generated.clone().unwrap_or_default();
        let is_given = |column: &&Column| column.name != "rid" && !generated.contains(&column.id);
        for column in known.columns.iter().filter(is_given) {
            if let Some(value) = statements::value(random, column) {
                names.push(format!("`{}`", column.name));
                values.push(value);
            }
        }
        let (names, values) = (names.join(", "), values.join(", "));
        // A generated column takes no value, a key no second one: then there is no row.
        if self.run(&format!("INSERT INTO `{}` ({names}) VALUES ({values})", self.name)).is_ok() {
            self.next_row += 1;
        }
    }

    pub(crate) fn rows(&mut self, known: &Definition) -> Rows {
        let list: Vec<String> = known.columns.iter().map(printed).collect();
        let rows: Vec<mysql::Row> =
            self.conn.query(format!("SELECT rid, {} FROM `{}`", list.join(", "), self.name)).unwrap();
        rows.into_iter()
            .map(|row| {
                let mut values = row.unwrap().into_iter().map(text);
                let rid = values.next().unwrap().unwrap();
                (rid, known.columns.iter().map(|column| column.id).zip(values).collect())
            })
            .collect()
    }

    /// The rows after a statement that rewrites none: those of before, in the columns that are still
    /// there, and the fill in new ones.
    pub(crate) fn assert_kept(&mut self, before: &Rows, old: &Definition, new: &Definition, statement: &str) {
        let after = self.rows(new);
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{statement}");
        for (rid, row) in after {
            for column in &new.columns {
                let value = plain(&column.ty, row[&column.id].clone());
                let expected = match old.columns.iter().find(|old| old.id == column.id) {
                    Some(old) => plain(&old.ty, before[&rid][&column.id].clone()),
                    None => plain(&column.ty, column.fill.clone()),
                };
                assert_eq!(value, expected, "{statement}\nrow {rid}, column {column:?}");
            }
        }
    }
}

fn text(value: mysql::Value) -> Option<String> {
    match value {
        mysql::Value::NULL => None,
        mysql::Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
        other => Some(other.as_sql(true)),
    }
}

/// A column as text that tells every two values apart.
fn printed(column: &Column) -> String {
    let name = format!("`{}`", column.name);
    match &column.ty {
        ColumnType::Bit { bits: 1 } => format!("{name} + 0"),
        ColumnType::Binary { .. } | ColumnType::Bit { .. } | ColumnType::Vector => {
            format!("CONCAT('0x', HEX({name}))")
        }
        ColumnType::Geometry => format!("CONCAT('0x', HEX(ST_AsBinary({name})))"),
        _ => format!("CONVERT({name} USING utf8mb4)"),
    }
}

/// Numbers and times without zeros at their end: a wider type prints more of them.
fn plain(ty: &ColumnType, value: Option<String>) -> Option<String> {
    let value = value?;
    Some(match ty {
        ColumnType::Decimal { .. }
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Time { .. }
        | ColumnType::Datetime { .. }
        | ColumnType::Timestamp { .. }
            if value.contains('.') =>
        {
            value.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        // ZEROFILL.
        ColumnType::Int { .. } => value.parse::<i128>().unwrap().to_string(),
        ColumnType::Bit { .. } => {
            u64::from_str_radix(value.trim_start_matches("0x"), 16).unwrap().to_string()
        }
        // Zero dates are null in the lake.
        ColumnType::Date | ColumnType::Datetime { .. } if value.starts_with("0000-00-00") => return None,
        _ => value,
    })
}

/// Both are the same structure, but for what the catalog cannot know.
#[track_caller]
pub(crate) fn same(server: &Definition, ours: &Definition, statement: &str) {
    assert!(!ours.groundwork.unsure, "{statement}: unsure");
    let mut theirs = comparable(server);
    if ours.groundwork.indexes.is_none() {
        // Which was dropped is not certain; the key is.
        theirs.4 = None;
    }
    assert_eq!(comparable(ours), theirs, "{statement}\n(ours, then the server's)");
    assert_eq!(declared(ours), declared(server), "{statement}\n(ours, then the server's)");
    for (ours, server) in
        ours.groundwork.indexes.iter().flatten().zip(server.groundwork.indexes.iter().flatten())
    {
        // A name that the server chose later is not known.
        assert!(
            ours.name.is_empty() || ours.name.eq_ignore_ascii_case(&server.name),
            "{statement}: {ours:?}, {server:?}"
        );
    }
}

/// Our unique indexes stand in the server's own order: the catalog that [`same`] compares with is sorted by us.
#[track_caller]
pub(crate) fn in_order(server: &[String], ours: &Definition, statement: &str) {
    let Some(indexes) = &ours.groundwork.indexes else { return };
    let names: Vec<&str> = indexes.iter().map(|index| index.name.as_str()).collect();
    // A name that the server chose later is not known.
    let is_same = |ours: &str, server: &str| ours.is_empty() || ours.eq_ignore_ascii_case(server);
    assert!(
        names.len() == server.len() && names.iter().zip(server).all(|(ours, server)| is_same(ours, server)),
        "{statement}: {names:?}, and the server {server:?}"
    );
}

/// Of each column its name, its character set, whether it has a default that is told, and whether it is generated. Words and
/// texts are as each side writes them; bytes have no character set to the server.
fn declared(definition: &Definition) -> Vec<(String, Option<String>, bool, bool)> {
    let column = |column: &Column| {
        assert!(column.declared.is_some(), "not declared: {column:?}");
        let declared = column.declared.clone().unwrap_or_default();
        let charset = declared.charset.filter(|charset| charset != "binary");
        (column.name.clone(), charset, declared.default.is_some(), declared.generated)
    };
    definition.columns.iter().map(column).collect()
}

/// What of a structure the server tells as well: columns, key, collation, counting column, indexes, generated columns.
type Comparable = (Vec<Column>, Vec<usize>, Option<u16>, Option<String>, Option<Vec<String>>, Vec<bool>);

fn comparable(definition: &Definition) -> Comparable {
    let columns: Vec<Column> = definition
        .columns
        .iter()
        .map(|c| Column { id: 0, fill: None, declared: None, ..c.clone() })
        .collect();
    let counting = definition.groundwork.auto_increment;
    let counting =
        definition.columns.iter().find(|column| Some(column.id) == counting).map(|c| c.name.clone());
    // Their order decides which may become the key.
    let indexes = definition.groundwork.indexes.as_ref();
    let indexes = indexes.map(|list| list.iter().map(|index| format!("{:?}", index.parts)).collect());
    let generated = definition.groundwork.generated.as_ref().unwrap();
    let generated = definition.columns.iter().map(|column| generated.contains(&column.id)).collect();
    (columns, definition.key.clone(), definition.groundwork.collation, counting, indexes, generated)
}

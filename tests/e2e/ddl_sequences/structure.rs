//! What a database holds right now, asked from the server: the model is the server itself.

use std::collections::BTreeMap;

use lakeward_test_support::Random;
use mysql::Conn;
use mysql::prelude::Queryable;

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// As `int`, `varchar`.
    pub(super) data_type: String,
    /// Whether it is part of the primary key.
    pub(super) in_key: bool,
    /// Whether the server computes it.
    pub(super) generated: bool,
    pub(super) nullable: bool,
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// `HASH`, `RANGE`, or nothing.
    pub(super) partitioned: Option<String>,
}

impl Table {
    /// One of its columns that fulfils a condition.
    pub(super) fn pick(&self, random: &mut Random, wanted: impl Fn(&Column) -> bool) -> Option<&Column> {
        let columns: Vec<&Column> = self.columns.iter().filter(|column| wanted(column)).collect();
        (!columns.is_empty()).then(|| *random.pick(&columns))
    }

    /// Whether it has partitions of ranges.
    pub(super) fn is_ranged(&self) -> bool {
        self.partitioned.as_deref().is_some_and(|method| method.starts_with("RANGE"))
    }

    /// Columns of its primary key.
    pub(super) fn key(&self) -> Vec<&Column> {
        self.columns.iter().filter(|column| column.in_key).collect()
    }
}

/// The tables of a database.
pub(super) fn tables(conn: &mut Conn, database: &str) -> Vec<Table> {
    let rows: Vec<(String, String, String, String, String, String)> = conn
        .exec(
            "SELECT c.table_name, c.column_name, c.data_type, c.column_key, c.extra, c.is_nullable \
             FROM information_schema.columns c WHERE c.table_schema = ? ORDER BY c.table_name, c.ordinal_position",
            (database,),
        )
        .expect("the catalog can be read");
    let partitioned: BTreeMap<String, String> = conn
        .exec(
            "SELECT DISTINCT table_name, partition_method FROM information_schema.partitions \
             WHERE table_schema = ? AND partition_method IS NOT NULL",
            (database,),
        )
        .expect("the catalog can be read")
        .into_iter()
        .collect();
    let mut tables: Vec<Table> = Vec::new();
    for (table, name, data_type, key, extra, nullable) in rows {
        if tables.last().is_none_or(|last| last.name != table) {
            let partitioned = partitioned.get(&table).cloned();
            tables.push(Table { name: table, columns: Vec::new(), partitioned });
        }
        let (in_key, generated) = (key == "PRI", extra.contains("GENERATED") && !extra.contains("DEFAULT_"));
        let column = Column { name, data_type, in_key, generated, nullable: nullable == "YES" };
        tables.last_mut().expect("it was just pushed").columns.push(column);
    }
    tables
}

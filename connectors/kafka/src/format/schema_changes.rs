//! The records that tell statements which change tables, field for field those of Debezium's MySQL connector.
//!
//! A column's `comment` is null, as it is there by default (`include.schema.comments`).

use lakeward_core::{ChangeKind, ColumnStructure, Origin, Result, SchemaChange, TableChange, TableStructure};

use super::FormatOptions;
use super::described::{self, Base, Described};
use super::envelope::VERSION;
use super::metadata::Record;
use super::plain::{Datum, Plain};

/// Writes the records of the topic of schema changes.
pub struct SchemaChangeRecords {
    plain: Plain,
    prefix: String,
}

fn structure(name: &str, fields: impl IntoIterator<Item = (&'static str, Described)>) -> Described {
    let fields = fields.into_iter().map(|(name, described)| (name.to_owned(), described)).collect();
    Described::named(Base::Struct(fields), name)
}

fn text() -> Described {
    Described::plain(Base::String)
}

fn list(of: Described) -> Described {
    Described::plain(Base::Array(Box::new(of)))
}

fn column() -> Described {
    let number = || Described::plain(Base::Int32);
    let truth = || Described::plain(Base::Boolean).optional();
    structure(
        "io.debezium.connector.schema.Column",
        [
            ("name", text()),
            ("jdbcType", number()),
            ("nativeType", number().optional()),
            ("typeName", text()),
            ("typeExpression", text().optional()),
            ("charsetName", text().optional()),
            ("length", number().optional()),
            ("scale", number().optional()),
            ("position", number()),
            ("optional", truth()),
            ("autoIncremented", truth()),
            ("generated", truth()),
            ("comment", text().optional()),
            ("defaultValueExpression", text().optional()),
            ("enumValues", list(text()).optional()),
        ],
    )
}

fn value() -> Described {
    let table = structure(
        "io.debezium.connector.schema.Table",
        [
            ("defaultCharsetName", text().optional()),
            ("primaryKeyColumnNames", list(text()).optional()),
            ("columns", list(column())),
            ("comment", text().optional()),
        ],
    );
    let change = structure(
        "io.debezium.connector.schema.Change",
        [("type", text()), ("id", text()), ("table", table.optional())],
    );
    structure(
        "io.debezium.connector.mysql.SchemaChangeValue",
        [
            ("source", described::source()),
            ("ts_ms", Described::plain(Base::Int64)),
            ("databaseName", text().optional()),
            ("schemaName", text().optional()),
            ("ddl", text().optional()),
            ("tableChanges", list(change)),
        ],
    )
}

impl SchemaChangeRecords {
    /// For `topic`, of the topics that begin with `prefix`. For `avro` it registers the schemas, and waits for the registry.
    ///
    /// # Errors
    /// `Config` if the settings do not go together; `RegistryUnreachable`, `RegistryRefused`.
    pub fn new(options: &FormatOptions, topic: &str, prefix: &str) -> Result<SchemaChangeRecords> {
        let key = structure("io.debezium.connector.mysql.SchemaChangeKey", [("databaseName", text())]);
        Ok(SchemaChangeRecords {
            plain: Plain::new(options, topic, key, value())?,
            prefix: prefix.to_owned(),
        })
    }

    /// The record of a change, told at `at_us`, microseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// `Bug`.
    pub fn record(&self, change: &SchemaChange, at_us: i64) -> Result<Record> {
        let database = || Datum::Text(&change.database);
        let tables = change.tables.join(",");
        let ids: Vec<String> = change.change.iter().map(id).collect();
        let quoted = change.change.iter().filter_map(|change| change.structure.as_ref());
        let labels: Vec<Vec<String>> = quoted.flat_map(|table| &table.columns).map(quoted_labels).collect();
        let changes = change.change.iter().zip(&ids).map(|(change, id)| table_change(change, id, &labels));
        let value = Datum::Struct(vec![
            self.source(&change.origin, &change.database, &tables),
            Datum::Int(at_us.div_euclid(1000)),
            database(),
            Datum::Null,
            Datum::Text(&change.statement),
            Datum::List(changes.collect()),
        ]);
        self.plain.record(&Datum::Struct(vec![database()]), &value)
    }

    fn source<'a>(&'a self, origin: &'a Origin, database: &'a str, tables: &'a str) -> Datum<'a> {
        let us = origin.commit_us;
        let maybe = |text: Option<&'a str>| text.map_or(Datum::Null, Datum::Text);
        Datum::Struct(vec![
            Datum::Text(VERSION),
            Datum::Text("mysql"),
            Datum::Text(&self.prefix),
            Datum::Int(us.div_euclid(1000)),
            Datum::Text("false"),
            Datum::Text(database),
            Datum::Null,
            Datum::Int(us),
            Datum::Int(us.saturating_mul(1000)),
            maybe(Some(tables).filter(|tables| !tables.is_empty())),
            Datum::Int(origin.server_id.into()),
            maybe(origin.gtid.as_deref()),
            Datum::Text(&origin.file),
            Datum::Int(i64::try_from(origin.offset).unwrap_or(i64::MAX)),
            Datum::Int(0),
            origin.thread.map_or(Datum::Null, |thread| Datum::Int(thread.into())),
            Datum::Null,
        ])
    }
}

/// `"database"."table"`.
fn id(change: &TableChange) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("{}.{}", quoted(&change.table.database), quoted(&change.table.table))
}

/// Labels as literals.
fn quoted_labels(column: &ColumnStructure) -> Vec<String> {
    column.labels.iter().map(|label| format!("'{}'", label.replace('\'', "''"))).collect()
}

fn table_change<'a>(change: &'a TableChange, id: &'a str, labels: &'a [Vec<String>]) -> Datum<'a> {
    let kind = match change.kind {
        ChangeKind::Create => "CREATE",
        ChangeKind::Alter => "ALTER",
        ChangeKind::Drop => "DROP",
    };
    let table = change.structure.as_ref().map_or(Datum::Null, |structure| table(structure, labels));
    Datum::Struct(vec![Datum::Text(kind), Datum::Text(id), table])
}

fn table<'a>(structure: &'a TableStructure, labels: &'a [Vec<String>]) -> Datum<'a> {
    let columns = structure.columns.iter().zip(labels).zip(1..);
    Datum::Struct(vec![
        structure.charset.as_deref().map_or(Datum::Null, Datum::Text),
        texts(&structure.key),
        Datum::List(columns.map(|((column, labels), place)| column_datum(column, labels, place)).collect()),
        Datum::Null,
    ])
}

fn texts(list: &[String]) -> Datum<'_> {
    Datum::List(list.iter().map(|text| Datum::Text(text)).collect())
}

fn column_datum<'a>(column: &'a ColumnStructure, labels: &'a [String], place: i64) -> Datum<'a> {
    let declared = &column.declaration;
    let maybe = |text: &'a Option<String>| text.as_deref().map_or(Datum::Null, Datum::Text);
    let number = |number: Option<u32>| match number {
        // Longer than its field can tell: LONGTEXT at most.
        Some(number) => Datum::Int(i64::from(number).min(i32::MAX.into())),
        None => Datum::Null,
    };
    Datum::Struct(vec![
        Datum::Text(&column.name),
        Datum::Int(jdbc_type(&declared.words)),
        Datum::Null,
        Datum::Text(&declared.words),
        Datum::Text(&declared.words),
        maybe(&declared.charset),
        number(declared.length),
        number(declared.scale),
        Datum::Int(place),
        Datum::Bool(column.nullable),
        Datum::Bool(column.counts),
        Datum::Bool(column.counts || declared.generated),
        Datum::Null,
        maybe(&declared.default),
        if labels.is_empty() { Datum::Null } else { texts(labels) },
    ])
}

/// The number that `java.sql.Types` has for a type, as Debezium maps it.
fn jdbc_type(words: &str) -> i64 {
    let mut parts = words.split(' ');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let varies = words.contains("VARYING") || words.contains("VARCHAR");
    match first {
        "CHAR" | "CHARACTER" if !varies => 1,
        "LONG" if second == Some("VARBINARY") => 2004,
        "CHAR" | "CHARACTER" | "VARCHAR" | "VARCHARACTER" | "LONG" => 12,
        "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" => 12,
        "NCHAR" | "NATIONAL" if !varies => -15,
        "NCHAR" | "NATIONAL" | "NVARCHAR" => -9,
        "BOOL" | "BOOLEAN" => 16,
        "TINYINT" | "INT1" | "SMALLINT" | "INT2" => 5,
        "MEDIUMINT" | "INT3" | "MIDDLEINT" | "INT" | "INTEGER" | "INT4" | "YEAR" => 4,
        "BIGINT" | "INT8" => -5,
        "REAL" => 7,
        "DOUBLE" | "FLOAT8" => 8,
        "FLOAT" | "FLOAT4" => 6,
        "DECIMAL" | "DEC" | "FIXED" => 3,
        "NUMERIC" => 2,
        "BIT" => -7,
        "DATE" => 91,
        "TIME" => 92,
        "DATETIME" => 93,
        "TIMESTAMP" => 2014,
        "BINARY" => -2,
        "VARBINARY" => -3,
        "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => 2004,
        "ENUM" | "SET" => 1,
        // JSON, VECTOR, geometries: OTHER.
        _ => 1111,
    }
}

#[cfg(test)]
mod tests {
    use lakeward_core::{Declaration, TableId};
    use serde_json::{Value, json};

    use super::*;

    fn column(name: &str, words: &str, labels: &[&str]) -> ColumnStructure {
        ColumnStructure {
            name: name.into(),
            nullable: true,
            counts: false,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            declaration: Declaration { words: words.into(), length: Some(1), ..Declaration::default() },
        }
    }

    fn record(schemas: bool, change: Option<TableChange>) -> (Value, Value) {
        let options = FormatOptions { schemas, ..FormatOptions::default() };
        let records = SchemaChangeRecords::new(&options, "p", "p").unwrap();
        let origin = Origin { commit_us: 5_000_001, file: "f".into(), offset: 9, ..Origin::default() };
        let change = SchemaChange {
            origin,
            database: "d".into(),
            tables: change.iter().map(|change| change.table.table.to_string()).collect(),
            statement: "DDL".into(),
            change,
        };
        let (key, value) = records.record(&change, 7_000_000).unwrap();
        (serde_json::from_slice(&key).unwrap(), serde_json::from_slice(&value).unwrap())
    }

    #[test]
    fn a_record_tells_statement_and_structure_with_its_schema_or_without() {
        let structure = TableStructure {
            charset: Some("latin1".into()),
            key: vec!["e".into()],
            columns: vec![column("e", "ENUM", &["a", "d'e"]), column("n", "INT UNSIGNED", &[])],
        };
        let table = TableId::new("d", "t\"x");
        let change = TableChange { kind: ChangeKind::Alter, table, structure: Some(structure) };
        let (key, value) = record(false, Some(change.clone()));
        assert_eq!(key, json!({ "databaseName": "d" }));
        assert_eq!(
            (&value["ddl"], &value["ts_ms"], &value["schemaName"]),
            (&json!("DDL"), &json!(7000), &json!(null))
        );
        assert_eq!((&value["source"]["ts_us"], &value["source"]["pos"]), (&json!(5_000_001), &json!(9)));
        let told = &value["tableChanges"][0];
        assert_eq!((&told["type"], &told["id"]), (&json!("ALTER"), &json!("\"d\".\"t\"\"x\"")));
        assert_eq!(told["table"]["primaryKeyColumnNames"], json!(["e"]));
        let columns = &told["table"]["columns"];
        assert_eq!(
            (&columns[0]["jdbcType"], &columns[0]["enumValues"]),
            (&json!(1), &json!(["'a'", "'d''e'"]))
        );
        assert_eq!((&columns[1]["jdbcType"], &columns[1]["enumValues"]), (&json!(4), &json!(null)));
        assert_eq!((&columns[1]["position"], &columns[1]["typeName"]), (&json!(2), &json!("INT UNSIGNED")));
        let (_, with_schema) = record(true, Some(change));
        assert_eq!(with_schema["payload"], value);
        assert_eq!(with_schema["schema"]["name"], "io.debezium.connector.mysql.SchemaChangeValue");
        let (_, of_database) = record(false, None);
        assert_eq!(
            (&of_database["tableChanges"], &of_database["source"]["table"]),
            (&json!([]), &json!(null))
        );
    }

    #[test]
    fn types_have_the_numbers_of_java() {
        for (words, number) in [
            ("CHARACTER", 1),
            ("CHARACTER VARYING", 12),
            ("VARCHAR BINARY", 12),
            ("LONG VARBINARY", 2004),
            ("NATIONAL CHAR VARYING", -9),
            ("NCHAR", -15),
            ("INT UNSIGNED ZEROFILL", 4),
            ("DOUBLE PRECISION", 8),
            ("MULTIPOLYGON", 1111),
        ] {
            assert_eq!(jdbc_type(words), number, "{words}");
        }
    }
}

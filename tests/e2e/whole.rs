//! Large tables compared as wholes: the server exports its rows to a file, DuckDB computes the latest
//! state from the lake's events and tells the two apart. A million rows take seconds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lakeward_test_support::Scratch;
use lakeward_test_support::mysql::MySql;
use mysql::prelude::Queryable;
use serde_json::{Value, json};

use crate::expected::quoted;
use crate::lake::{LakeView, Name};
use crate::world::utc;

/// Change events of a table, counted by op.
pub(crate) type Ops = BTreeMap<String, u64>;

/// A table of the source and the columns of its key (none: it is compared as a bag of rows, which
/// needs `before_images`).
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    /// Its name.
    pub(crate) table: Name,
    /// Its key.
    pub(crate) key: Vec<String>,
}

impl Keyed {
    /// A table of the database `shop`.
    pub(crate) fn shop(table: &str, key: &[&str]) -> Keyed {
        let key = key.iter().map(|column| (*column).to_owned()).collect();
        Keyed { table: ("shop".to_owned(), table.to_owned()), key }
    }
}

/// How a column is exported, and the SQL that exports it.
fn exported(data_type: &str, charset: Option<&str>, bits: u64, name: &str) -> (&'static str, String) {
    match data_type {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" => {
            ("number", format!("CAST({name} AS CHAR)"))
        }
        "binary" | "varbinary" | "blob" | "longblob" => ("hex", format!("HEX({name})")),
        "bit" => ("hex", format!("LPAD(HEX({name} + 0), {}, '0')", 2 * bits.div_ceil(8))),
        "char" | "varchar" | "text" | "enum" if charset != Some("binary") => {
            ("hex", format!("HEX(CONVERT({name} USING utf8mb4))"))
        }
        "datetime" | "timestamp" => ("time", format!("DATE_FORMAT({name}, '%Y-%m-%d %H:%i:%s.%f')")),
        "date" => ("time", format!("DATE_FORMAT({name}, '%Y-%m-%d 00:00:00.000000')")),
        other => panic!("whole tables are not compared with columns of type {other}"),
    }
}

/// Exports one table; answers what the script has to know.
fn export(server: &MySql, view: &LakeView, keyed: &Keyed, to: &Path) -> Value {
    let (database, table) = &keyed.table;
    let mut conn = utc(server);
    let columns: Vec<(String, String, Option<String>, Option<u64>)> = conn
        .exec(
            "SELECT column_name, data_type, character_set_name, numeric_precision FROM information_schema.columns \
             WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position",
            (database, table),
        )
        .expect("the catalog can be read");
    assert!(!columns.is_empty(), "{database}.{table} has no columns");
    let (mut kinds, mut expressions) = (Vec::new(), Vec::new());
    for (name, data_type, charset, precision) in &columns {
        let (kind, expression) =
            exported(data_type, charset.as_deref(), precision.unwrap_or(0), &quoted(name));
        kinds.push(json!([name, kind]));
        expressions.push(expression);
    }
    let statement = format!(
        "SELECT {} FROM {}.{} INTO OUTFILE '{}'",
        expressions.join(", "),
        quoted(database),
        quoted(table),
        to.display()
    );
    conn.query_drop(&statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
    let files = view.files().remove(&keyed.table).unwrap_or_default();
    json!({ "table": format!("{database}.{table}"), "files": files, "columns": kinds, "key": keyed.key, "source": to })
}

/// What a comparison found.
pub(crate) struct Compared {
    /// Each table's events.
    pub(crate) ops: Vec<Ops>,
    /// Tables that are not equal, and rows that show it.
    pub(crate) wrong: Vec<String>,
    numbers: Value,
}

/// Compares every table's latest state with the source's.
pub(crate) fn compare(server: &MySql, view: &LakeView, tables: &[Keyed]) -> Compared {
    let exports = Scratch::new("export");
    let asked: Vec<Value> = tables
        .iter()
        .enumerate()
        .map(|(at, keyed)| export(server, view, keyed, &exports.join(at.to_string())))
        .collect();
    let all_files: Vec<PathBuf> = view.files().into_values().flatten().collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/python/whole.py");
    let asked = json!({ "tables": asked, "all_files": all_files });
    let answer = lakeward_test_support::python(&script, &[], &asked.to_string());
    let answer: Value = serde_json::from_str(&answer).expect("the script prints JSON");
    let mut compared = Compared { ops: Vec::new(), wrong: Vec::new(), numbers: answer["numbers"].clone() };
    for keyed in tables {
        let name = format!("{}.{}", keyed.table.0, keyed.table.1);
        let found = &answer["tables"][&name];
        compared.ops.push(serde_json::from_value(found["ops"].clone()).expect("counts"));
        if found["wrong"] != 0 {
            let (ops, wrong, shown) = (&found["ops"], &found["wrong"], &found["shown"]);
            compared.wrong.push(format!("{name} ({ops}): {wrong} rows differ, as {shown:#}"));
        }
    }
    compared
}

/// Fails unless every table's latest state is the source's and the numbers of all events of the lake
/// are unique and dense. Answers each table's events.
pub(crate) fn assert_equal(server: &MySql, view: &LakeView, tables: &[Keyed]) -> Vec<Ops> {
    view.assert_all_named();
    let Compared { ops, wrong, numbers } = compare(server, view, tables);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let number = |name: &str| numbers[name].as_i64();
    assert_eq!(number("count"), number("distinct"), "numbers are unique: {numbers}");
    view.assert_count(number("count").expect("a count"), number("first"), number("last"));
    ops
}

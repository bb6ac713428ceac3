//! The changes that both read: the type suite, a column for each of its cases, and keys of every kind.

use std::collections::BTreeMap;

use lakeward_test_support::mysql::MySql;
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::equality::writer;
use crate::types::{TypeCase, cases};

/// The database of all tables.
pub(super) const DATABASE: &str = "types";
/// The table whose one row comes last.
pub(super) const LAST: &str = "zz_last";

/// The definition of `n`, which makes each update one.
const COUNTER: &str = "INT NOT NULL DEFAULT 0";
/// Dates that no calendar has: at one of them Debezium stops.
const NO_DATE: &str = "-02-31";
/// What the tables of ZEROFILL columns end with: a NULL in one stops Debezium's snapshot.
pub(super) const ZEROFILL: &str = "_zerofill";

/// Cases that share a table.
const WIDTH: usize = 16;

/// The definition of each column of the suite, by `table.column`.
pub(super) type Columns = BTreeMap<String, String>;

/// A table with a column for each of some cases.
struct Wide {
    name: String,
    columns: Vec<(String, TypeCase)>,
}

/// Makes all tables and plays all changes.
pub(super) fn play(server: &MySql) -> Columns {
    let mut conn = writer(server);
    conn.query_drop(format!("CREATE DATABASE {DATABASE}")).unwrap();
    conn.select_db(DATABASE).unwrap();
    let mut columns = Columns::new();
    let mut cases = cases(&mut conn);
    for case in &mut cases {
        case.values.retain(|value| !value.contains(NO_DATE));
    }
    for table in wide(cases) {
        columns.insert(format!("{}.n", table.name), COUNTER.to_owned());
        for (column, case) in &table.columns {
            columns.insert(format!("{}.{column}", table.name), case.column.clone());
        }
        table.play(&mut conn);
    }
    for statement in KEYS {
        run(&mut conn, statement);
    }
    for statement in CHANGES {
        run(&mut conn, statement);
    }
    for (column, definition) in OTHERS {
        columns.insert((*column).to_owned(), (*definition).to_owned());
    }
    run(&mut conn, &format!("CREATE TABLE {LAST} (id INT PRIMARY KEY)"));
    run(&mut conn, &format!("INSERT INTO {LAST} VALUES (1)"));
    columns
}

fn run(conn: &mut Conn, statement: &str) {
    conn.query_drop(statement).unwrap_or_else(|error| panic!("{error}: {statement:.500}"));
}

/// Few tables of many columns: a topic for each case would take most of the time. What updates itself, or is as long as
/// a row may be, has a table of its own.
fn wide(cases: Vec<TypeCase>) -> Vec<Wide> {
    let is_alone = |case: &TypeCase| {
        !case.updates.is_empty() || case.table == "varchar_max" || case.table.ends_with(ZEROFILL)
    };
    let (alone, together): (Vec<TypeCase>, Vec<TypeCase>) = cases.into_iter().partition(is_alone);
    let wide = together.chunks(WIDTH).enumerate().map(|(number, cases)| Wide {
        name: format!("wide_{number:02}"),
        columns: cases.iter().map(|case| (case.table.clone(), case.clone())).collect(),
    });
    let alone =
        alone.into_iter().map(|case| Wide { name: case.table.clone(), columns: vec![("v".into(), case)] });
    wide.chain(alone).collect()
}

impl Wide {
    /// Each column with its value in row `row`.
    fn values(&self, row: usize) -> impl Iterator<Item = (&str, &str)> {
        self.columns
            .iter()
            .map(move |(column, case)| (column.as_str(), case.values[row % case.values.len()].as_str()))
    }

    fn insert(&self, conn: &mut Conn, row: usize) {
        let (mut names, mut values) = (String::from("id"), row.to_string());
        for (column, value) in self.values(row) {
            names.push_str(&format!(", `{column}`"));
            values.push_str(&format!(", {value}"));
        }
        run(conn, &format!("INSERT INTO {} ({names}) VALUES ({values})", self.name));
    }

    fn play(&self, conn: &mut Conn) {
        let columns: Vec<String> =
            self.columns.iter().map(|(column, case)| format!("`{column}` {}", case.column)).collect();
        run(
            conn,
            &format!(
                "CREATE TABLE {} (id INT NOT NULL PRIMARY KEY, n {COUNTER}, {})",
                self.name,
                columns.join(", ")
            ),
        );
        let rows = self.columns.iter().map(|(_, case)| case.values.len()).max().expect("a table has columns");
        for row in 0..rows {
            self.insert(conn, row);
        }
        for row in 0..rows {
            let changes: Vec<String> =
                self.values(row + 1).map(|(column, value)| format!("`{column}` = {value}")).collect();
            run(
                conn,
                &format!("UPDATE {} SET n = n + 1, {} WHERE id = {row}", self.name, changes.join(", ")),
            );
        }
        for update in self.columns.iter().flat_map(|(_, case)| &case.updates) {
            run(conn, &format!("UPDATE {} SET n = n + 1, v = {update}", self.name));
        }
        run(conn, &format!("DELETE FROM {} WHERE id < 2", self.name));
        // A snapshot then finds every value.
        for row in 0..rows.min(2) {
            self.insert(conn, row);
        }
    }
}

/// The definitions of columns of [`KEYS`] that are no plain ones.
const OTHERS: &[(&str, &str)] = &[
    ("evolving.more", "INT NOT NULL DEFAULT 5"),
    ("keys_of_types.d", "DATETIME(3) NOT NULL"),
    ("keys_of_types.u", "BIGINT UNSIGNED NOT NULL"),
    ("keys_of_types.da", "DATE NOT NULL"),
    ("keys_of_types.ts", "TIMESTAMP(6) NOT NULL"),
];

/// Keys of every kind, and what changes them.
const KEYS: &[&str] = &[
    "CREATE TABLE composite (a INT UNSIGNED NOT NULL, n INT NOT NULL, b VARCHAR(20) NOT NULL, PRIMARY KEY (b, a))",
    "INSERT INTO composite VALUES (1, 1, 'one'), (2, 2, 'zwei'), (4294967295, 3, 'ü \"quoted\"')",
    "UPDATE composite SET n = n + 10",
    "UPDATE composite SET a = a + 10 WHERE b = 'zwei'",
    "UPDATE composite SET b = 'eins', n = 99 WHERE b = 'one'",
    "DELETE FROM composite WHERE a = 12",
    "CREATE TABLE keys_of_types (d DATETIME(3) NOT NULL, b BINARY(4) NOT NULL, m DECIMAL(10,2) NOT NULL, \
     e ENUM('x','y') NOT NULL, u BIGINT UNSIGNED NOT NULL, da DATE NOT NULL, ti TIME(6) NOT NULL, \
     ts TIMESTAMP(6) NOT NULL, y YEAR NOT NULL, n INT, PRIMARY KEY (d, b, m, e, u, da, ti, ts, y))",
    "INSERT INTO keys_of_types VALUES ('2026-11-21 01:02:03.004', x'00ff', -1.50, 'y', 18446744073709551615, \
     '2026-11-21', '12:00:00.5', '2026-11-21 01:02:03.000004', 2026, 1)",
    "UPDATE keys_of_types SET n = 2",
    "UPDATE keys_of_types SET m = 7",
    "DELETE FROM keys_of_types WHERE n = 2",
    "INSERT INTO keys_of_types VALUES ('2026-11-22 00:00:00', x'01', 0, 'x', 1, \
     '1970-01-01', '00:00:00', '2026-11-22 00:00:00', 1970, NULL)",
    "CREATE TABLE only_unique (u INT NOT NULL, n INT, UNIQUE KEY (u))",
    "INSERT INTO only_unique VALUES (1, 1), (2, 2)",
    "UPDATE only_unique SET u = 3 WHERE u = 1",
    "DELETE FROM only_unique WHERE u = 2",
    "CREATE TABLE keyless (a INT, b VARCHAR(5))",
    "INSERT INTO keyless VALUES (1, 'k'), (2, NULL), (3, 'x')",
    "UPDATE keyless SET a = a + 10 WHERE a < 3",
    "DELETE FROM keyless WHERE a = 11",
    "CREATE TABLE emptied (id INT PRIMARY KEY, n INT)",
    "INSERT INTO emptied VALUES (1, 1), (2, 2)",
    "TRUNCATE TABLE emptied",
    "INSERT INTO emptied VALUES (3, 3)",
    "CREATE TABLE evolving (id INT PRIMARY KEY, gone INT, wider INT)",
    "INSERT INTO evolving VALUES (1, 1, 1), (2, 2, 2)",
    "ALTER TABLE evolving ADD COLUMN more INT NOT NULL DEFAULT 5, ADD COLUMN maybe VARCHAR(9) AFTER id",
    "UPDATE evolving SET more = 6 WHERE id = 1",
    "ALTER TABLE evolving DROP COLUMN gone, MODIFY COLUMN wider BIGINT",
    "INSERT INTO evolving (id, wider, more) VALUES (3, 9223372036854775807, 7)",
    "ALTER TABLE evolving RENAME COLUMN maybe TO sure",
    "DELETE FROM evolving WHERE id = 2",
    "START TRANSACTION",
    "INSERT INTO emptied VALUES (4, 4)",
    "INSERT INTO composite VALUES (7, 7, 'with others'), (8, 8, 'with others')",
    "UPDATE composite SET n = 0 WHERE b = 'with others'",
    "DELETE FROM emptied WHERE id = 3",
    "COMMIT",
];

/// Statements of every kind that changes tables, and attributes of columns that values do not depend on.
const CHANGES: &[&str] = &[
    "CREATE TABLE declared (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, n INTEGER UNSIGNED ZEROFILL DEFAULT 7, \
     made DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), seen TIMESTAMP(3) NOT NULL DEFAULT NOW(3), \
     half INT AS (n / 2), name VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT 'it''s', \
     kind ENUM('a', 'b,c', 'd''e') NOT NULL DEFAULT 'a', tags SET('x', 'y') DEFAULT 'x,y', flags BIT(4) DEFAULT b'101', \
     code BINARY(2) DEFAULT x'0aff', word NCHAR(6), computed VARCHAR(36) DEFAULT (uuid()), truth BOOLEAN DEFAULT TRUE, \
     less INT DEFAULT -3, price DEC(8, 2) DEFAULT '1.50', prose LONG VARCHAR, said VARCHAR(9) COMMENT 'a comment', \
     hidden INT INVISIBLE) COMMENT 'of a table' DEFAULT CHARSET latin2",
    "CREATE TABLE altered (id INT NOT NULL, gone INT, name VARCHAR(20) DEFAULT 'none', UNIQUE KEY (id)) CHARACTER SET latin1",
    "CREATE TABLE alike LIKE altered",
    "ALTER TABLE altered ADD COLUMN first INT DEFAULT 7 FIRST, ADD COLUMN (more TEXT, last INT NOT NULL), DROP COLUMN gone",
    "ALTER TABLE altered MODIFY COLUMN first BIGINT",
    "ALTER TABLE altered RENAME COLUMN more TO much",
    "ALTER TABLE altered CHANGE much longer MEDIUMTEXT NULL AFTER first",
    "ALTER TABLE altered ALTER COLUMN first SET DEFAULT 9, ALTER name DROP DEFAULT",
    "ALTER TABLE altered ADD PRIMARY KEY (id)",
    "ALTER TABLE altered CONVERT TO CHARACTER SET utf8mb4",
    "ALTER TABLE altered COMMENT 'other', DEFAULT CHARSET latin2",
    "ALTER TABLE altered ENGINE = InnoDB",
    "CREATE INDEX of_first ON altered (first)",
    "DROP INDEX of_first ON altered",
    "CREATE TABLE IF NOT EXISTS altered (id INT)",
    "TRUNCATE TABLE altered",
    "CREATE DATABASE elsewhere",
    "ALTER DATABASE types CHARACTER SET utf8mb4",
    "CREATE TABLE gone (id INT PRIMARY KEY)",
    "CREATE TABLE gone_too (id INT PRIMARY KEY)",
    "DROP TABLE gone, gone_too",
    "ALTER TABLE altered RENAME TO elsewhere.altered",
    "RENAME TABLE alike TO elsewhere.alike, declared TO elsewhere.declared",
    "RENAME TABLE elsewhere.alike TO elsewhere.other",
];

//! Statements after which the server has other rows than the log says, without row events: online schema
//! changes whose copy leaves rows out, generated columns that are computed anew, numbers that are clamped,
//! cascades that come with a table. And those after which nothing is read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::{Op, TableSchema, TableStatus};
use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};

use crate::lake::{Lake, Run, Setup, server, server_pairs, table};

/// Numbers as the lake and the server both have them.
fn plain(value: Option<String>) -> Option<String> {
    value.map(|text| text.parse::<f64>().map_or(text, |number| number.to_string()))
}

/// The rows of a table on the server, as [`Lake::latest`] has them.
fn on_server(server: &MySql, name: &str, columns: &[&str]) -> Vec<Vec<Option<String>>> {
    let rows = server.rows(&format!("SELECT {} FROM shop.{name}", columns.join(", ")));
    let mut rows: Vec<_> =
        rows.into_iter().map(|row| row.into_iter().map(plain).collect::<Vec<_>>()).collect();
    rows.sort();
    rows
}

#[track_caller]
pub(crate) fn assert_equal(lake: &Lake, server: &MySql, name: &str, columns: &[&str], context: &str) {
    let ours = |row: &BTreeMap<String, Option<String>>| {
        columns.iter().map(|column| plain(row[*column].clone())).collect::<Vec<_>>()
    };
    let mut rows: Vec<_> = lake.latest(name).iter().map(ours).collect();
    rows.sort();
    assert_eq!(rows, on_server(server, name, columns), "{context}");
}

/// A table, what is altered in the ghost, and whether its copy may lack rows.
struct Migration {
    table: &'static str,
    alter: &'static str,
    rows: &'static str,
    may_lack_rows: bool,
}

const fn lacking(table: &'static str, alter: &'static str, rows: &'static str) -> Migration {
    Migration { table, alter, rows, may_lack_rows: true }
}

const fn whole(table: &'static str, alter: &'static str, rows: &'static str) -> Migration {
    Migration { table, alter, rows, may_lack_rows: false }
}

const EMAILS: &str = "(1, 'a', 1), (2, 'a', -2), (3, 'A', 30)";
const PLAIN: &str = "id INT PRIMARY KEY, email VARCHAR(40) NOT NULL, n INT";

const MIGRATIONS: &[Migration] = &[
    lacking(PLAIN, "ADD UNIQUE (email)", EMAILS),
    lacking(PLAIN, "ADD UNIQUE u ((LOWER(email)))", EMAILS),
    lacking(PLAIN, "MODIFY email VARCHAR(40) NOT NULL UNIQUE", EMAILS),
    lacking(PLAIN, "ADD CHECK (n > 0)", EMAILS),
    lacking(PLAIN, "ADD KEY (n), ADD CONSTRAINT CHECK (n > 0)", EMAILS),
    lacking(PLAIN, "ADD FOREIGN KEY (n) REFERENCES shop.parent (id)", EMAILS),
    lacking(PLAIN, "PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (3))", EMAILS),
    lacking(
        "email VARCHAR(40) COLLATE utf8mb4_bin PRIMARY KEY, id INT, n INT",
        "MODIFY email VARCHAR(40) COLLATE utf8mb4_0900_ai_ci NOT NULL",
        "('a', 1, 1), ('A', 2, 2)",
    ),
    lacking(
        "id INT PRIMARY KEY, email VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_bin, n INT, UNIQUE (email)",
        "CONVERT TO CHARACTER SET utf8mb4",
        "(1, 'a', 1), (2, 'A', 2)",
    ),
    lacking(
        "id INT PRIMARY KEY, email VARCHAR(40), n INT, UNIQUE two (email, n)",
        "DROP KEY two, ADD UNIQUE one (email)",
        "(1, 'a', 1), (2, 'a', 2)",
    ),
    lacking(
        "id INT PRIMARY KEY, email VARCHAR(40), n DECIMAL(6,2)",
        "MODIFY n DECIMAL(8,2) UNSIGNED",
        EMAILS,
    ),
    whole(
        PLAIN,
        "ADD KEY (email), ADD COLUMN more INT, MODIFY n BIGINT, MODIFY email VARCHAR(50) NOT NULL",
        EMAILS,
    ),
    whole(PLAIN, "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", EMAILS),
    whole(PLAIN, "PARTITION BY HASH (id) PARTITIONS 3", EMAILS),
    whole(PLAIN, "ADD UNIQUE (email, id), ADD CHECK (n > 0) NOT ENFORCED", EMAILS),
    whole(
        "id INT PRIMARY KEY, email VARCHAR(40), n INT, UNIQUE one (email)",
        "RENAME KEY one TO two, MODIFY n BIGINT, ADD UNIQUE more (n, email)",
        "(1, 'a', 1), (2, 'b', 1)",
    ),
    whole(
        "id INT PRIMARY KEY, email VARCHAR(40), n INT, UNIQUE one (email), UNIQUE ((n + 1))",
        "DROP KEY one, ADD UNIQUE two (email), ADD COLUMN more INT",
        "(1, 'a', 1), (2, 'b', 2)",
    ),
];

/// What gh-ost does, and pt-online-schema-change.
fn online(name: &str, migration: &Migration) -> Vec<String> {
    let Migration { table, alter, .. } = migration;
    let ghosts = |[ghost, old]: [String; 2], create: &str| {
        let copied = "id, email, n";
        vec![
            format!("CREATE TABLE shop.{ghost} {create}"),
            format!("ALTER TABLE shop.{ghost} {alter}"),
            format!("INSERT IGNORE INTO shop.{ghost} ({copied}) SELECT {copied} FROM shop.{name}"),
            format!("RENAME TABLE shop.{name} TO shop.{old}, shop.{ghost} TO shop.{name}"),
            format!("DROP TABLE shop.{old}"),
        ]
    };
    match name.starts_with("pt") {
        true => ghosts(["new", "old"].map(|end| format!("_{name}_{end}")), &format!("({table})")),
        false => ghosts(["gho", "del"].map(|end| format!("_{name}_{end}")), &format!("LIKE shop.{name}")),
    }
}

/// Runs each migration; between its ALTER and the copy with another process, where that is said.
fn migrate(row_metadata: RowMetadata, restart: bool) {
    let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
    server.sql("CREATE TABLE shop.parent (id INT PRIMARY KEY); INSERT INTO shop.parent VALUES (1)");
    let mut names = Vec::new();
    for (at, migration) in MIGRATIONS.iter().enumerate() {
        for name in [format!("gh{at}"), format!("pt{at}")] {
            server.sql(&format!("CREATE TABLE shop.{name} ({})", migration.table));
            server.sql(&format!("INSERT INTO shop.{name} VALUES {}", migration.rows));
            names.push((name, migration));
        }
    }
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    let read: BTreeMap<String, usize> =
        names.iter().map(|(name, _)| (name.clone(), lake.count(name, Op::Read))).collect();
    for (step, _) in online("gh0", &MIGRATIONS[0]).iter().enumerate() {
        for (name, migration) in &names {
            let statement = &online(name, migration)[step];
            server
                .sql(&format!("SET SESSION default_collation_for_utf8mb4 = utf8mb4_0900_ai_ci; {statement}"));
        }
        if restart && step == 1 {
            run.until_equal(&server, &mut lake);
            drop(run);
            run = Setup::resumed(&lake).open(&server).unwrap();
        }
    }
    run.until_equal(&server, &mut lake);
    for (name, migration) in &names {
        let context = format!("{name}: {} ({row_metadata:?})", migration.alter);
        assert_equal(&lake, &server, name, &["id", "email", "n"], &context);
        let again = lake.count(name, Op::Read) > read[name];
        // The catalog of an old server does not tell whether a check is enforced.
        let is_doubtful = restart && migration.alter.contains("CHECK");
        assert_eq!(again, migration.may_lack_rows || is_doubtful, "{context}");
    }
}

#[test]
fn an_online_schema_change_whose_copy_may_lack_rows_has_the_table_read_anew_and_no_other_has() {
    migrate(RowMetadata::Full, false);
    migrate(RowMetadata::Minimal, false);
}

#[test]
fn nor_does_a_copy_that_lacks_rows_pass_where_its_alter_was_read_by_an_earlier_run() {
    migrate(RowMetadata::Full, true);
    migrate(RowMetadata::Minimal, true);
}

/// Tables with generated columns, what is altered of the others, and whether those are then other ones.
const GENERATED: &[(&str, &str, &str)] = &[
    (
        "id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET latin1, g INT AS (LENGTH(a)) STORED, h VARCHAR(80) AS (HEX(a))",
        "(1, '\u{e9}')",
        "CONVERT TO CHARACTER SET utf8mb4",
    ),
    (
        "id INT PRIMARY KEY, a VARCHAR(20) COLLATE utf8mb4_0900_ai_ci, g INT AS (a = 'Admin') STORED, h INT AS (a = 'ADMIN')",
        "(1, 'admin')",
        "MODIFY a VARCHAR(20) COLLATE utf8mb4_bin",
    ),
    (
        "id INT PRIMARY KEY, a DATETIME, g VARCHAR(40) AS (CONCAT(a)) STORED, h VARCHAR(40) AS (CONCAT(a))",
        "(1, '2026-01-02 03:04:05')",
        "CHANGE a a DATETIME(3)",
    ),
    (
        "id INT PRIMARY KEY, a FLOAT, g VARCHAR(40) AS (CONCAT(a, '!')) STORED, h VARCHAR(40) AS (CONCAT(a, '?'))",
        "(1, 0.1)",
        "MODIFY a DOUBLE",
    ),
    (
        "id INT PRIMARY KEY, a INT UNSIGNED, g VARCHAR(40) AS (CONCAT(a, '!')) STORED, h VARCHAR(40) AS (CONCAT(a, '?'))",
        "(1, 5)",
        "MODIFY a INT UNSIGNED ZEROFILL",
    ),
    (
        "id INT PRIMARY KEY, a ENUM('admin') CHARACTER SET latin1, g INT AS (a = 'Admin') STORED, h INT AS (a = 'ADMIN')",
        "(1, 'admin')",
        "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    ),
];

#[test]
fn generated_columns_are_read_anew_where_a_column_that_they_may_be_computed_from_is_altered() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        for (at, (table, row, _)) in GENERATED.iter().enumerate() {
            server.sql(&format!(
                "CREATE TABLE shop.t{at} ({table}); INSERT INTO shop.t{at} (id, a) VALUES {row}"
            ));
        }
        let mut lake = Lake::default();
        let mut run = Setup::default().open(&server).unwrap();
        run.until_equal(&server, &mut lake);
        // Of these the log tells that they are made.
        for (at, (table, row, _)) in GENERATED.iter().enumerate() {
            server.sql(&format!(
                "CREATE TABLE shop.u{at} ({table}); INSERT INTO shop.u{at} (id, a) VALUES {row}"
            ));
        }
        for (at, (.., alter)) in GENERATED.iter().enumerate() {
            server.sql(&format!("ALTER TABLE shop.t{at} {alter}; ALTER TABLE shop.u{at} {alter}"));
        }
        run.until_equal(&server, &mut lake);
        for (at, (.., alter)) in GENERATED.iter().enumerate() {
            for name in [format!("t{at}"), format!("u{at}")] {
                assert_equal(&lake, &server, &name, &["id", "g", "h"], &format!("{name}: {alter}"));
            }
        }
    }
}

const COLUMNS: &str = "id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET latin1, n INT UNSIGNED";

#[test]
fn a_column_is_widened_without_reading_where_no_column_is_generated() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        server.sql(&format!("CREATE TABLE shop.t ({COLUMNS}); INSERT INTO shop.t VALUES (1, '\u{e9}', 5)"));
        let mut lake = Lake::default();
        let mut run = Setup::default().open(&server).unwrap();
        run.until_equal(&server, &mut lake);
        server.sql(&format!(
            "CREATE TABLE shop.u ({COLUMNS}, g INT AS (n + 1) STORED); ALTER TABLE shop.u DROP COLUMN g; \
             INSERT INTO shop.u VALUES (1, '\u{e9}', 5)"
        ));
        for name in ["t", "u"] {
            server.sql(&format!(
                "ALTER TABLE shop.{name} CONVERT TO CHARACTER SET utf8mb4; \
                 ALTER TABLE shop.{name} MODIFY n BIGINT, MODIFY a VARCHAR(30) COLLATE utf8mb4_bin; \
                 INSERT INTO shop.{name} VALUES (2, 'x', 2)"
            ));
        }
        run.until_equal(&server, &mut lake);
        assert_eq!([lake.count("t", Op::Read), lake.count("u", Op::Read)], [1, 0], "{row_metadata:?}");
        for name in ["t", "u"] {
            assert_equal(&lake, &server, name, &["id", "a", "n"], name);
        }
    }
}

/// Structures of a checkpoint that was made before generated columns were kept, and of rows that tell their table.
#[test]
fn where_it_is_not_known_which_columns_are_generated_the_catalog_is_asked() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        server.sql(&format!(
            "CREATE TABLE shop.t ({COLUMNS}); CREATE TABLE shop.g ({COLUMNS}, g INT AS (LENGTH(a)) STORED); \
             CREATE TABLE shop.o LIKE shop.t; INSERT INTO shop.t VALUES (1, '\u{e9}', 5); \
             INSERT INTO shop.o VALUES (1, '\u{e9}', 5); INSERT INTO shop.g (id, a) VALUES (1, '\u{e9}')"
        ));
        let mut lake = Lake::default();
        let mut run = Setup::default().open(&server).unwrap();
        run.until_equal(&server, &mut lake);
        drop(run);
        for schema in &mut lake.schemas {
            let mut older = TableSchema::clone(schema);
            older.groundwork.generated = None;
            *schema = Arc::new(older);
        }
        let mut run = Setup::resumed(&lake).open(&server).unwrap();
        run.until_equal(&server, &mut lake);
        server.sql(
            "ALTER TABLE shop.t CONVERT TO CHARACTER SET utf8mb4; ALTER TABLE shop.g CONVERT TO CHARACTER SET utf8mb4; \
             CREATE TABLE shop._o_gho LIKE shop.o; ALTER TABLE shop._o_gho MODIFY n BIGINT",
        );
        run.until_equal(&server, &mut lake);
        server.sql(
            "INSERT IGNORE INTO shop._o_gho SELECT * FROM shop.o; RENAME TABLE shop.o TO shop._o_del, shop._o_gho TO shop.o; \
             INSERT INTO shop.t VALUES (2, 'x', 2); INSERT INTO shop.o VALUES (2, 'x', 5000000000)",
        );
        run.until_equal(&server, &mut lake);
        let read = ["t", "g", "o"].map(|name| lake.count(name, Op::Read));
        assert_eq!(read, [1, 2, 1], "{row_metadata:?}");
        for (name, columns) in
            [("t", &["id", "a", "n"][..]), ("g", &["id", "a", "g"]), ("o", &["id", "a", "n"])]
        {
            assert_equal(&lake, &server, name, columns, name);
        }
    }
}

#[test]
fn fractions_that_lose_their_sign_without_strict_mode_are_read_anew() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (id INT PRIMARY KEY, x DECIMAL(10,2), f FLOAT, d DOUBLE); \
         CREATE TABLE shop.s LIKE shop.t; CREATE TABLE shop.u (id INT PRIMARY KEY, x DECIMAL(10,2), f FLOAT, d DOUBLE ZEROFILL); \
         INSERT INTO shop.t VALUES (1, -5, -5, -5), (2, 1.5, 1.5, 1.5); INSERT INTO shop.u VALUES (1, -5, -5, 5); \
         INSERT INTO shop.s VALUES (1, 5, 5, 5)",
    );
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    server.sql(
        "ALTER TABLE shop.s MODIFY x DECIMAL(10,2) UNSIGNED, MODIFY f FLOAT UNSIGNED, MODIFY d DOUBLE UNSIGNED; \
         SET sql_mode = ''; ALTER TABLE shop.t MODIFY x DECIMAL(10,2) UNSIGNED, MODIFY f FLOAT UNSIGNED, MODIFY d REAL ZEROFILL; \
         ALTER TABLE shop.u CHANGE f f DOUBLE UNSIGNED",
    );
    run.until_equal(&server, &mut lake);
    for name in ["s", "t", "u"] {
        assert_equal(&lake, &server, name, &["id", "x", "f", "d"], name);
    }
    let read = ["s", "t", "u"].map(|name| lake.count(name, Op::Read));
    assert_eq!(read, [1, 4, 2], "strict mode lets no sign be lost");
}

/// In strict mode, too.
#[test]
fn values_that_a_statement_makes_others_without_an_error_are_read_anew() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        for name in ["t", "c", "d"] {
            server.sql(&format!(
                "CREATE TABLE shop.{name} (id INT PRIMARY KEY, ts TIMESTAMP NULL, d DATE); \
                 INSERT INTO shop.{name} VALUES (1, NULL, '2026-01-02'), (2, '2026-01-02 03:04:05', '2026-01-02')"
            ));
        }
        server.sql(
            "CREATE TABLE shop.p (id INT PRIMARY KEY, a CHAR(5), b CHAR(5)); INSERT INTO shop.p VALUES (1, 'x', 'y')",
        );
        let mut lake = Lake::default();
        let mut run = Setup::default().open(&server).unwrap();
        run.until_equal(&server, &mut lake);
        server.sql(
            "SET sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE'; ALTER TABLE shop.t MODIFY ts TIMESTAMP(3) NOT NULL; \
             ALTER TABLE shop.c MODIFY ts TIMESTAMP NOT NULL, ALGORITHM = COPY; ALTER TABLE shop.d MODIFY d DATE NOT NULL; \
             SET sql_mode = 'STRICT_ALL_TABLES,PAD_CHAR_TO_FULL_LENGTH'; ALTER TABLE shop.p MODIFY a VARCHAR(9), MODIFY b CHAR(6)",
        );
        run.until_equal(&server, &mut lake);
        let moment = "CAST(UNIX_TIMESTAMP(ts) * 1000000 AS SIGNED)";
        for name in ["t", "c", "d"] {
            let (ours, theirs) = (lake.pairs(name, "id", "ts"), server_pairs(&server, name, "id", moment));
            assert_eq!(ours, theirs, "{row_metadata:?}: {name}");
        }
        assert_equal(&lake, &server, "p", &["id", "a", "b"], "p");
        let read = ["t", "c", "d", "p"].map(|name| lake.count(name, Op::Read));
        assert_eq!(read, [4, 4, 2, 2], "{row_metadata:?}: a DATE that lacks a value is an error");
    }
}

/// Takes until a table has stopped; its kind of error.
fn stopped(run: &mut Run, lake: &mut Lake, name: &str) -> String {
    let status =
        |lake: &Lake| lake.checkpoint.as_ref()?.tables.get(&table(name)).map(|state| state.status.clone());
    run.until(lake, |lake| matches!(status(lake), Some(TableStatus::Stopped { .. })));
    match status(lake) {
        Some(TableStatus::Stopped { kind, .. }) => kind,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_table_that_comes_under_a_captured_name_with_a_cascade_that_is_not_logged_stops() {
    let native = vec!["--innodb-native-foreign-keys=ON".to_owned()];
    let server = server(MySqlOptions { extra: native, ..MySqlOptions::default() });
    let child = "(id INT PRIMARY KEY, p INT, KEY (p))";
    server.sql(&format!(
        "CREATE TABLE shop.parent (id INT PRIMARY KEY); CREATE TABLE shop.child {child}; CREATE TABLE shop.old {child}; \
         CREATE TABLE shop.calm {child}; CREATE DATABASE staging; \
         INSERT INTO shop.parent VALUES (1), (2); INSERT INTO shop.child VALUES (10, 1), (20, 2)"
    ));
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    let cascade = "ADD FOREIGN KEY (p) REFERENCES shop.parent (id) ON DELETE CASCADE";
    server.sql(&format!(
        "CREATE TABLE shop._child_new {child}; ALTER TABLE shop._child_new {cascade}; \
         INSERT IGNORE INTO shop._child_new SELECT * FROM shop.child; \
         RENAME TABLE shop.child TO shop._child_old, shop._child_new TO shop.child; \
         CREATE TABLE staging.s {child}; ALTER TABLE staging.s {cascade}; RENAME TABLE staging.s TO shop.staged; \
         ALTER TABLE shop.old {cascade}, RENAME TO shop.new; CREATE TABLE staging.calm {child}; \
         ALTER TABLE staging.calm ADD FOREIGN KEY (p) REFERENCES shop.parent (id); \
         RENAME TABLE shop.calm TO staging.before, staging.calm TO shop.calm; DELETE FROM shop.parent WHERE id = 1"
    ));
    for name in ["child", "staged", "new"] {
        assert_eq!(stopped(&mut run, &mut lake, name), "UnloggedChange", "{name}");
    }
    let tables = lake.checkpoint.as_ref().unwrap().tables.clone();
    for name in ["parent", "calm", "old"] {
        assert_eq!(tables[&table(name)].status, TableStatus::Active, "{name}");
    }
}

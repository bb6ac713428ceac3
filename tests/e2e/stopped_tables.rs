//! Changes that cannot be followed stop their table, by name and with the remedy, while the others go
//! on; a table that was stopped stays so over the next start.

use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use lakeward_test_support::{LIMIT, Pipeline, wait_until};
use mysql::prelude::Queryable;

use crate::expected::{self, Mapping};
use crate::lake::{Reader, assert_latest_is};
use crate::snapshot::pipeline::initial;
use crate::versions::differences;
use crate::world::{
    CAUGHT_UP_WITH_STOPPED_TABLES, catches_up_with, finish, folder, refuses, server_with, stop, utc, view,
    wait_until_complete, with,
};

/// `shop.bad` has the trouble, `shop.good` must not notice.
fn server(options: MySqlOptions) -> MySql {
    let server = server_with(options);
    server.sql(
        "CREATE DATABASE shop;
         CREATE TABLE shop.bad (id INT PRIMARY KEY, v VARCHAR(10)); INSERT INTO shop.bad VALUES (1, 'a');
         CREATE TABLE shop.good (id INT PRIMARY KEY, v VARCHAR(10)); INSERT INTO shop.good VALUES (1, 'a')",
    );
    server
}

/// What happens to `shop.bad` between two runs, and the kind of error that must stop it.
struct Trouble {
    name: &'static str,
    statements: &'static str,
    kind: &'static str,
    remedy: &'static [&'static str],
}

const TROUBLES: &[Trouble] = &[
    Trouble {
        name: "its values are rewritten, and rows are not read",
        statements: "ALTER TABLE shop.bad MODIFY v VARBINARY(10); INSERT INTO shop.bad VALUES (2, 'b')",
        kind: "TableChanged",
        remedy: &["lakeward resume shop.bad"],
    },
    Trouble {
        name: "a statement with comments in odd places may cut values, and rows are not read",
        statements: "/* x */ ALTER /*x*/ TABLE/**/`shop` . `bad` MODIFY v VARCHAR(3); INSERT INTO shop.bad VALUES (2, 'b')",
        kind: "TableChanged",
        remedy: &["lakeward resume shop.bad"],
    },
    Trouble {
        name: "a column is computed for the rows that are there, and rows are not read",
        statements: "ALTER TABLE shop.bad ADD COLUMN extra INT DEFAULT (id + 1)",
        kind: "TableChanged",
        remedy: &["lakeward resume shop.bad"],
    },
    Trouble {
        name: "another table takes its name in the middle of a list, and rows are not read",
        statements: "CREATE DATABASE elsewhere; CREATE TABLE elsewhere.other (id INT PRIMARY KEY, v VARCHAR(10)); \
                     RENAME TABLE shop.bad TO elsewhere.bad, elsewhere.other TO shop.bad; INSERT INTO shop.bad VALUES (2, 'b')",
        kind: "TableChanged",
        remedy: &["lakeward resume shop.bad"],
    },
    Trouble {
        name: "it gets a column that the lake has for itself",
        statements: "ALTER TABLE shop.bad ADD COLUMN Dt DATE; INSERT INTO shop.bad VALUES (2, 'b', '2026-01-01')",
        kind: "TableChanged",
        remedy: &["rename the column", "tables.exclude", "lakeward resume"],
    },
    Trouble {
        name: "an XA transaction touches it",
        statements: "XA START 'x'; INSERT INTO shop.bad VALUES (2, 'b'); XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x'",
        kind: "XaTransaction",
        remedy: &[],
    },
    Trouble {
        name: "a session writes in statement format",
        statements: "SET SESSION binlog_format = 'STATEMENT'; UPDATE shop.bad SET v = 'z'",
        kind: "UnloggedChange",
        remedy: &["binlog_format"],
    },
    Trouble {
        name: "a session writes minimal images",
        statements: "SET SESSION binlog_row_image = 'MINIMAL'; UPDATE shop.bad SET v = 'z'",
        kind: "IncompleteImage",
        remedy: &["binlog_row_image"],
    },
];

fn stops(trouble: &Trouble, options: MySqlOptions) {
    let name = trouble.name;
    let server = server(options);
    let pipeline = folder(&server);
    pipeline.catch_up();
    server.conn().query_drop("INSERT INTO shop.good VALUES (2, 'before')").unwrap();
    // One session: the settings of a session are part of the trouble.
    server.sql(trouble.statements);
    server.sql("INSERT INTO shop.good VALUES (3, 'after')");
    let ended = catches_up_with(&pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
    assert!(ended.printed().contains("shop.bad"), "{name}: {}", ended.printed());
    let view = view(&pipeline);
    let stopped = view.stopped();
    let table =
        stopped.get(&("shop".to_owned(), "bad".to_owned())).unwrap_or_else(|| panic!("{name}: {stopped:?}"));
    assert_eq!(table.kind, trouble.kind, "{name}: {table:?}");
    assert!(!table.message.is_empty(), "{name}: {table:?}");
    let remedy = table.remedy.as_deref().unwrap_or_else(|| panic!("{name}: no remedy in {table:?}"));
    for word in trouble.remedy {
        assert!(remedy.contains(word), "{name}: {word} in {remedy}");
    }
    let status = finish(&pipeline, &["status"]);
    assert!(status.stdout.contains("shop.bad"), "{name}: {}", status.printed());
    server
        .sql("INSERT INTO shop.good VALUES (4, 'later'); FLUSH BINARY LOGS; UPDATE shop.good SET v = 'all'");
    catches_up_with(&pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
    let events = view.events(Reader::Duckdb);
    view.assert_dense(&events);
    let good = ("shop".to_owned(), "good".to_owned());
    let source = expected::rows(&mut utc(&server), "shop", "good", Mapping::default());
    assert_latest_is(&good, &events[&good], &["id"], source);
    let bad = &events[&("shop".to_owned(), "bad".to_owned())];
    assert_eq!(bad.bare("id"), [Some("1".to_owned())], "{name}: nothing of the table after it stopped");
}

#[test]
fn trouble_stops_one_table_with_its_remedy() {
    for trouble in TROUBLES {
        stops(trouble, MySqlOptions::default());
    }
}

#[test]
fn trouble_stops_one_table_under_minimal_metadata_without_gtids() {
    for trouble in TROUBLES {
        stops(
            trouble,
            MySqlOptions { gtid: false, row_metadata: RowMetadata::Minimal, ..MySqlOptions::default() },
        );
    }
}

#[test]
fn a_table_that_gets_a_column_of_the_lake_stops_in_a_run_and_comes_back_once_it_is_renamed() {
    let server = server(MySqlOptions::default());
    server
        .sql("CREATE TABLE shop.taken (id INT PRIMARY KEY, _SEQ INT); INSERT INTO shop.taken VALUES (1, 1)");
    let table = |name: &str| ("shop".to_owned(), name.to_owned());
    let stopped = |pipeline: &Pipeline| -> Vec<String> {
        view(pipeline).stopped().into_keys().map(|(_, name)| name).collect()
    };
    let pipeline = initial(&server);
    let mut run = pipeline.start(&["run"]);
    wait_until("a table that has one already to stop", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        (stopped(&pipeline) == ["taken"]).then_some(())
    });
    wait_until_complete(&pipeline, &server, &mut run);
    server.sql("ALTER TABLE shop.bad ADD COLUMN _OP INT; INSERT INTO shop.bad VALUES (2, 'b', 1)");
    server.sql("INSERT INTO shop.good VALUES (2, 'b')");
    wait_until_complete(&pipeline, &server, &mut run);
    assert_eq!(stopped(&pipeline), ["bad", "taken"]);
    let events = view(&pipeline).events(Reader::Duckdb);
    assert_eq!(events[&table("good")].ops().len(), 2, "the others go on");
    assert_eq!(events[&table("bad")].bare("id"), [Some("1".to_owned())], "nothing after it stopped");
    assert!(!events.contains_key(&table("taken")));
    server.sql(
        "ALTER TABLE shop.bad RENAME COLUMN _OP TO op; ALTER TABLE shop.taken DROP COLUMN _SEQ;
         UPDATE shop.bad SET op = 2",
    );
    for name in ["shop.bad", "shop.taken"] {
        let asked = finish(&pipeline, &["resume", name]);
        assert_eq!(asked.code, Some(0), "{}", asked.printed());
    }
    stop(&mut run);
    pipeline.catch_up();
    let events = view(&pipeline).events(Reader::Duckdb);
    view(&pipeline).assert_dense(&events);
    for name in ["bad", "taken"] {
        let source = expected::rows(&mut utc(&server), "shop", name, Mapping::default());
        assert_latest_is(&table(name), &events[&table(name)], &["id"], source);
    }
}

/// Each is followed, also by a pipeline that reads no rows.
const FOLLOWED: &[&str] = &[
    "ALTER TABLE shop.bad ADD COLUMN extra INT; INSERT INTO shop.bad VALUES (2, 'b', 3)",
    "ALTER TABLE shop.bad ADD COLUMN w VARCHAR(10) FIRST; INSERT INTO shop.bad VALUES ('w', 3, 'c', 4); \
     ALTER TABLE shop.bad RENAME COLUMN v TO w, RENAME COLUMN w TO v; INSERT INTO shop.bad VALUES ('v', 4, 'w', 5)",
    "/* gh-ost */ ALTER /*x*/ TABLE/**/`shop` . `bad` MODIFY v VARCHAR(300); UPDATE shop.bad SET v = REPEAT('x', 200)",
    "ALTER TABLE shop.bad ADD COLUMN filled INT NOT NULL DEFAULT 7 AFTER id; INSERT INTO shop.bad (id) VALUES (5)",
    "ALTER TABLE shop.bad DROP COLUMN v",
    "TRUNCATE TABLE shop.bad; INSERT INTO shop.bad (id) VALUES (9)",
];

fn are_followed(options: MySqlOptions) {
    let server = server(options);
    let pipeline = folder(&server);
    pipeline.catch_up();
    let bad = ("shop".to_owned(), "bad".to_owned());
    for statements in FOLLOWED {
        server.sql(statements);
        pipeline.catch_up();
        for reader in [Reader::Duckdb, Reader::Pyarrow] {
            let events = view(&pipeline).events(reader);
            view(&pipeline).assert_dense(&events);
            let source = expected::rows(&mut utc(&server), "shop", "bad", Mapping::default());
            let wrong = differences(&view(&pipeline), &bad, &events[&bad], &source);
            assert!(wrong.is_empty(), "{statements}, by {reader:?}:\n{}", wrong.join("\n"));
        }
    }
}

#[test]
fn changes_of_structure_are_followed() {
    are_followed(MySqlOptions::default());
}

#[test]
fn changes_of_structure_are_followed_under_minimal_metadata_without_gtids() {
    are_followed(MySqlOptions { gtid: false, row_metadata: RowMetadata::Minimal, ..MySqlOptions::default() });
}

#[test]
fn with_on_error_stop_pipeline_the_pipeline_stops() {
    let server = server(MySqlOptions::default());
    let pipeline = with(folder(&server), "on_error", "stop_pipeline");
    pipeline.catch_up();
    server.sql(TROUBLES[0].statements);
    refuses(&pipeline, 14, &["shop.bad"]);
}

#[test]
fn statements_that_change_no_row_and_no_column_are_passed() {
    let server = server(MySqlOptions::default());
    let pipeline = folder(&server);
    pipeline.catch_up();
    server.sql(
        "ALTER TABLE shop.bad ADD INDEX by_v (v); ALTER TABLE shop.bad COMMENT = 'ALTER TABLE shop.good DROP COLUMN v';
         CREATE INDEX other ON shop.bad (v); DROP INDEX other ON shop.bad; ANALYZE TABLE shop.bad; OPTIMIZE TABLE shop.bad;
         CREATE VIEW shop.look AS SELECT * FROM shop.bad; CREATE TABLE shop.unrelated (x INT PRIMARY KEY);
         ALTER TABLE shop.unrelated ADD COLUMN y INT; DROP TABLE shop.unrelated;
         CREATE USER somebody; GRANT SELECT ON shop.* TO somebody; DROP USER somebody;
         CREATE PROCEDURE shop.p() SELECT 'ALTER TABLE shop.bad DROP COLUMN v';
         INSERT INTO shop.bad VALUES (2, 'b')",
    );
    pipeline.catch_up();
    let events = view(&pipeline).events(Reader::Duckdb);
    assert_eq!(events[&("shop".to_owned(), "bad".to_owned())].ops(), ["c", "c"]);
}

#[test]
fn lost_partitions_stop_the_table() {
    for statement in [
        "ALTER TABLE shop.parts DROP PARTITION p1",
        "ALTER TABLE shop.parts TRUNCATE PARTITION p1",
        "ALTER TABLE shop.parts EXCHANGE PARTITION p1 WITH TABLE shop.swap",
    ] {
        let server = server(MySqlOptions::default());
        server.sql(
            "CREATE TABLE shop.parts (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p1 VALUES LESS THAN (10), \
             PARTITION p2 VALUES LESS THAN MAXVALUE);
             CREATE TABLE shop.swap (id INT PRIMARY KEY); INSERT INTO shop.parts VALUES (1), (20)",
        );
        let pipeline = folder(&server);
        pipeline.catch_up();
        server.sql(statement);
        catches_up_with(&pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
        let stopped = view(&pipeline).stopped();
        let table = &stopped[&("shop".to_owned(), "parts".to_owned())];
        assert_eq!(table.kind, "UnloggedChange", "{statement}: {table:?}");
    }
}

/// Cascades of foreign keys are in the log only where the server writes them (9.6 and later, unless
/// the engine does them itself).
#[test]
fn cascades_that_are_not_logged_stop_the_child_table_and_logged_ones_arrive() {
    let tables = "CREATE TABLE shop.parent (id INT PRIMARY KEY); \
                  CREATE TABLE shop.child (id INT PRIMARY KEY, parent INT, \
                  FOREIGN KEY (parent) REFERENCES shop.parent (id) ON DELETE CASCADE ON UPDATE CASCADE); \
                  INSERT INTO shop.parent VALUES (1), (2); INSERT INTO shop.child VALUES (10, 1), (20, 2)";
    let change = "UPDATE shop.parent SET id = 3 WHERE id = 2; DELETE FROM shop.parent WHERE id = 1";
    let child = ("shop".to_owned(), "child".to_owned());
    let native = server(MySqlOptions {
        extra: vec!["--innodb-native-foreign-keys=ON".into()],
        ..MySqlOptions::default()
    });
    native.sql(tables);
    native.sql(change);
    let pipeline = folder(&native);
    catches_up_with(&pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
    assert_eq!(view(&pipeline).stopped()[&child].kind, "UnloggedChange");
    let logged = server(MySqlOptions::default());
    logged.sql(tables);
    logged.sql(change);
    let pipeline = folder(&logged);
    pipeline.catch_up();
    let events = view(&pipeline).events(Reader::Duckdb);
    let source = expected::rows(&mut utc(&logged), "shop", "child", Mapping::default());
    assert_latest_is(&child, &events[&child], &["id"], source);
}

#[test]
fn a_dropped_table_keeps_its_history_and_its_successor_of_the_same_structure_goes_on() {
    let server = server(MySqlOptions::default());
    let pipeline = folder(&server);
    pipeline.catch_up();
    server.sql("DROP TABLE shop.bad; INSERT INTO shop.good VALUES (2, 'b')");
    let ended = finish(&pipeline, &["run", "--until-caught-up"]);
    assert!(matches!(ended.code, Some(0 | CAUGHT_UP_WITH_STOPPED_TABLES)), "{}", ended.printed());
    let events = view(&pipeline).events(Reader::Duckdb);
    let bad = &events[&("shop".to_owned(), "bad".to_owned())];
    assert_eq!(bad.ops()[0], "c", "what was captured stays");
    assert_eq!(events[&("shop".to_owned(), "good".to_owned())].ops(), ["c", "c"]);
}

//! Kinds of statements and transactions: what was committed is in the lake, in order, and nothing
//! else; names need care; every event says where it comes from.

use std::collections::BTreeSet;

use mysql::prelude::Queryable;
use serde_json::json;

use crate::expected::{self, Mapping};
use crate::lake::{Events, Reader, assert_latest_is};
use crate::world::{folder, server, utc, view, with};

fn ids(events: &Events) -> Vec<(String, Option<String>)> {
    events.ops().into_iter().zip(events.bare("id")).collect()
}

fn named(list: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
    list.iter().map(|(op, id)| ((*op).to_owned(), (!id.is_empty()).then(|| (*id).to_owned()))).collect()
}

#[test]
fn only_what_was_committed_arrives_and_in_order() {
    let server = server();
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20));
         CREATE TABLE shop.u (id INT PRIMARY KEY, v VARCHAR(20));
         INSERT INTO shop.t VALUES (1, 'a'), (2, 'b');
         START TRANSACTION; INSERT INTO shop.t VALUES (3, 'rolled back'); ROLLBACK;
         START TRANSACTION; INSERT INTO shop.t VALUES (4, 'd'); SAVEPOINT s; INSERT INTO shop.t VALUES (5, 'to savepoint');
         ROLLBACK TO s; UPDATE shop.t SET v = 'dd' WHERE id = 4; INSERT INTO shop.u VALUES (1, 'x'); COMMIT;
         UPDATE shop.t SET v = v;
         UPDATE shop.t SET id = 20 WHERE id = 2;
         REPLACE INTO shop.t VALUES (1, 'replaced');
         INSERT INTO shop.t VALUES (1, 'z') ON DUPLICATE KEY UPDATE v = 'on duplicate';
         INSERT IGNORE INTO shop.t VALUES (1, 'ignored');
         DELETE FROM shop.t WHERE id = 4;
         CREATE TEMPORARY TABLE shop.tmp (id INT); INSERT INTO shop.tmp VALUES (1); DROP TEMPORARY TABLE shop.tmp;
         CREATE TABLE shop.copy (PRIMARY KEY (id)) SELECT * FROM shop.t;
         TRUNCATE TABLE shop.u; INSERT INTO shop.u VALUES (7, 'after');
         FLUSH BINARY LOGS;
         UPDATE shop.t, shop.u SET shop.t.v = 'multi', shop.u.v = 'multi' WHERE shop.t.id = 1 AND shop.u.id = 7",
    );
    let pipeline = folder(&server);
    pipeline.catch_up();
    let view = view(&pipeline);
    let events = view.events(Reader::Duckdb);
    view.assert_dense(&events);
    let of = |table: &str| &events[&("shop".to_owned(), table.to_owned())];
    // REPLACE of an existing key is logged as an update or as delete and insert; the engine chooses.
    let t: Vec<_> = ids(of("t")).into_iter().filter(|(_, id)| id.as_deref() != Some("1")).collect();
    assert_eq!(t, named(&[("c", "2"), ("c", "4"), ("u", "4"), ("d", "2"), ("c", "20"), ("d", "4")]));
    assert_eq!(ids(of("u")), named(&[("c", "1"), ("t", ""), ("c", "7"), ("u", "7")]));
    let mut names: Vec<&str> = events.keys().map(|(_, table)| table.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["copy", "t", "u"]);
    for (name, events) in &events {
        let source = expected::rows(&mut utc(&server), "shop", &name.1, Mapping::default());
        assert_latest_is(name, events, &["id"], source);
    }
}

#[test]
fn names_with_any_character_are_kept() {
    let server = server();
    server.sql(
        "CREATE DATABASE `sp ace.dot`; CREATE DATABASE `ünï=%`;
         CREATE TABLE `sp ace.dot`.`_lead.ing/slash` (id INT PRIMARY KEY, `c o\"l``tick` INT, `select` INT, `Ünï_日本` TEXT, `a.b` INT);
         INSERT INTO `sp ace.dot`.`_lead.ing/slash` VALUES (1, 2, 3, 'x', 4);
         CREATE TABLE `ünï=%`.`%2F` (id INT PRIMARY KEY); INSERT INTO `ünï=%`.`%2F` VALUES (1);
         CREATE TABLE `ünï=%`.`/` (id INT PRIMARY KEY); INSERT INTO `ünï=%`.`/` VALUES (2);
         CREATE TABLE `ünï=%`.`..` (id INT PRIMARY KEY); INSERT INTO `ünï=%`.`..` VALUES (3)",
    );
    let pipeline = with(folder(&server), "tables/include", json!(["*.*"]));
    pipeline.catch_up();
    let view = view(&pipeline);
    view.assert_all_named();
    let root = std::fs::canonicalize(&view.root).unwrap();
    for path in view.files().into_values().flatten() {
        assert!(
            std::fs::canonicalize(&path).unwrap().starts_with(&root),
            "{} leaves the lake",
            path.display()
        );
    }
    for reader in [Reader::Duckdb, Reader::Pyarrow] {
        let events = view.events(reader);
        assert_eq!(events.len(), 4);
        for ((database, table), events) in &events {
            let source = expected::rows(&mut utc(&server), database, table, Mapping::default());
            assert_latest_is(&(database.clone(), table.clone()), events, &["id"], source);
        }
    }
}

#[test]
fn tables_are_chosen_by_pattern_and_others_take_no_number() {
    let server = server();
    server.sql(
        "CREATE DATABASE shop; CREATE DATABASE other;
         CREATE TABLE shop.orders (id INT PRIMARY KEY); CREATE TABLE shop.tmp_1 (id INT PRIMARY KEY);
         CREATE TABLE other.orders (id INT PRIMARY KEY);
         INSERT INTO shop.tmp_1 VALUES (1); INSERT INTO shop.orders VALUES (1); INSERT INTO other.orders VALUES (1);
         INSERT INTO shop.orders VALUES (2)",
    );
    let pipeline = with(folder(&server), "tables/exclude", json!(["*.tmp_*"]));
    pipeline.catch_up();
    let view = view(&pipeline);
    let events = view.events(Reader::Pyarrow);
    view.assert_dense(&events);
    assert_eq!(events.keys().map(|(_, table)| table.as_str()).collect::<Vec<_>>(), ["orders"]);
}

#[test]
fn every_event_says_where_it_comes_from() {
    let server = server();
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY)");
    let mut conn = server.conn();
    conn.query_drop("SET gtid_next = 'automatic:tagged'").unwrap();
    conn.query_drop("INSERT INTO shop.t VALUES (1)").unwrap();
    conn.query_drop("SET gtid_next = 'automatic'").unwrap();
    conn.query_drop("INSERT INTO shop.t VALUES (2), (3)").unwrap();
    let pipeline = folder(&server);
    pipeline.catch_up();
    let events = view(&pipeline).events(Reader::Pyarrow).remove(&("shop".into(), "t".into())).unwrap();
    let uuid = server.value("SELECT @@server_uuid");
    let gtids: Vec<String> = events.bare("_gtid").into_iter().flatten().collect();
    assert_eq!(gtids.len(), 3);
    assert!(gtids[0].starts_with(&format!("{uuid}:tagged:")), "{gtids:?}");
    assert_eq!(gtids[1], gtids[2]);
    assert!(gtids[1].starts_with(&format!("{uuid}:")) && !gtids[1].contains("tagged"), "{gtids:?}");
    let now: i64 = server.value("SELECT CAST(UNIX_TIMESTAMP() AS SIGNED)").parse().unwrap();
    for (commit, binlog) in events.bare("_commit_ts").into_iter().zip(events.bare("_binlog")) {
        let age = now - commit.unwrap().parse::<i64>().unwrap() / 1_000_000;
        assert!((-2..600).contains(&age), "committed {age} seconds ago");
        assert!(binlog.unwrap().starts_with("binlog."));
    }
    // The partition folder is the commit time, in UTC.
    let first = events.bare("_commit_ts")[0].clone().unwrap();
    let folder = server.value(&format!(
        "SELECT DATE_FORMAT(CONVERT_TZ(FROM_UNIXTIME({first} DIV 1000000), @@time_zone, '+00:00'), 'dt=%Y-%m-%d/hr=%H')"
    ));
    let files: BTreeSet<_> = view(&pipeline).files().into_values().flatten().collect();
    assert!(files.iter().any(|path| path.to_string_lossy().contains(&folder)), "{folder} in {files:?}");
    server.sql("INSERT INTO shop.t VALUES (4)");
    pipeline.catch_up();
    let events = view(&pipeline).events(Reader::Duckdb).remove(&("shop".into(), "t".into())).unwrap();
    assert_eq!(ids(&events), named(&[("c", "1"), ("c", "2"), ("c", "3"), ("c", "4")]));
}

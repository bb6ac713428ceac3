//! Where a pipeline begins and goes on: earliest, latest, a GTID set, file:offset; another server of
//! the same history; a position that the server no longer has.

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::{LIMIT, Pipeline, Signal};

use crate::lake::Reader;
use crate::world::{ended, finish, folder, refuses, server_with, set, view, wait_for_checkpoint, with};

fn server(gtid: bool) -> MySql {
    let server = server_with(MySqlOptions { gtid, ..MySqlOptions::default() });
    server
        .sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)");
    server
}

fn insert(server: &MySql, id: u32) {
    server.sql(&format!("INSERT INTO shop.t VALUES ({id})"));
}

fn ids(pipeline: &Pipeline) -> Vec<String> {
    let view = view(pipeline);
    let events = view.events(Reader::Duckdb);
    view.assert_dense(&events);
    let table = events.get(&("shop".to_owned(), "t".to_owned()));
    table.map_or_else(Vec::new, |events| events.bare("id").into_iter().flatten().collect())
}

/// The server's end as `file:offset`.
fn end_of_log(server: &MySql) -> String {
    let row = server.rows("SHOW BINARY LOG STATUS").remove(0);
    format!("{}:{}", row[0].as_deref().unwrap(), row[1].as_deref().unwrap())
}

#[test]
fn earliest_takes_everything_and_the_next_run_only_what_came_since() {
    for gtid in [true, false] {
        let server = server(gtid);
        server.sql("FLUSH BINARY LOGS");
        insert(&server, 2);
        let pipeline = folder(&server);
        pipeline.catch_up();
        assert_eq!(ids(&pipeline), ["1", "2"]);
        server.sql("FLUSH BINARY LOGS");
        insert(&server, 3);
        pipeline.catch_up();
        assert_eq!(ids(&pipeline), ["1", "2", "3"], "gtid {gtid}");
        let files = view(&pipeline).objects();
        pipeline.catch_up();
        assert_eq!(view(&pipeline).objects(), files, "nothing new, no new file");
    }
}

#[test]
fn latest_takes_what_comes_after_the_first_start_even_over_a_kill() {
    for gtid in [true, false] {
        let server = server(gtid);
        let pipeline = with(folder(&server), "start", "latest");
        let mut run = pipeline.start(&["run"]);
        wait_for_checkpoint(&pipeline, &mut run);
        insert(&server, 2);
        run.signal(Signal::Kill);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
        insert(&server, 3);
        pipeline.catch_up();
        assert_eq!(ids(&pipeline), ["2", "3"], "gtid {gtid}");
    }
}

#[test]
fn a_given_gtid_set_or_place_in_the_log_is_where_it_starts() {
    let server = server(true);
    let executed = server.value("SELECT @@gtid_executed").replace('\n', "");
    let place = end_of_log(&server);
    insert(&server, 2);
    for start in [executed, place.clone()] {
        let pipeline = with(folder(&server), "start", start.as_str());
        pipeline.catch_up();
        assert_eq!(ids(&pipeline), ["2"], "start {start}");
        let shown = finish(&pipeline, &["position", "show"]);
        assert_eq!(shown.code, Some(0), "{}", shown.printed());
        assert!(shown.stdout.contains(&server.value("SELECT @@server_uuid")), "{}", shown.printed());
        let json = finish(&pipeline, &["position", "show", "--json"]);
        assert!(serde_json::from_str::<serde_json::Value>(&json.stdout).is_ok(), "{}", json.printed());
    }
    let nowhere = with(folder(&server), "start", "binlog.000777:4");
    refuses(&nowhere, 12, &["binlog.000777"]);
}

#[test]
fn a_purged_position_is_told_before_anything_is_written() {
    for gtid in [true, false] {
        let server = server(gtid);
        let pipeline = folder(&server);
        pipeline.catch_up();
        insert(&server, 2);
        server.sql("FLUSH BINARY LOGS");
        insert(&server, 3);
        server.purge_logs();
        refuses(&pipeline, 12, &["purged", "retention"]);
        assert_eq!(ids(&pipeline), ["1"]);
    }
}

#[test]
fn a_server_that_was_reset_is_not_taken_for_the_same() {
    for gtid in [true, false] {
        let server = server(gtid);
        let pipeline = folder(&server);
        for id in 2..30 {
            insert(&server, id);
        }
        pipeline.catch_up();
        server.sql("RESET BINARY LOGS AND GTIDS");
        insert(&server, 99);
        refuses(&pipeline, 12, &[]);
    }
}

#[test]
fn a_replica_that_took_over_goes_on_and_a_stranger_is_refused() {
    let old = server(true);
    let new = MySql::start(MySqlOptions { time_zone: "+05:30".into(), ..MySqlOptions::default() });
    let mut pipeline = folder(&old);
    pipeline.catch_up();
    insert(&old, 2);
    old.sql("CREATE USER copy@'%' IDENTIFIED BY 'copy'; GRANT REPLICATION SLAVE ON *.* TO copy@'%'");
    // A server without our history, though it has GTIDs.
    new.sql("CREATE USER lakeward_stranger@'%' IDENTIFIED BY 'x'");
    set(&mut pipeline, "source/mysql/port", new.port());
    set(&mut pipeline, "source/mysql/user", "root");
    set(&mut pipeline, "source/mysql/password", "");
    refuses(&pipeline, 12, &[]);
    new.sql(&format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = 'copy', \
         SOURCE_PASSWORD = 'copy', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA",
        old.port()
    ));
    let executed = old.value("SELECT @@gtid_executed").replace('\n', "");
    assert_eq!(new.value(&format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 300)")), "0");
    new.sql("STOP REPLICA; RESET REPLICA ALL; FLUSH BINARY LOGS");
    drop(old);
    insert(&new, 3);
    pipeline.catch_up();
    assert_eq!(ids(&pipeline), ["1", "2", "3"]);
}

#[test]
fn an_idle_pipeline_moves_on_so_that_its_position_is_not_purged() {
    let server = server(true);
    server.sql("CREATE DATABASE other; CREATE TABLE other.t (id INT PRIMARY KEY AUTO_INCREMENT)");
    let pipeline = folder(&server);
    pipeline.catch_up();
    for _ in 0..20 {
        server.sql("INSERT INTO other.t VALUES (); FLUSH BINARY LOGS");
    }
    pipeline.catch_up();
    server.purge_logs();
    insert(&server, 2);
    pipeline.catch_up();
    assert_eq!(ids(&pipeline), ["1", "2"]);
}

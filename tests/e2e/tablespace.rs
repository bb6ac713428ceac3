//! Rows that come as files: DISCARD TABLESPACE, other files in their place, IMPORT TABLESPACE. No row event tells
//! of any of it, and the lake never differs from the source in silence: what is discarded is void, what is
//! imported is read, and where rows cannot be read the table stops with place, statement and remedy.

use std::fs;
use std::path::PathBuf;

use lakeward_test_support::Pipeline;
use lakeward_test_support::mysql::MySql;
use mysql::prelude::Queryable;

use crate::expected::{self, Mapping};
use crate::lake::{Reader, Stopped, assert_latest_is};
use crate::snapshot::pipeline::initial;
use crate::world::{
    CAUGHT_UP_WITH_STOPPED_TABLES, catches_up_with, finish, folder, server, stop, utc, view,
    wait_for_checkpoint, wait_until_complete,
};

/// The files of a table, as they were when they were exported.
pub(crate) struct Exported(Vec<(PathBuf, Vec<u8>)>);

impl Exported {
    /// Those of a table, all its partitions included.
    pub(crate) fn of(server: &MySql, database: &str, table: &str) -> Exported {
        let mut conn = server.conn();
        conn.query_drop(format!("FLUSH TABLES {database}.{table} FOR EXPORT"))
            .expect("the table can be exported");
        let is_of_table = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(&format!("{table}.")) || name.starts_with(&format!("{table}#p#"))
        };
        let folder = fs::read_dir(server.data().join(database)).expect("the database has a folder");
        let paths = folder.map(|entry| entry.expect("the folder can be listed").path()).filter(is_of_table);
        let files = paths.map(|path| (path.clone(), fs::read(path).expect("a file can be read"))).collect();
        conn.query_drop("UNLOCK TABLES").expect("the export can be ended");
        Exported(files)
    }

    /// Puts them where the server looks for them; of what is there now, nothing changes.
    pub(crate) fn put_back(&self) {
        for (path, bytes) in self.0.iter().filter(|(path, _)| !path.exists()) {
            fs::write(path, bytes).expect("a file can be written");
        }
    }
}

/// `shop.t` with rows; its files as they were; and others of its rows since then.
fn exported(partitions: &str) -> (MySql, Exported) {
    let server = server();
    server.sql(&format!(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(10)) {partitions}; \
         INSERT INTO shop.t VALUES (1, 'a'), (2, 'b'), (20, 'c')"
    ));
    let files = Exported::of(&server, "shop", "t");
    server.sql(
        "DELETE FROM shop.t WHERE id = 1; UPDATE shop.t SET v = 'later'; INSERT INTO shop.t VALUES (9, 'z')",
    );
    (server, files)
}

fn assert_equal(server: &MySql, pipeline: &Pipeline) {
    let view = view(pipeline);
    assert!(view.stopped().is_empty(), "{:?}", view.stopped());
    let events = view.events(Reader::Duckdb);
    view.assert_dense(&events);
    let name = ("shop".to_owned(), "t".to_owned());
    let source = expected::rows(&mut utc(server), "shop", "t", Mapping::default());
    assert_latest_is(&name, &events[&name], &["id"], source);
}

/// Rows of `shop.t` that no mark voids in the lake.
fn living(pipeline: &Pipeline) -> usize {
    let events = &view(pipeline).events(Reader::Duckdb)[&("shop".to_owned(), "t".to_owned())];
    events.latest(&["id".to_owned()], &["id"]).len()
}

fn stopped(pipeline: &Pipeline) -> Stopped {
    catches_up_with(pipeline, CAUGHT_UP_WITH_STOPPED_TABLES);
    view(pipeline).stopped()[&("shop".to_owned(), "t".to_owned())].clone()
}

fn resume(pipeline: &Pipeline) {
    let asked = finish(pipeline, &["resume", "shop.t", "--no-wait"]);
    assert_eq!(asked.code, Some(0), "{}", asked.printed());
    pipeline.catch_up();
}

#[test]
fn what_is_imported_is_read() {
    let (server, files) = exported("");
    let pipeline = initial(&server);
    pipeline.catch_up();
    assert_eq!(living(&pipeline), 3);
    server.sql("ALTER TABLE shop.t DISCARD TABLESPACE");
    pipeline.catch_up();
    assert_eq!(living(&pipeline), 0, "its rows are gone, as after TRUNCATE");
    files.put_back();
    server.sql("ALTER TABLE shop.t IMPORT TABLESPACE; INSERT INTO shop.t VALUES (30, 'new')");
    pipeline.catch_up();
    assert_equal(&server, &pipeline);
    // Both statements at once, met by a run that was not there, and by one that is.
    let files = Exported::of(&server, "shop", "t");
    let refresh = || {
        server.sql("UPDATE shop.t SET v = 'since'; ALTER TABLE shop.t DISCARD TABLESPACE");
        files.put_back();
        server.sql("ALTER TABLE shop.t IMPORT TABLESPACE; DELETE FROM shop.t WHERE id = 2");
    };
    refresh();
    let mut run = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut run);
    refresh();
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    pipeline.catch_up();
    assert_equal(&server, &pipeline);
}

#[test]
fn where_rows_are_not_read_an_import_stops_the_table() {
    let (server, files) = exported("");
    let pipeline = folder(&server);
    pipeline.catch_up();
    server.sql("ALTER TABLE shop.t DISCARD TABLESPACE");
    pipeline.catch_up();
    assert_eq!(living(&pipeline), 0, "its rows are gone, as after TRUNCATE");
    files.put_back();
    server.sql("ALTER TABLE shop.t IMPORT TABLESPACE; INSERT INTO shop.t VALUES (30, 'new')");
    let stopped = stopped(&pipeline);
    println!("{stopped:?}");
    assert!(stopped.message.contains("ALTER TABLE shop.t IMPORT TABLESPACE"), "{stopped:?}");
    assert!(stopped.remedy.is_some_and(|remedy| remedy.contains("lakeward resume shop.t")));
    resume(&pipeline);
    assert_equal(&server, &pipeline);
}

#[test]
fn rows_that_cannot_be_read_stop_the_table() {
    let (server, files) = exported(
        "PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    );
    let pipeline = initial(&server);
    pipeline.catch_up();
    server.sql("ALTER TABLE shop.t DISCARD PARTITION p0 TABLESPACE");
    let stopped = stopped(&pipeline);
    assert_eq!(stopped.kind, "UnloggedChange", "{stopped:?}");
    assert!(stopped.message.contains("iscarded"), "{stopped:?}");
    let remedy = stopped.remedy.as_deref().unwrap_or_default();
    assert!(remedy.contains("IMPORT TABLESPACE") && remedy.contains("lakeward resume"), "{stopped:?}");
    files.put_back();
    server.sql("ALTER TABLE shop.t IMPORT PARTITION p0 TABLESPACE");
    resume(&pipeline);
    assert_equal(&server, &pipeline);
}

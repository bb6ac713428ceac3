//! Pipelines that begin with the rows that are there, and waiting for those.

use std::thread::JoinHandle;
use std::time::Duration;

use lakeward_test_support::mysql::{MySql, MySqlOptions, USER};
use lakeward_test_support::{LIMIT, Lakeward, Pipeline, wait_until};

use mysql::prelude::Queryable;

use crate::lake::Name;
use crate::world::{folder, server_with, set, view};

/// A server with a database `shop`, and `numbers.all_numbers` with the numbers from 1 to `numbers`.
pub(crate) fn server_with_numbers(numbers: u64, mut options: MySqlOptions) -> MySql {
    options.extra.push("--innodb-buffer-pool-size=512M".into());
    options.extra.push("--innodb-redo-log-capacity=1G".into());
    let server = server_with(options);
    server.sql(&format!(
        "CREATE DATABASE shop; SET SESSION sql_log_bin = 0; SET SESSION cte_max_recursion_depth = {numbers};
         CREATE DATABASE numbers; CREATE TABLE numbers.all_numbers (i INT PRIMARY KEY);
         INSERT INTO numbers.all_numbers WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {numbers}) \
         SELECT i FROM n"
    ));
    server
}

/// A pipeline of `shop` that reads existing rows once.
pub(crate) fn initial(server: &MySql) -> Pipeline {
    let mut pipeline = folder(server);
    read_existing_rows(&mut pipeline);
    pipeline
}

/// Makes it one that reads existing rows once.
pub(crate) fn read_existing_rows(pipeline: &mut Pipeline) {
    set(pipeline, "snapshot/mode", "initial");
    pipeline.config.as_object_mut().expect("a config is an object").remove("start");
}

/// Allows lakeward to lock tables for an instant, as tables without a key and servers without GTIDs need
/// it, and lets the pipeline do so.
pub(crate) fn allow_locks(server: &MySql, pipeline: &mut Pipeline) {
    server.sql(&format!("GRANT LOCK TABLES ON *.* TO {USER}@'%'"));
    set(pipeline, "snapshot/lock", "tables");
}

/// Whether every one of `tables` has been read, as of the last checkpoint.
pub(crate) fn are_read(pipeline: &Pipeline, tables: &[Name]) -> bool {
    let states = view(pipeline).snapshot_states();
    tables.iter().all(|table| states.get(table).is_some_and(|state| state == "done"))
}

/// Waits until the running pipeline has read all of `tables`.
pub(crate) fn wait_until_read(pipeline: &Pipeline, run: &mut Lakeward, tables: &[Name], limit: Duration) {
    wait_until("the tables to be read", limit, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        assert!(view(pipeline).stopped().is_empty(), "{:?}", view(pipeline).stopped());
        are_read(pipeline, tables).then_some(())
    });
}

/// Rows that files hold so far.
pub(crate) fn rows_in_lake(pipeline: &Pipeline) -> u64 {
    let records = view(pipeline).records();
    let files = records.iter().flat_map(|record| record["files"].as_array().into_iter().flatten());
    files.filter_map(|file| file["rows"].as_u64()).sum()
}

/// Sessions that keep a thread of the server running each; they end when this is dropped.
pub(crate) struct Busy {
    server: mysql::Conn,
    sessions: Vec<(u32, JoinHandle<()>)>,
}

/// Starts so many of them, and waits until they run.
pub(crate) fn busy_threads(server: &MySql, count: u64) -> Busy {
    let sessions = (0..count).map(|_| {
        let mut conn = server.conn();
        let id = conn.connection_id();
        (id, std::thread::spawn(move || drop(conn.query_drop("SELECT SLEEP(600)"))))
    });
    let busy = Busy { server: server.conn(), sessions: sessions.collect() };
    wait_until("running threads", LIMIT, || {
        let running = server.rows("SHOW GLOBAL STATUS LIKE 'Threads_running'");
        let running: u64 = running.first()?.get(1)?.as_deref()?.parse().ok()?;
        (running >= count).then_some(())
    });
    busy
}

impl Drop for Busy {
    fn drop(&mut self) {
        for (id, session) in self.sessions.drain(..) {
            self.server.query_drop(format!("KILL {id}")).expect("a session can be ended");
            session.join().expect("its thread ends");
        }
    }
}

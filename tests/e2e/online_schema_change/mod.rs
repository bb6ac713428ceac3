//! gh-ost and pt-online-schema-change: their runs, with live traffic, are one schema change of the real
//! table. Ghost rows never reach the lake, and nothing is read again; where a run, or what looks like one, leaves a doubt,
//! the table is read anew.

mod gh_ost;
mod pt_osc;
mod read_anew;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};
use lakeward_test_support::{LIMIT, Lakeward, Pipeline, Random, seed, wait_until};
use mysql::prelude::Queryable;

use crate::lake::{LakeView, Name};
use crate::snapshot::pipeline::{initial, wait_until_read};
use crate::whole::{Keyed, assert_equal};
use crate::world::{server_with, stop, view, wait_until_complete};

const ROWS: u64 = 3000;

/// A server with `shop.orders`, and a running pipeline that has read it.
fn begin(row_metadata: RowMetadata) -> (MySql, Pipeline, Lakeward) {
    let server = server_with(MySqlOptions { row_metadata, ..MySqlOptions::default() });
    server.sql(&format!(
        "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT NOT NULL PRIMARY KEY, n INT NOT NULL, note VARCHAR(40));
         SET SESSION cte_max_recursion_depth = {ROWS};
         INSERT INTO shop.orders WITH RECURSIVE i (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < {ROWS}) \
         SELECT i, 1, CONCAT('order ', i) FROM i"
    ));
    let pipeline = initial(&server);
    let mut run = pipeline.start(&["run"]);
    wait_until_read(&pipeline, &mut run, &[orders()], LIMIT);
    wait_until("the first version", LIMIT, || (versions(&view(&pipeline)) == 1).then_some(()));
    (server, pipeline, run)
}

fn orders() -> Name {
    ("shop".to_owned(), "orders".to_owned())
}

/// One change of `shop.orders`; answers the ids it touches.
fn change(conn: &mut mysql::Conn, random: &mut Random) -> Vec<u64> {
    let (id, other) = (1 + random.below(ROWS + ROWS / 5), 1 + random.below(ROWS));
    let (statement, ids) = match random.below(6) {
        0 | 1 => (
            format!(
                "INSERT INTO shop.orders (id, n, note) VALUES ({id}, 1, 'new') ON DUPLICATE KEY UPDATE n = n + 1"
            ),
            vec![id],
        ),
        2 | 3 => {
            (format!("UPDATE shop.orders SET n = n + 1, note = 'changed {other}' WHERE id = {id}"), vec![id])
        }
        4 => (
            format!("UPDATE IGNORE shop.orders SET id = {other}, n = n + 1 WHERE id = {id}"),
            vec![id, other],
        ),
        _ => (format!("DELETE FROM shop.orders WHERE id = {id}"), vec![id]),
    };
    conn.query_drop(&statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
    ids
}

/// A writer to `shop.orders` in a thread of its own, until it is told to end.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Writer {
    fn start(server: &MySql) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut conn, mut random) = (stop.clone(), server.conn(), Random::new(seed()));
        let thread = std::thread::spawn(move || {
            let mut changes = 0;
            while !stopped.load(Ordering::Relaxed) {
                change(&mut conn, &mut random);
                changes += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            changes
        });
        Writer { stop, thread }
    }

    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer does not fail")
    }
}

/// How many versions of `shop.orders` the lake knows.
fn versions(view: &LakeView) -> usize {
    let folder = view.root.join("_lakeward").join(&view.pipeline).join("schemas/shop/orders");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Ends the run and checks what an online schema change must leave behind.
fn check(server: &MySql, pipeline: &Pipeline, mut run: Lakeward) {
    wait_until_complete(pipeline, server, &mut run);
    stop(&mut run);
    pipeline.catch_up();
    let view = view(pipeline);
    assert!(view.stopped().is_empty(), "{:?}", view.stopped());
    let ops = assert_equal(server, &view, &[Keyed::shop("orders", &["id"])]).remove(0);
    let tables: Vec<Name> = view.files().into_keys().collect();
    assert_eq!(tables, [orders()], "no ghost table is in the lake");
    let objects = view.objects();
    assert!(objects.iter().all(|path| path.starts_with(view.root.join("shop/orders"))), "{objects:?}");
    assert_eq!(ops.get("r"), Some(&ROWS), "nothing was read again: {ops:?}");
    assert_eq!(ops.get("t"), None, "nothing was voided: {ops:?}");
    assert_eq!(versions(&view), 2, "it was one schema change");
}

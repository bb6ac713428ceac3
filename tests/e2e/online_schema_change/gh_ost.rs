//! gh-ost's statements, as its source writes them (`go/logic/applier.go`, `go/sql/builder.go`): the ghost
//! and changelog tables, the copy in chunks, the changes of the log applied to the ghost, and the atomic
//! cut-over of two sessions with its sentry table.

use lakeward_test_support::mysql::{MySql, RowMetadata};
use lakeward_test_support::{LIMIT, Random, seed, wait_until};
use mysql::Conn;
use mysql::prelude::Queryable;
use std::collections::BTreeSet;

use super::{ROWS, begin, change, check};

/// What the run is asked to do.
struct Migration {
    alter: &'static str,
    /// Name of the old table after the cut-over.
    old: &'static str,
}

fn run(conn: &mut Conn, statement: &str) {
    conn.query_drop(statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
}

fn changelog(conn: &mut Conn, id: u64, hint: &str, value: &str) {
    run(
        conn,
        &format!(
            "insert /* gh-ost */ into `shop`.`_orders_ghc` (id, hint, value) values (NULLIF({id}, 0), '{hint}', '{value}') \
             on duplicate key update last_update=NOW(), value=VALUES(value)"
        ),
    );
}

fn prepare(conn: &mut Conn, migration: &Migration) {
    run(conn, "drop /* gh-ost */ table if exists `shop`.`_orders_ghc`");
    run(
        conn,
        "create /* gh-ost */ table `shop`.`_orders_ghc` (id bigint unsigned auto_increment, \
         last_update timestamp not null DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
         hint varchar(64) charset ascii not null, value varchar(4096) charset ascii not null, \
         primary key(id), unique key hint_uidx(hint)) auto_increment=256 comment='gh-ost changelog'",
    );
    run(conn, "create /* gh-ost */ table `shop`.`_orders_gho` like `shop`.`orders`");
    run(conn, &format!("alter /* gh-ost */ table `shop`.`_orders_gho` {}", migration.alter));
    changelog(conn, 2, "state", "GhostTableMigrated");
}

/// Applies to the ghost what the log says of these rows: each is deleted, and put as it is now.
fn apply(conn: &mut Conn, ids: &BTreeSet<u64>) {
    for id in ids {
        run(
            conn,
            &format!(
                "delete /* gh-ost `shop`.`_orders_gho` */ from `shop`.`_orders_gho` where ((`id` = {id}))"
            ),
        );
        run(
            conn,
            &format!(
                "replace /* gh-ost `shop`.`_orders_gho` */ into `shop`.`_orders_gho` (`id`, `n`, `note`) \
                 select `id`, `n`, `note` from `shop`.`orders` where id = {id}"
            ),
        );
    }
}

fn copy(conn: &mut Conn, from: u64, to: u64) {
    run(
        conn,
        &format!(
            "insert /* gh-ost `shop`.`orders` */ ignore into `shop`.`_orders_gho` (`id`, `n`, `note`) \
             (select `id`, `n`, `note` from `shop`.`orders` force index (`PRIMARY`) \
             where (((`id` > _binary'{from}')) and ((`id` < _binary'{to}') or ((`id` = _binary'{to}')))) lock in share mode)"
        ),
    );
}

/// Waits until a session waits for a metadata lock.
fn wait_for_blocked(server: &MySql, statement: &str) {
    wait_until(statement, LIMIT, || {
        let waiting = server.value(&format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE '%metadata lock%' AND info LIKE '%{statement}%'"
        ));
        (waiting != "0").then_some(())
    });
}

/// Two sessions: one holds the tables locked while the other's RENAME waits, and goes first when they
/// are unlocked; a writer that waits meanwhile finds the new table.
fn cut_over(server: &MySql, conn: &mut Conn, migration: &Migration, backlog: &BTreeSet<u64>) {
    let old = migration.old;
    let mut locking = server.conn();
    // As long as the waits below: gh-ost itself, with 3 and 6 seconds, would try again.
    let patient = format!("set /* gh-ost */ session lock_wait_timeout:={}", LIMIT.as_secs());
    run(&mut locking, "select /* gh-ost */ get_lock('gh-ost.lock', 0)");
    run(&mut locking, &patient);
    run(conn, &format!("drop /* gh-ost */ table if exists `shop`.`{old}`"));
    run(
        conn,
        &format!(
            "create /* gh-ost */ table `shop`.`{old}` (id int auto_increment primary key) engine=InnoDB \
             comment='ghost-cut-over-sentry'"
        ),
    );
    run(&mut locking, &format!("lock /* gh-ost */ tables `shop`.`orders` write, `shop`.`{old}` write"));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            run(&mut server.conn(), "INSERT INTO shop.orders (id, n, note) VALUES (-1, 1, 'blocked')")
        });
        wait_for_blocked(server, "blocked");
        changelog(conn, 0, "state at lock", "AllEventsUpToLockProcessed");
        // The backlog comes from the log that gh-ost reads: the original is locked.
        assert!(backlog.is_empty(), "the test has applied it before");
        let renaming = scope.spawn(|| {
            let mut renaming = server.conn();
            run(&mut renaming, &patient);
            run(
                &mut renaming,
                &format!(
                    "rename /* gh-ost */ table `shop`.`orders` to `shop`.`{old}`, `shop`.`_orders_gho` to `shop`.`orders`"
                ),
            );
        });
        wait_for_blocked(server, "rename /* gh-ost */");
        run(&mut locking, &format!("drop /* gh-ost */ table if exists `shop`.`{old}`"));
        wait_until("the RENAME to be next at the original table", LIMIT, || {
            let pending = server.value(
                "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE object_schema = 'shop' \
                 AND object_name = 'orders' AND lock_type = 'EXCLUSIVE' AND lock_status = 'PENDING'",
            );
            (pending != "0").then_some(())
        });
        run(&mut locking, "unlock /* gh-ost */ tables");
        renaming.join().expect("the tables are renamed");
        writer.join().expect("the writer goes on");
    });
}

fn migrate(row_metadata: RowMetadata, migration: &Migration) {
    let (server, pipeline, lakeward) = begin(row_metadata);
    let (mut conn, mut writer) = (server.conn(), server.conn());
    let mut random = Random::new(seed());
    prepare(&mut conn, migration);
    let mut touched = BTreeSet::new();
    for chunk in 0..ROWS * 6 / 5 / 200 {
        copy(&mut conn, chunk * 200, (chunk + 1) * 200);
        for _ in 0..20 {
            touched.extend(change(&mut writer, &mut random));
        }
        apply(&mut conn, &touched);
        touched.clear();
        changelog(&mut conn, 1, "heartbeat", &format!("chunk {chunk}"));
    }
    cut_over(&server, &mut conn, migration, &touched);
    run(&mut conn, "drop /* gh-ost */ table if exists `shop`.`_orders_ghc`");
    run(&mut conn, &format!("drop /* gh-ost */ table if exists `shop`.`{}`", migration.old));
    for _ in 0..50 {
        change(&mut writer, &mut random);
    }
    check(&server, &pipeline, lakeward);
}

const ADD_COLUMN: Migration =
    Migration { alter: "ADD COLUMN added INT, MODIFY note VARCHAR(300)", old: "_orders_del" };

#[test]
fn gh_ost_is_one_schema_change() {
    migrate(RowMetadata::Full, &ADD_COLUMN);
}

#[test]
fn gh_ost_is_one_schema_change_with_minimal_metadata() {
    migrate(RowMetadata::Minimal, &ADD_COLUMN);
}

#[test]
fn gh_ost_with_the_time_in_the_old_tables_name() {
    let widened = Migration { alter: "MODIFY n BIGINT NOT NULL", old: "_orders_20260102030405_del" };
    migrate(RowMetadata::Full, &widened);
}

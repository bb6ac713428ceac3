//! Parts of tables that are read anew: what vanished unseen is deleted, within the part and outside of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lakeward_core::{Command, Op, SnapshotState};
use lakeward_test_support::mysql::MySqlOptions;

use crate::keys::{KEYS, ROWS, Stops, fill, write};
use crate::lake::{Lake, Setup, is_settled, server, server_pairs, table};
use crate::requests::{answer, request};

fn part(id: &str, name: &str, condition: &str) -> lakeward_core::Request {
    request(id, Command::Snapshot { table: table(name), condition: Some(condition.to_owned()) })
}

#[test]
fn keys_of_every_kind_that_vanished_unseen_are_deleted_under_a_writer() {
    let server = server(MySqlOptions::default());
    for (name, columns, values) in KEYS {
        fill(&server, name, columns, values);
    }
    for seed in [3, 4] {
        println!("seed {seed}");
        let stop = Arc::new(AtomicBool::new(false));
        let mut lake = Lake::default();
        std::thread::scope(|scope| {
            let _stops = Stops(&stop);
            let mut run = Setup::default().open(&server).unwrap();
            run.until_equal(&server, &mut lake);
            for (name, ..) in KEYS {
                server.sql(&format!(
                    "SET sql_log_bin = 0; DELETE FROM shop.{name} WHERE n % 7 = {seed}; \
                     UPDATE shop.{name} SET v = 77 WHERE n % 3 = 0 AND n % 11 = 0"
                ));
            }
            let writer = scope.spawn(|| write(&server, KEYS, seed, &stop));
            let parts: Vec<_> = KEYS
                .iter()
                .enumerate()
                .map(|(at, (name, ..))| part(&format!("{at:03}"), name, "n % 3 = 0"))
                .collect();
            let last = parts.last().unwrap().id.clone();
            run.ask(parts);
            run.until(&mut lake, |lake| answer(lake, &last).is_some());
            run.until(&mut lake, is_settled);
            stop.store(true, Ordering::SeqCst);
            writer.join().unwrap();
            run.until_equal(&server, &mut lake);
        });
        for (name, ..) in KEYS {
            assert_eq!(
                lake.pairs(name, "n", "v"),
                server_pairs(&server, name, "n", "v"),
                "{name}, seed {seed}"
            );
            assert!(lake.count(name, Op::Delete) >= ROWS as usize / 8, "{name}: what vanished was deleted");
            assert_eq!(lake.count(name, Op::Truncate), 0, "{name}");
        }
    }
}

#[test]
fn a_part_of_a_table_that_is_empty_now_deletes_all_that_the_lake_has() {
    let server = server(MySqlOptions::default());
    server.sql("CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); INSERT INTO shop.t VALUES (1, 1), (2, 2)");
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    server.sql("SET sql_log_bin = 0; DELETE FROM shop.t");
    run.ask(vec![part("1", "t", "v = 1")]);
    run.until(&mut lake, |lake| answer(lake, "1").is_some());
    run.until(&mut lake, is_settled);
    assert_eq!((lake.latest("t").len(), lake.count("t", Op::Delete)), (0, 2));
}

#[test]
fn rows_that_differ_by_case_alone_do_not_stand_for_each_other() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (k VARCHAR(9) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, n INT, v INT); \
         INSERT INTO shop.t VALUES ('abc', 1, 1), ('b', 2, 2)",
    );
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    server
        .sql("SET sql_log_bin = 0; DELETE FROM shop.t WHERE n = 1; INSERT INTO shop.t VALUES ('ÀBC', 1, 5)");
    run.ask(vec![part("1", "t", "n = 1")]);
    run.until(&mut lake, |lake| answer(lake, "1").is_some());
    run.until(&mut lake, is_settled);
    assert_eq!(lake.pairs("t", "n", "v"), [(1, 5), (2, 2)]);
}

/// `cp932` has two codes for some characters: the server's own may not be the one that is sought first.
#[test]
fn text_with_a_second_code_for_its_character_is_not_deleted() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (k VARCHAR(9) CHARACTER SET cp932 COLLATE cp932_bin PRIMARY KEY, n INT, v INT); \
         INSERT INTO shop.t VALUES (_cp932 x'ED40', 1, 1), (_cp932 x'FA4A', 2, 2), ('x', 4, 4)",
    );
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    server.sql("SET sql_log_bin = 0; DELETE FROM shop.t WHERE n = 4");
    run.ask(vec![part("1", "t", "n > 3")]);
    run.until(&mut lake, |lake| answer(lake, "1").is_some());
    run.until(&mut lake, is_settled);
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
}

#[test]
fn a_run_that_was_cut_off_compares_again() {
    let server = server(MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); SET cte_max_recursion_depth = 1000000; INSERT INTO shop.t \
         WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) SELECT n, 0 FROM s",
    );
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    server.sql("SET sql_log_bin = 0; DELETE FROM shop.t WHERE n % 3 = 0");
    run.ask(vec![part("1", "t", "n < 100")]);
    run.until(&mut lake, |lake| lake.count("t", Op::Delete) > 2_000);
    assert!(matches!(lake.state("t"), SnapshotState::Open(_)), "it is in the middle");
    drop(run);
    lake.crash();
    // It comes back: where it was not told as vanished before, it never is.
    let untold = lake.pairs("t", "n", "v").contains(&(3, 0));
    server.sql("INSERT INTO shop.t VALUES (3, 3); DELETE FROM shop.t WHERE n = 10000");
    let mut run = Setup::resumed(&lake).open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
    let deletes = lake.count("t", Op::Delete) + usize::from(untold);
    assert!((6_667..=6_670).contains(&deletes), "what is deleted is not deleted again: {deletes}");
}

//! Rows that vanished from the server unseen, while a part of their table is read anew: within the part
//! and outside of it, under live writers, over kills, on a folder and on S3.

use std::time::Duration;

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::{LIMIT, Lister, Pipeline, seed, wait_until};

use super::fire::{Fire, Target};
use super::keys::kind;
use super::pipeline::{read_existing_rows, server_with_numbers, wait_until_read};
use crate::crash::key_failpoints;
use crate::whole::{Ops, assert_equal};
use crate::world::{Store, ended, finish, restless, set, stop, stored, view, wait_until_complete};

const ROWS: u64 = 20_000;

/// Kinds of keys whose values take different ways from the lake to the server.
const KINDS: &[&str] =
    &["counted", "composite", "labels_and_instants", "gbk", "case_insensitive", "unique_only"];

fn create(server: &MySql) -> Vec<Target> {
    KINDS.iter().map(|name| Target::create(server, kind(name), name, ROWS)).collect()
}

fn names(targets: &[Target]) -> Vec<(String, String)> {
    targets.iter().map(|target| ("shop".to_owned(), target.table.clone())).collect()
}

fn compare(server: &MySql, pipeline: &Pipeline, targets: &[Target]) -> Vec<Ops> {
    let keyed: Vec<_> = targets.iter().map(|target| target.kind.keyed(&target.table)).collect();
    assert_equal(server, &view(pipeline), &keyed)
}

/// The note of a row holds its number: a tenth of the rows vanishes, all over the table.
fn delete_unseen(server: &MySql, table: &str, digit: u32) {
    server.sql(&format!("SET SESSION sql_log_bin = 0; DELETE FROM shop.{table} WHERE note LIKE '%{digit}'"));
}

/// Half of the rows.
const PART: &str = "note LIKE '%2' OR note LIKE '%4' OR note LIKE '%6' OR note LIKE '%8' OR n > 1";

fn vanished_under_writers(store: Store) {
    let server = server_with_numbers(ROWS, MySqlOptions::default());
    let targets = create(&server);
    let (mut pipeline, _s3) = stored(&server, store);
    read_existing_rows(&mut pipeline);
    set(&mut pipeline, "lake/commit/interval", "300ms");
    let mut run = pipeline.start(&["run"]);
    wait_until_read(&pipeline, &mut run, &names(&targets), LIMIT);
    let fire = Fire::start(&server, &targets, seed(), 2, Duration::from_millis(3));
    for target in &targets {
        delete_unseen(&server, &target.table, 2);
        delete_unseen(&server, &target.table, 3);
        let asked = finish(&pipeline, &["snapshot", &format!("shop.{}", target.table), "--where", PART]);
        assert_eq!(asked.code, Some(0), "{}", asked.printed());
    }
    wait_until_read(&pipeline, &mut run, &names(&targets), LIMIT);
    let transactions = fire.finish();
    wait_until_complete(&pipeline, &server, &mut run);
    stop(&mut run);
    for (target, ops) in targets.iter().zip(compare(&server, &pipeline, &targets)) {
        let count = |op: &str| ops.get(op).copied().unwrap_or(0);
        assert!(count("d") >= ROWS / 10, "{}: what vanished was deleted: {ops:?}", target.table);
        assert_eq!(count("t"), 0, "{}: {ops:?}", target.table);
    }
    println!("over {transactions} transactions");
}

#[test]
fn what_vanished_unseen_is_deleted_under_writers_on_a_folder() {
    vanished_under_writers(Store::Folder);
}

#[test]
fn what_vanished_unseen_is_deleted_under_writers_on_s3() {
    vanished_under_writers(Store::S3);
}

/// A pipeline that has read `shop.t`, of which rows vanish before each request for a part.
struct Vanishing {
    server: MySql,
    pipeline: Pipeline,
    target: Target,
    digits: std::ops::Range<u32>,
}

impl Vanishing {
    fn begin() -> Vanishing {
        let server = server_with_numbers(ROWS, MySqlOptions::default());
        let target = Target::create(&server, kind("composite"), "t", ROWS);
        let (mut pipeline, _) = stored(&server, Store::Folder);
        read_existing_rows(&mut pipeline);
        restless(&mut pipeline);
        pipeline.catch_up();
        Vanishing { server, pipeline, target, digits: 10..100 }
    }

    /// Rows vanish, and a part is asked for.
    fn ask(&mut self) {
        let digit = self.digits.next().expect("there are not so many failpoints");
        delete_unseen(&self.server, "t", digit);
        let asked = finish(&self.pipeline, &["snapshot", "shop.t", "--where", "note LIKE '%9'", "--no-wait"]);
        assert_eq!(asked.code, Some(0), "{}", asked.printed());
    }

    fn compare(&self) -> Ops {
        compare(&self.server, &self.pipeline, std::slice::from_ref(&self.target)).remove(0)
    }
}

#[test]
fn killed_at_every_failpoint_of_a_comparison() {
    let mut vanishing = Vanishing::begin();
    let lister = Lister::start(vanishing.pipeline.lake());
    for name in key_failpoints().filter(|name| *name != "mysql.keys.delete") {
        vanishing.ask();
        let failpoint = format!("{name}=kill@1");
        let mut run = vanishing.pipeline.start_with_failpoints(&["run"], &failpoint);
        wait_until(&failpoint, LIMIT, || run.ended());
        assert!(run.was_killed(), "{failpoint}: {}", run.printed());
        vanishing.pipeline.catch_up();
        vanishing.compare();
    }
    lister.finish();
}

#[test]
fn a_step_fails_at_every_failpoint_of_a_comparison() {
    let mut vanishing = Vanishing::begin();
    for name in key_failpoints().filter(|name| *name != "mysql.keys.delete") {
        vanishing.ask();
        let failpoint = format!("{name}=error@1");
        let mut run = vanishing.pipeline.start_with_failpoints(&["run", "--until-caught-up"], &failpoint);
        let ended = ended(&mut run, LIMIT);
        assert_eq!(ended.code, Some(0), "{failpoint}: {}", ended.printed());
        vanishing.compare();
    }
}

//! TRUNCATE as deletes (`truncate: deletes`): each key that lived gets a `d`, at its place in the log, in
//! a stream with other tables; over kills and failing steps, on a folder and on S3, within the memory.

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::{LIMIT, Lister, Pipeline, wait_until};

use crate::crash::key_failpoints;
use crate::snapshot::pipeline::server_with_numbers;
use crate::whole::{Keyed, Ops, assert_equal};
use crate::world::{Store, catches_up_with, ended, restless, set, stored, view};

const ROWS: u64 = 300_000;
/// What the process itself takes beside its memory for changes.
const PROCESS_MIB: f64 = 100.0;

/// `shop.t` with so many rows, `shop.other` and `shop.keyless`.
fn server(rows: u64) -> MySql {
    let server = server_with_numbers(rows, MySqlOptions::default());
    server.sql(
        "CREATE TABLE shop.t (a VARCHAR(20) NOT NULL, b INT NOT NULL, note VARCHAR(60), PRIMARY KEY (a, b));
         CREATE TABLE shop.other (k INT PRIMARY KEY, n INT); CREATE TABLE shop.keyless (k INT, n INT)",
    );
    fill(&server, "", rows);
    server.sql(
        "UPDATE shop.t SET b = b + 1000000 WHERE b % 10 = 0; DELETE FROM shop.t WHERE b % 10 = 1; \
         INSERT INTO shop.other VALUES (1, 1), (2, 2); INSERT INTO shop.keyless VALUES (1, 1), (1, 1)",
    );
    server
}

/// Adds rows whose keys begin with `life`.
fn fill(server: &MySql, life: &str, rows: u64) {
    server.sql(&format!(
        "INSERT INTO shop.t SELECT CONCAT('{life}key ', i % 1009), i, CONCAT('note ', i) FROM numbers.all_numbers WHERE i <= {rows}"
    ));
}

/// TRUNCATE of all, between other changes, and a second life.
fn truncate(server: &MySql) {
    server.sql(
        "START TRANSACTION; UPDATE shop.other SET n = 5; INSERT INTO shop.t VALUES ('late', 7, 'late'); COMMIT; \
         TRUNCATE TABLE shop.t; UPDATE shop.other SET n = 6 WHERE k = 1; \
         TRUNCATE TABLE shop.keyless; INSERT INTO shop.keyless VALUES (2, 2)",
    );
    fill(server, "", 1000);
    server.sql("DELETE FROM shop.t WHERE b = 5; UPDATE shop.other SET k = 3 WHERE k = 2");
}

fn pipeline(server: &MySql, store: Store) -> (Pipeline, Option<lakeward_test_support::s3::S3>) {
    let (mut pipeline, s3) = stored(server, store);
    set(&mut pipeline, "truncate", "deletes");
    set(&mut pipeline, "memory", "64MiB");
    set(&mut pipeline, "before_images", true);
    (pipeline, s3)
}

/// Compares all tables; answers what came of `shop.t`.
fn compare(server: &MySql, pipeline: &Pipeline) -> Ops {
    let keyed = [Keyed::shop("t", &["a", "b"]), Keyed::shop("other", &["k"]), Keyed::shop("keyless", &[])];
    let mut ops = assert_equal(server, &view(pipeline), &keyed);
    assert_eq!(ops[2].get("t"), Some(&1), "a table without a key gets a mark: {ops:?}");
    ops.remove(0)
}

fn count(ops: &Ops, op: &str) -> u64 {
    ops.get(op).copied().unwrap_or(0)
}

fn each_living_key_is_deleted(store: Store) {
    let server = server(ROWS);
    let (pipeline, _s3) = pipeline(&server, store);
    pipeline.catch_up();
    truncate(&server);
    let mut run = pipeline.start(&["run", "--until-caught-up"]);
    let mut peak: f64 = 0.0;
    let status = wait_until("the run to catch up", LIMIT, || {
        peak = run.peak_mib().unwrap_or(0.0).max(peak);
        run.ended()
    });
    assert!(status.success(), "{}", run.printed());
    let ops = compare(&server, &pipeline);
    // Those that changed their key or were deleted by the log, all that lived, and one of the second life.
    let living = ROWS - ROWS / 10 + 1;
    assert_eq!((count(&ops, "t"), count(&ops, "d")), (0, 2 * (ROWS / 10) + living + 1), "{ops:?}");
    println!("{living} keys were deleted within {peak:.0} MiB");
    assert!(peak < 64.0 + PROCESS_MIB, "{peak} MiB");
    let again = view(&pipeline).contents();
    catches_up_with(&pipeline, 0);
    assert!(view(&pipeline).contents().len() >= again.len());
    assert_eq!(compare(&server, &pipeline), ops, "it is done once");
}

#[test]
fn each_living_key_is_deleted_on_a_folder() {
    each_living_key_is_deleted(Store::Folder);
}

#[test]
fn each_living_key_is_deleted_on_s3() {
    each_living_key_is_deleted(Store::S3);
}

/// Kills before the keys are read, while they are, while the deletes are staged, decided and shown.
#[test]
fn killed_in_the_middle_of_a_truncate() {
    let server = server(ROWS);
    let (mut pipeline, _) = pipeline(&server, Store::Folder);
    pipeline.catch_up();
    restless(&mut pipeline);
    let lister = Lister::start(pipeline.lake());
    truncate(&server);
    let of_keys = key_failpoints().filter(|name| !name.contains("lookup") && !name.contains("release"));
    let mut failpoints: Vec<String> = of_keys.map(|name| format!("{name}=kill@1")).collect();
    failpoints.extend(
        [
            "mysql.keys.delete=kill@2",
            "lake.keys.file=kill@9",
            "lake.stage.sealed=kill@2",
            "lake.decide.before=kill@2",
        ]
        .map(str::to_owned),
    );
    for failpoint in failpoints {
        let mut run = pipeline.start_with_failpoints(&["run"], &failpoint);
        let ended = ended(&mut run, LIMIT);
        assert_eq!(ended.signal, Some(9), "{failpoint}: {}", ended.printed());
    }
    pipeline.catch_up();
    lister.finish();
    let ops = compare(&server, &pipeline);
    assert_eq!((count(&ops, "t"), count(&ops, "c")), (0, ROWS + ROWS / 10 + 1 + 1000), "{ops:?}");
}

/// A step that fails once is a passing error: the same run goes on and ends right. Each round has keys of its
/// own, so that the end tells what any of them left.
#[test]
fn a_step_of_a_truncate_fails() {
    // More keys than are held at a time.
    const KEYS: u64 = 40_000;
    let server = server(KEYS);
    let (mut pipeline, _) = pipeline(&server, Store::Folder);
    server.sql("TRUNCATE TABLE shop.t");
    pipeline.catch_up();
    restless(&mut pipeline);
    let of_keys = key_failpoints().filter(|name| !name.contains("lookup") && !name.contains("release"));
    let failpoints = of_keys.flat_map(|name| [1, 2].map(|nth| format!("{name}=error@{nth}")));
    for (round, failpoint) in failpoints.enumerate() {
        fill(&server, &format!("{round} "), KEYS);
        server.sql("TRUNCATE TABLE shop.t; INSERT INTO shop.t VALUES ('after', 1, 'x')");
        server.sql("TRUNCATE TABLE shop.keyless");
        let mut run = pipeline.start_with_failpoints(&["run", "--until-caught-up"], &failpoint);
        let ended = ended(&mut run, LIMIT);
        assert_eq!(ended.code, Some(0), "{failpoint}: {}", ended.printed());
    }
    let keyed = [Keyed::shop("t", &["a", "b"]), Keyed::shop("other", &["k"])];
    let ops = assert_equal(&server, &view(&pipeline), &keyed).remove(0);
    assert_eq!(count(&ops, "t"), 0, "{ops:?}");
    assert_eq!(count(&ops, "c"), count(&ops, "d") + 1, "each row but the last is deleted once: {ops:?}");
}

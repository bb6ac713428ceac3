//! Two processes of one pipeline: one wins, the other says that it is fenced; two pipelines do not
//! touch each other; what was decided and then vanished from the store is repaired or told.

use std::time::{Duration, Instant};

use lakeward_test_support::http_faults::{Fault, HttpFaults, Rule};
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::s3::S3;
use lakeward_test_support::{
    LIMIT, Lakeward, Lister, Pipeline, Place, Random, Signal, python, seed, wait_until,
};

use crate::careless_store::CarelessStore;
use crate::crash::{create_one_more, failpoints};
use crate::traffic::{Traffic, assert_lake_is_source, burst, server_with_tables};
use crate::world::{
    PIPELINE, Store, ended, folder, refuses, restless, stop, stored, view, wait_for_checkpoint,
};

const FENCED: Option<i32> = Some(25);

fn wait_for_records(pipeline: &Pipeline, run: &mut Lakeward, more: usize) {
    let records = view(pipeline).record_count();
    wait_until("records", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        (view(pipeline).record_count() >= records + more).then_some(())
    });
}

fn assert_fenced(run: &mut Lakeward) {
    let ended = ended(run, LIMIT);
    assert_eq!(ended.code, FENCED, "{}", ended.printed());
    assert!(ended.printed().contains("fenced"), "{}", ended.printed());
}

fn the_second_fences_the_first(store: Store) {
    let server = server_with_tables();
    let (mut pipeline, _s3) = stored(&server, store);
    restless(&mut pipeline);
    let lister = Lister::start(pipeline.lake());
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(3));
    let mut first = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut first);
    for _ in 0..4 {
        let mut second = pipeline.start(&["run"]);
        assert_fenced(&mut first);
        wait_for_records(&pipeline, &mut second, 2);
        first = second;
    }
    traffic.finish();
    stop(&mut first);
    pipeline.catch_up();
    assert_lake_is_source(&server, &view(&pipeline));
    lister.finish();
}

#[test]
fn the_second_fences_the_first_on_a_folder() {
    the_second_fences_the_first(Store::Folder);
}

#[test]
fn the_second_fences_the_first_on_s3() {
    the_second_fences_the_first(Store::S3);
}

/// The first is held by SIGSTOP at a failpoint while the second takes over, and wakes up then. Held
/// before its claim, it may be the one that takes over when it wakes.
fn paused_at_every_failpoint(store: Store) {
    let server = server_with_tables();
    let (mut pipeline, _s3) = stored(&server, store);
    restless(&mut pipeline);
    let lister = Lister::start(pipeline.lake());
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(4));
    let mut tables = 0;
    // Nothing is left to abort where the one before ended in order.
    for name in failpoints().filter(|name| !name.starts_with("lake.abort")) {
        let mut first = pipeline.start_with_failpoints(&["run"], &format!("{name}=stop@1"));
        wait_until(&format!("the pause at {name}"), LIMIT, || {
            tables += 1;
            create_one_more(&server, tables);
            assert!(first.ended().is_none(), "{name}: {}", first.printed());
            first.is_stopped().then_some(())
        });
        let mut second = pipeline.start(&["run"]);
        wait_for_records(&pipeline, &mut second, 3);
        first.signal(Signal::Cont);
        let first_is_fenced = wait_until(&format!("{name}: one to be fenced"), LIMIT, || {
            match (first.ended(), second.ended()) {
                (None, None) => None,
                (first, _) => Some(first.is_some()),
            }
        });
        let (mut fenced, mut winner) = if first_is_fenced { (first, second) } else { (second, first) };
        assert_fenced(&mut fenced);
        wait_for_records(&pipeline, &mut winner, 2);
        stop(&mut winner);
    }
    traffic.finish();
    pipeline.catch_up();
    assert_lake_is_source(&server, &view(&pipeline));
    lister.finish();
}

#[test]
fn the_first_wakes_up_at_every_failpoint_on_a_folder() {
    paused_at_every_failpoint(Store::Folder);
}

#[test]
fn the_first_wakes_up_at_every_failpoint_on_s3() {
    paused_at_every_failpoint(Store::S3);
}

/// The first one's record lands on the store only after it was killed and the second began.
#[test]
fn a_record_that_lands_late_or_whose_answer_is_lost() {
    let (server, s3) = (server_with_tables(), S3::start());
    let proxy = HttpFaults::start(s3.port());
    let place = Place::S3 { server: &s3, endpoint: proxy.endpoint(), prefix: "lake" };
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &place);
    restless(&mut pipeline);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(3));
    let late = Duration::from_millis(1500);
    for fault in [Fault::LandLate(late), Fault::LoseAnswer, Fault::LandLate(late), Fault::Delay(late)] {
        let mut first = pipeline.start(&["run"]);
        wait_for_checkpoint(&pipeline, &mut first);
        let fired = proxy.fired();
        proxy.add(Rule { method: "PUT", target: "/log/0".into(), after: 1, times: 1, fault });
        wait_until("the fault", LIMIT, || (proxy.fired() > fired).then_some(()));
        let landed = Instant::now() + late + Duration::from_millis(300);
        first.signal(Signal::Kill);
        let mut second = pipeline.start(&["run"]);
        wait_until("the late record", LIMIT, || (Instant::now() > landed).then_some(()));
        wait_for_records(&pipeline, &mut second, 2);
        stop(&mut second);
    }
    traffic.finish();
    pipeline.catch_up();
    assert_lake_is_source(&server, &view(&pipeline));
}

#[test]
fn two_pipelines_share_a_prefix_but_no_table() {
    let server = server_with_tables();
    burst(&server, &mut Random::new(seed()), 100);
    server.sql(
        "CREATE DATABASE other; CREATE TABLE other.t (id INT PRIMARY KEY); INSERT INTO other.t VALUES (1)",
    );
    let shop = folder(&server);
    let mut other = Pipeline::new("other", &server, &["other.*"], &Place::Folder);
    other.config["lake"] = shop.config["lake"].clone();
    shop.catch_up();
    other.catch_up();
    server.sql("INSERT INTO other.t VALUES (2)");
    shop.catch_up();
    other.catch_up();
    let in_other = crate::lake::LakeView { root: shop.lake(), pipeline: "other".into() };
    let events = in_other.events(crate::lake::Reader::Duckdb);
    in_other.assert_dense(&events);
    assert_eq!(events.len(), 1);
    // The other pipeline's files are named by its own log.
    let named = in_other.files().into_values().flatten();
    let mut objects = view(&shop).objects();
    for path in named.chain(view(&shop).files().into_values().flatten()) {
        assert!(objects.remove(&path), "{} is not there", path.display());
    }
    assert!(objects.is_empty(), "{objects:?}");
    let mut thief = Pipeline::new("thief", &server, &["shop.*"], &Place::Folder);
    thief.config["lake"] = shop.config["lake"].clone();
    let refused = ended(&mut thief.start(&["run", "--until-caught-up"]), LIMIT);
    assert_eq!(refused.code, Some(24), "{}", refused.printed());
    assert!(refused.printed().contains("shop"), "{}", refused.printed());
    shop.catch_up();
}

#[test]
fn a_store_that_takes_the_same_conditional_put_twice_is_refused() {
    let server = server_with_tables();
    let (store, s3) = (CarelessStore::start(), S3::start());
    let place = Place::S3 { server: &s3, endpoint: store.endpoint(), prefix: "lake" };
    let pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &place);
    refuses(&pipeline, 21, &["If-None-Match"]);
    assert!(store.conditional_puts() >= 2, "the store was tried");
}

/// Decided, never shown, and then the store threw the uploads away.
fn loses_uploads(server: &MySql) -> (S3, Pipeline) {
    let s3 = S3::start();
    let mut pipeline = Pipeline::new(PIPELINE, server, &["shop.*"], &Place::s3(&s3));
    restless(&mut pipeline);
    pipeline.catch_up();
    burst(server, &mut Random::new(seed()), 80);
    let mut run = pipeline.start_with_failpoints(&["run", "--until-caught-up"], "lake.show.before=kill@1");
    assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
    assert!(s3.open_uploads() > 0, "files are staged");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/python/abort_uploads.py");
    python(&script, &[&s3.endpoint()], "");
    assert_eq!(s3.open_uploads(), 0);
    (s3, pipeline)
}

#[test]
fn decided_uploads_that_expired_are_read_again_from_the_source() {
    let server = server_with_tables();
    let (_s3, pipeline) = loses_uploads(&server);
    burst(&server, &mut Random::new(seed() ^ 7), 20);
    pipeline.catch_up();
    assert!(
        view(&pipeline).records().iter().any(|record| record["repairs"].is_object()),
        "a repair is in the log"
    );
    assert_lake_is_source(&server, &view(&pipeline));
}

#[test]
fn decided_uploads_that_expired_and_that_the_source_purged_are_told() {
    let server = server_with_tables();
    let (_s3, pipeline) = loses_uploads(&server);
    server.sql("FLUSH BINARY LOGS");
    server.purge_logs();
    let objects = view(&pipeline).objects();
    let ended = ended(&mut pipeline.start(&["run", "--until-caught-up"]), LIMIT);
    assert_eq!(ended.code, Some(26), "{}", ended.printed());
    assert!(ended.printed().contains("binlog."), "the range is named: {}", ended.printed());
    assert_eq!(view(&pipeline).objects(), objects);
}

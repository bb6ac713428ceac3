//! Three workers that come and go under a live writer; now and then one sleeps in the middle of a commit until its
//! share was given away, and wakes up with what it had read of it.

use std::collections::BTreeSet;
use std::time::Duration;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::{Lakeward, Lister, Pipeline, Random, Signal, seed, wait_until};
use serde_json::Value;

use super::{LIMIT, broker, capture, catch_up, events_in_lake, over, wait_for_records};
use crate::traffic::{TABLES, Traffic, assert_lake_is_source, burst, server_with_tables};
use crate::world::{ended, times, view};

/// Where it falls asleep: with files that no record names, with a record that is about to be put, with one that is put
/// and not shown.
const SLEEPS: &[&str] = &["lake.stage.sealed", "lake.decide.before", "lake.show.before"];

/// What the commit log tells a worker whose share was given away.
const BY_THE_LOG: &[&str] = &[
    "other workers took this one for gone",
    "another worker committed changes of a topic partition that is read here, too",
];
/// What the group tells it.
const BY_THE_GROUP: &str = "the topic partitions of this worker have changed";

/// Processes that ever claimed the log.
fn writers(records: &[Value]) -> BTreeSet<String> {
    records.iter().filter_map(|record| record["writer"].as_str()).map(str::to_owned).collect()
}

/// How often a process has committed.
fn commits(records: &[Value], writer: &str) -> usize {
    let claims = records.iter().filter(|record| record["writer"] == writer);
    let epochs: Vec<&Value> = claims.map(|claim| &claim["epoch"]).collect();
    let by = |record: &&Value| record["kind"] == "commit" && epochs.contains(&&record["epoch"]);
    records.iter().filter(by).count()
}

/// Events that the lake has of each topic partition.
fn places(pipeline: &Pipeline) -> Vec<u64> {
    let topics = TABLES.iter().map(|(table, ..)| format!("shop.shop.{table}"));
    topics.flat_map(|topic| (0..3).map(move |number| events_in_lake(pipeline, &topic, number))).collect()
}

/// Waits until somebody has brought every topic partition forward.
fn wait_for_all_places(pipeline: &Pipeline) {
    let before = places(pipeline);
    wait_until("changes of every topic partition", LIMIT, || {
        places(pipeline).iter().zip(&before).all(|(now, before)| now > before).then_some(())
    });
}

/// A worker falls asleep at `failpoint`, the others take its share over and commit, and it wakes up: it notices, begins
/// anew, and commits with them.
fn sleeps_and_wakes_up(pipeline: &Pipeline, failpoint: &str) -> Lakeward {
    let before = writers(&view(pipeline).records());
    let mut worker = pipeline.start_with_failpoints(&["load"], &format!("{failpoint}=stop@3"));
    wait_until(&format!("a worker to sleep at {failpoint}"), LIMIT, || {
        assert!(worker.ended().is_none(), "{failpoint}: {}", worker.printed());
        worker.is_stopped().then_some(())
    });
    let itself = writers(&view(pipeline).records());
    let itself = itself.difference(&before).next().expect("it claimed the log");
    let told = worker.stderr().len();
    wait_for_all_places(pipeline);
    let committed = commits(&view(pipeline).records(), itself);
    worker.signal(Signal::Cont);
    wait_until(&format!("the worker that slept at {failpoint} to notice"), LIMIT, || {
        assert!(worker.ended().is_none(), "{failpoint}: {}", worker.printed());
        let told = worker.stderr().split_off(told);
        let by_the_log = BY_THE_LOG.iter().any(|words| told.contains(words));
        // A record that was about to be put is refused before the group can say anything.
        let by_the_group = failpoint != "lake.decide.before" && told.contains(BY_THE_GROUP);
        (by_the_log || by_the_group).then_some(())
    });
    wait_until(&format!("the worker that slept at {failpoint} to commit"), LIMIT, || {
        assert!(worker.ended().is_none(), "{failpoint}: {}", worker.printed());
        (commits(&view(pipeline).records(), itself) > committed).then_some(())
    });
    worker
}

#[test]
fn three_workers_come_and_go_and_some_of_them_sleep_in_a_commit() {
    let rounds = times(6);
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let lister = Lister::start(pipeline.lake());
    let seed = seed();
    let traffic = Traffic::start(&server, seed, Duration::from_millis(5));
    let mut random = Random::new(seed ^ 2);
    let mut capture = pipeline.start(&["capture"]);
    let mut workers: Vec<Lakeward> = (0..3).map(|_| pipeline.start(&["load"])).collect();
    let mut sleeps = SLEEPS.iter().cycle();
    for round in 0..rounds {
        let chosen = usize::try_from(random.below(3)).unwrap();
        wait_for_records(&pipeline, &mut workers[(chosen + 1) % 3], 2);
        assert!(capture.ended().is_none(), "capture ended: {}", capture.printed());
        if round % 2 == 0 {
            workers[chosen].signal(Signal::Term);
            let left = ended(&mut workers[chosen], LIMIT);
            assert_eq!(left.code, Some(0), "{}", left.printed());
            workers[chosen] = pipeline.start(&["load"]);
        } else {
            workers[chosen].signal(Signal::Kill);
            assert_eq!(ended(&mut workers[chosen], LIMIT).signal, Some(9));
            let failpoint = sleeps.next().expect("there are some");
            workers[chosen] = sleeps_and_wakes_up(&pipeline, failpoint);
        }
    }
    for worker in &mut workers {
        wait_for_records(&pipeline, worker, 1);
    }
    traffic.finish();
    capture.signal(Signal::Kill);
    assert_eq!(ended(&mut capture, LIMIT).signal, Some(9));
    for worker in &mut workers {
        worker.signal(Signal::Kill);
        assert_eq!(ended(worker, LIMIT).signal, Some(9));
    }
    catch_up(&pipeline);
    lister.finish();
    assert_lake_is_source(&server, &view(&pipeline));
    let shares = view(&pipeline)
        .records()
        .iter()
        .filter(|record| record["workers"].as_array().is_some_and(|w| w.len() > 1))
        .count();
    assert!(shares > 0, "no two workers ever shared the log");
}

/// All that was its own is lost while it sleeps, and the group takes its time until it gives it out again.
#[test]
fn a_bounded_run_that_slept_loads_all_that_there_is() {
    let slow = [("group.min.session.timeout.ms", "500"), ("group.initial.rebalance.delay.ms", "3000")];
    let (server, kafka) = (server_with_tables(), Kafka::with(&slow));
    let pipeline = over(&server, &kafka);
    burst(&server, &mut Random::new(seed()), 100);
    capture(&pipeline);
    let mut run = pipeline.start_with_failpoints(&["load", "--until-caught-up"], "kafka.load.event=stop@20");
    wait_until("the worker to sleep", LIMIT, || {
        assert!(run.ended().is_none(), "{}", run.printed());
        run.is_stopped().then_some(())
    });
    // Twice what its group waits for it.
    std::thread::sleep(Duration::from_secs(4));
    run.signal(Signal::Cont);
    run.succeed(LIMIT);
    assert_lake_is_source(&server, &view(&pipeline));
}

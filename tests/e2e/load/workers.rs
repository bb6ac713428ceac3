//! Three workers that come and go under a live writer; one sleeps until its share was given away.

use std::time::Duration;

use lakeward_test_support::{Lakeward, Lister, Random, Signal, seed, wait_until};

use super::{LIMIT, broker, catch_up, over, wait_for_records};
use crate::traffic::{Traffic, assert_lake_is_source, server_with_tables};
use crate::world::{ended, times, view};

#[test]
fn three_workers_come_and_go_and_one_of_them_is_paused() {
    let rounds = times(6);
    let (server, kafka) = (server_with_tables(), broker());
    let pipeline = over(&server, &kafka);
    let lister = Lister::start(pipeline.lake());
    let seed = seed();
    let traffic = Traffic::start(&server, seed, Duration::from_millis(5));
    let mut random = Random::new(seed ^ 2);
    let mut capture = pipeline.start(&["capture"]);
    let mut workers: Vec<Lakeward> = (0..3).map(|_| pipeline.start(&["load"])).collect();
    for round in 0..rounds {
        let chosen = usize::try_from(random.below(3)).unwrap();
        wait_for_records(&pipeline, &mut workers[(chosen + 1) % 3], 2);
        assert!(capture.ended().is_none(), "capture ended: {}", capture.printed());
        match round % 3 {
            // Asleep until the others go on without it; then it finds its share gone, and goes on with another.
            1 => {
                workers[chosen].signal(Signal::Stop);
                wait_until("the worker to sleep", LIMIT, || workers[chosen].is_stopped().then_some(()));
                // The others commit on what was the sleeper's, once its session is over.
                std::thread::sleep(Duration::from_secs(3));
                wait_for_records(&pipeline, &mut workers[(chosen + 1) % 3], 4);
                workers[chosen].signal(Signal::Cont);
            }
            2 => {
                workers[chosen].signal(Signal::Term);
                let left = ended(&mut workers[chosen], LIMIT);
                assert_eq!(left.code, Some(0), "{}", left.printed());
                workers[chosen] = pipeline.start(&["load"]);
            }
            _ => {
                workers[chosen].signal(Signal::Kill);
                assert_eq!(ended(&mut workers[chosen], LIMIT).signal, Some(9));
                workers[chosen] = pipeline.start(&["load"]);
            }
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

//! Broken wires and servers: the run ends right, or says plainly why it stopped; nothing is lost and
//! nothing doubled.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use lakeward_test_support::http_faults::{Fault, HttpFaults, Rule};
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::s3::{ACCESS_KEY, S3, SECRET_KEY};
use lakeward_test_support::tcp_proxy::{TcpProxy, Wire};
use lakeward_test_support::{LIMIT, Lakeward, Lister, Pipeline, Place, Random, Scratch, seed, wait_until};
use serde_json::json;

use crate::traffic::{Traffic, assert_lake_is_source, burst, server_with_tables};
use crate::world::{
    PIPELINE, catches_up_with, ended, folder, restless, set, stop, view, wait_for_checkpoint,
    wait_until_complete,
};

/// Waits for two commits from now on; the run must not end.
fn wait_for_commits(pipeline: &Pipeline, run: &mut Lakeward, why: &str) {
    let records = view(pipeline).record_count();
    wait_until(&format!("commits after {why}"), LIMIT, || {
        assert!(run.ended().is_none(), "{why} ended the run: {}", run.printed());
        (view(pipeline).record_count() >= records + 2).then_some(())
    });
}

fn finish(pipeline: &Pipeline, server: &MySql, mut run: Lakeward, traffic: Traffic) {
    traffic.finish();
    wait_until_complete(pipeline, server, &mut run);
    stop(&mut run);
    assert_lake_is_source(server, &view(pipeline));
}

#[test]
fn requests_to_s3_that_fail_or_whose_answer_is_lost() {
    const REQUESTS: &[(&str, &str)] =
        &[("POST", "uploads"), ("PUT", "partNumber="), ("PUT", "/log/"), ("POST", "uploadId=")];
    let faults = [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::Answer(503, "ServiceUnavailable"),
        Fault::LoseAnswer,
        Fault::Cut,
        Fault::CutUpload,
        Fault::Delay(Duration::from_millis(700)),
        Fault::LandLate(Duration::from_millis(700)),
    ];
    let (server, s3) = (server_with_tables(), S3::start());
    let proxy = HttpFaults::start(s3.port());
    let place = Place::S3 { server: &s3, endpoint: proxy.endpoint(), prefix: "lake" };
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &place);
    restless(&mut pipeline);
    let lister = Lister::start(pipeline.lake());
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut run = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut run);
    for &(method, target) in REQUESTS {
        for fault in faults {
            let fired = proxy.fired();
            proxy.add(Rule { method, target: target.into(), after: 0, times: 2, fault });
            let why = format!("{fault:?} of {method} {target}");
            wait_until(&why, LIMIT, || {
                assert!(run.ended().is_none(), "{why} ended the run: {}", run.printed());
                (proxy.fired() >= fired + 2).then_some(())
            });
            wait_for_commits(&pipeline, &mut run, &why);
        }
    }
    finish(&pipeline, &server, run, traffic);
    lister.finish();
}

#[test]
fn the_first_requests_to_s3_fail() {
    let (server, s3) = (server_with_tables(), S3::start());
    burst(&server, &mut Random::new(seed()), 50);
    for fault in [Fault::Answer(503, "SlowDown"), Fault::LoseAnswer, Fault::Cut] {
        for (method, target) in
            [("GET", "/log/"), ("PUT", "/log/"), ("PUT", "/owners/"), ("PUT", "/schemas/")]
        {
            let proxy = HttpFaults::start(s3.port());
            let prefix = format!("{method}{target}{fault:?}").replace(|c: char| !c.is_alphanumeric(), "-");
            let place = Place::S3 { server: &s3, endpoint: proxy.endpoint(), prefix: &prefix };
            let pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &place);
            proxy.add(Rule { method, target: target.into(), after: 0, times: 3, fault });
            pipeline.catch_up();
            assert!(proxy.fired() > 0, "{prefix}: no such request: {:?}", proxy.seen());
            assert_lake_is_source(&server, &view(&pipeline));
        }
    }
}

/// Credentials come from a program, which fails three times first, as though its service were away.
#[test]
fn credentials_that_cannot_be_fetched_for_a_while_are_fetched_again() {
    let (server, s3, folder) = (server_with_tables(), S3::start(), Scratch::new("credentials"));
    burst(&server, &mut Random::new(seed()), 50);
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::s3(&s3));
    let keys = json!({ "Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY });
    let (tries, program) = (folder.join("tries"), folder.join("credentials.sh"));
    let (asked, config) = (tries.display(), folder.join("config"));
    let text = format!("echo >> {asked}; [ $(wc -l < {asked}) -gt 3 ] || exit 1; echo '{keys}'");
    fs::write(&program, text).unwrap();
    let process = format!("[profile lake]\ncredential_process = sh {}\n", program.display());
    fs::write(&config, process).unwrap();
    pipeline.environment.retain(|(name, _)| !name.starts_with("AWS_"));
    pipeline.environment.push(("AWS_CONFIG_FILE".into(), config.display().to_string()));
    set(&mut pipeline, "lake/s3/profile", "lake");
    pipeline.catch_up();
    assert!(fs::read_to_string(&tries).unwrap().lines().count() > 3);
    assert_lake_is_source(&server, &view(&pipeline));
}

#[test]
fn a_wire_to_s3_that_is_slow_cut_or_half_open_and_a_server_that_dies() {
    let (server, mut s3) = (server_with_tables(), S3::start());
    let wire = TcpProxy::start(s3.port());
    let place =
        Place::S3 { server: &s3, endpoint: format!("http://127.0.0.1:{}", wire.port()), prefix: "lake" };
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &place);
    restless(&mut pipeline);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(5));
    let mut run = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut run);
    let mut random = Random::new(seed());
    for _ in 0..8 {
        wire.cut_after(random.below(4_000));
        wait_until("the cut", LIMIT, || (!wire.is_armed()).then_some(()));
        wait_for_commits(&pipeline, &mut run, "a cut");
    }
    wire.set(Wire::Latency(Duration::from_millis(40)));
    wait_for_commits(&pipeline, &mut run, "latency");
    for dead in [Wire::Refuse, Wire::HalfOpen, Wire::SwallowAnswers] {
        let before = wire.accepted();
        wire.set(dead);
        if dead == Wire::Refuse {
            wire.cut();
        }
        wait_until("the dead link to be noticed", LIMIT, || {
            assert!(run.ended().is_none(), "{dead:?} ended the run: {}", run.printed());
            (wire.accepted() > before + 1).then_some(())
        });
        wire.set(Wire::Pass);
        wire.cut();
        wait_for_commits(&pipeline, &mut run, &format!("{dead:?}"));
    }
    s3.kill9();
    s3.start_again();
    wait_for_commits(&pipeline, &mut run, "a restart of the S3 server");
    finish(&pipeline, &server, run, traffic);
}

#[test]
fn a_wire_to_mysql_that_is_slow_cut_or_half_open() {
    let server = server_with_tables();
    let wire = TcpProxy::start(server.port());
    let mut pipeline = folder(&server);
    restless(&mut pipeline);
    set(&mut pipeline, "source/mysql/port", wire.port());
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(3));
    let mut run = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut run);
    let mut random = Random::new(seed());
    for _ in 0..15 {
        wire.cut_after(random.below(60_000));
        wait_until("the cut", LIMIT, || {
            assert!(run.ended().is_none(), "a cut ended the run: {}", run.printed());
            (!wire.is_armed()).then_some(())
        });
    }
    wait_for_commits(&pipeline, &mut run, "cuts");
    wire.set(Wire::Latency(Duration::from_millis(30)));
    wait_for_commits(&pipeline, &mut run, "latency");
    for dead in [Wire::HalfOpen, Wire::SwallowAnswers, Wire::Refuse] {
        let before = wire.accepted();
        wire.set(dead);
        if dead == Wire::Refuse {
            wire.cut();
        }
        wait_until("the dead link to be noticed", LIMIT, || {
            assert!(run.ended().is_none(), "{dead:?} ended the run: {}", run.printed());
            (wire.accepted() > before).then_some(())
        });
        wire.set(Wire::Pass);
        wire.cut();
        wait_for_commits(&pipeline, &mut run, &format!("{dead:?}"));
    }
    finish(&pipeline, &server, run, traffic);
}

#[test]
fn mysql_restarts_dies_and_kills_our_connection() {
    let mut server = server_with_tables();
    let mut pipeline = folder(&server);
    restless(&mut pipeline);
    let traffic = Traffic::start(&server, seed(), Duration::from_millis(3));
    let mut run = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut run);
    for id in server.rows("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'") {
        server.sql(&format!("KILL {}", id[0].as_deref().unwrap()));
    }
    wait_for_commits(&pipeline, &mut run, "KILL");
    server.restart();
    wait_for_commits(&pipeline, &mut run, "a restart");
    server.kill9();
    server.start_again();
    wait_for_commits(&pipeline, &mut run, "a crash of the server");
    finish(&pipeline, &server, run, traffic);
}

#[test]
fn the_log_is_purged_while_the_link_is_down() {
    let server = server_with_tables();
    let wire = TcpProxy::start(server.port());
    let mut pipeline = folder(&server);
    restless(&mut pipeline);
    set(&mut pipeline, "source/mysql/port", wire.port());
    let mut run = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut run);
    wire.set(Wire::Refuse);
    wire.cut();
    burst(&server, &mut Random::new(seed()), 20);
    server.sql("FLUSH BINARY LOGS");
    server.purge_logs();
    let files = view(&pipeline).objects();
    wire.set(Wire::Pass);
    let ended = ended(&mut run, LIMIT);
    assert_eq!(ended.code, Some(12), "{}", ended.printed());
    assert!(ended.printed().contains("purged"), "{}", ended.printed());
    assert_eq!(view(&pipeline).objects(), files);
}

/// A run that is still there so long after the flip waits for something.
const STILL: Duration = Duration::from_secs(20);

/// A flipped bit in the stream is seen by the event's checksum (or breaks the protocol): either the
/// run ends by itself with a name for it, or what it writes is right.
#[test]
fn a_flipped_bit_never_passes() {
    let server = server_with_tables();
    let mut random = Random::new(seed());
    server.sql("CREATE DATABASE beside; CREATE TABLE beside.large (v LONGTEXT)");
    burst(&server, &mut random, 3000);
    let wire = TcpProxy::start(server.port());
    let mut codes = Vec::new();
    for _ in 0..15 {
        let mut pipeline = folder(&server);
        restless(&mut pipeline);
        set(&mut pipeline, "source/mysql/port", wire.port());
        set(&mut pipeline, "source/mysql/tls", json!({ "mode": "disabled" }));
        wire.flip_after(random.below(150_000));
        let mut run = pipeline.start(&["run", "--until-caught-up"]);
        wait_until("the flip", LIMIT, || (run.ended().is_some() || !wire.is_armed()).then_some(()));
        assert!(!wire.is_armed(), "the flip was not reached");
        let flipped = Instant::now();
        while run.ended().is_none() && flipped.elapsed() < STILL {
            std::thread::sleep(Duration::from_millis(20));
        }
        if run.ended().is_none() {
            // The client library waits for the rest of a packet whose length lies: more than that comes now.
            server.sql("INSERT INTO beside.large VALUES (REPEAT('x', 17000000))");
        }
        let ended = ended(&mut run, LIMIT);
        match ended.code {
            Some(0) => {}
            Some(13) => assert!(ended.printed().contains("binlog."), "no position: {}", ended.printed()),
            code => panic!("ended with {code:?}: {}", ended.printed()),
        }
        codes.push(ended.code);
        pipeline.catch_up();
        assert_lake_is_source(&server, &view(&pipeline));
    }
    println!("{codes:?}");
    assert!(codes.contains(&Some(13)), "no flip was noticed: {codes:?}");
}

/// A small file system that is unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: std::path::PathBuf, size: &str) -> SmallDisk {
        std::fs::create_dir_all(&folder).unwrap();
        let disk = SmallDisk(folder);
        disk.run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]));
        disk
    }

    fn grow(&self, size: &str) {
        self.run(Command::new("mount").args(["-o", &format!("remount,size={size}")]));
    }

    fn run(&self, command: &mut Command) {
        let status = command.arg(&self.0).status().expect("mount starts");
        assert!(status.success(), "mount failed: this test must be run by root");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
    }
}

#[test]
fn a_full_disk_stops_the_run_and_once_there_is_space_it_goes_on() {
    let server = server_with_tables();
    let mut pipeline = folder(&server);
    restless(&mut pipeline);
    let disk = SmallDisk::mount(pipeline.lake(), "3m");
    server.sql(
        "CREATE TABLE shop.blobs (id INT AUTO_INCREMENT PRIMARY KEY, v VARBINARY(60000));
         INSERT INTO shop.blobs (v) VALUES (RANDOM_BYTES(1000))",
    );
    let mut random = Random::new(seed());
    for _ in 0..60 {
        let bytes = ["RANDOM_BYTES(1000)"; 60].join(",");
        server.sql(&format!("INSERT INTO shop.blobs (v) VALUES (CONCAT({bytes}))"));
        burst(&server, &mut random, 3);
    }
    for _ in 0..2 {
        let ended = catches_up_with(&pipeline, 22);
        assert!(ended.printed().contains("full"), "{}", ended.printed());
        view(&pipeline).assert_all_named();
    }
    disk.grow("200m");
    pipeline.catch_up();
    assert_lake_is_source(&server, &view(&pipeline));
}

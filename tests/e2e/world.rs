//! Short ways to say what most tests do with a pipeline.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::s3::S3;
use lakeward_test_support::{LIMIT, Lakeward, Pipeline, Place, wait_until};
use mysql::Conn;
use mysql::prelude::Queryable;
use serde_json::{Value, json};

use crate::lake::LakeView;

/// Exit code of a bounded run that caught up while some tables are stopped.
pub(crate) const CAUGHT_UP_WITH_STOPPED_TABLES: i32 = 6;

/// The pipelines' name.
pub(crate) const PIPELINE: &str = "shop";

/// Where a test puts its lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// A local folder.
    Folder,
    /// The S3 server.
    S3,
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code, unless a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error: the log.
    pub(crate) stderr: String,
}

impl Ended {
    /// All it printed.
    pub(crate) fn printed(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A server with the least privileged user, and a time zone that is not UTC.
pub(crate) fn server() -> MySql {
    server_with(MySqlOptions { time_zone: "+05:30".into(), ..MySqlOptions::default() })
}

/// A server with the least privileged user.
pub(crate) fn server_with(options: MySqlOptions) -> MySql {
    let server = MySql::start(options);
    server.create_user();
    server
}

/// A session in UTC as root.
pub(crate) fn utc(server: &MySql) -> Conn {
    let mut conn = server.conn();
    conn.query_drop("SET NAMES utf8mb4, time_zone = '+00:00'").expect("a session can be set up");
    conn
}

/// A pipeline of the database `shop` into a folder.
pub(crate) fn folder(server: &MySql) -> Pipeline {
    Pipeline::new(PIPELINE, server, &["shop.*"], &Place::Folder)
}

/// The same into `store`; the S3 server, where that is meant, lives as long as the second value.
pub(crate) fn stored(server: &MySql, store: Store) -> (Pipeline, Option<S3>) {
    match store {
        Store::Folder => (folder(server), None),
        Store::S3 => {
            let s3 = S3::start();
            (Pipeline::new(PIPELINE, server, &["shop.*"], &Place::s3(&s3)), Some(s3))
        }
    }
}

/// The pipeline with a key of its config set, named as `lake/commit/interval`.
pub(crate) fn with(mut pipeline: Pipeline, key: &str, value: impl Into<Value>) -> Pipeline {
    set(&mut pipeline, key, value);
    pipeline
}

/// Sets a key of the config, named as `lake/commit/interval`.
pub(crate) fn set(pipeline: &mut Pipeline, key: &str, value: impl Into<Value>) {
    let place = key.split('/').fold(&mut pipeline.config, |place, name| &mut place[name]);
    *place = value.into();
}

/// Makes it commit often and in small files, so that a fault finds every step under way, and notice a
/// dead link soon.
pub(crate) fn restless(pipeline: &mut Pipeline) {
    set(pipeline, "lake/commit", json!({ "interval": "200ms", "file_size": "256KiB" }));
    set(pipeline, "source/mysql/heartbeat", "1s");
    set(pipeline, "source/mysql/read_timeout", "3s");
}

/// The pipeline's lake as readers see it.
pub(crate) fn view(pipeline: &Pipeline) -> LakeView {
    let name = pipeline.config["name"].as_str().expect("a pipeline has a name");
    LakeView { root: pipeline.lake(), pipeline: name.to_owned() }
}

/// Waits for the end of a running command.
pub(crate) fn ended(lakeward: &mut Lakeward, limit: Duration) -> Ended {
    let status = lakeward.wait(limit);
    Ended {
        code: status.code(),
        signal: status.signal(),
        stdout: lakeward.stdout(),
        stderr: lakeward.stderr(),
    }
}

/// Runs a command to its end.
pub(crate) fn finish(pipeline: &Pipeline, arguments: &[&str]) -> Ended {
    ended(&mut pipeline.start(arguments), LIMIT)
}

/// Runs to the position the server has now; it must end with this code.
pub(crate) fn catches_up_with(pipeline: &Pipeline, code: i32) -> Ended {
    let ended = finish(pipeline, &["run", "--until-caught-up"]);
    assert_eq!(ended.code, Some(code), "{}", ended.printed());
    ended
}

/// `run` must refuse with this exit code and these words. A new lake stays empty, of another no data
/// changes (a process that could open it has put its claim).
pub(crate) fn refuses(pipeline: &Pipeline, code: u8, words: &[&str]) -> Ended {
    let (before, data) = (view(pipeline).contents(), view(pipeline).objects());
    let ended = catches_up_with(pipeline, i32::from(code));
    for word in words {
        assert!(ended.printed().contains(word), "no {word} in: {}", ended.printed());
    }
    let after = view(pipeline).contents();
    assert!(!before.is_empty() || after.is_empty(), "the run was refused, and yet it wrote {after:?}");
    assert_eq!(data, view(pipeline).objects(), "the run was refused, and yet it wrote");
    ended
}

/// Waits until a checkpoint of the running pipeline stands in its log.
pub(crate) fn wait_for_checkpoint(pipeline: &Pipeline, run: &mut Lakeward) {
    wait_until("a checkpoint", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        view(pipeline).checkpoint().map(drop)
    });
}

/// Waits until the running pipeline has committed and shown everything that the server holds now.
pub(crate) fn wait_until_complete(pipeline: &Pipeline, server: &MySql, run: &mut Lakeward) {
    let executed = server.value("SELECT REPLACE(@@gtid_executed, '\n', '')");
    wait_until("the lake to hold all", LIMIT, || {
        assert!(run.ended().is_none(), "the run ended: {}", run.printed());
        let checkpoint = view(pipeline).checkpoint()?;
        let ours = checkpoint["position"]["binlog"]["gtid_set"].as_str()?.to_owned();
        let decided = server.value(&format!("SELECT GTID_SUBSET('{executed}', '{ours}')")) == "1";
        (decided && view(pipeline).is_shown()).then_some(())
    });
}

/// SIGTERM; the run must commit and leave in order.
pub(crate) fn stop(run: &mut Lakeward) -> Ended {
    run.signal(lakeward_test_support::Signal::Term);
    let ended = ended(run, LIMIT);
    assert_eq!(ended.code, Some(0), "{}", ended.printed());
    ended
}

/// `LAKEWARD_LONG` in its place where that is set: how often `make test-long` repeats.
#[expect(clippy::disallowed_methods, reason = "a setting of the tests")]
pub(crate) fn times(usual: u64) -> u64 {
    std::env::var("LAKEWARD_LONG").map_or(usual, |times| times.parse().expect("LAKEWARD_LONG is a number"))
}

//! The command line as a user meets it, where no server is needed: bad input, exit codes, secrets.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lakeward_core::clock::SystemClock;
use lakeward_core::{
    Answer, BinlogPosition, Checkpoint, Command as Asked, Position, Request, Sink, Snapshot, SnapshotState,
    TableId, TableState, TableStatus,
};
use lakeward_lake::config::LakeConfig;
use lakeward_lake::sink::{LakeSink, Sharing, SinkOptions};
use serde_json::Value;
use tempfile::TempDir;

const SECRET: &str = "sesame-4711-open";

/// A valid file for a server that is not there: nothing listens on port 1.
fn valid(lake: &Path) -> String {
    format!(
        "name: shop
source:
  mysql: {{ host: 127.0.0.1, port: 1, user: lakeward, password: '${{env:LW_TEST_PASSWORD}}' }}
tables: {{ include: ['shop.*'] }}
snapshot: {{ mode: no_data }}
lake: {{ url: 'file://{}' }}
",
        lake.display()
    )
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new(text: &str) -> Place {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("lakeward.yaml"), text).unwrap();
        Place { folder }
    }

    fn valid() -> Place {
        let place = Place::new("");
        std::fs::write(place.folder.path().join("lakeward.yaml"), valid(&place.lake())).unwrap();
        place
    }

    fn lake(&self) -> std::path::PathBuf {
        self.folder.path().join("lake")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakeward"));
        command.args(arguments).current_dir(self.folder.path()).env("LW_TEST_PASSWORD", SECRET);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        told(&self.command(arguments).output().unwrap())
    }
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!out.contains(SECRET) && !err.contains(SECRET), "a secret is shown:\n{out}{err}");
    (output.status.code().unwrap(), out, err)
}

#[test]
fn bad_config_ends_with_2_and_names_key_line_and_fix() {
    let lake = Path::new("/nowhere");
    for (from, to, words) in [
        ("user:", "usr:", &["source.mysql.usr", "line: 3", "did you mean `user`?"][..]),
        ("tables:", "tables", &["not valid YAML", "line"]),
        ("lake:", "memory: 7 parsecs\nlake:", &["parsecs", "memory", "MiB"]),
        ("'shop.*'", "'shop.a', 'shop.a'", &["`shop.a` is listed twice", "tables.include"]),
        ("LW_TEST_PASSWORD", "LW_NOT_SET", &["LW_NOT_SET", "export", "source.mysql.password"]),
        ("no_data", "sometimes", &["`sometimes`", "initial_only", "line: 5"]),
        ("no_data", "initial, parallelism: 99", &["snapshot.parallelism", "1 to 16", "line: 5"]),
        ("no_data }", "initial }\nstart: latest", &["start", "no_data", "line: 6"]),
        ("port: 1,", "port: '${env:LW_TEST_PASSWORD}',", &["source.mysql.port", "whole number"]),
        ("file://", "", &["lake.url"]),
    ] {
        let text = valid(lake);
        assert!(text.contains(from), "{from}");
        let place = Place::new(&text.replace(from, to));
        for command in [&["run"][..], &["check"], &["status"], &["position", "show"]] {
            let (code, out, err) = place.run(command);
            assert_eq!((code, out.as_str()), (2, ""), "{command:?}: {err}");
            assert!(err.starts_with("error: ") && err.contains("to mend it:"), "{err}");
            for word in words {
                assert!(err.contains(word), "`{word}` is not in:\n{err}");
            }
        }
    }
}

#[test]
fn a_missing_file_is_told_with_the_way_to_one() {
    let place = Place::valid();
    let (code, _, err) = place.run(&["run", "--config", "other.yaml"]);
    assert_eq!(code, 2);
    assert!(err.contains("other.yaml") && err.contains("lakeward init"), "{err}");
}

#[test]
fn an_error_is_json_where_json_is_asked_for() {
    let place = Place::valid();
    let (code, out, err) = place.run(&["status", "--json", "--config", "other.yaml"]);
    let json: Value = serde_json::from_str(&err).unwrap();
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(json["error"]["kind"], "Config");
    assert_eq!(json["error"]["exit_code"], 2);
    assert!(json["error"]["where"]["file"].as_str().unwrap().ends_with("other.yaml"));
}

#[test]
fn check_tells_a_server_that_does_not_answer_and_writes_nothing() {
    let place = Place::valid();
    let (code, out, _) = place.run(&["check"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("ERROR    server.connection"), "{out}");
    assert_eq!(out.matches("look at host and port").count(), 1, "the remedy is told once:\n{out}");
    let (code, out, _) = place.run(&["check", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["ok"]), (3, &Value::Bool(false)));
    assert!(json["findings"].as_array().unwrap().iter().any(|f| f["subject"] == "server.connection"));
}

#[test]
fn status_and_position_of_a_pipeline_that_never_ran_say_so_and_write_nothing() {
    let place = Place::valid();
    let (code, out, _) = place.run(&["status"]);
    assert_eq!(code, 0);
    assert!(out.contains("never ran") && out.contains("not reached"), "{out}");
    let (code, out, _) = place.run(&["status", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["lake"], &json["server"]["state"]), (0, &Value::Null, &"unreachable".into()));
    let (code, out, _) = place.run(&["position", "show"]);
    assert_eq!(code, 0);
    assert!(out.contains("none"), "{out}");
    assert!(!place.lake().exists());
}

#[test]
fn init_does_not_touch_a_file_that_exists() {
    let place = Place::valid();
    let before = std::fs::read_to_string(place.folder.path().join("lakeward.yaml")).unwrap();
    let arguments = ["init", "--host", "127.0.0.1", "--port", "1", "--user", "u", "--lake", "file:///x"];
    let (code, _, err) = place.run(&arguments);
    assert_eq!(code, 2);
    assert!(err.contains("exists already") && err.contains("--force"), "{err}");
    assert_eq!(std::fs::read_to_string(place.folder.path().join("lakeward.yaml")).unwrap(), before);
}

#[test]
fn init_tells_what_is_wrong_by_its_options_and_that_no_server_answers() {
    let place = Place::valid();
    let init = |host: &str, lake: &str| {
        let server = ["--host", host, "--port", "1", "--user", "u", "--password-env", "LW_TEST_PASSWORD"];
        place.run(&[&["init", "--config", "new.yaml", "--lake", lake][..], &server].concat())
    };
    for (host, lake, option) in
        [("127.0.0.1", "/x", "option: --lake"), ("127.0.0.1:3306", "file:///x", "option: --host")]
    {
        let (code, _, err) = init(host, lake);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(option) && !err.contains("line:"), "{err}");
    }
    let (code, _, err) = init("127.0.0.1", "file:///x");
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("look at host and port") && !err.contains("trying again"), "{err}");
    assert!(!place.folder.path().join("new.yaml").exists());
}

#[test]
fn a_run_that_waits_for_its_server_leaves_at_once_when_it_is_told_to() {
    let place = Place::valid();
    let errors = place.folder.path().join("errors");
    let mut command = place.command(&["run"]);
    command.stderr(std::fs::File::create(&errors).unwrap()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while !std::fs::read_to_string(&errors).unwrap().contains("trying again") {
        assert!(begun.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = Instant::now();
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    let errors = std::fs::read_to_string(&errors).unwrap();
    assert!(!errors.contains(SECRET), "{errors}");
    for line in errors.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    }
}

#[test]
fn the_printed_schema_is_the_stored_one() {
    let (code, out, _) = Place::valid().run(&["config", "schema"]);
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/config.schema.json");
    assert_eq!((code, out), (0, std::fs::read_to_string(stored).unwrap()));
}

#[test]
fn every_help_page_teaches() {
    let place = Place::valid();
    for command in [
        &[][..],
        &["init"],
        &["check"],
        &["run"],
        &["status"],
        &["snapshot"],
        &["resume"],
        &["position", "show"],
        &["config", "schema"],
    ] {
        let (code, out, _) = place.run(&[command, &["--help"]].concat());
        assert_eq!(code, 0);
        assert!(out.contains("Example"), "no example for {command:?}:\n{out}");
    }
}

/// The lake of the place, open as a run has it, with `shop.orders` in it.
struct Running {
    runtime: tokio::runtime::Runtime,
    sink: LakeSink,
}

impl Running {
    fn begin(place: &Place) -> Running {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let url = format!("file://{}", place.lake().display());
        let lake: LakeConfig = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        let options = SinkOptions {
            derived_versions: false,
            lake: lake.checked().unwrap(),
            pipeline: "shop".into(),
            memory: lakeward_core::ByteSize::mib(64),
            clock: Arc::new(SystemClock::start()),
            stats: Arc::default(),
            writer: uuid::Uuid::new_v4(),
            sharing: Sharing::Exclusive,
        };
        let sink = runtime.block_on(async {
            let mut sink = LakeSink::new(options).await.unwrap();
            sink.open().await.unwrap();
            sink.commit(committed(Vec::new(), SnapshotState::Done)).await.unwrap();
            sink
        });
        Running { runtime, sink }
    }

    /// Waits for the request of `child`.
    fn request(&self, child: &mut Child, wanted: &Asked) -> Request {
        let begun = Instant::now();
        loop {
            let standing = self.runtime.block_on(self.sink.requests()).unwrap();
            if let Some(request) = standing.into_iter().find(|request| request.command == *wanted) {
                return request;
            }
            assert!(begun.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answer(&mut self, answer: Answer, snapshot: SnapshotState) {
        self.runtime.block_on(self.sink.commit(committed(vec![answer], snapshot))).unwrap();
    }
}

fn orders() -> TableId {
    TableId::new("shop", "orders")
}

fn committed(requests: Vec<Answer>, snapshot: SnapshotState) -> Checkpoint {
    let position = Position::Binlog(BinlogPosition {
        server_uuid: "11111111-1111-1111-1111-111111111111".parse().unwrap(),
        file: "binlog.000001".into(),
        offset: 4,
        gtid_set: None,
    });
    let state = TableState {
        schema_version: 0,
        status: TableStatus::Active,
        snapshot,
        deleted_by_key: false,
        dropped: false,
    };
    let tables = Arc::new([(orders(), state)].into());
    Checkpoint { position, next_seq: 1, commit_us: None, retired: 0, requests, prepared: Vec::new(), tables }
}

fn spawned(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_snapshot_is_asked_for_through_the_lake_and_the_answer_is_told() {
    let place = Place::valid();
    let mut running = Running::begin(&place);
    let mut child = spawned(&place, &["snapshot", "shop.orders", "--where", "id > 5", "--json"]);
    let condition = Some("id > 5".to_owned());
    let wanted = Asked::Snapshot { table: orders(), condition: condition.clone() };
    let request = running.request(&mut child, &wanted);
    let open = Snapshot { condition, ..Snapshot::default() };
    running.answer(Answer::done(request.id), SnapshotState::Open(open));
    let (code, out, err) = told(&child.wait_with_output().unwrap());
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str(), &json["state"]), (0, "", &"taken".into()));
    assert_eq!(json["snapshot"]["condition"], "id > 5");

    let (code, out, _) = place.run(&["status"]);
    assert!(code == 0 && out.contains("shop.orders to come, where id > 5"), "{out}");
}

#[test]
fn a_refused_request_ends_with_4_and_its_reason() {
    let place = Place::valid();
    let mut running = Running::begin(&place);
    let mut child = spawned(&place, &["snapshot", "shop.orders", "--pause"]);
    let request = running.request(&mut child, &Asked::Pause { table: orders() });
    running.answer(Answer::refused(request.id, "no reading is under way"), SnapshotState::Done);
    let (code, out, _) = told(&child.wait_with_output().unwrap());
    assert_eq!(code, 4, "{out}");
    assert!(out.contains("pause shop.orders: refused: no reading is under way"), "{out}");
}

#[test]
fn a_request_to_a_pipeline_that_does_not_run_stands_in_the_lake() {
    let place = Place::valid();
    drop(Running::begin(&place));
    let (code, out, _) = place.run(&["resume", "shop.orders", "--no-wait"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("may be refused: the table is not stopped"), "{out}");
    let (code, out, _) = place.run(&["snapshot", "shop.orders", "--no-wait", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["state"], &json["why"]), (0, &"standing".into(), &Value::Null));
    let (_, out, _) = place.run(&["status", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    let requests = json["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0]["command"]["resume"]["table"], serde_json::json!(["shop", "orders"]));
    assert_eq!(requests[1]["command"]["snapshot"]["table"], serde_json::json!(["shop", "orders"]));
}

#[test]
fn a_request_that_cannot_be_meant_is_refused_before_it_is_put() {
    let place = Place::valid();
    let (code, _, err) = place.run(&["snapshot", "shop.orders"]);
    assert_eq!(code, 2);
    assert!(err.contains("has not committed anything yet") && err.contains("lakeward run"), "{err}");
    assert!(!place.lake().exists(), "a question writes nothing");
    drop(Running::begin(&place));
    for (arguments, words) in [
        (&["snapshot", "crm.people"][..], &["crm.people", "tables.include"][..]),
        (&["resume", "orders"], &["`orders`", "shop.orders"]),
        (&["snapshot", "shop.*"], &["`shop.*`"]),
        (&["snapshot", "shop.orders", "--where", " "], &["--where"]),
        (&["snapshot", "shop.orders", "--pause", "--cancel"], &["--pause", "--cancel"]),
        (&["snapshot", "shop.orders", "--continue", "--where", "x"], &["--where"]),
        (&["resume"], &["TABLE"]),
    ] {
        let (code, out, err) = place.run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        for word in words {
            assert!(err.contains(word), "`{word}` is not in:\n{err}");
        }
    }
    assert!(!place.lake().join("_lakeward/shop/requests").exists());
}

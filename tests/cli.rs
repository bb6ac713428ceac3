//! The command line as a user meets it, where no server is needed: bad input, exit codes, secrets.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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
        ("no_data", "initial", &["not yet available", "no_data", "line: 5"]),
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
    for command in
        [&[][..], &["init"], &["check"], &["run"], &["status"], &["position", "show"], &["config", "schema"]]
    {
        let (code, out, _) = place.run(&[command, &["--help"]].concat());
        assert_eq!(code, 0);
        assert!(out.contains("Example"), "no example for {command:?}:\n{out}");
    }
}

//! `status` and `position show` tell where a pipeline stands, also while the server is away, and write
//! nothing; `init` writes a config that works.

use lakeward_test_support::mysql::{PASSWORD, USER};
use lakeward_test_support::{LIMIT, Lakeward, Scratch};
use serde_json::Value;
use std::process::Command;

use crate::world::{ended, finish, folder, server, view};

fn json(pipeline: &lakeward_test_support::Pipeline, arguments: &[&str]) -> Value {
    let ended = finish(pipeline, arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.printed());
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.printed()))
}

#[test]
fn status_tells_what_the_lake_and_the_server_have() {
    let mut server = server();
    server
        .sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)");
    let pipeline = folder(&server);
    let never = finish(&pipeline, &["status"]);
    assert_eq!(never.code, Some(0), "{}", never.printed());
    assert!(view(&pipeline).contents().is_empty(), "status writes nothing");
    pipeline.catch_up();
    let before = view(&pipeline).contents();
    let status = json(&pipeline, &["status", "--json"]);
    assert_eq!(status["server"]["transactions_behind"], 0, "{status}");
    assert_eq!(status["tables"]["active"], 1, "{status}");
    server.sql("INSERT INTO shop.t VALUES (2); INSERT INTO shop.t VALUES (3)");
    assert_eq!(json(&pipeline, &["status", "--json"])["server"]["transactions_behind"], 2);
    let position = json(&pipeline, &["position", "show", "--json"]);
    assert_eq!(position["position"], view(&pipeline).checkpoint().unwrap()["position"]);
    server.stop();
    let away = json(&pipeline, &["status", "--json"]);
    assert_eq!(away["server"]["state"], "unreachable", "{away}");
    assert_eq!(away["lake"]["checkpoint"], view(&pipeline).checkpoint().unwrap());
    assert_eq!(view(&pipeline).contents(), before, "status writes nothing");
}

#[test]
fn init_writes_a_config_that_runs_and_keeps_one_that_is_there() {
    let server = server();
    server
        .sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)");
    let home = Scratch::new("init");
    let lakeward = |arguments: &[&str]| {
        let mut command = Command::new(Lakeward::binary());
        command.args(arguments).current_dir(home.path()).env("MYSQL_PASSWORD", PASSWORD);
        ended(&mut Lakeward::start(&command), LIMIT)
    };
    let port = server.port().to_string();
    let lake = format!("file://{}", home.join("lake").display());
    let arguments = ["init", "--host", "127.0.0.1", "--port", &port, "--user", USER, "--lake", &lake];
    let first = lakeward(&arguments);
    assert_eq!(first.code, Some(0), "{}", first.printed());
    let written = std::fs::read_to_string(home.join("lakeward.yaml")).unwrap();
    assert!(written.contains("shop") && !written.contains(PASSWORD), "{written}");
    let second = lakeward(&arguments);
    assert_eq!(second.code, Some(2), "{}", second.printed());
    assert_eq!(std::fs::read_to_string(home.join("lakeward.yaml")).unwrap(), written);
    let check = lakeward(&["check"]);
    assert_eq!(check.code, Some(0), "{}", check.printed());
    let run = lakeward(&["run", "--until-caught-up"]);
    assert_eq!(run.code, Some(0), "{}", run.printed());
}

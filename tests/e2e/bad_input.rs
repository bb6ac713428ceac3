//! What is wrong is named, with its fix and its exit code, and nothing is written.

use std::fs;
use std::path::PathBuf;

use lakeward_test_support::mysql::{MySql, MySqlOptions, PASSWORD, USER};
use lakeward_test_support::s3::S3;
use lakeward_test_support::{LIMIT, Pipeline, Place};
use serde_json::{Value, json};

use crate::world::{PIPELINE, finish, folder, refuses, server, server_with, set, view};

const CHECK_FOUND_ERRORS: Option<i32> = Some(3);
const TABLE: &str =
    "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); INSERT INTO shop.orders VALUES (1)";

/// `check` finds it too, and tells the same fix.
fn is_found(pipeline: &Pipeline, exit_code: u8, words: &[&str]) {
    refuses(pipeline, exit_code, words);
    let before = view(pipeline).contents();
    let check = finish(pipeline, &["check"]);
    assert_eq!(check.code, CHECK_FOUND_ERRORS, "{}", check.printed());
    for word in words {
        assert!(check.printed().contains(word), "no {word} in: {}", check.printed());
    }
    let json = finish(pipeline, &["check", "--json"]);
    assert!(serde_json::from_str::<Value>(&json.stdout).is_ok(), "{}", json.printed());
    assert_eq!(view(pipeline).contents(), before, "check leaves nothing behind");
}

#[test]
fn a_login_that_the_server_refuses() {
    let server = server();
    server.sql(TABLE);
    let mut pipeline = folder(&server);
    pipeline.environment = vec![("MYSQL_PASSWORD".into(), "not it".into())];
    is_found(&pipeline, 10, &[USER]);
    let mut pipeline = folder(&server);
    set(&mut pipeline, "source/mysql/user", "nobody_of_that_name");
    is_found(&pipeline, 10, &["nobody_of_that_name"]);
}

#[test]
fn a_missing_privilege() {
    let server = server();
    server.sql(TABLE);
    for (missing, grants) in [
        ("REPLICATION SLAVE", "SELECT, REPLICATION CLIENT"),
        ("REPLICATION CLIENT", "SELECT, REPLICATION SLAVE"),
        ("SELECT", "REPLICATION SLAVE, REPLICATION CLIENT"),
    ] {
        server.sql(&format!(
            "REVOKE ALL PRIVILEGES, GRANT OPTION FROM {USER}@'%'; GRANT {grants} ON *.* TO {USER}@'%'"
        ));
        is_found(&folder(&server), 10, &[missing, "GRANT"]);
    }
}

#[test]
fn a_setting_of_the_server_that_makes_an_exact_copy_impossible() {
    for (argument, words) in [
        ("--binlog-format=STATEMENT", &["binlog_format", "ROW"][..]),
        ("--binlog-format=MIXED", &["binlog_format", "ROW"]),
        ("--binlog-row-image=MINIMAL", &["binlog_row_image", "FULL"]),
        ("--binlog-row-image=NOBLOB", &["binlog_row_image", "FULL"]),
        ("--skip-log-bin", &["binlog"]),
    ] {
        let server = server_with(MySqlOptions { extra: vec![argument.into()], ..MySqlOptions::default() });
        server.sql(TABLE);
        is_found(&folder(&server), 10, words);
    }
}

#[test]
fn a_table_that_does_not_exist() {
    let server = server();
    server.sql(TABLE);
    let mut pipeline = folder(&server);
    set(&mut pipeline, "tables/include", json!(["shop.ordres"]));
    is_found(&pipeline, 2, &["shop.ordres", "shop.orders"]);
}

#[test]
fn a_folder_that_cannot_be_written() {
    let server = server();
    server.sql(TABLE);
    let mut pipeline = folder(&server);
    set(&mut pipeline, "lake/url", "file:///proc/lake");
    is_found(&pipeline, 21, &["/proc"]);
    let mut pipeline = folder(&server);
    let file = pipeline.lake().with_file_name("a file");
    fs::write(&file, "x").unwrap();
    set(&mut pipeline, "lake/url", format!("file://{}/lake", file.display()).replace(' ', "%20"));
    is_found(&pipeline, 21, &["a file"]);
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn a_bucket_that_cannot_be_written() {
    let (server, s3) = (server(), S3::start());
    server.sql(TABLE);
    let on_s3 = || Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::s3(&s3));
    let mut pipeline = on_s3();
    set(&mut pipeline, "lake/url", "s3://no-such-bucket/lake");
    is_found(&pipeline, 21, &["no-such-bucket"]);
    let mut pipeline = on_s3();
    pipeline.environment.retain(|(name, _)| name != "AWS_SECRET_ACCESS_KEY");
    pipeline.environment.push(("AWS_SECRET_ACCESS_KEY".into(), "wrong-secret-key".into()));
    is_found(&pipeline, 21, &["lake"]);
}

#[test]
fn a_commit_record_that_is_damaged_foreign_or_of_a_later_version() {
    let server = server();
    server.sql(TABLE);
    let pipeline = folder(&server);
    pipeline.catch_up();
    server.sql("INSERT INTO shop.orders VALUES (2)");
    let log = pipeline.lake().join("_lakeward").join(PIPELINE).join("log");
    let mut records: Vec<_> = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
    records.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    records.sort();
    let record = records.last().unwrap();
    let name = record.file_name().unwrap().to_str().unwrap();
    let whole = fs::read_to_string(record).unwrap();
    let changed = |key: &str, value: Value| {
        let mut json: Value = serde_json::from_str(&whole).unwrap();
        json[key] = value;
        json.to_string()
    };
    for damaged in [
        whole[..whole.len() / 2].to_owned(),
        String::new(),
        whole.replacen("\"next_seq\":", "\"next_seq\": 1", 1),
        changed("format", 999.into()),
        changed("pipeline", "somebody-else".into()),
        changed("number", 7777.into()),
        changed("unknown_field", true.into()),
        "[1, 2".repeat(100_000),
    ] {
        assert_ne!(damaged, whole);
        fs::write(record, &damaged).unwrap();
        refuses(&pipeline, 23, &[name]);
        let status = finish(&pipeline, &["status"]);
        assert_eq!(status.code, Some(23), "{}", status.printed());
    }
    fs::write(record, &whole).unwrap();
    pipeline.catch_up();
}

#[test]
fn a_config_that_is_wrong() {
    let server = server();
    server.sql(TABLE);
    let cases: &[(&str, Value, &[&str])] = &[
        ("lake/comit", json!({ "interval": "1s" }), &["comit", "commit"]),
        ("source/mysql/pasword", json!("x"), &["pasword", "password"]),
        ("surce", json!({}), &["surce", "source"]),
        ("lake/commit/interval", json!("soon"), &["interval", "soon"]),
        ("lake/commit/file_size", json!("12 parsecs"), &["file_size", "parsecs"]),
        ("lake/url", json!("ftp://somewhere"), &["url", "ftp"]),
        ("lake/partition", json!("minute"), &["partition", "minute"]),
        ("source/mysql/port", json!(70_000), &["port"]),
        ("source/mysql/tls/mode", json!("verify_ca"), &["mode", "verify-ca"]),
        ("source/mysql/password", json!("${env:NO_SUCH_VARIABLE}"), &["NO_SUCH_VARIABLE"]),
        ("source/mysql/password", json!("${file:/no/such/file}"), &["/no/such/file"]),
        ("snapshot/mode", json!("initial"), &["snapshot", "no_data"]),
        (
            "transport",
            json!({ "kafka": { "brokers": "x:1", "topics": { "partition": 3 } } }),
            &["partition", "partitions"],
        ),
        (
            "transport",
            json!({ "kafka": { "brokers": "x:1", "properties": { "acks": 0 } } }),
            &["acks", "exactly-once"],
        ),
        ("start", json!("yesterday"), &["start", "yesterday"]),
        ("name", json!("not a name/.."), &["name"]),
        ("tables/include", json!([]), &["include"]),
        ("tables/include", json!(["orders"]), &["orders"]),
        ("on_error", json!("ignore"), &["on_error", "ignore"]),
    ];
    for (key, value, words) in cases {
        let mut pipeline = folder(&server);
        set(&mut pipeline, key, value.clone());
        let refused = refuses(&pipeline, 2, words);
        assert!(!refused.printed().contains(PASSWORD), "the password is shown for {key}");
    }
    let pipeline = folder(&server);
    // Each names what is wrong, or the file.
    for (text, word) in [
        ("name: [", None),
        ("", Some("name")),
        ("- a\n- b\n", None),
        ("name: shop\nname: shop\n", Some("name")),
    ] {
        let mut command = pipeline.command(&["run", "--until-caught-up"]);
        let file = PathBuf::from(command.get_args().last().unwrap());
        let word = word.unwrap_or_else(|| file.file_name().unwrap().to_str().unwrap());
        fs::write(&file, text).unwrap();
        let mut run = lakeward_test_support::Lakeward::start(&command);
        let ended = crate::world::ended(&mut run, LIMIT);
        assert_eq!(ended.code, Some(2), "{text:?}: {}", ended.printed());
        assert!(ended.printed().contains(word), "{text:?}: no {word} in {}", ended.printed());
        fs::remove_file(&file).unwrap();
        let missing = command.output().unwrap();
        assert_eq!(missing.status.code(), Some(2));
    }
    assert!(view(&pipeline).contents().is_empty());
}

#[test]
fn a_column_that_collides_with_one_of_ours_is_told_and_can_be_solved() {
    let server = server();
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, _op INT, dt INT); INSERT INTO shop.t VALUES (1, 2, 3)");
    let mut pipeline = folder(&server);
    let check = finish(&pipeline, &["check"]);
    assert_eq!(check.code, CHECK_FOUND_ERRORS, "{}", check.printed());
    assert!(check.printed().contains("_op") && check.printed().contains("columns"), "{}", check.printed());
    set(&mut pipeline, "lake/columns/op", "lakeward_op");
    set(&mut pipeline, "lake/layout", "ymdh");
    assert_eq!(finish(&pipeline, &["check"]).code, Some(0));
    pipeline.catch_up();
}

#[test]
fn check_of_a_pipeline_without_fault_says_so_and_leaves_nothing() {
    let server = server();
    server.sql(TABLE);
    let s3 = S3::start();
    for pipeline in [folder(&server), Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::s3(&s3))] {
        let check = finish(&pipeline, &["check"]);
        assert_eq!(check.code, Some(0), "{}", check.printed());
        assert!(check.printed().contains("shop.orders"), "{}", check.printed());
        assert!(view(&pipeline).contents().is_empty(), "{:?}", view(&pipeline).contents());
    }
}

#[test]
fn a_server_that_is_not_there() {
    let server = server();
    let port = server.port();
    let pipeline = folder(&server);
    drop::<MySql>(server);
    let check = finish(&pipeline, &["check"]);
    assert_eq!(check.code, CHECK_FOUND_ERRORS, "{}", check.printed());
    assert!(check.printed().contains(&port.to_string()), "{}", check.printed());
}

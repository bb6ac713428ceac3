//! No password and no key that a pipeline was given shows in anything that lakeward prints, serves or
//! writes, whether things go well or not.

use std::fs;

use lakeward_test_support::mysql::PASSWORD;
use lakeward_test_support::s3::{S3, SECRET_KEY};
use lakeward_test_support::{LIMIT, Pipeline, Place, free_port};

use crate::lake::files_below;
use crate::metrics::get;
use crate::world::{PIPELINE, ended, finish, server, set, stop, wait_for_checkpoint};

/// The forms in which a secret could show.
fn forms(secret: &str) -> Vec<String> {
    let percent: String = secret.bytes().fold(String::new(), |text, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => format!("{text}{}", char::from(byte)),
        _ => format!("{text}%{byte:02X}"),
    });
    let json = serde_json::to_string(secret).unwrap();
    let debug = format!("{secret:?}");
    let trim = |text: String| text.trim_matches('"').to_owned();
    vec![secret.to_owned(), percent, trim(json), trim(debug)]
}

/// Everything that was seen, and where.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    fn assert_free_of(&self, secrets: &[&str]) {
        assert!(self.0.len() > 20, "only {} things were looked at", self.0.len());
        for secret in secrets {
            for form in forms(secret) {
                for (place, bytes) in &self.0 {
                    let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
                    assert!(!found, "a secret shows in {place}");
                }
            }
        }
    }
}

#[test]
fn no_secret_is_shown_or_written() {
    let (server, s3) = (server(), S3::start());
    server
        .sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)");
    let mut pipeline = Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::s3(&s3));
    let port = free_port();
    set(&mut pipeline, "metrics/listen", format!("127.0.0.1:{port}"));
    set(&mut pipeline, "lake/s3/access_key", "${env:AWS_ACCESS_KEY_ID}");
    set(&mut pipeline, "lake/s3/secret_key", "${env:AWS_SECRET_ACCESS_KEY}");
    set(&mut pipeline, "log/level", "trace");
    let mut seen = Seen::default();
    let mut run = pipeline.start(&["run"]);
    wait_for_checkpoint(&pipeline, &mut run);
    seen.add("the command line", run.command_line());
    for path in ["/metrics", "/healthz", "/readyz", "/", "/config"] {
        seen.add(path, get(port, path).1);
    }
    seen.add("the log of a run", stop(&mut run).printed());
    for command in [
        &["check"][..],
        &["check", "--json"],
        &["status"],
        &["status", "--json"],
        &["position", "show"],
        &["position", "show", "--json"],
        &["config", "schema"],
        &["run", "--until-caught-up"],
    ] {
        seen.add(command.join(" "), finish(&pipeline, command).printed());
    }
    // Now with things that go wrong: every error message there is to be had with a secret near it.
    let wrong = |key: &str, value: serde_json::Value| {
        let mut broken = Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::s3(&s3));
        set(&mut broken, "log/level", "trace");
        set(&mut broken, key, value);
        broken
    };
    let secret_in_the_file = format!("{PASSWORD}{SECRET_KEY}");
    for (key, value) in [
        ("source/mysql/user", "nobody".into()),
        ("source/mysql/port", 1.into()),
        ("source/mysql/host", "no.such.host.invalid".into()),
        ("source/mysql/tls/ca", "/no/such/file".into()),
        ("source/mysql/password", serde_json::json!([PASSWORD])),
        ("source/mysql/password", serde_json::json!({ "value": PASSWORD })),
        ("source/mysql/passwort", PASSWORD.into()),
        ("lake/s3/secret_key", secret_in_the_file.as_str().into()),
        ("lake/url", "s3://no-such-bucket/x".into()),
        ("lake/s3/endpoint", "http://127.0.0.1:1".into()),
        (
            "source/mysql/password_command",
            serde_json::json!(["sh", "-c", format!("echo {SECRET_KEY}; echo {SECRET_KEY} >&2; exit 3")]),
        ),
    ] {
        let broken = wrong(key, value);
        // With a target that is not there a run tries for ever; `check` does not.
        let check = finish(&broken, &["check"]);
        assert_ne!(check.code, Some(0), "{key}: {}", check.printed());
        seen.add(format!("check with {key}"), check.printed());
    }
    let mut wrong_password = Pipeline::new(PIPELINE, &server, &["shop.*"], &Place::s3(&s3));
    wrong_password.environment[0].1 = "another-S3cret".into();
    let refused = ended(&mut wrong_password.start(&["run"]), LIMIT);
    seen.add("a refused login", refused.printed());
    for path in files_below(&pipeline.lake()) {
        seen.add(path.display().to_string(), fs::read(&path).unwrap());
    }
    seen.assert_free_of(&[PASSWORD, SECRET_KEY, "another-S3cret"]);
}

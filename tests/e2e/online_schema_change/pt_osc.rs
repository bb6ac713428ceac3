//! pt-online-schema-change itself: its triggers copy what writers do meanwhile.

use std::process::Command;

use lakeward_test_support::mysql::{MySql, RowMetadata};

use super::{Writer, begin, check};

/// Runs the tool on `shop.orders`.
fn pt_online_schema_change(server: &MySql, alter: &str) {
    let connection = format!("h=127.0.0.1,P={},u=root,D=shop,t=orders", server.port());
    let output = Command::new("pt-online-schema-change")
        .args([
            "--execute",
            "--no-version-check",
            "--recursion-method=none",
            "--chunk-size=200",
            "--charset=utf8mb4",
        ])
        .args(["--alter", alter, &connection])
        .env("PERL5LIB", "")
        .output()
        .expect("pt-online-schema-change is installed (tests/support/install.sh)");
    let printed =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}");
    println!("{printed}");
}

fn migrate(row_metadata: RowMetadata) {
    let (server, pipeline, lakeward) = begin(row_metadata);
    let writer = Writer::start(&server);
    pt_online_schema_change(&server, "ADD COLUMN added INT, MODIFY note VARCHAR(300)");
    let changes = writer.finish();
    println!("{changes} changes meanwhile");
    check(&server, &pipeline, lakeward);
}

#[test]
fn pt_online_schema_change_is_one_schema_change() {
    migrate(RowMetadata::Full);
}

#[test]
fn pt_online_schema_change_is_one_schema_change_with_minimal_metadata() {
    migrate(RowMetadata::Minimal);
}

//! A whole table: by itself, and while a backlog of changes is read.

use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{Measured, Pipeline, Place, measure};
use serde_json::json;

use super::{pipeline, rows_in};

/// The rows, by the client, thrown away.
pub(super) fn mysql_quick(server: &MySql) -> Measured {
    let mut command = server.client();
    command.args(["--quick", "--protocol=TCP", "--host=127.0.0.1", "--ssl-mode=DISABLED"]);
    command.arg(format!("--port={}", server.port())).args(["-e", "SELECT * FROM shop_snap.orders"]);
    measure(&command)
}

fn reads_rows(mut pipeline: Pipeline) -> Pipeline {
    pipeline.config["snapshot"]["mode"] = "initial".into();
    pipeline.config.as_object_mut().expect("a config is an object").remove("start");
    pipeline
}

/// Fails unless every row is in the lake.
pub(super) fn snapshot(server: &MySql, rows: u64) -> Measured {
    let pipeline = reads_rows(pipeline(server, &["shop_snap.*"], &Place::Folder));
    let measured = measure(&pipeline.command(&["run", "--until-caught-up"]));
    assert_eq!(rows_in(&pipeline.lake()), rows, "rows in the lake");
    measured
}

/// A pipeline that has begun, and has everything that will be written before it.
pub(super) fn before_changes(server: &MySql) -> Pipeline {
    let pipeline = reads_rows(pipeline(server, &["shop.*"], &Place::Folder));
    pipeline.catch_up();
    pipeline
}

/// The backlog and the table at once.
pub(super) fn with_changes(mut pipeline: Pipeline, rows: u64) -> Measured {
    pipeline.config["tables"]["include"] = json!(["shop.*", "shop_snap.*"]);
    let measured = measure(&pipeline.command(&["run", "--until-caught-up"]));
    assert_eq!(rows_in(&pipeline.lake()), rows, "rows in the lake");
    measured
}

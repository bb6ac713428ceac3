//! Changes: the whole binlog, to the lake and to a file.

use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{Measured, Place, Scratch, measure};

use super::{pipeline, rows_in};

/// Copies the binlog, untouched.
pub(super) fn mysqlbinlog(server: &MySql) -> Measured {
    let target = Scratch::new("mysqlbinlog");
    let first = server.rows("SHOW BINARY LOGS")[0][0].clone().expect("a binlog has a name");
    let mut command = server.mysqlbinlog();
    command
        .args(["--read-from-remote-server", "--raw", "--to-last-log", "--ssl-mode=DISABLED"])
        .arg(format!("--result-file={}/", target.path().display()))
        .arg(first);
    measure(&command)
}

/// Fails unless every row event is in the lake.
pub(super) fn lakeward(server: &MySql, place: &Place<'_>, rows: u64) -> Measured {
    let pipeline = pipeline(server, &["shop.*"], place);
    let measured = measure(&pipeline.command(&["run", "--until-caught-up"]));
    assert_eq!(rows_in(&pipeline.lake()), rows, "row events in the lake");
    measured
}

//! Finished chunks are not read again: the server's own counters of what it sent.

use lakeward_test_support::mysql::{MySql, MySqlOptions, USER};
use lakeward_test_support::{LIMIT, Signal, wait_until};

use super::fire::Target;
use super::keys::kind;
use super::pipeline::{initial, rows_in_lake, server_with_numbers, wait_until_read};
use crate::whole::assert_equal;
use crate::world::{ended, restless, set, stop, view};

const ROWS: u64 = 600_000;

/// Rows that the server sent to lakeward, which has ended, for its SELECTs.
pub(super) fn rows_sent(server: &MySql) -> u64 {
    // A SELECT counts once it ends, and the server notices late that nobody listens.
    let sessions = format!("SELECT COUNT(*) FROM performance_schema.processlist WHERE user = '{USER}'");
    wait_until("the sessions to end", LIMIT, || (server.value(&sessions) == "0").then_some(()));
    let sent = server.value(&format!(
        "SELECT CAST(SUM(sum_rows_sent) AS UNSIGNED) FROM performance_schema.events_statements_summary_by_user_by_event_name \
         WHERE user = '{USER}' AND event_name IN ('statement/sql/select', 'statement/com/Execute', 'statement/com/Fetch')"
    ));
    sent.parse().expect("a number")
}

#[test]
fn what_was_decided_before_a_kill_is_not_read_again() {
    let server = server_with_numbers(ROWS, MySqlOptions::default());
    let target = Target::create(&server, kind("case_insensitive"), "t", ROWS);
    let mut pipeline = initial(&server);
    restless(&mut pipeline);
    set(&mut pipeline, "snapshot/parallelism", 2);
    let allowance = ROWS / 50;
    for part in [10, 30, 60] {
        let mut run = pipeline.start(&["run"]);
        wait_until(&format!("{part} percent"), LIMIT, || {
            assert!(run.ended().is_none(), "the run ended: {}", run.printed());
            (rows_in_lake(&pipeline) >= ROWS * part / 100).then_some(())
        });
        run.signal(Signal::Kill);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9));
        // What the next run finds decided. Only what is left of the table may be sent from here on.
        let (decided, sent) = (rows_in_lake(&pipeline), rows_sent(&server));
        let mut next = pipeline.start(&["run"]);
        let names = [("shop".to_owned(), "t".to_owned())];
        if part == 60 {
            wait_until_read(&pipeline, &mut next, &names, LIMIT);
            stop(&mut next);
            let again = rows_sent(&server) - sent;
            println!("{decided} of {ROWS} rows decided before the last kill, {again} sent after it");
            assert!(decided < ROWS, "the table is large enough to be killed in the middle");
            let left = ROWS - decided;
            assert!(again >= left, "the counters miss rows: {again} sent for {left}");
            assert!(again <= left + allowance, "{again} rows sent for {left}");
        } else {
            next.kill();
        }
    }
    let ops = assert_equal(&server, &view(&pipeline), &[target.kind.keyed("t")]);
    assert_eq!(ops[0].get("r"), Some(&ROWS), "{ops:?}");
}

//! What the largest statements cost: a session in statement format may log as much text as a packet holds. Its
//! own process, as the memory that it takes at most is looked at.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use lakeward_mysql::ddl::{self, SqlSession, Statement};

const MIB: usize = 1 << 20;

/// What this process ever had in memory.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn a_statement_that_changes_rows_is_read_in_little_memory_and_time_however_long_it_is() {
    let session = SqlSession { default_database: "shop", ..SqlSession::default() };
    // A target that is certain; one of several, for which the whole text is looked at.
    for (before, after, most) in [
        ("INSERT INTO t VALUES (0,0)", "", 12 * MIB),
        ("UPDATE t JOIN u SET t.a = 1 WHERE (0,0) IN ((1,2)", ")", 32 * MIB),
    ] {
        let text = format!("{before}{}{after}", ",(1,2)".repeat(16 * MIB / 6));
        let (before, began) = (peak(), Instant::now());
        let statement = ddl::read(&text, &session);
        assert!(matches!(statement, Statement::Rows { .. }));
        let (taken, took) = (peak() - before, began.elapsed());
        assert!(taken < most, "{} MiB for a statement of {}", taken / MIB, text.len() / MIB);
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

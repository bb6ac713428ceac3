//! Tables that take another one's place, or come back under its name: those that are no whole copy are read anew.

use lakeward_core::Op;
use lakeward_test_support::mysql::{MySqlOptions, RowMetadata};

use crate::lake::{Lake, Setup, server, server_pairs};
use crate::rewritten::assert_equal;

/// Moves between the names of an online schema change that bring no whole copy, each with how its table stands before.
const MOVES: &[(&str, &str)] = &[
    // The old table is brought back, which lacks what changed since the cut-over: by hand, and by gh-ost.
    ("gh-ost", "RENAME TABLE shop.{t} TO shop.{t}_bad, shop._{t}_del TO shop.{t}"),
    ("gh-ost", "RENAME TABLE shop.{t} TO shop._{t}_rev_del, shop._{t}_del TO shop.{t}"),
    ("pt", "RENAME TABLE shop.{t} TO shop.{t}_bad, shop._{t}_old TO shop.{t}"),
    // There and back again.
    (
        "pt",
        "RENAME TABLE shop.{t} TO shop._{t}_new, shop._{t}_old TO shop.{t}; INSERT INTO shop.{t} VALUES (9, 9); \
         RENAME TABLE shop.{t} TO shop._{t}_old, shop._{t}_new TO shop.{t}",
    ),
    // A table begins anew.
    (
        "none",
        "CREATE TABLE shop._{t}_new LIKE shop.{t}; \
         RENAME TABLE shop.{t} TO shop.{t}_2025, shop._{t}_new TO shop.{t}",
    ),
    // Step by step: what comes between is in neither table.
    (
        "none",
        "CREATE TABLE shop._{t}_gho LIKE shop.{t}; INSERT INTO shop._{t}_gho SELECT * FROM shop.{t}; \
         ALTER TABLE shop.{t} RENAME shop._{t}_del; ALTER TABLE shop._{t}_gho RENAME shop.{t}",
    ),
];

#[test]
fn what_takes_a_tables_place_otherwise_than_the_tools_have_it_is_read_anew() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        let names: Vec<String> = (0..MOVES.len()).map(|at| format!("t{at}")).collect();
        for name in &names {
            server.sql(&format!(
                "CREATE TABLE shop.{name} (id INT PRIMARY KEY, n INT); INSERT INTO shop.{name} VALUES (1, 1), (2, 2)"
            ));
        }
        let mut lake = Lake::default();
        let mut run = Setup::default().open(&server).unwrap();
        run.until_equal(&server, &mut lake);
        for (name, (tool, _)) in names.iter().zip(MOVES) {
            let (ghost, old) = match *tool {
                "gh-ost" => (format!("_{name}_gho"), format!("_{name}_del")),
                "pt" => (format!("_{name}_new"), format!("_{name}_old")),
                _ => continue,
            };
            server.sql(&format!(
                "CREATE TABLE shop.{ghost} LIKE shop.{name}; INSERT INTO shop.{ghost} SELECT * FROM shop.{name}; \
                 RENAME TABLE shop.{name} TO shop.{old}, shop.{ghost} TO shop.{name}; \
                 INSERT INTO shop.{name} VALUES (3, 3); UPDATE shop.{name} SET n = 4 WHERE id = 1"
            ));
        }
        run.until_equal(&server, &mut lake);
        assert!(names.iter().all(|name| lake.count(name, Op::Read) == 2), "these are whole copies");
        for (name, (_, moves)) in names.iter().zip(MOVES) {
            server.sql(&moves.replace("{t}", name));
            server.sql(&format!("INSERT INTO shop.{name} VALUES (20, 20)"));
        }
        run.until_equal(&server, &mut lake);
        for (name, (_, moves)) in names.iter().zip(MOVES) {
            let context = format!("{row_metadata:?}: {}", moves.replace("{t}", name));
            assert_eq!(lake.pairs(name, "id", "n"), server_pairs(&server, name, "id", "n"), "{context}");
        }
    }
}

/// What is altered in a ghost of `id, n`, the columns that are copied and from which, and the columns that are there then.
const COPIES: &[(&str, &str, &str, &[&str])] = &[
    // A tool that does not know the clause, one that does, and one that is told not to care.
    ("RENAME COLUMN n TO m", "id", "id", &["id", "m"]),
    ("RENAME COLUMN n TO m", "id, m", "id, n", &["id", "m"]),
    ("CHANGE n m INT", "id, m", "id, n", &["id", "m"]),
    ("CHANGE n m INT", "id", "id", &["id", "m"]),
    ("RENAME COLUMN n TO m, ADD n INT DEFAULT 7", "id, n", "id, n", &["id", "m", "n"]),
    ("DROP n, ADD n INT DEFAULT 7", "id, n", "id, n", &["id", "n"]),
    // Each keeps its name.
    ("MODIFY n BIGINT FIRST, ADD o INT, ADD KEY (n)", "id, n", "id, n", &["n", "id", "o"]),
];

#[test]
fn columns_of_a_copy_that_were_renamed_or_made_anew_are_read() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        let tools = ["gh", "pt"];
        let runs = || tools.iter().flat_map(|tool| COPIES.iter().enumerate().map(move |copy| (*tool, copy)));
        let columns = "(id INT PRIMARY KEY, n INT)";
        for (tool, (at, _)) in runs() {
            server.sql(&format!(
                "CREATE TABLE shop.{tool}{at} {columns}; INSERT INTO shop.{tool}{at} VALUES (1, 1), (2, 2)"
            ));
        }
        let mut lake = Lake::default();
        let mut run = Setup::default().open(&server).unwrap();
        run.until_equal(&server, &mut lake);
        for (tool, (at, (alter, to, from, _))) in runs() {
            let name = format!("{tool}{at}");
            let (ghost, old, made) = match tool {
                "gh" => (format!("_{name}_gho"), format!("_{name}_del"), format!("LIKE shop.{name}")),
                _ => (format!("_{name}_new"), format!("_{name}_old"), columns.to_owned()),
            };
            server.sql(&format!(
                "CREATE TABLE shop.{ghost} {made}; ALTER TABLE shop.{ghost} {alter}; \
                 INSERT INTO shop.{ghost} ({to}) SELECT {from} FROM shop.{name}; \
                 RENAME TABLE shop.{name} TO shop.{old}, shop.{ghost} TO shop.{name}; \
                 INSERT INTO shop.{name} (id) VALUES (3)"
            ));
        }
        run.until_equal(&server, &mut lake);
        for (tool, (at, (alter, to, _, after))) in runs() {
            let (name, context) = (format!("{tool}{at}"), format!("{row_metadata:?}, {tool}: {alter}, {to}"));
            let again = lake.count(&name, Op::Read) > 2;
            let is_whole = after.contains(&"o");
            assert_eq!(again, !is_whole, "{context}");
            // Events of before lack what was added.
            let compared = if is_whole { &after[..2] } else { *after };
            assert_equal(&lake, &server, &name, compared, &context);
        }
    }
}

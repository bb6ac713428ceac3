//! Runs whose copy does not tell all values, and what is done by hand with the names of these tools: the table is read
//! anew, and the lake is equal.

use lakeward_test_support::mysql::{MySqlOptions, RowMetadata};

use crate::snapshot::pipeline::initial;
use crate::whole::{Keyed, assert_equal};
use crate::world::{server_with, view};

/// A table, and what is done with it.
struct Moves {
    table: &'static str,
    statements: &'static str,
}

const MOVES: &[Moves] = &[
    // The old table is brought back after the cut-over, without what changed meanwhile.
    Moves {
        table: "back",
        statements: "CREATE TABLE shop._back_gho LIKE shop.back; ALTER TABLE shop._back_gho ADD KEY (n); \
            INSERT INTO shop._back_gho SELECT * FROM shop.back; \
            RENAME TABLE shop.back TO shop._back_del, shop._back_gho TO shop.back; \
            INSERT INTO shop.back VALUES (3, 3); UPDATE shop.back SET n = 10 WHERE id = 1; \
            RENAME TABLE shop.back TO shop.back_bad, shop._back_del TO shop.back",
    },
    // The copy of a tool that does not know the clause.
    Moves {
        table: "renamed",
        statements: "CREATE TABLE shop._renamed_gho LIKE shop.renamed; \
            ALTER TABLE shop._renamed_gho RENAME COLUMN n TO m; \
            INSERT INTO shop._renamed_gho (id) SELECT id FROM shop.renamed; \
            RENAME TABLE shop.renamed TO shop._renamed_del, shop._renamed_gho TO shop.renamed; \
            INSERT INTO shop.renamed VALUES (3, 3)",
    },
    // A table begins anew under its name.
    Moves {
        table: "rotated",
        statements: "CREATE TABLE shop._rotated_new LIKE shop.rotated; \
            RENAME TABLE shop.rotated TO shop.rotated_2025, shop._rotated_new TO shop.rotated; \
            INSERT INTO shop.rotated VALUES (7, 7)",
    },
];

#[test]
fn copies_with_renamed_columns_and_tables_that_come_back_or_begin_anew_are_read_anew() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server = server_with(MySqlOptions { row_metadata, ..MySqlOptions::default() });
        server.sql("CREATE DATABASE shop");
        for Moves { table, .. } in MOVES {
            server.sql(&format!(
                "CREATE TABLE shop.{table} (id INT PRIMARY KEY, n INT); INSERT INTO shop.{table} VALUES (1, 1), (2, 2)"
            ));
        }
        let pipeline = initial(&server);
        pipeline.catch_up();
        for Moves { statements, .. } in MOVES {
            server.sql(statements);
        }
        pipeline.catch_up();
        let keyed: Vec<Keyed> = MOVES.iter().map(|moves| Keyed::shop(moves.table, &["id"])).collect();
        let ops = assert_equal(&server, &view(&pipeline), &keyed);
        assert!(ops.iter().all(|ops| ops.get("t") == Some(&1)), "each is read anew once: {ops:?}");
    }
}

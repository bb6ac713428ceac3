//! JSON documents, whole and as partial updates, against the server's own text.

use std::fmt::Write;

use lakeward_core::{ColumnType, TypeOptions};
use lakeward_test_support::mysql::MySql;

use crate::decode::{batch, events, schema, shown};

/// Random numbers from a seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const KEYS: &[&str] =
    &["a", "bb", "key with space", "é", "$", "x.y", "q\"uote", "", "last", "back\\slash", "zzz"];

fn scalar(random: &mut Random) -> String {
    match random.below(16) {
        0 => "NULL".into(),
        1 => "TRUE".into(),
        2 => "CAST(-1.50 AS DECIMAL(10,3))".into(),
        3 => format!("{}", random.next()),
        4 => format!("{}", random.next().cast_signed()),
        5 => format!("{:e}", f64::from_bits(random.next() & !(0x400 << 52) | 1 << 52)),
        6 => format!("{}e{}", random.below(1 << 53), random.below(40) as i64 - 30),
        7 => "CAST('2026-11-21 01:02:03.4' AS DATETIME(3))".into(),
        8 => "CAST('-100:02:03.000004' AS TIME(6))".into(),
        9 => "CAST('2026-11-21' AS DATE)".into(),
        10 => format!("CAST(REPEAT('b', {}) AS BINARY)", random.below(200)),
        11 => "CAST('99999999999999999999999999999999999.123456789' AS DECIMAL(65,30))".into(),
        // A scale that no column has.
        12 => "CAST(1.5 AS DECIMAL(38,18)) * CAST(-2.5 AS DECIMAL(38,18))".into(),
        13 => "0.1234567890123456789012345678901234567890".into(),
        14 => format!("REPEAT('Größe\\n\\t\\\\\\\"', {})", random.below(30)),
        _ => random.pick(&["''", "'text'", "CHAR(0,1,27,31,127 USING utf8mb4)", "'日本😀'"]).into(),
    }
}

fn document(random: &mut Random, depth: u32) -> String {
    let count = random.below(5);
    match random.below(if depth == 0 { 1 } else { 4 }) {
        0 => scalar(random),
        1 | 2 => {
            let members: Vec<String> = (0..count)
                .map(|_| format!("{}, {}", quoted(random.pick(KEYS)), document(random, depth - 1)))
                .collect();
            format!("JSON_OBJECT({})", members.join(", "))
        }
        _ => {
            let elements: Vec<String> = (0..count).map(|_| document(random, depth - 1)).collect();
            format!("JSON_ARRAY({})", elements.join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn path(random: &mut Random) -> String {
    let mut path = String::from("$");
    for _ in 0..=random.below(2) {
        match random.below(3) {
            0 => write!(path, "[{}]", random.below(4)).unwrap(),
            1 => path.push_str(random.pick(&["[last]", ".a", ".bb"])),
            _ => {
                let key = random.pick(KEYS).replace('\\', "\\\\").replace('"', "\\\"");
                write!(path, ".\"{key}\"").unwrap();
            }
        }
    }
    quoted(&path)
}

const SEED: u64 = 20_261_121;

#[test]
fn random_documents_read_as_the_server_prints_them() {
    println!("seed {SEED}");
    let random = &mut Random(SEED);
    let server = MySql::shared();
    let database = server.database("json");
    let mut script =
        format!("SET NAMES utf8mb4; USE {database}; CREATE TABLE t (id INT PRIMARY KEY, j JSON);\n");
    for id in 0..600 {
        writeln!(script, "INSERT INTO t VALUES ({id}, {});", json(random)).unwrap();
    }
    // The large format: more than 64 KiB.
    writeln!(script, "INSERT INTO t VALUES (600, JSON_OBJECT('k', REPEAT('x', 70000), 'l', JSON_ARRAY(1, 70000, -70000, {})));", json(random)).unwrap();
    server.script(&script);
    let events = events(server, &format!("{database}.t"));
    let int = ColumnType::Int { width: 4, unsigned: false, display_one: false };
    let batch = batch(&events, schema(vec![int, ColumnType::Json], TypeOptions::default()), false);
    let expected = server.rows(&format!("SELECT j FROM {database}.t ORDER BY id"));
    assert_eq!(expected.len(), 601);
    for (row, expected) in expected.into_iter().enumerate() {
        assert_eq!(shown(batch.rows.column(1), row), expected[0], "document {row}");
    }
}

/// A document as an expression of type JSON, whatever it holds.
fn json(random: &mut Random) -> String {
    format!("JSON_EXTRACT(JSON_ARRAY({}), '$[0]')", document(random, 3))
}

#[test]
fn partial_updates_give_the_document_that_the_server_holds() {
    println!("seed {SEED}");
    let random = &mut Random(SEED + 1);
    let server = MySql::shared();
    let database = server.database("partial");
    server.sql(&format!("CREATE TABLE {database}.t (id INT PRIMARY KEY, a JSON, v INT, b JSON)"));
    let mut conn = server.conn();
    let mut run = |statement: &str| mysql::prelude::Queryable::query_drop(&mut conn, statement);
    run("SET SESSION binlog_row_value_options='PARTIAL_JSON'").unwrap();
    let mut expected = Vec::new();
    for id in 0..80 {
        run(&format!("INSERT INTO {database}.t VALUES ({id}, {}, 0, {})", json(random), json(random)))
            .unwrap();
        let show = |expected: &mut Vec<Vec<Option<String>>>| {
            expected.extend(server.rows(&format!("SELECT a, v, b FROM {database}.t WHERE id={id}")));
        };
        show(&mut expected);
        for version in 1..8 {
            let column = random.pick(&["a", "b"]);
            let changed = match random.below(4) {
                0 => format!("JSON_REMOVE({column}, {})", path(random)),
                1 => format!("JSON_REPLACE({column}, {}, {})", path(random), json(random)),
                2 => format!("JSON_SET({column}, {}, {})", path(random), json(random)),
                _ => format!("JSON_SET({column}, {}, {}, {}, 1)", path(random), json(random), path(random)),
            };
            // A path that the function refuses (removal of `$`) changes nothing.
            if run(&format!("UPDATE {database}.t SET {column}={changed}, v={version} WHERE id={id}")).is_ok()
            {
                show(&mut expected);
            }
        }
    }
    let events = events(server, &format!("{database}.t"));
    let partial = events.iter().filter(|event| event.event_type == 39).count();
    assert!(partial > 200, "only {partial} partial updates of {}", events.len());
    let int = || ColumnType::Int { width: 4, unsigned: false, display_one: false };
    let types = vec![int(), ColumnType::Json, int(), ColumnType::Json];
    let batch = batch(&events, schema(types, TypeOptions::default()), true);
    assert_eq!(batch.rows.num_rows(), expected.len());
    for (row, expected) in expected.into_iter().enumerate() {
        let ours: Vec<_> = batch.rows.columns()[1..].iter().map(|column| shown(column, row)).collect();
        assert_eq!(ours, expected, "change {row}");
    }
}

//! A row that a snapshot reads is the row that the log gives, for every type.

use std::collections::BTreeMap;

use lakeward_core::{Op, TypeOptions, ZeroDates};
use lakeward_mysql::Start;
use lakeward_mysql::Until;
use lakeward_mysql::snapshot::SnapshotMode;
use lakeward_test_support::mysql::{MySql, MySqlOptions, RowMetadata};

use crate::lake::{Lake, Setup, server, table};

/// Columns, and values to put into them.
const TYPES: &[(&str, &[&str])] = &[
    ("TINYINT", &["-128", "127", "0"]),
    ("TINYINT UNSIGNED", &["255", "0"]),
    ("TINYINT(1)", &["1", "0", "-5"]),
    ("SMALLINT", &["-32768", "32767"]),
    ("SMALLINT UNSIGNED ZEROFILL", &["65535", "7"]),
    ("MEDIUMINT", &["-8388608", "8388607"]),
    ("MEDIUMINT UNSIGNED", &["16777215"]),
    ("INT", &["-2147483648", "2147483647"]),
    ("INT UNSIGNED", &["4294967295"]),
    ("BIGINT", &["-9223372036854775808", "9223372036854775807"]),
    ("BIGINT UNSIGNED", &["18446744073709551615", "1"]),
    ("DECIMAL(10,2)", &["-12345678.91", "0", "0.05"]),
    ("DECIMAL(38,10) UNSIGNED ZEROFILL", &["1234567890123456789012345678.0123456789", "5"]),
    (
        "DECIMAL(65,30)",
        &["-99999999999999999999999999999999999.999999999999999999999999999999", "0.1", "-0.5"],
    ),
    ("DECIMAL(50,0) ZEROFILL", &["12", "0"]),
    ("FLOAT", &["1.1", "-3.4e38", "1e-40", "16777217"]),
    ("FLOAT(7,3)", &["1234.567"]),
    ("DOUBLE", &["0.1", "-1.7976931348623157e308", "5e-324"]),
    ("DOUBLE(10,2)", &["1234.56"]),
    ("BIT(1)", &["b'1'", "b'0'"]),
    ("BIT(12)", &["b'101010101010'", "b'1'"]),
    ("BIT(64)", &["18446744073709551615"]),
    ("YEAR", &["1901", "2155", "0"]),
    ("DATE", &["'1000-01-01'", "'9999-12-31'", "'0000-00-00'", "'2026-02-00'", "'0001-01-01'"]),
    ("TIME", &["'-838:59:59'", "'838:59:59'", "'00:00:00'"]),
    ("TIME(6)", &["'-00:00:00.000001'", "'34:22:33.123456'"]),
    ("TIME(1)", &["'-12:34:56.7'"]),
    ("DATETIME", &["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'0000-00-00 00:00:00'"]),
    ("DATETIME(3)", &["'2026-03-29 02:30:00.123'", "'2026-00-01 01:02:03.4'"]),
    ("DATETIME(6)", &["'2026-03-29 02:30:00.123456'"]),
    ("TIMESTAMP NULL", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'"]),
    ("TIMESTAMP(6) NULL", &["'2026-10-25 02:30:00.999999'"]),
    ("CHAR(10)", &["'abc  '", "''", "'zażółć😀'"]),
    ("CHAR(10) CHARACTER SET latin1", &["'é€'", "'x '"]),
    ("CHAR(4) CHARACTER SET ucs2", &["'aä'"]),
    ("VARCHAR(300) CHARACTER SET utf8mb3", &["'ä  '", "REPEAT('ü', 300)"]),
    ("VARCHAR(20) CHARACTER SET gbk", &["CONVERT(_utf8mb4'中文字' USING gbk)"]),
    ("VARCHAR(20) CHARACTER SET sjis", &["CONVERT(_utf8mb4'表ソ～' USING sjis)"]),
    ("VARCHAR(20) CHARACTER SET big5", &["CONVERT(_utf8mb4'中文' USING big5)"]),
    ("VARCHAR(20) CHARACTER SET utf16le", &["'a😀'"]),
    ("VARCHAR(20) CHARACTER SET utf32", &["'a😀'"]),
    ("VARCHAR(20) CHARACTER SET koi8r COLLATE koi8r_bin", &["CONVERT(_utf8mb4'привет' USING koi8r)"]),
    ("VARCHAR(20) CHARACTER SET swe7", &["CONVERT(_utf8mb4'Å' USING swe7)"]),
    ("TINYTEXT", &["'t'"]),
    ("LONGTEXT", &["REPEAT('é', 70000)"]),
    ("TEXT CHARACTER SET cp1251", &["CONVERT(_utf8mb4'мир' USING cp1251)"]),
    ("BINARY(5)", &["x'00ff'", "''", "x'6162630000'"]),
    ("VARBINARY(9)", &["x'00ff00'", "''"]),
    ("BLOB", &["x'ffd8'", "REPEAT(x'00', 66000)"]),
    ("LONGBLOB", &["REPEAT(x'ab', 100000)"]),
    ("ENUM('b','a','ü')", &["'ü'", "1", "2"]),
    ("ENUM('é','x') CHARACTER SET latin1", &["'é'"]),
    ("SET('b','a','ü')", &["'b,ü'", "''", "7"]),
    ("SET('1','2','3','4','5','6','7','8','9') CHARACTER SET utf16", &["257"]),
    (
        "JSON",
        &[
            "'{\"b\": [1, 2.50, -1e300, true, null], \"a\": \"ü\\\\n😀\"}'",
            "'18446744073709551615'",
            "CAST(CAST('12.3400' AS DECIMAL(10,4)) AS JSON)",
            "'\"\"'",
            "CAST(TIMESTAMP'2026-01-02 03:04:05.6' AS JSON)",
            "JSON_OBJECT('t', TIME'-12:00:00', 'd', DATE'2026-01-01')",
        ],
    ),
    ("GEOMETRY", &["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(1 2,3 4)', 4326)"]),
    ("POINT SRID 0", &["ST_GeomFromText('POINT(-1 0.5)')"]),
    ("VECTOR(3)", &["STRING_TO_VECTOR('[1,-2.5,1e30]')"]),
];

fn make(server: &MySql) -> usize {
    let columns: Vec<String> = TYPES.iter().enumerate().map(|(n, (ty, _))| format!("c{n} {ty}")).collect();
    server.sql(&format!(
        "SET sql_mode = 'ALLOW_INVALID_DATES'; CREATE TABLE shop.t (id INT PRIMARY KEY, {}, \
         g INT AS (id * 2) STORED, w INT AS (id + 1) VIRTUAL, hidden VARCHAR(9) DEFAULT 'h' INVISIBLE)",
        columns.join(", ")
    ));
    let mut id = 0;
    for (n, (_, values)) in TYPES.iter().enumerate() {
        for value in *values {
            id += 1;
            // One row for each value, all other columns null.
            server.sql(&format!(
                "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+05:30'; \
                 INSERT INTO shop.t (id, c{n}) VALUES ({id}, {value})"
            ));
        }
    }
    // And rows with a value in every column.
    for pick in 0..3 {
        id += 1;
        let (names, values): (Vec<String>, Vec<&str>) = TYPES
            .iter()
            .enumerate()
            .map(|(n, (_, values))| (format!("c{n}"), values[pick % values.len()]))
            .unzip();
        server.sql(&format!(
            "SET sql_mode = 'ALLOW_INVALID_DATES'; INSERT INTO shop.t (id, {}) VALUES ({id}, {})",
            names.join(", "),
            values.join(", ")
        ));
    }
    id
}

type Rows = BTreeMap<Option<String>, BTreeMap<String, Option<String>>>;

fn rows(lake: &Lake, op: Op) -> Rows {
    let events = lake.events[&table("t")].values().filter(|event| event.op == op.letter());
    events.map(|event| (event.row["id"].clone(), event.row.clone())).collect()
}

#[test]
fn a_row_read_by_a_snapshot_is_the_row_that_the_log_gives_for_every_type() {
    for row_metadata in [RowMetadata::Full, RowMetadata::Minimal] {
        let server =
            server(MySqlOptions { row_metadata, time_zone: "-03:30".into(), ..MySqlOptions::default() });
        let count = make(&server);
        let defaults = TypeOptions::default();
        let text =
            TypeOptions { tinyint1_as_boolean: true, time_as_string: true, zero_dates: ZeroDates::String };
        for types in [defaults, text] {
            let mut logged = Lake::default();
            let setup = Setup {
                start: Start::Earliest,
                until: Until::CaughtUp,
                types,
                ..Setup::mode(SnapshotMode::NoData)
            };
            setup.read_to_end(&server, &mut logged);
            let mut read = Lake::default();
            Setup { types, ..Setup::mode(SnapshotMode::InitialOnly) }.read_to_end(&server, &mut read);
            let (logged_rows, read_rows) = (rows(&logged, Op::Create), rows(&read, Op::Read));
            assert_eq!((logged_rows.len(), read_rows.len()), (count, count));
            for (id, logged) in &logged_rows {
                for (column, value) in logged {
                    let place = column.strip_prefix('c').and_then(|n| n.parse::<usize>().ok());
                    let ty = place.map_or("", |n| TYPES[n].0);
                    assert_eq!(&read_rows[id][column], value, "row {id:?}, column {column} {ty}, {types:?}");
                }
            }
            let types_of = |lake: &Lake| lake.schemas[0].arrow.clone();
            assert_eq!(types_of(&read), types_of(&logged));
            assert!(
                read_rows.values().all(|row| row["hidden"].as_deref() == Some("h") && row["g"].is_some())
            );
        }
    }
}

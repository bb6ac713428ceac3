//! The same events through `mysql_common`: a second opinion on real bytes.
//!
//! Its row decoder is known to be wrong for MEDIUMINT below zero, TIME(1) and TIME(2) below zero, YEAR 0
//! and the padding of BINARY; this table has none of those.

use lakeward_core::{ColumnType, TypeOptions};
use lakeward_test_support::mysql::MySql;
use mysql::binlog::events::{EventData, RowsEventData};
use mysql::binlog::value::BinlogValue;
use mysql::{BinlogDumpFlags, BinlogRequest};

use crate::decode::{batch, events, schema, shown};
use crate::json::Random;

/// A value of `mysql_common` as text.
fn theirs(value: &BinlogValue<'_>) -> Option<String> {
    match value {
        BinlogValue::Value(mysql::Value::NULL) => None,
        BinlogValue::Value(mysql::Value::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
        BinlogValue::Value(value) => {
            let text = value.as_sql(true);
            Some(crate::decode::without_zeros(text.trim_matches('\'')).to_owned())
        }
        other => Some(format!("{other:?}")),
    }
}

fn library_rows(server: &MySql, table: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for log in server.rows("SHOW BINARY LOGS") {
        let file = log[0].as_ref().unwrap().as_bytes();
        let request = BinlogRequest::new(4_294_967_000)
            .with_filename(file)
            .with_pos(4u64)
            .with_flags(BinlogDumpFlags::BINLOG_DUMP_NON_BLOCK);
        let mut stream = server.conn().get_binlog_stream(request).unwrap();
        while let Some(event) = stream.next() {
            let event = event.unwrap();
            let Some(EventData::RowsEvent(data)) = event.read_data().unwrap() else { continue };
            let Some(map) = stream.get_tme(data.table_id()) else { continue };
            if format!("{}.{}", map.database_name(), map.table_name()) != table {
                continue;
            }
            for row in data.rows(map) {
                let (before, after) = row.unwrap();
                let row = if matches!(data, RowsEventData::DeleteRowsEvent(_)) { before } else { after };
                let row = row.unwrap();
                rows.push((0..row.len()).map(|column| theirs(row.as_ref(column).unwrap())).collect());
            }
        }
    }
    rows
}

#[test]
fn random_rows_are_the_same_as_mysql_common_decodes_them() {
    const SEED: u64 = 99;
    println!("seed {SEED}");
    let random = &mut Random(SEED);
    let server = MySql::shared();
    let database = server.database("differential");
    let mut script = format!(
        "SET NAMES utf8mb4; USE {database}; CREATE TABLE t (id INT PRIMARY KEY, a BIGINT UNSIGNED, b SMALLINT, \
         c DECIMAL(30,7), d VARCHAR(300), e DATETIME(6), f DATE, g CHAR(20), h TINYTEXT);\n"
    );
    for id in 0..400 {
        let value =
            |random: &mut Random, text: String| if random.below(6) == 0 { "NULL".into() } else { text };
        let (a, b) = (random.next(), random.next() as i16);
        let c = format!("{}.{:07}", random.next().cast_signed(), random.below(10_000_000));
        let moment = format!("FROM_UNIXTIME({}.{:06})", random.below(4_000_000_000), random.below(1_000_000));
        let text = format!("REPEAT('é{}', {})", random.below(100), random.below(40));
        let fields = [
            a.to_string(),
            b.to_string(),
            c,
            text.clone(),
            moment.clone(),
            format!("DATE({moment})"),
            format!("LEFT({text}, 20)"),
            text,
        ]
        .map(|field| value(random, field));
        script.push_str(&format!("INSERT INTO t VALUES ({id}, {});\n", fields.join(", ")));
        if random.below(3) == 0 {
            script.push_str(&format!("UPDATE t SET b = NULL, a = 5 WHERE id = {};\n", random.below(id + 1)));
        }
    }
    script.push_str("DELETE FROM t WHERE id % 3 = 0;\n");
    server.script(&script);
    let table = format!("{database}.t");
    let int = |width, unsigned| ColumnType::Int { width, unsigned, display_one: false };
    let text = || ColumnType::Text { collation: 255 };
    let types = vec![
        int(4, false),
        int(8, true),
        int(2, false),
        ColumnType::Decimal { precision: 30, scale: 7 },
        text(),
        ColumnType::Datetime { fsp: 6 },
        ColumnType::Date,
        text(),
        text(),
    ];
    let ours = batch(&events(server, &table), schema(types, TypeOptions::default()), false);
    let theirs = library_rows(server, &table);
    assert_eq!(ours.rows.num_rows(), theirs.len());
    assert!(theirs.len() > 600);
    for (row, theirs) in theirs.into_iter().enumerate() {
        let ours: Vec<_> = ours.rows.columns().iter().map(|column| shown(column, row)).collect();
        assert_eq!(ours, theirs, "row {row}");
    }
}

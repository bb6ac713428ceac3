//! Measures the decoding of rows events: `decode_bench FILE [rounds]`, where FILE is a binlog with the
//! `orders` workload of the benchmark (12 columns). Prints rows per CPU second of this process.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measuring tool")]

use std::sync::Arc;

use lakeward_core::{Column, ColumnType, Origin, TableId, TableSchema, TypeOptions};
use lakeward_mysql::rows::{BatchBuilder, RowLayout, RowsEvent};

#[path = "../tests/rows/binlog_file.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod binlog_file;

fn orders() -> TableSchema {
    let int = |width, unsigned| ColumnType::Int { width, unsigned, display_one: false };
    let text = || ColumnType::Text { collation: 255 };
    let labels = ["new", "paid", "shipped", "cancelled", "returned"].map(str::to_owned).to_vec();
    let columns = [
        ("id", int(8, false)),
        ("customer", text()),
        ("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("created", ColumnType::Datetime { fsp: 6 }),
        ("updated", ColumnType::Timestamp { fsp: 0 }),
        ("attrs", ColumnType::Json),
        ("status", ColumnType::Enum { labels }),
        ("note", text()),
        ("qty", int(4, true)),
        ("score", ColumnType::Double),
        ("flag", int(1, false)),
        ("day", ColumnType::Date),
    ];
    let columns = columns.map(|(name, ty)| Column::new(name, ty, true)).to_vec();
    TableSchema::new(TableId::new("shop", "orders"), 1, columns, vec![0], TypeOptions::default())
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().expect("a binlog file");
    let rounds = arguments.next().map_or(5, |rounds| rounds.parse().expect("a number"));
    let events = binlog_file::rows_events(file.as_ref());
    let layout = Arc::new(RowLayout::new(&events[0].wire, Arc::new(orders())).expect("the orders table"));
    let origin = Origin { commit_us: 0, file: "binlog.000001".into(), offset: 4, ..Origin::default() };
    for round in 0..rounds {
        let start = cpu_seconds();
        let (mut rows, mut bytes) = (0, 0);
        let mut builder = BatchBuilder::new(Arc::clone(&layout), false, Arc::default());
        for event in &events {
            let event = RowsEvent::parse(event.event_type, 10, &event.body).expect("a rows event");
            builder.push(&event, &origin, &mut 1).expect("rows");
            if builder.rows() >= 4096 {
                rows += builder.rows();
                let batch = builder.finish().expect("a batch");
                bytes += std::hint::black_box(batch).map_or(0, |batch| batch.bytes());
            }
        }
        rows += builder.rows();
        let cpu = cpu_seconds() - start;
        println!(
            "round {round}: {rows} rows, {:.3} µs CPU per row, {bytes} bytes of arrays",
            cpu * 1e6 / rows as f64
        );
    }
}

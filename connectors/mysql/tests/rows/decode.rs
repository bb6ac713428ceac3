//! Decodes a table's events of a server's binlog and shows the values as text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;
use lakeward_core::stats::SourceStats;
use lakeward_core::{ChangeBatch, Column, ColumnType, Origin, TableId, TableSchema, TypeOptions};
use lakeward_mysql::rows::{BatchBuilder, RowLayout, RowsEvent};
use lakeward_test_support::mysql::MySql;

use crate::binlog_file::{FileEvent, rows_events};

/// A table of columns named by their number, with the first one as its key.
pub(crate) fn schema(types: Vec<ColumnType>, options: TypeOptions) -> Arc<TableSchema> {
    let columns = types.into_iter().enumerate();
    let columns = columns.map(|(n, ty)| Column::new(format!("c{n}"), ty, true)).collect();
    Arc::new(TableSchema::new(TableId::new("d", "t"), 1, columns, vec![0], options))
}

/// All rows events of a table, from all binlog files of the server.
pub(crate) fn events(server: &MySql, table: &str) -> Vec<FileEvent> {
    let logs = server.rows("SHOW BINARY LOGS");
    let files = logs.iter().filter_map(|log| log[0].as_ref());
    files
        .flat_map(|file| rows_events(&server.data().join(file)))
        .filter(|event| &*event.table == table)
        .collect()
}

/// A builder for the events' table map.
pub(crate) fn builder(events: &[FileEvent], schema: Arc<TableSchema>, want_before: bool) -> BatchBuilder {
    let layout = RowLayout::new(&events[0].wire, schema).unwrap();
    BatchBuilder::new(Arc::new(layout), want_before, Arc::new(SourceStats::default()))
}

pub(crate) fn origin() -> Origin {
    Origin { commit_us: 0, file: "binlog.000001".into(), offset: 4, ..Origin::default() }
}

/// Decodes the events into one batch.
pub(crate) fn batch(events: &[FileEvent], schema: Arc<TableSchema>, want_before: bool) -> ChangeBatch {
    let mut builder = builder(events, schema, want_before);
    let mut next_seq = 1;
    for event in events {
        let event = RowsEvent::parse(event.event_type, 10, &event.body).unwrap();
        builder.push(&event, &origin(), &mut next_seq).unwrap();
    }
    let batch = builder.finish().unwrap().unwrap();
    assert_eq!(batch.meta.seq, (1..next_seq).collect::<Vec<_>>());
    batch
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A time without the last zeros of its fraction.
pub(crate) fn without_zeros(time: &str) -> &str {
    if time.contains('.') { time.trim_end_matches('0').trim_end_matches('.') } else { time }
}

/// A value as text: numbers in decimal, binary in hexadecimal, times as MySQL prints them.
pub(crate) fn shown(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => u8::from(array.as_boolean().value(row)).to_string(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Date32 => array_value_to_string(array, row).unwrap(),
        DataType::Timestamp(..) => {
            let local =
                array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<&str>);
            let text = array_value_to_string(&local, row).unwrap();
            without_zeros(&text.trim_end_matches('Z').replacen('T', " ", 1)).to_owned()
        }
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Float32 => format!("{:?}", f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(row);
            let floats = list.as_primitive::<Float32Type>().values().iter();
            floats.map(|float| hex(&float.to_le_bytes())).collect()
        }
        other => panic!("{other}"),
    })
}

//! Debezium's Avro of every column type, as `load` brings it into a lake: wherever its records are as ours would be, the
//! lake's latest rows are the source's. So what is read otherwise than it was written shows.

use std::collections::BTreeSet;

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::registry::SchemaRegistry;
use serde_json::json;

use super::compare::Found;
use super::suite::{self, Columns};
use super::{AVRO, LIMIT, THEIRS};
use crate::expected::{self, Mapping};
use crate::lake::Reader;
use crate::world::{ended, folder, set, utc, view};

pub(super) fn the_lake_is_the_source(
    server: &MySql,
    kafka: &Kafka,
    registry: &SchemaRegistry,
    columns: &Columns,
    found: &[Found],
) {
    let mut pipeline = folder(server);
    set(&mut pipeline, "tables/include", json!([format!("{}.*", suite::DATABASE)]));
    let kafka = json!({
        "brokers": kafka.brokers(),
        "topic_prefix": THEIRS,
        "written_by": "debezium",
        "format": "avro",
        "schema_registry": { "url": registry.url() },
    });
    set(&mut pipeline, "transport", json!({ "kafka": kafka }));
    let load = ended(&mut pipeline.start(&["load", "--until-caught-up"]), LIMIT);
    assert_eq!(load.code, Some(0), "{}", load.printed());
    let events = view(&pipeline).events(Reader::Duckdb);
    let others = others(found);
    let (mut compared, mut wrong) = (0, Vec::new());
    for table in columns.keys().filter_map(|name| Some(name.split_once('.')?.0)).collect::<BTreeSet<_>>() {
        let source = expected::rows(&mut utc(server), suite::DATABASE, table, Mapping::default());
        if source.columns.first().is_none_or(|key| key != "id") {
            continue;
        }
        let events = events.get(&(suite::DATABASE.to_owned(), table.to_owned()));
        let latest = events.map(|events| events.latest(&source.columns, &["id"])).unwrap_or_default();
        if latest.len() != source.rows.len() {
            wrong.push(format!("{table}: {} rows, not {}", latest.len(), source.rows.len()));
        }
        for (row, lake) in source.rows.iter().filter_map(|row| Some((row, latest.get(&row[..1])?))) {
            for ((name, cell), lake) in source.columns.iter().zip(row).zip(lake) {
                let column = format!("{table}.{name}");
                if others.contains(&column) {
                    continue;
                }
                compared += 1;
                if cell != lake {
                    let definition = columns.get(&column).map_or("", String::as_str);
                    wrong.push(format!("{column} {definition:.60}: source {cell:.100?}, lake {lake:.100?}"));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cells differ, as\n{}",
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
    assert!(compared > 1_000, "{compared} cells are compared");
}

/// Columns of which Debezium's Avro has other values, or another type, than ours.
fn others(found: &[Found]) -> BTreeSet<String> {
    let is_other = |found: &&Found| {
        found.run == AVRO && found.column.is_some() && !matches!(found.field(), "default" | "optional")
    };
    let column = |found: &Found| {
        let place = usize::from(matches!(found.path.first().map(String::as_str), Some("before" | "after")));
        Some(format!("{}.{}", found.table, found.path.get(place)?))
    };
    found.iter().filter(is_other).filter_map(column).collect()
}

//! The real Debezium connector reads the same changes of the same server: its records and ours are the same, field by
//! field, but for what `differences` lists and the README tells.

mod avro;
mod changes;
mod compare;
mod differences;
mod loaded;
mod pairs;
mod readme;
mod rules;
mod suite;

use std::collections::BTreeMap;
use std::time::Duration;

use lakeward_test_support::debezium::{Connector, Debezium};
use lakeward_test_support::debezium_to_kafka::{DebeziumToKafka, Records};
use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::registry::SchemaRegistry;
use lakeward_test_support::{Pipeline, wait_patiently};
use serde_json::{Value, json};

use super::{captures, over};
use crate::snapshot::pipeline::{allow_locks, read_existing_rows};
use crate::world::{server, set};
use compare::Found;
use differences::DIFFERENCES;
use pairs::Order;

/// How long Debezium may take.
const LIMIT: Duration = Duration::from_secs(240);

/// One way of reading, by both.
struct Run {
    /// First part of the topics.
    name: &'static str,
    /// Debezium's properties.
    theirs: &'static [(&'static str, &'static str)],
    /// Our settings of `transport.kafka`.
    ours: fn() -> Value,
    order: Order,
}

/// No snapshot: the log is read from its beginning.
const FROM_THE_BEGINNING: (&str, &str) = ("snapshot.mode", "configuration_based");
const STREAM: (&str, &str) = ("snapshot.mode.configuration.based.start.stream", "true");

const RUNS: &[Run] = &[
    // What both do if nothing is set.
    Run { name: "defaults", theirs: &[FROM_THE_BEGINNING, STREAM], ours: || json!({}), order: Order::Log },
    Run {
        name: "modes",
        theirs: &[
            FROM_THE_BEGINNING,
            STREAM,
            ("skipped.operations", "none"),
            ("decimal.handling.mode", "string"),
            ("time.precision.mode", "isostring"),
            ("binary.handling.mode", "hex"),
        ],
        ours: || {
            json!({ "bigint_unsigned_handling_mode": "long", "decimal_handling_mode": "string",
                    "time_precision_mode": "isostring", "binary_handling_mode": "hex" })
        },
        order: Order::Log,
    },
    Run {
        name: "rounded",
        theirs: &[
            FROM_THE_BEGINNING,
            STREAM,
            ("skipped.operations", "none"),
            ("decimal.handling.mode", "double"),
            ("time.precision.mode", "connect"),
            ("binary.handling.mode", "base64-url-safe"),
        ],
        ours: || {
            json!({ "bigint_unsigned_handling_mode": "long", "decimal_handling_mode": "double",
                    "time_precision_mode": "connect", "binary_handling_mode": "base64-url-safe" })
        },
        order: Order::Log,
    },
    // The rows that are there in the end.
    Run {
        name: "rows",
        theirs: &[
            ("snapshot.mode", "initial"),
            ("bigint.unsigned.handling.mode", "precise"),
            ("binary.handling.mode", "base64"),
            ("table.exclude.list", "types.*_zerofill"),
        ],
        ours: || json!({ "binary_handling_mode": "base64" }),
        order: Order::Key,
    },
];

#[test]
fn every_field_is_that_of_debezium_but_for_what_the_readme_lists() {
    let properties = [("message.max.bytes", "30000000"), ("auto.create.topics.enable", "true")];
    let (server, kafka) = (server(), Kafka::with(&properties));
    let columns = suite::play(&server);
    // Rights are granted by statements, which are in the log: before anybody reads.
    let pipelines: Vec<Pipeline> = RUNS.iter().map(|run| run.pipeline(&server, &kafka)).collect();
    let debezium = Debezium::start(&server, &RUNS.iter().map(Run::connector).collect::<Vec<_>>());
    let registry = SchemaRegistry::shared();
    let mut in_avro_by_debezium = in_avro_by_debezium(&server, &kafka, registry);
    pipelines.iter().for_each(|pipeline| drop(captures(pipeline)));
    captures(&in_avro(&server, &kafka, registry));
    let theirs = debezium.finish(LIMIT);
    wait_patiently("Debezium to write all of its Avro", LIMIT, || {
        in_avro_by_debezium.must_run();
        let last = format!("{THEIRS}.{}.{}", suite::DATABASE, suite::LAST);
        (kafka.topics().contains(&last) && !kafka.read(&last).is_empty()).then_some(())
    });
    drop(in_avro_by_debezium);
    let mut found = Vec::new();
    let [(their_changes, theirs_in_avro), (our_changes, ours_in_avro)] = [THEIRS, AVRO].map(|prefix| {
        let topics = pairs::topics(&kafka, prefix).into_iter().chain([prefix.to_owned()]);
        let mut records = avro::records(&kafka, registry, &topics.collect::<Vec<_>>());
        (records.remove(prefix).expect("schema changes"), records)
    });
    let under_our_name = |records: &[Value]| -> Vec<Value> {
        let text = Value::from(records.to_vec()).to_string().replace(THEIRS, AVRO);
        serde_json::from_str(&text).expect("JSON")
    };
    changes::compare(AVRO, &columns, &under_our_name(&their_changes), &our_changes, &mut found);
    let theirs_in_avro = theirs_in_avro
        .into_iter()
        .map(|(topic, records)| (topic.replace(THEIRS, AVRO), under_our_name(&records)))
        .collect();
    pairs::compare(AVRO, Order::Log, &columns, theirs_in_avro, ours_in_avro, &mut found);
    for (run, theirs) in RUNS.iter().zip(theirs) {
        let (theirs, changes) = changes::apart(theirs, run.name);
        changes::compare(run.name, &columns, &changes, &changes::ours(&kafka, run.name), &mut found);
        let ours = pairs::ours(&kafka, run.name);
        pairs::compare(run.name, run.order, &columns, pairs::topic_by_topic(theirs), ours, &mut found);
    }
    every_difference_is_listed(&found);
    readme::tells(DIFFERENCES);
    loaded::the_lake_is_the_source(&server, &kafka, registry, &columns, &found);
}

/// The run of Avro: first part of our topics, and of Debezium's.
const AVRO: &str = "avro";
const THEIRS: &str = "theirs";

/// Debezium as it writes Avro to a broker, without a snapshot.
fn in_avro_by_debezium(server: &MySql, kafka: &Kafka, registry: &SchemaRegistry) -> DebeziumToKafka {
    let more = [
        ("database.include.list", suite::DATABASE),
        ("database.server.id", "710000"),
        ("include.schema.changes", "true"),
        FROM_THE_BEGINNING,
        STREAM,
    ];
    DebeziumToKafka::with(server, kafka, THEIRS, Records::Avro(registry), &more)
}

fn in_avro(server: &MySql, kafka: &Kafka, registry: &SchemaRegistry) -> Pipeline {
    let mut pipeline = RUNS[0].pipeline(server, kafka);
    let settings =
        json!({ "topic_prefix": AVRO, "format": "avro", "schema_registry": { "url": registry.url() } });
    for (key, value) in settings.as_object().expect("an object") {
        set(&mut pipeline, &format!("transport/kafka/{key}"), value.clone());
    }
    pipeline
}

impl Run {
    fn connector(&self) -> Connector {
        let last = format!("{}.{}.{}", self.name, suite::DATABASE, suite::LAST);
        let mut properties =
            vec![("database.include.list", suite::DATABASE), ("include.schema.changes", "true")];
        properties.extend_from_slice(self.theirs);
        Connector::new(self.name, &last, &properties)
    }

    fn pipeline(&self, server: &MySql, kafka: &Kafka) -> Pipeline {
        let mut pipeline = over(server, kafka);
        set(&mut pipeline, "tables/include", json!([format!("{}.*", suite::DATABASE)]));
        let settings = json!({
            "topic_prefix": self.name,
            "schemas": true,
            "include_schema_changes": true,
            "topics": { "partitions": 1, "config": { "max.message.bytes": 30_000_000 } },
            "properties": { "message.max.bytes": 30_000_000 },
        });
        let more = (self.ours)();
        for (key, value) in [settings, more].iter().filter_map(Value::as_object).flatten() {
            set(&mut pipeline, &format!("transport/kafka/{key}"), value.clone());
        }
        if self.order == Order::Key {
            read_existing_rows(&mut pipeline);
            allow_locks(server, &mut pipeline);
            set(
                &mut pipeline,
                "tables/exclude",
                json!([format!("{}.*{}", suite::DATABASE, suite::ZEROFILL)]),
            );
        }
        pipeline
    }
}

/// Each difference is one of those that are listed, and each of those occurs.
fn every_difference_is_listed(found: &[Found]) {
    let mut times = vec![0_usize; DIFFERENCES.len()];
    let mut wrong: BTreeMap<String, (usize, &Found)> = BTreeMap::new();
    for found in found {
        match DIFFERENCES.iter().position(|listed| (listed.is)(found)) {
            Some(place) => times[place] += 1,
            None => {
                let column = found.column.as_deref().unwrap_or_default();
                let kind = format!("{} {:?} {} {column:.40}", found.run, found.part, found.place());
                wrong.entry(kind).or_insert((0, found)).0 += 1;
            }
        }
    }
    let shown = |(kind, (count, found)): (&String, &(usize, &Found))| {
        let side = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string).chars().take(300).collect()
        };
        let (theirs, ours): (String, String) = (side(&found.theirs), side(&found.ours));
        format!(
            "{kind} ({count} times; {} {})\n  Debezium {theirs}\n  lakeward {ours}",
            found.table, found.op
        )
    };
    let told: Vec<String> = wrong.iter().take(150).map(shown).collect();
    assert!(wrong.is_empty(), "{} places differ, as\n{}", wrong.len(), told.join("\n"));
    for (listed, times) in DIFFERENCES.iter().zip(times) {
        println!("{times} times: {}", listed.what);
        assert!(times > 0, "listed, and does not occur: {}", listed.what);
    }
}

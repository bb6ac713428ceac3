//! What `lakeward check` finds where Debezium writes the topics: the brokers, the topics of included tables, the
//! registry, and the source server where records do not tell their structure.

use std::sync::Arc;

use lakeward_core::{Clock, Finding, KafkaPosition, Result, TableFilter, TableId};
use tokio::runtime::Handle;

use super::retention::Sink;
use super::{brokers, dead_letter, failed, login, schema_registry};
use crate::config::Kafka;
use crate::debezium::Structures;
use crate::format::Format;
use crate::source::{Found, find};
use crate::topics::{self, Admin};

/// Looks at the cluster for a pipeline of `tables`, whose lake, if it tells, is at `lake`. Waits for the cluster: belongs on a
/// thread of its own.
pub fn check(
    kafka: &Kafka,
    (tables, lake): (&TableFilter, Option<&KafkaPosition>),
    structures: &Structures,
    clock: &Arc<dyn Clock>,
    runtime: Handle,
) -> Vec<Finding> {
    let mut findings = login(kafka);
    match looked_at(kafka, (tables, lake), clock, runtime) {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(failed("kafka.brokers", &error)),
    }
    match kafka.format.format {
        Format::Avro => findings.extend(schema_registry(&kafka.format)),
        Format::DebeziumJson if !kafka.format.schemas => findings.extend(told(kafka, tables, structures)),
        Format::DebeziumJson => {}
    }
    findings
}

fn looked_at(
    kafka: &Kafka,
    (tables, lake): (&TableFilter, Option<&KafkaPosition>),
    clock: &Arc<dyn Clock>,
    runtime: Handle,
) -> Result<Vec<Finding>> {
    let reader = kafka.reader(clock)?;
    let answering = brokers(&reader)?.len();
    let all = topics::partitions(&reader)?;
    let mut findings = vec![Finding::ok("kafka.brokers", format!("{answering} brokers answer"))];
    match find(&all, &kafka.prefix, tables, kafka.load.dead_letter.as_deref()) {
        Ok(found) => {
            let admin = Admin::new(kafka, clock, runtime)?;
            findings.push(named(kafka, &found));
            let sink = Sink { reader: &reader, clock: clock.as_ref(), lake, counts: None };
            let partitions = |count: &i32| usize::try_from(*count).unwrap_or(0);
            findings.extend(
                found.iter().flat_map(|(topic, count)| sink.compared(topic, partitions(count), &admin)),
            );
        }
        Err(error) => findings.push(failed("kafka.topics", &error)),
    }
    findings.extend(dead_letter(kafka, &all));
    Ok(findings)
}

fn named(kafka: &Kafka, found: &Found) -> Finding {
    const SUBJECT: &str = "kafka.topics";
    let partitions: i32 = found.values().sum();
    match found.len() {
        0 => Finding::warning(SUBJECT, format!("there is no topic `{}.<database>.<table>` of an included table", kafka.prefix))
            .fix("set `transport.kafka.topic_prefix` to Debezium's topic.prefix, and let the account see the topics"),
        topics => Finding::ok(SUBJECT, format!("{topics} topics of included tables, {partitions} topic partitions")),
    }
}

/// Whether the server tells columns, and the modes lose nothing. Records may tell their schemas all the same.
fn told(kafka: &Kafka, tables: &TableFilter, structures: &Structures) -> Vec<Finding> {
    const SUBJECT: &str = "kafka.schemas";
    let mut findings: Vec<Finding> =
        kafka.format.exact().err().iter().map(|error| failed(SUBJECT, error)).collect();
    // Whether the server answers is told by any name.
    if let Err(error) = structures(&TableId::new("", "")) {
        findings.push(failed(SUBJECT, &error));
        return findings;
    }
    for table in tables.named() {
        match structures(&table) {
            Ok(Some(_)) => {}
            Ok(None) => {
                let message = format!("the server of `source.mysql` shows this account no table {table}");
                let fix = "name the server that Debezium reads, and grant SELECT on the table; or let Debezium write schemas";
                findings.push(Finding::warning(SUBJECT, message).fix(fix));
            }
            Err(error) => findings.push(failed(SUBJECT, &error)),
        }
    }
    if findings.is_empty() {
        let message = "where records do not tell their schema, the source server tells the columns";
        findings.push(Finding::ok(SUBJECT, message));
    }
    findings
}

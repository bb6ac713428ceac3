//! What `lakeward check` finds of a Kafka cluster. Reads only.

pub mod foreign;
mod retention;
mod rights;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Clock, Error, Finding, KafkaPosition, Result, TableId};
use tokio::runtime::Handle;

use crate::checkpoints;
use crate::client::{self, Reader};
use crate::config::{Kafka, Mechanism};
use crate::format::{FormatOptions, registry};
use crate::source::Counts;
use crate::topics::{self, Admin, Names, checkpoint_topic, request_topic};
use retention::Sink;

/// Looks at the cluster for `pipeline`, which captures `tables`; its lake, if it tells, is at `lake`. Waits for the cluster:
/// belongs on a thread of its own.
pub fn check(
    kafka: &Kafka,
    (pipeline, lake): (&str, Option<&KafkaPosition>),
    tables: &[TableId],
    clock: &Arc<dyn Clock>,
    runtime: Handle,
) -> Vec<Finding> {
    let mut findings = login(kafka);
    findings.extend(format(&kafka.format, tables));
    match looked_at(kafka, (pipeline, lake), tables, clock, runtime) {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(failed("kafka.brokers", &error)),
    }
    findings.extend(schema_registry(&kafka.format));
    findings
}

/// The registry that `avro` needs: it answers, and lets us in. Whether it takes the next schema only it can tell then.
fn schema_registry(format: &FormatOptions) -> Option<Finding> {
    const SUBJECT: &str = "kafka.schema_registry";
    let told = match registry(format) {
        Ok(None) => return None,
        Ok(Some(registry)) => registry.probe(),
        Err(error) => Err(error),
    };
    Some(match told {
        Ok(subjects) => Finding::ok(SUBJECT, format!("it answers, and has {subjects} subjects")),
        Err(error) => failed(SUBJECT, &error),
    })
}

/// What records lose, and settings for tables that there are not.
fn format(format: &FormatOptions, tables: &[TableId]) -> Vec<Finding> {
    const SUBJECT: &str = "kafka.format";
    let lossy = format.exact().err().map(|error| {
        let finding = Finding::warning(SUBJECT, format!("{}; `run` and `load` refuse them", error.message()));
        finding.fix(error.remedy_text().unwrap_or_default())
    });
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    let without_table = format.message_key_columns.keys().filter(|name| !names.contains(name)).map(|name| {
        let message =
            format!("`message_key_columns` names {name}, which is no captured table that the server shows");
        Finding::warning(SUBJECT, message)
            .fix("write it as `database.table`, with the letters that the server has")
    });
    lossy.into_iter().chain(without_table).collect()
}

fn failed(subject: &str, error: &Error) -> Finding {
    let mut message = error.message().to_owned();
    for (what, place) in error.context() {
        message.push_str(&format!(" ({what} {place})"));
    }
    for cause in error.causes() {
        message.push_str(&format!(": {cause}"));
    }
    let finding = Finding::error(subject, message);
    match error.remedy_text() {
        Some(remedy) => finding.fix(remedy),
        None => finding,
    }
}

fn login(kafka: &Kafka) -> Vec<Finding> {
    match (&kafka.sasl, &kafka.tls) {
        (Some(sasl), None) if matches!(sasl.mechanism, Mechanism::Plain | Mechanism::Oauthbearer) => {
            let message = "the login goes over the wire in clear text";
            vec![Finding::warning("kafka.tls", message).fix("set `transport.kafka.tls`")]
        }
        _ => Vec::new(),
    }
}

fn looked_at(
    kafka: &Kafka,
    (pipeline, lake): (&str, Option<&KafkaPosition>),
    tables: &[TableId],
    clock: &Arc<dyn Clock>,
    runtime: Handle,
) -> Result<Vec<Finding>> {
    let reader = kafka.reader(clock)?;
    let brokers = brokers(&reader)?;
    let admin = Admin::new(kafka, clock, runtime)?;
    let there = topics::partitions(&reader)?;
    let mut findings = vec![Finding::ok("kafka.brokers", format!("{} brokers answer", brokers.len()))];
    if let Some(broker) = brokers.first() {
        let millis = |setting: &str| {
            let value = admin.broker_setting(*broker, setting)?.parse().ok();
            value.map(Duration::from_millis)
        };
        findings.push(transaction_timeout(kafka, millis));
        findings.extend(session_timeout(kafka, millis));
    }
    findings.extend(own_topics(kafka, &admin, &there));
    findings.extend(beside_topics(kafka, &there));
    findings.extend(dead_letter(kafka, &there));
    let wanted = wanted(kafka, tables);
    findings.extend(rights::rights(kafka, pipeline, (&reader, &wanted, &there), clock));
    let mut counts = Counts::new();
    if there.contains_key(&checkpoint_topic(&kafka.prefix)) {
        let (finding, counted) = checkpoint(kafka, pipeline, &reader, clock.as_ref());
        findings.push(finding);
        counts = counted;
    }
    let sink = Sink { reader: &reader, clock: clock.as_ref(), lake, counts: Some(&counts) };
    findings.extend(data_topics(kafka, tables, &admin, &there, sink));
    Ok(findings)
}

fn brokers(reader: &Reader) -> Result<Vec<i32>> {
    Ok(client::metadata(reader)?.brokers().iter().map(|broker| broker.id()).collect())
}

/// `millis` asks for a setting of the brokers.
fn transaction_timeout(kafka: &Kafka, millis: impl Fn(&str) -> Option<Duration>) -> Finding {
    const SUBJECT: &str = "kafka.transaction_timeout";
    const SETTING: &str = "transaction.max.timeout.ms";
    let ours = kafka.transaction_timeout;
    match millis(SETTING) {
        Some(most) if most < ours => {
            let message = format!(
                "transactions may take {most:?} by the brokers' {SETTING}, and are to take up to {ours:?}"
            );
            Finding::error(SUBJECT, message)
                .fix(format!("transport: {{ kafka: {{ transaction_timeout: {}ms }} }}", most.as_millis()))
        }
        Some(most) => Finding::ok(SUBJECT, format!("{ours:?}, of {most:?} that the brokers allow")),
        None => Finding::warning(SUBJECT, format!("the account may not ask for the brokers' {SETTING}"))
            .fix("grant the account DescribeConfigs on the cluster, or compare by hand"),
    }
}

/// Whether the brokers take the session timeout of `load`; nothing where the account may not ask.
fn session_timeout(kafka: &Kafka, millis: impl Fn(&str) -> Option<Duration>) -> Option<Finding> {
    const LEAST: &str = "group.min.session.timeout.ms";
    const MOST: &str = "group.max.session.timeout.ms";
    let (least, most, ours) = (millis(LEAST)?, millis(MOST)?, kafka.load.session_timeout);
    let allowed = ours.max(least).min(most);
    (ours != allowed).then(|| {
        let message = format!("{ours:?}, and the brokers take {least:?} ({LEAST}) to {most:?} ({MOST}) only");
        Finding::error("kafka.load.session_timeout", message).fix(format!(
            "transport: {{ kafka: {{ load: {{ session_timeout: {}ms }} }} }}",
            allowed.as_millis()
        ))
    })
}

fn own_topics(kafka: &Kafka, admin: &Admin, there: &BTreeMap<String, usize>) -> Vec<Finding> {
    let look = |topic: String| match there.get(&topic) {
        None if kafka.topics.create => Finding::ok("kafka.topics", format!("{topic} will be made")),
        None => failed("kafka.topics", &topics::missing_own(&topic)),
        Some(1) => match admin.setting(&topic, "cleanup.policy").as_deref() {
            Some("compact") | None => Finding::ok("kafka.topics", format!("{topic} is there")),
            Some(policy) => {
                let message =
                    format!("{topic} has cleanup.policy={policy}: the pipeline's state could be removed");
                Finding::error("kafka.topics", message).fix(topics::to_compact(&topic))
            }
        },
        Some(count) => {
            Finding::error("kafka.topics", format!("{topic} has {count} topic partitions; it must have one"))
                .fix("delete it, and create it with one before the first start")
        }
    };
    [checkpoint_topic(&kafka.prefix), request_topic(&kafka.prefix)].map(look).into()
}

/// Topics beside those of tables.
fn beside_topics(kafka: &Kafka, there: &BTreeMap<String, usize>) -> Vec<Finding> {
    let look = |topic: String| match there.get(&topic) {
        Some(_) => Finding::ok("kafka.topics", format!("{topic} is there")),
        None if kafka.topics.create => Finding::ok("kafka.topics", format!("{topic} will be made")),
        None => failed("kafka.topics", &topics::missing(&topic)),
    };
    topics::beside(kafka).into_iter().map(look).collect()
}

/// Every topic of the pipeline.
fn wanted(kafka: &Kafka, tables: &[TableId]) -> Vec<String> {
    let mut names = Names::default();
    let of_tables = tables.iter().filter_map(|table| names.of(&kafka.prefix, table).ok());
    let own = [checkpoint_topic(&kafka.prefix), request_topic(&kafka.prefix)];
    own.into_iter().chain(topics::beside(kafka)).chain(of_tables).collect()
}

/// The topic for records that cannot be read, which nobody makes.
fn dead_letter(kafka: &Kafka, there: &BTreeMap<String, usize>) -> Option<Finding> {
    let topic = kafka.load.dead_letter.as_ref()?;
    (!there.contains_key(topic)).then(|| failed("kafka.load.dead_letter", &topics::no_dead_letter(topic)))
}

/// The newest checkpoint, and the events that it counts.
fn checkpoint(kafka: &Kafka, pipeline: &str, reader: &Reader, clock: &dyn Clock) -> (Finding, Counts) {
    const SUBJECT: &str = "kafka.checkpoint";
    let topic = checkpoint_topic(&kafka.prefix);
    match checkpoints::read(reader, &topic, 0, pipeline, clock).map(|found| found.last) {
        Ok(Some(last)) => {
            let message = format!("number {}, {}", last.number, last.checkpoint.position);
            (Finding::ok(SUBJECT, message), last.events)
        }
        Ok(None) => (Finding::ok(SUBJECT, "nothing was captured yet"), Counts::new()),
        Err(error) => (failed(SUBJECT, &error), Counts::new()),
    }
}

fn data_topics(
    kafka: &Kafka,
    tables: &[TableId],
    admin: &Admin,
    there: &BTreeMap<String, usize>,
    sink: Sink<'_>,
) -> Vec<Finding> {
    let (mut findings, mut names, mut known) = (Vec::new(), Names::default(), 0);
    for table in tables {
        let topic = match names.of(&kafka.prefix, table) {
            Ok(topic) => topic,
            Err(error) => {
                findings.push(failed("kafka.topics", &error));
                continue;
            }
        };
        match there.get(&topic) {
            None if kafka.topics.create => {}
            None => findings.push(failed("kafka.topics", &topics::missing(&topic))),
            Some(partitions) => {
                known += 1;
                findings.extend(sink.compared(&topic, *partitions, admin));
                findings.extend(compaction(&topic, admin));
            }
        }
    }
    let missing = tables.len().saturating_sub(known);
    if findings.iter().all(|finding| finding.level != lakeward_core::Level::Error) {
        let made = if missing > 0 { format!(", {missing} will be made") } else { String::new() };
        findings.push(Finding::ok("kafka.topics", format!("{known} topics of tables are there{made}")));
    }
    findings
}

/// A compacted topic loses the history of its keys, and takes no mark.
fn compaction(topic: &str, admin: &Admin) -> Option<Finding> {
    let policy = admin.setting(topic, "cleanup.policy")?;
    policy.contains("compact").then(|| {
        let message = format!(
            "{topic} has cleanup.policy={policy}: `load` stops at an event that was compacted away, and a TRUNCATE, which \
             has no key, stops `capture`"
        );
        Finding::warning("kafka.topics", message)
            .fix(format!("kafka-configs.sh --alter --topic {topic} --add-config cleanup.policy=delete"))
    })
}

//! What `lakeward check` finds of a Kafka cluster. Reads only: a transactional id is not claimed, as that would fence a
//! capture that runs.

pub mod foreign;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Clock, Error, Finding, Result, TableId};
use tokio::runtime::Handle;

use crate::checkpoints;
use crate::client::{self, Reader};
use crate::config::{Kafka, Mechanism};
use crate::format::{FormatOptions, registry};
use crate::topics::{self, Admin, Names, checkpoint_topic, request_topic};

/// Retention below which a sink that is down over a night loses events.
const SHORT_RETENTION: Duration = Duration::from_hours(24);

/// Looks at the cluster for `pipeline`, which captures `tables`. Waits for the cluster: belongs on a thread of its own.
pub fn check(
    kafka: &Kafka,
    pipeline: &str,
    tables: &[TableId],
    clock: &Arc<dyn Clock>,
    runtime: Handle,
) -> Vec<Finding> {
    let mut findings = login(kafka);
    match looked_at(kafka, pipeline, tables, clock, runtime) {
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
    pipeline: &str,
    tables: &[TableId],
    clock: &Arc<dyn Clock>,
    runtime: Handle,
) -> Result<Vec<Finding>> {
    let reader = kafka.reader(clock)?;
    let brokers = brokers(&reader)?;
    let admin = Admin::new(kafka, clock, runtime)?;
    let there = topics::partitions(&reader)?;
    let mut findings = vec![Finding::ok("kafka.brokers", format!("{} brokers answer", brokers.len()))];
    findings.extend(brokers.first().map(|broker| transaction_timeout(kafka, &admin, *broker)));
    findings.extend(own_topics(kafka, &admin, &there));
    findings.extend(beside_topics(kafka, &there));
    if there.contains_key(&checkpoint_topic(&kafka.prefix)) {
        findings.push(checkpoint(kafka, pipeline, &reader, clock.as_ref()));
    }
    findings.extend(data_topics(kafka, tables, &admin, &there));
    Ok(findings)
}

fn brokers(reader: &Reader) -> Result<Vec<i32>> {
    Ok(client::metadata(reader)?.brokers().iter().map(|broker| broker.id()).collect())
}

fn transaction_timeout(kafka: &Kafka, admin: &Admin, broker: i32) -> Finding {
    const SUBJECT: &str = "kafka.transaction_timeout";
    const SETTING: &str = "transaction.max.timeout.ms";
    let ours = kafka.transaction_timeout;
    match admin
        .broker_setting(broker, SETTING)
        .and_then(|value| value.parse().ok())
        .map(Duration::from_millis)
    {
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

fn own_topics(kafka: &Kafka, admin: &Admin, there: &BTreeMap<String, usize>) -> Vec<Finding> {
    let look = |topic: String| match there.get(&topic) {
        None if kafka.topics.create => Finding::ok("kafka.topics", format!("{topic} will be made")),
        None => failed("kafka.topics", &topics::missing(&topic)),
        Some(1) => match admin.setting(&topic, "cleanup.policy").as_deref() {
            Some("compact") | None => Finding::ok("kafka.topics", format!("{topic} is there")),
            Some(policy) => {
                let message =
                    format!("{topic} has cleanup.policy={policy}: the pipeline's state could be removed");
                let fix =
                    format!("kafka-configs.sh --alter --topic {topic} --add-config cleanup.policy=compact");
                Finding::error("kafka.topics", message).fix(fix)
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

fn checkpoint(kafka: &Kafka, pipeline: &str, reader: &Reader, clock: &dyn Clock) -> Finding {
    let topic = checkpoint_topic(&kafka.prefix);
    match checkpoints::read(reader, &topic, 0, pipeline, clock) {
        Ok(found) => match found.last {
            Some(last) => Finding::ok(
                "kafka.checkpoint",
                format!("number {}, {}", last.number, last.checkpoint.position),
            ),
            None => Finding::ok("kafka.checkpoint", "nothing was captured yet"),
        },
        Err(error) => failed("kafka.checkpoint", &error),
    }
}

fn data_topics(
    kafka: &Kafka,
    tables: &[TableId],
    admin: &Admin,
    there: &BTreeMap<String, usize>,
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
            Some(_) => {
                known += 1;
                findings.extend(retention(&topic, admin));
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

/// A sink that lags by more than the retention loses events.
fn retention(topic: &str, admin: &Admin) -> Option<Finding> {
    let text = admin.setting(topic, "retention.ms")?;
    let millis: u64 = text.parse().ok()?;
    let kept = Duration::from_millis(millis);
    (kept < SHORT_RETENTION).then(|| {
        let message = format!("{topic} keeps events for {kept:?}: a sink that is down for longer loses them");
        Finding::warning("kafka.retention", message)
            .fix(format!("kafka-configs.sh --alter --topic {topic} --add-config retention.ms=604800000"))
    })
}

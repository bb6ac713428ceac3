//! Which rights the account has, as far as that can be asked without use of them: what reading needs. To ask whether it
//! may write to the transactional id is to claim it, which would end a capture that runs; and a topic takes no record on
//! trial. The first is told when `capture` starts, the second by the first record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Clock, Finding, Level, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use super::failed;
use crate::client::{self, ANSWER, Reader, explained};
use crate::config::Kafka;
use crate::topics::checkpoint_topic;

const SUBJECT: &str = "kafka.rights";

/// Looks at the rights on the topics `wanted`, of which some are `there`, and on the group of `load`.
pub(super) fn rights(
    kafka: &Kafka,
    pipeline: &str,
    (reader, wanted, there): (&Reader, &[String], &BTreeMap<String, usize>),
    clock: &Arc<dyn Clock>,
) -> Vec<Finding> {
    let hidden = wanted.iter().filter(|topic| !there.contains_key(*topic));
    let denied: Vec<&str> = hidden.filter(|topic| is_denied(reader, topic)).map(String::as_str).collect();
    let mut findings = Vec::new();
    if let Some((first, others)) = denied.split_first() {
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        let error = explained("topics", &KafkaError::MetadataFetch(DENIED), reader.context().trouble());
        findings.push(failed(SUBJECT, &error.at("topic", format!("{first}{more}"))));
    }
    let group = kafka.load.group.clone().unwrap_or_else(|| format!("lakeward-{pipeline}"));
    if let Err(error) = sees_group(kafka, &group, clock) {
        // An account that only captures has no need of it.
        let told = failed(SUBJECT, &error.at("group", group));
        findings.push(Finding { level: Level::Warning, ..told });
    }
    if findings.is_empty() {
        let message = format!(
            "the account sees the topics and the group; whether it may write to the transactional id `lakeward-{}` and to \
             the topics is told when `capture` does",
            kafka.prefix
        );
        findings.push(Finding::ok(SUBJECT, message));
    }
    findings
}

/// How long the group is asked for: who is denied gets no answer at all.
const GROUP: Duration = Duration::from_secs(8);
const DENIED: Code = Code::TopicAuthorizationFailed;

/// A topic that the account may not see is not among all topics, and denied by its name.
fn is_denied(reader: &Reader, topic: &str) -> bool {
    let metadata = reader.fetch_metadata(Some(topic), ANSWER).ok();
    metadata.and_then(|metadata| metadata.topics().first()?.error()).map(Code::from) == Some(DENIED)
}

fn sees_group(kafka: &Kafka, group: &str, clock: &Arc<dyn Clock>) -> Result<()> {
    let mut properties = kafka.client()?;
    properties.set("group.id", group).set("enable.auto.commit", "false");
    let member = kafka.made(&properties, clock)?;
    let mut asked = TopicPartitionList::new();
    let topic = checkpoint_topic(&kafka.prefix);
    let place = asked.add_partition_offset(&topic, 0, Offset::Invalid);
    place.and_then(|()| member.committed_offsets(asked, GROUP)).map(drop).map_err(|error| {
        client::hear(&member);
        // Who is denied is not answered; why, is told beside.
        let denied = member.context().trouble().code().filter(|code| *code == Code::GroupAuthorizationFailed);
        let error = denied.map_or(error, KafkaError::ConsumerCommit);
        explained("the group's offsets", &error, member.context().trouble())
    })
}

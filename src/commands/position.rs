//! `lakeward position show`.

use lakeward_core::{KafkaPosition, Position, Result, TopicPartitionPosition};
use serde_json::json;

use crate::cli::{Outcome, Report, answer, runtime};
use crate::{config, wiring};

pub(crate) fn show(report: &Report) -> Result<Outcome> {
    let pipeline = config::load(&report.which.config)?;
    let status = runtime()?.block_on(wiring::status(&pipeline))?;
    let checkpoint = status.and_then(|status| status.checkpoint);
    let text = match (&checkpoint, report.json) {
        (Some(checkpoint), true) => {
            let position = &checkpoint.position;
            format!("{:#}", json!({ "position": position, "next_seq": checkpoint.next_seq }))
        }
        (None, true) => format!("{:#}", json!({ "position": null, "next_seq": null })),
        (Some(checkpoint), false) => lines(&checkpoint.position),
        (None, false) => {
            format!("none: {} has not committed yet; it begins {}", pipeline.name, pipeline.beginning())
        }
    };
    answer(&text)?;
    Ok(Outcome::Done)
}

/// A position for people: one of a binlog can be copied into `start`, one of Kafka has a line for each topic
/// partition.
fn lines(position: &Position) -> String {
    match position {
        Position::Binlog(at) => {
            let gtids = at.gtid_set.as_ref().map(|set| format!("\ngtids:  {set}")).unwrap_or_default();
            format!("binlog: {}:{}\nserver: {}{gtids}", at.file, at.offset, at.server_uuid)
        }
        Position::Kafka(at) => {
            let places =
                at.iter().map(|(topic, number, place)| format!("\n  {}", line(topic, number, place)));
            format!("kafka:  {at}{}", places.collect::<String>())
        }
        other => other.to_string(),
    }
}

/// One topic partition.
fn line(topic: &str, number: i32, place: &TopicPartitionPosition) -> String {
    let TopicPartitionPosition { offset, events, checkpoint, commit_us: _, dead_letters, stopped } = place;
    let mut line = format!("{topic}/{number}: offset {offset}, {events} events");
    if *checkpoint > 0 {
        line.push_str(&format!(", checkpoint {checkpoint}"));
    }
    if *dead_letters > 0 {
        line.push_str(&format!(", {dead_letters} of them in the dead-letter topic"));
    }
    if let Some(reason) = stopped {
        line.push_str(&format!(", stopped: {reason}"));
    }
    line
}

/// What of a position of Kafka needs to be looked at: the topic partition that is furthest behind, where they
/// differ, and those that are stopped.
pub(super) fn telling(at: &KafkaPosition) -> Vec<String> {
    let key = |place: &TopicPartitionPosition| (place.checkpoint, place.commit_us);
    let last = at.iter().min_by_key(|(_, _, place)| key(place));
    let even = at.iter().all(|(_, _, place)| last.is_none_or(|(_, _, last)| key(place) == key(last)));
    let behind = last
        .filter(|_| !even)
        .map(|(topic, number, place)| format!("furthest behind: {}", line(topic, number, place)));
    let stopped = at.iter().filter(|(_, _, place)| place.stopped.is_some());
    behind.into_iter().chain(stopped.map(|(topic, number, place)| line(topic, number, place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(places: &[(i32, u64, Option<&str>)]) -> KafkaPosition {
        let mut position = KafkaPosition::default();
        for (number, checkpoint, stopped) in places {
            let place = TopicPartitionPosition {
                offset: 20,
                events: 9,
                checkpoint: *checkpoint,
                stopped: stopped.map(str::to_owned),
                ..TopicPartitionPosition::default()
            };
            position.topics.entry("shop.db.t".into()).or_default().insert(*number, place);
        }
        position
    }

    #[test]
    fn each_topic_partition_has_its_line() {
        let told = lines(&Position::Kafka(kafka(&[(0, 4, None), (1, 3, Some("no such schema"))])));
        assert_eq!(
            told,
            "kafka:  18 events of 2 topic partitions, checkpoints 3 to 4\n  \
             shop.db.t/0: offset 20, 9 events, checkpoint 4\n  \
             shop.db.t/1: offset 20, 9 events, checkpoint 3, stopped: no such schema"
        );
    }

    #[test]
    fn only_what_differs_is_told() {
        assert_eq!(telling(&kafka(&[(0, 4, None), (1, 4, None)])), [""; 0]);
        let told = telling(&kafka(&[(0, 4, None), (1, 3, None), (2, 4, Some("why"))]));
        assert_eq!(
            told,
            [
                "furthest behind: shop.db.t/1: offset 20, 9 events, checkpoint 3",
                "shop.db.t/2: offset 20, 9 events, checkpoint 4, stopped: why",
            ]
        );
    }
}

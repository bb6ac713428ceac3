//! The source's beginning: what capture has counted, what is ours of it, and where each of that begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lakeward_core::error::ANEW;
use lakeward_core::queue::Sender;
use lakeward_core::{Error, ErrorKind, Feed, KafkaPosition, Position, Result, failpoint};
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use tracing::info;

use super::captured::Captured;
use super::dead_letters::DeadLetters;
use super::desk::Desk;
use super::growth::room;
use super::lane::Lane;
use super::link;
use super::outlet::Outlet;
use super::partition_queue::PartitionQueue;
use super::places;
use super::reading::Reading;
use super::targets::{Counts, Targets};
use super::topic::Topic;
use super::versions::Versions;
use super::{GROUP, KafkaOptions, Until};
use crate::client::Reader;
use crate::format::Decoder;
use crate::group::{Assignment, TopicPartitions};

/// What capture has written up to now.
pub(super) struct Known {
    pub(super) captured: Captured,
    pub(super) targets: Targets,
    /// What the newest checkpoint counts.
    pub(super) counts: Counts,
}

/// Reads the checkpoint topic to its end.
pub(super) fn captured(options: &KafkaOptions) -> Result<Known> {
    let mut captured = Captured::open(&options.kafka, &options.clock, &group(options), &options.pipeline)?;
    let (mut targets, mut counts, mut modes) = (Targets::default(), Counts::new(), None);
    if captured.exists()? {
        // A bounded run ends at what is committed now, although it may not be visible yet.
        let all = (options.until == Until::CaughtUp).then_some(&options.kafka);
        captured.read_to_end(all, &options.clock, &mut |checkpoint| {
            counts.clone_from(&checkpoint.events);
            modes.clone_from(&checkpoint.modes);
            targets.push(checkpoint);
        })?;
    }
    if let Some(written) = &modes {
        options.kafka.format.modes().are_those_of(written)?;
    }
    let newest = i64::try_from(targets.newest_number()).unwrap_or(i64::MAX);
    options.kafka_stats.captured_checkpoint.set(newest);
    Ok(Known { captured, targets, counts })
}

/// Tells the group which topics there are, for the first time.
pub(super) fn join(options: &KafkaOptions) -> Result<()> {
    let Known { captured, counts, .. } = captured(options)?;
    options.membership.want(places::there(captured.reader(), &counts)?.0);
    options.membership.assigned(GROUP).map(drop)
}

/// The client that reads needs a name for a group it never joins.
fn group(options: &KafkaOptions) -> String {
    format!("{}-reader", options.membership.group())
}

/// All that the thread needs.
pub(super) fn open(options: KafkaOptions, sender: Sender<Result<Feed>>) -> Result<Reading> {
    failpoint::hit("kafka.load.open")?;
    let Known { captured, targets, counts } = captured(&options)?;
    let from = options.resume.checkpoint.clone();
    let known = match from.as_ref().map(|checkpoint| &checkpoint.position) {
        Some(Position::Kafka(position)) => position.clone(),
        None => KafkaPosition::default(),
        Some(other) => {
            return Err(Error::new(ErrorKind::Config, "the lake was filled from another kind of source")
                .at("position", other)
                .remedy(format!("set `transport` back to what it was, or begin anew: {ANEW}")));
        }
    };
    let existing = places::existing(captured.reader(), &known, &counts)?;
    let assignment = ours(&options, &known, existing)?;
    let room = room(assignment.ours.len());
    let ahead = options.memory.0 / 8 / (room as u64);
    let reader = Arc::new(link::reader(&options.kafka, &options.clock, &group(&options), ahead)?);
    let dead_letters = DeadLetters::open(&options.kafka, &options.clock)?;
    let topics = lanes(&reader, &assignment.ours, &known, &counts)?;
    info!(
        topic_partitions = assignment.ours.len(),
        captured_checkpoint = targets.newest_number(),
        "reading from Kafka"
    );
    let desk = Desk {
        out: Outlet::new(sender, &options.stats, &options.kafka_stats),
        captured,
        decoder: Decoder::new(&options.kafka.format)?.with_before(options.before_images),
        versions: Versions::after(from.as_ref()),
        reader,
        assignment,
        known,
        room,
        dead_letters,
        options,
    };
    let said = desk.options.clock.elapsed();
    Ok(Reading { first: from.is_none(), desk, topics, targets, counts, reached: None, last: None, said })
}

/// The topic partitions to read.
fn ours(options: &KafkaOptions, known: &KafkaPosition, existing: BTreeSet<String>) -> Result<Assignment> {
    match &options.until {
        Until::Again(to) => {
            let moved = to.iter().filter(|(topic, number, place)| {
                known.get(topic, *number).map_or(0, |place| place.events) != place.events
            });
            let ours = moved.map(|(topic, number, _)| (topic.to_owned(), number)).collect();
            Ok(Assignment { generation: 0, ours })
        }
        Until::Forever | Until::CaughtUp => {
            options.membership.want(existing);
            options.membership.assigned(GROUP)
        }
    }
}

/// Finds the place of each topic partition, and begins to fetch.
pub(super) fn lanes(
    reader: &Arc<Reader>,
    ours: &TopicPartitions,
    known: &KafkaPosition,
    counts: &Counts,
) -> Result<Vec<Topic>> {
    let mut topics: BTreeMap<Arc<str>, Vec<Lane>> = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    let refused = |error| Error::new(ErrorKind::Bug, "topic partitions cannot be read").caused_by(error);
    for (name, number) in ours {
        let place = places::place(reader, (name, *number), known.get(name, *number), counts)?;
        list.add_partition_offset(name, *number, Offset::Offset(place.offset)).map_err(refused)?;
        let topic: Arc<str> = name.as_str().into();
        // Before it is assigned: no record then ever comes by another way.
        let queue = PartitionQueue::split(reader, name, *number)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "a topic partition has no queue").at("topic", name))?;
        topics.entry(Arc::clone(&topic)).or_default().push(Lane::new(topic, *number, queue, place));
    }
    if !ours.is_empty() {
        reader.incremental_assign(&list).map_err(refused)?;
    }
    Ok(topics.into_iter().map(|(name, lanes)| Topic::new(name, lanes)).collect())
}

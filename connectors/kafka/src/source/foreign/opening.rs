//! The source's beginning, and that of each topic: which are there, and where each topic partition goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lakeward_core::queue::Sender;
use lakeward_core::{
    Checkpoint, Error, ErrorKind, Feed, KafkaPosition, Position, Result, TableSchema, failpoint,
};
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{error, info, warn};

use super::super::Until;
use super::super::dead_letters::DeadLetters;
use super::super::link;
use super::super::outlet::Outlet;
use super::super::partition_queue::PartitionQueue;
use super::desk::Desk;
use super::lane::Lane;
use super::places::{MADE_ANEW, judged};
use super::reading::Reading;
use super::topic::{Topic, WITH_THE_TOPIC};
use super::topics::{Found, belongs, find, is_read, plain};
use super::{ForeignOptions, numbers};
use crate::client::Reader;
use crate::debezium::{self, Versions};
use crate::format::registry;
use crate::registry::Registry;
use crate::topics::{bounds, data_topic, partitions};

/// Looks at a topic so often before it is taken for gone: brokers learn of new ones one after the other.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(500);
/// Why a topic with more topic partitions than before stands still.
const GROWN: &str = "the topic was given more topic partitions: keys have moved, and which event of a key is newer is not known";

const GROWN_REMEDY: &str =
    "exclude the table, and load it by a new pipeline after a new snapshot by Debezium into a new topic";

/// All that the thread needs.
pub(in crate::source) fn open(options: ForeignOptions, sender: Sender<Result<Feed>>) -> Result<Reading> {
    failpoint::hit("kafka.load.open")?;
    let begun = options.resume.checkpoint.clone();
    let known = known(begun.as_ref())?;
    let asking = options.kafka.reader(&options.clock)?;
    let found = match &options.until {
        Until::Again(to) => of_range(there(&asking, &options, &known)?, &known, to)?,
        Until::Forever | Until::CaughtUp => there(&asking, &options, &known)?,
    };
    let lanes = found.values().map(|count| u64::from(count.unsigned_abs())).sum::<u64>().max(1);
    let group = options.kafka.load.group.clone().unwrap_or_else(|| format!("lakeward-{}", options.pipeline));
    let ahead = options.memory.0 / 8 / lanes;
    let reader = Arc::new(link::reader(&options.kafka, &options.clock, &format!("{group}-reader"), ahead)?);
    let topics = Opening { options: &options, reader: &reader, known: &known }.topics(&found)?;
    info!(topics = topics.len(), "reading what Debezium wrote");
    let dead_letters = DeadLetters::open(&options.kafka, &options.clock)?;
    let now = options.clock.elapsed();
    let first = begun.is_none();
    let at = begun.unwrap_or_else(beginning);
    let out = Outlet::new(sender, &options.stats, &options.kafka_stats);
    let desk = Desk { options, out, reader, dead_letters };
    Ok(Reading { desk, topics, at, first, turn: 0, said: now, asked: now, missing: BTreeMap::new() })
}

/// A checkpoint before all events.
fn beginning() -> Checkpoint {
    Checkpoint {
        position: Position::Kafka(KafkaPosition::default()),
        next_seq: numbers::above(0),
        commit_us: None,
        retired: 0,
        prepared: Vec::new(),
        requests: Vec::new(),
        tables: Arc::default(),
    }
}

/// The places that the lake has.
fn known(from: Option<&Checkpoint>) -> Result<KafkaPosition> {
    let other = |what: &str, at: &Position| {
        Err(Error::new(ErrorKind::Config, format!("the lake was filled {what}"))
            .at("position", at)
            .remedy("give the pipeline that loads Debezium's topics a name, and a `lake.url`, of its own"))
    };
    match from.map(|from| &from.position) {
        None => Ok(KafkaPosition::default()),
        Some(at @ Position::Kafka(places)) => match places.is_of_capture() {
            Some(true) => other("from topics that `lakeward capture` wrote: its numbers are others", at),
            Some(false) | None => Ok(places.clone()),
        },
        Some(at) => other("straight from a binlog", at),
    }
}

/// The topics that are there now. One that the lake has, and that is included, must be among them.
fn there(reader: &Reader, options: &ForeignOptions, known: &KafkaPosition) -> Result<Found> {
    let wanted = plain(&options.tables);
    let mut looks = 0;
    loop {
        let dead_letter = options.kafka.load.dead_letter.as_deref();
        let found = find(&partitions(reader)?, &options.kafka.prefix, &options.tables, dead_letter)?;
        let prefix = &options.kafka.prefix;
        let mut had = known.topics.keys().filter(|topic| is_read(topic, prefix, &wanted, dead_letter));
        let Some(topic) = had.find(|topic| !found.contains_key(*topic)) else { return Ok(found) };
        looks += 1;
        if looks == LOOKS {
            return Err(gone(topic));
        }
        std::thread::sleep(LOOK);
    }
}

/// Of the topics that are there those in which a range has moved.
fn of_range(found: Found, from: &KafkaPosition, to: &KafkaPosition) -> Result<Found> {
    let moved = to.iter().filter(|(topic, number, place)| from.get(topic, *number) != Some(*place));
    moved
        .map(|(topic, _, _)| match found.get(topic) {
            Some(count) => Ok((topic.to_owned(), *count)),
            None => Err(gone(topic)),
        })
        .collect()
}

/// A topic that was there is not.
pub(super) fn gone(topic: &str) -> Error {
    Error::new(ErrorKind::TopicLost, "a topic is gone; whether all of it is in the lake is not known")
        .at("topic", topic)
        .remedy("if its table was dropped for good, exclude it in `tables.exclude`")
}

/// A topic never loses topic partitions.
pub(super) fn refuse_fewer(topic: &str, had: usize, count: i32) -> Result<()> {
    match usize::try_from(count).is_ok_and(|count| count >= had) {
        true => Ok(()),
        false => {
            let message = format!("the topic has {count} topic partitions, and had {had}");
            Err(Error::new(ErrorKind::TopicLost, message).at("topic", topic).remedy(MADE_ANEW))
        }
    }
}

/// Whether all of it stands still.
pub(super) fn is_halted(topic: &Topic) -> bool {
    topic.lanes.iter().all(|lane| !lane.is_running())
}

/// What topics are opened with.
pub(super) struct Opening<'a> {
    pub(super) options: &'a ForeignOptions,
    pub(super) reader: &'a Arc<Reader>,
    /// Where the lake is.
    pub(super) known: &'a KafkaPosition,
}

impl Opening<'_> {
    /// Finds the place of each topic partition, and begins to fetch.
    pub(super) fn topics(&self, found: &Found) -> Result<Vec<Topic>> {
        let registry = registry(&self.options.kafka.format)?.map(Arc::new);
        let mut topics = Vec::new();
        let mut list = TopicPartitionList::new();
        let refused = |error| Error::new(ErrorKind::Bug, "topic partitions cannot be read").caused_by(error);
        for (name, count) in found {
            let topic = self.topic(name, *count, registry.as_ref())?;
            for lane in topic.lanes.iter().filter(|lane| lane.is_running()) {
                let place = Offset::Offset(lane.place.offset);
                list.add_partition_offset(name, lane.number, place).map_err(refused)?;
            }
            topics.push(topic);
        }
        if list.count() > 0 {
            self.reader.incremental_assign(&list).map_err(refused)?;
        }
        Ok(topics)
    }

    fn topic(&self, name: &str, count: i32, registry: Option<&Arc<Registry>>) -> Result<Topic> {
        let (name, places): (Arc<str>, _) = (name.into(), self.known.topics.get(name));
        let (versions, decided) = self.versions(&name);
        // A topic of which nothing was taken has no keys that could have moved.
        let had = places.filter(|places| places.values().any(|place| place.events > 0));
        let had = had.map_or(0, |places| places.len());
        refuse_fewer(&name, had, count)?;
        let again = matches!(self.options.until, Until::Again(_));
        let keyed = versions.known().last().is_some_and(|newest| !newest.key.is_empty());
        let grown = had > 0 && keyed && !again && usize::try_from(count).is_ok_and(|count| count > had);
        let numbers = if grown { i32::try_from(had).unwrap_or(count) } else { count };
        let mut lanes = Vec::new();
        for number in 0..numbers {
            let mut lane = self.lane(&name, number, registry)?;
            if grown {
                lane.stop(&format!("{GROWN}; {GROWN_REMEDY}"));
            }
            lanes.push(lane);
        }
        if grown {
            let told = Error::new(ErrorKind::TopicLost, GROWN).at("topic", &name).remedy(GROWN_REMEDY);
            if self.options.stop_all {
                return Err(told);
            }
            error!(kind = told.kind().name(), "a topic is stopped; the others go on: {told}");
        }
        Ok(Topic::new(name, lanes, versions, decided))
    }

    fn lane(&self, topic: &Arc<str>, number: i32, registry: Option<&Arc<Registry>>) -> Result<Lane> {
        let known = self.known.get(topic, number);
        // Before fetching begins: the lane's proof rests on it.
        let (first, end) = bounds(self.reader, topic, number)?;
        let named = |error: Error| error.at("topic partition", format!("{topic}/{number}"));
        let place = judged(known, (first, end)).map_err(named)?;
        if known.is_none() && first > 0 {
            warn!(
                topic = &**topic,
                number,
                offset = first,
                "the topic does not begin at its first record: what retention has removed before is not loaded"
            );
        }
        // Before it is assigned: no record then ever comes by another way.
        let queue = PartitionQueue::split(self.reader, topic, number)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "a topic partition has no queue").at("topic", topic))?;
        let format = &self.options.kafka.format;
        let reader = debezium::Reader::new(format, registry.cloned(), self.options.before_images)?;
        let mut lane = Lane::new((Arc::clone(topic), number), queue, place, end, reader);
        lane.asked = self.options.clock.elapsed();
        // Those that stood still with their topic come after the one that stopped it.
        let stopped = known.and_then(|known| known.stopped.as_deref());
        lane.tried_again = stopped.is_some_and(|reason| reason != WITH_THE_TOPIC);
        Ok(lane)
    }

    /// The versions of the topic's table that the lake has, and the number of the newest.
    fn versions(&self, topic: &str) -> (Versions, u32) {
        let prefix = self.options.kafka.prefix.clone();
        let of_topic = |schema: &&Arc<TableSchema>| data_topic(&prefix, &schema.table) == topic;
        let mut known: Vec<_> = self.options.resume.schemas.iter().filter(of_topic).cloned().collect();
        known.sort_by_key(|schema| schema.version);
        let states = self.options.resume.checkpoint.iter().flat_map(|checkpoint| checkpoint.tables.iter());
        let decided = states.filter(|(table, _)| data_topic(&prefix, table) == topic);
        let decided = decided.map(|(_, state)| state.schema_version).max().unwrap_or(0);
        let (name, tables) = (topic.to_owned(), self.options.tables.clone());
        let belongs = move |table: &_| belongs(&name, &prefix, &tables, table);
        let structures = Arc::clone(&self.options.structures);
        (Versions::new(self.options.types, known, belongs, structures), decided)
    }
}

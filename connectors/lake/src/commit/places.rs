//! The topic partitions of one worker within the position of the whole pipeline.
//!
//! A worker's commit is legal only if the log has each of its topic partitions where the worker began to
//! read it: then, and only then, the rows it brings are the next ones. [`Begun`] holds these places. It is
//! where the lake was when the worker opened, moved by its own commits alone.

use lakeward_core::error::ANEW;
use lakeward_core::{Checkpoint, Error, ErrorKind, KafkaPosition, Position, Result, TopicPartitionPosition};

/// Where a writer's next commit goes on from, in the topic partitions that are its own. Those of others
/// stand here as they were when it opened.
#[derive(Clone, Debug)]
pub(super) struct Begun(Option<Checkpoint>);

impl Begun {
    /// A writer opens where the lake is at `checkpoint`.
    pub(super) fn new(checkpoint: Option<Checkpoint>) -> Self {
        Begun(checkpoint)
    }

    /// The checkpoint; `None` before the first commit.
    pub(super) fn checkpoint(&self) -> Option<&Checkpoint> {
        self.0.as_ref()
    }

    /// The writer has committed `part`.
    pub(super) fn moved(&mut self, part: &Checkpoint) {
        self.0 = Some(merged(self.0.as_ref(), part));
    }

    /// How many events `part` covers beyond this; `None` if it is no later place, or if that cannot be
    /// told, before the first commit of a binlog.
    pub(super) fn events(&self, part: &Checkpoint) -> Events {
        let counted = match (&self.0, &part.position) {
            (Some(begun), _) => part.events_since(begun),
            (None, Position::Kafka(reached)) => reached.events_since(&KafkaPosition::default()),
            (None, _) => return Events::Unknown,
        };
        counted.filter(|_| !self.goes_back(part)).map_or(Events::GoBack, Events::Are)
    }

    fn goes_back(&self, part: &Checkpoint) -> bool {
        let (Some(Position::Kafka(begun)), Position::Kafka(reached)) = (self.position(), &part.position)
        else {
            return false;
        };
        reached.iter().any(|(topic, number, place)| {
            begun
                .get(topic, number)
                .is_some_and(|from| place.offset < from.offset || place.checkpoint < from.checkpoint)
        })
    }

    fn position(&self) -> Option<&Position> {
        self.0.as_ref().map(|begun| &begun.position)
    }

    /// The first topic partition of `part` that the lake, `at` its checkpoint, has at another place than
    /// the one which the writer began from.
    pub(super) fn taken_over(&self, part: &Checkpoint, at: Option<&Checkpoint>) -> Option<String> {
        let Position::Kafka(reached) = &part.position else { return None };
        let at = at.map(|at| &at.position);
        reached
            .iter()
            .find(|(topic, number, _)| place(self.position(), topic, *number) != place(at, topic, *number))
            .map(|(topic, number, _)| format!("{topic}/{number}"))
    }
}

fn place<'a>(position: Option<&'a Position>, topic: &str, number: i32) -> Option<&'a TopicPartitionPosition> {
    match position {
        Some(Position::Kafka(position)) => position.get(topic, number),
        Some(_) | None => None,
    }
}

/// How many events lie between two places.
pub(super) enum Events {
    /// So many.
    Are(u64),
    /// The second lies before the first.
    GoBack,
    /// It was not noted where the first one was.
    Unknown,
}

/// The lake at `at`, brought forward by `part`.
pub(super) fn merged(at: Option<&Checkpoint>, part: &Checkpoint) -> Checkpoint {
    at.map_or_else(|| part.clone(), |at| at.with(part))
}

/// Refuses to go on from a place of one kind of source with one of another: nobody knows which events of
/// the second are those that the first has brought already.
///
/// # Errors
/// `Config`.
pub(super) fn same_kind(pipeline: &str, at: Option<&Checkpoint>, part: &Position) -> Result<()> {
    let Some(at) = at.map(|at| &at.position) else { return Ok(()) };
    if matches!(at, Position::Kafka(_)) == matches!(part, Position::Kafka(_)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, "the lake was filled over another transport")
        .at("pipeline", pipeline)
        .at("position", at)
        .remedy(format!("set its `transport` back, or begin anew: {ANEW}")))
}

/// The places of `to` that are not those of `from`.
pub(super) fn moved(from: &KafkaPosition, to: &KafkaPosition) -> KafkaPosition {
    filtered(to, |topic, number| from.get(topic, number) != to.get(topic, number))
}

/// The places of `position` in the topic partitions of `those`.
pub(super) fn of_those_in(position: &KafkaPosition, those: &KafkaPosition) -> KafkaPosition {
    filtered(position, |topic, number| those.get(topic, number).is_some())
}

fn filtered(position: &KafkaPosition, keeps: impl Fn(&str, i32) -> bool) -> KafkaPosition {
    let mut kept = position.clone();
    for (topic, places) in &mut kept.topics {
        places.retain(|number, _| keeps(topic, *number));
    }
    kept.topics.retain(|_, places| !places.is_empty());
    kept
}

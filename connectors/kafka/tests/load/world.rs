//! A source over a broker, and what it yields.

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::clock::SystemClock;
use lakeward_core::{
    ByteSize, Checkpoint, Clock, Error, Feed, KafkaPosition, Op, Position, Result, Resume, Source,
};
use lakeward_kafka::config::KafkaConfig;
use lakeward_kafka::group::{Member, Membership};
use lakeward_kafka::source::{KafkaOptions, KafkaSource, Until};
use lakeward_test_support::kafka::Kafka;

use crate::writer::PIPELINE;

const LIMIT: Duration = Duration::from_secs(120);

/// A broker on which workers that died are noticed soon.
pub(crate) fn broker() -> Kafka {
    Kafka::with(&[("group.min.session.timeout.ms", "500")])
}

/// A member of the group of workers.
pub(crate) fn membership(broker: &Kafka, name: &str) -> Arc<Membership> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let member =
        Member { group: "workers".into(), client_id: name.into(), session_timeout: Duration::from_secs(5) };
    Arc::new(Membership::new(&config(broker), &clock, &member).unwrap())
}

fn config(broker: &Kafka) -> lakeward_kafka::config::Kafka {
    let config = serde_json::json!({ "brokers": broker.brokers() });
    serde_json::from_value::<KafkaConfig>(config).unwrap().checked(PIPELINE).unwrap()
}

/// Options of a source that goes on from `from`.
pub(crate) fn options(
    broker: &Kafka,
    membership: &Arc<Membership>,
    from: Option<&Checkpoint>,
    until: Until,
) -> KafkaOptions {
    KafkaOptions {
        kafka: config(broker),
        pipeline: PIPELINE.to_owned(),
        before_images: false,
        stop_all: false,
        until,
        resume: Resume { checkpoint: from.cloned(), ..Resume::default() },
        membership: Arc::clone(membership),
        memory: ByteSize::mib(64),
        clock: Arc::new(SystemClock::start()),
        stats: Arc::default(),
        kafka_stats: Arc::default(),
    }
}

/// What a source yields, in order.
#[derive(Debug)]
pub(crate) enum Item {
    /// Table, op, number, and topic partitions do not show: only what the sink gets.
    Event(String, &'static str, i64),
    Version(String, u32),
    Boundary(Box<Checkpoint>),
}

/// Reads the next item but for batches, of which it gives each event.
pub(crate) fn items(feed: Feed) -> Vec<Item> {
    match feed {
        Feed::Schema(schema) => vec![Item::Version(schema.table.table.to_string(), schema.version)],
        Feed::Batch(batch) => {
            assert_eq!(batch.rows.num_rows(), batch.meta.seq.len());
            let name = batch.schema.table.table.to_string();
            let rows = batch.meta.op.iter().zip(&batch.meta.seq);
            rows.map(|(op, seq)| Item::Event(name.clone(), op.letter(), *seq)).collect()
        }
        Feed::Mark(mark) => {
            vec![Item::Event(mark.table().table.to_string(), Op::Truncate.letter(), mark.seq)]
        }
        Feed::Boundary(checkpoint) => vec![Item::Boundary(Box::new(checkpoint))],
        Feed::SchemaChange(_) => panic!("topics of tables tell no statements"),
        Feed::Keys(_) => panic!("keys are never asked for over Kafka"),
    }
}

/// Reads until `done` of all that came, or the end.
pub(crate) async fn read_until(
    source: &mut KafkaSource,
    mut done: impl FnMut(&[Item]) -> bool,
) -> Result<Vec<Item>> {
    let mut all = Vec::new();
    while !done(&all) {
        let next =
            tokio::time::timeout(LIMIT, source.next()).await.expect("the source yields within the time");
        match next? {
            Some(feed) => all.extend(items(feed)),
            None => break,
        }
    }
    Ok(all)
}

/// Opens a source.
pub(crate) async fn open(options: KafkaOptions) -> Result<KafkaSource> {
    tokio::task::spawn_blocking(move || KafkaSource::open(options)).await.unwrap()
}

/// All that there is from `from` on.
pub(crate) async fn caught_up(broker: &Kafka, from: Option<&Checkpoint>) -> Result<Vec<Item>> {
    let membership = membership(broker, "one");
    let mut source = open(options(broker, &membership, from, Until::CaughtUp)).await?;
    read_until(&mut source, |_| false).await
}

/// Numbers of the events, in order.
pub(crate) fn seqs(items: &[Item]) -> Vec<i64> {
    items
        .iter()
        .filter_map(|item| if let Item::Event(_, _, seq) = item { Some(*seq) } else { None })
        .collect()
}

/// Boundaries, in order.
pub(crate) fn boundaries(items: &[Item]) -> Vec<Checkpoint> {
    items
        .iter()
        .filter_map(|item| if let Item::Boundary(at) = item { Some((**at).clone()) } else { None })
        .collect()
}

/// Its position.
pub(crate) fn position(checkpoint: &Checkpoint) -> &KafkaPosition {
    match &checkpoint.position {
        Position::Kafka(position) => position,
        other => panic!("{other}"),
    }
}

/// The error of something that must fail.
pub(crate) fn failed(read: Result<Vec<Item>>) -> Error {
    match read {
        Err(error) => error,
        Ok(items) => panic!("it must fail, and yields {items:?}"),
    }
}

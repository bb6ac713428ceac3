//! From a MySQL binlog to Kafka.

use std::sync::Arc;

use lakeward_core::clock::SystemClock;
use lakeward_core::{Checkpoint, Clock, Finding, Request, Result, Resume, TableId};
use lakeward_kafka::config::Kafka;
use lakeward_kafka::sink::{KafkaSink, SinkOptions};
use lakeward_kafka::{checkpoints, requests, topics};
use lakeward_mysql::source::MysqlSource;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{Connectors, lake_position, off_thread, sink_share};
use crate::config::Pipeline;
use crate::engine::{Route, Until};
use crate::telemetry::Telemetry;

/// From a MySQL binlog to the topics of a Kafka cluster.
pub struct Capture {
    source: Connectors,
    sink: SinkOptions,
}

impl Capture {
    /// The ends of `pipeline` with `kafka` between, which count in `telemetry`.
    pub fn new(pipeline: Arc<Pipeline>, kafka: Kafka, telemetry: Telemetry, seed: u64) -> Self {
        let schema_changes = kafka.include_schema_changes;
        let sink = SinkOptions {
            kafka,
            pipeline: pipeline.name.clone(),
            memory: sink_share(pipeline.memory),
            clock: telemetry.clock.clone(),
            stats: telemetry.kafka.clone(),
            writer: Uuid::nil(),
            stood_still: Arc::default(),
        };
        let before_images = pipeline.before_in_records;
        let source = Connectors::new(pipeline, telemetry, seed);
        // Topics have no names of their own in a record's row.
        let reserved = Vec::new();
        Capture { source: Connectors { reserved, before_images, schema_changes, ..source }, sink }
    }
}

impl Route for Capture {
    type Source = MysqlSource;
    type Sink = KafkaSink;

    async fn sink(&mut self) -> Result<KafkaSink> {
        Ok(KafkaSink::new(SinkOptions { writer: Uuid::new_v4(), ..self.sink.clone() }))
    }

    async fn source(&mut self, resume: Resume, until: Until) -> Result<MysqlSource> {
        self.source.source(resume, until).await
    }
}

/// Looks at the cluster. Nothing is written.
pub(super) async fn check(pipeline: &Pipeline, kafka: &Kafka, tables: Vec<TableId>) -> Result<Vec<Finding>> {
    let lake = lake_position(pipeline).await;
    let (kafka, name, runtime) = (kafka.clone(), pipeline.name.clone(), Handle::current());
    off_thread(move || {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        Ok(lakeward_kafka::preflight::check(&kafka, (&name, lake.as_ref()), &tables, &clock, runtime))
    })
    .await
}

/// What the topics know of the pipeline.
pub struct Captured {
    /// Number of the last checkpoint.
    pub number: u64,
    /// The last checkpoint.
    pub checkpoint: Checkpoint,
    /// Change events in the topics, those included that retention has removed.
    pub events: u64,
}

/// The last checkpoint in the topics; `None` if nothing was captured yet.
pub async fn captured(pipeline: &Pipeline, kafka: &Kafka) -> Result<Option<Captured>> {
    let (kafka, name) = (kafka.clone(), pipeline.name.clone());
    off_thread(move || {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let reader = kafka.reader(&clock)?;
        let topic = topics::checkpoint_topic(&kafka.prefix);
        if !topics::partitions(&reader)?.contains_key(&topic) {
            return Ok(None);
        }
        let found = checkpoints::read(&reader, &topic, 0, &name, clock.as_ref())?;
        Ok(found.last.map(|last| Captured {
            number: last.number,
            checkpoint: last.checkpoint,
            events: last.events.values().flat_map(|topic| topic.values()).sum(),
        }))
    })
    .await
}

/// A request that was written to the request topic.
pub struct Asked(Option<requests::Asked>);

impl Asked {
    /// The answer, and the checkpoint that holds it; `None` while there is none.
    pub async fn answer(&mut self) -> Result<Option<(lakeward_core::Answer, Checkpoint)>> {
        let Some(mut asked) = self.0.take() else { return Ok(None) };
        let (asked, answer) = off_thread(move || {
            let answer = asked.answer();
            Ok((asked, answer))
        })
        .await?;
        self.0 = Some(asked);
        answer
    }
}

/// Writes `request` to the pipeline's topic.
pub async fn ask(pipeline: &Pipeline, kafka: &Kafka, request: Request) -> Result<Asked> {
    let (kafka, name, runtime) = (kafka.clone(), pipeline.name.clone(), Handle::current());
    let asked = off_thread(move || {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        requests::ask(&kafka, &name, &request, &clock, runtime)
    });
    Ok(Asked(Some(asked.await?)))
}

/// Requests that stand in the topic.
pub async fn standing(kafka: &Kafka) -> Result<Vec<Request>> {
    let kafka = kafka.clone();
    off_thread(move || {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        requests::standing(&kafka, &clock)
    })
    .await
}

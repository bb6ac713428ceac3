//! From topics that Debezium wrote to the lake, as the one process that does.

use std::sync::Arc;

use lakeward_core::clock::SystemClock;
use lakeward_core::{Clock, Error, ErrorKind, Finding, Position, Result, Resume};
use lakeward_kafka::config::{Kafka, WrittenBy};
use lakeward_kafka::debezium::Structures;
use lakeward_kafka::source::{self, ForeignOptions, KafkaSource};
use lakeward_lake::sink::{LakeSink, Sharing, SinkOptions};
use lakeward_mysql::{MysqlConfig, OnError, Purpose, catalog};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{lake_position, off_thread, sink_share, status};
use crate::config::Pipeline;
use crate::engine::{Route, Until};
use crate::telemetry::Telemetry;

/// From topics that Debezium wrote to the lake.
pub struct ForeignRoute {
    pipeline: Arc<Pipeline>,
    kafka: Kafka,
    telemetry: Telemetry,
}

impl ForeignRoute {
    /// The ends of `pipeline`, which count in `telemetry`.
    pub fn new(pipeline: Arc<Pipeline>, kafka: Kafka, telemetry: Telemetry) -> Self {
        ForeignRoute { pipeline, kafka, telemetry }
    }
}

impl Route for ForeignRoute {
    type Source = KafkaSource;
    type Sink = LakeSink;

    async fn sink(&mut self) -> Result<LakeSink> {
        refuse_other_writer(&self.pipeline, WrittenBy::Debezium).await?;
        LakeSink::new(SinkOptions {
            lake: self.pipeline.checked_lake.clone(),
            pipeline: self.pipeline.name.clone(),
            memory: sink_share(self.pipeline.memory),
            clock: self.telemetry.clock.clone(),
            stats: self.telemetry.lake.clone(),
            writer: Uuid::new_v4(),
            sharing: Sharing::Exclusive,
            derived_versions: true,
        })
        .await
    }

    async fn source(&mut self, resume: Resume, until: Until) -> Result<KafkaSource> {
        let until = match until {
            Until::Forever => source::Until::Forever,
            Until::CaughtUp => source::Until::CaughtUp,
            Until::Again(Position::Kafka(places)) => source::Until::Again(places),
            Until::Again(other) => {
                return Err(Error::new(ErrorKind::Config, "the range was read from another kind of source")
                    .at("position", other));
            }
        };
        let options = ForeignOptions {
            kafka: self.kafka.clone(),
            pipeline: self.pipeline.name.clone(),
            tables: self.pipeline.tables.clone(),
            types: self.pipeline.types,
            structures: structures(self.pipeline.mysql.clone()),
            before_images: self.pipeline.before_images,
            stop_all: self.pipeline.on_error == OnError::StopPipeline,
            until,
            resume,
            memory: self.pipeline.memory,
            clock: self.telemetry.clock.clone(),
            stats: self.telemetry.source.clone(),
            kafka_stats: self.telemetry.kafka_source.clone(),
        };
        off_thread(move || KafkaSource::open_foreign(options)).await
    }
}

/// What the source server says of a table's columns.
fn structures(mysql: MysqlConfig) -> Structures {
    Arc::new(move |table| {
        let mut conn = lakeward_mysql::connect(&mysql, Purpose::Questions)?;
        let collations = catalog::collations(&mut conn)?;
        let definition = catalog::read_one(&mut conn, table, &collations)?;
        Ok(definition.map(|definition| definition.columns))
    })
}

/// Refuses a lake that was filled from topics of another writer, before anything of it is claimed: numbers of the one
/// mean nothing among those of the other.
pub(super) async fn refuse_other_writer(pipeline: &Pipeline, now: WrittenBy) -> Result<()> {
    let Some(checkpoint) = status(pipeline).await?.and_then(|status| status.checkpoint) else {
        return Ok(());
    };
    let by_capture = match &checkpoint.position {
        Position::Kafka(places) => places.is_of_capture(),
        // Filled straight from a binlog: the sink or the source says so.
        _ => None,
    };
    let (before, message) = match by_capture {
        Some(true) => (WrittenBy::Lakeward, "the lake was filled from topics that `lakeward capture` wrote"),
        Some(false) => (WrittenBy::Debezium, "the lake was filled from topics that Debezium wrote"),
        None => return Ok(()),
    };
    match before == now {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Config, message)
            .at("key", "transport.kafka.written_by")
            .at("pipeline", &pipeline.name)
            .remedy("set it back, or give the pipeline another `name` and `lake.url`")),
    }
}

/// Looks at the cluster, and at the server where records do not tell their structure. Nothing is written.
pub(super) async fn check(pipeline: &Pipeline, kafka: &Kafka) -> Result<Vec<Finding>> {
    let lake = lake_position(pipeline).await;
    let (kafka, tables, runtime) = (kafka.clone(), pipeline.tables.clone(), Handle::current());
    let structures = structures(pipeline.mysql.clone());
    off_thread(move || {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        Ok(lakeward_kafka::preflight::foreign::check(
            &kafka,
            (&tables, lake.as_ref()),
            &structures,
            &clock,
            runtime,
        ))
    })
    .await
}

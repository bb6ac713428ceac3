//! From Kafka to the lake, as one worker of any number.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use lakeward_core::{
    ChangeBatch, Checkpoint, Error, ErrorKind, KeysAsked, LivingKeys, LostRange, Opened, Position, Request,
    Result, Resume, Sink, TableMark, TableSchema,
};
use lakeward_kafka::config::{Kafka, WrittenBy};
use lakeward_kafka::group::{Member, Membership};
use lakeward_kafka::source::{self, KafkaOptions, KafkaSource};
use lakeward_lake::sink::{Gone, LakeSink, Sharing, SinkOptions, Worker};
use lakeward_mysql::OnError;
use tracing::warn;
use uuid::Uuid;

use super::foreign::refuse_other_writer;
use super::{off_thread, sink_share};
use crate::config::Pipeline;
use crate::engine::{Route, Until};
use crate::telemetry::Telemetry;

/// From Kafka to the lake. Membership in the group of workers lasts as long as this does.
pub struct LoadRoute {
    pipeline: Arc<Pipeline>,
    kafka: Kafka,
    telemetry: Telemetry,
    until: Until,
    worker: Uuid,
    membership: Option<Arc<Membership>>,
}

impl LoadRoute {
    /// The ends of `pipeline`, which count in `telemetry`; `until` is how far the run goes.
    pub fn new(pipeline: Arc<Pipeline>, kafka: Kafka, telemetry: Telemetry, until: Until) -> Self {
        LoadRoute { pipeline, kafka, telemetry, until, worker: Uuid::new_v4(), membership: None }
    }

    fn name(&self, worker: Uuid) -> String {
        format!("lakeward-{}-{worker}", self.pipeline.name)
    }

    /// Membership, once there are topic partitions: who claims the lake is known to the others by then.
    async fn join(&mut self) -> Result<Arc<Membership>> {
        if let Some(membership) = &self.membership {
            return Ok(Arc::clone(membership));
        }
        let member = Member {
            group: self
                .kafka
                .load
                .group
                .clone()
                .unwrap_or_else(|| format!("lakeward-{}", self.pipeline.name)),
            client_id: self.name(self.worker),
            session_timeout: self.kafka.load.session_timeout,
        };
        let membership = Arc::new(Membership::new(&self.kafka, &self.telemetry.clock, &member)?);
        let until = match self.until {
            Until::CaughtUp => source::Until::CaughtUp,
            Until::Forever | Until::Again(_) => source::Until::Forever,
        };
        let options = self.options(Resume::default(), until, Arc::clone(&membership));
        off_thread(move || KafkaSource::join(&options)).await?;
        self.membership = Some(Arc::clone(&membership));
        Ok(membership)
    }

    fn options(&self, resume: Resume, until: source::Until, membership: Arc<Membership>) -> KafkaOptions {
        KafkaOptions {
            kafka: self.kafka.clone(),
            pipeline: self.pipeline.name.clone(),
            before_images: self.pipeline.before_images,
            stop_all: self.pipeline.on_error == OnError::StopPipeline,
            until,
            resume,
            membership,
            memory: self.pipeline.memory,
            clock: self.telemetry.clock.clone(),
            stats: self.telemetry.source.clone(),
            kafka_stats: self.telemetry.kafka_source.clone(),
        }
    }

    /// Who of some workers is gone: those that the group does not know. Where it does not answer, nobody.
    fn gone(&self, membership: &Arc<Membership>) -> Gone {
        let (membership, prefix) = (Arc::clone(membership), format!("lakeward-{}-", self.pipeline.name));
        Arc::new(move |workers: Vec<Worker>| {
            let (membership, prefix) = (Arc::clone(&membership), prefix.clone());
            let asked = async move {
                match off_thread(move || membership.members()).await {
                    Ok(members) => {
                        let here = |worker: &Worker| members.contains(&format!("{prefix}{}", worker.writer));
                        workers
                            .into_iter()
                            .filter(|worker| !here(worker))
                            .map(|worker| worker.epoch)
                            .collect()
                    }
                    Err(error) => {
                        warn!("it is not known which workers are gone; none is taken for it: {error}");
                        BTreeSet::new()
                    }
                }
            };
            Box::pin(asked) as Pin<Box<dyn Future<Output = BTreeSet<u64>> + Send>>
        })
    }
}

impl Route for LoadRoute {
    type Source = KafkaSource;
    type Sink = LoadSink;

    async fn sink(&mut self) -> Result<LoadSink> {
        refuse_other_writer(&self.pipeline, WrittenBy::Lakeward).await?;
        let membership = self.join().await?;
        let lake = LakeSink::new(SinkOptions {
            lake: self.pipeline.checked_lake.clone(),
            pipeline: self.pipeline.name.clone(),
            memory: sink_share(self.pipeline.memory),
            clock: self.telemetry.clock.clone(),
            stats: self.telemetry.lake.clone(),
            writer: self.worker,
            sharing: Sharing::Shared(self.gone(&membership)),
            derived_versions: false,
        })
        .await?;
        Ok(LoadSink { lake, membership })
    }

    async fn source(&mut self, resume: Resume, until: Until) -> Result<KafkaSource> {
        let membership = self.join().await?;
        let until = match until {
            Until::Forever => source::Until::Forever,
            Until::CaughtUp => source::Until::CaughtUp,
            Until::Again(Position::Kafka(places)) => source::Until::Again(places),
            Until::Again(other) => {
                return Err(Error::new(ErrorKind::Config, "the range was read from another kind of source")
                    .at("position", other));
            }
        };
        let options = self.options(resume, until, membership);
        off_thread(move || KafkaSource::open(options)).await
    }
}

/// The lake, whose commits are shown to Kafka's own tools as the group's offsets.
pub struct LoadSink {
    lake: LakeSink,
    membership: Arc<Membership>,
}

impl Sink for LoadSink {
    async fn is_new(&mut self) -> Result<bool> {
        self.lake.is_new().await
    }

    async fn open(&mut self) -> Result<Opened> {
        self.lake.open().await
    }

    async fn schema(&mut self, schema: Arc<TableSchema>) -> Result<()> {
        self.lake.schema(schema).await
    }

    async fn write(&mut self, batch: ChangeBatch) -> Result<()> {
        self.lake.write(batch).await
    }

    async fn mark(&mut self, mark: TableMark) -> Result<()> {
        self.lake.mark(mark).await
    }

    async fn commit(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let position = checkpoint.position.clone();
        self.lake.commit(checkpoint).await?;
        if let Position::Kafka(position) = &position {
            self.membership.show(position);
        }
        Ok(())
    }

    async fn repair(&mut self, lost: LostRange) -> Result<()> {
        self.lake.repair(lost).await
    }

    fn requests(&self) -> impl Future<Output = Result<Vec<Request>>> + Send + 'static {
        self.lake.requests()
    }

    fn keys(&self, asked: KeysAsked) -> impl Future<Output = Result<LivingKeys>> + Send + 'static {
        self.lake.keys(asked)
    }

    async fn close(&mut self) -> Result<()> {
        self.lake.close().await
    }
}

//! The only place that names concrete connectors.

pub mod capture;
mod foreign;
mod load;

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::clock::SystemClock;
use lakeward_core::stats::LakeStats;
use lakeward_core::{
    Answer, ByteSize, Checkpoint, Command, Error, ErrorKind, Finding, KafkaPosition, Position, Request,
    Result, Resume, TableFilter, TableId,
};
use lakeward_lake::objects::lake_store::{PATIENCE, StoreOptions};
use lakeward_lake::requests;
use lakeward_lake::sink::{LakeSink, Sharing, SinkOptions};
pub use lakeward_lake::status::LakeStatus;
pub use lakeward_mysql::ServerFacts;
use lakeward_mysql::preflight::snapshots::SnapshotNeeds;
use lakeward_mysql::snapshot::{SnapshotMode, SnapshotOptions};
use lakeward_mysql::source::{self, MysqlOptions, MysqlSource, Start};
use lakeward_mysql::{MysqlConfig, Purpose};
use uuid::Uuid;

use crate::config::{Pipeline, StartAt};
use crate::engine::{Route, Until};
use crate::telemetry::Telemetry;

pub use foreign::ForeignRoute;
pub use load::LoadRoute;

/// From a MySQL binlog straight to the lake.
pub struct Connectors {
    pipeline: Arc<Pipeline>,
    telemetry: Telemetry,
    seed: u64,
    /// Names that no column of a table may have.
    reserved: Vec<String>,
    before_images: bool,
    /// Statements that change tables are told.
    schema_changes: bool,
    /// What the first source of this process went on from.
    begun_from: Option<Option<Checkpoint>>,
}

impl Connectors {
    /// The ends of `pipeline`, which count in `telemetry`.
    pub fn new(pipeline: Arc<Pipeline>, telemetry: Telemetry, seed: u64) -> Self {
        let (reserved, before_images) = (pipeline.checked_lake.taken_names(), pipeline.before_images);
        let schema_changes = false;
        Connectors { pipeline, telemetry, seed, reserved, before_images, schema_changes, begun_from: None }
    }

    /// A source that is opened again after an error goes on with what this process has begun to read:
    /// `always` is once for each process, as soon as a checkpoint tells of it.
    fn snapshot(&mut self, from: Option<&Checkpoint>) -> SnapshotOptions {
        let mut snapshot = self.pipeline.snapshot.clone();
        let begun_from = self.begun_from.get_or_insert_with(|| from.cloned());
        if snapshot.mode == SnapshotMode::Always && begun_from.as_ref() != from {
            snapshot.mode = SnapshotMode::Initial;
        }
        snapshot
    }
}

impl Route for Connectors {
    type Source = MysqlSource;
    type Sink = LakeSink;

    async fn sink(&mut self) -> Result<LakeSink> {
        LakeSink::new(SinkOptions {
            lake: self.pipeline.checked_lake.clone(),
            pipeline: self.pipeline.name.clone(),
            memory: sink_share(self.pipeline.memory),
            clock: self.telemetry.clock.clone(),
            stats: self.telemetry.lake.clone(),
            writer: Uuid::new_v4(),
            sharing: Sharing::Exclusive,
            derived_versions: false,
        })
        .await
    }

    async fn source(&mut self, resume: Resume, until: Until) -> Result<MysqlSource> {
        self.seed = self.seed.wrapping_add(1);
        let (until, snapshot) = match until {
            Until::Forever => (source::Until::Forever, self.snapshot(resume.checkpoint.as_ref())),
            Until::CaughtUp => (source::Until::CaughtUp, self.snapshot(resume.checkpoint.as_ref())),
            Until::Again(Position::Binlog(position)) => {
                let mode = SnapshotMode::NoData;
                (
                    source::Until::Position(position),
                    SnapshotOptions { mode, ..self.pipeline.snapshot.clone() },
                )
            }
            Until::Again(other) => {
                return Err(Error::new(ErrorKind::Config, "the range was read from another kind of source")
                    .at("position", other));
            }
        };
        let options = MysqlOptions {
            config: self.pipeline.mysql.clone(),
            tables: self.pipeline.tables.clone(),
            types: self.pipeline.types,
            reserved: self.reserved.clone(),
            before_images: self.before_images,
            schema_changes: self.schema_changes,
            start: start(&self.pipeline.start),
            until,
            resume,
            memory: self.pipeline.memory,
            clock: self.telemetry.clock.clone(),
            seed: self.seed,
            stats: self.telemetry.source.clone(),
            on_error: self.pipeline.on_error,
            truncate: self.pipeline.truncate,
            snapshot,
        };
        off_thread(move || MysqlSource::open(options)).await
    }
}

fn start(at: &StartAt) -> Start {
    match at {
        StartAt::Earliest => Start::Earliest,
        StartAt::Latest => Start::Latest,
        StartAt::Gtids(set) => Start::Gtid(set.clone()),
        StartAt::File { file, offset } => Start::FileOffset { file: file.clone(), offset: *offset },
    }
}

/// What the source leaves of the memory: it holds three eighths of it, in its queue and builders.
fn sink_share(memory: ByteSize) -> ByteSize {
    ByteSize(memory.0 / 8 * 5)
}

/// Runs what blocks beside the async threads.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::new(ErrorKind::Bug, "a thread panicked").caused_by(error)),
    }
}

/// Access to the lake for one report.
fn store_options() -> StoreOptions {
    StoreOptions {
        clock: Arc::new(SystemClock::start()),
        stats: Arc::new(LakeStats::default()),
        writer: Uuid::new_v4(),
        patience: REPORT_PATIENCE.min(PATIENCE),
    }
}

/// Somebody waits for a report.
const REPORT_PATIENCE: Duration = Duration::from_secs(20);

/// Looks at server and lake. Nothing stays written but the folder of a lake that was not there.
pub async fn check(pipeline: &Pipeline) -> Result<Vec<Finding>> {
    if let Some(kafka) = pipeline.foreign() {
        let mut findings = foreign::check(pipeline, kafka).await?;
        let lake = &pipeline.checked_lake;
        findings.extend(lakeward_lake::preflight::check(lake, &pipeline.name, &[], store_options()).await);
        return Ok(findings);
    }
    let (mysql, tables) = (pipeline.mysql.clone(), pipeline.tables.clone());
    let reserved = pipeline.checked_lake.taken_names();
    let mut findings =
        off_thread(move || Ok(lakeward_mysql::preflight::check(&mysql, &tables, &reserved))).await?;
    let captured = captured(&pipeline.mysql, &pipeline.tables).await;
    let lake = &pipeline.checked_lake;
    if pipeline.snapshot.mode != SnapshotMode::NoData {
        let needs = snapshot_needs(pipeline).await?;
        findings.extend(needs.findings);
        findings.extend(needs.bytes.and_then(|bytes| lakeward_lake::preflight::room(lake, bytes)));
    }
    if let Some(kafka) = &pipeline.kafka {
        findings.extend(capture::check(pipeline, kafka, captured.clone()).await?);
    }
    findings.extend(lakeward_lake::preflight::check(lake, &pipeline.name, &captured, store_options()).await);
    Ok(findings)
}

async fn snapshot_needs(pipeline: &Pipeline) -> Result<SnapshotNeeds> {
    let (mysql, tables) = (pipeline.mysql.clone(), pipeline.tables.clone());
    let options = pipeline.snapshot.clone();
    off_thread(move || Ok(lakeward_mysql::preflight::snapshots::check(&mysql, &tables, &options))).await
}

/// The captured tables, as far as the server tells; that it does not is a finding of its own.
async fn captured(mysql: &MysqlConfig, tables: &TableFilter) -> Vec<TableId> {
    let (mysql, tables) = (mysql.clone(), tables.clone());
    let visible = off_thread(move || discover(&mysql)).await.unwrap_or_default();
    visible.into_iter().filter(|table| tables.captures(table)).collect()
}

/// Tables that the account can see.
pub fn discover(mysql: &MysqlConfig) -> Result<Vec<TableId>> {
    lakeward_mysql::preflight::discover(mysql)
}

/// What the lake knows of the pipeline; `None` if it never ran.
pub async fn status(pipeline: &Pipeline) -> Result<Option<LakeStatus>> {
    lakeward_lake::status::read(&pipeline.checked_lake, &pipeline.name, store_options()).await
}

/// How far a lake that is filled from topics is; `None` if it does not tell: why, its own findings say.
async fn lake_position(pipeline: &Pipeline) -> Option<KafkaPosition> {
    // Boxed: the future of a look at a store is deep.
    let checkpoint = Box::pin(status(pipeline)).await.ok()??.checkpoint?;
    match checkpoint.position {
        Position::Kafka(places) => Some(places),
        // Filled straight from a binlog.
        _ => None,
    }
}

/// The last checkpoint of what `source` feeds: the topics, where the pipeline goes over Kafka, else the lake.
pub async fn committed(pipeline: &Pipeline) -> Result<Option<Checkpoint>> {
    match pipeline.captured_to() {
        Some(kafka) => Ok(capture::captured(pipeline, kafka).await?.map(|captured| captured.checkpoint)),
        None => Ok(status(pipeline).await?.and_then(|status| status.checkpoint)),
    }
}

/// A request that was put, and where its answer will stand.
pub enum Asked {
    /// In the lake.
    Lake(Box<requests::Asked>),
    /// In Kafka.
    Kafka(Box<capture::Asked>),
}

impl Asked {
    /// The answer, and the checkpoint that holds it; `None` while there is none.
    pub async fn answer(&mut self) -> Result<Option<(Answer, Checkpoint)>> {
        match self {
            Asked::Lake(asked) => asked.answer().await,
            Asked::Kafka(asked) => asked.answer().await,
        }
    }
}

/// Why the pipeline would refuse `command` whatever its state.
pub fn refused(pipeline: &Pipeline, command: &Command) -> Option<&'static str> {
    pipeline.kafka.as_ref().and_then(|_| lakeward_kafka::requests::refused(command))
}

/// Puts a request to the pipeline.
pub async fn ask(pipeline: &Pipeline, command: Command) -> Result<Asked> {
    let options = store_options();
    // Names sort by time; what follows keeps two of one moment apart.
    let id = format!("{:020}-{:08x}", options.clock.unix_micros(), Uuid::new_v4().as_fields().0);
    let request = Request { id, command };
    match pipeline.captured_to() {
        Some(kafka) => {
            capture::ask(pipeline, kafka, request).await.map(|asked| Asked::Kafka(Box::new(asked)))
        }
        None => {
            let asked = requests::ask(&pipeline.checked_lake, &pipeline.name, &request, options);
            asked.await.map(|asked| Asked::Lake(Box::new(asked)))
        }
    }
}

/// Requests that stand.
pub async fn standing(pipeline: &Pipeline) -> Result<Vec<Request>> {
    match pipeline.captured_to() {
        Some(kafka) => capture::standing(kafka).await,
        None => requests::read(&pipeline.checked_lake, &pipeline.name, store_options()).await,
    }
}

/// The server as it stands now.
pub async fn server(pipeline: &Pipeline) -> Result<ServerFacts> {
    let mysql = pipeline.mysql.clone();
    off_thread(move || ServerFacts::read(&mut lakeward_mysql::connect(&mysql, Purpose::Questions)?)).await
}

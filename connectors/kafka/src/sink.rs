//! Kafka as a [`Sink`]: change events and the checkpoint that covers them in one Kafka transaction.
//!
//! Guarantee: a reader of committed records sees each change event once, whatever is killed and whenever, and never an
//! event of a range that no checkpoint covers.
//! Why it holds:
//! - The events since the last checkpoint, the checkpoint itself, new table versions and the removal of answered
//!   requests are one transaction (`sink/transaction.rs`): readers see all of it or nothing.
//! - The place to go on is read from the checkpoint topic after `init_transactions`, which settled whatever an older
//!   writer left open, and has kept it from ever writing again. So nothing can still become visible above what is read.
//! - A commit whose outcome is unknown is asked for again; if that stays without an answer the run begins anew, which
//!   reads what came of it.
//! - What topics beside those of tables say of events, or with a checkpoint, is in the transaction of these events, or of
//!   that checkpoint (`sink/beside.rs`).
//! - A topic that was deleted, or made anew, is noticed when the sink opens (fewer records than were counted) and while
//!   it writes (offsets that went back): never written over.
//!
//! Encoding and sending is a thread's work (`sink/writer.rs`); what waits for it here is bounded by bytes.

mod beside;
mod delivery;
mod heartbeat;
mod lane;
mod murmur2;
mod opening;
mod orders;
mod source_transactions;
mod transaction;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lakeward_core::stats::KafkaStats;
use lakeward_core::{
    ByteSize, ChangeBatch, Checkpoint, Clock, Error, ErrorKind, KeysAsked, LivingKeys, LostRange, Opened,
    Request, Result, SchemaChange, Sink, TableMark, TableSchema,
};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::config::Kafka;
use crate::requests::Standing;
use heartbeat::Heartbeat;
use opening::opened;
use orders::{Order, Orders};
pub use transaction::StoodStill;

/// Failpoints of the sink, in the order in which they are reached.
pub const FAILPOINTS: &[&str] = &[
    "kafka.open.fenced",
    "kafka.open.claimed",
    "kafka.topic.create",
    "kafka.write",
    "kafka.commit.send",
    "kafka.commit.before",
    "kafka.commit.after",
];

/// What a [`KafkaSink`] is made from.
#[derive(Clone)]
pub struct SinkOptions {
    /// The cluster.
    pub kafka: Kafka,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Memory for what is on its way to the brokers.
    pub memory: ByteSize,
    /// For time limits and record times.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub stats: Arc<KafkaStats>,
    /// Unique to this opening: drawn at random.
    pub writer: Uuid,
    /// The same for all openings of a process.
    pub stood_still: Arc<StoodStill>,
}

/// Topics that take change events.
pub struct KafkaSink {
    options: SinkOptions,
    state: State,
}

enum State {
    New,
    Open(Open),
    Closed,
}

struct Open {
    orders: Orders,
    heartbeat: Option<Heartbeat>,
    standing: Arc<Mutex<Standing>>,
}

impl KafkaSink {
    /// The sink for the cluster that the options name. Nothing is asked of it yet.
    pub fn new(options: SinkOptions) -> Self {
        KafkaSink { options, state: State::New }
    }

    fn orders(&mut self) -> Result<&mut Orders> {
        Ok(&mut self.open_state()?.orders)
    }

    fn open_state(&mut self) -> Result<&mut Open> {
        match &mut self.state {
            State::Open(open) => Ok(open),
            State::New | State::Closed => Err(Error::new(
                ErrorKind::Bug,
                "the topics were used before they were opened, or after an error",
            )),
        }
    }
}

/// Runs what waits for the cluster beside the async threads.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::new(ErrorKind::Bug, "a thread panicked").caused_by(error)),
    }
}

impl Sink for KafkaSink {
    async fn is_new(&mut self) -> Result<bool> {
        let options = self.options.clone();
        off_thread(move || opening::is_new(&options)).await
    }

    async fn open(&mut self) -> Result<Opened> {
        if !matches!(self.state, State::New) {
            return Err(Error::new(ErrorKind::Bug, "the topics were opened twice"));
        }
        let (options, runtime) = (self.options.clone(), Handle::current());
        let (writer, standing, resume) = off_thread(move || opened(options, runtime)).await?;
        let orders = Orders::to(writer, self.options.memory)?;
        if let Some(commit_us) = resume.checkpoint.as_ref().and_then(|checkpoint| checkpoint.commit_us) {
            self.options.stats.complete_to_us.set(commit_us);
        }
        let clock = &self.options.clock;
        let heartbeat =
            self.options.kafka.heartbeat_interval.map(|interval| Heartbeat::begin(interval, clock.elapsed()));
        self.state = State::Open(Open { orders, heartbeat, standing: Arc::new(Mutex::new(standing)) });
        Ok(Opened { resume, lost: Vec::new(), epoch: 0 })
    }

    async fn schema(&mut self, schema: Arc<TableSchema>) -> Result<()> {
        self.orders()?.give(Order::Schema(schema)).await
    }

    async fn write(&mut self, batch: ChangeBatch) -> Result<()> {
        self.orders()?.give(Order::Write(batch)).await
    }

    async fn mark(&mut self, mark: TableMark) -> Result<()> {
        self.orders()?.give(Order::Mark(mark)).await
    }

    async fn schema_change(&mut self, change: SchemaChange) -> Result<()> {
        self.orders()?.give(Order::Change(change)).await
    }

    async fn commit(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let clock = Arc::clone(&self.options.clock);
        let Open { orders, heartbeat, .. } = self.open_state()?;
        let due = heartbeat.as_mut().filter(|heartbeat| heartbeat.due_in(clock.elapsed()).is_zero());
        orders.commit(checkpoint, due.as_ref().map(|_| clock.unix_micros())).await?;
        if let Some(heartbeat) = due {
            heartbeat.beaten(clock.elapsed());
        }
        Ok(())
    }

    fn wants_commit_in(&self) -> Option<Duration> {
        match &self.state {
            State::Open(open) => Some(open.heartbeat.as_ref()?.due_in(self.options.clock.elapsed())),
            State::New | State::Closed => None,
        }
    }

    async fn repair(&mut self, lost: LostRange) -> Result<()> {
        Err(Error::new(ErrorKind::Bug, "nothing that a Kafka transaction committed is ever lost")
            .at("record", lost.record))
    }

    fn requests(&self) -> impl Future<Output = Result<Vec<Request>>> + Send + 'static {
        let standing = match &self.state {
            State::Open(open) => Some(Arc::clone(&open.standing)),
            State::New | State::Closed => None,
        };
        async move {
            let Some(standing) = standing else { return Ok(Vec::new()) };
            off_thread(move || standing.lock().unwrap_or_else(PoisonError::into_inner).read()).await
        }
    }

    fn keys(&self, asked: KeysAsked) -> impl Future<Output = Result<LivingKeys>> + Send + 'static {
        let unknown =
            Error::new(ErrorKind::UnreadableValue, "which keys live in the lake cannot be told over Kafka")
                .of_table(&asked.schema.table)
                .remedy("read the whole table anew: `lakeward snapshot` without --where");
        std::future::ready(Err(unknown))
    }

    async fn close(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(open) => open.orders.close().await,
            State::New | State::Closed => Ok(()),
        }
    }
}

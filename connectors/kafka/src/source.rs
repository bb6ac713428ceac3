//! The Kafka source: what capture wrote, read back exactly once, for one worker of any number.
//!
//! ```text
//! checkpoint topic --Captured--> Targets --+
//! topic partitions --Lane, Lane, …---------+-> Reading (merge by number, decode) --queue--> KafkaSource::next
//! ```
//!
//! # The guarantee
//! Between two boundaries it yields exactly the change events that capture committed between the two checkpoints, in
//! the topic partitions of this worker: each once, those of a table with ascending numbers, versions before their rows.
//!
//! # Why it holds
//! *Nothing is lost or doubled.* Capture writes the events of a boundary and a checkpoint in one Kafka transaction; the
//! checkpoint counts all events ever written, by topic partition. A place says how many events lie before its offset
//! and is stored with the data it covers. So from a place to a checkpoint exactly `count - events` records are due in
//! each topic partition, and these are taken: no more, no fewer (`lane` proves it record by record, `places` that
//! none is missing at the start). Offsets alone would not tell: markers, tombstones and aborted records take some, too.
//!
//! *Waiting is enough.* A checkpoint that is visible is committed, so every event it counts is committed, or on its way
//! to being visible: the brokers write the markers of one transaction one after the other. A topic partition that lags
//! is waited for; where it is read to its end and the events do not come, they are missing, and that is an error.
//!
//! *Compaction and skipping are harmless.* Any later checkpoint counts all that earlier ones do (`targets`). Going past
//! some only makes a step longer. Every boundary still lies at a checkpoint of capture: between source transactions.
//!
//! *Order.* Within a topic partition numbers ascend; those of one table are merged by them, and as the number of events
//! due is known, nobody waits for one that does not come. So a table's numbers ascend within a step; those of the
//! next step are greater than the checkpoint before it. A topic partition that joins brings its older events in a step
//! that begins anew, with a sink that is opened anew, but for topics of which nothing was read before.
//!
//! *Several workers.* What is ours is what the group gave us when the source was opened, and topics that are new since
//! (`growth`). Any other change ends the source with `Rebalanced`, and both ends are opened anew; whoever goes on with
//! a stale share is refused by the commit log.
//!
//! # Memory
//! An eighth of the budget waits in the queue, an eighth is fetched ahead in all topic partitions, and as much is
//! gathered in a batch. A lane that is far ahead waits in the broker (`lane`).

mod captured;
mod dead_letters;
mod desk;
mod foreign;
mod gathering;
mod growth;
mod lane;
mod link;
mod opening;
mod outlet;
mod partition_queue;
mod places;
mod reading;
mod record;
mod targets;
mod topic;
mod versions;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lakeward_core::queue::{self, Receiver};
use lakeward_core::stats::{KafkaSourceStats, SourceStats};
use lakeward_core::{
    ByteSize, Clock, Error, ErrorKind, Feed, KafkaPosition, LivingKeys, Request, Result, Resume, Source,
};

use crate::config::Kafka;
use crate::group::Membership;

pub use foreign::{ForeignOptions, Found, find};
pub(crate) use link::OVERTAKEN;
pub(crate) use places::lacks;
pub(crate) use targets::{Counts, count};

/// Failpoints of this source: before the places are looked up, before an event is taken, before a boundary is sent.
pub const FAILPOINTS: &[&str] = &["kafka.load.open", "kafka.load.event", "kafka.load.boundary"];
/// One more: before dead letters are waited for.
pub const DEAD_LETTER_FAILPOINTS: &[&str] = &["kafka.load.dead_letter"];

/// Where a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// Nowhere.
    Forever,
    /// At the newest checkpoint that capture has committed when the source opens.
    CaughtUp,
    /// At these places, from those of the checkpoint it goes on from; whatever the group says.
    Again(KafkaPosition),
}

/// What a source needs to open.
#[derive(Clone)]
pub struct KafkaOptions {
    /// The cluster, and how records are written.
    pub kafka: Kafka,
    /// The pipeline.
    pub pipeline: String,
    /// Whether batches hold previous images.
    pub before_images: bool,
    /// Whether a record that cannot be decoded ends the source, and not its topic partition alone.
    pub stop_all: bool,
    /// Where the run ends.
    pub until: Until,
    /// What the sink has.
    pub resume: Resume,
    /// The group that tells what is ours.
    pub membership: Arc<Membership>,
    /// Memory for what is read and not yet taken.
    pub memory: ByteSize,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters to fill.
    pub stats: Arc<SourceStats>,
    /// Counters of topic partitions.
    pub kafka_stats: Arc<KafkaSourceStats>,
}

/// How long the group may take to give out topic partitions: some sessions of members that died.
const GROUP: Duration = Duration::from_mins(2);

/// A stream of change events from Kafka.
pub struct KafkaSource {
    feed: Receiver<Result<Feed>>,
    thread: Option<JoinHandle<()>>,
}

impl KafkaSource {
    /// Tells the group which topics there are, and waits until it has given out topic partitions. Blocks.
    ///
    /// # Errors
    /// `KafkaUnreachable`, `KafkaDenied`; `UnreadableRecord` for a checkpoint topic that is not capture's.
    pub fn join(options: &KafkaOptions) -> Result<()> {
        opening::join(options)
    }

    /// Looks up the places and begins to read. Blocks for as long as that takes; call it off the async threads.
    ///
    /// # Errors
    /// `PositionLost` where retention has overtaken the lake, `TopicLost` where events are missing otherwise,
    /// `KafkaUnreachable`, `KafkaDenied`, `UnreadableRecord`, `Config`.
    pub fn open(options: KafkaOptions) -> Result<KafkaSource> {
        let (sender, feed) = queue::queue(share(options.memory));
        let reading = opening::open(options, sender)?;
        KafkaSource::begin(feed, move || reading.run())
    }

    /// The same of topics that Debezium wrote ([`foreign`]).
    ///
    /// # Errors
    /// As [`KafkaSource::open`].
    pub fn open_foreign(options: ForeignOptions) -> Result<KafkaSource> {
        let (sender, feed) = queue::queue(share(options.memory));
        let reading = foreign::open(options, sender)?;
        KafkaSource::begin(feed, move || reading.run())
    }

    fn begin(feed: Receiver<Result<Feed>>, read: impl FnOnce() + Send + 'static) -> Result<KafkaSource> {
        let thread = std::thread::Builder::new()
            .name("kafka-load".to_owned())
            .spawn(read)
            .map_err(|error| Error::new(ErrorKind::Io, "cannot start thread kafka-load").caused_by(error))?;
        Ok(KafkaSource { feed, thread: Some(thread) })
    }
}

/// What of the memory waits in the queue.
fn share(memory: ByteSize) -> usize {
    usize::try_from(memory.0 / 8).unwrap_or(usize::MAX)
}

impl Source for KafkaSource {
    async fn next(&mut self) -> Result<Option<Feed>> {
        match self.feed.next().await {
            Some(item) => item.map(Some),
            // The thread has ended or is about to.
            None => match self.thread.take().map(JoinHandle::join) {
                Some(Err(_)) => Err(Error::new(ErrorKind::Bug, "the thread of the source panicked")),
                Some(Ok(())) | None => Ok(None),
            },
        }
    }

    /// Requests of a pipeline over Kafka are capture's; none stands in the lake.
    fn requests(&mut self, _standing: Vec<Request>) {}

    /// Never asked for here.
    fn keys(&mut self, _asked: u64, _answer: Result<LivingKeys>) {}
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.feed.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread concerns nobody any more.
            let _ended = thread.join();
        }
    }
}

//! Counters that connectors keep and the telemetry reads; names and labels live there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::TableId;

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts by a key, for bounded sets of keys.
#[derive(Debug)]
pub struct CounterBy<K>(Mutex<BTreeMap<K, u64>>);

impl<K: Ord> Default for CounterBy<K> {
    fn default() -> Self {
        CounterBy(Mutex::new(BTreeMap::new()))
    }
}

impl<K: Ord + Clone> CounterBy<K> {
    /// Adds `n` to the count of `key`.
    pub fn add(&self, key: &K, n: u64) {
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match counts.get_mut(key) {
            Some(count) => *count += n,
            None => {
                counts.insert(key.clone(), n);
            }
        }
    }

    /// All counts.
    pub fn get(&self) -> Vec<(K, u64)> {
        let counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.iter().map(|(key, count)| (key.clone(), *count)).collect()
    }
}

/// How far a table's snapshot is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotCount {
    /// Rows read so far.
    pub rows: u64,
    /// Those of them that runs before this one had read.
    pub rows_before: u64,
    /// The server's estimate of the table's rows, or of those a condition asks for; `None` where there
    /// is none.
    pub estimated_rows: Option<u64>,
    /// When this run began to read it, µs UTC; 0 before.
    pub since_us: i64,
    /// What it is doing.
    pub phase: SnapshotPhase,
}

/// What a table's snapshot is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapshotPhase {
    /// It waits for its turn.
    #[default]
    Waiting,
    /// It is being read.
    Reading,
    /// An operator let it wait.
    Paused,
    /// It is at its end.
    Done,
}

/// Snapshots by table: those that are open, and those that ended in this run.
#[derive(Debug, Default)]
pub struct Snapshots(Mutex<BTreeMap<TableId, SnapshotCount>>);

impl Snapshots {
    /// Changes what is told of `table`; what is told first changes the default.
    pub fn update(&self, table: &TableId, change: impl FnOnce(&mut SnapshotCount)) {
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(counts.entry(table.clone()).or_default());
    }

    /// Tells nothing of `table` any more: its snapshot was cancelled, or began anew.
    pub fn remove(&self, table: &TableId) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(table);
    }

    /// All of them.
    pub fn get(&self) -> Vec<(TableId, SnapshotCount)> {
        let counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.iter().map(|(table, count)| (table.clone(), count.clone())).collect()
    }
}

/// What a MySQL source counts.
#[derive(Debug, Default)]
pub struct SourceStats {
    /// 1 while the stream is connected.
    pub connected: Gauge,
    /// Reconnects after a broken link.
    pub reconnects: Counter,
    /// Binlog events received.
    pub events: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Events that were looked through for statements alone, ahead of the stream.
    pub scanned: Counter,
    /// Transactions completed.
    pub transactions: Counter,
    /// Change events by table and op letter.
    pub rows: CounterBy<(TableId, &'static str)>,
    /// Row events of stopped tables, not taken, by table.
    pub events_of_stopped: CounterBy<TableId>,
    /// Benign events passed over, by event name.
    pub passed_over: CounterBy<&'static str>,
    /// DDL statements, by what became of them (`followed`, `ignored`, `stopped`).
    pub ddl: CounterBy<&'static str>,
    /// Zero and partial dates mapped to null, by table and column.
    pub zero_dates: CounterBy<(TableId, String)>,
    /// Tables stopped.
    pub tables_stopped: Gauge,
    /// Commit time of the last transaction read, µs UTC; 0 before the first.
    pub last_commit_us: Gauge,
    /// When the source was last known to have nothing more for us (heartbeat or end), µs UTC.
    pub caught_up_us: Gauge,
    /// Seconds between the oldest binlog on the server and our position; -1 where unknown.
    pub headroom_seconds: Gauge,
    /// Snapshots, by table.
    pub snapshots: Snapshots,
}

/// How far one topic partition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Change events that were captured and not taken yet.
    pub events: u64,
    /// The offset to go on from.
    pub offset: i64,
    /// Events whose records could not be decoded and went to the dead-letter topic.
    pub dead_letters: u64,
    /// Why it is stopped, if it is.
    pub stopped: Option<String>,
}

/// The topic partitions that a Kafka source reads.
#[derive(Debug, Default)]
pub struct Lags(Mutex<BTreeMap<(String, i32), Lag>>);

impl Lags {
    /// Tells all of them anew.
    pub fn set(&self, lags: BTreeMap<(String, i32), Lag>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = lags;
    }

    /// All of them, by topic and number.
    pub fn get(&self) -> BTreeMap<(String, i32), Lag> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// What a Kafka source counts beside [`SourceStats`].
#[derive(Debug, Default)]
pub struct KafkaSourceStats {
    /// Records received, tombstones among them.
    pub records: Counter,
    /// Bytes of their keys and values.
    pub bytes: Counter,
    /// Times that topic partitions were given to this worker or taken from it.
    pub rebalances: Counter,
    /// Records that capture did not write, put aside.
    pub strangers: Counter,
    /// The newest checkpoint of the capturing side that was seen.
    pub captured_checkpoint: Gauge,
    /// The topic partitions of this worker.
    pub lags: Lags,
}

/// What a lake sink counts.
#[derive(Debug, Default)]
pub struct LakeStats {
    /// Commits decided.
    pub commits: Counter,
    /// Files committed; those of a repair not again.
    pub files: Counter,
    /// Their bytes.
    pub file_bytes: Counter,
    /// Rows committed, by table; those of a repair not again.
    pub rows: CounterBy<TableId>,
    /// Requests to the store that were repeated.
    pub retries: Counter,
    /// Files open at the moment.
    pub open_files: Gauge,
    /// Memory held for open files and part buffers, bytes.
    pub memory_bytes: Gauge,
    /// The memory budget, bytes.
    pub memory_budget_bytes: Gauge,
    /// Source commit time that the lake is complete up to, µs UTC; 0 where unknown.
    pub complete_to_us: Gauge,
    /// The last record's number.
    pub record: Gauge,
    /// Objects among the requests that are none.
    pub foreign_requests: Gauge,
}

/// What a Kafka sink counts.
#[derive(Debug, Default)]
pub struct KafkaStats {
    /// Transactions committed.
    pub commits: Counter,
    /// Bytes of encoded records.
    pub bytes: Counter,
    /// Change events committed, by table.
    pub rows: CounterBy<TableId>,
    /// Source commit time that the topics are complete up to, µs UTC; 0 where unknown.
    pub complete_to_us: Gauge,
    /// The last checkpoint's number.
    pub checkpoint: Gauge,
}

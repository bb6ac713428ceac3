//! What a reader of the lake would have, from the feed; and the source that gives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use lakeward_core::clock::SystemClock;
use lakeward_core::stats::SourceStats;
use lakeward_core::{
    ByteSize, Checkpoint, Clock, Error, Feed, KeysAsked, LivingKeys, Op, Request, Result, Resume, Secret,
    SnapshotState, Source, TableFilter, TableId, TableSchema, TypeOptions,
};
use lakeward_mysql::snapshot::{SnapshotMode, SnapshotOptions};
use lakeward_mysql::{MysqlConfig, MysqlOptions, MysqlSource, OnError, OnTruncate, Start, Until};
use lakeward_test_support::LIMIT;
use lakeward_test_support::mysql::{MySql, MySqlOptions, PASSWORD, USER};

pub(crate) fn server(options: MySqlOptions) -> MySql {
    let server = MySql::start(options);
    server.create_user();
    server.sql("CREATE DATABASE shop");
    server
}

pub(crate) fn config(server: &MySql) -> MysqlConfig {
    let mut config: MysqlConfig = serde_json::from_value(serde_json::json!({
        "host": "127.0.0.1", "port": server.port(), "user": USER, "heartbeat": "100ms", "read_timeout": "5s",
    }))
    .unwrap();
    config.password = Some(Secret::new(PASSWORD));
    config
}

pub(crate) fn table(name: &str) -> TableId {
    TableId::new("shop", name)
}

/// An event as a reader sees it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) op: &'static str,
    /// Values by column; `None` for null.
    pub(crate) row: BTreeMap<String, Option<String>>,
    key: Vec<String>,
    /// The key's columns, and the event's row in them.
    keys: Option<(RecordBatch, usize)>,
}

/// What a sink would have.
#[derive(Default)]
pub(crate) struct Lake {
    pub(crate) events: BTreeMap<TableId, BTreeMap<i64, Event>>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) schemas: Vec<Arc<TableSchema>>,
    numbers: BTreeSet<i64>,
    /// Taken since the last boundary: gone when the run is cut off.
    pending: Vec<Feed>,
}

fn row(batch: &RecordBatch, at: usize) -> BTreeMap<String, Option<String>> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        // A moment is shown as its microseconds: time zones by name are not compiled in.
        let column = match column.data_type() {
            DataType::Timestamp(..) => &cast(column, &DataType::Int64).unwrap(),
            _ => column,
        };
        let value = column.is_valid(at).then(|| array_value_to_string(column, at).unwrap());
        (field.name().clone(), value)
    });
    columns.collect()
}

impl Lake {
    pub(crate) fn take(&mut self, feed: Feed) {
        let Feed::Boundary(checkpoint) = feed else { return self.pending.push(feed) };
        for feed in std::mem::take(&mut self.pending) {
            self.settle(feed);
        }
        let given = self.numbers.len() as i64 + checkpoint.without_event();
        assert_eq!(checkpoint.next_seq - 1, given, "numbers are dense at each boundary: {checkpoint:?}");
        self.checkpoint = Some(checkpoint);
    }

    fn settle(&mut self, feed: Feed) {
        match feed {
            Feed::SchemaChange(_) | Feed::Boundary(_) | Feed::Keys(_) => {}
            Feed::Schema(schema) => {
                if !self.schemas.contains(&schema) {
                    self.schemas.push(schema);
                }
            }
            Feed::Mark(mark) => {
                let event = Event { op: "t", row: BTreeMap::new(), key: vec![], keys: None };
                self.note(mark.table().clone(), mark.seq, event);
            }
            Feed::Batch(batch) => {
                assert!(self.schemas.contains(&batch.schema), "a version comes before its rows");
                assert_eq!(
                    batch.meta.origins.iter().map(|run| run.rows).sum::<usize>(),
                    batch.rows.num_rows()
                );
                let keys = batch.rows.project(&batch.schema.key).unwrap();
                for (at, (seq, op)) in batch.meta.seq.iter().zip(&batch.meta.op).enumerate() {
                    let row = row(&batch.rows, at);
                    let key =
                        batch.schema.key.iter().map(|at| batch.schema.columns[*at].name.clone()).collect();
                    let event = Event { op: op.letter(), row, key, keys: Some((keys.clone(), at)) };
                    self.note(batch.schema.table.clone(), *seq, event);
                }
            }
        }
    }

    fn note(&mut self, table: TableId, seq: i64, event: Event) {
        assert!(self.numbers.insert(seq), "number {seq} was given twice: {event:?}");
        self.events.entry(table).or_default().insert(seq, event);
    }

    /// What was taken since the last boundary is lost, as in a crash.
    pub(crate) fn crash(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn resume(&self) -> Resume {
        Resume { checkpoint: self.checkpoint.clone(), schemas: self.schemas.clone(), ..Resume::default() }
    }

    pub(crate) fn state(&self, name: &str) -> &SnapshotState {
        &self.checkpoint.as_ref().unwrap().tables[&table(name)].snapshot
    }

    /// The latest state of a table with a key: its rows.
    pub(crate) fn latest(&self, name: &str) -> Vec<BTreeMap<String, Option<String>>> {
        let Some(events) = self.events.get(&table(name)) else { return Vec::new() };
        let mark = events.iter().filter(|(_, event)| event.op == "t").map(|(seq, _)| *seq).max().unwrap_or(0);
        let mut rows = BTreeMap::new();
        for event in events.range(mark + 1..).map(|(_, event)| event) {
            assert!(!event.key.is_empty(), "{name} has a key");
            let key: Vec<_> = event.key.iter().map(|column| event.row[column].clone()).collect();
            match event.op {
                "d" => drop(rows.remove(&key)),
                _ => drop(rows.insert(key, event.row.clone())),
            }
        }
        rows.into_values().collect()
    }

    /// The keys that live, as a sink tells them once it has committed the last boundary.
    fn living(&self, asked: &KeysAsked) -> LivingKeys {
        assert!(self.pending.is_empty(), "keys are asked for right after a boundary");
        let mut living: BTreeMap<Vec<Option<String>>, (i64, RecordBatch)> = BTreeMap::new();
        let events = self.events.get(&asked.schema.table).into_iter().flatten();
        for (seq, event) in events {
            let Some((keys, at)) = &event.keys else {
                living.clear();
                continue;
            };
            let key = event.key.iter().map(|column| event.row[column].clone()).collect();
            match event.op {
                "d" => drop(living.remove(&key)),
                _ => drop(living.insert(key, (*seq, keys.slice(*at, 1)))),
            }
        }
        let asked_for = living.into_values().filter(|(seq, _)| *seq < asked.below).map(|(_, keys)| keys);
        let keys: Vec<RecordBatch> = asked_for.collect();
        let Some(first) = keys.first() else { return LivingKeys::default() };
        let keys = arrow::compute::concat_batches(&first.schema(), &keys).unwrap();
        LivingKeys { keys: vec![keys], next: None }
    }

    /// How often each row stands in a table, key or not.
    pub(crate) fn counted(&self, name: &str) -> BTreeMap<BTreeMap<String, Option<String>>, i64> {
        let Some(events) = self.events.get(&table(name)) else { return BTreeMap::new() };
        let mark = events.iter().filter(|(_, event)| event.op == "t").map(|(seq, _)| *seq).max().unwrap_or(0);
        let mut rows: BTreeMap<_, i64> = BTreeMap::new();
        for event in events.range(mark + 1..).map(|(_, event)| event) {
            *rows.entry(event.row.clone()).or_default() += if event.op == "d" { -1 } else { 1 };
        }
        rows.retain(|_, count| *count != 0);
        rows
    }

    pub(crate) fn count(&self, name: &str, op: Op) -> usize {
        let events = self.events.get(&table(name)).into_iter().flatten();
        events.filter(|(_, event)| event.op == op.letter()).count()
    }

    /// Two columns of the latest state, sorted.
    pub(crate) fn pairs(&self, name: &str, first: &str, second: &str) -> Vec<(i64, i64)> {
        let number = |row: &BTreeMap<String, Option<String>>, column: &str| {
            row[column].as_ref().map_or(i64::MIN, |text| text.parse().unwrap())
        };
        let mut pairs: Vec<_> =
            self.latest(name).iter().map(|row| (number(row, first), number(row, second))).collect();
        pairs.sort_unstable();
        pairs
    }
}

/// The same two columns on the server.
pub(crate) fn server_pairs(server: &MySql, name: &str, first: &str, second: &str) -> Vec<(i64, i64)> {
    let rows = server.rows(&format!("SELECT {first}, {second} FROM shop.{name} ORDER BY 1, 2"));
    let number = |value: &Option<String>| value.as_ref().map_or(i64::MIN, |text| text.parse().unwrap());
    rows.iter().map(|row| (number(&row[0]), number(&row[1]))).collect()
}

/// A source under test.
pub(crate) struct Run {
    pub(crate) source: MysqlSource,
}

/// How a source is opened.
pub(crate) struct Setup {
    pub(crate) snapshot: SnapshotOptions,
    pub(crate) resume: Resume,
    pub(crate) until: Until,
    pub(crate) types: TypeOptions,
    pub(crate) start: Start,
    pub(crate) memory: ByteSize,
    pub(crate) truncate: OnTruncate,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            snapshot: SnapshotOptions::default(),
            resume: Resume::default(),
            until: Until::Forever,
            types: TypeOptions::default(),
            start: Start::Latest,
            memory: ByteSize::mib(4),
            truncate: OnTruncate::Mark,
            clock: Arc::new(SystemClock::start()),
        }
    }
}

impl Setup {
    pub(crate) fn mode(mode: SnapshotMode) -> Setup {
        Setup { snapshot: SnapshotOptions { mode, ..SnapshotOptions::default() }, ..Setup::default() }
    }

    pub(crate) fn resumed(lake: &Lake) -> Setup {
        Setup { resume: lake.resume(), ..Setup::default() }
    }

    pub(crate) fn open(self, server: &MySql) -> Result<Run> {
        let source = MysqlSource::open(MysqlOptions {
            config: config(server),
            tables: TableFilter { include: vec!["shop.*".into()], exclude: Vec::new() },
            types: self.types,
            reserved: Vec::new(),
            before_images: false,
            schema_changes: false,
            start: self.start,
            until: self.until,
            resume: self.resume,
            memory: self.memory,
            clock: self.clock,
            seed: 42,
            stats: Arc::new(SourceStats::default()),
            on_error: OnError::StopTable,
            truncate: self.truncate,
            snapshot: self.snapshot,
        })?;
        Ok(Run { source })
    }

    /// Reads a bounded run to its end.
    pub(crate) fn read_to_end(self, server: &MySql, lake: &mut Lake) {
        let mut run = self.open(server).unwrap();
        block_on(async {
            let all = async {
                while let Some(feed) = run.source.next().await.unwrap() {
                    run.give(lake, feed);
                }
            };
            tokio::time::timeout(LIMIT, all).await.expect("the run must end");
        });
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

impl Run {
    /// Gives the lake what came, or the source what it asks for.
    fn give(&mut self, lake: &mut Lake, feed: Feed) {
        match feed {
            Feed::Keys(asked) => self.source.keys(asked.id, Ok(lake.living(&asked))),
            feed => lake.take(feed),
        }
    }

    /// Takes until `enough` at a boundary.
    pub(crate) fn until(&mut self, lake: &mut Lake, mut enough: impl FnMut(&Lake) -> bool) {
        let limit = Instant::now() + LIMIT;
        block_on(async {
            loop {
                let next = tokio::time::timeout(LIMIT, self.source.next()).await;
                let feed = next.expect("something must come").unwrap().expect("an endless source");
                let at_boundary = matches!(feed, Feed::Boundary(_));
                self.give(lake, feed);
                if at_boundary && enough(lake) {
                    return;
                }
                assert!(Instant::now() < limit, "it must come: {:?}", lake.checkpoint);
            }
        });
    }

    /// Takes all until it ends with an error.
    pub(crate) fn until_it_fails(&mut self, lake: &mut Lake) -> Error {
        block_on(async {
            loop {
                match tokio::time::timeout(LIMIT, self.source.next()).await.expect("something must come") {
                    Ok(feed) => self.give(lake, feed.expect("an endless source")),
                    Err(error) => return error,
                }
            }
        })
    }

    /// Takes until events of a kind came, of a transaction that is not at its end.
    pub(crate) fn until_pending(&mut self, lake: &mut Lake, op: Op) {
        block_on(async {
            loop {
                let next = tokio::time::timeout(LIMIT, self.source.next()).await;
                let feed = next.expect("something must come").unwrap().expect("an endless source");
                let is_it = matches!(&feed, Feed::Batch(batch) if batch.meta.op.contains(&op));
                self.give(lake, feed);
                if is_it {
                    return;
                }
            }
        });
    }

    /// Takes until every snapshot is done and the stream has all that the server had when called.
    pub(crate) fn until_equal(&mut self, server: &MySql, lake: &mut Lake) {
        let executed: lakeward_core::GtidSet = server.value("SELECT @@gtid_executed").parse().unwrap();
        self.until(lake, |lake| {
            let checkpoint = lake.checkpoint.as_ref().unwrap();
            let lakeward_core::Position::Binlog(position) = &checkpoint.position else { panic!("position") };
            is_settled(lake) && position.gtid_set.as_ref().is_some_and(|set| executed.is_subset_of(set))
        });
    }

    pub(crate) fn ask(&mut self, requests: Vec<Request>) {
        self.source.requests(requests);
    }
}

/// Whether no snapshot is open.
pub(crate) fn is_settled(lake: &Lake) -> bool {
    let tables = &lake.checkpoint.as_ref().unwrap().tables;
    tables.values().all(|state| !matches!(state.snapshot, SnapshotState::Open(_)))
}

//! The loop over a source and a sink in memory, under seeded faults, crashes and stops.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use lakeward_core::clock::ManualClock;
use lakeward_core::stats::SourceStats;
use lakeward_core::{
    Answer, BinlogPosition, ChangeBatch, ChangeMeta, Checkpoint, Column, ColumnType, Command, Error,
    ErrorKind, Feed, KeysAsked, LivingKeys, LostFile, LostRange, Op, Opened, Origin, OriginRun, Position,
    Request, Result, Resume, SchemaChange, Sink, SnapshotState, Source, TableId, TableMark, TableSchema,
    TableState, TableStatus, TypeOptions,
};
use tokio::task::yield_now;

use super::*;

/// A small generator for schedules; the seed of a failing one is in the assertion.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What survives a crash: the server's log and the lake.
struct World {
    dice: Dice,
    /// One in so many steps fails; 0: none.
    fault: u64,
    /// Rows of each transaction.
    log: Vec<usize>,
    endless: bool,
    committed: Vec<i64>,
    checkpoint: Option<Checkpoint>,
    lost: Vec<LostRange>,
    purged: bool,
    repaired: Vec<i64>,
    commits: u64,
    closes: u64,
    /// The sink wants so many in any case.
    wanted_commits: u64,
    stop_tables: bool,
    kind: ErrorKind,
    /// What stands in the sink.
    requests: Vec<Request>,
    /// So many readings of it fail first.
    unread: u32,
    /// What the source was handed.
    handed: Vec<Request>,
    /// Whether the source asks for keys, right after a boundary or not; each by the next number.
    asks: bool,
    /// Answers that it got: the rows that lived.
    told: Vec<(u64, usize)>,
    /// Whether the source is refused, for the next times that it is opened.
    refused: VecDeque<bool>,
    /// Once the log is read, and so much later, all of it is another worker's.
    taken_away: Option<Duration>,
    /// Once the log is read the source reads on and hands on nothing.
    silent: bool,
    read: Arc<SourceStats>,
}

type Shared = Arc<Mutex<World>>;

fn world(seed: u64, fault: u64, log: Vec<usize>) -> Shared {
    Arc::new(Mutex::new(World {
        dice: Dice(seed),
        fault,
        log,
        endless: false,
        committed: Vec::new(),
        checkpoint: None,
        lost: Vec::new(),
        purged: false,
        repaired: Vec::new(),
        commits: 0,
        closes: 0,
        wanted_commits: 0,
        stop_tables: false,
        kind: ErrorKind::LakeUnreachable,
        requests: Vec::new(),
        unread: 0,
        handed: Vec::new(),
        asks: false,
        told: Vec::new(),
        refused: VecDeque::new(),
        taken_away: None,
        silent: false,
        read: Arc::default(),
    }))
}

fn fails(world: &Shared) -> Result<()> {
    let mut world = world.lock().unwrap();
    let fault = world.fault;
    if fault > 0 && world.dice.roll(fault) == 0 {
        return Err(Error::new(world.kind, "a fault"));
    }
    Ok(())
}

fn schema() -> Arc<TableSchema> {
    let ty = ColumnType::Int { width: 8, unsigned: false, display_one: false };
    let columns = vec![Column::new("id", ty, false)];
    Arc::new(TableSchema::new(TableId::new("s", "t"), 1, columns, vec![0], TypeOptions::default()))
}

fn checkpoint(transaction: usize, next_seq: i64, stopped: bool) -> Checkpoint {
    let position = Position::Binlog(BinlogPosition {
        server_uuid: "11111111-1111-1111-1111-111111111111".parse().unwrap(),
        file: "binlog.000001".into(),
        offset: transaction as u64,
        gtid_set: None,
    });
    let status = match stopped {
        false => TableStatus::Active,
        true => TableStatus::Stopped {
            kind: "TableChanged".into(),
            message: "m".into(),
            remedy: None,
            at: position.clone(),
        },
    };
    let tables = BTreeMap::from([(
        TableId::new("s", "t"),
        TableState {
            schema_version: 1,
            status,
            snapshot: SnapshotState::NotAsked,
            deleted_by_key: false,
            dropped: false,
        },
    )]);
    Checkpoint {
        position,
        next_seq,
        commit_us: None,
        retired: 0,
        prepared: Vec::new(),
        requests: Vec::new(),
        tables: Arc::new(tables),
    }
}

fn batch(seqs: std::ops::Range<i64>) -> ChangeBatch {
    let schema = schema();
    let seq: Vec<i64> = seqs.collect();
    let rows =
        RecordBatch::try_new(schema.arrow.clone(), vec![Arc::new(Int64Array::from(seq.clone()))]).unwrap();
    let origin = Origin { commit_us: 1, file: "binlog.000001".into(), offset: 0, ..Origin::default() };
    let meta = ChangeMeta {
        op: vec![Op::Create; seq.len()],
        topic_partition: None,
        origins: vec![OriginRun { rows: seq.len(), first_row: 0, origin }],
        seq,
    };
    ChangeBatch { schema, rows, before: None, meta }
}

struct MemorySource {
    world: Shared,
    clock: Arc<ManualClock>,
    transaction: usize,
    seq: i64,
    pending: Vec<Feed>,
    until: Until,
    begun: bool,
}

impl MemorySource {
    /// What happens where the log is read.
    async fn at_end(&self) -> Result<()> {
        let (taken_away, silent, read) = {
            let mut world = self.world.lock().unwrap();
            (world.taken_away.take(), world.silent, world.read.clone())
        };
        if let Some(after) = taken_away {
            self.clock.advance(after);
            self.world.lock().unwrap().log.clear();
            return Err(Error::new(ErrorKind::Rebalanced, "another's"));
        }
        if !silent {
            return Ok(());
        }
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.clock.advance(Duration::from_secs(1));
            read.events.add(1);
        }
    }

    /// The next transactions, cut into batches and followed by a boundary as the dice fall.
    fn refill(&mut self) {
        let mut world = self.world.lock().unwrap();
        let mut feeds = Vec::new();
        if !self.begun {
            self.begun = true;
            feeds.push(Feed::Boundary(checkpoint(self.transaction, self.seq, world.stop_tables)));
            feeds.push(Feed::Schema(schema()));
        }
        while let Some(rows) = world.log.get(self.transaction).copied() {
            let end = self.seq + i64::try_from(rows).unwrap();
            while self.seq < end {
                let left = u64::try_from(end - self.seq).unwrap();
                let cut = self.seq + 1 + i64::try_from(world.dice.roll(left)).unwrap();
                feeds.push(Feed::Batch(batch(self.seq..cut)));
                self.seq = cut;
            }
            self.transaction += 1;
            let at_its_end = match &self.until {
                Until::Again(Position::Binlog(end)) => self.transaction as u64 == end.offset,
                _ => false,
            };
            if at_its_end || world.dice.roll(3) > 0 {
                break;
            }
        }
        let mut end = checkpoint(self.transaction, self.seq, world.stop_tables);
        end.requests = world.handed.iter().map(|request| Answer::done(&*request.id)).collect();
        let asked = |seq: i64| {
            let id = u64::try_from(seq).unwrap();
            Feed::Keys(KeysAsked {
                id,
                schema: schema(),
                class: lakeward_core::KeyClass::default(),
                below: seq,
            })
        };
        if world.asks && world.dice.roll(4) == 0 {
            // Of the last commit, whichever that is.
            feeds.insert(0, asked(0));
        }
        feeds.push(Feed::Boundary(end));
        if world.asks && world.dice.roll(2) == 0 {
            feeds.push(asked(self.seq));
        }
        feeds.reverse();
        self.pending = feeds;
    }
}

impl Source for MemorySource {
    async fn next(&mut self) -> Result<Option<Feed>> {
        yield_now().await;
        fails(&self.world)?;
        self.clock.advance(Duration::from_millis(1));
        let at_end = self.transaction == self.world.lock().unwrap().log.len();
        if let Until::Again(Position::Binlog(end)) = &self.until
            && self.begun
            && self.pending.is_empty()
            && self.transaction as u64 == end.offset
        {
            return Ok(None);
        }
        if self.pending.is_empty() && at_end && self.begun {
            self.at_end().await?;
            if self.until == Until::CaughtUp {
                return Ok(None);
            }
            let endless = self.world.lock().unwrap().endless;
            tokio::time::sleep(Duration::from_millis(1)).await;
            if !endless {
                // An open transaction that never ends.
                return Ok(Some(Feed::Schema(schema())));
            }
        }
        if self.pending.is_empty() {
            self.refill();
        }
        Ok(self.pending.pop())
    }

    fn requests(&mut self, standing: Vec<Request>) {
        self.world.lock().unwrap().handed = standing;
    }

    fn keys(&mut self, asked: u64, answer: Result<LivingKeys>) {
        let rows = answer.unwrap().keys.iter().map(RecordBatch::num_rows).sum();
        self.world.lock().unwrap().told.push((asked, rows));
    }
}

struct MemorySink {
    world: Shared,
    staged: Vec<i64>,
    repair: Option<LostRange>,
}

impl Sink for MemorySink {
    async fn is_new(&mut self) -> Result<bool> {
        Ok(self.world.lock().unwrap().checkpoint.is_none())
    }

    async fn open(&mut self) -> Result<Opened> {
        yield_now().await;
        fails(&self.world)?;
        let world = self.world.lock().unwrap();
        let resume =
            Resume { checkpoint: world.checkpoint.clone(), schemas: vec![schema()], requests: Vec::new() };
        Ok(Opened { resume, lost: world.lost.clone(), epoch: 0 })
    }

    async fn schema(&mut self, _: Arc<TableSchema>) -> Result<()> {
        fails(&self.world)
    }

    async fn write(&mut self, batch: ChangeBatch) -> Result<()> {
        yield_now().await;
        fails(&self.world)?;
        self.staged.extend(&batch.meta.seq);
        Ok(())
    }

    fn wants_commit_in(&self) -> Option<Duration> {
        let world = self.world.lock().unwrap();
        (world.commits < world.wanted_commits).then_some(Duration::ZERO)
    }

    async fn mark(&mut self, mark: TableMark) -> Result<()> {
        self.staged.push(mark.seq);
        Ok(())
    }

    async fn commit(&mut self, checkpoint: Checkpoint) -> Result<()> {
        yield_now().await;
        fails(&self.world)?;
        {
            let mut world = self.world.lock().unwrap();
            let staged = std::mem::take(&mut self.staged);
            world.commits += 1;
            match self.repair.take() {
                Some(lost) => {
                    let wanted = |seq: &i64| lost.files.iter().any(|f| (f.seq.0..=f.seq.1).contains(seq));
                    world.repaired.extend(staged.into_iter().filter(wanted));
                    world.lost.retain(|other| other.record != lost.record);
                }
                None => {
                    world.committed.extend(staged);
                    world.checkpoint = Some(checkpoint);
                }
            }
        }
        yield_now().await;
        // The answer may be lost although it is decided.
        fails(&self.world)
    }

    fn requests(&self) -> impl Future<Output = Result<Vec<Request>>> + Send + 'static {
        let mut world = self.world.lock().unwrap();
        let read = match world.unread.checked_sub(1) {
            Some(left) => {
                world.unread = left;
                Err(Error::new(ErrorKind::LakeUnreachable, "a fault"))
            }
            None => Ok(world.requests.clone()),
        };
        std::future::ready(read)
    }

    fn keys(&self, asked: KeysAsked) -> impl Future<Output = Result<LivingKeys>> + Send + 'static {
        let (world, committed) = (self.world.clone(), self.world.lock().unwrap().committed.clone());
        async move {
            for _ in 0..asked.id % 3 {
                yield_now().await;
            }
            fails(&world)?;
            let keys = Arc::new(Int64Array::from(committed));
            let keys = RecordBatch::try_new(asked.schema.arrow.clone(), vec![keys]).unwrap();
            Ok(LivingKeys { keys: vec![keys], next: None })
        }
    }

    async fn repair(&mut self, lost: LostRange) -> Result<()> {
        self.repair = Some(lost);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.world.lock().unwrap().closes += 1;
        Ok(())
    }
}

struct MemoryRoute {
    world: Shared,
    clock: Arc<ManualClock>,
}

impl Route for MemoryRoute {
    type Source = MemorySource;
    type Sink = MemorySink;

    async fn sink(&mut self) -> Result<MemorySink> {
        Ok(MemorySink { world: self.world.clone(), staged: Vec::new(), repair: None })
    }

    async fn source(&mut self, resume: Resume, until: Until) -> Result<MemorySource> {
        fails(&self.world)?;
        if self.world.lock().unwrap().refused.pop_front() == Some(true) {
            return Err(Error::new(ErrorKind::SourceUnreachable, "refused"));
        }
        if self.world.lock().unwrap().purged {
            return Err(Error::new(ErrorKind::PositionLost, "purged"));
        }
        let (transaction, seq) = resume.checkpoint.map_or((0, 1), |checkpoint| {
            let Position::Binlog(position) = checkpoint.position else { panic!("another position") };
            (usize::try_from(position.offset).unwrap(), checkpoint.next_seq)
        });
        Ok(MemorySource {
            world: self.world.clone(),
            clock: self.clock.clone(),
            transaction,
            seq,
            pending: Vec::new(),
            until,
            begun: false,
        })
    }
}

fn engine(world: &Shared, until: Until, interval_ms: u64) -> (Engine<MemoryRoute>, Stopper, Arc<Progress>) {
    let clock = Arc::new(ManualClock::at(1_000_000));
    let (stopper, stop) = stop_signal();
    let mut plan = Plan::new(until, Duration::from_millis(interval_ms), 1);
    // A busy machine is not taken for a boundary that never comes.
    plan.boundary_grace = Duration::from_secs(20);
    plan.requests_interval = Duration::from_millis(7);
    plan.backoff = Backoff::new(Duration::from_micros(10), Duration::from_micros(20), Duration::MAX, 1);
    let progress = Arc::new(Progress::of(&world.lock().unwrap().read));
    let route = MemoryRoute { world: world.clone(), clock: clock.clone() };
    (Engine::new(route, plan, clock, progress.clone(), stop), stopper, progress)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Runs `future` for so many polls, then drops it where it stands: a crash.
async fn crash_after<T>(polls: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[test]
fn each_row_arrives_once_under_any_faults_and_crashes() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let log: Vec<usize> = (0..dice.roll(40)).map(|_| usize::try_from(dice.roll(9)).unwrap()).collect();
        let total = i64::try_from(log.iter().sum::<usize>()).unwrap();
        let world = world(seed, 3 + dice.roll(30), log);
        block_on(async {
            for _ in 0..dice.roll(6) {
                let (engine, _stopper, _) = engine(&world, Until::CaughtUp, dice.roll(20));
                crash_after(dice.roll(200), engine.run()).await;
            }
            world.lock().unwrap().fault = 0;
            let (engine, _stopper, _) = engine(&world, Until::CaughtUp, 5);
            let ended = engine.run().await.unwrap();
            assert_eq!(ended.reason, Reason::CaughtUp, "seed {seed}");
            assert_eq!(ended.committed, world.lock().unwrap().checkpoint, "seed {seed}");
        });
        let world = world.lock().unwrap();
        assert_eq!(world.committed, (1..=total).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_stop_commits_what_was_taken_and_leaves() {
    let world = world(1, 0, vec![3; 5]);
    world.lock().unwrap().endless = true;
    block_on(async {
        let (engine, stopper, progress) = engine(&world, Until::Forever, 3_600_000);
        let run = engine.run();
        let stop = async {
            while progress.boundaries.get() < 10 {
                yield_now().await;
            }
            stopper.stop();
        };
        let (ended, ()) = tokio::join!(run, stop);
        assert_eq!(ended.unwrap().reason, Reason::Stopped);
    });
    let world = world.lock().unwrap();
    assert_eq!(world.committed, (1..=15).collect::<Vec<_>>());
    assert_eq!(world.commits, 2, "the first boundary, and the end");
}

#[test]
fn a_stop_inside_a_huge_transaction_leaves_without_it() {
    let world = world(1, 0, vec![3; 5]);
    block_on(async {
        let (mut engine, stopper, progress) = engine(&world, Until::Forever, 3_600_000);
        engine.plan.boundary_grace = Duration::from_millis(20);
        let stop = async {
            // Beyond the last boundary the source never reaches another one.
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(progress.boundaries.get() > 0);
            stopper.stop();
        };
        let (ended, ()) = tokio::join!(engine.run(), stop);
        assert_eq!(ended.unwrap().reason, Reason::Abandoned);
    });
    assert_eq!(world.lock().unwrap().committed, Vec::<i64>::new());
}

#[test]
fn a_sink_is_closed_after_an_error_too() {
    let world = world(1, 12, vec![3; 20]);
    let ended = block_on(engine(&world, Until::CaughtUp, 5).0.run());
    assert_eq!(ended.unwrap().reason, Reason::CaughtUp);
    assert!(world.lock().unwrap().closes > 1);
}

#[test]
fn a_stop_during_a_wait_between_attempts_leaves_at_once() {
    let world = world(1, 1, vec![1]);
    block_on(async {
        let (mut engine, stopper, progress) = engine(&world, Until::Forever, 10);
        engine.plan.backoff =
            Backoff::new(Duration::from_hours(1), Duration::from_hours(1), Duration::MAX, 1);
        let stop = async {
            while progress.failures.get() == 0 {
                yield_now().await;
            }
            stopper.stop();
        };
        let (ended, ()) = tokio::join!(engine.run(), stop);
        assert_eq!(ended.unwrap().reason, Reason::Abandoned);
    });
}

#[test]
fn an_idle_pipeline_commits_a_moved_position_at_most_hourly() {
    let world = world(1, 0, vec![0; 4_000]);
    world.lock().unwrap().endless = true;
    block_on(async {
        let (mut engine, stopper, progress) = engine(&world, Until::Forever, 1);
        engine.plan.idle_interval = Duration::from_millis(1_000);
        let stop = async {
            while progress.boundaries.get() < 2_500 {
                yield_now().await;
            }
            stopper.stop();
        };
        let (ended, ()) = tokio::join!(engine.run(), stop);
        assert_eq!(ended.unwrap().reason, Reason::Stopped);
    });
    // About 2,500 boundaries, a millisecond each: the first, every thousandth, and the end.
    assert!((3..=5).contains(&world.lock().unwrap().commits), "{}", world.lock().unwrap().commits);
}

#[test]
fn a_sink_that_wants_a_commit_gets_it_though_nothing_changed_but_never_inside_a_transaction() {
    for seed in 0..50 {
        let world = world(seed, 0, vec![3; 4]);
        {
            let mut world = world.lock().unwrap();
            (world.endless, world.wanted_commits) = (true, 30);
        }
        block_on(async {
            let (engine, stopper, progress) = engine(&world, Until::Forever, 3_600_000);
            let stop = async {
                while progress.commits.get() < 30 || progress.boundaries.get() < 10 {
                    yield_now().await;
                }
                stopper.stop();
            };
            let (ended, ()) = tokio::join!(engine.run(), stop);
            let ended = ended.unwrap();
            assert_eq!(ended.reason, Reason::Stopped);
            assert_eq!(ended.committed, world.lock().unwrap().checkpoint);
        });
        let world = world.lock().unwrap();
        assert_eq!(world.committed, (1..=12).collect::<Vec<_>>(), "seed {seed}");
        assert!((30..=31).contains(&world.commits), "{}", world.commits);
    }
}

#[test]
fn an_error_that_does_not_pass_ends_the_run() {
    let world = world(1, 1, vec![1]);
    world.lock().unwrap().kind = ErrorKind::Fenced;
    let (engine, _stopper, _) = engine(&world, Until::Forever, 10);
    assert_eq!(block_on(engine.run()).unwrap_err().kind(), ErrorKind::Fenced);
}

#[test]
fn an_outage_without_end_becomes_an_exit_code() {
    let world = world(1, 1, vec![1]);
    let (mut engine, _stopper, progress) = engine(&world, Until::Forever, 10);
    engine.plan.backoff = Backoff::new(Duration::from_micros(1), Duration::from_micros(1), Duration::ZERO, 1);
    let clock = Arc::new(lakeward_core::clock::SystemClock::start());
    engine.clock = clock;
    assert_eq!(block_on(engine.run()).unwrap_err().kind(), ErrorKind::LakeUnreachable);
    assert!(progress.failures.get() > 1 && progress.failing_since_us.get() > 0);
}

/// Stops the run once `reached` says so.
async fn run_until(
    engine: Engine<MemoryRoute>,
    stopper: Stopper,
    reached: impl Fn() -> bool,
) -> Result<Ended> {
    let stop = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stopper.stop();
    };
    let (ended, ()) = tokio::join!(engine.run(), stop);
    ended
}

#[test]
fn rows_that_became_another_workers_wait_for_no_commit_of_this_one() {
    let world = world(1, 0, vec![3]);
    {
        let mut world = world.lock().unwrap();
        (world.endless, world.taken_away) = (true, Some(Duration::ZERO));
    }
    block_on(async {
        let (engine, stopper, progress) = engine(&world, Until::Forever, 3_600_000);
        let waited = std::cell::Cell::new(false);
        let reached = || {
            waited.set(waited.get() || progress.oldest_waiting_us.get() > 0);
            world.lock().unwrap().log.is_empty() && progress.boundaries.get() > 10
        };
        assert_eq!(run_until(engine, stopper, reached).await.unwrap().reason, Reason::Stopped);
        assert!(waited.get(), "the rows were taken");
        assert_eq!(progress.oldest_waiting_us.get(), 0);
    });
}

#[test]
fn a_share_that_goes_to_others_after_a_success_leaves_the_patience_whole() {
    let world = world(1, 0, vec![3]);
    let patience = Duration::from_mins(15);
    {
        let mut world = world.lock().unwrap();
        world.endless = true;
        world.taken_away = Some(patience * 2);
        // At first, and after the share was taken away; in between for a look and for the run.
        world.refused = VecDeque::from([true, false, false, true]);
    }
    block_on(async {
        let (mut engine, stopper, progress) = engine(&world, Until::Forever, 10);
        engine.plan.backoff = Backoff::new(Duration::from_micros(10), Duration::from_micros(20), patience, 1);
        let reached = || world.lock().unwrap().refused.is_empty() && progress.boundaries.get() > 10;
        assert_eq!(run_until(engine, stopper, reached).await.unwrap().reason, Reason::Stopped);
        assert_eq!(progress.failures.get(), 2);
    });
}

#[test]
fn a_source_that_reads_and_hands_on_nothing_moves() {
    let world = world(1, 0, vec![3]);
    world.lock().unwrap().silent = true;
    block_on(async {
        let (engine, stopper, progress) = engine(&world, Until::Forever, 10);
        let reached = || progress.moved_ms.get() > 10_000;
        assert_eq!(run_until(engine, stopper, reached).await.unwrap().reason, Reason::Stopped);
    });
}

fn with_lost_files(world: &Shared) {
    let mut world = world.lock().unwrap();
    world.checkpoint = Some(checkpoint(5, 16, false));
    world.committed = (1..16).collect();
    world.lost = vec![LostRange {
        record: 7,
        from: checkpoint(1, 4, false),
        to: checkpoint(3, 10, false),
        schemas: vec![schema()],
        files: vec![LostFile {
            key: "k".into(),
            table: TableId::new("s", "t"),
            seq: (5, 8),
            topic_partitions: std::collections::BTreeMap::new(),
            commit_us: (0, i64::MAX),
        }],
    }];
}

#[test]
fn lost_files_are_read_again_and_the_run_goes_on_at_the_logs_end() {
    let world = world(1, 0, vec![3; 8]);
    with_lost_files(&world);
    let (engine, _stopper, _) = engine(&world, Until::CaughtUp, 10);
    assert_eq!(block_on(engine.run()).unwrap().reason, Reason::CaughtUp);
    let world = world.lock().unwrap();
    assert_eq!(world.repaired, [5, 6, 7, 8]);
    assert_eq!(world.committed, (1..=24).collect::<Vec<_>>());
}

#[test]
fn lost_files_that_the_source_no_longer_has_are_told_with_their_range() {
    let world = world(1, 0, vec![3; 8]);
    with_lost_files(&world);
    world.lock().unwrap().purged = true;
    let (engine, _stopper, _) = engine(&world, Until::CaughtUp, 10);
    let error = block_on(engine.run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LostUpload);
    assert!(error.to_string().contains("binlog.000001:1 to binlog.000001:3"), "{error}");
}

#[test]
fn lost_files_of_a_range_with_rows_of_a_snapshot_are_not_replaced_by_others() {
    let world = world(1, 0, vec![3; 8]);
    with_lost_files(&world);
    // As many numbers as the log gives, and two of a snapshot.
    world.lock().unwrap().lost[0].to.next_seq += 2;
    let (engine, _stopper, _) = engine(&world, Until::CaughtUp, 10);
    let error = block_on(engine.run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LostUpload);
    assert!(error.to_string().contains("binlog.000001:1 to binlog.000001:3"), "{error}");
    assert_eq!(world.lock().unwrap().repaired, Vec::<i64>::new());
}

#[test]
fn requests_reach_the_source_and_their_answers_are_committed_at_once() {
    let world = world(1, 0, vec![0; 4_000]);
    let request = Request { id: "1".into(), command: Command::Pause { table: TableId::new("s", "t") } };
    {
        let mut world = world.lock().unwrap();
        world.endless = true;
        world.unread = 3;
        world.requests = vec![request.clone()];
    }
    block_on(async {
        // Neither rows nor a moved position bring a commit.
        let (mut engine, stopper, progress) = engine(&world, Until::Forever, 3_600_000);
        engine.plan.idle_interval = Duration::from_hours(10);
        let stop = async {
            while progress.commits.get() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let answered = world.lock().unwrap().checkpoint.clone().unwrap().requests;
            stopper.stop();
            answered
        };
        let (ended, answered) = tokio::join!(engine.run(), stop);
        assert_eq!(ended.unwrap().reason, Reason::Stopped);
        assert_eq!(answered, [Answer::done("1")]);
        assert_eq!(progress.failures.get(), 0, "a request that cannot be read stops nothing");
    });
    assert_eq!(world.lock().unwrap().handed, [request]);
}

#[test]
fn keys_that_are_asked_for_after_a_boundary_are_of_all_before_it() {
    let mut answers = 0;
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let log: Vec<usize> = (0..30).map(|_| usize::try_from(dice.roll(9)).unwrap()).collect();
        let total = i64::try_from(log.iter().sum::<usize>()).unwrap();
        let world = world(seed, dice.roll(2) * 60, log);
        world.lock().unwrap().asks = true;
        block_on(async {
            let (engine, _stopper, _) = engine(&world, Until::CaughtUp, 1 + dice.roll(50));
            assert_eq!(engine.run().await.unwrap().reason, Reason::CaughtUp, "seed {seed}");
        });
        let world = world.lock().unwrap();
        assert_eq!(world.committed, (1..=total).collect::<Vec<_>>(), "seed {seed}");
        for (asked, rows) in world.told.iter().filter(|(asked, _)| *asked > 0) {
            assert_eq!(*asked, *rows as u64 + 1, "seed {seed}");
            answers += 1;
        }
    }
    assert!(answers > 100, "{answers} questions were answered");
}

#[test]
fn a_lost_range_in_which_keys_were_asked_for_is_not_replaced() {
    let world = world(1, 0, vec![3; 8]);
    with_lost_files(&world);
    world.lock().unwrap().asks = true;
    let (engine, _stopper, _) = engine(&world, Until::CaughtUp, 10);
    let error = block_on(engine.run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LostUpload);
    assert!(error.to_string().contains("TRUNCATE"), "{error}");
}

#[test]
fn a_position_that_moves_without_its_rows_is_an_error() {
    let mut span = Span::begin(Some(checkpoint(0, 1, false)), Duration::ZERO);
    span.take(&Feed::Batch(batch(1..3)));
    assert_eq!(span.boundary(checkpoint(1, 4, false)).unwrap_err().kind(), ErrorKind::Bug);
    assert!(span.boundary(checkpoint(1, 3, false)).is_ok());
}

#[test]
fn a_statement_that_is_told_is_committed_no_later_than_rows() {
    let change = SchemaChange {
        origin: Origin::default(),
        database: "s".into(),
        tables: Vec::new(),
        statement: "CREATE DATABASE s".into(),
        change: None,
    };
    let plan = Plan::new(Until::Forever, Duration::from_secs(1), 0);
    let mut span = Span::begin(Some(checkpoint(0, 1, false)), Duration::ZERO);
    span.take(&Feed::SchemaChange(Box::new(change)));
    span.boundary(checkpoint(1, 1, false)).unwrap();
    assert_eq!(span.due_in(&plan, Duration::ZERO, None), Some(plan.interval));
    assert!(span.unsaved().is_some());
}

#[test]
fn stopped_tables_are_named_at_the_end() {
    let world = world(1, 0, vec![1]);
    world.lock().unwrap().stop_tables = true;
    let (engine, _stopper, _) = engine(&world, Until::CaughtUp, 10);
    let ended = block_on(engine.run()).unwrap();
    assert_eq!(ended.stopped_tables(), [&TableId::new("s", "t")]);
}

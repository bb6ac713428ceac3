//! A simulation of the commit protocol. It drives the real [`Writer`] over a simulated store: up to
//! three processes of one pipeline, any interleaving of their requests, pauses of any length, crashes
//! at any request, lost answers, puts that land long after they were given up, and uploads that
//! expire. Every schedule follows from its seed, which a failure prints.
//!
//! After each change of the store it is checked that records are dense and never change, that their
//! checkpoints form one chain, that none is decided by a revoked epoch, that no file is visible which
//! no record names, and that no decided upload is aborted. At the end one process runs alone, and each
//! row up to the last checkpoint must be visible exactly once.
//!
//! That the simulation can see a fault is shown by breaking a rule at a time: see [`Broken`].

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use lakeward_core::stats::LakeStats;
use lakeward_core::{
    BinlogPosition, Checkpoint, Column, ColumnType, Error, ErrorKind, Position, Result, SnapshotState,
    TableId, TableSchema, TableState, TableStatus, TypeOptions,
};
use uuid::Uuid;

use super::record::{Entry, FileEntry, Record};
use super::shared::Sharing;
use super::show::abort_revoked;
use super::writer::{Writer, WriterOptions};
use crate::columns::IncompatibleChange;
use crate::layout::file_key;
use crate::objects::{OpenUpload, PART_SIZE, Part, Put, Shown, Store, Stretch, Upload};

const PIPELINE: &str = "p";
const LOG: &str = "_lakeward/p/log/";
/// A process ends its run once it has committed this many rows.
const ROWS: i64 = 14;

/// A rule that is broken on purpose, to see that the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// The store takes a conditional put although another object is there.
    UnconditionalPut,
    /// Leftovers are aborted before the claim that revokes their writer.
    AbortBeforeClaim,
    /// All processes claim with the same identity.
    SharedIdentity,
    /// What is staged is dropped although a put may have decided it.
    DiscardUnsettled,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn once_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }
}

/// What happened over all schedules, so that a model in which nothing happens cannot pass.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    fenced: u64,
    unknown: u64,
    landed_late: u64,
    refused_late: u64,
    own_refused: u64,
    crashes: u64,
    repairs: u64,
    aborted: u64,
}

struct World {
    random: Random,
    broken: Broken,
    /// One request in so many fails; 0: none.
    fault_in: u64,
    expiry: bool,
    objects: BTreeMap<String, Bytes>,
    uploads: BTreeMap<String, (Upload, Bytes)>,
    uploads_begun: u64,
    late: Vec<(String, Bytes)>,
    last: Option<Record>,
    violations: Vec<String>,
    seen: Seen,
}

impl World {
    fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Puts an object if its name is free. Every record goes through here.
    fn put_if_absent(&mut self, key: &str, body: &Bytes) -> Put {
        if let Some(standing) = self.objects.get(key) {
            if self.broken != Broken::UnconditionalPut || standing == body {
                return Put::Exists;
            }
            if key.starts_with(LOG) {
                self.violated(format!("{key} changed"));
            }
        } else if key.starts_with(LOG) {
            self.check_record(key, body);
        }
        self.objects.insert(key.to_owned(), body.clone());
        Put::Created
    }

    /// The invariants of the log, stated without the code under test: dense numbers, one chain of
    /// checkpoints, no record of a revoked epoch.
    fn check_record(&mut self, key: &str, body: &Bytes) {
        let record: Record = serde_json::from_slice(body).unwrap();
        let (last, epoch, at) = match &self.last {
            Some(last) => (last.number, last.epoch, last.checkpoint().cloned()),
            None => (0, 0, None),
        };
        let (from, epoch) = match &record.entry {
            Entry::Claim { checkpoint, .. } => (checkpoint, record.number),
            Entry::Commit { from, .. } => (from, epoch),
        };
        if record.number != last + 1 || *from != at || record.epoch != epoch {
            self.violated(format!("{key} does not follow record {last}: {record:?}"));
        }
        self.last = Some(record);
    }

    fn records(&self) -> Vec<Record> {
        let records = self.objects.range(LOG.to_owned()..).take_while(|(key, _)| key.starts_with(LOG));
        let records = records.filter(|(key, _)| key.ends_with(".json"));
        records.map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }

    fn files(&self) -> Vec<FileEntry> {
        let files = self.records().into_iter().filter_map(|record| match record.entry {
            Entry::Commit { files, .. } => Some(files),
            Entry::Claim { .. } => None,
        });
        files.flatten().collect()
    }

    fn show(&mut self, upload: &Upload, parts: &[Part]) -> Shown {
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        if let Some((staged, body)) = self.uploads.remove(&upload.upload_id) {
            assert_eq!((&staged, body.len() as u64), (upload, bytes));
            if !self.files().iter().any(|file| file.upload == *upload) {
                self.violated(format!("{} is visible, but no record names it", upload.key));
            }
            self.objects.insert(upload.key.clone(), body);
        }
        match self.objects.get(&upload.key) {
            Some(body) if body.len() as u64 == bytes => Shown::Visible,
            _ => {
                if !self.expiry {
                    self.violated(format!("{} is decided, and lost", upload.key));
                }
                Shown::Lost
            }
        }
    }

    fn abort(&mut self, upload: &OpenUpload) {
        let named = self.files().iter().any(|file| file.upload.upload_id == upload.upload_id);
        if self.uploads.remove(&upload.upload_id).is_some() {
            self.seen.aborted += 1;
            if named {
                self.violated(format!("{} is decided, and aborted", upload.key));
            }
        }
    }

    /// Something that happens without any process: a late put lands, an upload expires.
    fn nature(&mut self) {
        if !self.late.is_empty() && self.random.once_in(20) {
            let at = self.random.below(self.late.len() as u64) as usize;
            let (key, body) = self.late.swap_remove(at);
            match self.put_if_absent(&key, &body) {
                Put::Created => self.seen.landed_late += 1,
                Put::Exists => self.seen.refused_late += 1,
            }
        }
        if self.expiry && self.random.once_in(60) {
            self.uploads.pop_first();
        }
    }

    /// Every row up to the last checkpoint is visible exactly once.
    fn check_rows(&mut self) {
        let next = self.last.as_ref().and_then(Record::checkpoint).map_or(1, |at| at.next_seq);
        let visible = self.objects.iter().filter(|(key, _)| key.ends_with(".parquet"));
        let mut rows: Vec<i64> = visible.flat_map(|(_, body)| seqs(body)).collect();
        rows.sort_unstable();
        if rows != (1..next).collect::<Vec<_>>() {
            self.violated(format!("visible rows are {rows:?}, the checkpoint is at {next}"));
        }
        for record in self.records() {
            let Entry::Commit { schemas, .. } = record.entry else { continue };
            for schema in schemas {
                let key = format!(
                    "_lakeward/p/schemas/d/{}/{}.json",
                    schema.table.table.table, schema.table.version
                );
                let copy = self.objects.get(&key).and_then(|body| serde_json::from_slice(body).ok());
                if copy.as_ref() != Some(&schema) {
                    self.violated(format!(
                        "{key} is not the structure that record {} decided",
                        record.number
                    ));
                }
            }
        }
    }
}

fn seqs(body: &Bytes) -> Vec<i64> {
    serde_json::from_slice(body).unwrap()
}

/// A store in memory whose every request may be the last, fail, or come to nothing.
struct SimStore(Arc<Mutex<World>>);

fn unreachable() -> Error {
    Error::new(ErrorKind::LakeUnreachable, "simulated")
}

/// Gives the turn back to the scheduler once.
async fn turn() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl SimStore {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// One request: a turn before it works and one before its answer comes; either may be lost.
    async fn request<T>(&self, work: impl FnOnce(&mut World) -> T) -> Result<T> {
        turn().await;
        let answer = {
            let mut world = self.world();
            let fault_in = world.fault_in;
            if world.random.once_in(fault_in) {
                return Err(unreachable());
            }
            let answer = work(&mut world);
            let lost = world.random.once_in(fault_in);
            if lost { Err(unreachable()) } else { Ok(answer) }
        };
        turn().await;
        answer
    }
}

impl Store for SimStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.request(|world| world.objects.get(key).cloned()).await
    }

    async fn get_stretch(&self, key: &str, _: Stretch) -> Result<Option<(Bytes, u64)>> {
        unreachable!("the commit protocol reads whole objects: {key}")
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        turn().await;
        let given_up = {
            let mut world = self.world();
            let fault_in = world.fault_in;
            let late = world.random.once_in(fault_in);
            if late {
                world.seen.unknown += 1;
                world.late.push((key.to_owned(), body.clone()));
            }
            late
        };
        if given_up {
            return Err(unreachable());
        }
        let put = self.request(|world| world.put_if_absent(key, &body)).await?;
        let asked_twice = {
            let mut world = self.world();
            let fault_in = world.fault_in;
            put == Put::Created && world.random.once_in(fault_in)
        };
        if !asked_twice {
            return Ok(put);
        }
        // The answer was lost, and the store asked again inside.
        self.world().seen.own_refused += 1;
        self.request(|world| world.put_if_absent(key, &body)).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.request(|world| drop(world.objects.insert(key.to_owned(), body))).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.request(|world| drop(world.objects.remove(key))).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        self.request(|world| {
            let keys = world.objects.keys().filter(|key| key.starts_with(prefix) && key.as_str() > after);
            keys.take(limit).cloned().collect()
        })
        .await
    }

    async fn begin(&self, key: &str, lakeward_id: &str) -> Result<Upload> {
        self.request(|world| {
            world.uploads_begun += 1;
            let upload_id = format!("{:06}", world.uploads_begun);
            let upload = Upload { key: key.to_owned(), upload_id, lakeward_id: lakeward_id.to_owned() };
            world.uploads.insert(upload.upload_id.clone(), (upload.clone(), Bytes::new()));
            upload
        })
        .await
    }

    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        let sent = self.request(|world| {
            let (_, staged) = world.uploads.get_mut(&upload.upload_id)?;
            *staged = body.clone();
            Some(Part { number, etag: String::new(), bytes: body.len() as u64 })
        });
        sent.await?.ok_or_else(|| Error::new(ErrorKind::LostUpload, "simulated: no such upload"))
    }

    async fn sealed(&self, _upload: &Upload, _parts: &[Part]) -> Result<()> {
        Ok(())
    }

    async fn show(&self, upload: &Upload, parts: &[Part]) -> Result<Shown> {
        self.request(|world| world.show(upload, parts)).await
    }

    async fn abort(&self, upload: &OpenUpload) -> Result<()> {
        self.request(|world| world.abort(upload)).await
    }

    async fn open_uploads(&self, _pipeline: &str) -> Result<Vec<OpenUpload>> {
        self.request(|world| {
            let open = world.uploads.values().map(|(upload, _)| upload);
            open.map(|upload| OpenUpload { key: upload.key.clone(), upload_id: upload.upload_id.clone() })
                .collect()
        })
        .await
    }

    fn part_size(&self) -> usize {
        PART_SIZE
    }
}

fn table(seq: i64) -> TableId {
    TableId::new("d", if seq % 2 == 0 { "even" } else { "odd" })
}

/// The version of a table grows with the numbers, and its structure differs from process to process,
/// as it may where a version is read from a catalog that changes.
fn version(next_seq: i64) -> u32 {
    1 + u32::try_from(next_seq / 6).unwrap()
}

fn schema(table: TableId, version: u32, process: u64) -> Arc<TableSchema> {
    let name = format!("column_{}", process % 3);
    let columns = vec![Column::new(name, ColumnType::Json, true)];
    Arc::new(TableSchema::new(table, version, columns, vec![0], TypeOptions::default()))
}

fn checkpoint(next_seq: i64) -> Checkpoint {
    let position = Position::Binlog(BinlogPosition {
        server_uuid: Uuid::from_u128(1),
        file: "binlog.000001".into(),
        offset: next_seq.unsigned_abs(),
        gtid_set: None,
    });
    let state = TableState {
        schema_version: version(next_seq),
        status: TableStatus::Active,
        snapshot: SnapshotState::NotAsked,
        deleted_by_key: false,
    };
    let tables = [(table(0), state.clone()), (table(1), state)];
    Checkpoint {
        position,
        next_seq,
        commit_us: None,
        retired: 0,
        requests: Vec::new(),
        tables: Arc::new(tables.into()),
    }
}

/// One process of the pipeline, from its start to its end.
struct Process {
    store: Arc<SimStore>,
    id: u64,
    broken: Broken,
    staged: Vec<Upload>,
    files_staged: u64,
}

impl Process {
    async fn run(mut self) -> Result<()> {
        if self.broken == Broken::AbortBeforeClaim {
            let entry = Entry::Claim { checkpoint: None, writer: Uuid::nil() };
            let (claim, _) = Record::new(PIPELINE, u64::MAX, u64::MAX, 0, Vec::new(), entry)?;
            abort_revoked(&*self.store, PIPELINE, &claim, &[]).await;
        }
        let identity = if self.broken == Broken::SharedIdentity { 0 } else { u128::from(self.id) };
        let options = WriterOptions {
            pipeline: PIPELINE.into(),
            writer: Uuid::from_u128(identity),
            sharing: Sharing::Exclusive,
            shared_tables: false,
            incompatible_change: IncompatibleChange::NewColumn,
            taken_names: Vec::new(),
            stats: Arc::new(LakeStats::default()),
        };
        let (mut writer, opened) = Writer::open(Arc::clone(&self.store), options).await?;
        for lost in opened.lost {
            let mut files = Vec::new();
            for file in &lost.files {
                let seqs: Vec<i64> =
                    (file.seq.0..=file.seq.1).filter(|seq| table(*seq) == file.table).collect();
                files.push(self.stage(&mut writer, &seqs, version(lost.to.next_seq)).await?);
            }
            let repaired = writer.repair(lost.record, files).await;
            self.settled(&writer, repaired).await?;
            self.store.world().seen.repairs += 1;
        }
        let mut at = opened.resume.checkpoint;
        loop {
            let (next, rows) = match &at {
                None => (1, 0),
                Some(at) if at.next_seq > ROWS => return Ok(()),
                Some(at) => (at.next_seq, 1 + self.store.world().random.below(4).cast_signed()),
            };
            let to = checkpoint(next + rows);
            let committed = self.commit(&mut writer, next, &to).await;
            self.settled(&writer, committed).await?;
            at = Some(to);
        }
    }

    async fn commit(&mut self, writer: &mut Writer<SimStore>, next: i64, to: &Checkpoint) -> Result<()> {
        let version = version(to.next_seq);
        for name in [table(0), table(1)] {
            match writer.version(&schema(name, version, self.id)).await {
                Ok(_) => {}
                // Decided by another process with its own structure: a real source would have got it
                // with the resume; ours goes on with it.
                Err(error) if error.kind() == ErrorKind::Bug => {}
                Err(error) => return Err(error),
            }
        }
        let mut files = Vec::new();
        for name in [table(0), table(1)] {
            let seqs: Vec<i64> = (next..to.next_seq).filter(|seq| table(*seq) == name).collect();
            if !seqs.is_empty() {
                files.push(self.stage(writer, &seqs, version).await?);
            }
        }
        writer.commit(files, to.clone()).await
    }

    async fn stage(
        &mut self,
        writer: &mut Writer<SimStore>,
        seqs: &[i64],
        schema_version: u32,
    ) -> Result<FileEntry> {
        let (first, last) = (seqs[0], seqs[seqs.len() - 1]);
        let (epoch, n) = (writer.epoch(), self.files_staged);
        self.files_staged += 1;
        let key = file_key(&table(first), "dt=2026-11-21", PIPELINE, first, epoch, n);
        let upload = self.store.begin(&key, &format!("{PIPELINE}/{epoch}/{n}")).await?;
        self.staged.push(upload.clone());
        let part = self.store.part(&upload, 1, serde_json::to_vec(seqs).unwrap().into()).await?;
        Ok(FileEntry {
            upload,
            bytes: part.bytes,
            parts: vec![part],
            table: table(first),
            schema_version,
            partition: "dt=2026-11-21".into(),
            rows: seqs.len() as u64,
            seq: (first, last),
            commit_us: (0, 0),
            columns: Vec::new(),
        })
    }

    /// What the sink does after each commit: drops what is staged if it failed and that is allowed.
    async fn settled(&mut self, writer: &Writer<SimStore>, outcome: Result<()>) -> Result<()> {
        let staged = std::mem::take(&mut self.staged);
        let Err(error) = outcome else { return Ok(()) };
        let error = writer.explain(error).await;
        if writer.may_discard() || self.broken == Broken::DiscardUnsettled {
            for upload in staged {
                self.store.abort(&OpenUpload { key: upload.key, upload_id: upload.upload_id }).await?;
            }
        }
        Err(error)
    }
}

type Running = Pin<Box<dyn Future<Output = Result<()>>>>;

struct Schedule {
    world: Arc<Mutex<World>>,
    processes: u64,
}

impl Schedule {
    fn start(&mut self) -> Running {
        self.processes += 1;
        let broken = self.world.lock().unwrap().broken;
        let store = Arc::new(SimStore(Arc::clone(&self.world)));
        let process = Process { store, id: self.processes, broken, staged: Vec::new(), files_staged: 0 };
        Box::pin(process.run())
    }

    /// Whether the process ended.
    fn poll(&mut self, running: &mut Running) -> bool {
        match running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => {
                let mut world = self.world.lock().unwrap();
                let legal = match error.kind() {
                    ErrorKind::Fenced => {
                        world.seen.fenced += 1;
                        true
                    }
                    ErrorKind::LakeUnreachable => true,
                    ErrorKind::LostUpload => world.expiry,
                    _ => false,
                };
                if !legal {
                    world.violated(format!("a process ended with {}: {error}", error.kind().name()));
                }
                true
            }
        }
    }

    /// Three processes that come, pause, crash and go; then one alone, without faults.
    fn run(&mut self) {
        let mut running: Vec<(Running, u64)> = (0..3).map(|_| (self.start(), 0)).collect();
        for step in 0..600 {
            let (which, crash, pause) = {
                let mut world = self.world.lock().unwrap();
                world.nature();
                let pause = if world.random.once_in(25) { world.random.below(200) } else { 0 };
                (world.random.below(3) as usize, world.random.once_in(80), pause)
            };
            let (process, paused_until) = &mut running[which];
            if *paused_until > step {
                continue;
            }
            *paused_until = step + pause;
            if crash {
                self.world.lock().unwrap().seen.crashes += 1;
            }
            if crash || self.poll(process) {
                running[which] = (self.start(), step + pause);
            }
        }
        // The paused stay as they are and wake up once the last one has run.
        self.world.lock().unwrap().fault_in = 0;
        self.alone();
        for (mut process, _) in running {
            while !self.poll(&mut process) {}
        }
        while !self.world.lock().unwrap().late.is_empty() {
            self.world.lock().unwrap().nature();
        }
        self.world.lock().unwrap().expiry = false;
        self.alone();
        self.world.lock().unwrap().check_rows();
    }

    /// One process that runs to its end, again if an upload of it expired.
    fn alone(&mut self) {
        for _ in 0..20 {
            let mut process = self.start();
            let mut polls = 0;
            while !self.poll(&mut process) {
                self.world.lock().unwrap().nature();
                polls += 1;
                assert!(polls < 100_000, "a process alone does not end");
            }
        }
    }
}

/// Runs the schedules of `seeds`; gives what was seen, or the first violation.
fn run(seeds: std::ops::Range<u64>, broken: Broken, expiry: bool) -> Result<Seen, String> {
    let mut seen = Seen::default();
    for seed in seeds {
        let world = World {
            random: Random(seed),
            broken,
            fault_in: 12 + seed % 60,
            expiry,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            uploads_begun: 0,
            late: Vec::new(),
            last: None,
            violations: Vec::new(),
            seen,
        };
        let world = Arc::new(Mutex::new(world));
        Schedule { world: Arc::clone(&world), processes: 0 }.run();
        let mut world = world.lock().unwrap();
        if let Some(violation) = world.violations.first() {
            return Err(format!("seed {seed}, {broken:?}: {violation}"));
        }
        seen = std::mem::take(&mut world.seen);
    }
    Ok(seen)
}

#[test]
fn no_schedule_loses_doubles_or_forks() {
    let seen = run(0..4000, Broken::Nothing, false).unwrap();
    println!("{seen:?}");
    let Seen { fenced, unknown, landed_late, refused_late, own_refused, crashes, aborted, repairs } = seen;
    for happened in [fenced, unknown, landed_late, refused_late, own_refused, crashes, aborted] {
        assert!(happened > 100);
    }
    assert_eq!(repairs, 0);
}

#[test]
fn expired_uploads_are_repaired_in_any_schedule() {
    let seen = run(0..2000, Broken::Nothing, true).unwrap();
    println!("{seen:?}");
    assert!(seen.repairs > 100);
}

#[test]
fn every_broken_rule_is_noticed() {
    for broken in
        [Broken::UnconditionalPut, Broken::AbortBeforeClaim, Broken::SharedIdentity, Broken::DiscardUnsettled]
    {
        println!("{}", run(0..6000, broken, false).unwrap_err());
    }
}

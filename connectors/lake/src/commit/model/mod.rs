//! A simulation of the commit protocol. It drives the real [`super::writer::Writer`] over a simulated
//! store: up to three processes of one pipeline, any interleaving of their requests, pauses of any length,
//! crashes at any request, lost answers, puts that land long after they were given up, and uploads that
//! expire. Either each process is alone in its log ([`process`]), or they are workers that share it, with
//! topic partitions that several believe to have, living workers taken for gone, and exclusive writers
//! in between ([`worker`]). Every schedule follows from its seed, which a failure prints.
//!
//! After each change of the store it is checked that records are dense and never change, that their
//! checkpoints form one chain, that none is decided by a revoked epoch, that no file is visible which
//! no record names, that no decided upload is aborted, and that `shown_through` passes no record that is
//! not shown. At the end one process runs alone, and each row up to the last checkpoint must be visible
//! exactly once.
//!
//! That the simulation can see a fault is shown by breaking a rule at a time: see [`Broken`].

mod process;
mod store;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use lakeward_core::{ErrorKind, Position, Result};

use self::process::Process;
use self::store::SimStore;
use super::record::{Entry, FileEntry, Record};
use crate::objects::{OpenUpload, Part, Put, Shown, Upload};

const PIPELINE: &str = "p";
const LOG: &str = "_lakeward/p/log/";

/// Who the processes of a schedule are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Processes {
    /// Each means to be alone.
    Alone,
    /// Workers that share the log.
    Workers,
}

/// A rule that is broken on purpose, to see that the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// The store takes a conditional put although another object is there.
    UnconditionalPut,
    /// Leftovers are aborted before the claim that revokes their writer.
    AbortBeforeClaim,
    /// Uploads are aborted of workers that a claim admits.
    AbortLiving,
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
    /// Workers that began anew as others were faster, or took them for gone.
    rebalanced: u64,
    /// Commits of a worker right after a record of another.
    interleaved: u64,
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
    records: Vec<Record>,
    /// Epochs that are not revoked.
    living: BTreeSet<u64>,
    /// Whether they share the log.
    shared: bool,
    /// Whether a place keeps its identity.
    stays: bool,
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
    /// checkpoints, no record of a revoked epoch, nothing told as shown that is not.
    fn check_record(&mut self, key: &str, body: &Bytes) {
        let record: Record = serde_json::from_slice(body).unwrap();
        let (last, at) = match self.records.last() {
            Some(last) => (last.number, last.checkpoint().cloned()),
            None => (0, None),
        };
        let workers: BTreeSet<u64> = record.workers.iter().map(|worker| worker.epoch).collect();
        let (from, legal) = match &record.entry {
            Entry::Claim { checkpoint, .. } => {
                let before = if self.shared { std::mem::take(&mut self.living) } else { BTreeSet::new() };
                let revived = workers.iter().any(|epoch| *epoch != record.number && !before.contains(epoch));
                self.shared = !workers.is_empty();
                self.living = workers;
                self.living.insert(record.number);
                (checkpoint, record.epoch == record.number && !revived)
            }
            Entry::Commit { from, .. } => {
                let (epoch, before) = (record.epoch, self.records.last().map_or(0, |last| last.epoch));
                self.seen.interleaved += u64::from(self.shared && epoch != before);
                let same = if self.shared { workers == self.living } else { workers.is_empty() };
                (from, same && self.living.contains(&epoch))
            }
        };
        if record.number != last + 1 || *from != at || !legal {
            self.violated(format!("{key} does not follow record {last}: {record:?}"));
        }
        self.check_shown(&record);
        self.records.push(record);
    }

    /// Every record that a new one calls shown is, or was repaired.
    fn check_shown(&mut self, record: &Record) {
        if self.records.last().is_some_and(|last| last.shown_through > record.shown_through) {
            self.violated(format!("record {} takes back what was shown", record.number));
        }
        let repaired = self.records.iter().filter_map(|record| match &record.entry {
            Entry::Commit { repairs: Some(repairs), .. } => Some(&repairs.lost),
            Entry::Commit { repairs: None, .. } | Entry::Claim { .. } => None,
        });
        let repaired: BTreeSet<&String> = repaired.flatten().collect();
        let told = self.records.partition_point(|one| one.number <= record.shown_through);
        let told = self.records.get(..told).unwrap_or_default();
        let keys = files(told).map(|file| &file.upload.key);
        let unseen = keys.filter(|key| !repaired.contains(key)).find(|key| !self.objects.contains_key(*key));
        if let Some(key) = unseen.cloned() {
            self.violated(format!("record {} calls {key} shown", record.number));
        }
    }

    /// The files that records name.
    fn files(&self) -> impl Iterator<Item = &FileEntry> {
        files(&self.records)
    }

    fn show(&mut self, upload: &Upload, parts: &[Part]) -> Shown {
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        if let Some((staged, body)) = self.uploads.remove(&upload.upload_id) {
            assert_eq!((&staged, body.len() as u64), (upload, bytes));
            if !self.files().any(|file| file.upload == *upload) {
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
        let named = self.files().any(|file| file.upload.upload_id == upload.upload_id);
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
        let at = self.records.last().and_then(Record::checkpoint);
        let committed: Vec<i64> = match at.map(|at| (&at.position, at.next_seq)) {
            Some((Position::Kafka(position), _)) => worker::rows(position),
            Some((_, next)) => (1..next).collect(),
            None => Vec::new(),
        };
        let visible = self.objects.iter().filter(|(key, _)| key.ends_with(".parquet"));
        let mut rows: Vec<i64> = visible.flat_map(|(_, body)| seqs(body)).collect();
        rows.sort_unstable();
        if rows != committed {
            self.violated(format!("visible rows are {rows:?}, committed ones {committed:?}"));
        }
        for record in self.records.clone() {
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

fn files(records: &[Record]) -> impl Iterator<Item = &FileEntry> {
    let files = records.iter().filter_map(|record| match &record.entry {
        Entry::Commit { files, .. } => Some(files),
        Entry::Claim { .. } => None,
    });
    files.flatten()
}

fn seqs(body: &Bytes) -> Vec<i64> {
    serde_json::from_slice(body).unwrap()
}

type Running = Pin<Box<dyn Future<Output = Result<()>>>>;

struct Schedule {
    world: Arc<Mutex<World>>,
    processes: Processes,
    started: u64,
}

impl Schedule {
    fn process(&mut self) -> Process {
        self.started += 1;
        let broken = self.world.lock().unwrap().broken;
        Process::new(Arc::new(SimStore(Arc::clone(&self.world))), self.started, broken)
    }

    /// A process in one of three places. Workers begin anew under the identity of the place, where the
    /// seed says so: as a process does that opens its sink again.
    fn start(&mut self, place: usize) -> Running {
        let mut process = self.process();
        match self.processes {
            Processes::Alone => Box::pin(process.run()),
            Processes::Workers => {
                if self.world.lock().unwrap().stays {
                    process.id = 1_000 + place as u64;
                }
                Box::pin(worker::run(process))
            }
        }
    }

    /// A process that brings everything to its end.
    fn last(&mut self) -> Running {
        let mut process = self.process();
        match self.processes {
            Processes::Alone => Box::pin(process.run()),
            Processes::Workers => {
                Box::pin(async move { worker::share(&mut process, false, &worker::all()).await })
            }
        }
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
                    ErrorKind::Rebalanced => {
                        world.seen.rebalanced += 1;
                        self.processes == Processes::Workers
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
        let mut running: Vec<(Running, u64)> = (0..3).map(|place| (self.start(place), 0)).collect();
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
                running[which] = (self.start(which), step + pause);
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
            let mut process = self.last();
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
fn run(
    processes: Processes,
    seeds: std::ops::Range<u64>,
    broken: Broken,
    expiry: bool,
) -> Result<Seen, String> {
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
            records: Vec::new(),
            living: BTreeSet::new(),
            shared: false,
            stays: seed % 2 == 0,
            violations: Vec::new(),
            seen,
        };
        let world = Arc::new(Mutex::new(world));
        Schedule { world: Arc::clone(&world), processes, started: 0 }.run();
        let mut world = world.lock().unwrap();
        if let Some(violation) = world.violations.first() {
            return Err(format!("{processes:?}, seed {seed}, {broken:?}: {violation}"));
        }
        seen = std::mem::take(&mut world.seen);
    }
    Ok(seen)
}

#[test]
fn no_schedule_loses_doubles_or_forks() {
    let seen = run(Processes::Alone, 0..4000, Broken::Nothing, false).unwrap();
    println!("{seen:?}");
    let Seen { fenced, unknown, landed_late, refused_late, own_refused, crashes, aborted, .. } = seen;
    for happened in [fenced, unknown, landed_late, refused_late, own_refused, crashes, aborted] {
        assert!(happened > 100);
    }
    assert_eq!((seen.repairs, seen.interleaved), (0, 0));
}

#[test]
fn no_schedule_of_workers_loses_doubles_or_forks() {
    let seen = run(Processes::Workers, 0..2500, Broken::Nothing, false).unwrap();
    println!("{seen:?}");
    let Seen { fenced, rebalanced, interleaved, landed_late, refused_late, crashes, aborted, .. } = seen;
    for happened in [fenced, rebalanced, interleaved, landed_late, refused_late, crashes, aborted] {
        assert!(happened > 100);
    }
    assert_eq!(seen.repairs, 0);
}

#[test]
fn expired_uploads_are_repaired_in_any_schedule() {
    for processes in [Processes::Alone, Processes::Workers] {
        let seen = run(processes, 0..1200, Broken::Nothing, true).unwrap();
        println!("{processes:?}: {seen:?}");
        assert!(seen.repairs > 100);
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    for broken in
        [Broken::UnconditionalPut, Broken::AbortBeforeClaim, Broken::SharedIdentity, Broken::DiscardUnsettled]
    {
        println!("{}", run(Processes::Alone, 0..6000, broken, false).unwrap_err());
    }
    // Workers of one identity only revoke each other.
    for broken in
        [Broken::UnconditionalPut, Broken::AbortBeforeClaim, Broken::AbortLiving, Broken::DiscardUnsettled]
    {
        println!("{}", run(Processes::Workers, 0..6000, broken, false).unwrap_err());
    }
}

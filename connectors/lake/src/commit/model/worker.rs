//! A worker of a pipeline over Kafka, which shares the log: it has some topic partitions, whoever else has
//! them, and takes other workers for gone at random. Now and then it is an exclusive writer of all of them.
//!
//! Event e of topic partition p has the number 4 e + p, and is a row of the table `even` or `odd`. Capture's
//! checkpoint k covers [`events`] of each.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use lakeward_core::{
    Checkpoint, Column, ColumnType, KafkaPosition, LostRange, Position, Result, SnapshotState, TableSchema,
    TableState, TableStatus, TopicPartitionPosition, TypeOptions,
};

use super::super::shared::{Gone, Sharing};
use super::super::writer::Writer;
use super::process::{Process, table};
use super::store::SimStore;
use super::{Broken, World};

/// Topic partitions.
const PARTITIONS: i32 = 4;
/// The last checkpoint of the capturing side.
const CHECKPOINTS: u64 = 9;

/// Events of topic partition `number` before checkpoint `at` of the capturing side.
fn events(number: i32, at: u64) -> u64 {
    (1..=at).map(|at| (at * 7 + u64::from(number.unsigned_abs()) * 5) % 3).sum()
}

/// The numbers of its events in a range of them.
fn seqs(number: i32, events: std::ops::Range<u64>) -> impl Iterator<Item = i64> {
    events.map(move |event| event.cast_signed() * i64::from(PARTITIONS) + i64::from(number))
}

/// The rows that are in the lake at `position`.
pub(super) fn rows(position: &KafkaPosition) -> Vec<i64> {
    let mut rows: Vec<i64> =
        position.iter().flat_map(|(_, number, place)| seqs(number, 0..place.events)).collect();
    rows.sort_unstable();
    rows
}

fn version(checkpoint: u64) -> u32 {
    1 + u32::try_from(checkpoint / 2).unwrap()
}

/// Each version changes the type of the column, so that it has another name in the lake.
fn schema(seq: i64, version: u32) -> Arc<TableSchema> {
    let ty = if version.is_multiple_of(2) { ColumnType::Json } else { ColumnType::Date };
    let columns = vec![Column::new("column", ty, true)];
    Arc::new(TableSchema::new(table(seq), version, columns, vec![0], TypeOptions::default()))
}

/// Checkpoint `at` of the capturing side, in these topic partitions.
fn part(own: &BTreeSet<i32>, at: u64) -> Checkpoint {
    let mut position = KafkaPosition::default();
    for number in own {
        let place = TopicPartitionPosition {
            offset: events(*number, at).cast_signed() * 2,
            events: events(*number, at),
            checkpoint: at,
            commit_us: Some(at.cast_signed()),
            ..TopicPartitionPosition::default()
        };
        position.topics.entry("t".into()).or_default().insert(*number, place);
    }
    let state = TableState {
        schema_version: version(at),
        status: TableStatus::Active,
        snapshot: SnapshotState::NotAsked,
        deleted_by_key: false,
        dropped: false,
    };
    Checkpoint {
        position: Position::Kafka(position),
        next_seq: 8 * at.cast_signed() + 8,
        commit_us: Some(at.cast_signed()),
        retired: 0,
        prepared: Vec::new(),
        requests: Vec::new(),
        tables: Arc::new([(table(0), state.clone()), (table(1), state)].into()),
    }
}

fn place(checkpoint: Option<&Checkpoint>, number: i32) -> TopicPartitionPosition {
    match checkpoint.map(|checkpoint| &checkpoint.position) {
        Some(Position::Kafka(position)) => position.get("t", number).cloned().unwrap_or_default(),
        Some(_) | None => TopicPartitionPosition::default(),
    }
}

/// Takes each of the workers that it is asked of for gone, once in so many times.
fn gone(world: &Arc<Mutex<World>>) -> Gone {
    let world = Arc::clone(world);
    Arc::new(move |workers| {
        let mut world = world.lock().unwrap();
        let gone = workers.iter().filter(|_| world.random.once_in(6)).map(|worker| worker.epoch);
        let gone: BTreeSet<u64> = gone.collect();
        Box::pin(std::future::ready(gone))
    })
}

/// What a worker does from its start to its end.
pub(super) async fn run(mut process: Process) -> Result<()> {
    let (exclusive, own) = {
        let mut world = process.store.world();
        let exclusive = world.random.once_in(12);
        let own = (0..PARTITIONS).filter(|_| exclusive || world.random.once_in(2));
        (exclusive, own.collect::<BTreeSet<i32>>())
    };
    share(&mut process, exclusive, &own).await
}

/// As [`run`], to the end of some topic partitions.
pub(super) async fn share(process: &mut Process, exclusive: bool, own: &BTreeSet<i32>) -> Result<()> {
    if process.broken == Broken::AbortBeforeClaim {
        process.abort_all().await?;
    }
    let sharing = if exclusive { Sharing::Exclusive } else { Sharing::Shared(gone(&process.store.0)) };
    let mut options = process.options(sharing);
    // Some have another config: they would give columns other names.
    if process.id % 3 == 1 {
        options.taken_names.push("column_v2".into());
    }
    let (mut writer, opened) = Writer::open(Arc::clone(&process.store), options).await?;
    if process.broken == Broken::AbortLiving {
        process.abort_all().await?;
    }
    for lost in opened.lost {
        repair(process, &mut writer, &lost).await?;
        process.store.world().seen.repairs += 1;
    }
    let mut at = opened.resume.checkpoint;
    loop {
        let reached = |number: &i32| place(at.as_ref(), *number).checkpoint;
        let (Some(least), Some(most)) = (own.iter().map(reached).min(), own.iter().map(reached).max()) else {
            return Ok(());
        };
        if least == CHECKPOINTS {
            return Ok(());
        }
        let further = 1 + process.store.world().random.below(3);
        let to = part(own, most.max(least + further).min(CHECKPOINTS));
        let committed = commit(process, &mut writer, at.as_ref(), own, &to).await;
        process.settled(&writer, committed).await?;
        at = Some(at.map_or_else(|| to.clone(), |at| at.with(&to)));
    }
}

async fn commit(
    process: &mut Process,
    writer: &mut Writer<SimStore>,
    from: Option<&Checkpoint>,
    own: &BTreeSet<i32>,
    to: &Checkpoint,
) -> Result<()> {
    let last = to.tables.values().map(|state| state.schema_version).max().unwrap();
    let mut files = Vec::new();
    for name in 0..2 {
        for version in 1..=last {
            writer.version(&schema(name, version)).await?;
        }
        let of_table = own.iter().filter(|number| table(i64::from(**number)) == table(name));
        let rows = of_table
            .flat_map(|number| seqs(*number, place(from, *number).events..place(Some(to), *number).events));
        let mut rows: Vec<i64> = rows.collect();
        rows.sort_unstable();
        if !rows.is_empty() {
            files.push(process.stage(writer, &rows, last).await?);
        }
    }
    writer.commit(files, to.clone()).await
}

async fn repair(process: &mut Process, writer: &mut Writer<SimStore>, lost: &LostRange) -> Result<()> {
    let mut files = Vec::new();
    for file in &lost.files {
        let rows = (0..PARTITIONS).flat_map(|number| {
            seqs(number, place(Some(&lost.from), number).events..place(Some(&lost.to), number).events)
        });
        let own = |seq: &i64| table(*seq) == file.table && (file.seq.0..=file.seq.1).contains(seq);
        let mut rows: Vec<i64> = rows.filter(own).collect();
        rows.sort_unstable();
        files.push(process.stage(writer, &rows, 1).await?);
    }
    let repaired = writer.repair(lost.record, files).await;
    process.settled(writer, repaired).await
}

/// All topic partitions.
pub(super) fn all() -> BTreeSet<i32> {
    (0..PARTITIONS).collect()
}

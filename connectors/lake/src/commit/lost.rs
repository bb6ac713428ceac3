//! Decided files that vanished before they were visible: which rows were in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::error::ANEW;
use lakeward_core::{
    Checkpoint, Error, ErrorKind, KafkaPosition, LostFile, LostRange, Position, Result, TableId,
};

use super::log::Log;
use super::places;
use super::record::{Entry, FileEntry};
use super::versions::Versions;
use super::writer::{WriterOptions, bug};
use crate::objects::Store;

/// The ranges that the lost files of records held, to be read again.
pub(super) async fn ranges<S: Store>(
    store: &S,
    log: &Log<S>,
    options: &WriterOptions,
    unrepaired: &BTreeMap<u64, Vec<FileEntry>>,
    versions: &mut Versions,
) -> Result<Vec<LostRange>> {
    let mut ranges = Vec::new();
    for (&number, files) in unrepaired {
        let (from, to) = range_of(log, number).await?;
        let Some((from, to)) = part(from, to) else {
            let message = "files of the pipeline's first commit are lost; where it began is not recorded";
            return Err(unrepairable(message, number, files));
        };
        // Versions that the source found itself are those that it found then.
        let known = if options.all_versions { &to } else { &from };
        let schemas = versions.of_checkpoint(store, options, Some(known)).await?;
        let files = files.iter().cloned().map(|file| LostFile {
            key: file.upload.key,
            table: file.table,
            seq: file.seq,
            topic_partitions: file.topic_partitions,
            commit_us: file.commit_us,
        });
        ranges.push(LostRange { record: number, from, to, schemas, files: files.collect() });
    }
    Ok(ranges)
}

/// The range whose rows the files of record `number` hold: for a repair, that of the record which
/// lost them first.
async fn range_of<S: Store>(log: &Log<S>, mut number: u64) -> Result<(Option<Checkpoint>, Checkpoint)> {
    loop {
        match log.record(number).await?.map(|record| record.entry) {
            Some(Entry::Commit { from, to, repairs: None, .. }) => return Ok((from, to)),
            Some(Entry::Commit { repairs: Some(repairs), .. }) if repairs.record < number => {
                number = repairs.record;
            }
            Some(Entry::Commit { .. } | Entry::Claim { .. }) | None => {
                return Err(bug("the range of lost files is not known").at("record", number));
            }
        }
    }
}

/// What of a range the record moved: the topic partitions of its worker, from their places to those where
/// it brought them. `None` where it is not known where the range begins: topic partitions that no
/// checkpoint names begin at their beginning, a binlog begins where the config said.
fn part(from: Option<Checkpoint>, to: Checkpoint) -> Option<(Checkpoint, Checkpoint)> {
    let Position::Kafka(reached) = &to.position else { return Some((from?, to)) };
    let begun = match from.as_ref().map(|from| &from.position) {
        Some(Position::Kafka(begun)) => begun.clone(),
        Some(_) => return None,
        None => KafkaPosition::default(),
    };
    let moved = places::moved(&begun, reached);
    let from = from.unwrap_or_else(|| Checkpoint { tables: Arc::default(), ..to.clone() });
    let from = Checkpoint { position: Position::Kafka(places::of_those_in(&begun, &moved)), ..from };
    Some((from, Checkpoint { position: Position::Kafka(moved), ..to }))
}

/// That lost files cannot be put back.
pub(super) fn unrepairable(message: &str, number: u64, lost: &[FileEntry]) -> Error {
    let keys: Vec<&str> = lost.iter().map(|file| file.upload.key.as_str()).collect();
    let first = lost.iter().map(|file| file.seq.0).min().unwrap_or(0);
    let last = lost.iter().map(|file| file.seq.1).max().unwrap_or(0);
    Error::new(ErrorKind::LostUpload, message)
        .at("record", number)
        .at("seq", format!("{first} to {last}"))
        .at("keys", keys.join(" "))
        .remedy(format!("restore them from a copy of the store, or begin anew: {ANEW}"))
}

/// How many rows each table has in `files`.
pub(super) fn rows_by_table(files: &[FileEntry]) -> BTreeMap<&TableId, u64> {
    let mut rows = BTreeMap::new();
    for file in files {
        *rows.entry(&file.table).or_insert(0) += file.rows;
    }
    rows
}

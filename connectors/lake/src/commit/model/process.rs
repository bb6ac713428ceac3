//! A process of a pipeline over a binlog, alone in its log as long as nobody revokes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::stats::LakeStats;
use lakeward_core::{
    BinlogPosition, Checkpoint, Column, ColumnType, ErrorKind, Position, Result, SnapshotState, TableId,
    TableSchema, TableState, TableStatus, TypeOptions,
};
use uuid::Uuid;

use super::super::record::{Entry, FileEntry, Record};
use super::super::shared::Sharing;
use super::super::show::abort_revoked;
use super::super::writer::{Writer, WriterOptions};
use super::store::SimStore;
use super::{Broken, PIPELINE};
use crate::columns::IncompatibleChange;
use crate::layout::file_key;
use crate::objects::{OpenUpload, Store, Upload};

/// A process ends its run once it has committed this many rows.
const ROWS: i64 = 14;

pub(super) fn table(seq: i64) -> TableId {
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
        dropped: false,
    };
    let tables = [(table(0), state.clone()), (table(1), state)];
    Checkpoint {
        position,
        next_seq,
        commit_us: None,
        retired: 0,
        prepared: Vec::new(),
        requests: Vec::new(),
        tables: Arc::new(tables.into()),
    }
}

/// One process of the pipeline, from its start to its end.
pub(super) struct Process {
    pub(super) store: Arc<SimStore>,
    /// Its identity.
    pub(super) id: u64,
    pub(super) broken: Broken,
    staged: Vec<Upload>,
    files_staged: u64,
}

impl Process {
    pub(super) fn new(store: Arc<SimStore>, id: u64, broken: Broken) -> Self {
        Process { store, id, broken, staged: Vec::new(), files_staged: 0 }
    }

    pub(super) fn options(&self, sharing: Sharing) -> WriterOptions {
        let identity = if self.broken == Broken::SharedIdentity { 0 } else { u128::from(self.id) };
        WriterOptions {
            all_versions: false,
            pipeline: PIPELINE.into(),
            writer: Uuid::from_u128(identity),
            sharing,
            shared_tables: false,
            incompatible_change: IncompatibleChange::NewColumn,
            taken_names: Vec::new(),
            stats: Arc::new(LakeStats::default()),
        }
    }

    /// Aborts every upload that there is, as though a claim had revoked everybody.
    pub(super) async fn abort_all(&self) -> Result<()> {
        let entry = Entry::Claim { checkpoint: None, writer: Uuid::nil() };
        let (claim, _) = Record::new(PIPELINE, u64::MAX, u64::MAX, 0, Vec::new(), entry)?;
        abort_revoked(&*self.store, PIPELINE, &claim, &[]).await;
        Ok(())
    }

    pub(super) async fn run(mut self) -> Result<()> {
        if self.broken == Broken::AbortBeforeClaim {
            self.abort_all().await?;
        }
        let options = self.options(Sharing::Exclusive);
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

    /// Stages a file of rows of one table.
    pub(super) async fn stage(
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
            topic_partitions: BTreeMap::new(),
            commit_us: (0, 0),
            columns: Vec::new(),
        })
    }

    /// What the sink does after each commit: drops what is staged if it failed and that is allowed.
    pub(super) async fn settled(&mut self, writer: &Writer<SimStore>, outcome: Result<()>) -> Result<()> {
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

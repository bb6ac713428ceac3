//! The way from the async side to the writer's thread: in order, bounded by bytes.
//!
//! Guarantee: what waits here and is being encoded is at most the budget, or one item where that alone is larger: each
//! item holds its part of a semaphore until the writer is done with it. An error of the writer ends it; whoever asks
//! next is told that error, and nothing after it.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lakeward_core::{
    ByteSize, ChangeBatch, Checkpoint, Error, ErrorKind, Result, SchemaChange, TableMark, TableSchema,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::writer::Writer;

/// What the writer is to do.
pub(super) enum Order {
    /// Take up a table version.
    Schema(Arc<TableSchema>),
    /// Send change events.
    Write(ChangeBatch),
    /// Send a mark.
    Mark(TableMark),
    /// Tell what a statement does.
    Change(SchemaChange),
}

impl Order {
    fn bytes(&self) -> usize {
        match self {
            Order::Write(batch) => batch.bytes(),
            Order::Change(change) => change.statement.len(),
            Order::Schema(_) | Order::Mark(_) => 0,
        }
    }
}

enum Item {
    Order(Order, OwnedSemaphorePermit),
    /// With a heartbeat of this time (µs UTC), where one is due.
    Commit(Checkpoint, Option<i64>, oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<()>),
}

/// The async end.
pub(super) struct Orders {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    whole: u32,
    failed: Arc<Mutex<Option<Error>>>,
}

/// One permit stands for so many bytes.
const GRAIN: usize = 1024;
/// The part of the memory that may wait for the writer: one of so many.
const PART: u64 = 4;

impl Orders {
    /// Starts the thread of `writer`.
    pub(super) fn to(writer: Writer, memory: ByteSize) -> Result<Orders> {
        let whole = u32::try_from(memory.0 / PART / GRAIN as u64).unwrap_or(u32::MAX / 2).max(1);
        let room = Arc::new(Semaphore::new(whole as usize));
        let (items, orders) = mpsc::channel();
        let failed = Arc::new(Mutex::new(None));
        let (told, open) = (Arc::clone(&failed), Arc::clone(&room));
        let spawned = thread::Builder::new().name("kafka-writer".to_owned()).spawn(move || {
            if let Err(error) = follow(writer, &orders) {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            // Whoever waits for room learns of the end.
            open.close();
        });
        spawned.map_err(|error| Error::new(ErrorKind::Io, "a thread cannot be started").caused_by(error))?;
        Ok(Orders { items, room, whole, failed })
    }

    /// Hands over `order` as soon as there is room.
    pub(super) async fn give(&mut self, order: Order) -> Result<()> {
        let wanted = u32::try_from(order.bytes().div_ceil(GRAIN)).unwrap_or(u32::MAX).min(self.whole);
        let Ok(permit) = Arc::clone(&self.room).acquire_many_owned(wanted).await else {
            return Err(self.failure());
        };
        self.items.send(Item::Order(order, permit)).map_err(|_| self.failure())
    }

    /// Commits what was handed over, with `checkpoint` and, where one is due, a heartbeat of that time (µs UTC).
    pub(super) async fn commit(&mut self, checkpoint: Checkpoint, heartbeat: Option<i64>) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.items.send(Item::Commit(checkpoint, heartbeat, done)).map_err(|_| self.failure())?;
        answer.await.unwrap_or_else(|_| Err(self.failure()))
    }

    /// Waits for the end of the writer.
    pub(super) async fn close(self) -> Result<()> {
        let (done, answer) = oneshot::channel();
        if self.items.send(Item::Close(done)).is_err() || answer.await.is_err() {
            // The first error was told already; what is open is aborted by the brokers, or by the next start.
            tracing::debug!("the writer had ended before it was closed");
        }
        Ok(())
    }

    fn failure(&self) -> Error {
        let told = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        told.unwrap_or_else(|| Error::new(ErrorKind::Bug, "the writer's thread has ended"))
    }
}

fn follow(mut writer: Writer, orders: &mpsc::Receiver<Item>) -> Result<()> {
    loop {
        match orders.recv() {
            Ok(Item::Order(order, permit)) => {
                match order {
                    Order::Schema(schema) => writer.schema(&schema)?,
                    Order::Write(batch) => writer.write(batch)?,
                    Order::Mark(mark) => writer.mark(&mark)?,
                    Order::Change(change) => writer.schema_change(&change)?,
                }
                drop(permit);
            }
            Ok(Item::Commit(checkpoint, heartbeat, done)) => {
                let committed = writer.commit(checkpoint, heartbeat);
                let failed = committed.is_err();
                // Whoever asked may be gone; what is committed stays.
                let _gone = done.send(committed);
                if failed {
                    return Ok(());
                }
            }
            Ok(Item::Close(done)) => {
                writer.close();
                let _gone = done.send(());
                return Ok(());
            }
            // The sink was dropped: as if the process had been killed.
            Err(mpsc::RecvError) => return Ok(()),
        }
    }
}

//! A store in memory whose every request may be the last, fail, or come to nothing.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use bytes::Bytes;
use lakeward_core::{Error, ErrorKind, Result};

use super::World;
use crate::objects::{OpenUpload, PART_SIZE, Part, Put, Shown, Store, Stretch, Upload};

/// See the module.
pub(super) struct SimStore(pub(super) Arc<Mutex<World>>);

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
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
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

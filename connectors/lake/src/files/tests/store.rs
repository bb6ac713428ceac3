//! A store in memory that holds staged files and can refuse parts.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use lakeward_core::{Error, ErrorKind, Result};

use crate::objects::{OpenUpload, Part, Put, Shown, Store, Stretch, Upload};

#[derive(Default)]
struct Staged {
    parts: BTreeMap<u32, Bytes>,
    sealed: bool,
    aborted: bool,
}

#[derive(Default)]
pub(super) struct MemoryStore {
    files: Mutex<BTreeMap<String, Staged>>,
    pub(super) fail_part: AtomicBool,
    /// No part is answered.
    pub(super) hold_parts: AtomicBool,
}

impl MemoryStore {
    pub(super) const PART: usize = 4 << 10;

    /// The bytes of a file that was sealed.
    pub(super) fn sealed(&self, key: &str) -> Bytes {
        let files = self.files.lock().unwrap();
        let file = &files[key];
        assert!(file.sealed && !file.aborted);
        file.parts.values().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>().into()
    }

    pub(super) fn begun(&self) -> usize {
        self.files.lock().unwrap().len()
    }

    pub(super) fn left(&self) -> usize {
        self.files.lock().unwrap().values().filter(|file| !file.aborted).count()
    }
}

impl Store for MemoryStore {
    async fn get(&self, _: &str) -> Result<Option<Bytes>> {
        Ok(None)
    }

    async fn get_stretch(&self, _: &str, _: Stretch) -> Result<Option<(Bytes, u64)>> {
        Ok(None)
    }

    async fn put_if_absent(&self, _: &str, _: Bytes) -> Result<Put> {
        Ok(Put::Created)
    }

    async fn put(&self, _: &str, _: Bytes) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn list(&self, _: &str, _: &str, _: usize) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn begin(&self, key: &str, lakeward_id: &str) -> Result<Upload> {
        let new = self.files.lock().unwrap().insert(key.into(), Staged::default()).is_none();
        assert!(new, "the key {key} is used twice");
        Ok(Upload { key: key.into(), upload_id: key.into(), lakeward_id: lakeward_id.into() })
    }

    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        tokio::task::yield_now().await;
        if self.hold_parts.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fail_part.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::LakeUnreachable, "no parts today"));
        }
        let bytes = body.len() as u64;
        let mut files = self.files.lock().unwrap();
        let file = files.get_mut(&upload.key).unwrap();
        assert!(!file.sealed && !file.aborted && body.len() <= Self::PART);
        assert!(file.parts.insert(number, body).is_none());
        Ok(Part { number, etag: String::new(), bytes })
    }

    async fn sealed(&self, upload: &Upload, parts: &[Part]) -> Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.get_mut(&upload.key).unwrap();
        let sent: Vec<(u32, u64)> =
            file.parts.iter().map(|(number, part)| (*number, part.len() as u64)).collect();
        assert_eq!(sent, parts.iter().map(|part| (part.number, part.bytes)).collect::<Vec<_>>());
        let full = sent.split_last().unwrap().1.iter().all(|part| part.1 == Self::PART as u64);
        assert!(full && sent.iter().map(|part| part.0).eq(1..=u32::try_from(sent.len()).unwrap()));
        file.sealed = true;
        Ok(())
    }

    async fn show(&self, _: &Upload, _: &[Part]) -> Result<Shown> {
        panic!("staging never shows a file");
    }

    async fn abort(&self, upload: &OpenUpload) -> Result<()> {
        self.files.lock().unwrap().get_mut(&upload.key).unwrap().aborted = true;
        Ok(())
    }

    async fn open_uploads(&self, _: &str) -> Result<Vec<OpenUpload>> {
        Ok(Vec::new())
    }

    fn part_size(&self) -> usize {
        Self::PART
    }
}

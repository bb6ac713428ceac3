//! A lake in a bucket.
//!
//! A file is a multipart upload: no listing and no reader sees it until it is completed, and
//! completing shows it whole. Its metadata `lakeward-id` proves, once it is visible, which upload it
//! came from. `CompleteMultipartUpload` may be repeated: whether it succeeds or the upload is gone, the
//! object must be there with our id and size (ETags say nothing: KMS changes them; and versitygw 1.8
//! answers 200 for an upload that is gone where any object has its key). An upload that is gone without an
//! object is looked for several times before it is called lost.
//!
//! A record is put with `If-None-Match: *`. 412 is the definite "something is there"; 409, 5xx,
//! time-outs and broken links are tried again, so a put that was stored although its answer was lost
//! shows as 412 too, and the caller tells by the record's hash (Amazon S3 User Guide, "How to prevent
//! object overwrites with conditional writes").

mod complete;
mod connect;
mod probe;
mod settle;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;
use lakeward_core::stats::LakeStats;
use lakeward_core::{Clock, Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Semaphore;

pub use connect::S3Options;
use settle::{Failure, Refused};

use super::{OpenUpload, PART_SIZE, Part, Put, Shown, Store, Stretch, Upload};
use crate::config::Sse;

const ID: &str = "lakeward-id";
/// Metadata is a header: ASCII only.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');
/// How often, and how far apart, an object is looked for whose upload is gone.
const LOOKS: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A bucket, below a prefix.
pub struct S3 {
    client: Client,
    bucket: String,
    prefix: String,
    sse: Sse,
    kms_key: Option<String>,
    clock: Arc<dyn Clock>,
    stats: Arc<LakeStats>,
    jitter: AtomicU64,
    /// As many as parts may be under way.
    part_turns: Semaphore,
    patience: Duration,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl S3 {
    fn full_key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    fn relative<'a>(&self, full: &'a str) -> Option<&'a str> {
        if self.prefix.is_empty() { Some(full) } else { full.strip_prefix(&self.prefix)?.strip_prefix('/') }
    }

    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match self.sse {
            Sse::None => (None, None),
            Sse::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Sse::Kms => (Some(ServerSideEncryption::AwsKms), self.kms_key.clone()),
        }
    }

    async fn put_object(&self, key: &str, body: Bytes, absent: bool) -> Result<Result<(), Refused>> {
        let (sse, kms_key) = self.encryption();
        self.settle("PutObject", key, || async {
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(self.full_key(key))
                .set_if_none_match(absent.then(|| "*".to_owned()))
                .set_server_side_encryption(sse.clone())
                .set_ssekms_key_id(kms_key.clone())
                .body(ByteStream::from(body.clone()))
                .send()
                .await?;
            Ok(())
        })
        .await
    }

    /// Id and size of a visible object.
    async fn head(&self, key: &str) -> Result<Option<(Option<String>, u64)>> {
        let head = self
            .settle("HeadObject", key, || async {
                Ok(self.client.head_object().bucket(&self.bucket).key(self.full_key(key)).send().await?)
            })
            .await?;
        match head {
            Ok(head) => {
                let id = head.metadata().and_then(|metadata| metadata.get(ID)).cloned();
                Ok(Some((id, head.content_length().and_then(|size| size.try_into().ok()).unwrap_or(0))))
            }
            Err(refused) if refused.status == 404 => Ok(None),
            Err(refused) => Err(self.refused("HeadObject", key, &refused)),
        }
    }

    /// What became of an upload that is gone.
    async fn look(&self, upload: &Upload, bytes: u64) -> Result<Shown> {
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(self.jittered(LOOK_AGAIN)).await;
            }
            let Some((id, size)) = self.head(&upload.key).await? else { continue };
            if id.as_deref() == Some(id_header(&upload.lakeward_id).as_str()) && size == bytes {
                return Ok(Shown::Visible);
            }
            return Err(Error::new(
                ErrorKind::LakeCorrupt,
                "a foreign object stands where a decided file belongs",
            )
            .at("bucket", &self.bucket)
            .at("key", self.full_key(&upload.key))
            .remedy("move the object away and start again"));
        }
        Ok(Shown::Lost)
    }
}

fn id_header(lakeward_id: &str) -> String {
    utf8_percent_encode(lakeward_id, PLAIN).to_string()
}

fn part_number(number: u32) -> Result<i32> {
    i32::try_from(number)
        .map_err(|_| Error::new(ErrorKind::Bug, "a file has too many parts").at("part", number))
}

/// The stretch of an object of which the store sent either that, or all.
fn within(body: Bytes, size: u64, stretch: Stretch) -> Bytes {
    let place = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(body.len());
    match stretch {
        _ if body.len() as u64 != size => body,
        Stretch::Last(bytes) => body.slice(place(size.saturating_sub(bytes))..),
        Stretch::From { offset, bytes } => body.slice(place(offset)..place(offset.saturating_add(bytes))),
    }
}

impl Store for S3 {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let got = self
            .settle("GetObject", key, || async {
                let object =
                    self.client.get_object().bucket(&self.bucket).key(self.full_key(key)).send().await?;
                let body = object.body.collect().await;
                body.map(|body| body.into_bytes()).map_err(|error| Failure::Passing(error.to_string()))
            })
            .await?;
        match got {
            Ok(body) => Ok(Some(body)),
            Err(refused) if refused.status == 404 && refused.code != "NoSuchBucket" => Ok(None),
            Err(refused) => Err(self.refused("GetObject", key, &refused)),
        }
    }

    async fn get_stretch(&self, key: &str, stretch: Stretch) -> Result<Option<(Bytes, u64)>> {
        let range = match stretch {
            Stretch::Last(bytes) => format!("bytes=-{bytes}"),
            Stretch::From { offset, bytes } => {
                format!("bytes={offset}-{}", offset.saturating_add(bytes).saturating_sub(1))
            }
        };
        let got = self
            .settle("GetObject", key, || async {
                let object = self.client.get_object().bucket(&self.bucket).key(self.full_key(key));
                let object = object.range(&range).send().await?;
                let told = object.content_range().and_then(|told| told.rsplit('/').next()?.parse().ok());
                let body =
                    object.body.collect().await.map_err(|error| Failure::Passing(error.to_string()))?;
                let body = body.into_bytes();
                // A store that answers with the whole object tells no range.
                let size = told.unwrap_or(body.len() as u64);
                Ok((body, size))
            })
            .await?;
        match got {
            Ok((body, size)) => Ok(Some((within(body, size, stretch), size))),
            Err(refused) if refused.status == 404 && refused.code != "NoSuchBucket" => Ok(None),
            Err(refused) => Err(self.refused("GetObject", key, &refused)),
        }
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        match self.put_object(key, body, true).await? {
            Ok(()) => Ok(Put::Created),
            Err(refused) if refused.status == 412 => Ok(Put::Exists),
            Err(refused) => Err(self.refused("PutObject if absent", key, &refused)),
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.put_object(key, body, false).await?.map_err(|refused| self.refused("PutObject", key, &refused))
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.settle("DeleteObject", key, || async {
            self.client.delete_object().bucket(&self.bucket).key(self.full_key(key)).send().await?;
            Ok(())
        })
        .await?
        .map_err(|refused| self.refused("DeleteObject", key, &refused))
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        let limit = i32::try_from(limit.min(1000)).unwrap_or(1000);
        let page = self
            .settle("ListObjectsV2", prefix, || async {
                let list = self.client.list_objects_v2().bucket(&self.bucket).max_keys(limit);
                Ok(list.prefix(self.full_key(prefix)).start_after(self.full_key(after)).send().await?)
            })
            .await?
            .map_err(|refused| self.refused("ListObjectsV2", prefix, &refused))?;
        let keys = page.contents().iter().filter_map(|object| self.relative(object.key()?));
        Ok(keys.map(str::to_owned).collect())
    }

    async fn begin(&self, key: &str, lakeward_id: &str) -> Result<Upload> {
        let (sse, kms_key) = self.encryption();
        let begun = self
            .settle("CreateMultipartUpload", key, || async {
                Ok(self
                    .client
                    .create_multipart_upload()
                    .bucket(&self.bucket)
                    .key(self.full_key(key))
                    .metadata(ID, id_header(lakeward_id))
                    .content_type("application/vnd.apache.parquet")
                    .set_server_side_encryption(sse.clone())
                    .set_ssekms_key_id(kms_key.clone())
                    .send()
                    .await?)
            })
            .await?
            .map_err(|refused| self.refused("CreateMultipartUpload", key, &refused))?;
        let upload_id = begun.upload_id.ok_or_else(|| {
            Error::new(ErrorKind::LakeUnsuited, "the store began an upload without an id")
                .at("key", self.full_key(key))
        })?;
        Ok(Upload { key: key.to_owned(), upload_id, lakeward_id: lakeward_id.to_owned() })
    }

    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        let (bytes, sent_as) = (body.len() as u64, part_number(number)?);
        // Before the patience begins: to wait for the others is no fault of the store.
        let turn = self.part_turns.acquire().await;
        let _turn =
            turn.map_err(|error| Error::new(ErrorKind::Bug, "parts have no turns").caused_by(error))?;
        let sent = self
            .settle("UploadPart", &upload.key, || async {
                Ok(self
                    .client
                    .upload_part()
                    .bucket(&self.bucket)
                    .key(self.full_key(&upload.key))
                    .upload_id(&upload.upload_id)
                    .part_number(sent_as)
                    .body(ByteStream::from(body.clone()))
                    .send()
                    .await?)
            })
            .await?
            .map_err(|refused| self.refused("UploadPart", &upload.key, &refused))?;
        Ok(Part { number, etag: sent.e_tag.unwrap_or_default(), bytes })
    }

    /// A part is durable when it is sent.
    async fn sealed(&self, _upload: &Upload, _parts: &[Part]) -> Result<()> {
        Ok(())
    }

    async fn show(&self, upload: &Upload, parts: &[Part]) -> Result<Shown> {
        let mut completed = self.complete(upload, parts).await?;
        if matches!(&completed, Err(refused) if refused.code == "InvalidPart") {
            match self.as_stored(upload, parts).await? {
                Ok(Some(stored)) => completed = self.complete(upload, &stored).await?,
                Ok(None) => {}
                // Another worker may have completed it by now.
                Err(gone) if gone.code == "NoSuchUpload" => completed = Err(gone),
                Err(refused) => return Err(self.refused("ListParts", &upload.key, &refused)),
            }
        }
        let bytes = parts.iter().map(|part| part.bytes).sum();
        match completed {
            // Believed only when seen: a store that died in the middle may have lost both.
            Ok(()) => self.look(upload, bytes).await,
            Err(refused) if refused.code == "NoSuchUpload" => self.look(upload, bytes).await,
            Err(refused) => Err(self.refused("CompleteMultipartUpload", &upload.key, &refused)),
        }
    }

    async fn abort(&self, upload: &OpenUpload) -> Result<()> {
        let aborted = self
            .settle("AbortMultipartUpload", &upload.key, || async {
                self.client
                    .abort_multipart_upload()
                    .bucket(&self.bucket)
                    .key(self.full_key(&upload.key))
                    .upload_id(&upload.upload_id)
                    .send()
                    .await?;
                Ok(())
            })
            .await?;
        match aborted {
            Err(refused) if refused.status != 404 => {
                Err(self.refused("AbortMultipartUpload", &upload.key, &refused))
            }
            _ => Ok(()),
        }
    }

    async fn open_uploads(&self, _pipeline: &str) -> Result<Vec<OpenUpload>> {
        let mut found = Vec::new();
        let (mut after_key, mut after_id) = (None, None);
        loop {
            let page = self
                .settle("ListMultipartUploads", "", || async {
                    let list = self.client.list_multipart_uploads().bucket(&self.bucket);
                    let list = list.set_key_marker(after_key.clone());
                    let list = list.set_upload_id_marker(after_id.clone());
                    Ok(list.prefix(self.full_key("")).send().await?)
                })
                .await?
                .map_err(|refused| self.refused("ListMultipartUploads", "", &refused))?;
            for upload in page.uploads() {
                if let (Some(key), Some(id)) =
                    (upload.key().and_then(|key| self.relative(key)), upload.upload_id())
                {
                    found.push(OpenUpload { key: key.to_owned(), upload_id: id.to_owned() });
                }
            }
            if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
                return Ok(found);
            }
            after_key = page.next_key_marker().map(str::to_owned);
            after_id = page.next_upload_id_marker().map(str::to_owned);
        }
    }

    fn part_size(&self) -> usize {
        PART_SIZE
    }
}

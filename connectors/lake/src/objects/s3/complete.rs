//! The completion of a multipart upload.
//!
//! A part that is sent a second time, as the answer to the first did not come in time, may be stored by
//! either: the one that lands last stays. Where ETags are of encrypted bytes (KMS) the two differ, so the one
//! that was recorded may be void, and the store refuses it (`InvalidPart`). Both are of the same bytes: an
//! upload is fed by the writer that began it alone, and a number is only ever sent with one body. So the
//! store's own ETags serve, where it has exactly the parts that were recorded, by number and size.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use lakeward_core::Result;

use super::settle::Refused;
use super::{S3, part_number};
use crate::objects::{Part, Upload};

impl S3 {
    pub(super) async fn complete(&self, upload: &Upload, parts: &[Part]) -> Result<Result<(), Refused>> {
        let completed = parts
            .iter()
            .map(|part| {
                let number = part_number(part.number)?;
                Ok(CompletedPart::builder().part_number(number).e_tag(&part.etag).build())
            })
            .collect::<Result<Vec<_>>>()?;
        let completed = CompletedMultipartUpload::builder().set_parts(Some(completed)).build();
        self.settle("CompleteMultipartUpload", &upload.key, || async {
            self.client
                .complete_multipart_upload()
                .bucket(&self.bucket)
                .key(self.full_key(&upload.key))
                .upload_id(&upload.upload_id)
                .multipart_upload(completed.clone())
                .send()
                .await?;
            Ok(())
        })
        .await
    }

    /// `parts` with the ETags that the store has for them; `None` where it has others than these.
    pub(super) async fn as_stored(
        &self,
        upload: &Upload,
        parts: &[Part],
    ) -> Result<Result<Option<Vec<Part>>, Refused>> {
        let stored = match self.stored_parts(upload).await? {
            Ok(stored) => stored,
            Err(refused) => return Ok(Err(refused)),
        };
        let same =
            |(ours, theirs): (&Part, &Part)| (ours.number, ours.bytes) == (theirs.number, theirs.bytes);
        let are_same = stored.len() == parts.len() && parts.iter().zip(&stored).all(same);
        Ok(Ok(are_same.then_some(stored)))
    }

    /// What the store has of an upload, by number.
    async fn stored_parts(&self, upload: &Upload) -> Result<Result<Vec<Part>, Refused>> {
        let mut stored = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .settle("ListParts", &upload.key, || async {
                    let list = self.client.list_parts().bucket(&self.bucket).key(self.full_key(&upload.key));
                    let list = list.upload_id(&upload.upload_id).set_part_number_marker(after.clone());
                    Ok(list.send().await?)
                })
                .await?;
            let page = match page {
                Ok(page) => page,
                Err(refused) => return Ok(Err(refused)),
            };
            for part in page.parts() {
                if let (Some(number), Some(etag), Some(bytes)) =
                    (part.part_number(), part.e_tag(), part.size())
                    && let (Ok(number), Ok(bytes)) = (number.try_into(), bytes.try_into())
                {
                    stored.push(Part { number, etag: etag.to_owned(), bytes });
                }
            }
            if page.is_truncated() != Some(true) || page.next_part_number_marker().is_none() {
                stored.sort_by_key(|part| part.number);
                return Ok(Ok(stored));
            }
            after = page.next_part_number_marker().map(str::to_owned);
        }
    }
}

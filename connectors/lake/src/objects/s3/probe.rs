//! What `lakeward check` asks of a bucket beside what a [`Store`](crate::objects::Store) can.

use aws_sdk_s3::types::ExpirationStatus;
use lakeward_core::Result;

use super::S3;

impl S3 {
    /// Days after which a lifecycle rule of the bucket aborts uploads below our prefix; `None` if no
    /// rule does, or if the bucket has none.
    ///
    /// # Errors
    /// `LakeDenied` if the rules may not be read, `LakeUnsuited` if the store has none,
    /// `LakeUnreachable`.
    pub async fn uploads_expire_after_days(&self) -> Result<Option<i32>> {
        let rules = self
            .settle("GetBucketLifecycleConfiguration", "", || async {
                Ok(self.client.get_bucket_lifecycle_configuration().bucket(&self.bucket).send().await?)
            })
            .await?;
        let rules = match rules {
            Ok(rules) => rules,
            Err(refused) if refused.code == "NoSuchLifecycleConfiguration" => return Ok(None),
            Err(refused) => return Err(self.refused("GetBucketLifecycleConfiguration", "", &refused)),
        };
        let ours = self.full_key("");
        let days =
            rules.rules().iter().filter(|rule| *rule.status() == ExpirationStatus::Enabled).filter_map(
                |rule| {
                    let prefix = rule.filter().and_then(|filter| filter.prefix()).unwrap_or_default();
                    let concerns = ours.starts_with(prefix) || prefix.starts_with(&ours);
                    rule.abort_incomplete_multipart_upload()?.days_after_initiation().filter(|_| concerns)
                },
            );
        Ok(days.min())
    }

    /// The encryption that the store says an object has.
    ///
    /// # Errors
    /// `LakeDenied`, `LakeUnreachable`.
    pub async fn encryption_of(&self, key: &str) -> Result<Option<String>> {
        let head = self
            .settle("HeadObject", key, || async {
                Ok(self.client.head_object().bucket(&self.bucket).key(self.full_key(key)).send().await?)
            })
            .await?
            .map_err(|refused| self.refused("HeadObject", key, &refused))?;
        Ok(head.server_side_encryption().map(|sse| sse.as_str().to_owned()))
    }
}

//! The client of an S3 store, from the config.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};
use aws_smithy_http_client::tls;
use lakeward_core::stats::LakeStats;
use lakeward_core::{Clock, Error, ErrorKind, Result};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::S3;
use crate::config::S3Config;

/// A link that is not made in this time is given up, and tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A store that does not answer a request in this time is asked again; a half-open link is noticed by it. It
/// covers the sending.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Parts of all files that are sent at the same time. They share the line, and each must be sent and answered
/// within [`READ_TIMEOUT`]: 8 of 8 MiB in 30 s need 2.3 MB/s (18 Mbit/s). Of more, on a line of that kind, all
/// would time out together and be sent again, for ever. On a fast line, where the store answers 100 ms after a
/// part has gone, 8 under way are up to 640 MiB/s.
pub(super) const PARTS_AT_ONCE: usize = 8;
/// One try of any request ends after this time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// What an [`S3`] needs beside its config.
#[derive(Clone)]
pub struct S3Options {
    /// For the patience.
    pub clock: Arc<dyn Clock>,
    /// Counts repeated requests.
    pub stats: Arc<LakeStats>,
    /// Unique to this process; seeds the jitter.
    pub writer: Uuid,
    /// How long a request is tried before its outcome is called unknown.
    pub patience: Duration,
}

fn http_client() -> SharedHttpClient {
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(ring).build_https()
}

impl S3 {
    /// The store of `bucket` below `prefix`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `Config` if no region is known.
    pub async fn connect(config: &S3Config, bucket: &str, prefix: &str, options: S3Options) -> Result<S3> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        // Services that give credentials are asked by clients of the loader's, with retries of their own.
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client())
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts);
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        } else if config.endpoint.is_some() {
            // Stores other than AWS rarely have regions, but signatures name one.
            loader = loader.region(Region::from_static("us-east-1"));
        }
        if let Some(endpoint) = &config.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let (Some(access), Some(secret)) = (&config.access_key, &config.secret_key) {
            let keys = Credentials::new(access.reveal(), secret.reveal(), None, None, "config file");
            loader = loader.credentials_provider(keys);
        }
        let shared = loader.load().await;
        if shared.region().is_none() {
            return Err(Error::new(ErrorKind::Config, "no AWS region is known")
                .at("key", "lake.s3.region")
                .remedy("set `lake.s3.region` to the region of the bucket"));
        }
        // The signature covers a SHA-256 of every body we send, which the store checks. The extra
        // checksums of newer clients are asked for only where an operation requires them: stores
        // other than AWS refuse them, and they would tie each part to how its upload was begun.
        let sdk = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(config.path_style)
            // Retries are ours: they must know which outcomes are definite.
            .retry_config(RetryConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        let (seed, _) = options.writer.as_u64_pair();
        Ok(S3 {
            client: aws_sdk_s3::Client::from_conf(sdk),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            sse: config.sse,
            kms_key: config.kms_key.clone(),
            clock: options.clock,
            stats: options.stats,
            jitter: AtomicU64::new(seed),
            part_turns: Semaphore::new(PARTS_AT_ONCE),
            patience: options.patience,
        })
    }
}

//! One rule for every request: a passing fault (a time-out, a broken link, 5xx, throttling, a 409 of
//! racing conditional puts) is tried again with backoff and jitter until an answer is definite or the
//! patience ends; then the outcome is unknown, and the error says so.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use lakeward_core::{Error, ErrorKind, Result};

use super::S3;

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A request that the store answered with an error.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

/// Why one try of a request did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Worth another try; the text says what happened.
    Passing(String),
    /// Definite.
    Refused(Refused),
}

/// What an error and its causes say; never its debug form, which may hold a request.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Whether there are no credentials, or it is written down wrongly where they come from. That they could not
/// be fetched (an outage of the service that gives them) passes.
fn lacks_credentials(error: &dyn std::error::Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |error| error.source());
    matches!(
        causes.find_map(|cause| cause.downcast_ref::<CredentialsError>()),
        Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))
    )
}

/// The code of a request that was not sent.
const NO_CREDENTIALS: &str = "NoCredentials";

/// Errors that pass although their status is below 500 (Amazon S3 API Reference, "Error responses").
const PASSING: &[&str] = &[
    "SlowDown",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "ConditionalRequestConflict",
    "OperationAborted",
];

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let refused = |status: u16, code: &str, message: String| {
            Failure::Refused(Refused { status, code: code.to_owned(), message })
        };
        match &error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let meta = answer.err().meta();
                let code = meta.code().unwrap_or_default();
                let message = meta.message().unwrap_or_default().to_owned();
                let passing = (status >= 500 && status != 501 && status != 507)
                    || matches!(status, 408 | 429)
                    || PASSING.contains(&code);
                if passing {
                    Failure::Passing(format!("the store answered {status} {code} {message}"))
                } else {
                    refused(status, code, message)
                }
            }
            SdkError::ConstructionFailure(_) => refused(0, "ConstructionFailure", chain(&error)),
            // Nothing was sent, and waiting brings none.
            SdkError::DispatchFailure(_) if lacks_credentials(&error) => {
                refused(403, NO_CREDENTIALS, chain(&error))
            }
            _ => Failure::Passing(chain(&error)),
        }
    }
}

impl S3 {
    /// Tries `attempt` until its answer is definite.
    pub(super) async fn settle<T, F>(
        &self,
        action: &'static str,
        key: &str,
        attempt: impl Fn() -> F,
    ) -> Result<Result<T, Refused>>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let begun = self.clock.elapsed();
        let mut backoff = BACKOFF_MIN;
        loop {
            let fault = match attempt().await {
                Ok(answer) => return Ok(Ok(answer)),
                // They were there before, and a service that gives them and is away looks like none.
                Err(Failure::Refused(refused)) if refused.code == NO_CREDENTIALS && self.has_answered() => {
                    refused.message
                }
                Err(Failure::Refused(refused)) => return Ok(Err(refused)),
                Err(Failure::Passing(fault)) => fault,
            };
            if self.clock.elapsed().saturating_sub(begun) >= self.patience {
                return Err(Error::new(
                    ErrorKind::LakeUnreachable,
                    format!("no definite answer to {action} within {} s", self.patience.as_secs()),
                )
                .at("bucket", &self.bucket)
                .at("key", self.full_key(key))
                .remedy("look at the store and the network to it")
                .caused_by(fault));
            }
            self.stats.retries.add(1);
            tracing::warn!(action, key, fault, "a request to the store is tried again");
            tokio::time::sleep(self.jittered(backoff)).await;
            backoff = backoff.saturating_mul(2).min(BACKOFF_MAX);
        }
    }

    /// Whether the store has answered this process before, maybe to an earlier link: the log's last record is known.
    fn has_answered(&self) -> bool {
        self.stats.record.get() != 0
    }

    /// Between half of `backoff` and all of it, by the seed.
    pub(super) fn jittered(&self, backoff: Duration) -> Duration {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let seed = self.jitter.fetch_add(STEP, std::sync::atomic::Ordering::Relaxed);
        // splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let permille = u32::try_from((mixed >> 32) % 500).unwrap_or(0) + 500;
        backoff * permille / 1000
    }

    /// What a refusal means.
    pub(super) fn refused(&self, action: &'static str, key: &str, refused: &Refused) -> Error {
        let Refused { status, code, message } = refused;
        let (kind, remedy) = match (*status, code.as_str()) {
            (_, "NoSuchBucket") => (ErrorKind::LakeDenied, "create the bucket, or correct `lake.url`"),
            (_, "NoSuchUpload") => (
                ErrorKind::LostUpload,
                "if no newer process of the pipeline runs, look for a lifecycle rule that aborts uploads",
            ),
            (301 | 307, _) | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                (ErrorKind::LakeDenied, "set `lake.s3.region` to the region of the bucket")
            }
            (_, NO_CREDENTIALS) => (
                ErrorKind::LakeDenied,
                "set `lake.s3.access_key` and `secret_key`, or `profile`, or give the machine a role",
            ),
            (_, "RequestTimeTooSkewed") => {
                (ErrorKind::LakeDenied, "set the clock of this machine: it differs from that of the store")
            }
            (401 | 403, _) => (
                ErrorKind::LakeDenied,
                "give the account s3:GetObject, s3:PutObject, s3:ListBucket, s3:AbortMultipartUpload, \
                 s3:ListMultipartUploadParts and s3:ListBucketMultipartUploads on bucket and prefix, s3:DeleteObject \
                 on `_lakeward/*` below it, and kms:GenerateDataKey and kms:Decrypt if a KMS key is set",
            ),
            (501, _) => (ErrorKind::LakeUnsuited, "use a store that has this operation, as Amazon S3 does"),
            (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded") => {
                (ErrorKind::LakeFull, "free space in the store, then start again: nothing is lost")
            }
            _ => (ErrorKind::LakeDenied, "look at the answer of the store"),
        };
        Error::new(kind, format!("the store refuses {action}: {status} {code} {message}"))
            .at("bucket", &self.bucket)
            .at("key", self.full_key(key))
            .remedy(remedy)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ConnectorError;
    use aws_sdk_s3::operation::get_object::GetObjectError;

    use super::*;

    fn of(credentials: CredentialsError) -> Failure {
        let error = ConnectorError::other(credentials.into(), None);
        Failure::from(SdkError::<GetObjectError, _>::dispatch_failure(error))
    }

    #[test]
    fn credentials_that_cannot_be_fetched_now_pass_and_those_that_are_missing_do_not() {
        for passing in [
            CredentialsError::provider_error("503 from the token service"),
            CredentialsError::provider_timed_out(Duration::from_secs(5)),
            CredentialsError::unhandled("half an answer"),
        ] {
            assert!(matches!(of(passing), Failure::Passing(_)));
        }
        for definite in [
            CredentialsError::not_loaded("no provider in the chain has any"),
            CredentialsError::invalid_configuration("a loop of profiles"),
        ] {
            let Failure::Refused(refused) = of(definite) else { panic!("it is tried again") };
            assert_eq!(refused.code, NO_CREDENTIALS);
        }
    }
}

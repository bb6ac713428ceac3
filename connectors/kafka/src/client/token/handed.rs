//! A token for a client that nobody asks for records.
//!
//! The client library asks for a token by an event, which those take up that look for records or deliveries; of an
//! admin client nobody does, and it would wait for its login for ever. So the token is set before each question, by
//! the one function that librdkafka has for it and its binding keeps to itself.

use std::ffi::CString;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lakeward_core::{Clock, Result};
use rdkafka::bindings::rd_kafka_oauthbearer_set_token;
use rdkafka::client::{Client, OAuthToken};
use rdkafka::types::RDKafkaRespErr;

use super::{Tokens, ends_us, refused};
use crate::client::Context;

/// A token that is good for less is replaced: it must outlast the question.
const SPARE: Duration = Duration::from_secs(60);
/// librdkafka's messages are shorter.
const MESSAGE: usize = 512;

/// The end of the token that a client was handed last, in microseconds since 1970.
#[derive(Default)]
pub(crate) struct Handed(Mutex<i64>);

impl Handed {
    /// Sees to it that `client` has a token, where it logs in by one.
    ///
    /// # Errors
    /// `KafkaAuth` if there is none.
    pub(crate) fn see_to(&self, client: &Client<Context>) -> Result<()> {
        let context = client.context();
        match &context.token {
            Some(tokens) => self.refresh(client, tokens, context.clock.as_ref()),
            None => Ok(()),
        }
    }

    fn refresh(&self, client: &Client<Context>, tokens: &Tokens, clock: &dyn Clock) -> Result<()> {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *end - SPARE.as_micros() as i64 <= clock.unix_micros() {
            let token = tokens.current(clock)?;
            hand(client, &token)?;
            *end = ends_us(&token);
        }
        Ok(())
    }
}

#[expect(
    unsafe_code,
    reason = "rdkafka has no safe way to hand a token to a client that is not asked for records"
)]
fn hand(client: &Client<Context>, token: &OAuthToken) -> Result<()> {
    let text = |text: &str| CString::new(text).map_err(|_| refused("prints a token with a zero byte"));
    let (value, principal) = (text(&token.token)?, text(&token.principal_name)?);
    let mut message = [0; MESSAGE];
    // SAFETY: the client lives as long as `client` is borrowed, and may be used from any thread; both texts end with
    // a zero byte and are copied before the function returns; there are no extensions, so none are read; `message`
    // has the length that is told. https://docs.confluent.io/platform/current/clients/librdkafka/html/rdkafka_8h.html
    let code = unsafe {
        rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            ptr::null_mut(),
            0,
            message.as_mut_ptr(),
            message.len(),
        )
    };
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        // What it says may hold the token.
        _ => Err(refused("prints a token that the client library refuses")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lakeward_core::clock::{ManualClock, SystemClock};
    use rdkafka::ClientConfig;
    use rdkafka::admin::AdminClient;

    use super::*;

    #[test]
    fn a_token_is_handed_over_before_the_one_at_hand_ends() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        // librdkafka looks at the system's clock.
        let now_us = SystemClock::start().unix_micros();
        let script = format!("echo >> {}; echo tok.en {}", runs.display(), now_us / 1000 + 120_000);
        let clock = Arc::new(ManualClock::at(now_us));
        let context = Context {
            trouble: Arc::default(),
            token: Some(Arc::new(Tokens::of(["sh", "-c", &script].map(str::to_owned).to_vec()))),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
        };
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1");
        config.set("security.protocol", "sasl_plaintext").set("sasl.mechanism", "OAUTHBEARER");
        let client: AdminClient<Context> = config.create_with_context(context).unwrap();
        let handed = Handed::default();
        for (wait, times) in [(0, 1), (59, 1), (2, 2)] {
            clock.advance(Duration::from_secs(wait));
            handed.see_to(client.inner()).unwrap();
            assert_eq!(std::fs::read_to_string(&runs).unwrap().len(), times, "after {wait} s more");
        }
    }
}

//! What becomes of sent records.
//!
//! Guarantee: a record that was not written is noticed before the transaction that it belongs to can commit (the client
//! itself refuses that), with the table, the key and the reason; and a topic that was made anew is noticed by the first
//! offset that is not above the last one.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::client::Context;

/// A topic partition that is written to.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
    /// Offset of the last record that was written. Before the first: one below the count of events, as each takes one.
    last: AtomicI64,
}

impl Place {
    pub(super) fn new(topic: Arc<str>, number: i32, events: u64) -> Self {
        let last = i64::try_from(events).unwrap_or(i64::MAX).saturating_sub(1);
        Place { topic, number, last: last.into() }
    }
}

/// Why a record was not written, or was written into another topic than it seemed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    Unwritten { topic: String, number: i32, key: Option<Vec<u8>>, bytes: usize, error: KafkaError },
    WentBack { topic: String, number: i32, offset: i64, last: i64 },
}

/// Hears of every record.
pub(super) struct Deliveries {
    context: Context,
    failed: AtomicBool,
    state: Mutex<State>,
    /// Records that were handed to the client, and of which nothing was heard yet.
    open: AtomicU64,
    /// Whoever waits goes on once there are so few of them; nobody waits while it is below all numbers.
    awaited: AtomicI64,
    few: Condvar,
}

#[derive(Debug, Default)]
struct State {
    failure: Option<Failure>,
}

/// Nobody waits.
const NOBODY: i64 = -1;

impl Deliveries {
    pub(super) fn new(context: Context) -> Self {
        Deliveries {
            context,
            failed: AtomicBool::new(false),
            state: Mutex::default(),
            open: AtomicU64::new(0),
            awaited: AtomicI64::new(NOBODY),
            few: Condvar::new(),
        }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first failure, if there was one.
    pub(super) fn failure(&self) -> Option<Failure> {
        if self.failed.load(Ordering::Acquire) { self.lock().failure.clone() } else { None }
    }

    /// A record is about to be handed to the client.
    pub(super) fn handed_over(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    /// The client did not take it.
    pub(super) fn not_taken(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// Records that are on their way.
    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits until `few` records are on their way, or for `limit`. There is one that waits, at most: the writer.
    pub(super) fn wait_for(&self, few: u64, limit: Duration) {
        let state = self.lock();
        self.awaited.store(i64::try_from(few).unwrap_or(i64::MAX), Ordering::SeqCst);
        // Looked at after it is known who waits, and under the lock that whoever wakes takes.
        if self.open() > few {
            drop(self.few.wait_timeout(state, limit));
        }
        self.awaited.store(NOBODY, Ordering::SeqCst);
    }

    fn heard(&self) {
        let left = self.open.fetch_sub(1, Ordering::SeqCst).saturating_sub(1);
        if i64::try_from(left).unwrap_or(i64::MAX) <= self.awaited.load(Ordering::SeqCst) {
            drop(self.lock());
            self.few.notify_all();
        }
    }

    fn fail(&self, failure: Failure) {
        let mut state = self.lock();
        state.failure.get_or_insert(failure);
        self.failed.store(true, Ordering::Release);
    }
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.context.generate_oauth_token(config)
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Arc<Place>) {
        match result {
            Ok(record) => {
                let offset = record.offset();
                // Below zero: written for certain, at an offset that the broker did not tell again.
                if offset >= 0 {
                    let last = place.last.swap(offset, Ordering::Relaxed);
                    if offset <= last {
                        let topic = place.topic.to_string();
                        self.fail(Failure::WentBack { topic, number: place.number, offset, last });
                    }
                }
            }
            Err((
                KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight),
                _,
            )) => {}
            Err((error, record)) => self.fail(Failure::Unwritten {
                topic: place.topic.to_string(),
                number: place.number,
                key: record.key().map(<[u8]>::to_vec),
                bytes: record.payload().map_or(0, <[u8]>::len) + record.key().map_or(0, <[u8]>::len),
                error: error.clone(),
            }),
        }
        self.heard();
    }
}

//! The records of one topic partition, taken from the client many at a time.
//!
//! Guarantee: what [`PartitionQueue::next`] gives is what the topic partition's own queue of the client holds, each once, in order:
//! visible records, the end of the topic partition, errors. No record outlives its client.
//! Why: the queue is ours alone since before the topic partition is assigned, so nothing of it comes by another way;
//! records that are held here follow those that were given, and precede those that the queue still has.
//!
//! rdkafka takes records one at a time, with an event, two looks at the clock and a shared pointer for each: see
//! ARCHITECTURE for what that cost. This is librdkafka's own call for many, and the only place that handles its records.
//!
//! Memory: records held are about [`HELD`] bytes, by the size of those before. Where much larger ones follow suddenly, they
//! are at most what the client had fetched ahead.

#![expect(unsafe_code, reason = "rdkafka has no safe way to take many records at once")]

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::client::ClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;

use crate::client::Reader;

/// Bytes of records that are taken at once, about.
const HELD: usize = 64 * 1024;
/// Records that are taken at once, at most.
const MOST: usize = 256;

/// A topic partition's queue.
pub(super) struct PartitionQueue {
    queue: NonNull<native::rd_kafka_queue_t>,
    reader: Arc<Reader>,
    /// Taken from the client, and not given yet.
    held: VecDeque<Record>,
    /// How many are taken at once.
    many: usize,
    /// The last place after which the client said that nothing more is there.
    end: Option<i64>,
}

// SAFETY: librdkafka's objects may be used from any thread, and here each is by one at a time.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Splits the queue of a topic partition from the client's, before it is assigned; `None` where there is none.
    pub(super) fn split(reader: &Arc<Reader>, topic: &str, number: i32) -> Option<PartitionQueue> {
        let topic = CString::new(topic).ok()?;
        let client = reader.client().native_ptr();
        // SAFETY: the client is alive, as `reader` is kept; the name ends with a zero byte, and is copied.
        let queue = unsafe { native::rd_kafka_queue_get_partition(client, topic.as_ptr(), number) };
        let queue = NonNull::new(queue)?;
        // SAFETY: the queue was just made; without a target it keeps what comes.
        unsafe { native::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut()) };
        Some(PartitionQueue { queue, reader: Arc::clone(reader), held: VecDeque::new(), many: 1, end: None })
    }

    /// What comes next, waited for as long as `wait`: a record, the end of the topic partition, or an error.
    pub(super) fn next(&mut self, wait: Duration) -> Option<Result<Record, KafkaError>> {
        if self.held.is_empty() {
            // Most are there. A call for many would wait until it has so many.
            if !self.take(self.many, Duration::ZERO) && !wait.is_zero() {
                self.take(1, wait);
            }
        }
        self.held.pop_front().map(|record| match record.error() {
            None => Ok(record),
            Some(error) => Err(self.told(&record, error)),
        })
    }

    /// The last place after which the client said that nothing more is there; `None` before it did.
    pub(super) fn end(&self) -> Option<i64> {
        self.end
    }

    /// Forgets what is held: the place to read from is about to be another one.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    /// Takes up to `many` records; whether there were any.
    fn take(&mut self, many: usize, wait: Duration) -> bool {
        let mut taken = [ptr::null_mut(); MOST];
        let most = many.clamp(1, MOST);
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive until this is dropped, and `taken` has room for `most` records, which are ours then.
        let count = unsafe {
            native::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait, taken.as_mut_ptr(), most)
        };
        let count = usize::try_from(count).unwrap_or(0);
        let records = taken.iter().take(count).filter_map(|record| NonNull::new(*record));
        self.held.extend(records.map(|record| Record { record, _reader: Arc::clone(&self.reader) }));
        let bytes: usize = self.held.iter().map(Record::len).sum();
        if count > 0 {
            self.many = (HELD * count / bytes.max(1)).clamp(1, MOST);
        }
        count > 0
    }

    /// An error that came in the place of a record; the client's context hears of it as of any other.
    fn told(&mut self, record: &Record, error: KafkaError) -> KafkaError {
        match error {
            KafkaError::PartitionEOF(_) => self.end = Some(record.offset()),
            _ => self.reader.context().error(error.clone(), &record.error_text()),
        }
        error
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        self.held.clear();
        // SAFETY: it is ours, not used after this, and the client is still alive.
        unsafe { native::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A record, as the client has it.
pub(super) struct Record {
    record: NonNull<native::rd_kafka_message_t>,
    /// Its bytes are the client's.
    _reader: Arc<Reader>,
}

// SAFETY: as of the queue.
unsafe impl Send for Record {}

impl Record {
    fn raw(&self) -> &native::rd_kafka_message_t {
        // SAFETY: it is ours until this is dropped, and nobody changes it.
        unsafe { self.record.as_ref() }
    }

    /// Its offset.
    pub(super) fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// Its value; `None` for a tombstone.
    pub(super) fn value(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: the client's record has `len` bytes there, as long as it lives.
        unsafe { bytes(raw.payload, raw.len) }
    }

    /// Its key.
    pub(super) fn key(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: as of the value.
        unsafe { bytes(raw.key, raw.key_len) }
    }

    /// Bytes of its value and key.
    pub(super) fn len(&self) -> usize {
        self.raw().len + self.raw().key_len
    }

    /// Its headers: names, which are any bytes, and values.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut headers = ptr::null_mut();
        // SAFETY: the record is alive; what is found lives as long as it does.
        let found = unsafe { native::rd_kafka_message_headers(self.record.as_ptr(), &raw mut headers) };
        let count = match found {
            // SAFETY: they were found.
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => unsafe { native::rd_kafka_header_cnt(headers) },
            _ => 0,
        };
        (0..count).map_while(move |index| {
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
            // SAFETY: there is a header of this number, and it lives as long as the record, which is borrowed.
            let found = unsafe {
                native::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut len)
            };
            // SAFETY: a name ends with a zero byte, a value has `len` bytes.
            (found == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
                .then(|| unsafe { (CStr::from_ptr(name).to_bytes(), bytes(value, len)) })
        })
    }

    /// The error that came in its place.
    fn error(&self) -> Option<KafkaError> {
        match self.raw().err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => None,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Some(KafkaError::PartitionEOF(self.raw().partition))
            }
            error => Some(match Code::from(error) {
                Code::Fatal => KafkaError::MessageConsumptionFatal(Code::Fatal),
                code => KafkaError::MessageConsumption(code),
            }),
        }
    }

    fn error_text(&self) -> String {
        // SAFETY: the record is alive; the text ends with a zero byte, and is copied while it is.
        let text = unsafe { native::rd_kafka_message_errstr(self.record.as_ptr()).as_ref() };
        // SAFETY: as above.
        text.map_or_else(String::new, |text| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used after this.
        unsafe { native::rd_kafka_message_destroy(self.record.as_ptr()) };
    }
}

/// # Safety
/// `start` is null, or has `len` bytes that live as long as `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}

//! The group of workers that share a pipeline's topic partitions, as one of them sees it.
//!
//! Kafka's group decides who reads what, and notices who died; nothing rests on it. Exactly once is the commit log's:
//! a worker that goes on with a topic partition which was given to another is refused there. So this client only
//! joins: it fetches nothing, and the offsets it commits are for display.
//!
//! It lives as long as the process, over all attempts of the engine, so that an error of the lake or the source
//! moves no topic partition.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lakeward_core::{Clock, Error, ErrorKind, KafkaPosition, Result};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use crate::client::{Context, explained, unmade};
use crate::config::Kafka;

/// Topic partitions by topic and number.
pub type TopicPartitions = BTreeSet<(String, i32)>;

/// What a worker has to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Changes whenever the rest does.
    pub generation: u64,
    /// Its topic partitions.
    pub ours: TopicPartitions,
}

#[derive(Default)]
struct State {
    assignment: Assignment,
    joined: bool,
    wanted: BTreeSet<String>,
    subscribed: BTreeSet<String>,
    /// What keeps this worker out of the group.
    failed: Option<Error>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// What the client hears, and what is done about it.
struct Callbacks {
    client: Context,
    shared: Arc<Shared>,
}

impl ClientContext for Callbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.client.generate_oauth_token(config)
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(list) => {
                let gone = named(list);
                info!(topic_partitions = gone.len(), "topic partitions are given to others");
                self.shared.change(|state| {
                    state.assignment.ours.retain(|one| !gone.contains(one));
                    // All may be lost, as this worker slept: what is ours is known again once the group gives out.
                    state.joined &= !state.assignment.ours.is_empty();
                    state.assignment.generation += u64::from(!gone.is_empty());
                });
            }
            Rebalance::Assign(_) => {}
            Rebalance::Error(error) => {
                warn!(%error, "the group of workers could not be rearranged; trying again")
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            // Nothing is read here. Where it fails, what arrives is dropped.
            if let Err(error) = consumer.pause(list) {
                warn!(%error, "a topic partition could not be paused for the group's client");
            }
            let new = named(list);
            info!(topic_partitions = new.len(), "topic partitions are given to this worker");
            self.shared.change(|state| {
                state.joined = true;
                state.failed = None;
                state.assignment.generation += u64::from(!new.is_empty());
                state.assignment.ours.extend(new);
            });
        }
    }
}

fn named(list: &TopicPartitionList) -> TopicPartitions {
    list.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect()
}

/// How a worker is known to its group.
#[derive(Clone, Debug)]
pub struct Member {
    /// The group.
    pub group: String,
    /// Its own name there, by which the others tell whether it lives.
    pub client_id: String,
    /// After so long without a sign of life it is taken for dead.
    pub session_timeout: Duration,
}

/// Membership in the group; left when dropped.
pub struct Membership {
    consumer: Arc<BaseConsumer<Callbacks>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    group: String,
}

/// How long the client waits for something to do.
const TURN: Duration = Duration::from_millis(100);
/// How long a question to the group may take.
const ANSWER: Duration = Duration::from_secs(10);

impl Membership {
    /// A member that subscribes to nothing yet, and so is none.
    ///
    /// # Errors
    /// `Config` if the client cannot be made of these properties.
    pub fn new(kafka: &Kafka, clock: &Arc<dyn Clock>, member: &Member) -> Result<Membership> {
        let session = member.session_timeout.as_millis();
        let mut client = kafka.client()?;
        for (key, value) in [
            ("group.id", member.group.as_str()),
            ("client.id", &member.client_id),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", &session.to_string()),
            ("heartbeat.interval.ms", &(session / 4).max(1).to_string()),
            // How long the others wait for one that does not answer.
            ("max.poll.interval.ms", &session.max(1_000).to_string()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "latest"),
            ("queued.max.messages.kbytes", "1"),
            ("fetch.message.max.bytes", "1024"),
            ("topic.metadata.refresh.interval.ms", "10000"),
        ] {
            client.set(key, value);
        }
        let shared = Arc::new(Shared::default());
        let callbacks = Callbacks { client: kafka.context(clock), shared: Arc::clone(&shared) };
        let consumer: BaseConsumer<Callbacks> =
            client.create_with_context(callbacks).map_err(|error| unmade(&error))?;
        let consumer = Arc::new(consumer);
        let (polled, seen) = (Arc::clone(&consumer), Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || serve(&polled, &seen))
            .map_err(|error| Error::new(ErrorKind::Io, "cannot start thread kafka-group").caused_by(error))?;
        Ok(Membership { consumer, shared, thread: Some(thread), group: member.group.clone() })
    }

    /// Asks for a share of these topics, instead of those asked for before.
    pub fn want(&self, topics: BTreeSet<String>) {
        self.shared.change(|state| {
            if state.wanted != topics {
                state.wanted = topics;
                // What the group gives out then counts.
                state.joined = false;
            }
        });
    }

    /// The group's name.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Asks for a share of these topics, too, and does not wait for it.
    pub fn want_more(&self, topics: impl IntoIterator<Item = String>) {
        self.shared.change(|state| state.wanted.extend(topics));
    }

    /// Changes whenever what is ours does.
    pub fn generation(&self) -> u64 {
        self.shared.lock().assignment.generation
    }

    /// What is ours now.
    pub fn assignment(&self) -> Assignment {
        self.shared.lock().assignment.clone()
    }

    /// What is ours, once the group has given something out since the first topic was wanted.
    ///
    /// # Errors
    /// `KafkaUnreachable` if it does not within `wait`; at once `KafkaDenied` and `Config` if it never will.
    pub fn assigned(&self, wait: Duration) -> Result<Assignment> {
        let state = self.shared.lock();
        if state.wanted.is_empty() {
            return Ok(state.assignment.clone());
        }
        let waiting = |state: &mut State| !(state.joined || state.failed.is_some());
        let waited = self.shared.changed.wait_timeout_while(state, wait, waiting);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = state.failed.take() {
            return Err(failed.at("group", &self.group));
        }
        match state.joined {
            true => Ok(state.assignment.clone()),
            false => {
                Err(Error::new(ErrorKind::KafkaUnreachable, "the group of workers gave out nothing in time")
                    .at("group", &self.group))
            }
        }
    }

    /// The names of all its members.
    ///
    /// # Errors
    /// `KafkaUnreachable`.
    pub fn members(&self) -> Result<BTreeSet<String>> {
        let groups = self.consumer.fetch_group_list(Some(&self.group), ANSWER).map_err(|error| {
            let trouble = self.consumer.context().client.trouble();
            explained("the group's members", &error, trouble).at("group", &self.group)
        })?;
        let members = groups.groups().iter().flat_map(|group| group.members());
        Ok(members.map(|member| member.client_id().to_owned()).collect())
    }

    /// Shows a place to Kafka's own tools. Nobody reads it back, so failing is no harm.
    pub fn show(&self, position: &KafkaPosition) {
        let ours = self.shared.lock().assignment.ours.clone();
        let mut list = TopicPartitionList::new();
        for (topic, number, place) in position.iter() {
            if ours.contains(&(topic.to_owned(), number))
                && list.add_partition_offset(topic, number, Offset::Offset(place.offset)).is_err()
            {
                return;
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "the group's offsets, which are only for display, could not be told");
        }
    }
}

fn serve(consumer: &BaseConsumer<Callbacks>, shared: &Shared) {
    while !shared.stop.load(Ordering::SeqCst) {
        let wanted = {
            let state = shared.lock();
            (state.wanted != state.subscribed).then(|| state.wanted.clone())
        };
        if let Some(wanted) = wanted {
            let topics: Vec<&str> = wanted.iter().map(String::as_str).collect();
            match consumer.subscribe(&topics) {
                Ok(()) => shared.change(|state| state.subscribed.clone_from(&wanted)),
                Err(error) => {
                    let message = "the group of workers cannot be joined";
                    let failed = Error::new(ErrorKind::KafkaUnreachable, message).caused_by(error);
                    shared.change(|state| state.failed = Some(failed));
                    std::thread::sleep(TURN);
                }
            }
        }
        if let Some(Err(error)) = consumer.poll(TURN) {
            tracing::debug!(%error, "the group's client tells");
            if let Some(refused) = refused(consumer, &error) {
                shared.change(|state| state.failed = Some(refused));
            }
        }
    }
}

/// What an error says that no waiting mends: a right or a setting, which the client tries again for ever. Whether the login
/// is good and the topics are there, the clients that read tell.
fn refused(consumer: &BaseConsumer<Callbacks>, error: &KafkaError) -> Option<Error> {
    let explained = explained("membership", error, consumer.context().client.trouble());
    matches!(explained.kind(), ErrorKind::KafkaDenied | ErrorKind::Config).then_some(explained)
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread concerns nobody any more.
            let _ended = thread.join();
        }
    }
}

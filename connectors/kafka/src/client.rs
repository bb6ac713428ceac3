//! The clients: their properties, what they tell beside their answers, and what their errors mean.
//!
//! librdkafka goes on by itself after errors of the network and of the login, for ever. What it tells of them is
//! kept ([`Trouble`]), so that a question that stays without an answer can say why, and a login that was refused stops
//! the run instead of being tried again.

mod token;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lakeward_core::{Clock, Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;

use crate::config::Kafka;
pub(crate) use token::Handed;
use token::Tokens;

/// How long a question to the brokers may take.
pub const ANSWER: Duration = Duration::from_secs(20);

/// What a client told of its troubles: the last one, and the last one that no waiting mends.
#[derive(Debug, Default)]
pub struct Trouble {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: Option<String>,
    code: Option<Code>,
    login: Option<String>,
}

impl Trouble {
    fn tell(&self, code: Option<Code>, reason: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if is_login(code, reason) {
            told.login = Some(reason.to_owned());
        }
        told.last = Some(reason.to_owned());
        told.code = code;
    }

    /// The code of what was told last.
    pub(crate) fn code(&self) -> Option<Code> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).code
    }

    /// The brokers answered: what was told before is over.
    pub(crate) fn is_over(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Told::default();
    }

    /// Why an answer did not come: the login, if that was refused.
    fn explain(&self, error: Error) -> Error {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match (&told.login, &told.last) {
            (Some(login), _) => {
                Error::new(ErrorKind::KafkaAuth, "the Kafka cluster does not let this client in")
                    .caused_by(login.as_str())
                    .remedy("correct `transport.kafka.tls` and `sasl`, or the account on the cluster")
            }
            (None, Some(last)) => error.caused_by(last.as_str()),
            (None, None) => error,
        }
    }
}

/// Whether an error says that the brokers do not let this client in, or must not be trusted.
fn is_login(code: Option<Code>, reason: &str) -> bool {
    match code {
        Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism) => true,
        // Also told when a broker goes away in the middle of a handshake: only a certificate is definite.
        Some(Code::SSL) => reason.contains("certificate"),
        _ => false,
    }
}

/// What every client of this crate hears.
#[derive(Clone)]
pub struct Context {
    trouble: Arc<Trouble>,
    token: Option<Arc<Tokens>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("trouble", &self.trouble).finish_non_exhaustive()
    }
}

impl Context {
    /// What the client told of its troubles.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Each trouble is told by `error` as well; what a client tries again is no matter for the operator.
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
        self.trouble.tell(error.rdkafka_error_code(), reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let tokens = self.token.as_ref().ok_or("no token command is set")?;
        tokens.current(self.clock.as_ref()).map_err(|error| {
            self.trouble.tell(Some(Code::Authentication), &error.to_string());
            error.into()
        })
    }
}

impl ConsumerContext for Context {}

/// A client that reads.
pub type Reader = BaseConsumer<Context>;

impl Kafka {
    /// The properties that every client of the pipeline has.
    ///
    /// # Errors
    /// `Config` if a file that they name cannot be read.
    pub fn client(&self) -> Result<ClientConfig> {
        let mut client = ClientConfig::new();
        for (name, value) in &self.properties {
            client.set(name, value.reveal());
        }
        client.set("bootstrap.servers", &self.brokers);
        client.set("client.id", format!("lakeward-{}", self.prefix));
        client.set("allow.auto.create.topics", "false");
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            tls.apply(&mut client)?;
        }
        if let Some(sasl) = &self.sasl {
            sasl.apply(&mut client);
        }
        client.log_level = RDKafkaLogLevel::Warning;
        Ok(client)
    }

    /// What a new client hears.
    pub fn context(&self, clock: &Arc<dyn Clock>) -> Context {
        let command = self.sasl.as_ref().and_then(|sasl| sasl.token_command.clone());
        let token = command.map(|command| Arc::new(Tokens::of(command)));
        Context { trouble: Arc::default(), token, clock: Arc::clone(clock) }
    }

    /// A client that reads committed records, and tells where they end.
    ///
    /// # Errors
    /// `Config` if the properties do not go together.
    pub fn reader(&self, clock: &Arc<dyn Clock>) -> Result<Reader> {
        let mut client = self.client()?;
        client.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        client.set("enable.auto.commit", "false").set("auto.offset.reset", "error");
        // Named, and never joined: without a name the client hands out no records.
        client.set("group.id", format!("lakeward-{}", self.prefix));
        client.set("check.crcs", "true").set("fetch.wait.max.ms", "50");
        self.made(&client, clock)
    }

    /// A client that reads, made of `client`. It can log in, and reads nothing yet.
    pub(crate) fn made(&self, client: &ClientConfig, clock: &Arc<dyn Clock>) -> Result<Reader> {
        let reader: Reader =
            client.create_with_context(self.context(clock)).map_err(|error| unmade(&error))?;
        hear(&reader);
        Ok(reader)
    }
}

/// Lets a client that reads nothing at the moment tell its troubles, and take a login's token, which both wait for
/// somebody who looks for records.
pub(crate) fn hear(reader: &Reader) {
    let reads = reader.assignment().is_ok_and(|places| places.count() > 0);
    if reads {
        // Its records are somebody's, who hears as well.
        return;
    }
    for _ in 0..TOLD {
        if reader.poll(Duration::ZERO).is_none() {
            return;
        }
    }
}

/// How long one try of a question for all topics takes, and how many there are.
const TRY: (Duration, u32) = (Duration::from_secs(4), 5);
/// Most that a client tells between two questions.
const TOLD: usize = 64;

/// What the cluster has: its brokers and all topics that this account can see. A question for all topics creates none,
/// whatever the brokers are set to.
///
/// # Errors
/// The cluster's.
pub fn metadata(reader: &Reader) -> Result<Metadata> {
    let mut tries = 0;
    loop {
        let error = match reader.fetch_metadata(None, TRY.0) {
            Ok(metadata) => {
                reader.context().trouble().is_over();
                return Ok(metadata);
            }
            Err(error) => error,
        };
        // Why nobody answers is told beside.
        hear(reader);
        tries += 1;
        let explained = explained("the topics", &error, reader.context().trouble());
        if tries >= TRY.1 || explained.kind() != ErrorKind::KafkaUnreachable {
            return Err(explained);
        }
    }
}

/// A client that cannot be made: its message may hold the value of a property, its key never does.
pub fn unmade(error: &KafkaError) -> Error {
    let refused = Error::new(ErrorKind::Config, "the Kafka client cannot be made");
    let refused = match error {
        KafkaError::ClientConfig(_, _, property, _) => refused.at("property", property),
        KafkaError::ClientCreation(why) => refused.caused_by(why.as_str()),
        _ => refused,
    };
    refused.remedy("correct `transport.kafka`")
}

/// The cluster's code: those of the admin client are not among what the library calls one.
fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// What an error of the cluster means. `what` was asked for or done.
pub fn explained(what: &'static str, error: &KafkaError, trouble: &Trouble) -> Error {
    let (kind, message, remedy) = match code(error) {
        Some(Code::TopicAuthorizationFailed) => (
            ErrorKind::KafkaDenied,
            "the Kafka cluster denies a right on a topic",
            Some("grant it Read, Write, Create and Describe on the pipeline's topics (prefix)"),
        ),
        Some(Code::TransactionalIdAuthorizationFailed) => (
            ErrorKind::KafkaDenied,
            "the Kafka cluster denies the transactional id",
            Some("grant it Write and Describe on the transactional id `lakeward-<topic_prefix>`"),
        ),
        Some(Code::GroupAuthorizationFailed) => (
            ErrorKind::KafkaDenied,
            "the Kafka cluster denies a right on a consumer group",
            Some(
                "`load` needs Read on the groups `lakeward-<pipeline>` and `lakeward-<pipeline>-reader` (with \
                 `transport.kafka.load.group` on that one and its `-reader`), all else on `lakeward-<topic_prefix>`",
            ),
        ),
        Some(Code::ClusterAuthorizationFailed) => (
            ErrorKind::KafkaDenied,
            "the Kafka cluster denies a right on the cluster",
            Some(
                "grant it Create on the prefix or the cluster, where it makes topics; IdempotentWrite on brokers older than 2.8",
            ),
        ),
        Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism) => (
            ErrorKind::KafkaAuth,
            "the Kafka cluster refused the login",
            Some("correct `transport.kafka.sasl`, or the account on the cluster"),
        ),
        Some(Code::InvalidTransactionTimeout) => (
            ErrorKind::Config,
            "the brokers do not allow transactions as long as `transport.kafka.transaction_timeout`",
            Some("lower it, or raise the brokers' transaction.max.timeout.ms"),
        ),
        Some(Code::InvalidSessionTimeout) => (
            ErrorKind::Config,
            "the brokers do not take `transport.kafka.load.session_timeout`",
            Some(
                "set it between the brokers' group.min.session.timeout.ms (6 s, unless changed) and \
                 group.max.session.timeout.ms, or change those",
            ),
        ),
        Some(Code::InconsistentGroupProtocol) => (
            ErrorKind::Config,
            "members of the consumer group are no workers of `load`",
            Some("give the workers a group of their own: `transport.kafka.load.group`"),
        ),
        Some(
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicId,
        ) => (
            ErrorKind::TopicLost,
            "a topic that is in use is gone",
            Some("if it was deleted for good, begin a new pipeline: another `name` and `topic_prefix`"),
        ),
        Some(
            Code::PolicyViolation
            | Code::InvalidConfig
            | Code::InvalidReplicationFactor
            | Code::InvalidPartitions
            | Code::InvalidTopic,
        ) => (
            ErrorKind::Config,
            "the Kafka cluster refuses a topic with these settings",
            Some("correct `transport.kafka.topics`, or make the topic by hand"),
        ),
        // The one reason of ours: a mark has no key, as it is of no row.
        Some(Code::InvalidRecord) => (
            ErrorKind::Config,
            "the brokers refuse a record: a topic that is compacted takes none without a key, as a TRUNCATE is",
            Some(
                "take `compact` out of `cleanup.policy` of the tables' topics (`transport.kafka.topics.config`)",
            ),
        ),
        Some(_) | None => {
            let unreachable =
                Error::new(ErrorKind::KafkaUnreachable, "the Kafka cluster did not answer as it should");
            let explained = trouble.explain(unreachable.at("asked for", what));
            // The client's own word, unless what it told before says more.
            let more = explained.causes().next().is_some();
            return if more { explained } else { explained.caused_by(error.to_string()) };
        }
    };
    let explained = Error::new(kind, message).at("asked for", what).caused_by(error.to_string());
    match remedy {
        Some(remedy) => explained.remedy(remedy),
        None => explained,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_login_explains_what_fails_until_the_brokers_answer() {
        let trouble = Trouble::default();
        let late = KafkaError::MessageConsumption(Code::OperationTimedOut);
        let kind = |trouble: &Trouble| explained("a commit", &late, trouble).kind();
        trouble.tell(Some(Code::Authentication), "no");
        assert_eq!(kind(&trouble), ErrorKind::KafkaAuth);
        trouble.is_over();
        assert_eq!(kind(&trouble), ErrorKind::KafkaUnreachable, "that was an earlier trouble");
    }
}

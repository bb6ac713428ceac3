//! A real Kafka broker (KRaft, one node) of one's own, on loopback.
//!
//! It has three listeners: a plain one, by which the tests look and act as a super user (and which most pipelines
//! use, too); one with TLS; and one with TLS and SASL, which knows the user [`USER`] by PLAIN, SCRAM and OAUTHBEARER.

mod client;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub use client::Record;

use crate::child::{Child, Signal};
use crate::install::{free_port, installed};
use crate::{Scratch, wait_until};

const VERSION: &str = "4.3.1";
/// The user of the SASL listener.
pub const USER: &str = "lakeward";
/// Its password: a text found nowhere else.
pub const PASSWORD: &str = "S3cret-kafka+p@ss:w#rd";

/// A running broker; killed, and its data removed, when dropped.
#[derive(Debug)]
pub struct Kafka {
    directory: Scratch,
    ports: Ports,
    properties: Vec<(String, String)>,
    child: Option<Child>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: u16,
    tls: u16,
    sasl: u16,
    controller: u16,
}

impl Kafka {
    /// Starts a broker without topics.
    pub fn start() -> Kafka {
        Kafka::with(&[])
    }

    /// Starts one with more properties of its `server.properties`; they win over all others.
    pub fn with(properties: &[(&str, &str)]) -> Kafka {
        let directory = Scratch::new("kafka");
        let copied = Command::new("cp")
            .arg("-a")
            .arg(installed(&format!("kafka/template-{VERSION}")).join("data"))
            .arg(directory.path())
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy Kafka's data directory");
        let ports =
            Ports { plain: free_port(), tls: free_port(), sasl: free_port(), controller: free_port() };
        let properties =
            properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut broker = Kafka { directory, ports, properties, child: None };
        broker.start_again();
        broker
    }

    /// Starts the stopped broker again, on the same ports and data.
    pub fn start_again(&mut self) {
        self.launch();
        self.wait_until_ready();
    }

    /// As [`start_again`](Kafka::start_again), without waiting until it answers.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "the broker runs");
        fs::write(self.directory.join("server.properties"), self.server_properties())
            .expect("the folder is writable");
        fs::write(self.directory.join("log4j2.properties"), LOGGING).expect("the folder is writable");
        let mut command = self.java("kafka.Kafka", "384m");
        command.arg(self.directory.join("server.properties"));
        self.child = Some(Child::start("kafka", &command, self.directory.path()));
    }

    /// Waits until it answers.
    pub fn wait_until_ready(&mut self) {
        wait_until("Kafka to answer", Duration::from_secs(120), || {
            let ended = self.child.as_mut().and_then(Child::ended);
            assert!(ended.is_none(), "Kafka ended ({ended:?}):\n{}", self.log());
            client::answers(&self.brokers()).then_some(())
        });
    }

    /// Starts it again with other properties.
    pub fn restart_with(&mut self, properties: &[(&str, &str)]) {
        self.stop();
        self.properties =
            properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.start_again();
    }

    /// One of Kafka's own tools, to be run beside the broker: `kafka.tools.ConsoleConsumer` and the like.
    pub fn java(&self, class: &str, heap: &str) -> Command {
        let mut command = Command::new("java");
        let classes = installed("kafka").join(format!("classes-{VERSION}-at-work.jsa"));
        command
            .arg(format!("-XX:SharedArchiveFile={}", classes.display()))
            .args([&format!("-Xmx{heap}"), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(installed(&format!("kafka/libs-{VERSION}")).join("*"))
            .arg(format!("-Dlog4j2.configurationFile={}", self.directory.join("log4j2.properties").display()))
            .arg(class);
        command
    }

    fn server_properties(&self) -> String {
        let Ports { plain, tls, sasl, controller } = self.ports;
        let certificates = installed("mysql/template/certificates");
        let read =
            |name: &str| fs::read_to_string(certificates.join(name)).expect("the certificates are readable");
        let pem = self.directory.join("server.pem");
        fs::write(&pem, read("server-key.pem") + &read("server-cert.pem")).expect("the folder is writable");
        let jaas = "org.apache.kafka.common.security";
        let listeners =
            format!("PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{sasl}");
        let mut text = format!(
            "process.roles=broker,controller
node.id=1
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={}
ssl.truststore.type=PEM
ssl.truststore.location={}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl_ssl.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config={jaas}.oauthbearer.OAuthBearerLoginModule required;
super.users=User:ANONYMOUS
log.dirs={}
num.partitions=1
offsets.topic.num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
",
            pem.display(),
            certificates.join("ca.pem").display(),
            self.directory.join("data").display(),
        );
        for (key, value) in &self.properties {
            text.push_str(&format!("{key}={value}\n"));
        }
        text
    }

    /// Address of the plain listener, as `127.0.0.1:1234`.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// Address of the listener with TLS; it trusts [`ca`](Kafka::ca)'s clients and asks for no certificate.
    pub fn tls_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.tls)
    }

    /// Address of the listener with TLS and SASL.
    pub fn sasl_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// Port of the plain listener.
    pub fn port(&self) -> u16 {
        self.ports.plain
    }

    /// The CA certificate to trust.
    pub fn ca(&self) -> PathBuf {
        installed("mysql/template/certificates/ca.pem")
    }

    /// A CA certificate that signed nothing of this broker.
    pub fn wrong_ca(&self) -> PathBuf {
        installed("mysql/template/certificates/other-ca.pem")
    }

    /// What the broker printed.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        read("kafka.out") + &read("kafka.err")
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }

    /// Stops it in an orderly way; its data stay.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.signal(Signal::Term);
            child.wait(Duration::from_secs(120));
        }
    }

    /// Kills it; its data stay as they are.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill();
        }
    }

    /// Stops and starts it.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Pauses it: connections stay open, nothing is answered.
    pub fn pause(&mut self) {
        self.child.as_mut().expect("the broker runs").signal(Signal::Stop);
    }

    /// Ends a pause.
    pub fn resume(&mut self) {
        self.child.as_mut().expect("the broker runs").signal(Signal::Cont);
    }
}

const LOGGING: &str = "status = error
appender.c.type = Console
appender.c.name = c
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.c.ref = c
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_records_survive_a_kill_of_the_broker() {
        let mut broker = Kafka::start();
        broker.create_topic("a", 2, &[("max.message.bytes", "1000")]);
        broker.write("a", 1, Some(b"k"), Some(b"v"), &[("h", b"x")]);
        broker.write("a", 0, None, Some(b"w"), &[]);
        broker.kill9();
        broker.start_again();
        let records = broker.read("a");
        assert_eq!(records.len(), 2);
        let written = records.iter().find(|record| record.partition == 1).unwrap();
        assert_eq!(
            (written.offset, written.key.as_deref(), written.value.as_deref()),
            (0, Some(&b"k"[..]), Some(&b"v"[..]))
        );
        assert_eq!(written.header("h"), Some("x"));
        assert_eq!(broker.topic_setting("a", "max.message.bytes").as_deref(), Some("1000"));
        assert_eq!(broker.topics(), ["a"]);
        assert_eq!(broker.partitions("a"), 2);
        broker.delete_topic("a");
        assert!(broker.topics().is_empty());
    }
}

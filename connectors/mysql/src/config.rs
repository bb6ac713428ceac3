//! The `source.mysql` part of the config: where the server is and how to log in.
//!
//! Parsed once; [`MysqlConfig::problem`] names what no field alone can show. References like
//! `${env:NAME}` are replaced before this is parsed, so a [`Secret`] holds the value itself.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use lakeward_core::{ByteSize, Error, ErrorKind, Period, Result, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

/// How to reach a MySQL server (8.0 to 9.x) and log in to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MysqlConfig {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Account name, without the host part.
    pub user: String,
    /// The account's password. Write it as `${env:NAME}` or `${file:PATH}`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A program and its arguments that print the password on its standard output; run at each
    /// connect, without a shell, for tokens that live for minutes (RDS IAM). Where TLS is at least
    /// `required`, the server may then ask for the token in clear text inside the TLS connection.
    #[serde(default)]
    pub password_command: Option<Vec<String>>,
    /// TLS.
    #[serde(default)]
    pub tls: TlsConfig,
    /// The id under which the server sees this reader; unique among its replicas. Chosen among the
    /// free ones where it is not given.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub server_id: Option<u32>,
    /// How often an idle server sends a sign of life.
    #[serde(default = "default_heartbeat")]
    pub heartbeat: Period,
    /// How long to wait for the TCP connection, and for `password_command`.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Period,
    /// A connection that says nothing for so long is dead. At least twice `heartbeat`.
    #[serde(default = "default_read_timeout")]
    pub read_timeout: Period,
    /// The largest binlog event that is read; a larger one stops the pipeline. The server's own
    /// limit is 1 GiB.
    #[serde(default = "default_max_event")]
    pub max_event: ByteSize,
    /// Which commit time change events carry, and so which partition they fall into.
    #[serde(default)]
    pub commit_time: CommitTime,
}

/// Which commit time change events carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommitTime {
    /// When the server that is read committed the transaction (`immediate_commit_timestamp`).
    #[default]
    Immediate,
    /// When the server where the transaction began committed it (`original_commit_timestamp`).
    Original,
}

/// TLS to the server, in the words of MySQL's own clients (manual: "Command Options for Encrypted
/// Connections").
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// What is asked of the connection.
    pub mode: TlsMode,
    /// PEM file of the certificate authorities to trust, in addition to the public ones. Needed for
    /// `verify-ca`; for `verify-identity` unless a public authority signed the server's certificate.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's certificate chain, where the account asks for one.
    pub cert: Option<PathBuf>,
    /// PEM file of the client's private key.
    pub key: Option<PathBuf>,
}

/// What is asked of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No TLS.
    Disabled,
    /// TLS where the server offers it, else none. Keeps out those who only listen; somebody who can
    /// change traffic can turn it off.
    #[default]
    Preferred,
    /// TLS, or no connection. The certificate is not verified: whoever can answer in the server's
    /// place is believed.
    Required,
    /// TLS, and the certificate's chain must end at `ca` or a public authority; the host name is
    /// not compared. For certificates without names, such as those MySQL makes by itself.
    VerifyCa,
    /// TLS, the chain, and the certificate must name `host`.
    VerifyIdentity,
}

impl TlsMode {
    /// Whether no connection is made without TLS.
    pub fn demands_tls(self) -> bool {
        match self {
            TlsMode::Disabled | TlsMode::Preferred => false,
            TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity => true,
        }
    }
}

fn default_port() -> u16 {
    3306
}

fn default_heartbeat() -> Period {
    Period::millis(100)
}

fn default_connect_timeout() -> Period {
    Period::secs(10)
}

fn default_read_timeout() -> Period {
    Period::secs(15)
}

fn default_max_event() -> ByteSize {
    ByteSize::mib(1024)
}

/// The largest packet of the protocol (MySQL manual: `max_allowed_packet`).
pub const MAX_EVENT: ByteSize = ByteSize::mib(1024);

impl MysqlConfig {
    /// What is wrong with the fields taken together; `place` is where they stand in the config.
    pub fn check(&self, place: &str) -> Result<()> {
        match self.problem() {
            Some((field, problem)) => {
                Err(Error::new(ErrorKind::Config, problem).at("key", format!("{place}.{field}")))
            }
            None => Ok(()),
        }
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        let wrong = |field, problem: &str| Some((field, problem.to_owned()));
        let command = self.password_command.as_deref();
        if self.host.trim().is_empty() {
            return wrong("host", "the host is empty; it must be a name or an address");
        }
        // An IPv6 address may name its link: `fe80::1%eth0`.
        let is_ipv6 = self.host.split('%').next().is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
        if self.host.contains(':') && !is_ipv6 {
            return wrong(
                "host",
                "it must be a name or an address alone, without brackets; the port goes into `port`",
            );
        }
        if self.password.is_some() && command.is_some() {
            return wrong("password_command", "both password and password_command are given; keep one");
        }
        if command.is_some_and(|argv| argv.first().is_none_or(String::is_empty)) {
            return wrong("password_command", "it must name a program");
        }
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            return wrong("tls", "it must have cert and key together");
        }
        if self.tls.mode == TlsMode::VerifyCa && self.tls.ca.is_none() {
            return wrong("tls.mode", "beside verify-ca there must be tls.ca");
        }
        if self.tls.mode == TlsMode::Disabled && (self.tls.ca.is_some() || self.tls.cert.is_some()) {
            return wrong("tls.mode", "it is disabled, but ca or cert is given; one of them must go");
        }
        if self.server_id == Some(0) {
            return wrong("server_id", "it must be at least 1");
        }
        if self.heartbeat.0.is_zero() {
            return wrong("heartbeat", "it must not be zero");
        }
        if self.connect_timeout.0.is_zero() {
            return wrong("connect_timeout", "it must not be zero");
        }
        if self.read_timeout.0 < self.heartbeat.0.saturating_mul(2) {
            let problem =
                format!("{} must be at least twice heartbeat ({})", self.read_timeout, self.heartbeat);
            return Some(("read_timeout", problem));
        }
        if self.max_event < ByteSize::mib(1) || self.max_event > MAX_EVENT {
            return wrong("max_event", "it must lie between 1MiB and 1GiB");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value) -> Result<MysqlConfig, String> {
        let config: MysqlConfig = serde_json::from_value(json).map_err(|error| error.to_string())?;
        config.check("source.mysql").map_err(|error| error.to_string())?;
        Ok(config)
    }

    fn with(extra: serde_json::Value) -> Result<MysqlConfig, String> {
        let mut json = serde_json::json!({ "host": "db", "user": "lakeward" });
        json.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        parse(json)
    }

    #[test]
    fn host_and_user_are_enough() {
        let config = with(serde_json::json!({})).unwrap();
        assert_eq!((config.port, config.tls.mode), (3306, TlsMode::Preferred));
        assert_eq!(config.max_event, MAX_EVENT);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (extra, word) in [
            (serde_json::json!({ "pasword": "x" }), "pasword"),
            (serde_json::json!({ "tls": { "mode": "verify_ca" } }), "verify_ca"),
            (serde_json::json!({ "tls": { "mode": "verify-ca" } }), "tls.ca"),
            (serde_json::json!({ "tls": { "mode": "disabled", "ca": "x" } }), "disabled"),
            (serde_json::json!({ "tls": { "mode": "required", "cert": "x" } }), "cert and key"),
            (serde_json::json!({ "password": "x", "password_command": ["y"] }), "keep one"),
            (serde_json::json!({ "password_command": [] }), "name a program"),
            (serde_json::json!({ "server_id": 0 }), "server_id"),
            (serde_json::json!({ "heartbeat": "10s" }), "twice heartbeat"),
            (serde_json::json!({ "max_event": "2GiB" }), "max_event"),
            (serde_json::json!({ "host": " " }), "host"),
            (serde_json::json!({ "host": "db:3306" }), "the port goes into `port`"),
            (serde_json::json!({ "host": "[::1]:3306" }), "the port goes into `port`"),
        ] {
            let error = with(extra.clone()).unwrap_err();
            assert!(error.contains(word), "{extra}: {error}");
        }
    }

    #[test]
    fn a_host_may_be_an_ipv6_address() {
        for host in ["::1", "2001:db8::7", "fe80::1%eth0"] {
            assert_eq!(with(serde_json::json!({ "host": host })).unwrap().host, host);
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let config = with(serde_json::json!({ "password": "hunter2" })).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}

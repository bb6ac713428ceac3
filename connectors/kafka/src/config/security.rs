//! TLS and login.

use std::path::PathBuf;

use lakeward_core::{Error, ErrorKind, Result, Secret};
use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::Deserialize;

use super::wrong;

/// TLS to the brokers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the certificate authorities to trust. Default: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM file of the client's certificate chain, where the brokers ask for one.
    pub cert: Option<PathBuf>,
    /// PEM file of the client's private key.
    pub key: Option<PathBuf>,
    /// Password of `key`.
    pub key_password: Option<Secret>,
    /// Whether a broker's certificate must name the host that was asked for.
    pub verify_host: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig { ca: None, cert: None, key: None, key_password: None, verify_host: true }
    }
}

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SaslConfig {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// Account name; not for `oauthbearer`.
    #[serde(default)]
    pub username: Option<String>,
    /// Its password. Write it as `${env:NAME}` or `${file:PATH}`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// `oauthbearer`: a program and its arguments, run without a shell, that print a token and, after a blank, the
    /// time at which it ends, in milliseconds since 1970 (AWS MSK IAM: what its signer returns). Run again before it
    /// ends.
    #[serde(default)]
    pub token_command: Option<Vec<String>>,
}

/// A mechanism of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// Name and password, in clear text: `tls` keeps them from others on the wire.
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// A token.
    Oauthbearer,
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
            Mechanism::Oauthbearer => "OAUTHBEARER",
        }
    }
}

impl TlsConfig {
    pub(super) fn check(&self) -> Result<()> {
        if self.cert.is_some() != self.key.is_some() {
            let message = "`cert` and `key` go together";
            return Err(wrong("transport.kafka.tls", message, "set both, or none"));
        }
        Ok(())
    }

    /// The files, as far as they can be read: librdkafka's own message names none.
    fn files(&self) -> [(&'static str, Option<&PathBuf>); 3] {
        [("ca", self.ca.as_ref()), ("cert", self.cert.as_ref()), ("key", self.key.as_ref())]
    }

    /// Its properties.
    ///
    /// # Errors
    /// `Config` if a file cannot be read.
    pub(crate) fn apply(&self, client: &mut ClientConfig) -> Result<()> {
        const PROPERTIES: [&str; 3] = ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location"];
        for ((key, path), property) in self.files().into_iter().zip(PROPERTIES) {
            let Some(path) = path else { continue };
            std::fs::File::open(path).map_err(|error| {
                Error::new(ErrorKind::Config, format!("transport.kafka.tls.{key} cannot be read"))
                    .at("file", path.display())
                    .remedy("name a file that is there, and let this account read it")
                    .caused_by(error)
            })?;
            client.set(property, path.to_string_lossy());
        }
        if let Some(password) = &self.key_password {
            client.set("ssl.key.password", password.reveal());
        }
        client.set("ssl.endpoint.identification.algorithm", if self.verify_host { "https" } else { "none" });
        Ok(())
    }
}

impl SaslConfig {
    pub(super) fn check(&self) -> Result<()> {
        let complete = match self.mechanism {
            Mechanism::Oauthbearer => {
                self.token_command.as_ref().is_some_and(|command| !command.is_empty())
                    && self.password.is_none()
            }
            Mechanism::Plain | Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                self.username.is_some() && self.password.is_some() && self.token_command.is_none()
            }
        };
        if complete {
            return Ok(());
        }
        let (message, remedy) = match self.mechanism {
            Mechanism::Oauthbearer => {
                ("`oauthbearer` needs `token_command`, and no password", "set `token_command`")
            }
            _ => ("this mechanism needs `username` and `password`, and no `token_command`", "set both"),
        };
        Err(wrong("transport.kafka.sasl", message, remedy))
    }

    pub(crate) fn apply(&self, client: &mut ClientConfig) {
        client.set("sasl.mechanism", self.mechanism.name());
        if let Some(username) = &self.username {
            client.set("sasl.username", username);
        }
        if let Some(password) = &self.password {
            client.set("sasl.password", password.reveal());
        }
    }
}

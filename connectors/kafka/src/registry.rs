//! The schema registry, by Confluent's REST interface: schemas are registered once per table version, and
//! looked up once per id and process.
//!
//! Whether an error passes is told by what answered: no answer, a time-out, 429 and 5xx may pass
//! (`RegistryUnreachable`, tried again); any other refusal stays (`RegistryRefused`, which stops). Registering
//! the same schema again gives the same id, so a lost answer does no harm.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use lakeward_core::{Error, ErrorKind, Result, Secret, failpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use crate::format::AvroType;

/// Where the schema registry is, and who asks.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryOptions {
    /// Its address, as `https://registry:8081`; for Apicurio with `/apis/ccompat/v7`.
    pub url: String,
    /// Of basic authentication.
    #[serde(default)]
    pub username: Option<String>,
    /// Of basic authentication.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file of certificates (PEM) of the authorities to trust instead of the public ones.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The media type of Confluent's interface.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A registry, with what was asked of it so far.
pub struct Registry {
    agent: ureq::Agent,
    url: String,
    authorization: Option<Secret>,
    schemas: Mutex<HashMap<u32, Arc<AvroType>>>,
}

#[derive(Serialize)]
struct NewSchema<'a> {
    schema: &'a str,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

#[derive(Deserialize)]
struct Stored {
    schema: String,
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
    #[serde(default)]
    error_code: Option<u32>,
}

/// Confluent's code for an id that is not there: an address that is no registry's answers 404, too.
const NO_SUCH_SCHEMA: u32 = 40_403;

impl Registry {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// `Config` if the address or the file of certificates cannot be used.
    pub fn new(options: &RegistryOptions) -> Result<Registry> {
        let url = options.url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") || url.contains('@') {
            let message = "the schema registry's address is no plain http:// or https:// address";
            return Err(Error::new(ErrorKind::Config, message)
                .at("key", "transport.kafka.schema_registry.url")
                .remedy("write it as https://registry:8081, and the login as username and password"));
        }
        let mut config =
            ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        if let Some(file) = &options.ca {
            let roots = RootCerts::new_with_certs(&certificates(file)?);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        let authorization = options.username.as_ref().map(|user| {
            let password = options.password.as_ref().map_or("", Secret::reveal);
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            Secret::new(format!("Basic {pair}"))
        });
        Ok(Registry { agent: config.build().new_agent(), url, authorization, schemas: Mutex::default() })
    }

    /// The id of a schema, which is registered if it is not there yet: who may only read needs nothing more for one that is.
    ///
    /// # Errors
    /// `RegistryRefused` names the subject, and says what to do about an incompatible schema.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        failpoint::hit("kafka.registry.register")?;
        let body = serde_json::to_vec(&NewSchema { schema })
            .map_err(|error| Error::new(ErrorKind::Bug, "a schema is no JSON text").caused_by(error))?;
        let known = format!("{}/subjects/{}", self.url, escaped(subject));
        let (status, answer) = match self.post(&known, &body)? {
            (200, known) => (200, known),
            (status @ (429 | 500..), answer) => {
                return Err(self.other(status, &answer).at("subject", subject));
            }
            // Whatever it says of what is not there, it tells once more.
            _ => self.post(&format!("{known}/versions"), &body)?,
        };
        let refused = |message: String| refused(message).at("subject", subject);
        match status {
            200 => {
                let registered = serde_json::from_slice::<Registered>(&answer);
                registered
                    .map(|registered| registered.id)
                    .map_err(|error| no_registry(&self.url).caused_by(error))
            }
            409 => {
                Err(refused(format!("the schema is not compatible with the subject's: {}", told(&answer)))
                    .remedy(format!(
                        "let its readers know, then set the subject's compatibility to NONE \
                     (PUT {}/config/{subject}) until the new schema is registered",
                        self.url
                    )))
            }
            status => Err(self.other(status, &answer).at("subject", subject)),
        }
    }

    fn post(&self, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let request = self.signed(self.agent.post(url)).header("Content-Type", MEDIA_TYPE);
        self.answer(request.send(body))
    }

    /// The schema with this id, parsed.
    ///
    /// # Errors
    /// `UnreadableRecord` if there is none, or if it is not of Avro; `RegistryRefused`, `RegistryUnreachable`.
    pub(crate) fn avro(&self, id: u32) -> Result<Arc<AvroType>> {
        if let Some(known) = self.schemas.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(known));
        }
        let request = self.signed(self.agent.get(format!("{}/schemas/ids/{id}", self.url)));
        let (status, answer) = self.answer(request.call())?;
        match status {
            200 => {}
            404 if code(&answer) == Some(NO_SUCH_SCHEMA) => {
                let message = "the schema registry does not know the schema that the record names";
                return Err(Error::new(ErrorKind::UnreadableRecord, message)
                    .at("schema id", id)
                    .at("address", &self.url));
            }
            status => return Err(self.other(status, &answer).at("schema id", id)),
        }
        let stored: Stored =
            serde_json::from_slice(&answer).map_err(|error| no_registry(&self.url).caused_by(error))?;
        if stored.kind.as_deref().is_some_and(|kind| kind != "AVRO") {
            return Err(Error::new(ErrorKind::UnreadableRecord, "the record's schema is not of Avro")
                .at("schema id", id));
        }
        let parsed = Arc::new(AvroType::parse(&stored.schema).map_err(|error| error.at("schema id", id))?);
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        schemas.insert(id, Arc::clone(&parsed));
        Ok(parsed)
    }

    /// How many subjects it has: that it answers, and lets us in.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub fn probe(&self) -> Result<usize> {
        let (status, answer) =
            self.answer(self.signed(self.agent.get(format!("{}/subjects", self.url))).call())?;
        if status != 200 {
            return Err(self.other(status, &answer));
        }
        let subjects = serde_json::from_slice::<Vec<String>>(&answer);
        subjects.map(|subjects| subjects.len()).map_err(|error| no_registry(&self.url).caused_by(error))
    }

    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization.reveal()),
            None => request,
        }
    }

    fn answer(&self, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<(u16, Vec<u8>)> {
        let unreachable = |error: ureq::Error| {
            let failed = match &error {
                ureq::Error::BadUri(_) => refused("the schema registry's address is none".to_owned()),
                error if is_untrusted(error) => refused(
                    "the schema registry's TLS certificate is not trusted".to_owned(),
                )
                .remedy("set schema_registry.ca to the certificate (PEM) of the authority that signed it"),
                _ => Error::new(ErrorKind::RegistryUnreachable, "the schema registry does not answer"),
            };
            failed.at("address", &self.url).caused_by(error)
        };
        let mut response = sent.map_err(unreachable)?;
        let body = response.body_mut().read_to_vec().map_err(unreachable)?;
        Ok((response.status().as_u16(), body))
    }

    /// The error of a status that is not the one hoped for.
    fn other(&self, status: u16, answer: &[u8]) -> Error {
        let told = told(answer);
        match status {
            401 | 403 => refused(format!("the schema registry answers {status}: {told}"))
                .at("address", &self.url)
                .remedy(
                    "set schema_registry.username and password to a user that may read and write subjects; or register \
                     the schema yourself, then reading is enough",
                ),
            // A registry's own 404 has a code.
            404 if code(answer).is_none() => no_registry(&self.url).caused_by(told),
            429 | 500.. => {
                let message = format!("the schema registry answers {status}: {told}");
                Error::new(ErrorKind::RegistryUnreachable, message).at("address", &self.url)
            }
            _ => refused(format!("the schema registry answers {status}: {told}")).at("address", &self.url),
        }
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::RegistryRefused, message)
}

fn no_registry(url: &str) -> Error {
    refused("what answers is no schema registry".to_owned())
        .at("address", url)
        .remedy("set schema_registry.url to the root of Confluent's interface; for Apicurio it ends in /apis/ccompat/v7")
}

/// What a registry says of its refusal.
fn told(answer: &[u8]) -> String {
    const SHOWN: usize = 500;
    match serde_json::from_slice::<Refusal>(answer) {
        Ok(refusal) => refusal.message.chars().take(SHOWN).collect(),
        Err(_) => String::from_utf8_lossy(answer).chars().take(SHOWN).collect(),
    }
}

/// Whether its certificate is the trouble. The handshake is done with the first bytes, so that its error comes as one of
/// reading or writing.
fn is_untrusted(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => true,
        ureq::Error::Io(error) => {
            error.kind() == std::io::ErrorKind::InvalidData && error.to_string().contains("certificate")
        }
        _ => false,
    }
}

/// The code of a refusal.
fn code(answer: &[u8]) -> Option<u32> {
    serde_json::from_slice::<Refusal>(answer).ok()?.error_code
}

/// A subject as a part of an address. Names of topics have no other characters than these that need it.
fn escaped(subject: &str) -> String {
    subject.replace('%', "%25").replace('/', "%2F").replace(' ', "%20")
}

fn certificates(file: &std::path::Path) -> Result<Vec<Certificate<'static>>> {
    let wrong = |message: &str| {
        Error::new(ErrorKind::Config, message).at("key", "schema_registry.ca").at("file", file.display())
    };
    let pem =
        std::fs::read(file).map_err(|error| wrong("the certificates cannot be read").caused_by(error))?;
    let items = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(wrong("the file is not of certificates (PEM)").caused_by(error))),
    });
    let certificates = items.collect::<Result<Vec<_>>>()?;
    match certificates.is_empty() {
        false => Ok(certificates),
        true => Err(wrong("the file has no certificate (PEM)")),
    }
}

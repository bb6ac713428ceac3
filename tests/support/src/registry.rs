//! A real schema registry (Apicurio, with Confluent's interface) of one's own, in memory, on loopback.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::child::Child;
use crate::install::{free_port, installed};
use crate::{Scratch, python_program, wait_patiently, wait_until};

const VERSION: &str = "3.3.3";
/// The user whom a [`Front`] lets in.
pub const USER: &str = "lakeward";
/// Its password: a text found nowhere else.
pub const PASSWORD: &str = "S3cret-registry+p@ss:w#rd";

/// A running registry; killed when dropped.
#[derive(Debug)]
pub struct SchemaRegistry {
    port: u16,
    _child: Child,
    _directory: Scratch,
}

impl SchemaRegistry {
    /// Starts one without schemas, which takes seconds of a core.
    pub fn start() -> SchemaRegistry {
        let directory = Scratch::new("registry");
        let (port, management) = (free_port(), free_port());
        let mut command = Command::new(installed("registry/java/java"));
        command.args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]).args([
            "-Dquarkus.http.host=127.0.0.1".to_owned(),
            format!("-Dquarkus.http.port={port}"),
            "-Dquarkus.management.host=127.0.0.1".to_owned(),
            format!("-Dquarkus.management.port={management}"),
        ]);
        command.arg("-jar").arg(installed(&format!("registry/app-{VERSION}")).join("quarkus-run.jar"));
        let mut child = Child::start("registry", &command, directory.path());
        let url = at(&format!("http://127.0.0.1:{port}"));
        wait_patiently("the schema registry to answer", Duration::from_secs(300), || {
            let ended = child.ended();
            assert!(ended.is_none(), "the schema registry ended ({ended:?})");
            TcpStream::connect(("127.0.0.1", port)).ok()?;
            let asked =
                Command::new("curl").args(["-sf", "-o", "/dev/null", &format!("{url}/subjects")]).status();
            asked.is_ok_and(|status| status.success()).then_some(())
        });
        SchemaRegistry { port, _child: child, _directory: directory }
    }

    /// One for the whole test process: each test has topics of its own names.
    pub fn shared() -> &'static SchemaRegistry {
        static SHARED: OnceLock<SchemaRegistry> = OnceLock::new();
        SHARED.get_or_init(SchemaRegistry::start)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The root of its own interface, which its Java clients use.
    pub fn own_url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/registry/v2", self.port)
    }

    /// The root of Confluent's interface.
    pub fn url(&self) -> String {
        at(&format!("http://127.0.0.1:{}", self.port))
    }

    /// Asks something of it, as `GET` of `subjects`; the answer. Fails unless it is done.
    pub fn ask(&self, method: &str, path: &str, body: Option<&serde_json::Value>) -> serde_json::Value {
        let mut command = Command::new("curl");
        command.args(["-sSf", "-X", method, "-H", "Content-Type: application/json"]);
        if let Some(body) = body {
            command.arg("-d").arg(body.to_string());
        }
        let output = command.arg(format!("{}/{path}", self.url())).output().expect("curl starts");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{method} {path}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// What schemas of a subject, which must have one, must be compatible with from now on: `BACKWARD`, `NONE`.
    pub fn set_compatibility(&self, subject: &str, level: &str) {
        let path = format!("config/{subject}");
        self.ask("PUT", &path, Some(&serde_json::json!({ "compatibility": level })));
    }
}

/// The root of Confluent's interface at an address of the registry, a proxy's perhaps.
pub fn at(address: &str) -> String {
    format!("{address}/apis/ccompat/v7")
}

/// A front with TLS that lets [`USER`] alone in; ended when dropped.
#[derive(Debug)]
pub struct Front {
    port: u16,
    _child: Child,
    _directory: Scratch,
}

impl Front {
    /// Starts one before `registry`.
    pub fn start(registry: &SchemaRegistry) -> Front {
        let directory = Scratch::new("front");
        let certificates = installed("mysql/template/certificates");
        let mut command = Command::new(python_program());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/front.py")).arg(registry.port.to_string());
        command.args([certificates.join("server-cert.pem"), certificates.join("server-key.pem")]);
        command.args([USER, PASSWORD]);
        let mut child = Child::start("front", &command, directory.path());
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        let port = wait_until("the front's port", Duration::from_secs(60), || {
            let ended = child.ended();
            assert!(ended.is_none(), "the front ended: {}", read("front.err"));
            read("front.out").strip_suffix('\n')?.parse().ok()
        });
        Front { port, _child: child, _directory: directory }
    }

    /// The root of Confluent's interface.
    pub fn url(&self) -> String {
        at(&format!("https://127.0.0.1:{}", self.port))
    }

    /// The CA certificate to trust.
    pub fn ca(&self) -> PathBuf {
        installed("mysql/template/certificates/ca.pem")
    }

    /// A CA certificate that did not sign its own.
    pub fn wrong_ca(&self) -> PathBuf {
        installed("mysql/template/certificates/other-ca.pem")
    }
}

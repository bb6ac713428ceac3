//! A real schema registry (Apicurio, with Confluent's interface) of one's own, in memory, on loopback.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::child::Child;
use crate::install::{free_port, installed};
use crate::{Scratch, wait_until};

const VERSION: &str = "3.3.3";

/// A running registry; killed when dropped.
#[derive(Debug)]
pub struct SchemaRegistry {
    port: u16,
    _child: Child,
    _directory: Scratch,
}

impl SchemaRegistry {
    /// Starts one without schemas (4 seconds).
    pub fn start() -> SchemaRegistry {
        let directory = Scratch::new("registry");
        let (port, management) = (free_port(), free_port());
        let mut command = Command::new(installed("registry/java/java"));
        command.arg("-Xmx384m").args([
            "-Dquarkus.http.host=127.0.0.1".to_owned(),
            format!("-Dquarkus.http.port={port}"),
            "-Dquarkus.management.host=127.0.0.1".to_owned(),
            format!("-Dquarkus.management.port={management}"),
        ]);
        command.arg("-jar").arg(installed(&format!("registry/app-{VERSION}")).join("quarkus-run.jar"));
        let mut child = Child::start("registry", &command, directory.path());
        let url = format!("http://127.0.0.1:{port}/apis/ccompat/v7");
        wait_until("the schema registry to answer", Duration::from_secs(300), || {
            let ended = child.ended();
            assert!(ended.is_none(), "the schema registry ended ({ended:?})");
            let asked =
                Command::new("curl").args(["-sf", "-o", "/dev/null", &format!("{url}/subjects")]).status();
            asked.is_ok_and(|status| status.success()).then_some(())
        });
        SchemaRegistry { port, _child: child, _directory: directory }
    }

    /// One for the whole test process.
    pub fn shared() -> &'static SchemaRegistry {
        static SHARED: OnceLock<SchemaRegistry> = OnceLock::new();
        SHARED.get_or_init(SchemaRegistry::start)
    }

    /// The root of its own interface, which its Java clients use.
    pub fn own_url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/registry/v2", self.port)
    }

    /// The root of Confluent's interface.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }
}

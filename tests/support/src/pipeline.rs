//! A pipeline's config file, and lakeward run with it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::mysql::{MySql, PASSWORD, USER};
use crate::s3::{ACCESS_KEY, BUCKET, REGION, S3, SECRET_KEY};
use crate::{LIMIT, Lakeward, Scratch};

/// Where a pipeline's lake is.
#[derive(Clone, Debug)]
pub enum Place<'a> {
    /// A folder of its own.
    Folder,
    /// A prefix of the bucket of a server, reached by `endpoint` (the server's, or a proxy's).
    S3 {
        /// The server.
        server: &'a S3,
        /// Its address.
        endpoint: String,
        /// The prefix.
        prefix: &'a str,
    },
}

impl<'a> Place<'a> {
    /// The prefix `lake` of a server's bucket.
    pub fn s3(server: &'a S3) -> Place<'a> {
        Place::S3 { server, endpoint: server.endpoint(), prefix: "lake" }
    }
}

/// A pipeline: its config, and the environment that the config's secrets come from.
#[derive(Debug)]
pub struct Pipeline {
    directory: Scratch,
    lake: PathBuf,
    /// The config file's content, written anew before each start: change it freely, as
    /// `pipeline.config["lake"]["commit"]["interval"] = "100ms".into()`.
    pub config: Value,
    /// Environment variables given to each start.
    pub environment: Vec<(String, String)>,
}

impl Pipeline {
    /// A pipeline from the binlog's oldest event on, committing every second. `tables` are
    /// patterns as `shop.*`. The server needs [`MySql::create_user`].
    pub fn new(name: &str, server: &MySql, tables: &[&str], place: &Place<'_>) -> Pipeline {
        let directory = Scratch::new("pipeline");
        let mut environment = vec![("MYSQL_PASSWORD".to_owned(), PASSWORD.to_owned())];
        let (lake, folder) = match place {
            Place::Folder => {
                let folder = directory.join("lake");
                (json!({ "url": format!("file://{}", folder.display()) }), folder)
            }
            Place::S3 { server, endpoint, prefix } => {
                environment.push(("AWS_ACCESS_KEY_ID".to_owned(), ACCESS_KEY.to_owned()));
                environment.push(("AWS_SECRET_ACCESS_KEY".to_owned(), SECRET_KEY.to_owned()));
                let s3 = json!({ "endpoint": endpoint, "region": REGION, "path_style": true });
                let url = format!("s3://{BUCKET}/{prefix}");
                (json!({ "url": url, "s3": s3 }), server.folder().join(prefix))
            }
        };
        let mut config = json!({
            "name": name,
            "source": { "mysql": {
                "host": "127.0.0.1", "port": server.port(), "user": USER, "password": "${env:MYSQL_PASSWORD}",
                "tls": { "mode": "verify-identity", "ca": server.ca() },
            } },
            "tables": { "include": tables },
            "snapshot": { "mode": "no_data" },
            "start": "earliest",
            "lake": lake,
        });
        config["lake"]["commit"]["interval"] = "1s".into();
        Pipeline { directory, lake: folder, config, environment }
    }

    /// The folder that holds the lake's objects, on S3 too.
    pub fn lake(&self) -> PathBuf {
        self.lake.clone()
    }

    /// The command `lakeward <arguments> --config <file>`, the file written. (JSON is YAML, too.)
    pub fn command(&self, arguments: &[&str]) -> Command {
        // One for each process: it reads its file when it comes to it, and the next one's may say something else.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let file = self.directory.join(format!("lakeward-{}.yaml", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&file, format!("{:#}\n", self.config)).expect("the folder is writable");
        let mut command = Command::new(Lakeward::binary());
        command.args(arguments).arg("--config").arg(file);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Starts `lakeward <arguments>`.
    pub fn start(&self, arguments: &[&str]) -> Lakeward {
        Lakeward::start(&self.command(arguments))
    }

    /// Starts `lakeward <arguments>` with failpoints, as `lake.decide.before=kill@2`.
    pub fn start_with_failpoints(&self, arguments: &[&str], failpoints: &str) -> Lakeward {
        Lakeward::start(self.command(arguments).env("LAKEWARD_FAILPOINTS", failpoints))
    }

    /// Runs to the position the server has now; fails unless that succeeds.
    pub fn catch_up(&self) -> Lakeward {
        let mut lakeward = self.start(&["run", "--until-caught-up"]);
        lakeward.succeed(LIMIT);
        lakeward
    }
}

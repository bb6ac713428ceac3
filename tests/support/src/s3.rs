//! A real S3 server (versitygw) over a folder, on loopback.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::{Child, Signal};
use crate::install::{free_port, installed};
use crate::{LIMIT, Scratch, wait_until};

/// The bucket that is there from the start.
pub const BUCKET: &str = "lake";
/// The access key.
pub const ACCESS_KEY: &str = "lakeward-access-key";
/// The secret key: a text found nowhere else.
pub const SECRET_KEY: &str = "S3cret-key+7/of=the=lake";
/// The region.
pub const REGION: &str = "us-east-1";

/// A running S3 server with one empty bucket; stopped, and its data removed, when dropped.
#[derive(Debug)]
pub struct S3 {
    directory: Scratch,
    port: u16,
    child: Option<Child>,
}

impl S3 {
    /// Starts a server.
    pub fn start() -> S3 {
        let directory = Scratch::new("s3");
        for folder in ["data/lake", "iam"] {
            fs::create_dir_all(directory.join(folder)).expect("the folder is writable");
        }
        let mut server = S3 { directory, port: free_port(), child: None };
        server.start_again();
        server
    }

    /// Starts the stopped server again, on the same port and data.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the server runs");
        let mut command = Command::new(installed("bin/versitygw"));
        command
            .arg("--port")
            .arg(format!("127.0.0.1:{}", self.port))
            .arg("--iam-dir")
            .arg(self.directory.join("iam"))
            .args(["--quiet", "posix"])
            .arg(self.directory.join("data"))
            .env("ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("ROOT_SECRET_KEY", SECRET_KEY);
        self.child = Some(Child::start("versitygw", &command, self.directory.path()));
        wait_until("the S3 server to answer", LIMIT, || {
            let ended = self.child.as_mut().and_then(Child::ended);
            assert!(ended.is_none(), "the S3 server ended: {ended:?}");
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, as `http://127.0.0.1:1234`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment variables with which an S3 client finds its credentials.
    pub fn environment(&self) -> [(&'static str, &'static str); 3] {
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AWS_REGION", REGION)]
    }

    /// The folder behind [`BUCKET`]: each visible object is a file, read here without any S3 client.
    pub fn folder(&self) -> PathBuf {
        self.directory.join("data").join(BUCKET)
    }

    /// Keys of all visible objects, in order.
    pub fn objects(&self) -> Vec<String> {
        let mut keys = Vec::new();
        collect(&self.folder(), "", &mut keys);
        keys.sort();
        keys
    }

    /// Number of multipart uploads begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        let uploads = self.folder().join(".sgwtmp/multipart");
        let keys = fs::read_dir(uploads).into_iter().flat_map(Iterator::flatten);
        keys.flat_map(|key| fs::read_dir(key.path()).into_iter().flat_map(Iterator::flatten)).count()
    }

    /// Kills the server; its data stay.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill();
        }
    }

    /// Pauses it: connections stay open, nothing is answered.
    pub fn pause(&mut self) {
        self.child.as_mut().expect("the server runs").signal(Signal::Stop);
    }

    /// Ends a pause.
    pub fn resume(&mut self) {
        self.child.as_mut().expect("the server runs").signal(Signal::Cont);
    }
}

fn collect(folder: &Path, prefix: &str, keys: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flat_map(Iterator::flatten) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if prefix.is_empty() && name == ".sgwtmp" {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), &format!("{prefix}{name}/"), keys);
        } else {
            keys.push(format!("{prefix}{name}"));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sha256(text: &str) -> String {
        let file = Scratch::new("sha256");
        fs::write(file.join("text"), text).unwrap();
        let output = Command::new("sha256sum").arg(file.join("text")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).chars().take(64).collect()
    }

    /// Puts an object with curl; the status of the answer, `000` without one.
    pub(crate) fn put(endpoint: &str, key: &str, body: &str, only_if_absent: bool) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", "--data-binary", body])
            // curl of Debian 12 sends no content hash by itself, and escapes `=` in a path differently.
            // By the hash, the server tells an upload that was cut from a whole one.
            .args(["-H", &format!("x-amz-content-sha256: {}", sha256(body))])
            .args(["--aws-sigv4", &format!("aws:amz:{REGION}:s3"), "--user"])
            .arg(format!("{ACCESS_KEY}:{SECRET_KEY}"))
            .arg(format!("{endpoint}/{BUCKET}/{key}"));
        if only_if_absent {
            curl.args(["-H", "If-None-Match: *"]);
        }
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn objects_survive_a_kill_and_a_conditional_put_is_refused_the_second_time() {
        let mut server = S3::start();
        assert_eq!(put(&server.endpoint(), "a/b/c", "x", true), "200");
        server.kill9();
        server.start_again();
        assert_eq!(put(&server.endpoint(), "a/b/c", "x", true), "412");
        assert_eq!(put(&server.endpoint(), "d", "x", false), "200");
        assert_eq!(server.objects(), ["a/b/c", "d"]);
        assert_eq!(server.open_uploads(), 0);
    }
}

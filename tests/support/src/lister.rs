//! A reader that lists a lake again and again while it is written, as any reader may at any moment.
//!
//! It lists the tables' objects first and reads the commit log after that. An object in the list
//! that no record names by then was visible before it was decided: `finish` fails with its name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running lister over one folder (of a local lake, or behind the S3 server's bucket).
#[derive(Debug)]
pub struct Lister {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Listed>>,
}

#[derive(Debug, Default)]
struct Listed {
    rounds: u64,
    named: BTreeSet<String>,
    records: BTreeSet<PathBuf>,
    unnamed: BTreeSet<String>,
}

impl Lister {
    /// Starts it.
    pub fn start(lake: PathBuf) -> Lister {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut listed = Listed::default();
            loop {
                // One more round after the stop: what stands at the end is looked at, too.
                let last = stopping.load(Ordering::Acquire);
                let started = Instant::now();
                round(&lake, &mut listed);
                if last {
                    return listed;
                }
                // A fifth of a core at most, however large the lake is.
                thread::sleep((started.elapsed() * 4).max(Duration::from_millis(5)));
            }
        });
        Lister { stop, thread: Some(thread) }
    }

    /// Stops it; the number of times it has listed. Fails if it ever saw an object that no record
    /// named.
    pub fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().expect("a lister is finished once");
        let listed = thread.join().expect("the lister does not fail");
        assert!(listed.unnamed.is_empty(), "visible, but named by no record: {:?}", listed.unnamed);
        listed.rounds
    }
}

impl Drop for Lister {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn round(lake: &Path, listed: &mut Listed) {
    let mut objects = Vec::new();
    walk(lake, lake, &mut objects);
    let tables = |key: &&String| !key.starts_with("_lakeward/") && !key.starts_with(".sgwtmp/");
    let new: Vec<&String> =
        objects.iter().filter(tables).filter(|key| !listed.named.contains(*key)).collect();
    if !new.is_empty() {
        read_log(lake, listed);
        let unnamed: Vec<String> =
            new.into_iter().filter(|key| !listed.named.contains(*key)).cloned().collect();
        listed.unnamed.extend(unnamed);
    }
    listed.rounds += 1;
}

/// Keys of the files that records name, of all pipelines.
fn read_log(lake: &Path, listed: &mut Listed) {
    let mut keys = Vec::new();
    walk(lake, &lake.join("_lakeward"), &mut keys);
    for key in keys.iter().filter(|key| key.contains("/log/") && key.ends_with(".json")) {
        let path = lake.join(key);
        if listed.records.contains(&path) {
            continue;
        }
        // A record that is only just being written by the S3 server is read in the next round.
        let text = fs::read(&path).unwrap_or_default();
        let Ok(record) = serde_json::from_slice::<Value>(&text) else { continue };
        for file in record["files"].as_array().into_iter().flatten() {
            listed.named.extend(file["key"].as_str().map(str::to_owned));
        }
        listed.records.insert(path);
    }
}

/// Keys of all files below `folder`, relative to `lake`. One that vanishes meanwhile was not there.
fn walk(lake: &Path, folder: &Path, keys: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(lake, &path, keys),
            Ok(_) => {
                let key = path.strip_prefix(lake).map(|key| key.to_string_lossy().into_owned());
                keys.extend(key);
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    fn write(lake: &Scratch, key: &str, text: &str) {
        let path = lake.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    const RECORD: &str = r#"{"files": [{"key": "shop/orders/dt=1/a.parquet"}]}"#;

    #[test]
    fn an_object_that_a_record_names_may_be_seen() {
        let lake = Scratch::new("lister");
        let lister = Lister::start(lake.path().to_owned());
        write(&lake, "_lakeward/shop/log/1.json", RECORD);
        write(&lake, "shop/orders/dt=1/a.parquet", "");
        assert!(lister.finish() > 0);
    }

    #[test]
    #[should_panic(expected = "shop/orders/dt=1/b.parquet")]
    fn an_object_that_no_record_names_is_told() {
        let lake = Scratch::new("lister");
        let lister = Lister::start(lake.path().to_owned());
        write(&lake, "_lakeward/shop/log/1.json", RECORD);
        write(&lake, "shop/orders/dt=1/b.parquet", "");
        lister.finish();
    }
}

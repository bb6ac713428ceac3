//! Where `tests/support/install.sh` puts the servers.

use std::env;
use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// `path` below the servers' home. Fails with the command to run when nothing is there.
pub fn installed(path: &str) -> PathBuf {
    let home = env::var("SERVERS_HOME").map_or_else(
        |_| PathBuf::from(env::var("HOME").expect("HOME is set")).join(".cache/test-servers"),
        PathBuf::from,
    );
    let found = home.join(path);
    assert!(
        found.exists(),
        "{} is not installed: run {}/install.sh",
        found.display(),
        env!("CARGO_MANIFEST_DIR")
    );
    found
}

/// A port that nobody listens on, below those that the system gives to connections: a server that is down for a while
/// finds it free again, and no client that tries to reach it meanwhile can be given it as its own. No other process of
/// the tests is given it while this one lives.
pub fn free_port() -> u16 {
    static OURS: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        while let Some(port) = ours.last_mut().and_then(|block| block.ports.next()) {
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
        ours.push(Block::take());
    }
}

/// Ports that are one process's: the lock of the block's file goes with the process.
struct Block {
    ports: Range<u16>,
    _lock: File,
}

impl Block {
    fn take() -> Block {
        const FIRST: u16 = 10_000;
        const SIZE: u16 = 100;
        const COUNT: u16 = 200;
        let folder = installed("").join("ports");
        fs::create_dir_all(&folder).expect("the servers' home is writable");
        for number in 0..COUNT {
            let lock = File::create(folder.join(number.to_string())).expect("the servers' home is writable");
            if lock.try_lock().is_ok() {
                let first = FIRST + number * SIZE;
                return Block { ports: first..first + SIZE, _lock: lock };
            }
        }
        panic!("no port of loopback is free");
    }
}

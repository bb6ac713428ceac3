//! Where `tests/support/install.sh` puts the servers.

use std::env;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

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
/// finds it free again, and no client that tries to reach it meanwhile can be given it as its own.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Processes that run at once begin far from each other.
        let place = std::process::id().wrapping_mul(7_919).wrapping_add(step) % COUNT;
        let port = u16::try_from(FIRST + place).expect("below 30 000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of loopback is free");
}

//! Where `tests/support/install.sh` puts the servers.

use std::env;
use std::net::TcpListener;
use std::path::PathBuf;

/// `path` below the servers' home. Fails with the command to run when nothing is there.
pub(crate) fn installed(path: &str) -> PathBuf {
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

/// A port of the loopback interface that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}

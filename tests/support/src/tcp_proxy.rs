//! A wire that breaks on demand: forwards TCP connections to a port, and cuts, delays, holds back,
//! swallows or damages what passes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What the wire does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Forwards.
    Pass,
    /// Forwards each piece after this time.
    Latency(Duration),
    /// Holds everything back, in both directions, without closing: a link that went half-open.
    HalfOpen,
    /// Forwards requests and swallows answers.
    SwallowAnswers,
    /// Closes new connections at once.
    Refuse,
}

/// What happens, once, when an answer's byte of a given number passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trap {
    Cut,
    Flip,
}

#[derive(Debug)]
struct State {
    wire: Wire,
    /// Raised by each cut: a pump that began under a lower number ends.
    cuts: u64,
    trap: Option<(Trap, u64)>,
    streams: Vec<TcpStream>,
    accepted: u64,
    stopped: bool,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy on loopback; cut and closed when dropped.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    shared: Arc<Shared>,
}

impl TcpProxy {
    /// Starts a proxy in front of `upstream`, a port of loopback.
    pub fn start(upstream: u16) -> TcpProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let state =
            State { wire: Wire::Pass, cuts: 0, trap: None, streams: Vec::new(), accepted: 0, stopped: false };
        let shared = Arc::new(Shared { upstream, state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.state().stopped {
                    return;
                }
                connect(&accepting, client).ok();
            }
        });
        TcpProxy { port, shared }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what the wire does, for open connections too.
    pub fn set(&self, wire: Wire) {
        self.shared.state().wire = wire;
        self.shared.changed.notify_all();
    }

    /// Closes every open connection now.
    pub fn cut(&self) {
        cut(&mut self.shared.state());
        self.shared.changed.notify_all();
    }

    /// Cuts every connection once `bytes` more bytes of answers have passed.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.state().trap = Some((Trap::Cut, bytes));
    }

    /// Flips a bit of the byte number `bytes` from now that MySQL sends as a replica's: what else it answers only TLS
    /// protects.
    pub fn flip_after(&self, bytes: u64) {
        self.shared.state().trap = Some((Trap::Flip, bytes));
    }

    /// Whether the cut or flip that was set has not happened yet.
    pub fn is_armed(&self) -> bool {
        self.shared.state().trap.is_some()
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.state().accepted
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.cut();
        // Wakes the accepting thread, which then sees that it is over.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

fn cut(state: &mut State) {
    state.cuts += 1;
    for stream in state.streams.drain(..) {
        stream.shutdown(Shutdown::Both).ok();
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream) -> io::Result<()> {
    let mut state = shared.state();
    state.accepted += 1;
    if state.wire == Wire::Refuse {
        return client.shutdown(Shutdown::Both);
    }
    let server = TcpStream::connect(("127.0.0.1", shared.upstream))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    state.streams.extend([client.try_clone()?, server.try_clone()?]);
    let began = state.cuts;
    drop(state);
    let replicates = Arc::new(AtomicBool::new(false));
    let pairs = [(client.try_clone()?, server.try_clone()?, false), (server, client, true)];
    for (from, to, answers) in pairs {
        let (shared, replicates) = (Arc::clone(shared), Arc::clone(&replicates));
        thread::spawn(move || {
            pump(&Lane { shared: &shared, answers, began, replicates: &replicates }, from, to)
        });
    }
    Ok(())
}

/// One direction of a connection.
struct Lane<'a> {
    shared: &'a Shared,
    answers: bool,
    /// The number of cuts when it began.
    began: u64,
    /// The client asked for a binlog: COM_BINLOG_DUMP or COM_BINLOG_DUMP_GTID (MySQL source, `my_command.h`).
    replicates: &'a AtomicBool,
}

impl Lane<'_> {
    /// A command begins a packet whose number is 0, and a client sends it at once.
    fn notice(&self, piece: &[u8]) {
        if !self.answers && matches!(piece, [_, _, _, 0, 0x12 | 0x1e, ..]) {
            self.replicates.store(true, Ordering::SeqCst);
        }
    }

    fn is_watched(&self, trap: Trap) -> bool {
        match trap {
            Trap::Cut => self.answers,
            Trap::Flip => self.answers && self.replicates.load(Ordering::SeqCst),
        }
    }
}

/// Forwards one direction of a connection until either end closes it.
fn pump(lane: &Lane<'_>, mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut piece) {
        lane.notice(&piece[..read]);
        if read == 0 || !pass(lane, &mut piece[..read], &mut to) {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}

/// Does to one piece what the wire does; `false` when the connection is over.
fn pass(lane: &Lane<'_>, piece: &mut [u8], to: &mut TcpStream) -> bool {
    let &Lane { shared, answers, began, .. } = lane;
    let state = shared.state();
    let waiting = |state: &mut State| state.wire == Wire::HalfOpen && state.cuts == began;
    let mut state = shared.changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
    if state.cuts != began {
        return false;
    }
    let wire = state.wire;
    if answers && wire == Wire::SwallowAnswers {
        return true;
    }
    let mut cut_here = None;
    if let Some((trap, left)) = state.trap
        && lane.is_watched(trap)
    {
        match usize::try_from(left).ok().filter(|left| *left < piece.len()) {
            None => state.trap = Some((trap, left - piece.len() as u64)),
            Some(place) => {
                state.trap = None;
                match trap {
                    Trap::Flip => piece[place] ^= 0x10,
                    Trap::Cut => cut_here = Some(place),
                }
            }
        }
    }
    drop(state);
    if let Wire::Latency(time) = wire {
        thread::sleep(time);
    }
    let Some(place) = cut_here else { return to.write_all(piece).is_ok() };
    to.write_all(&piece[..place]).ok();
    cut(&mut shared.state());
    shared.changed.notify_all();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut reader = stream.try_clone().unwrap();
                    io::copy(&mut reader, &mut stream).ok();
                });
            }
        });
        port
    }

    fn connected(proxy: &TcpProxy) -> TcpStream {
        TcpStream::connect(("127.0.0.1", proxy.port())).unwrap()
    }

    fn ask(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
        ask_within(stream, Duration::from_secs(10), text)
    }

    /// No answer comes, in a time in which it would: what is swallowed then is not left for later.
    fn assert_silent(stream: &mut TcpStream, text: &[u8]) {
        let error = ask_within(stream, Duration::from_secs(1), text).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    fn ask_within(stream: &mut TcpStream, time: Duration, text: &[u8]) -> io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(time))?;
        stream.write_all(text)?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn a_half_open_wire_holds_everything_back_until_it_passes_again() {
        let proxy = TcpProxy::start(echo());
        let mut stream = connected(&proxy);
        assert_eq!(ask(&mut stream, b"one").unwrap(), b"one");
        proxy.set(Wire::HalfOpen);
        assert_silent(&mut stream, b"two");
        proxy.set(Wire::Pass);
        let mut late = [0; 3];
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.read_exact(&mut late).unwrap();
        assert_eq!(&late, b"two");
    }

    #[test]
    fn answers_are_swallowed_cut_and_damaged_at_the_byte_that_was_asked_for() {
        let proxy = TcpProxy::start(echo());
        let mut stream = connected(&proxy);
        proxy.flip_after(9);
        // Only once the client has asked for the binlog: 5 bytes of a packet.
        assert_eq!(ask(&mut stream, b"answers to questions").unwrap(), b"answers to questions");
        assert_eq!(ask(&mut stream, b"\x01\0\0\0\x1e").unwrap(), b"\x01\0\0\0\x1e");
        assert_eq!(ask(&mut stream, b"abc").unwrap(), b"abc");
        assert_eq!(ask(&mut stream, b"abc").unwrap(), b"arc");
        assert!(!proxy.is_armed());
        proxy.set(Wire::SwallowAnswers);
        assert_silent(&mut stream, b"x");
        proxy.set(Wire::Pass);
        proxy.cut_after(2);
        assert_eq!(ask(&mut stream, b"abc").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut stream = connected(&proxy);
        assert_eq!(ask(&mut stream, b"abc").unwrap(), b"abc");
        proxy.cut();
        assert!(ask(&mut stream, b"x").is_err());
        proxy.set(Wire::Refuse);
        assert!(ask(&mut connected(&proxy), b"x").is_err());
        assert_eq!(proxy.accepted(), 3);
    }
}

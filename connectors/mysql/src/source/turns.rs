//! The decoder, shared by turns: the reader thread has it for each event, the threads that read chunks
//! have it between two transactions.
//!
//! Guarantees:
//! - *Nobody waits for long.* Who wants a turn between two transactions gets it at the end of the one
//!   at hand, however busy the stream is: the reader thread stays out while somebody waits.
//! - *Nobody asks a server during a turn*, but for the decoder itself where it needs the catalog. A
//!   thread that needs the stream to stand still while it asks [`Turns::hold`]s it instead.
//! - A thread that panicked during a turn ends the run: what it left behind is not trusted.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use lakeward_core::{Error, ErrorKind};

use super::decoder::{Decoder, Halt, Outcome};

/// How long a waiting thread sleeps before it looks whether the run has ended.
const LOOK: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Turns {
    decoder: Mutex<Decoder>,
    /// Threads that wait for a turn between two transactions, have one, or hold the stream.
    waiting: AtomicUsize,
    /// Those that hold the stream.
    holding: AtomicUsize,
    /// The decoder is between two transactions.
    between: Condvar,
    /// Somebody does not wait any more.
    served: Condvar,
    /// There may be more to read.
    more: Condvar,
    ended: AtomicBool,
}

impl Turns {
    pub(super) fn new(decoder: Decoder) -> Turns {
        Turns {
            decoder: Mutex::new(decoder),
            waiting: AtomicUsize::new(0),
            holding: AtomicUsize::new(0),
            between: Condvar::new(),
            served: Condvar::new(),
            more: Condvar::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// The reader thread's turn; before it the stream is let go, after it others have theirs.
    pub(super) fn stream<T>(&self, step: impl FnOnce(&mut Decoder) -> Outcome<T>) -> Outcome<T> {
        let mut decoder = self.lock()?;
        while self.holding.load(Ordering::SeqCst) > 0 {
            decoder = wait(&self.served, decoder)?;
        }
        let done = step(&mut decoder);
        while self.waiting.load(Ordering::SeqCst) > 0 && decoder.is_between() {
            self.between.notify_all();
            decoder = wait(&self.served, decoder)?;
        }
        done
    }

    /// A turn between two transactions.
    pub(crate) fn between<T>(&self, step: impl FnOnce(&mut Decoder) -> Outcome<T>) -> Outcome<T> {
        let _waiting = Waiting::begin(self);
        let mut decoder = self.at_rest()?;
        step(&mut decoder)
    }

    /// A turn between two transactions for who looks for work; who finds none waits here until there may
    /// be some, or for `time`.
    pub(crate) fn find<T>(
        &self,
        time: Duration,
        step: impl FnOnce(&mut Decoder) -> Outcome<Option<T>>,
    ) -> Outcome<Option<T>> {
        let waiting = Waiting::begin(self);
        let mut decoder = self.at_rest()?;
        let found = step(&mut decoder)?;
        drop(waiting);
        if found.is_none() {
            // No range slips by between the look and the wait: it becomes free in a turn, and is told after it.
            let _decoder = self.more.wait_timeout(decoder, time).map_err(|_| broken())?;
        }
        Ok(found)
    }

    /// There may be more to read: those who found nothing look again.
    pub(crate) fn tell_more(&self) {
        self.more.notify_all();
    }

    /// Lets the stream stand between two transactions until the value is dropped; `step` is the turn
    /// in which that begins.
    pub(crate) fn hold<T>(&self, step: impl FnOnce(&mut Decoder) -> Outcome<T>) -> Outcome<(Held<'_>, T)> {
        let waiting = Waiting::begin(self);
        let mut decoder = self.at_rest()?;
        self.holding.fetch_add(1, Ordering::SeqCst);
        let held = Held { turns: self, _waiting: waiting };
        let done = step(&mut decoder)?;
        drop(decoder);
        Ok((held, done))
    }

    fn at_rest(&self) -> Outcome<MutexGuard<'_, Decoder>> {
        let mut decoder = self.lock()?;
        while !decoder.is_between() {
            if self.has_ended() {
                return Err(Halt::Closed);
            }
            decoder = wait(&self.between, decoder)?;
        }
        match self.has_ended() {
            true => Err(Halt::Closed),
            false => Ok(decoder),
        }
    }

    /// The run has ended: no more turns are given.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.between.notify_all();
        self.served.notify_all();
        self.more.notify_all();
    }

    /// Whether the run has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn lock(&self) -> Outcome<MutexGuard<'_, Decoder>> {
        self.decoder.lock().map_err(|_| broken())
    }
}

fn wait<'a>(condition: &Condvar, decoder: MutexGuard<'a, Decoder>) -> Outcome<MutexGuard<'a, Decoder>> {
    match condition.wait_timeout(decoder, LOOK) {
        Ok((decoder, _)) => Ok(decoder),
        Err(_) => Err(broken()),
    }
}

fn broken() -> Halt {
    Halt::Failed(Error::new(ErrorKind::Bug, "a thread panicked while it had the decoder"))
}

/// Counts a thread that waits, for as long as it lives.
struct Waiting<'a>(&'a Turns);

impl<'a> Waiting<'a> {
    fn begin(turns: &'a Turns) -> Self {
        turns.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(turns)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.served.notify_all();
    }
}

/// The stream stands still while this lives.
pub(crate) struct Held<'a> {
    turns: &'a Turns,
    _waiting: Waiting<'a>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.turns.holding.fetch_sub(1, Ordering::SeqCst);
        self.turns.served.notify_all();
    }
}

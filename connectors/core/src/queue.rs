//! The way from the reader thread to the async side: first in, first out, bounded by bytes.
//!
//! Guarantee: at most `limit` bytes are here or with the receiver, or one item where that alone is
//! larger; the writer waits meanwhile. What the receiver took counts until it asks for the next item:
//! then it is done with it. So nothing is read from the server while one very large row is encoded,
//! which is what bounds the copies of it. Either side's end is seen by the other: a dropped receiver
//! makes `send` fail, a dropped sender lets the receiver read what is left and then `None`.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

struct Inner<T> {
    state: Mutex<State<T>>,
    /// Room, or the end of the receiver.
    room: Condvar,
    /// An item, or the end of the sender.
    item: Notify,
    limit: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    /// Of the items, and of the one that the receiver is at.
    bytes: usize,
    /// Of the item that the receiver is at.
    taken: usize,
    sender_gone: bool,
    receiver_gone: bool,
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

/// Makes both ends.
pub fn queue<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let state =
        State { items: VecDeque::new(), bytes: 0, taken: 0, sender_gone: false, receiver_gone: false };
    let inner =
        Arc::new(Inner { state: Mutex::new(state), room: Condvar::new(), item: Notify::new(), limit });
    (Sender(inner.clone()), Receiver(inner))
}

/// The writing end, for a thread.
pub struct Sender<T>(Arc<Inner<T>>);

impl<T> Sender<T> {
    /// Waits for room and appends; an item above the limit is waited for until the receiver is done
    /// with it.
    pub fn send(&self, item: T, bytes: usize) -> Result<(), Closed> {
        let mut state = self.0.lock();
        while !state.receiver_gone && state.bytes > 0 && state.bytes.saturating_add(bytes) > self.0.limit {
            state = self.0.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.receiver_gone {
            return Err(Closed);
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.items.push_back((item, bytes));
        self.0.item.notify_one();
        while !state.receiver_gone && state.bytes > self.0.limit {
            state = self.0.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.receiver_gone { Err(Closed) } else { Ok(()) }
    }

    /// Whether the receiver is still there.
    pub fn check(&self) -> Result<(), Closed> {
        if self.0.lock().receiver_gone { Err(Closed) } else { Ok(()) }
    }

    /// Nothing more comes, although others still hold this end: what they send is refused.
    pub fn end(&self) {
        let mut state = self.0.lock();
        state.sender_gone = true;
        state.receiver_gone = true;
        drop(state);
        self.0.item.notify_one();
        self.0.room.notify_all();
    }

    /// Waits for `time`, or until the receiver is gone.
    pub fn pause(&self, time: Duration) -> Result<(), Closed> {
        let state = self.0.lock();
        let waited = self.0.room.wait_timeout_while(state, time, |state| !state.receiver_gone);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.receiver_gone { Err(Closed) } else { Ok(()) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().sender_gone = true;
        self.0.item.notify_one();
    }
}

/// The reading end, for a task.
pub struct Receiver<T>(Arc<Inner<T>>);

impl<T> Receiver<T> {
    /// The next item; `None` once the sender is gone and nothing is left. Cancel-safe: an item is
    /// taken and given in one step.
    pub async fn next(&mut self) -> Option<T> {
        loop {
            // A permit that is given between the look and the wait is kept by `Notify`.
            {
                let mut state = self.0.lock();
                let done = std::mem::take(&mut state.taken);
                if done > 0 {
                    state.bytes = state.bytes.saturating_sub(done);
                    // Who only pauses waits there as well.
                    self.0.room.notify_all();
                }
                if let Some((item, bytes)) = state.items.pop_front() {
                    state.taken = bytes;
                    return Some(item);
                }
                if state.sender_gone {
                    return None;
                }
            }
            self.0.item.notified().await;
        }
    }

    /// Tells the sender to stop.
    pub fn close(&mut self) {
        self.0.lock().receiver_gone = true;
        self.0.room.notify_all();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn items_come_in_order_and_the_end_is_seen() {
        let (sender, mut receiver) = queue(10);
        let writer = std::thread::spawn(move || {
            for item in 0..1000 {
                sender.send(item, 3).unwrap();
            }
        });
        for item in 0..1000 {
            assert_eq!(receiver.next().await, Some(item));
        }
        assert_eq!(receiver.next().await, None);
        writer.join().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_writer_goes_on_only_when_the_receiver_is_done_with_a_large_item() {
        let (sender, mut receiver) = queue(10);
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let writer = std::thread::spawn(move || {
            sender.send(1, 1000).unwrap();
            let done = seen.load(Ordering::SeqCst);
            sender.send(2, 1).unwrap();
            done
        });
        assert_eq!(receiver.next().await, Some(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
        done.store(true, Ordering::SeqCst);
        assert_eq!(receiver.next().await, Some(2));
        assert!(writer.join().unwrap(), "the writer went on while the large item was in use");
    }

    #[test]
    fn a_writer_that_waits_learns_that_the_reader_is_gone() {
        let (sender, receiver) = queue(1);
        sender.send(1, 1).unwrap();
        let writer = std::thread::spawn(move || sender.send(2, 1));
        drop(receiver);
        assert_eq!(writer.join().unwrap(), Err(Closed));
    }
}

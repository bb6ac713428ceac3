//! Living keys: what a source learns of the rows that a sink takes to be there.
//!
//! A source sees the server, a sink what was committed. A row that vanished from the server without a
//! trace in the log is told only by both together, and so is what a table held that lost all its rows at
//! once. The way of a question:
//!
//! 1. The source yields [`crate::Feed::Keys`]. Where that comes right after a boundary, the boundary is
//!    committed first; so the keys are those of all that came before it, or of the last commit.
//! 2. [`crate::Sink::keys`] reads them, beside all else that goes on.
//! 3. [`crate::Source::keys`] takes the answer. One question is open at a time: another takes its place.
//!
//! There may be more keys than memory holds: an answer is one class of them, by a hash, as large as fits,
//! and names the class to ask for next.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::TableSchema;

/// A question for the keys of a table that live in the sink.
///
/// A key lives there if its event with the greatest number is not `d` and not below the table's last
/// mark. Keys are values of the columns of the version's key, also in events of earlier versions: those
/// of the columns with the same numbers.
#[derive(Clone, Debug)]
pub struct KeysAsked {
    /// Names the question in its answer.
    pub id: u64,
    /// The table, in the version whose key is meant. It has one.
    pub schema: Arc<TableSchema>,
    /// The class that is asked for, and what may follow it.
    pub class: KeyClass,
    /// Only keys whose newest event has a lower number than this.
    pub below: i64,
}

/// The keys of a class that live.
#[derive(Clone, Debug, Default)]
pub struct LivingKeys {
    /// The columns of the version's key, in key order, with the version's Arrow types. Each key once, in
    /// an order that depends on the keys and the class alone.
    pub keys: Vec<RecordBatch>,
    /// What to ask for next; `None`: these were the last.
    pub next: Option<KeyClass>,
}

/// Keys by their hash: those whose lowest `depth` bits are `bits`. The default is all keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyClass {
    bits: u64,
    depth: u32,
}

impl KeyClass {
    /// Whether keys of this hash are in it.
    pub fn has(self, hash: u64) -> bool {
        let mask = 1u64.checked_shl(self.depth).map_or(u64::MAX, |bit| bit - 1);
        hash & mask == self.bits
    }

    /// Its first half; `None` where it cannot be halved any more.
    pub fn halved(self) -> Option<KeyClass> {
        (self.depth < u64::BITS).then_some(KeyClass { bits: self.bits, depth: self.depth + 1 })
    }

    /// The class that follows this one; `None` after the last. Whatever is halved on the way, each key is
    /// in exactly one class of the way.
    pub fn next(self) -> Option<KeyClass> {
        let KeyClass { mut bits, mut depth } = self;
        while depth > 0 {
            let half = 1u64 << (depth - 1);
            if bits & half == 0 {
                return Some(KeyClass { bits: bits | half, depth });
            }
            bits &= !half;
            depth -= 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn each_key_is_in_one_class_however_classes_are_halved(
            hashes in proptest::collection::vec(0u64..4096, 1..50),
            halvings in proptest::collection::vec(0u32..4, 1..200),
        ) {
            let mut halvings = halvings.into_iter();
            let mut times = vec![0; hashes.len()];
            let mut class = Some(KeyClass::default());
            while let Some(mut at) = class {
                for _ in 0..halvings.next().unwrap_or_default() {
                    at = at.halved().unwrap_or(at);
                }
                for (hash, times) in hashes.iter().zip(&mut times) {
                    *times += u32::from(at.has(*hash));
                }
                class = at.next();
            }
            proptest::prop_assert!(times.iter().all(|times| *times == 1), "{times:?}");
        }
    }

    #[test]
    fn a_class_of_one_hash_cannot_be_halved() {
        let mut class = KeyClass::default();
        while let Some(half) = class.halved() {
            class = half;
        }
        assert!(class.has(0) && !class.has(1 << 63));
    }
}

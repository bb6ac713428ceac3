//! What ends a text, or stands in it escaped (RFC 8259, 7): looked for in eight bytes at a time.
//!
//! The looks mark bytes of a word, read little-endian, by their highest bit. The lowest mark is exact: a subtraction
//! borrows only from bytes above one that is marked rightly.

const ONES: u64 = u64::MAX / 255;
const HIGHEST: u64 = ONES << 7;

const fn every(byte: u8) -> u64 {
    ONES * byte as u64
}

/// Marks bytes below `limit`, which is at most 0x80.
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(every(limit)) & !word & HIGHEST
}

const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ every(byte), 1)
}

/// Marks bytes that end a text, or begin an escape.
#[inline]
pub(super) fn ends_or_escapes(word: u64) -> u64 {
    equal(word, b'"') | equal(word, b'\\')
}

/// Marks bytes that cannot stand in a text as they are: a quote, a backslash, a control character.
#[inline]
pub(super) fn special(word: u64) -> u64 {
    ends_or_escapes(word) | below(word, 0x20)
}

/// How many bytes stand before the first marked one.
#[inline]
pub(super) fn before_mark(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// The place of the first byte that is marked.
#[inline]
pub(super) fn position(bytes: &[u8], marks: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(number * 8 + before_mark(found));
        }
    }
    // Filled up with what nothing marks.
    let mut last = [b'a'; 8];
    last.get_mut(..rest.len())?.copy_from_slice(rest);
    let found = marks(u64::from_le_bytes(last));
    (found != 0).then(|| words.len() * 8 + before_mark(found))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_one_is_found(bytes in prop::collection::vec(prop_oneof![8 => b'a'..=b'c', 1 => any::<u8>()], 0..60)) {
            let of_two = |byte: &u8| matches!(byte, b'"' | b'\\');
            prop_assert_eq!(position(&bytes, ends_or_escapes), bytes.iter().position(of_two));
            let of_all = |byte: &u8| of_two(byte) || *byte < 0x20;
            prop_assert_eq!(position(&bytes, special), bytes.iter().position(of_all));
        }
    }

    #[test]
    fn each_byte_is_told_from_its_neighbours() {
        for byte in 0..=255 {
            for neighbour in [0, 0x1f, b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 255] {
                let bytes = [b'a', byte, neighbour];
                let one_by_one = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                assert_eq!(position(&bytes, special), one_by_one, "{bytes:?}");
            }
        }
    }
}

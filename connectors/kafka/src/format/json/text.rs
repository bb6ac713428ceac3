//! What ends a text, or stands in it escaped (RFC 8259, 7).

/// Bytes that are looked at together: as many as the processor compares at once everywhere.
const TOGETHER: usize = 16;

/// Whether a byte cannot stand in a text as it is: a quote, a backslash, a control character.
#[inline]
pub(super) fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The place of the first byte that `is`.
#[inline]
pub(super) fn position(bytes: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let (chunks, _) = bytes.as_chunks::<TOGETHER>();
    let without = |chunk: &&[u8; TOGETHER]| !chunk.iter().fold(false, |found, byte| found | is(*byte));
    let from = chunks.iter().take_while(without).count() * TOGETHER;
    let rest = bytes.get(from..)?;
    rest.iter().position(|byte| is(*byte)).map(|place| from + place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_one_is_found(bytes in prop::collection::vec(prop_oneof![8 => b'a'..=b'c', 1 => any::<u8>()], 0..100)) {
            let one_by_one = bytes.iter().position(|byte| is_special(*byte));
            prop_assert_eq!(position(&bytes, is_special), one_by_one);
        }
    }
}

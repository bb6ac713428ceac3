//! Bytes as text: Debezium's `binary.handling.mode`, and the base64 of Kafka Connect's JSON.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use lakeward_core::Result;

use super::options::BinaryMode;
use super::unreadable;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends the text of `bytes`; for `bytes`, the base64 of JSON.
pub(super) fn push(mode: BinaryMode, bytes: &[u8], into: &mut Vec<u8>) {
    match mode {
        BinaryMode::Bytes | BinaryMode::Base64 => push_base64(&STANDARD, bytes, into),
        BinaryMode::Base64UrlSafe => push_base64(&URL_SAFE, bytes, into),
        BinaryMode::Hex => {
            for byte in bytes {
                let digit = |digit: u8| HEX.get(usize::from(digit)).copied().unwrap_or(b'?');
                into.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

fn push_base64(engine: &impl Engine, bytes: &[u8], into: &mut Vec<u8>) {
    let start = into.len();
    into.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(place) = into.get_mut(start..) {
        // The place is of the length that padded base64 has, so all of it is written.
        let written = engine.encode_slice(bytes, place).unwrap_or(0);
        into.truncate(start + written);
    }
}

/// Reads the text of bytes, as [`push`] writes it, into `into`.
pub(super) fn read(mode: BinaryMode, text: &[u8], into: &mut Vec<u8>) -> Result<()> {
    into.clear();
    let read = match mode {
        BinaryMode::Bytes | BinaryMode::Base64 => STANDARD.decode_vec(text, into).is_ok(),
        BinaryMode::Base64UrlSafe => URL_SAFE.decode_vec(text, into).is_ok(),
        BinaryMode::Hex => read_hex(text, into).is_some(),
    };
    read.then_some(()).ok_or_else(|| unreadable("text that is no base64 or hexadecimal of bytes"))
}

fn read_hex(text: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.chunks(2);
    for pair in pairs {
        let [high, low] = pair else { return None };
        into.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_back_in_every_mode(bytes: Vec<u8>) {
            for mode in [BinaryMode::Bytes, BinaryMode::Base64, BinaryMode::Base64UrlSafe, BinaryMode::Hex] {
                let (mut text, mut back) = (vec![b'x'], Vec::new());
                push(mode, &bytes, &mut text);
                read(mode, &text[1..], &mut back).unwrap();
                prop_assert_eq!(&back, &bytes);
            }
        }
    }

    #[test]
    fn text_that_is_none_is_refused() {
        for mode in [BinaryMode::Bytes, BinaryMode::Hex] {
            assert!(read(mode, b"abc", &mut Vec::new()).is_err());
        }
    }
}

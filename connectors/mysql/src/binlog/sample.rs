//! Event bytes for the tests of this folder.

use super::event::{HEADER_LEN, Header};

/// A whole event without a checksum.
pub(crate) fn event(code: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER_LEN + body.len()).unwrap();
    let header = Header { timestamp: 1_700_000_000, code, server_id: 1, size, log_pos: 4, flags: 0 };
    [&header.to_bytes()[..], body].concat()
}

/// The body of a query event.
pub(crate) fn query(database: &str, sql: impl AsRef<[u8]>, mode: u64) -> Vec<u8> {
    let mut variables = vec![0, 0, 0, 0, 0, 1];
    variables.extend(mode.to_le_bytes());
    variables.extend([4, 45, 0, 45, 0, 45, 0]);
    let mut body = vec![0; 8];
    body.push(u8::try_from(database.len()).unwrap());
    body.extend([0, 0]);
    body.extend(u16::try_from(variables.len()).unwrap().to_le_bytes());
    body.extend(variables);
    body.extend(database.as_bytes());
    body.push(0);
    body.extend(sql.as_ref());
    body
}

/// The body of a payload event that declares `size` uncompressed bytes.
pub(crate) fn payload(events: &[u8], compression: u8, size: u64) -> Vec<u8> {
    let data = match compression {
        0 => zstd::encode_all(events, 3).unwrap(),
        _ => events.to_vec(),
    };
    let field = |field: u8, value: u64| {
        let mut bytes = vec![field, 9, 0xfe];
        bytes.extend(value.to_le_bytes());
        bytes
    };
    let method = if compression < 0xfb { vec![2, 1, compression] } else { vec![2, 3, 0xfc, compression, 0] };
    [&field(1, data.len() as u64)[..], &method, &field(3, size), &[0], &data].concat()
}

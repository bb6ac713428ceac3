//! Arbitrary bytes as binlog events.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lakeward_mysql::binlog::fuzz(data);
});

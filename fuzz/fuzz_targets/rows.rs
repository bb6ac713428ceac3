//! Arbitrary bytes as a table map and a rows event.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    lakeward_mysql::rows::fuzz(data);
});

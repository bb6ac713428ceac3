//! Arbitrary text as a config file.
#![no_main]

use lakeward::config::{Outside, parse};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let outside = Outside {
        variable: &|name| (name == "A").then(|| "value".to_owned()),
        file: &|_| Err(std::io::ErrorKind::NotFound.into()),
    };
    // Most texts are refused; what matters is that they are, without a panic.
    drop(parse(text, &outside));
});

//! See `rdev_fuzz::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rdev_fuzz::request(bytes));

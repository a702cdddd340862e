//! See `rdev_fuzz::sse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rdev_fuzz::sse(bytes));

//! See `rdev_fuzz::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rdev_fuzz::frame(bytes));

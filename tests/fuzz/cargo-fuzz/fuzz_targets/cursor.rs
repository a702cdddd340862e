//! See `rdev_fuzz::cursor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rdev_fuzz::cursor(bytes));

//! See `rdev_fuzz::subject`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rdev_fuzz::subject(bytes));

//! The shim as its users see it: a program that is spoken to over its standard input and output,
//! and is killed at bad moments.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other reply fails the test"
)]
#![expect(clippy::print_stdout, reason = "measurements are printed")]

mod channel;
mod control;
mod faults;
mod flow;
mod outcomes;
mod speed;
mod terminal;

//! What every service needs around its work: telemetry, metrics, shutdown, health and the shape of `main`.
//!
//! Invariant: nothing here knows what rdev does.

pub mod health;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod readiness;
pub mod service;
pub mod shutdown;
pub mod telemetry;
pub mod trace;

pub use shutdown::Shutdown;

use std::time::Duration;

/// For every service: an idle reader is a few buffers of which little is ever touched, and an
/// allocator that keeps sizes apart leaves the rest of them untouched (a fifth less memory). Without
/// huge pages, which would touch all of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Parses a duration as settings write it: `15s`, `6h`, `7days`. For clap's `value_parser`.
///
/// # Errors
/// Says what a duration looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        format!("{error}; a duration is a number and a unit, as in 15s, 6h, 7days")
    })
}

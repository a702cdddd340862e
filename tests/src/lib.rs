//! The harness: real servers, the services as real processes, and clients. Used by the tests
//! and by the bench program.
//!
//! Invariant: every world has its own nats-server store, its own database, its own ports and its
//! own directory; when it is dropped nothing of it is left.

pub mod asking;
pub mod audit;
pub mod client;
pub mod cluster;
pub mod count;
pub mod life;
pub mod log;
pub mod proxy;
pub mod reader;
pub mod seat;
pub mod transcript;
pub mod world;
pub mod writer;

/// An error of the harness; tests only print it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What harness functions return.
pub type Outcome<T> = Result<T, Failure>;

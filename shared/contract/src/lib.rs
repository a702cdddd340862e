//! The language of rdev: ids, subjects, event shapes, cursors and HTTP bodies.
//!
//! Everything here is a name or a shape that somebody outside this repository may rely on.
//! Invariant: no IO, no clock and no async runtime; a value that exists is valid, because
//! parsing is the only way to make one.

pub mod agent;
pub mod as_of;
pub mod control;
pub mod cursor;
pub mod envelope;
pub mod event;
pub mod http;
pub mod id;
pub mod key;
pub mod position;
pub mod published;
pub mod queue;
pub mod session;
pub mod sse;
pub mod subject;
pub mod trace;
pub mod trail;

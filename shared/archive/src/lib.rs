//! What retention will remove from the log, kept: one object for each exec that has ended, in a
//! directory or in S3.
//!
//! An object is lines of JSON, compressed (`line`, `block`, `footer`): every stored message of
//! its exec as it was, so that cursors, chain and hashes are those of the log. [`Export`] writes one
//! and reads it back, [`Archived`] reads any part of one without the rest. [`Archive`] finds them;
//! which execs are due is decided in the domain, and done by the projector.
//!
//! Invariants: an object appears whole or not at all, and is never changed; nothing is handed out
//! whose hash was not compared; the log is asked first, so what is here is only what it has lost.

mod block;
mod config;
mod export;
mod footer;
mod http;
mod key;
mod line;
mod position;
mod read;
mod store;

pub use config::{ArchiveArgs, ArchiveUrl, InvalidArchiveUrl};
pub use export::{Export, Exported};
pub use footer::Footer;
pub use key::Key;
pub use position::Position;
pub use read::Archived;
pub use store::{Archive, ArchiveError};

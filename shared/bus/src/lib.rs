//! The only code that speaks NATS.
//!
//! The log is three JetStream streams ([`topology`]). Writing is fenced: every publish into the
//! exec stream names the sequence that it expects as its exec's last, so the broker itself
//! refuses duplicates, reordering and writers that have been replaced ([`append`], [`submit`]).
//! Reading is by sequence ([`read`], [`page`]), live ([`live`]) or as a follower of everything
//! ([`follow`]). One process at a time schedules ([`term`]): it follows what waits ([`waiting`]),
//! counts the executors' slots ([`slots`]) and admits commands ([`admit`]), which a durable consumer
//! hands out ([`queue`]). Orders for them are kept in a stream of their own ([`control`]), who gave them in
//! another ([`trail`]), API keys in a bucket ([`keys`]). Which user of a server may do what of all this
//! is said in one place ([`access`]).
//!
//! What makes a round trip returns a boxed future: an async function is compiled into every crate that
//! awaits it, and a box is where that ends. What is called for each message is not boxed.
//!
//! Invariant: a publish is two awaits, the second being the ack; what was not acknowledged is
//! looked up at the leader before anything else is decided.

pub mod access;
mod activity;
pub mod admit;
pub mod append;
mod capacity;
mod connect;
pub mod control;
mod count;
mod credentials;
pub mod fence;
pub mod follow;
pub mod keys;
pub mod live;
mod metrics;
mod moment;
mod pace;
pub mod page;
mod publish;
pub mod queue;
pub mod read;
pub mod session;
pub mod slots;
pub mod submit;
pub mod term;
pub mod topology;
pub mod trail;
pub mod waiting;

pub use connect::{Bus, BusConfig, ConnectError};
pub use credentials::Credentials;
pub use pace::Pace;
pub use rdev_contract::envelope::Stored;
pub use read::{LogStream, ReadError, StreamIdentity};

//! What an executor and the shim in a pod say to each other, and how the shim keeps output on disk.
//!
//! Two formats share one way of cutting a byte stream into frames ([`wire`]):
//! - the *channel*: [`Request`]s from an executor to `rdev-shim serve`, [`Reply`]s back, over the
//!   standard input and output of that process;
//! - the *journal*: the append-only file in which a supervisor keeps what its command printed and
//!   how it ended ([`journal`]); the supervisor writes it, `serve` reads it.
//!
//! Invariant: this crate only turns values into bytes and back. It does no IO and knows no clock.
//! Both formats only grow, because an old supervisor outlives a new shim: JSON fields are only ever
//! added, unknown fields are ignored, frames of an unknown kind are skipped.

mod chunk;
mod end;
pub mod journal;
mod kind;
mod reply;
mod request;
mod spec;
mod terminal;
pub mod wire;

pub use chunk::{Acknowledged, Chunk, MAX_CHUNK_BYTES, Offsets, Stream};
pub use end::{End, Exit};
pub use reply::{ExecState, RefusalCode, Reply};
pub use request::{MAX_STDIN_BYTES, Request};
pub use spec::{Overflow, Spec, StopStep};
pub use terminal::{MAX_UNACKNOWLEDGED_RESIZES, Resize, TerminalSize};
pub use wire::{FrameError, MAX_FRAME_BYTES};

/// The version of the channel's protocol, told in [`Reply::Hello`]. It changes only when an older
/// peer would misunderstand; what an older peer can ignore needs no new version.
pub const PROTOCOL_VERSION: u32 = 1;

/// The name by which an executor calls one exec on one channel. The executor chooses it; it means
/// nothing on another channel.
pub type Tag = u32;

//! What an executor asks of the shim.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::wire::{
    FrameError, put_json, put_json_and_bytes, read_json, read_json_and_bytes, take_frame,
};
use crate::{Acknowledged, Offsets, Spec, Tag, TerminalSize, kind};

/// The most bytes of standard input in one request: they pass to the supervisor as one packet.
pub const MAX_STDIN_BYTES: usize = 32 * 1024;

/// One request. Every request that carries a tag speaks of the exec that a launch or a follow on
/// the same channel gave that tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Start the command, or follow it when `key` is claimed already. Answered by `Accepted` or
    /// `Refused`, then `Output` and `End` or `Lost`.
    Launch {
        /// The name for this exec on this channel; it must be free.
        tag: Tag,
        /// The exec: project, session, stream and command sequence. One key runs once.
        key: String,
        /// The shim instance that may launch it; empty means any (the first contact).
        #[serde(default)]
        instance: String,
        /// What to run. Not looked at when the key is claimed already.
        spec: Box<Spec>,
        /// Where to begin sending output.
        #[serde(default)]
        from: Offsets,
        /// How many bytes may be sent beyond what is acknowledged.
        window_bytes: u64,
    },
    /// Follow the command of `key`; never start it. A missing claim is refused with `NoClaim`.
    Follow {
        /// The name for this exec on this channel; it must be free.
        tag: Tag,
        /// The exec.
        key: String,
        /// The shim instance that launched it; empty means any.
        #[serde(default)]
        instance: String,
        /// Where to begin sending output.
        #[serde(default)]
        from: Offsets,
        /// How many bytes may be sent beyond what is acknowledged.
        window_bytes: u64,
    },
    /// This much is in the log: it moves the window, frees the journal, and is remembered.
    Acknowledge {
        /// The exec.
        tag: Tag,
        /// What the log holds.
        #[serde(flatten)]
        acknowledged: Acknowledged,
    },
    /// Stop sending anything about this exec. The command goes on. Not answered.
    Release {
        /// The exec; the tag is free again.
        tag: Tag,
    },
    /// Send a signal to every process of the exec. Answered by `Controlled`.
    Signal {
        /// The exec.
        tag: Tag,
        /// The order's place in the control log. An order at or below the highest one that was
        /// applied is not applied again.
        control_seq: u64,
        /// The signal's number.
        signal: i32,
    },
    /// End the exec by the steps of [`Spec::stop`]. Answered by `Controlled`.
    Cancel {
        /// The exec.
        tag: Tag,
        /// As for `Signal`.
        control_seq: u64,
    },
    /// Bytes for the command's standard input, at most [`MAX_STDIN_BYTES`]. Answered by `StdinIs`.
    Stdin {
        /// The exec.
        tag: Tag,
        /// Where in the whole of standard input these bytes are; the first bytes, those of
        /// [`Spec::stdin`], count. What was taken already is skipped.
        offset: u64,
        /// The bytes. They travel outside the JSON.
        #[serde(skip)]
        bytes: Bytes,
        /// Nothing comes after these bytes: close it. A terminal cannot be closed: its end-of-file
        /// character is typed then.
        #[serde(default)]
        end: bool,
    },
    /// Set the size of the exec's terminal. Answered by `Controlled`; by `Unsupported` when it has
    /// none.
    Resize {
        /// The exec.
        tag: Tag,
        /// As for `Signal`.
        #[serde(default)]
        control_seq: u64,
        /// The size.
        #[serde(flatten)]
        size: TerminalSize,
    },
    /// What has become of this exec? Answered by `StatusIs`.
    Status {
        /// The exec.
        key: String,
    },
    /// Forget a finished exec: its journal goes, a tombstone stays. Answered by `Collected`.
    Collect {
        /// The exec.
        key: String,
    },
    /// Are you there? Answered by `Pong`.
    Ping {
        /// Comes back in the answer.
        #[serde(default)]
        number: u64,
    },
    /// A request from a newer executor: never sent, and ignored by who receives it.
    #[serde(other)]
    Unknown,
}

impl Request {
    /// Appends this request as one frame.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the command or the bytes do not fit into a frame; nothing is
    /// appended then.
    pub fn encode(&self, into: &mut BytesMut) -> Result<(), FrameError> {
        match self.attached_bytes() {
            Some(bytes) => put_json_and_bytes(into, kind::REQUEST_WITH_BYTES, self, bytes),
            None => put_json(into, kind::REQUEST, self),
        }
    }

    /// Takes the next request out of `buffer`; `None` means that more bytes are needed. Frames of
    /// unknown kinds are skipped.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes are no frame or not what their kind says.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        while let Some(frame) = take_frame(buffer)? {
            match frame.kind {
                kind::REQUEST => return read_json(&frame).map(Some),
                kind::REQUEST_WITH_BYTES => {
                    let (mut request, bytes) = read_json_and_bytes::<Self>(&frame)?;
                    request.attach(bytes);
                    return Ok(Some(request));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// What travels beside the JSON because escaping it would be a waste.
    fn attached_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Launch { spec, .. } => Some(&spec.stdin),
            Self::Stdin { bytes, .. } => Some(bytes),
            Self::Follow { .. }
            | Self::Acknowledge { .. }
            | Self::Release { .. }
            | Self::Signal { .. }
            | Self::Cancel { .. }
            | Self::Resize { .. }
            | Self::Status { .. }
            | Self::Collect { .. }
            | Self::Ping { .. }
            | Self::Unknown => None,
        }
    }

    fn attach(&mut self, attached: Bytes) {
        if let Self::Launch { spec, .. } = self {
            spec.stdin = attached;
        } else if let Self::Stdin { bytes, .. } = self {
            *bytes = attached;
        }
    }
}

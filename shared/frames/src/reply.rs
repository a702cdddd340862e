//! What the shim tells an executor.

use bytes::{Buf, BufMut, BytesMut};
use serde::{Deserialize, Serialize};

use crate::chunk::CHUNK_HEADER_BYTES;
use crate::wire::{FrameError, RawFrame, put_header, put_json, read_json, take_frame};
use crate::{Acknowledged, Chunk, End, Resize, Tag, kind};

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// The first frame on every channel.
    Hello {
        /// [`crate::PROTOCOL_VERSION`] of the shim.
        protocol: u32,
        /// The nonce of this shim instance: it lives as long as the container.
        instance: String,
        /// The version of the shim program.
        #[serde(default)]
        shim: String,
        /// It can run a command in a terminal.
        #[serde(default)]
        terminals: bool,
    },
    /// The exec runs, or ran, under this claim; its output follows.
    Accepted {
        /// The exec.
        tag: Tag,
        /// The claim was there before this request.
        existing: bool,
        /// What was acknowledged before, by whichever executor.
        #[serde(default)]
        acknowledged: Acknowledged,
        /// The process id of the command in the pod; 0 when it could not be started.
        #[serde(default)]
        pid: u32,
    },
    /// What the command printed. Per stream, each chunk begins where the one before ended.
    /// It travels as raw bytes, not as JSON.
    #[serde(skip)]
    Output {
        /// The exec.
        tag: Tag,
        /// The bytes and where they are.
        chunk: Chunk,
    },
    /// The size that the command's terminal has from here on.
    Resized {
        /// The exec.
        tag: Tag,
        /// Which one, and where.
        #[serde(flatten)]
        resize: Resize,
    },
    /// The command has ended and everything it printed has been sent. The tag is free again.
    End {
        /// The exec.
        tag: Tag,
        /// How it ended.
        end: End,
    },
    /// The launch or follow is refused. The tag is free again.
    Refused {
        /// The exec.
        tag: Tag,
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        #[serde(default)]
        message: String,
    },
    /// The supervisor is gone without an end frame: nobody knows how the command ended. The tag is
    /// free again.
    Lost {
        /// The exec.
        tag: Tag,
        /// What was found.
        #[serde(default)]
        reason: String,
    },
    /// Answers `Ping`.
    Pong {
        /// The number in the question.
        #[serde(default)]
        number: u64,
    },
    /// Answers `Status`.
    StatusIs {
        /// The exec.
        key: String,
        /// What has become of it.
        state: ExecState,
        /// What was acknowledged.
        #[serde(default)]
        acknowledged: Acknowledged,
    },
    /// Answers `Collect`.
    Collected {
        /// The exec.
        key: String,
        /// Why it was not collected: it still runs, or the disk refused.
        #[serde(default)]
        error: Option<String>,
    },
    /// Answers `Signal`, `Cancel` and `Resize`.
    Controlled {
        /// The exec.
        tag: Tag,
        /// The order's place in the control log.
        control_seq: u64,
        /// It was applied now; `false` when it, or a later one, was applied before.
        applied: bool,
    },
    /// Answers `Stdin`, and tells later when more can be taken.
    StdinIs {
        /// The exec.
        tag: Tag,
        /// The offset up to which bytes were taken; send from here on.
        offset: u64,
        /// There is no room now: another `StdinIs` comes when there is. Send nothing before.
        #[serde(default)]
        full: bool,
        /// Standard input is closed: nothing more is taken.
        #[serde(default)]
        closed: bool,
    },
    /// The request is known but this shim cannot do it.
    Unsupported {
        /// The exec.
        tag: Tag,
        /// What cannot be done.
        #[serde(default)]
        message: String,
    },
    /// A reply from a newer shim: never sent, and ignored by who receives it.
    #[serde(other)]
    Unknown,
}

/// Why a launch or a follow was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The container was restarted since: this is another shim instance than the one asked for.
    WrongInstance,
    /// Nobody has launched this exec here.
    NoClaim,
    /// It ran, ended, and was forgotten.
    Collected,
    /// Bytes after the offsets asked for were acknowledged and are gone.
    Gone,
    /// The request makes no sense; the same request will never do.
    Invalid,
    /// The shim could not do it (no space, no processes left); trying again may help.
    Failed,
    /// A code from a newer shim.
    #[serde(other)]
    Unknown,
}

/// What has become of an exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecState {
    /// Nobody has launched it here.
    Missing,
    /// Its supervisor lives.
    Running,
    /// Its end is in the journal.
    Ended,
    /// Its supervisor is gone and left no end.
    Lost,
    /// It ran, ended, and was forgotten.
    Collected,
    /// A state from a newer shim.
    #[serde(other)]
    Unknown,
}

impl Reply {
    /// The exec that this reply speaks of, if it speaks of one by tag.
    #[must_use]
    pub fn tag(&self) -> Option<Tag> {
        match self {
            Self::Accepted { tag, .. }
            | Self::Output { tag, .. }
            | Self::Resized { tag, .. }
            | Self::End { tag, .. }
            | Self::Refused { tag, .. }
            | Self::Lost { tag, .. }
            | Self::Controlled { tag, .. }
            | Self::StdinIs { tag, .. }
            | Self::Unsupported { tag, .. } => Some(*tag),
            Self::Hello { .. }
            | Self::Pong { .. }
            | Self::StatusIs { .. }
            | Self::Collected { .. }
            | Self::Unknown => None,
        }
    }

    /// Appends this reply as one frame.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when it does not fit into a frame; nothing is appended then.
    pub fn encode(&self, into: &mut BytesMut) -> Result<(), FrameError> {
        let Self::Output { tag, chunk } = self else {
            return put_json(into, kind::REPLY, self);
        };
        put_header(
            into,
            kind::OUTPUT,
            4 + CHUNK_HEADER_BYTES + chunk.bytes.len(),
        )?;
        into.put_u32(*tag);
        chunk.put(into);
        Ok(())
    }

    /// Takes the next reply out of `buffer`; `None` means that more bytes are needed. Frames of
    /// unknown kinds are skipped.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes are no frame or not what their kind says.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        while let Some(frame) = take_frame(buffer)? {
            match frame.kind {
                kind::OUTPUT => return Self::read_output(frame).map(Some),
                kind::REPLY => return read_json(&frame).map(Some),
                _ => {}
            }
        }
        Ok(None)
    }

    fn read_output(frame: RawFrame) -> Result<Self, FrameError> {
        let RawFrame { kind, mut payload } = frame;
        let tag = payload
            .try_get_u32()
            .map_err(|error| FrameError::malformed(kind, error))?;
        Ok(Self::Output {
            tag,
            chunk: Chunk::read(kind, payload)?,
        })
    }
}

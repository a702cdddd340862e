//! Frames on their way to one reader: large ones are passed on as they are, shared by all readers;
//! small ones are gathered, because each chunk costs a reader more than a copy of it does.

use std::collections::VecDeque;

use bytes::Bytes;

/// Frames up to this are copied together.
const COPIED_MAX_BYTES: usize = 8 * 1024;
/// Until so many are together: what a socket takes at once, nearly.
const GATHERED_MAX_BYTES: usize = 64 * 1024;

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    chunks: VecDeque<Bytes>,
    gathered: Vec<u8>,
}

impl Outbox {
    /// Goes behind what is there.
    pub(super) fn push(&mut self, frames: Bytes) {
        if frames.is_empty() {
            return;
        }
        if self.gathered.len() + frames.len() > GATHERED_MAX_BYTES {
            self.close();
        }
        let is_small = frames.len() <= COPIED_MAX_BYTES;
        if is_small && !self.gathered.is_empty() {
            self.gathered.extend_from_slice(&frames);
        } else if is_small && self.chunks.is_empty() {
            self.chunks.push_back(frames);
        } else if is_small {
            self.gathered.extend_from_slice(&frames);
        } else {
            self.close();
            self.chunks.push_back(frames);
        }
    }

    fn close(&mut self) {
        if !self.gathered.is_empty() {
            self.chunks
                .push_back(std::mem::take(&mut self.gathered).into());
        }
    }

    /// The next chunk; nothing if all were taken.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.chunks.is_empty() {
            self.close();
        }
        self.chunks.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.gathered.is_empty()
    }
}

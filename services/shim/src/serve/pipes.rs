//! The two directions of the channel, buffered.

use std::io;
use std::os::fd::AsFd;

use bytes::{Buf, BytesMut};
use rdev_frames::{FrameError, Reply, Request};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// While this much waits to be written, nothing more is made: two of the longest chunks, so that
/// what an idle exec prints waits behind little.
const ENOUGH_BYTES: usize = 2 * rdev_frames::MAX_CHUNK_BYTES;

/// The channel's pipe, where it is one.
const PIPE_BYTES: usize = 1024 * 1024;

/// Requests on their way in.
pub(super) struct Input {
    buffer: BytesMut,
    scratch: Vec<u8>,
}

impl Input {
    pub(super) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            scratch: vec![0; READ_BYTES],
        }
    }

    /// Reads once; `false` at the end.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        match rustix::io::read(super::stdin(), &mut self.scratch) {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.buffer.extend_from_slice(&self.scratch[..length]);
                Ok(true)
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn next_request(&mut self) -> Result<Option<Request>, FrameError> {
        Request::decode(&mut self.buffer)
    }
}

/// Replies on their way out.
pub(super) struct Output {
    buffer: BytesMut,
}

impl Output {
    /// Standard output must not block: requests are read meanwhile.
    pub(super) fn new() -> io::Result<Self> {
        let stdout = super::stdout();
        let flags = fcntl_getfl(stdout.as_fd())?;
        fcntl_setfl(stdout.as_fd(), flags | OFlags::NONBLOCK)?;
        // It may be no pipe, or the user may have too many large ones.
        let _ = fcntl_setpipe_size(stdout, PIPE_BYTES);
        Ok(Self {
            buffer: BytesMut::with_capacity(2 * ENOUGH_BYTES),
        })
    }

    pub(super) fn push(&mut self, reply: &Reply) -> Result<(), FrameError> {
        reply.encode(&mut self.buffer)
    }

    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() < ENOUGH_BYTES
    }

    pub(super) fn waits(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Writes what the channel takes now.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            match rustix::io::write(super::stdout(), &self.buffer) {
                Ok(written) => self.buffer.advance(written),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.buffer.clear();
        Ok(())
    }
}

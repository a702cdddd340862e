//! The command's standard input.
//!
//! Bytes come with their offset, so that a piece sent twice is taken once and a piece that came too
//! early is not taken at all. Invariant: memory is bounded; what does not fit is left to the sender,
//! who is told how far it was taken and is told again when there is room.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{Buf, Bytes};
use rustix::io::Errno;

use super::terminal;

/// How many bytes may wait for the command to read them, beyond the first ones in its spec.
const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// Standard input, as far as it has come.
#[derive(Debug)]
pub(crate) struct Feed {
    /// The write end of the pipe; `None` when it is closed.
    pipe: Option<OwnedFd>,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// How far input was taken, from its very beginning.
    taken: u64,
    /// Nothing is taken any more; the pipe closes when nothing waits.
    ended: bool,
    /// The pipe is a terminal, whose end is typed.
    is_terminal: bool,
    /// The last byte ended a line, or there was none.
    is_line_ended: bool,
}

impl Feed {
    /// Input that begins with `first`; without `open` that is all of it.
    pub(crate) fn new(pipe: Option<OwnedFd>, first: Bytes, open: bool) -> Self {
        let ended = !open || pipe.is_none();
        let mut feed = Self {
            pipe,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            taken: 0,
            ended,
            is_terminal: false,
            is_line_ended: true,
        };
        feed.push(first);
        feed.close_if_done();
        feed
    }

    /// Input of a terminal, which begins with `first` and is open.
    pub(crate) fn of_terminal(terminal: OwnedFd, first: Bytes) -> Self {
        Self {
            is_terminal: true,
            ..Self::new(Some(terminal), first, true)
        }
    }

    /// How far input was taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Nothing more will be taken.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// The pipe, if something waits to be written to it.
    pub(crate) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.pipe
            .as_ref()
            .filter(|_| !self.waiting.is_empty())
            .map(AsFd::as_fd)
    }

    /// There is room for more.
    pub(crate) fn has_room(&self) -> bool {
        !self.ended && self.waiting_bytes < MAX_WAITING_BYTES
    }

    /// Takes what is new in `bytes` and fits.
    pub(crate) fn take(&mut self, offset: u64, mut bytes: Bytes, end: bool) {
        if self.ended || offset > self.taken {
            return;
        }
        let known = usize::try_from(self.taken - offset).unwrap_or(usize::MAX);
        if known > bytes.len() {
            return;
        }
        bytes.advance(known);
        let room = MAX_WAITING_BYTES.saturating_sub(self.waiting_bytes);
        let all = bytes.len() <= room;
        bytes.truncate(room);
        self.push(bytes);
        if end && all {
            self.end();
        }
        self.close_if_done();
    }

    fn end(&mut self) {
        self.ended = true;
        if let Some(terminal) = self.pipe.as_ref().filter(|_| self.is_terminal) {
            let typed = terminal::end_of_file(terminal, self.is_line_ended);
            self.wait_for_pipe(typed);
        }
    }

    /// Writes what the pipe takes now.
    pub(crate) fn write(&mut self) {
        while let (Some(pipe), Some(bytes)) = (&self.pipe, self.waiting.front_mut()) {
            match rustix::io::write(pipe, bytes) {
                Ok(written) => {
                    self.waiting_bytes -= written;
                    bytes.advance(written);
                    if bytes.is_empty() {
                        self.waiting.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The command does not read any more.
                Err(_) => self.close(),
            }
        }
        self.close_if_done();
    }

    /// Closes it; what waits is dropped.
    pub(crate) fn close(&mut self) {
        self.pipe = None;
        self.ended = true;
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.taken += bytes.len() as u64;
        self.is_line_ended = bytes.ends_with(b"\n");
        self.wait_for_pipe(bytes);
    }

    fn wait_for_pipe(&mut self, bytes: Bytes) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
    }

    fn close_if_done(&mut self) {
        if self.ended && self.waiting.is_empty() {
            self.pipe = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(first: &'static [u8]) -> (Feed, OwnedFd) {
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
        let (reader, writer) = rustix::pipe::pipe_with(flags).unwrap();
        (
            Feed::new(Some(writer), Bytes::from_static(first), true),
            reader,
        )
    }

    fn read(reader: &OwnedFd) -> Result<Vec<u8>, Errno> {
        let mut buffer = [0; 64];
        rustix::io::read(reader, &mut buffer).map(|length| buffer[..length].to_vec())
    }

    #[test]
    fn a_repeat_is_taken_once_and_a_gap_not_at_all() {
        let (mut feed, reader) = feed(b"ab");
        feed.take(2, Bytes::from_static(b"cd"), false);
        feed.take(0, Bytes::from_static(b"abcdef"), false);
        feed.take(9, Bytes::from_static(b"z"), true);
        assert_eq!((feed.taken(), feed.is_ended()), (6, false));
        feed.write();
        assert_eq!(read(&reader), Ok(b"abcdef".to_vec()));
        feed.take(6, Bytes::new(), true);
        assert_eq!(read(&reader), Ok(Vec::new()), "the end closes it");
        feed.take(6, Bytes::from_static(b"late"), false);
        assert_eq!(feed.taken(), 6);
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_sender() {
        let (mut feed, _reader) = feed(b"");
        let bytes = Bytes::from(vec![7; MAX_WAITING_BYTES + 1]);
        feed.take(0, bytes.clone(), true);
        assert_eq!(feed.taken(), MAX_WAITING_BYTES as u64);
        assert!(!feed.is_ended() && !feed.has_room());
        feed.write();
        assert!(feed.has_room());
        feed.take(0, bytes, true);
        assert!(feed.is_ended());
    }
}

//! Writing and reading the journal file of one exec.
//!
//! The supervisor writes through [`Writer`]; every `serve` that follows reads through [`Reader`],
//! which needs no word from the writer. The format is in [`rdev_frames::journal`]. Invariants: a
//! frame is in the file whole or not at all once the writer goes on; what the log holds may be
//! punched out, after the header says so; a reader gives bytes only if they were not punched out
//! while it read them.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::{Bytes, BytesMut};
use rdev_frames::journal::{
    self, CHUNK_FRAME_HEADER_BYTES, Frame, HEADER_BYTES, HEADER_USED_BYTES, Header, Step,
};
use rdev_frames::{Chunk, End, MAX_CHUNK_BYTES, Offsets, Resize, Stream, TerminalSize};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// A place is remembered every so many bytes of the file, to find what may be punched out.
const MARK_EVERY_BYTES: u64 = 64 * 1024;

/// Holes are punched in pieces of at least this: each costs a call into the file system.
const PUNCH_AT_LEAST_BYTES: u64 = 1024 * 1024;

/// Of a small journal, a hole is punched and a place remembered at least every so many parts.
const PARTS_OF_A_SMALL_JOURNAL: u64 = 8;

/// File systems free whole blocks only.
const BLOCK_BYTES: u64 = 4096;

/// How much of the file is read at once: several of the longest chunks.
const READ_BLOCK_BYTES: usize = 256 * 1024;

/// A place between two frames.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: u64,
    offsets: Offsets,
}

/// Where a journal begins.
const FIRST_FRAME: Mark = Mark {
    at: HEADER_BYTES,
    offsets: Offsets::new(0, 0),
};

/// Appends to a journal and frees what the log holds.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    pid: u32,
    /// Where the next frame goes.
    length: u64,
    /// How much of each stream the journal has taken.
    written: Offsets,
    acknowledged: Offsets,
    marks: VecDeque<Mark>,
    /// Everything before this place is in the log.
    covered: Mark,
    /// Everything before this place was punched out.
    punched: Mark,
    can_punch: bool,
    mark_every: u64,
    punch_at_least: u64,
}

impl Writer {
    /// Writes to a journal that has only its header.
    pub(crate) fn new(file: File, journal_max_bytes: u64) -> Self {
        let part = (journal_max_bytes / PARTS_OF_A_SMALL_JOURNAL).max(BLOCK_BYTES);
        Self {
            file,
            pid: 0,
            length: HEADER_BYTES,
            written: Offsets::default(),
            acknowledged: Offsets::default(),
            marks: VecDeque::new(),
            covered: FIRST_FRAME,
            punched: FIRST_FRAME,
            can_punch: true,
            mark_every: MARK_EVERY_BYTES.min(part),
            punch_at_least: PUNCH_AT_LEAST_BYTES.min(part),
        }
    }

    /// How much of each stream the journal has taken.
    pub(crate) fn written(&self) -> Offsets {
        self.written
    }

    /// How many bytes of the file hold what is not in the log yet.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.length - self.covered.at
    }

    /// Notes the command's process in the header.
    pub(crate) fn set_pid(&mut self, pid: u32) -> io::Result<()> {
        self.pid = pid;
        self.write_header()
    }

    /// Appends output. `frame` holds the bytes after room for what stands before them in the file,
    /// so that one write does.
    pub(crate) fn append(
        &mut self,
        stream: Stream,
        time_micros: u64,
        frame: &mut [u8],
    ) -> io::Result<()> {
        let Some((room, bytes)) = frame.split_first_chunk_mut::<CHUNK_FRAME_HEADER_BYTES>() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let offset = self.written.of(stream);
        let length = bytes.len();
        *room =
            journal::chunk_header(stream, offset, time_micros, length).map_err(io::Error::other)?;
        let mark = self.mark();
        self.write(frame)?;
        self.written.set(stream, offset + length as u64);
        self.remember(mark);
        Ok(())
    }

    /// Appends the size that the command's terminal has from here on.
    pub(crate) fn append_resize(&mut self, time_micros: u64, size: TerminalSize) -> io::Result<()> {
        let resize = Resize {
            number: self.written.resizes + 1,
            offset: self.written.stdout,
            time_micros,
            size,
        };
        let mut frame = BytesMut::new();
        journal::put_resize(&mut frame, &resize).map_err(io::Error::other)?;
        let mark = self.mark();
        self.write(&frame)?;
        self.written.resizes = resize.number;
        self.remember(mark);
        Ok(())
    }

    /// The place where the next frame goes.
    fn mark(&self) -> Mark {
        Mark {
            at: self.length,
            offsets: self.written,
        }
    }

    fn remember(&mut self, mark: Mark) {
        let last = self.marks.back().map_or(self.covered.at, |mark| mark.at);
        if mark.at - last >= self.mark_every {
            self.marks.push_back(mark);
        }
    }

    /// Appends the end.
    pub(crate) fn append_end(&mut self, end: &End) -> io::Result<()> {
        let mut frame = BytesMut::new();
        journal::put_end(&mut frame, end).map_err(io::Error::other)?;
        self.write(&frame)
    }

    /// The log holds this much: frees it. A failure to free is no failure to go on.
    pub(crate) fn acknowledge(&mut self, offsets: Offsets) {
        // Nobody can hold more than was written.
        self.acknowledged = self.acknowledged.max(offsets.min(self.written));
        while let Some(mark) = self.marks.front()
            && self.acknowledged.covers(&mark.offsets)
        {
            self.covered = *mark;
            self.marks.pop_front();
        }
        if self.acknowledged == self.written {
            self.covered = self.mark();
            self.marks.clear();
        }
        if self.can_punch && self.covered.at - self.punched.at >= self.punch_at_least {
            self.can_punch = self.punch().is_ok();
        }
    }

    /// First the header tells readers, then the bytes go.
    fn punch(&mut self) -> io::Result<()> {
        let from = (self.punched.at - self.punched.at % BLOCK_BYTES).max(HEADER_BYTES);
        self.punched = self.covered;
        self.write_header()?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        loop {
            match fallocate(&self.file, flags, from, self.covered.at - from) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn write_header(&self) -> io::Result<()> {
        let header = Header {
            start: self.punched.at,
            pid: self.pid,
            offsets: self.punched.offsets,
        };
        self.file.write_all_at(&header.encode(), 0)
    }

    /// Writes a frame at the end, or takes a part of it back.
    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(frame, self.length) {
            // A reader stops at a frame that is cut off, so a failure here does no harm either.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += frame.len() as u64;
        Ok(())
    }
}

/// What a reader finds next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Output that was not read before.
    Chunk(Chunk),
    /// A size of the terminal that was not read before.
    Resize(Resize),
    /// The end; nothing follows.
    End(End),
    /// Nothing more for now.
    Dry,
    /// Bytes that were asked for were acknowledged and punched out.
    Gone,
}

/// Reads a journal from an offset of each stream on.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    /// Where in the file the next frame is.
    position: u64,
    /// The part of the file that was read but not taken; it begins at `position`.
    block: Bytes,
    /// What has been given out of each stream.
    given: Offsets,
    /// Everything before this is not in the journal any more.
    gone: Offsets,
}

impl Reader {
    /// Reads what comes after `from`.
    pub(crate) fn new(file: File, from: Offsets) -> io::Result<Self> {
        let Header { start, offsets, .. } = read_header(&file)?;
        Ok(Self {
            file,
            position: start,
            block: Bytes::new(),
            given: from,
            gone: offsets,
        })
    }

    /// The command's process, once it is started.
    pub(crate) fn pid(&self) -> io::Result<u32> {
        Ok(read_header(&self.file)?.pid)
    }

    /// The next thing in the journal.
    pub(crate) fn next(&mut self) -> io::Result<Next> {
        loop {
            if !self.given.covers(&self.gone) {
                return Ok(Next::Gone);
            }
            match journal::step(&self.block).map_err(damaged)? {
                Step::Frame(frame, length) => {
                    self.skip(length);
                    if let Some(next) = self.take(frame)? {
                        return Ok(next);
                    }
                }
                Step::Skip(length) => self.skip(length),
                Step::More { frame_bytes } => {
                    let wanted = frame_bytes.unwrap_or_default().max(READ_BLOCK_BYTES);
                    if !self.fill(wanted)? {
                        return Ok(Next::Dry);
                    }
                }
                Step::Hole => return Err(damaged("zeros where a frame should be")),
            }
        }
    }

    fn take(&mut self, frame: Frame) -> io::Result<Option<Next>> {
        let chunk = match frame {
            Frame::End(end) => return Ok(Some(Next::End(end))),
            Frame::Resize(resize) => return Ok(self.take_resize(resize)),
            Frame::Chunk(chunk) => chunk,
        };
        if chunk.offset > self.given.of(chunk.stream) {
            return Err(damaged("a part of the output is missing"));
        }
        let Some(chunk) = chunk.after(&self.given) else {
            return Ok(None);
        };
        self.given.set(chunk.stream, chunk.end_offset());
        Ok(Some(Next::Chunk(chunk)))
    }

    fn take_resize(&mut self, resize: Resize) -> Option<Next> {
        let is_new = resize.number > self.given.resizes;
        self.given.resizes = self.given.resizes.max(resize.number);
        is_new.then_some(Next::Resize(resize))
    }

    fn skip(&mut self, length: usize) {
        let _ = self.block.split_to(length);
        self.position += length as u64;
    }

    /// Reads on from `position`; `false` when there is not more than before.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        let mut block = Vec::with_capacity(wanted);
        loop {
            let room = rustix::buffer::spare_capacity(&mut block);
            match rustix::io::pread(&self.file, room, self.position) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The writer moves `start` before it punches: if it has not passed us now, what was read is
        // what was written.
        let Header { start, offsets, .. } = read_header(&self.file)?;
        if start > self.position {
            self.position = start;
            self.gone = offsets;
            self.block = Bytes::new();
            return Ok(true);
        }
        // Not by length: a frame that was cut off may have been replaced by a shorter one.
        let grown = block != self.block;
        self.block = Bytes::from(block);
        Ok(grown)
    }
}

fn read_header(file: &File) -> io::Result<Header> {
    let mut bytes = [0; HEADER_USED_BYTES];
    file.read_exact_at(&mut bytes, 0)?;
    Header::decode(&bytes).ok_or_else(|| damaged("it has no header"))
}

fn damaged(what: impl ToString) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the journal is damaged: {}", what.to_string()),
    )
}

/// A buffer for [`Writer::append`]: room for the header, then for the longest chunk.
pub(crate) fn frame_buffer() -> Vec<u8> {
    vec![0; CHUNK_FRAME_HEADER_BYTES + MAX_CHUNK_BYTES]
}

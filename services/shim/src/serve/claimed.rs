//! The claim of an exec that is followed: how far its journal was read and what was sent of it.
//!
//! Invariant: per stream, what is sent begins where the last piece ended, and never more than the
//! window beyond what is acknowledged.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

use rdev_frames::{
    Acknowledged, Chunk, MAX_CHUNK_BYTES, MAX_UNACKNOWLEDGED_RESIZES, Offsets, RefusalCode, Reply,
    Resize, Tag,
};

use super::follow::Produced;
use crate::journal::{Next, Reader};
use crate::place::file;
use crate::{acknowledged, link};

/// What waits for the window to open.
#[derive(Debug)]
enum Pending {
    Output(Chunk),
    Size(Resize),
}

/// One claim, read from an offset of each stream on.
#[derive(Debug)]
pub(super) struct Claimed {
    /// Its directory.
    pub(super) path: PathBuf,
    /// The same, open, to connect to the supervisor.
    pub(super) directory: File,
    /// It was there before this channel asked for it.
    existing: bool,
    reader: Reader,
    record: File,
    acknowledged: Acknowledged,
    /// Where the window begins: what was asked for, or what this channel has acknowledged since.
    /// What others acknowledge does not widen it.
    held: Offsets,
    window_bytes: u64,
    /// The command's process, once the supervisor told it.
    pid: Option<u32>,
    accepted: bool,
    /// Read but not sent yet.
    pending: Option<Pending>,
    sent: Offsets,
    /// The journal was read to its end and has not grown since.
    dry: bool,
}

impl Claimed {
    /// Opens the claim in `path`.
    pub(super) fn open(
        path: PathBuf,
        existing: bool,
        from: Offsets,
        window_bytes: u64,
    ) -> io::Result<Self> {
        let directory = link::open_directory(&path)?;
        let record = path.join(file::ACKNOWLEDGED);
        let record = OpenOptions::new().read(true).write(true).open(record)?;
        let reader = Reader::new(File::open(path.join(file::JOURNAL))?, from)?;
        Ok(Self {
            path,
            directory,
            existing,
            reader,
            acknowledged: acknowledged::read(&record)?,
            record,
            held: from,
            window_bytes,
            pid: None,
            accepted: false,
            pending: None,
            sent: from,
            dry: false,
        })
    }

    /// The journal has grown, or its writer is gone: it is read again.
    pub(super) fn look_again(&mut self) {
        self.dry = false;
    }

    /// The log holds this much, of what was sent.
    pub(super) fn acknowledge(&mut self, acknowledged: Acknowledged) -> Acknowledged {
        let offsets = acknowledged.offsets.min(self.sent);
        let acknowledged = Acknowledged {
            offsets,
            ..acknowledged
        };
        self.held = self.held.max(offsets);
        // What cannot be remembered costs a take-over some repetition, no more.
        self.acknowledged = acknowledged::raise(&self.record, acknowledged)
            .unwrap_or_else(|_| self.acknowledged.max(acknowledged));
        acknowledged
    }

    /// Takes in what the supervisor says (that the journal has grown, if nothing else); gives what is
    /// for the executor.
    pub(super) fn note(&mut self, reply: Reply) -> Option<Reply> {
        // A wake that found the socket full of answers was dropped: each of them wakes too.
        self.dry = false;
        if let Reply::Accepted { pid, .. } = reply {
            self.pid = Some(pid);
            return None;
        }
        matches!(
            reply,
            Reply::Controlled { .. } | Reply::StdinIs { .. } | Reply::Unsupported { .. }
        )
        .then_some(reply)
    }

    /// The next thing to send. `gone` says that the supervisor is gone, so that the journal does not
    /// grow any more.
    pub(super) fn produce(&mut self, tag: Tag, gone: bool) -> Produced {
        if !self.accepted {
            return self.accept(tag, gone);
        }
        match self.next() {
            Ok(Some(Next::Chunk(chunk))) => Produced::Reply(Reply::Output { tag, chunk }),
            Ok(Some(Next::Resize(resize))) => Produced::Reply(Reply::Resized { tag, resize }),
            Ok(Some(Next::End(end))) => Produced::Last(Reply::End { tag, end }),
            Ok(Some(Next::Gone)) => {
                let message = "these bytes were acknowledged and are gone".to_owned();
                Produced::Last(Reply::Refused {
                    tag,
                    code: RefusalCode::Gone,
                    message,
                })
            }
            Ok(None | Some(Next::Dry)) if gone && self.dry => {
                let reason = "the supervisor is gone and left no end".to_owned();
                Produced::Last(Reply::Lost { tag, reason })
            }
            Ok(None | Some(Next::Dry)) => Produced::Nothing,
            Err(error) => {
                let message = format!("cannot read the journal: {error}");
                Produced::Last(Reply::Refused {
                    tag,
                    code: RefusalCode::Failed,
                    message,
                })
            }
        }
    }

    /// Tells the follower that its exec is here, once the command's process is known.
    fn accept(&mut self, tag: Tag, gone: bool) -> Produced {
        let pid = match self.pid {
            Some(pid) => pid,
            None if gone => self.reader.pid().unwrap_or_default(),
            None => return Produced::Nothing,
        };
        self.accepted = true;
        let Self {
            existing,
            acknowledged,
            ..
        } = *self;
        Produced::Reply(Reply::Accepted {
            tag,
            existing,
            acknowledged,
            pid,
        })
    }

    /// How many bytes may be sent now.
    fn room(&self) -> usize {
        let unacknowledged = self.sent.total().saturating_sub(self.held.total());
        let room = self.window_bytes.saturating_sub(unacknowledged);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// What comes next in the journal, as much of it as may be sent now.
    fn next(&mut self) -> io::Result<Option<Next>> {
        if self.pending.is_none() && !self.dry {
            match self.reader.next()? {
                Next::Chunk(chunk) => self.pending = Some(Pending::Output(chunk)),
                Next::Resize(resize) => self.pending = Some(Pending::Size(resize)),
                Next::Dry => self.dry = true,
                next @ (Next::End(_) | Next::Gone) => return Ok(Some(next)),
            }
        }
        let next = match self.pending.take() {
            None => None,
            Some(Pending::Output(chunk)) => self.send_output(chunk),
            Some(Pending::Size(resize)) => self.send_size(resize),
        };
        Ok(next)
    }

    fn send_output(&mut self, mut chunk: Chunk) -> Option<Next> {
        let room = self.room().min(MAX_CHUNK_BYTES);
        if room == 0 {
            self.pending = Some(Pending::Output(chunk));
            return None;
        }
        if chunk.bytes.len() > room {
            let mut rest = chunk.clone();
            rest.bytes = chunk.bytes.split_off(room);
            rest.offset += room as u64;
            self.pending = Some(Pending::Output(rest));
        }
        self.sent.set(chunk.stream, chunk.end_offset());
        Some(Next::Chunk(chunk))
    }

    fn send_size(&mut self, resize: Resize) -> Option<Next> {
        let unacknowledged = self.sent.resizes.saturating_sub(self.held.resizes);
        if unacknowledged >= MAX_UNACKNOWLEDGED_RESIZES {
            self.pending = Some(Pending::Size(resize));
            return None;
        }
        self.sent.resizes = resize.number;
        Some(Next::Resize(resize))
    }
}

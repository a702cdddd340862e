//! The pod: one command that prints a script into a journal, claimed by a directory.

use rdev_contract::event::OutputStream;
use rdev_contract::position::{EventNo, Offsets};
use rdev_domain::run::{Exit, ProcessEnd};
use sha2::{Digest, Sha256};

use crate::dice::Dice;

/// Pieces of output that together make whole lines, parts of lines, and what is no text at all.
const PIECES: [&[u8]; 8] = [
    b"one line\n",
    b"two\nlines\n",
    b"no end yet, ",
    b"\n",
    b"caf\xc3",
    b"\xa9\n",
    b"\xff\x00\r",
    b"progress 50%\r",
];
const FRAMES_MAX: usize = 12;
/// Three of these lines are more than one message takes.
const WIDE_LINE_BYTES: usize = 100 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Absent,
    Taken,
    /// Collected: what is left of it says that it was there.
    Tombstone,
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) stream: OutputStream,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Frame {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) script: Vec<Frame>,
    /// How many frames of the script are in the journal.
    printed: usize,
    claim: Claim,
    pub(crate) launches: u32,
    /// What was acknowledged is remembered, and has been punched out of the journal.
    acknowledged: (EventNo, Offsets),
    /// The container was replaced by another.
    pub(crate) is_gone: bool,
    pub(crate) was_wiped: bool,
}

/// Where a follower is in the journal.
#[derive(Debug)]
pub(crate) struct Follower {
    from: Offsets,
    next: usize,
}

/// What a follower hears next.
#[derive(Debug)]
pub(crate) enum Heard {
    Output(OutputStream, u64, Vec<u8>),
    End(Box<ProcessEnd>),
    Nothing,
    Lost,
}

fn of(offsets: Offsets, stream: OutputStream) -> u64 {
    match stream {
        OutputStream::Stdout => offsets.stdout,
        OutputStream::Stderr => offsets.stderr,
    }
}

impl Pod {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let mut script: Vec<Frame> = Vec::new();
        let is_wide = dice.one_in(50);
        for _ in 0..dice.below(FRAMES_MAX) {
            let stream = match dice.one_in(3) {
                true => OutputStream::Stderr,
                false => OutputStream::Stdout,
            };
            let mut bytes = Vec::new();
            for _ in 0..=dice.below(3) {
                bytes.extend_from_slice(PIECES[dice.below(PIECES.len())]);
            }
            if is_wide {
                bytes.resize(bytes.len() + WIDE_LINE_BYTES, b'w');
                bytes.push(b'\n');
            }
            let last = script.iter().rfind(|frame| frame.stream == stream);
            let offset = last.map_or(0, Frame::end);
            script.push(Frame {
                stream,
                offset,
                bytes,
            });
        }
        Self {
            script,
            printed: 0,
            claim: Claim::Absent,
            launches: 0,
            acknowledged: (EventNo::FIRST, Offsets::default()),
            is_gone: false,
            was_wiped: false,
        }
    }

    /// All bytes of one stream.
    pub(crate) fn bytes(&self, stream: OutputStream) -> Vec<u8> {
        let frames = self.script.iter().filter(|frame| frame.stream == stream);
        frames.flat_map(|frame| frame.bytes.clone()).collect()
    }

    /// The command goes on.
    pub(crate) fn print(&mut self) {
        if self.claim == Claim::Taken && self.printed < self.script.len() {
            self.printed += 1;
        }
    }

    /// Launch or follow: one request, whoever comes first.
    pub(crate) fn launch(&mut self, from: Offsets) -> Option<Follower> {
        if self.claim == Claim::Absent && !self.is_gone {
            self.launches += 1;
            self.claim = Claim::Taken;
        }
        self.follow(from)
    }

    /// None where there is nothing to follow, and never will be.
    pub(crate) fn follow(&self, from: Offsets) -> Option<Follower> {
        (self.claim == Claim::Taken && !self.is_gone).then_some(Follower { from, next: 0 })
    }

    pub(crate) fn read(&self, follower: &mut Follower, dice: &mut Dice) -> Heard {
        if self.claim != Claim::Taken || self.is_gone {
            return Heard::Lost;
        }
        while follower.next < self.printed {
            let frame = &self.script[follower.next];
            follower.next += 1;
            let from = of(follower.from, frame.stream);
            if frame.end() <= from || frame.end() <= of(self.acknowledged.1, frame.stream) {
                continue;
            }
            // A frame may begin before the place that was asked for, or be cut there.
            let known = usize::try_from(from.saturating_sub(frame.offset)).unwrap_or(0);
            let cut = if dice.one_in(2) { known } else { 0 };
            let offset = frame.offset + cut as u64;
            return Heard::Output(frame.stream, offset, frame.bytes[cut..].to_vec());
        }
        if self.printed < self.script.len() {
            return Heard::Nothing;
        }
        Heard::End(Box::new(self.end()))
    }

    fn end(&self) -> ProcessEnd {
        ProcessEnd {
            exit: Exit::Code(7),
            timed_out: None,
            canceled: false,
            spawn_error: None,
            error: None,
            has_survivors: false,
            totals: Offsets::new(
                self.bytes(OutputStream::Stdout).len() as u64,
                self.bytes(OutputStream::Stderr).len() as u64,
            ),
            stdout_sha256: sha256(&self.bytes(OutputStream::Stdout)),
            stderr_sha256: sha256(&self.bytes(OutputStream::Stderr)),
            duration_ms: 1,
        }
    }

    /// The log has everything up to here.
    pub(crate) fn acknowledge(&mut self, next: EventNo, to: Offsets) {
        let (known, freed) = self.acknowledged;
        self.acknowledged = (known.max(next), freed.max(to));
    }

    /// What it was told to be in the log; it knows that for as long as it has the exec.
    pub(crate) fn acknowledged(&self) -> (EventNo, Offsets) {
        match self.claim {
            Claim::Taken => self.acknowledged,
            Claim::Absent | Claim::Tombstone => (EventNo::FIRST, Offsets::default()),
        }
    }

    /// The exec is complete: its journal may go.
    pub(crate) fn collect(&mut self) {
        if self.claim == Claim::Taken {
            self.claim = Claim::Tombstone;
        }
    }

    /// The volume with the journals is emptied under a running command.
    pub(crate) fn wipe(&mut self) {
        if self.claim == Claim::Taken {
            self.claim = Claim::Absent;
            self.was_wiped = true;
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

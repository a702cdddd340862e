//! The station `run`: bytes from a pod in, numbered events out. Used by the executor.
//!
//! A [`Run`] lives as long as one claim of one exec. Whatever the pod prints is turned into events
//! at once and gathered; while one batch is being published, the next one fills.
//!
//! Invariants: numbers follow each other without gaps; within one stream, the events joined are
//! the bytes that were fed, exactly; [`Batch::to`] counts no byte that is not in that batch or one
//! before it, so a new `Run` that begins at a logged batch's `to` and `next` continues without a
//! gap or a repeat.
//!
//! After a take-over in an agent's exec the lines before the take-over must be shown to the tally
//! ([`Run::with_tally`]): the session id and earlier results are in them.

use std::time::Duration;

use jiff::Timestamp;
use rdev_contract::agent::Agent;
use rdev_contract::control::ControlMessage;
use rdev_contract::envelope::Recorded;
use rdev_contract::event::{
    CommandSpec, Complete, Event, Kind, OutputStream, TerminalSize, Text, Work,
};
use rdev_contract::id::ConversationId;
use rdev_contract::position::{EventNo, Offsets};

use crate::agent::Tally;
use crate::approval::{Answering, Approvals, InputPiece, Say};
use crate::lines::{Cutter, Piece};

mod agent_lines;
mod end;
mod outbox;

use agent_lines::{AgentLines, Said};
use outbox::Outbox;

pub use end::{Exit, ProcessEnd, TimeOut};
pub use outbox::{BATCH_MAX_ENCODED_BYTES, Batch, EVENT_FRAME_MAX_BYTES};

/// A longer line of an agent's standard output is no event of its own but `output` in partials: 32 MiB
/// is four times the longest line seen, and what one exec may keep an executor from releasing.
pub const AGENT_LINE_MAX_BYTES: usize = 32 * 1024 * 1024;

/// How output becomes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines of text, of `shell` and `git`.
    Lines {
        /// Both streams come through one pipe, as stdout.
        merge: bool,
    },
    /// What comes out of a terminal, of `shell` and `git`: lines and pieces of lines, as stdout.
    Terminal,
    /// JSON lines of an agent on stdout, lines of text on stderr.
    Agent(Agent),
}

impl Format {
    /// The format of a command's output.
    #[must_use]
    pub const fn of(spec: &CommandSpec) -> Self {
        match spec.work {
            Work::Shell { .. } | Work::Git { .. } if spec.tty.is_some() => Self::Terminal,
            Work::Shell { .. } | Work::Git { .. } => Self::Lines { merge: spec.merge },
            Work::Claude { .. } => Self::Agent(Agent::Claude),
            Work::Codex { .. } => Self::Agent(Agent::Codex),
        }
    }

    /// The kind of message that its events are stored in.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Lines { .. } | Self::Terminal => Kind::Output,
            Self::Agent(agent) => Kind::of(agent),
        }
    }
}

/// The bytes do not continue what was fed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{stream:?} goes on at byte {found}, but only {expected} bytes of it have come")]
pub struct FeedError {
    /// Which stream.
    pub stream: OutputStream,
    /// Up to where its bytes have come.
    pub expected: u64,
    /// Where the new bytes begin.
    pub found: u64,
}

/// A size does not stand where the bytes and sizes fed before it end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "size {number} of the terminal at byte {offset}, but {} bytes and {} sizes have come",
    .received.stdout, .received.resizes
)]
pub struct ResizeError {
    /// Which size.
    pub number: u64,
    /// Where it stands.
    pub offset: u64,
    /// What has come.
    pub received: Offsets,
}

/// The output of one exec under one claim.
#[derive(Debug)]
pub struct Run {
    stdout: Stdout,
    stderr: Cutter,
    received: Offsets,
    outbox: Outbox,
    format: Format,
    asking: Option<Asking>,
}

/// What the agent asks, and what it is given for that.
#[derive(Debug)]
struct Asking {
    approvals: Approvals,
    /// To be given to it.
    input: Vec<InputPiece>,
    /// Nothing more will be: it has said how it went.
    is_over: bool,
}

#[derive(Debug)]
enum Stdout {
    Lines(Cutter),
    Agent(AgentLines, Tally),
}

impl Run {
    /// Begins at `from`, with `next` as the number of the first event: the start of the exec, or
    /// the place up to which the log holds it.
    #[must_use]
    pub fn new(format: Format, from: Offsets, next: EventNo) -> Self {
        let stdout = match format {
            Format::Lines { .. } => Stdout::Lines(Cutter::new(from.stdout)),
            Format::Terminal => Stdout::Lines(Cutter::of_terminal(from.stdout)),
            Format::Agent(agent) => Stdout::Agent(
                AgentLines::new(from.stdout, AGENT_LINE_MAX_BYTES),
                Tally::new(agent),
            ),
        };
        Self {
            stdout,
            stderr: Cutter::new(from.stderr),
            received: from,
            outbox: Outbox::new(format.kind(), from, next),
            format,
            asking: None,
        }
    }

    /// What the agent said before the place where this run begins.
    #[must_use]
    pub fn with_tally(mut self, tally: Tally) -> Self {
        if let Stdout::Agent(_, own) = &mut self.stdout {
            *own = tally;
        }
        self
    }

    /// The agent asks before it uses tools. After a take-over this comes behind
    /// [`Run::with_tally`]; what the executor before has not come to write is written first.
    #[must_use]
    pub fn with_approvals(mut self, mut approvals: Approvals) -> Self {
        for say in approvals.unsaid() {
            say_of_question(&mut self.outbox, &say);
        }
        let mut asking = Asking {
            approvals,
            input: Vec::new(),
            is_over: false,
        };
        if let Stdout::Agent(_, tally) = &self.stdout {
            asking.end_input_after(tally, EventNo(0));
        }
        self.asking = Some(asking);
        self
    }

    /// What is asked from here on is asked at this time.
    pub const fn tell_time(&mut self, now: Timestamp) {
        if let Some(asking) = &mut self.asking {
            asking.approvals.tell_time(now);
        }
    }

    /// Takes an order to answer the agent. What is to be given to it then is in [`Run::take_input`].
    /// Whether the agent waits for it.
    pub fn answer(&mut self, order: &Recorded<ControlMessage>) -> bool {
        let Some(asking) = &mut self.asking else {
            return false;
        };
        let Some(answering) = asking.approvals.answer(order) else {
            return false;
        };
        let Answering { say, offset, bytes } = answering;
        let number = say.map_or(EventNo(0), |say| say_of_question(&mut self.outbox, &say));
        asking.input.push(InputPiece {
            number,
            offset,
            bytes,
            end: false,
        });
        true
    }

    /// What is to be given to the agent since the last time, in order.
    pub fn take_input(&mut self) -> Vec<InputPiece> {
        let asking = self.asking.as_mut();
        asking.map_or_else(Vec::new, |asking| std::mem::take(&mut asking.input))
    }

    /// When [`Run::take_overdue`] is due: nobody has answered in time.
    #[must_use]
    pub fn answer_due(&self) -> Option<Timestamp> {
        self.asking.as_ref()?.approvals.due()
    }

    /// The questions that nobody has answered in time, each told once.
    pub fn take_overdue(&mut self, now: Timestamp) -> Vec<String> {
        let asking = self.asking.as_mut();
        asking.map_or_else(Vec::new, |asking| asking.approvals.take_overdue(now))
    }

    /// Takes bytes of one stream, which begin at `offset` in it. What has come before is skipped,
    /// so that a re-follow may begin earlier. `now` is any clock that only goes forward.
    ///
    /// # Errors
    /// [`FeedError`] when bytes are missing in between; nothing was taken then.
    pub fn feed(
        &mut self,
        stream: OutputStream,
        offset: u64,
        bytes: &[u8],
        now: Duration,
    ) -> Result<(), FeedError> {
        let expected = match stream {
            OutputStream::Stdout => self.received.stdout,
            OutputStream::Stderr => self.received.stderr,
        };
        let known = expected.checked_sub(offset).ok_or(FeedError {
            stream,
            expected,
            found: offset,
        })?;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let Some(fresh) = bytes.get(known..).filter(|fresh| !fresh.is_empty()) else {
            return Ok(());
        };
        let received = expected + fresh.len() as u64;
        match stream {
            OutputStream::Stdout => {
                self.received.stdout = received;
                self.feed_stdout(fresh, now);
            }
            OutputStream::Stderr => {
                self.received.stderr = received;
                let (outbox, format) = (&mut self.outbox, self.format);
                self.stderr
                    .feed(fresh, now, &mut |piece| say_stderr(outbox, format, piece));
            }
        }
        Ok(())
    }

    fn feed_stdout(&mut self, fresh: &[u8], now: Duration) {
        let (outbox, asking) = (&mut self.outbox, &mut self.asking);
        match &mut self.stdout {
            Stdout::Lines(cutter) => cutter.feed(fresh, now, &mut |piece| {
                say_stdout(outbox, piece);
            }),
            Stdout::Agent(lines, tally) => {
                lines.feed(fresh, now, &mut |said| {
                    say_agent(outbox, asking, tally, &said)
                });
            }
        }
    }

    /// Takes the `number`-th size of the terminal, which was set when `offset` bytes had come out of
    /// it. What has come before is skipped. Text that waits for its newline is shown: the size
    /// stands behind it.
    ///
    /// # Errors
    /// [`ResizeError`] when something is missing in between; nothing was taken then.
    pub fn resize(
        &mut self,
        number: u64,
        offset: u64,
        size: TerminalSize,
    ) -> Result<(), ResizeError> {
        let received = self.received;
        if number <= received.resizes {
            return Ok(());
        }
        if (number, offset) != (received.resizes + 1, received.stdout) {
            return Err(ResizeError {
                number,
                offset,
                received,
            });
        }
        self.received.resizes = number;
        let outbox = &mut self.outbox;
        if let Stdout::Lines(cutter) = &mut self.stdout {
            cutter.finish(&mut |piece| say_stdout(outbox, piece));
        }
        outbox.released_size();
        outbox.push(&Event::Resized(size), b"");
        Ok(())
    }

    /// When [`Run::flush_partials`] should be called: text without a newline is waiting.
    #[must_use]
    pub fn partial_due(&self) -> Option<Duration> {
        let stdout = match &self.stdout {
            Stdout::Lines(cutter) => cutter.due(),
            // JSON is only worth something whole.
            Stdout::Agent(..) => None,
        };
        [stdout, self.stderr.due()].into_iter().flatten().min()
    }

    /// Shows what has waited long enough for the end of its line.
    pub fn flush_partials(&mut self, now: Duration) {
        let (outbox, format) = (&mut self.outbox, self.format);
        if let Stdout::Lines(cutter) = &mut self.stdout {
            cutter.flush_due(now, &mut |piece| say_stdout(outbox, piece));
        }
        self.stderr
            .flush_due(now, &mut |piece| say_stderr(outbox, format, piece));
    }

    /// Both streams have ended: everything held back is shown.
    pub fn finish(&mut self) {
        let (outbox, format) = (&mut self.outbox, self.format);
        let asking = &mut self.asking;
        match &mut self.stdout {
            Stdout::Lines(cutter) => cutter.finish(&mut |piece| say_stdout(outbox, piece)),
            Stdout::Agent(lines, tally) => {
                lines.finish(&mut |said| say_agent(outbox, asking, tally, &said));
            }
        }
        self.stderr
            .finish(&mut |piece| say_stderr(outbox, format, piece));
    }

    /// The next batch to publish, if there is anything to say: at most
    /// [`BATCH_MAX_ENCODED_BYTES`] of encoded events.
    pub fn take_batch(&mut self) -> Option<Batch> {
        self.outbox.take()
    }

    /// Bytes of encoded events that were not taken yet. The executor stops reading from the pod
    /// while there are too many; taking batches is all that it needs to go on.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.outbox.pending_bytes()
    }

    /// Bytes of text that wait for their newline. Not a reason to stop reading: only more output,
    /// time or the end can release them.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let stdout = match &self.stdout {
            Stdout::Lines(cutter) => cutter.held_bytes(),
            Stdout::Agent(lines, _) => lines.held_bytes(),
        };
        stdout + self.stderr.held_bytes()
    }

    /// Up to where bytes have come: where to follow from when a connection is lost.
    #[must_use]
    pub const fn received(&self) -> Offsets {
        self.received
    }

    /// The number of the next event after everything that was fed, taken or not. The number of
    /// `complete`, once all batches are taken after [`Run::finish`].
    #[must_use]
    pub const fn next(&self) -> EventNo {
        self.outbox.next()
    }

    /// The end of the exec, from the supervisor's end frame. Only to be asked once
    /// [`Run::received`] equals the frame's totals and [`Run::finish`] was called.
    #[must_use]
    pub fn complete(&self, end: &ProcessEnd, conversation: ConversationId) -> Complete {
        let tally = match &self.stdout {
            Stdout::Lines(_) => None,
            Stdout::Agent(_, tally) => Some(tally),
        };
        end::complete(tally, end, conversation)
    }
}

fn say_stdout(outbox: &mut Outbox, piece: Piece<'_>) {
    let stream = Some(OutputStream::Stdout);
    outbox.released_stdout(piece.source_bytes());
    outbox.push(
        &Event::Output(Text::of(piece.bytes, stream, piece.partial)),
        piece.bytes,
    );
}

fn say_stderr(outbox: &mut Outbox, format: Format, piece: Piece<'_>) {
    let event = match format {
        Format::Lines { .. } | Format::Terminal => {
            let stream = Some(OutputStream::Stderr);
            Event::Output(Text::of(piece.bytes, stream, piece.partial))
        }
        Format::Agent(_) => Event::Error(Text::of(piece.bytes, None, piece.partial)),
    };
    outbox.released_stderr(piece.source_bytes());
    outbox.push(&event, piece.bytes);
}

fn say_agent(outbox: &mut Outbox, asking: &mut Option<Asking>, tally: &mut Tally, said: &Said<'_>) {
    match said {
        Said::Line(line) => {
            let question = tally.observe(line.text());
            let number = outbox.next();
            outbox.push_line(tally.agent(), line);
            if let Some(asking) = asking {
                let say = question.and_then(|question| asking.approvals.take(question));
                if let Some(say) = say {
                    say_of_question(outbox, &say);
                }
                asking.end_input_after(tally, number);
            }
        }
        Said::Piece(piece) => say_stdout(outbox, *piece),
    }
}

impl Asking {
    /// An agent that is asked by its input ends when that does: once it has said how it went.
    fn end_input_after(&mut self, tally: &Tally, number: EventNo) {
        if tally.result().is_some() && !std::mem::replace(&mut self.is_over, true) {
            self.input.push(InputPiece {
                number,
                offset: self.approvals.stdin_to(),
                bytes: Vec::new(),
                end: true,
            });
        }
    }
}

/// The number of the event that it is.
fn say_of_question(outbox: &mut Outbox, say: &Say) -> EventNo {
    let number = outbox.next();
    let event = match say {
        Say::Approval(approval) => Event::Approval(approval),
        Say::Answered(answered) => Event::ApprovalAnswered(answered),
    };
    outbox.push_alone(Kind::Approval, &event);
    number
}

#[cfg(test)]
#[path = "run_terminal_tests.rs"]
mod terminal_tests;
#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

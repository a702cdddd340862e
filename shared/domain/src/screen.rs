//! What a terminal shows, folded from the events of its exec. Used by the gateway, for people who
//! come back to a command that runs in one.
//!
//! Invariants: the same events give the same screen, whoever folds them and in however many steps;
//! [`Screen::ansi`], written to any other terminal of the same size, and behind it the output that
//! comes after [`Screen::through`], shows there what it would have shown here. So nobody has to
//! replay what has scrolled away.
//!
//! The emulator is the one that the asciinema programs draw with. It does not know what only matters
//! to who types (is a paste marked, are clicks told): `modes` does. Marks that combine with the
//! character before them are left out, because it would give them a column of their own.

mod ansi;
mod modes;

use avt::parser::{Function, State};
use avt::{Parser, Terminal};
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::{OutputStream, RawEvent, TerminalSize, Text, event_name};
use rdev_contract::position::{EventNo, StreamSeq};
use unicode_width::UnicodeWidthChar;

use self::modes::Modes;
use crate::request::TERMINAL_MAX;

const ESCAPE: char = '\x1b';
/// No sequence that draws anything is longer. Of a longer one (a picture, a link, the clipboard) only
/// so much is handed on when it is cut off in its middle.
const BEGUN_MAX_BYTES: usize = 4096;
/// After how much work the caller is asked whether to go on: printing a character is 1, and what may
/// touch the whole screen is as much as a part of its cells. A fraction of a second.
const WORK_BETWEEN_ASKING: usize = 4_000_000;
const CELLS_PER_WORK: usize = 8;
/// The highest character that is certainly as wide as others.
const LAST_OF_ASCII: char = '\x7e';

/// The screen cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    /// Events are missing, and with them what they drew.
    #[error("event {expected} is missing; the next one is {found}")]
    Gap {
        /// The one that comes next.
        expected: EventNo,
        /// The one that is there.
        found: EventNo,
    },
    /// An event is not of the shape of its name.
    #[error("an event cannot be read: {0}")]
    Unreadable(String),
    /// The caller did not want to wait any longer. The screen is of no use any more.
    #[error("drawing takes too long")]
    GivenUp,
}

/// A terminal as it looks after some events.
pub struct Screen {
    terminal: Terminal,
    parser: Parser,
    /// The first bytes of a character that is not complete.
    incomplete: Vec<u8>,
    /// The beginning of a control sequence that is not complete.
    begun: String,
    modes: Modes,
    work: usize,
    through: (StreamSeq, EventNo),
    whole: StreamSeq,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Screen")
            .field("size", &self.size())
            .field("through", &self.through)
            .finish_non_exhaustive()
    }
}

/// Where what is typed would appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Columns to the left of it.
    pub col: usize,
    /// Rows above it.
    pub row: usize,
    /// It is shown.
    pub is_visible: bool,
}

impl Screen {
    /// An empty screen, before the first event.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the emulator refuses nothing but a size of zero"
    )]
    pub fn new(size: TerminalSize) -> Self {
        let (cols, rows) = possible(size);
        Self {
            terminal: Terminal::new(cols, rows).expect("a size that is not zero"),
            parser: Parser::new(),
            incomplete: Vec::new(),
            begun: String::new(),
            modes: Modes::default(),
            work: 0,
            through: (StreamSeq(0), EventNo(0)),
            whole: StreamSeq(0),
        }
    }

    /// The last event that it includes, and the message that this was in; 0 before the first one.
    #[must_use]
    pub const fn through(&self) -> (StreamSeq, EventNo) {
        self.through
    }

    /// The last message that it includes as a whole: what it lacks is behind that.
    #[must_use]
    pub const fn whole(&self) -> StreamSeq {
        self.whole
    }

    /// Takes the events of the exec's next message, up to the event `last`. Those that it includes
    /// already are passed over. `go_on` is asked now and then when there is much to draw.
    ///
    /// # Errors
    /// [`ScreenError`]; after [`ScreenError::Gap`] it is as it was before.
    pub fn take(
        &mut self,
        message: &Recorded<Message<'_>>,
        last: EventNo,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), ScreenError> {
        let numbered = message.value.head.first;
        let mut found = numbered.unwrap_or_default();
        for event in &message.value.events {
            let expected = self.through.1.plus(1);
            if found > last {
                return Ok(());
            }
            if found > expected {
                return Err(ScreenError::Gap { expected, found });
            }
            if found == expected {
                self.event(event, go_on)?;
                self.through = (message.sequence, found);
            }
            found = found.plus(1);
        }
        self.whole = message.sequence;
        Ok(())
    }

    fn event(
        &mut self,
        event: &RawEvent<'_>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), ScreenError> {
        let unreadable = |error: &dyn std::fmt::Display| ScreenError::Unreadable(error.to_string());
        let data = event.data.map_or("null", |data| data.get());
        match &*event.name {
            event_name::OUTPUT => {
                let text: Text<'_> =
                    serde_json::from_str(data).map_err(|error| unreadable(&error))?;
                if text.stream == Some(OutputStream::Stderr) {
                    return Ok(());
                }
                let bytes = text.bytes().map_err(|error| unreadable(&error))?;
                self.print(&bytes, go_on)
            }
            event_name::RESIZED => {
                let size = serde_json::from_str(data).map_err(|error| unreadable(&error))?;
                let (cols, rows) = possible(size);
                self.terminal.resize(cols, rows);
                Ok(())
            }
            // `complete`, and what later builds may write.
            _ => Ok(()),
        }
    }

    fn print(&mut self, bytes: &[u8], go_on: &mut dyn FnMut() -> bool) -> Result<(), ScreenError> {
        let joined;
        let mut rest = bytes;
        if !self.incomplete.is_empty() {
            joined = [&std::mem::take(&mut self.incomplete), bytes].concat();
            rest = &joined;
        }
        loop {
            let (text, after, lacks) = next_text(rest);
            for character in text.chars() {
                self.character(character, go_on)?;
            }
            match lacks {
                None => return Ok(()),
                Some(Lacks::More) => {
                    self.incomplete = after.to_vec();
                    return Ok(());
                }
                Some(Lacks::Sense) => self.character(char::REPLACEMENT_CHARACTER, go_on)?,
            }
            rest = after;
        }
    }

    fn character(
        &mut self,
        character: char,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), ScreenError> {
        let function = self.parser.feed(character);
        self.note(character);
        if let Some(function) = function {
            self.work += self.work_of(&function);
            self.execute(function);
        }
        if self.work < WORK_BETWEEN_ASKING {
            return Ok(());
        }
        self.work = 0;
        if go_on() {
            Ok(())
        } else {
            Err(ScreenError::GivenUp)
        }
    }

    fn execute(&mut self, function: Function) {
        if let Function::Print(mark) = function
            && mark > LAST_OF_ASCII
            && mark.width() == Some(0)
        {
            return;
        }
        if let Function::Rep(count) = function {
            // More would be a way to keep us busy: nobody repeats beyond a row.
            let (cols, _) = self.terminal.size();
            let most = u16::try_from(cols).unwrap_or(u16::MAX);
            return self.terminal.execute(Function::Rep(count.min(most)));
        }
        self.terminal.execute(function);
    }

    fn work_of(&self, function: &Function) -> usize {
        if matches!(
            function,
            Function::Print(_) | Function::Cr | Function::Sgr(_)
        ) {
            return 1;
        }
        let (cols, rows) = self.terminal.size();
        1 + cols * rows / CELLS_PER_WORK
    }

    /// Keeps the beginning of a sequence until it is complete, and what it says about input then.
    fn note(&mut self, character: char) {
        if self.parser.state == State::Ground {
            if !self.begun.is_empty() {
                self.begun.push(character);
                self.modes.note(&self.begun);
                self.begun.clear();
            }
            return;
        }
        if character == ESCAPE || begins_sequence(character) {
            self.begun.clear();
        }
        // Other control characters within a sequence have been executed.
        let is_part = character >= ' ' || character == ESCAPE;
        if is_part && self.begun.len() < BEGUN_MAX_BYTES {
            self.begun.push(character);
        }
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> TerminalSize {
        let (cols, rows) = self.terminal.size();
        let number = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        TerminalSize {
            cols: number(cols),
            rows: number(rows),
        }
    }

    /// Its cursor.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let (cols, rows) = self.terminal.size();
        let cursor = self.terminal.cursor();
        Cursor {
            // Behind the last column while a character waits for the next row.
            col: cursor.col.min(cols - 1),
            row: cursor.row.min(rows - 1),
            is_visible: cursor.visible,
        }
    }

    /// Its rows as text, without the blanks at their ends.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let lines = self.terminal.screen().visible_lines();
        lines
            .map(|line| {
                let mut text = line.text();
                text.truncate(text.trim_end_matches(' ').len());
                text
            })
            .collect()
    }

    /// What makes any terminal of this size look and behave like this one: written to it, it begins
    /// with a reset. UTF-8, unless it ends within a character.
    #[must_use]
    pub fn ansi(&self) -> Vec<u8> {
        let (cols, _) = self.terminal.size();
        let mut text = "\x1bc".to_owned();
        text.push_str(&ansi::plain(&self.terminal.dump(), cols));
        self.modes.write(&mut text);
        text.push_str(&self.begun);
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.incomplete);
        bytes
    }
}

/// What is between the stream's bytes and text.
enum Lacks {
    /// They end within a character.
    More,
    /// They hold what is no character.
    Sense,
}

/// The text at the beginning of the bytes, what comes behind it, and what ended it.
fn next_text(bytes: &[u8]) -> (&str, &[u8], Option<Lacks>) {
    let error = match str::from_utf8(bytes) {
        Ok(text) => return (text, &[], None),
        Err(error) => error,
    };
    let (text, rest) = bytes.split_at(error.valid_up_to());
    let text = str::from_utf8(text).unwrap_or_default();
    match error.error_len() {
        None => (text, rest, Some(Lacks::More)),
        Some(count) => (text, &rest[count..], Some(Lacks::Sense)),
    }
}

/// The control characters that stand for an escape and a letter: DCS, SOS, CSI, OSC, PM, APC.
const fn begins_sequence(character: char) -> bool {
    matches!(
        character,
        '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}' | '\u{9e}' | '\u{9f}'
    )
}

/// Whatever the log says, memory is bounded.
fn possible(size: TerminalSize) -> (usize, usize) {
    let within = |count: u16| usize::from(count.clamp(1, TERMINAL_MAX));
    (within(size.cols), within(size.rows))
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;

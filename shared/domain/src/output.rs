//! The exact bytes of one output stream, put together again from the messages of its exec.
//!
//! Used by whoever serves or checks what a command printed. Invariant: the bytes of a message end
//! where its `to` says, so where they begin is known without the messages before it; what is
//! missing shows as a beginning behind the end of what came before.

use rdev_contract::envelope::{Head, Message};
use rdev_contract::event::{
    Admitted, AgentLine, Fragment, Kind, OutputStream, RawEvent, Resumed, Text, event_name,
};
use rdev_contract::position::Offsets;

use crate::fragment::FragmentJoiner;

/// Bytes that follow each other in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// How many bytes of the stream come before them.
    pub begin: u64,
    /// Themselves; at least one.
    pub bytes: Vec<u8>,
}

impl Stretch {
    /// How many bytes of the stream there are up to their end.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }
}

/// The bytes of a message cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It does not say up to where its bytes go.
    #[error("a message with output says no offsets")]
    NoOffsets,
    /// It has more bytes than came up to its end.
    #[error("a message has {bytes} bytes of a stream, but says that {to} came up to its end")]
    TooMany {
        /// How many it has.
        bytes: u64,
        /// Its offset.
        to: u64,
    },
    /// An event is not of the shape of its name.
    #[error("an event cannot be read: {0}")]
    Unreadable(String),
}

/// Joins the bytes of one stream from messages that follow each other in the log.
#[derive(Debug, Clone)]
pub struct OutputJoiner {
    stream: OutputStream,
    line: FragmentJoiner,
}

impl OutputJoiner {
    /// Begins anywhere but in the middle of a long agent's line, of which the bytes would be missing.
    #[must_use]
    pub fn new(stream: OutputStream) -> Self {
        Self {
            stream,
            line: FragmentJoiner::default(),
        }
    }

    /// The stream's bytes that this message adds, if it adds any. Those of a long agent's line come
    /// with its last part; without its beginning they are left out.
    ///
    /// # Errors
    /// [`OutputError`]; what comes later can still be joined.
    pub fn take(&mut self, message: &Message<'_>) -> Result<Option<Stretch>, OutputError> {
        let mut bytes = Vec::new();
        for event in &message.events {
            self.append(event, &mut bytes)?;
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let to = message.head.to.ok_or(OutputError::NoOffsets)?;
        let (to, length) = (offset(to, self.stream), bytes.len() as u64);
        let begin = to
            .checked_sub(length)
            .ok_or(OutputError::TooMany { bytes: length, to })?;
        Ok(Some(Stretch { begin, bytes }))
    }

    fn append(&mut self, event: &RawEvent<'_>, bytes: &mut Vec<u8>) -> Result<(), OutputError> {
        if let Some(fragment) = &event.fragment {
            return self.append_fragment(fragment, bytes);
        }
        let data = event.data.map_or("null", |data| data.get());
        match &*event.name {
            event_name::CLAUDE_EVENT | event_name::CODEX_EVENT => self.append_line(data, bytes),
            event_name::OUTPUT => self.append_text(data, OutputStream::Stdout, bytes),
            event_name::ERROR => self.append_text(data, OutputStream::Stderr, bytes),
            // `resized`, `complete`, and what later builds may write.
            _ => Ok(()),
        }
    }

    fn append_fragment(
        &mut self,
        fragment: &Fragment<'_>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), OutputError> {
        if self.stream != OutputStream::Stdout {
            return Ok(());
        }
        match self.line.push(fragment) {
            Ok(Some(data)) => self.append_line(&data, bytes),
            Ok(None) => Ok(()),
            // The line is missing, and what comes before it does not touch what follows.
            Err(_) => {
                bytes.clear();
                Ok(())
            }
        }
    }

    fn append_line(&self, data: &str, bytes: &mut Vec<u8>) -> Result<(), OutputError> {
        if self.stream != OutputStream::Stdout {
            return Ok(());
        }
        let line = AgentLine::of_data(data)
            .ok_or_else(|| OutputError::Unreadable("not a line of an agent's".to_owned()))?;
        bytes.extend_from_slice(line.text().as_bytes());
        if !line.is_partial() {
            bytes.push(b'\n');
        }
        Ok(())
    }

    fn append_text(
        &self,
        data: &str,
        otherwise: OutputStream,
        bytes: &mut Vec<u8>,
    ) -> Result<(), OutputError> {
        let unreadable = |error: &dyn std::fmt::Display| OutputError::Unreadable(error.to_string());
        let text: Text<'_> = serde_json::from_str(data).map_err(|error| unreadable(&error))?;
        if text.stream.unwrap_or(otherwise) == self.stream {
            bytes.extend(text.bytes().map_err(|error| unreadable(&error))?);
        }
        Ok(())
    }
}

/// How far one stream has come.
#[must_use]
pub const fn offset(to: Offsets, stream: OutputStream) -> u64 {
    match stream {
        OutputStream::Stdout => to.stdout,
        OutputStream::Stderr => to.stderr,
    }
}

/// Whether a message has no byte of this stream at or behind `first`, told by its head alone. Never
/// told of an agent's: a part of a long line says nothing of the bytes that it has.
#[must_use]
pub fn is_before(head: &Head, stream: OutputStream, first: u64) -> bool {
    match (head.known_kind(), head.to) {
        (Some(Kind::Output), Some(to)) => offset(to, stream) <= first,
        (
            Some(Kind::Command | Kind::Admitted | Kind::Started | Kind::Resumed | Kind::Approval),
            _,
        ) => true,
        (Some(Kind::Output | Kind::Claude | Kind::Codex | Kind::Complete) | None, _) => false,
    }
}

/// Whether everything up to this message, itself included, is before `first`, and no line is left
/// open at its end: whether who wants the bytes from `first` on may begin to read behind it.
#[must_use]
pub fn ends_before(message: &Message<'_>, stream: OutputStream, first: u64) -> bool {
    let head = &message.head;
    match head.known_kind() {
        Some(Kind::Command | Kind::Started) => true,
        // Behind anything but its command it was written for an exec that ran already.
        Some(Kind::Admitted) => message
            .fact::<Admitted>()
            .is_ok_and(|admitted| admitted.command_seq == head.prev),
        Some(Kind::Resumed) => message
            .fact::<Resumed>()
            .is_ok_and(|resumed| offset(resumed.from.offsets, stream) <= first),
        Some(Kind::Output | Kind::Claude | Kind::Codex | Kind::Approval) => {
            let last = message.events.last();
            let part = last.and_then(|event| event.fragment.as_ref());
            let is_open = part.is_some_and(|part| !part.last);
            !is_open && head.to.is_some_and(|to| offset(to, stream) <= first)
        }
        Some(Kind::Complete) | None => false,
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;

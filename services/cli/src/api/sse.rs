//! Server-sent events, as the HTML standard has them: bytes in, events out.
//!
//! Invariant: an event is given out when its blank line is here, and not before; what a broken
//! connection leaves of one is dropped, as the standard says.

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// The id in force; empty if there was none yet.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its data.
    pub(crate) data: String,
}

/// Takes the bytes of one connection.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    /// Of a line that is not complete.
    line: Vec<u8>,
    /// The last byte was a CR: an LF behind it is of the same line end.
    after_cr: bool,
    is_begun: bool,
    id: String,
    name: String,
    data: String,
    has_data: bool,
    /// The pause before a reconnect, in milliseconds, when the server has said one.
    pub(crate) retry_ms: Option<u64>,
}

impl SseParser {
    /// Adds what these bytes complete.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], events: &mut Vec<SseEvent>) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
            let Some(end) = bytes.iter().position(is_end) else {
                self.line.extend_from_slice(bytes);
                return;
            };
            self.after_cr = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.take_line(&bytes[..end], events);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&bytes[..end]);
                self.take_line(&line, events);
                line.clear();
                self.line = line;
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// How much is held of what is not complete.
    pub(crate) fn held_bytes(&self) -> usize {
        self.line.len() + self.data.len()
    }

    fn take_line(&mut self, line: &[u8], events: &mut Vec<SseEvent>) {
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if !self.is_begun => rest,
            _ => line,
        };
        self.is_begun = true;
        if line.is_empty() {
            return self.dispatch(events);
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
        match field {
            b"event" => self.name = value.into_owned(),
            b"data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(&value);
                self.has_data = true;
            }
            b"id" if !value.contains('\0') => self.id = value.into_owned(),
            b"retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<SseEvent>) {
        let (name, data) = (
            std::mem::take(&mut self.name),
            std::mem::take(&mut self.data),
        );
        if std::mem::take(&mut self.has_data) {
            events.push(SseEvent {
                id: self.id.clone(),
                name: if name.is_empty() {
                    "message".to_owned()
                } else {
                    name
                },
                data,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<(String, String, String)> {
        let (mut parser, mut events) = (SseParser::default(), Vec::new());
        for piece in pieces {
            parser.feed(piece, &mut events);
        }
        let parts = |event: SseEvent| (event.id, event.name, event.data);
        events.into_iter().map(parts).collect()
    }

    fn event(id: &str, name: &str, data: &str) -> (String, String, String) {
        (id.to_owned(), name.to_owned(), data.to_owned())
    }

    const TEXT: &[u8] =
        b"\xef\xbb\xbfretry: 10\n\nid: 7-1-aa\r\nevent: output\rdata: {\"a\":1}\r\n\r\n\
        : note\ndata:x\ndata: y \n\nid\ndata\n\nevent: never\n\nid: 3\ndata: cut";

    #[test]
    fn events_are_as_the_standard_has_them() {
        let wanted = [
            event("7-1-aa", "output", "{\"a\":1}"),
            event("7-1-aa", "message", "x\ny "),
            event("", "message", ""),
        ];
        assert_eq!(parse(&[TEXT]), wanted);
        for at in 0..TEXT.len() {
            assert_eq!(parse(&[&TEXT[..at], &TEXT[at..]]), wanted, "cut at {at}");
        }
        let bytes: Vec<_> = TEXT.chunks(1).collect();
        assert_eq!(parse(&bytes), wanted);
    }

    #[test]
    fn a_retry_is_a_number() {
        let mut parser = SseParser::default();
        parser.feed(b"retry: 250\nretry: soon\nretry:\n", &mut Vec::new());
        assert_eq!(parser.retry_ms, Some(250));
    }
}

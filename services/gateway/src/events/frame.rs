//! Server-sent events as bytes. The only place that knows how a frame is written.
//!
//! Invariant: nothing that is put into a frame can end it early or begin another: names are of a
//! fixed alphabet, data is one line, ids are cursors.

use rdev_contract::event::event_name;
use rdev_contract::position::{EventNo, StreamSeq};
use serde::Serialize;

/// Bytes of a frame beside its data: names, digits and line ends; for reserving space.
pub(super) const FRAME_OVERHEAD_BYTES: usize = 80;
/// `u64::MAX` has 20 digits.
const DECIMAL_MAX_BYTES: usize = 20;

/// Writes frames into a buffer, each with the id of its place.
#[derive(Debug)]
pub(super) struct FrameWriter {
    tag: String,
    out: Vec<u8>,
}

impl FrameWriter {
    /// For the exec whose cursors have this tag.
    pub(super) const fn new(tag: String) -> Self {
        Self {
            tag,
            out: Vec::new(),
        }
    }

    /// What was written since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(super) const fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    /// An event of the log; its data untouched.
    pub(super) fn event(&mut self, sequence: StreamSeq, number: EventNo, name: &str, data: &str) {
        self.begin(sequence, number, name);
        self.end(data.as_bytes());
    }

    /// A frame that the gateway makes.
    pub(super) fn own<T: Serialize>(
        &mut self,
        sequence: StreamSeq,
        number: EventNo,
        name: &str,
        retry_ms: Option<u64>,
        data: &T,
    ) {
        self.begin(sequence, number, name);
        if let Some(retry_ms) = retry_ms {
            self.out.extend_from_slice(b"\nretry: ");
            decimal(&mut self.out, retry_ms);
        }
        // Structs of texts and numbers always can be written.
        let data = serde_json::to_vec(data).unwrap_or_else(|_| b"{}".to_vec());
        self.end(&data);
    }

    fn begin(&mut self, sequence: StreamSeq, number: EventNo, name: &str) {
        let out = &mut self.out;
        out.extend_from_slice(b"id: ");
        decimal(out, sequence.0);
        out.push(b'-');
        decimal(out, number.0);
        out.push(b'-');
        out.extend_from_slice(self.tag.as_bytes());
        out.extend_from_slice(b"\nevent: ");
        out.extend_from_slice(safe_name(name).as_bytes());
    }

    fn end(&mut self, data: &[u8]) {
        self.out.extend_from_slice(b"\ndata: ");
        let at = self.out.len();
        self.out.extend_from_slice(data);
        // Writers never leave a line end in data; in JSON it could only stand between tokens,
        // where a blank means the same.
        if memchr::memchr2(b'\n', b'\r', data).is_some() {
            for byte in &mut self.out[at..] {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
        }
        self.out.extend_from_slice(b"\n\n");
    }
}

/// The names of today pass; a name of tomorrow too, unless it could break the frame.
fn safe_name(name: &str) -> &str {
    let is_safe = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_safe { name } else { event_name::OUTPUT }
}

fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; DECIMAL_MAX_BYTES];
    let mut at = DECIMAL_MAX_BYTES;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use rdev_contract::sse::{Connected, frame_name};

    use super::*;

    fn text(writer: &mut FrameWriter) -> String {
        String::from_utf8(writer.take()).unwrap()
    }

    #[test]
    fn an_event_of_the_log() {
        let mut writer = FrameWriter::new("9f3a61c2".to_owned());
        let data = r#"{"line":"hello","stream":"stdout"}"#;
        writer.event(StreamSeq(48213), EventNo(17), "output", data);
        assert_eq!(
            text(&mut writer),
            "id: 48213-17-9f3a61c2\nevent: output\n\
             data: {\"line\":\"hello\",\"stream\":\"stdout\"}\n\n"
        );
    }

    #[test]
    fn the_first_frame() {
        let mut writer = FrameWriter::new("9f3a61c2".to_owned());
        let connected = Connected {
            session_id: "s".to_owned(),
            stream_id: "x".to_owned(),
            reconnecting: false,
        };
        writer.own(
            StreamSeq(0),
            EventNo(0),
            frame_name::CONNECTED,
            Some(1000),
            &connected,
        );
        assert_eq!(
            text(&mut writer),
            "id: 0-0-9f3a61c2\nevent: connected\nretry: 1000\n\
             data: {\"session_id\":\"s\",\"stream_id\":\"x\",\"reconnecting\":false}\n\n"
        );
    }

    #[test]
    fn nothing_in_data_or_name_ends_a_frame() {
        let mut writer = FrameWriter::new("00000000".to_owned());
        writer.event(
            StreamSeq(1),
            EventNo(1),
            "x\n\nevent",
            "{\"a\":\r\n1,\"b\":\"data: x\\n\\n\"}",
        );
        assert_eq!(
            text(&mut writer),
            "id: 1-1-00000000\nevent: output\ndata: {\"a\":  1,\"b\":\"data: x\\n\\n\"}\n\n"
        );
    }

    #[test]
    fn numbers_are_written_as_to_string_does() {
        for value in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            decimal(&mut out, value);
            assert_eq!(out, value.to_string().into_bytes());
        }
    }
}

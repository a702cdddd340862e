//! What a reader saw, and what it must satisfy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// The `id` in force after it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: String,
}

impl SseEvent {
    /// The data as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }

    /// The event number in its id.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.id
            .split('-')
            .nth(1)
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    }

    /// Whether it is in the log, and so has a number of its own.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        matches!(
            self.name.as_str(),
            "output"
                | "error"
                | "claude_event"
                | "codex_event"
                | "resized"
                | "approval"
                | "approval_answered"
                | "complete"
        )
    }
}

/// Events in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// All of them.
    pub events: Vec<SseEvent>,
}

impl Transcript {
    /// The names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.events
            .iter()
            .map(|event| event.name.as_str())
            .collect()
    }

    /// The events of the log among them.
    #[must_use]
    pub fn numbered(&self) -> Vec<&SseEvent> {
        self.events
            .iter()
            .filter(|event| event.is_numbered())
            .collect()
    }

    /// The data of `complete`; null if there is none.
    #[must_use]
    pub fn complete(&self) -> Value {
        let ends: Vec<_> = self
            .events
            .iter()
            .filter(|event| event.name == "complete")
            .collect();
        match ends.as_slice() {
            [end] => end.json(),
            _ => Value::Null,
        }
    }

    /// The exact bytes of one stream (`stdout`, `stderr`), joined from the events.
    #[must_use]
    pub fn bytes(&self, stream: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for event in &self.events {
            let data = event.json();
            let found = match event.name.as_str() {
                "output" => data["stream"].as_str().unwrap_or_default(),
                "error" => "stderr",
                "claude_event" | "codex_event" if stream == "stdout" => {
                    // The event's own bytes, as they stand between `{"event":` and `}`.
                    let raw = event.data.strip_prefix(r#"{"event":"#);
                    bytes.extend(
                        raw.and_then(|raw| raw.strip_suffix('}'))
                            .unwrap_or("")
                            .bytes(),
                    );
                    bytes.push(b'\n');
                    continue;
                }
                _ => continue,
            };
            if found != stream {
                continue;
            }
            match (data["line"].as_str(), data["line_base64"].as_str()) {
                (Some(line), _) => bytes.extend(line.bytes()),
                (None, Some(line)) => bytes.extend(STANDARD.decode(line).unwrap_or_default()),
                (None, None) => {}
            }
            if data["partial"] != Value::Bool(true) {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    /// The text of stdout.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.bytes("stdout")).into_owned()
    }

    /// Whether the events of the log are numbered 1, 2, 3 … and end in exactly one `complete`,
    /// whose totals and hashes are those of the bytes that came. Says what is wrong.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        let numbered = self.numbered();
        for (index, event) in numbered.iter().enumerate() {
            if event.number() != index as u64 + 1 {
                return Err(format!("event {} has id {}", index + 1, event.id));
            }
        }
        if numbered.last().is_none_or(|event| event.name != "complete") {
            return Err(format!(
                "the last event is not complete: {:?}",
                numbered.last()
            ));
        }
        let complete = self.complete();
        for stream in ["stdout", "stderr"] {
            let bytes = self.bytes(stream);
            let told = &complete[format!("{stream}_bytes")];
            if !told.is_null() && *told != bytes.len() as u64 {
                return Err(format!(
                    "{stream}: {} bytes came, {told} were told",
                    bytes.len()
                ));
            }
            let told = &complete[format!("{stream}_sha256")];
            if !told.is_null() && *told != sha256(&bytes) {
                return Err(format!("{stream}: hash differs from {told}"));
            }
        }
        Ok(())
    }
}

/// SHA-256 in lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

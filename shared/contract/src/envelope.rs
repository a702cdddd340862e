//! The payload of every message in the exec stream: a head that says whose it is and where it
//! stands, and a body.
//!
//! Written once, here, and read once, here. `chain` hashes the chain value of the exec's
//! previous message together with this payload (its own `chain` taken as empty), so that an
//! auditor can name the first message that was changed.

use std::fmt::Write as _;

use bytes::Bytes;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::event::{EventBatch, Kind, RawEvent};
use crate::id::{ClaimId, ExecId, ProjectId, SessionId, StreamId};
use crate::position::{EventNo, Offsets, StreamSeq};
use crate::trace::TraceParent;

/// The version of the payload's shape. Fields are only ever added to a version.
pub const PAYLOAD_VERSION: u32 = 1;

/// Who wrote a message and where it stands in its exec. The fields come first in the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Head {
    /// Version of the payload's shape: [`PAYLOAD_VERSION`].
    pub v: u32,
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// The exec.
    pub stream: StreamId,
    /// The last token of the subject. A text, because readers pass over kinds they do not know.
    pub kind: String,
    /// The claim that wrote it; absent in `command` and where nobody claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimId>,
    /// Number of the claim; 0 before the first.
    pub attempt: u32,
    /// Number of the first event in the message; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<EventNo>,
    /// When it was written, to the microsecond.
    pub at: Timestamp,
    /// Up to where the output is in the log, this message included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Offsets>,
    /// Sequence of the exec's previous message; 0 for its first.
    pub prev: StreamSeq,
}

impl Head {
    /// The exec that the message belongs to.
    #[must_use]
    pub fn exec(&self) -> ExecId {
        ExecId {
            project: self.project.clone(),
            session: self.session,
            stream: self.stream.clone(),
        }
    }

    /// The kind, if this build knows it.
    #[must_use]
    pub fn known_kind(&self) -> Option<Kind> {
        self.kind.parse().ok()
    }
}

/// The value that links a message to the one before it, in lower-case hex. Empty before the first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Chain(String);

impl Chain {
    /// As it stands in the payload.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What follows the head.
#[derive(Debug)]
pub enum Body<'a> {
    /// The data of a message without numbered events.
    Data(&'a RawValue),
    /// Numbered events.
    Events(&'a EventBatch),
}

/// A payload ready to be published, and the chain value for the next one.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The JSON text.
    pub payload: Vec<u8>,
    /// Its chain value.
    pub chain: Chain,
}

const CHAIN_KEY: &[u8] = b",\"chain\":\"";
/// What stands before the predecessor's sequence.
const PREV_KEY: &[u8] = b",\"prev\":";

/// Writes a payload that follows a message with the chain value `previous`.
///
/// # Errors
/// None in practice: only if the head cannot be written as JSON.
pub fn encode(
    head: &Head,
    body: &Body<'_>,
    previous: &Chain,
) -> Result<Encoded, serde_json::Error> {
    let mut payload = serde_json::to_vec(head)?;
    payload.pop();
    payload.extend_from_slice(CHAIN_KEY);
    let value_at = payload.len();
    payload.push(b'"');
    match body {
        Body::Data(data) => {
            payload.extend_from_slice(b",\"data\":");
            payload.extend_from_slice(data.get().as_bytes());
        }
        Body::Events(batch) => {
            payload.extend_from_slice(b",\"events\":[");
            payload.extend_from_slice(batch.json());
            payload.push(b']');
        }
    }
    payload.push(b'}');
    let chain = link(previous, &[&payload]);
    payload.splice(value_at..value_at, chain.0.bytes());
    Ok(Encoded { payload, chain })
}

fn link(previous: &Chain, parts: &[&[u8]]) -> Chain {
    let mut hasher = Sha256::new();
    hasher.update(previous.0.as_bytes());
    for part in parts {
        hasher.update(part);
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Chain(text)
}

/// Whether `payload` is unchanged since it was written after a message with chain `previous`.
/// Without a chain value in it, it is not.
#[must_use]
pub fn verify_chain(payload: &[u8], previous: &Chain) -> bool {
    let Some(key_at) = payload
        .windows(CHAIN_KEY.len())
        .position(|window| window == CHAIN_KEY)
    else {
        return false;
    };
    let value_at = key_at + CHAIN_KEY.len();
    let Some(value_bytes) = payload[value_at..].iter().position(|byte| *byte == b'"') else {
        return false;
    };
    let (before, rest) = payload.split_at(value_at);
    let (value, after) = rest.split_at(value_bytes);
    link(previous, &[before, after]).0.as_bytes() == value
}

/// A payload as it was read: the head decoded, the body left as it stands.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Whose it is.
    pub head: Head,
    /// Its chain value.
    pub chain: Chain,
    /// The data of a message without numbered events.
    pub data: Option<&'a RawValue>,
    /// Its numbered events.
    pub events: Vec<RawEvent<'a>>,
}

/// The payload's fields side by side: `flatten` would copy the body through a tree of values.
#[derive(Deserialize)]
struct Shape<'a> {
    v: u32,
    project: ProjectId,
    session: SessionId,
    stream: StreamId,
    kind: String,
    #[serde(default)]
    claim: Option<ClaimId>,
    attempt: u32,
    #[serde(default)]
    first: Option<EventNo>,
    at: Timestamp,
    #[serde(default)]
    to: Option<Offsets>,
    prev: StreamSeq,
    chain: Chain,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    events: Vec<RawEvent<'a>>,
}

impl<'a> Message<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not JSON, lacks a field, or an id in it is not one.
    pub fn decode(payload: &'a [u8]) -> Result<Self, serde_json::Error> {
        // Checked once for all, and not again for each text in it.
        let text = std::str::from_utf8(payload).map_err(serde::de::Error::custom)?;
        let shape: Shape<'a> = serde_json::from_str(text)?;
        let head = Head {
            v: shape.v,
            project: shape.project,
            session: shape.session,
            stream: shape.stream,
            kind: shape.kind,
            claim: shape.claim,
            attempt: shape.attempt,
            first: shape.first,
            at: shape.at,
            to: shape.to,
            prev: shape.prev,
        };
        Ok(Self {
            head,
            chain: shape.chain,
            data: shape.data,
            events: shape.events,
        })
    }

    /// The data as the fact that the kind stands for.
    ///
    /// # Errors
    /// When there is none, or it has another shape.
    pub fn fact<T: Deserialize<'a>>(&self) -> Result<T, serde_json::Error> {
        let data = self
            .data
            .ok_or_else(|| serde::de::Error::missing_field("data"))?;
        serde_json::from_str(data.get())
    }
}

/// Sequence of the exec's message before the one with this payload, found without reading the
/// payload to its end. None in what no writer of ours wrote.
#[must_use]
pub fn previous(payload: &[u8]) -> Option<StreamSeq> {
    let position = |text: &[u8], key: &[u8]| text.windows(key.len()).position(|at| at == key);
    // Nothing in a head can hold either key: its texts are of alphabets without a quote.
    let head = &payload[..position(payload, CHAIN_KEY)?];
    let value = &head[position(head, PREV_KEY)? + PREV_KEY.len()..];
    let end = value.iter().position(|byte| !byte.is_ascii_digit());
    let digits = &value[..end.unwrap_or(value.len())];
    std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .map(StreamSeq)
}

/// A message as the log stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it was published to.
    pub subject: String,
    /// What.
    pub payload: Bytes,
    /// When the server stored it.
    pub at: Timestamp,
    /// To which span of a trace it belongs, if it says so.
    pub trace: Option<TraceParent>,
}

/// Something recorded in the log, with its place there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<T> {
    /// Its sequence in the stream.
    pub sequence: StreamSeq,
    /// What was recorded.
    pub value: T,
}

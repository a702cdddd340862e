//! Orders: what somebody wants of an exec that has been asked for. Stored in a stream of their own,
//! one subject per exec; written by gateways, read by the executor that has the exec, removed once
//! the exec has ended.
//!
//! Invariant: the orders of one exec are numbered without gaps, and each says what all orders up to
//! it come to ([`Given`]). So its last one is all that a writer has to read, and what was carried
//! out may be removed behind it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::envelope::PAYLOAD_VERSION;
use crate::event::{Answer, AnsweredBy, Requester, TerminalSize};
use crate::id::{ExecId, ProjectId, SessionId, StreamId};

/// The payload of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlMessage {
    /// Version of the payload's shape.
    pub v: u32,
    /// The tenant.
    pub project: ProjectId,
    /// The session.
    pub session: SessionId,
    /// The exec.
    pub stream: StreamId,
    /// When it was written, to the microsecond.
    pub at: Timestamp,
    /// Who asked for it.
    pub by: Requester,
    /// What the orders up to this one come to.
    #[serde(flatten)]
    pub given: Given,
    /// What is wanted.
    pub order: Order,
}

impl ControlMessage {
    /// An order for this exec, and what all its orders come to with it.
    #[must_use]
    pub fn new(exec: &ExecId, at: Timestamp, by: Requester, given: Given, order: Order) -> Self {
        Self {
            v: PAYLOAD_VERSION,
            project: exec.project.clone(),
            session: exec.session,
            stream: exec.stream.clone(),
            at,
            by,
            given,
            order,
        }
    }
}

/// What has been ordered of an exec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Given {
    /// How many orders.
    pub number: u64,
    /// Its standard input.
    pub stdin: StdinGiven,
    /// It has been canceled.
    #[serde(default)]
    pub canceled: bool,
}

/// How much standard input an exec has been given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StdinGiven {
    /// Up to this byte, counted from the first one of its command's own `stdin`.
    pub to: u64,
    /// Nothing comes after that.
    pub ended: bool,
}

/// What is wanted. Types are only ever added: who reads one that it does not know passes it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Order {
    /// The exec is to end: politely first, and then with all its processes.
    Cancel {
        /// Why, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Every process of the exec gets this signal, once.
    Signal {
        /// Which one.
        signal: SignalName,
    },
    /// Standard input.
    Stdin {
        /// Where in the whole of standard input these bytes are.
        offset: u64,
        /// They come in the form that is shorter.
        #[serde(flatten)]
        input: Input,
        /// Nothing comes after these bytes: it is closed behind them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        end: bool,
    },
    /// The exec's terminal gets this size.
    Resize {
        /// The size.
        #[serde(flatten)]
        size: TerminalSize,
    },
    /// The exec's agent is answered whether it may use a tool.
    Answer {
        /// Which question.
        approval_id: String,
        /// The answer.
        #[serde(flatten)]
        answer: Answer,
        /// Whose it is.
        by: AnsweredBy,
    },
    /// Written by a newer version.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Bytes in JSON: as text, or in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Input {
    /// The bytes, if they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The bytes in base64, if they are not, or are shorter so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}

impl Input {
    /// These bytes. At most four bytes of JSON for three of them, whatever they are.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let base64_bytes = bytes.len().div_ceil(3) * 4;
        match str::from_utf8(bytes) {
            Ok(text) if json_bytes(text) <= base64_bytes => Self {
                data: Some(text.to_owned()),
                data_base64: None,
            },
            Ok(_) | Err(_) => Self {
                data: None,
                data_base64: Some(STANDARD.encode(bytes)),
            },
        }
    }

    /// The bytes.
    ///
    /// # Errors
    /// [`base64::DecodeError`] if `data_base64` is not base64.
    pub fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        match (&self.data, &self.data_base64) {
            (Some(text), _) => Ok(text.as_bytes().to_vec()),
            (None, Some(encoded)) => STANDARD.decode(encoded),
            (None, None) => Ok(Vec::new()),
        }
    }
}

fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0x00..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// A signal that may be sent, as people write it. Numbers differ between machines; names do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SignalName {
    /// The terminal is gone; often, read the configuration again.
    Hup,
    /// Interrupt.
    Int,
    /// Quit, with a core dump.
    Quit,
    /// End at once.
    Kill,
    /// For the program's own use.
    Usr1,
    /// For the program's own use.
    Usr2,
    /// A timer is over.
    Alrm,
    /// End.
    Term,
    /// Go on.
    Cont,
    /// Stand still.
    Stop,
    /// Stand still, if the program allows it.
    Tstp,
    /// The terminal has another size.
    Winch,
}

impl SignalName {
    /// All of them, by their numbers.
    pub const ALL: [Self; 12] = [
        Self::Hup,
        Self::Int,
        Self::Quit,
        Self::Kill,
        Self::Usr1,
        Self::Usr2,
        Self::Alrm,
        Self::Term,
        Self::Cont,
        Self::Stop,
        Self::Tstp,
        Self::Winch,
    ];

    /// As people write it, without SIG.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hup => "HUP",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
            Self::Alrm => "ALRM",
            Self::Term => "TERM",
            Self::Cont => "CONT",
            Self::Stop => "STOP",
            Self::Tstp => "TSTP",
            Self::Winch => "WINCH",
        }
    }

    /// Its number on Linux, for every processor that pods run on.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Quit => 3,
            Self::Kill => 9,
            Self::Usr1 => 10,
            Self::Usr2 => 12,
            Self::Alrm => 14,
            Self::Term => 15,
            Self::Cont => 18,
            Self::Stop => 19,
            Self::Tstp => 20,
            Self::Winch => 28,
        }
    }
}

impl std::str::FromStr for SignalName {
    type Err = UnknownSignal;
    fn from_str(name: &str) -> Result<Self, UnknownSignal> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.name() == name)
            .ok_or(UnknownSignal)
    }
}

/// No signal that may be sent has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give one of {}", names())]
pub struct UnknownSignal;

fn names() -> String {
    SignalName::ALL.map(SignalName::name).join(", ")
}

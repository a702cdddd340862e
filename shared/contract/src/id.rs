//! Identifiers. They are the only parts of subjects, paths and directory names that come from
//! outside; each accepts a fixed alphabet, so that no id can reshape what it is put into
//! (`.`, `*`, `>`, `/`, `..` and blanks never pass). Checked in `FromStr` and nowhere else.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Why a text is not an id of the kind asked for. Says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: expected {expected}")]
pub struct InvalidId {
    /// The kind of id.
    pub what: &'static str,
    /// What an id of this kind looks like.
    pub expected: &'static str,
}

/// A DNS label has at most 63 octets (RFC 1035); Kubernetes names and projects follow it.
pub const DNS_LABEL_MAX_BYTES: usize = 63;
/// Pod names are DNS subdomains; beyond this Kubernetes itself refuses (RFC 1123).
pub const POD_NAME_MAX_BYTES: usize = 253;
/// Beyond this Kubernetes refuses the key of a Secret.
pub const SECRET_KEY_MAX_BYTES: usize = 253;
/// A stream id is one token of a subject; long tokens cost server memory for each message kind.
pub const STREAM_ID_MAX_BYTES: usize = 64;

fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    bytes.len() <= DNS_LABEL_MAX_BYTES
        && alphanumeric(*first)
        && alphanumeric(*last)
        && bytes
            .iter()
            .all(|byte| alphanumeric(*byte) || *byte == b'-')
}

fn is_pod_name(text: &str) -> bool {
    text.len() <= POD_NAME_MAX_BYTES && text.split('.').all(is_dns_label)
}

/// As Kubernetes has it; as a name of a file it stays in its directory.
fn is_secret_key(text: &str) -> bool {
    (1..=SECRET_KEY_MAX_BYTES).contains(&text.len())
        && text != "."
        && !text.starts_with("..")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_stream_id(text: &str) -> bool {
    (1..=STREAM_ID_MAX_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Drawn at random, so long that no two are the same.
pub const KEY_ID_CHARS: usize = 16;

fn is_key_id(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == KEY_ID_CHARS && text.bytes().all(is_hex)
}

/// The published form of the check that parsing does.
macro_rules! schema_of_id {
    ($name:ident, $what:literal, $schema:tt) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!($schema);
                schema.insert("type".to_owned(), "string".into());
                schema.insert("description".to_owned(), concat!("A ", $what, ".").into());
                schema
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $check:path, $schema:tt) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if $check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { what: $what, expected: $expected })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        schema_of_id!($name, $what, $schema);
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes a UUID that the caller made.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            /// Only the hyphenated lower-case form: one id has one spelling, in subjects too.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match Uuid::try_parse(text) {
                    Ok(uuid) if uuid.as_hyphenated().to_string() == text => Ok(Self(uuid)),
                    Ok(_) | Err(_) => Err(InvalidId {
                        what: $what,
                        expected: "a UUID in lower case with hyphens",
                    }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(formatter)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        schema_of_id!($name, $what, {
            "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
        });
    };
}

text_id!(
    /// A tenant. One token of every subject.
    ProjectId, "project id",
    "1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit", is_dns_label,
    { "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" }
);
text_id!(
    /// One exec and its stream of events; given by the client or `session-` and a UUID.
    StreamId, "stream id", "1 to 64 of A-Z, a-z, 0-9, _ and -", is_stream_id,
    { "pattern": "^[A-Za-z0-9_-]{1,64}$" }
);
text_id!(
    /// A Kubernetes namespace or container name.
    DnsLabel, "DNS label",
    "1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit", is_dns_label,
    { "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" }
);
text_id!(
    /// A Kubernetes pod name.
    PodName, "pod name",
    "DNS labels (a-z, 0-9, -) joined by dots, 253 characters at most", is_pod_name,
    { "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$", "maxLength": 253 }
);
text_id!(
    /// The name of a Kubernetes Secret.
    SecretName, "name of a Secret",
    "DNS labels (a-z, 0-9, -) joined by dots, 253 characters at most", is_pod_name,
    { "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$", "maxLength": 253 }
);
text_id!(
    /// The key of a value in a Kubernetes Secret.
    SecretKey, "key of a Secret",
    "1 to 253 of A-Z, a-z, 0-9, -, _ and ., neither . nor beginning with ..", is_secret_key,
    { "pattern": "^\\.?[-_A-Za-z0-9][-._A-Za-z0-9]*$", "maxLength": 253 }
);
text_id!(
    /// An API key, without its secret.
    KeyId, "key id", "16 of 0-9 and a-f", is_key_id,
    { "pattern": "^[0-9a-f]{16}$" }
);
uuid_id!(
    /// A session: a pod, and the conversation held in it. UUIDv7, made by the gateway.
    SessionId, "session id"
);
uuid_id!(
    /// The conversation of a session.
    ConversationId, "conversation id"
);
uuid_id!(
    /// One executor's claim of one exec; a take-over is another claim.
    ClaimId, "claim id"
);
uuid_id!(
    /// A session of an agent, as it names it itself.
    AgentSessionId, "agent session id"
);

impl SessionId {
    /// The conversation of this session: a UUIDv5 of it, so that nobody has to ask a database.
    #[must_use]
    pub fn conversation(self) -> ConversationId {
        ConversationId(Uuid::new_v5(&self.0, b"conversation"))
    }
}

impl StreamId {
    /// The id of an exec for which the client gave none.
    #[must_use]
    pub fn generated(uuid: Uuid) -> Self {
        Self(format!("session-{}", uuid.as_hyphenated()))
    }

    /// The id that an `Idempotency-Key` stands for: the same key names the same exec.
    #[must_use]
    pub fn of_idempotency_key(project: &ProjectId, session: SessionId, key: &str) -> Self {
        let name = format!("{project}/{key}");
        Self::generated(Uuid::new_v5(&session.0, name.as_bytes()))
    }
}

/// Names one exec everywhere: its project, session and stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExecId {
    /// The tenant.
    pub project: ProjectId,
    /// The session whose pod the command runs in.
    pub session: SessionId,
    /// The exec within the session.
    pub stream: StreamId,
}

impl ExecId {
    /// Eight hex digits of a hash of the id: tells a cursor of this exec from another's.
    #[must_use]
    pub fn tag(&self) -> String {
        tag(&self.to_string())
    }
}

/// The tag of the cursor before the first event of a whole session; that of no exec.
#[must_use]
pub fn session_tag(project: &ProjectId, session: SessionId) -> String {
    tag(&format!("{project}/{session}"))
}

fn tag(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl fmt::Display for ExecId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}/{}/{}",
            self.project, self.session, self.stream
        )
    }
}

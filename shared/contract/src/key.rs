//! API keys: how one is written, what may be done with it, and what is kept of it.
//!
//! Written by gateways and by `rdev keys` into the bucket of keys, read by every gateway. Invariant:
//! of a secret only the hash is kept. It is a plain SHA-256: the secret is 256 random bits, so there
//! is nothing to guess that a slow hash would protect, and it is hashed with every request.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Requester;
use crate::id::{KeyId, ProjectId};

/// What every key begins with, so that scanners of source code find one that was left there.
pub const KEY_PREFIX: &str = "rdev_";
/// The random part of a key: 256 bits as lower-case hex.
pub const SECRET_CHARS: usize = 64;
/// All projects, in a list of projects.
const ALL_PROJECTS: &str = "*";

/// A key as it is shown once and sent with each request: `rdev_{id}_{secret}`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Names it; no secret.
    pub id: KeyId,
    /// Proves it.
    pub secret: String,
}

/// A text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key: expected rdev_ID_SECRET")]
pub struct NotAKey;

impl FromStr for ApiKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let rest = text.strip_prefix(KEY_PREFIX).ok_or(NotAKey)?;
        let (id, secret) = rest.split_once('_').ok_or(NotAKey)?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if secret.len() != SECRET_CHARS || !secret.bytes().all(is_hex) {
            return Err(NotAKey);
        }
        Ok(Self {
            id: id.parse().map_err(|_| NotAKey)?,
            secret: secret.to_owned(),
        })
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{KEY_PREFIX}{}_{}", self.id, self.secret)
    }
}

/// Without the secret: whatever is debugged may be logged.
impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey({})", self.id)
    }
}

/// What may be done. None includes another.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at sessions, execs, events, output and conversations.
    Read,
    /// Create and end sessions, run commands and give orders to them.
    Exec,
    /// Create, list, rotate and revoke keys of the projects, with any scope.
    Admin,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Read, Self::Exec, Self::Admin];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Exec => "exec",
            Self::Admin => "admin",
        }
    }
}

/// A text is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is read, exec or admin")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let mut all = Self::ALL.into_iter();
        all.find(|scope| scope.name() == text).ok_or(UnknownScope)
    }
}

/// In which projects: a list of their names, or `["*"]` for all there are and will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub enum Projects {
    /// All.
    All,
    /// These.
    Only(BTreeSet<ProjectId>),
}

impl Projects {
    /// Whether this one is among them.
    #[must_use]
    pub fn contain(&self, project: &ProjectId) -> bool {
        match self {
            Self::All => true,
            Self::Only(projects) => projects.contains(project),
        }
    }

    /// Whether all of those are among them.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(others)) => others.is_subset(mine),
        }
    }
}

impl TryFrom<Vec<String>> for Projects {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        if names.iter().any(|name| name == ALL_PROJECTS) {
            return Ok(Self::All);
        }
        let projects: Result<_, _> = names.iter().map(|name| name.parse()).collect();
        let projects = projects.map_err(|error| format!("projects: {error}"))?;
        Ok(Self::Only(projects))
    }
}

impl From<Projects> for Vec<String> {
    fn from(projects: Projects) -> Self {
        match projects {
            Projects::All => vec![ALL_PROJECTS.to_owned()],
            Projects::Only(projects) => projects.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What somebody may do, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// What.
    pub scopes: BTreeSet<Scope>,
    /// In which projects.
    #[schemars(with = "Vec<String>")]
    pub projects: Projects,
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the secret: lower-case hex.
    pub hash: String,
    /// The secret before the last rotation, while it may still be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<FormerSecret>,
    /// What may be done with it.
    #[serde(flatten)]
    pub grants: Grants,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Requester,
    /// From when on it may not be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was given another secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Change>,
    /// When it was ended. It stays in the bucket, so that its id goes on meaning something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Change>,
}

/// A secret that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerSecret {
    /// SHA-256 of it.
    pub hash: String,
    /// From when on it may not be used.
    pub until: Timestamp,
}

/// Something that was done to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Requester,
}

/// When a key was used last, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// When.
    pub at: Timestamp,
}

/// `POST /keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What people call it.
    pub name: String,
    /// What may be done with it.
    pub scopes: BTreeSet<Scope>,
    /// In which projects: names, or `["*"]`.
    pub projects: Vec<String>,
    /// After so many seconds it may not be used any more; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// `POST /keys/{key}/rotate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// For so many seconds the former secret may still be used; an hour if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u64>,
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyView {
    /// Its id.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// What may be done with it.
    #[serde(flatten)]
    pub grants: Grants,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it may not be used.
    pub expires_at: Option<Timestamp>,
    /// When it was given another secret.
    pub rotated_at: Option<Timestamp>,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl KeyRecord {
    /// As it is shown.
    #[must_use]
    pub fn view(&self, last_used: Option<KeyUse>) -> KeyView {
        KeyView {
            id: self.id.clone(),
            name: self.name.clone(),
            grants: self.grants.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            rotated_at: self.rotated.as_ref().map(|change| change.at),
            revoked_at: self.revoked.as_ref().map(|change| change.at),
            last_used_at: last_used.map(|last| last.at),
        }
    }
}

/// 201 of `POST /keys` and 200 of `POST /keys/{key}/rotate`: the only answers that show a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyMade {
    /// `rdev_{id}_{secret}`: not shown again.
    pub key: String,
    /// The rest.
    #[serde(flatten)]
    pub view: KeyView,
}

/// `GET /keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyList {
    /// The oldest first; those that were revoked or have expired are among them.
    pub items: Vec<KeyView>,
}

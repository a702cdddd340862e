//! API keys: what a new one is, whether a secret is right, and what becomes of a key.
//!
//! Randomness and time come in as arguments. Invariant: the secret is in the [`ApiKey`] that is shown
//! once, and nowhere else.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use rdev_contract::event::Requester;
use rdev_contract::id::{InvalidId, KEY_ID_CHARS, KeyId};
use rdev_contract::key::{
    ApiKey, Change, CreateKey, FormerSecret, Grants, KeyRecord, Projects, RotateKey, SECRET_CHARS,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::request::RequestError;

/// 64 bits: enough to tell the secrets of one key apart.
const SECRET_MARK_CHARS: usize = 16;

/// What is in a name is for people: a line of a table.
pub const NAME_MAX_BYTES: usize = 64;
/// Ten years: what is to last longer is given no end.
pub const LIFE_MAX_SECONDS: u64 = 10 * 365 * 24 * 3600;
/// Long enough to bring the new secret to all who use the key.
pub const GRACE_DEFAULT_SECONDS: u64 = 3600;
/// A week: a former secret is not to be forgotten.
pub const GRACE_MAX_SECONDS: u64 = 7 * 24 * 3600;

/// Random bytes for one key: of its id, and of its secret.
#[derive(Clone, Copy)]
pub struct Randomness {
    /// Of the id.
    pub id: [u8; KEY_ID_CHARS / 2],
    /// Of the secret.
    pub secret: [u8; SECRET_CHARS / 2],
}

/// Why a key does not let anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// It is not the secret of this key.
    #[error("there is no such key")]
    Wrong,
    /// It is, but it was replaced.
    #[error("this key was rotated: it has another secret now")]
    Rotated,
    /// It is, but the key was revoked.
    #[error("this key was revoked")]
    Revoked,
    /// It is, but the key's time is over.
    #[error("this key has expired")]
    Expired,
}

/// A new key, and what is kept of it.
///
/// # Errors
/// [`RequestError`] for what cannot be asked for.
pub fn create(
    request: CreateKey,
    random: &Randomness,
    at: Timestamp,
    by: Requester,
) -> Result<(ApiKey, KeyRecord), RequestError> {
    let grants = grants(&request)?;
    let expires_at = request.expires_in_seconds.map(|seconds| {
        if (1..=LIFE_MAX_SECONDS).contains(&seconds) {
            return Ok(after(at, seconds));
        }
        Err(refused(format!(
            "expires_in_seconds: 1 to {LIFE_MAX_SECONDS}; without it the key has no end"
        )))
    });
    let id: KeyId = hex(&random.id)
        .parse()
        .map_err(|error: InvalidId| refused(error.to_string()))?;
    let key = key(id.clone(), random);
    let record = KeyRecord {
        id,
        hash: hash(&key.secret),
        name: request.name,
        former: None,
        grants,
        created_at: at,
        created_by: by,
        expires_at: expires_at.transpose()?,
        rotated: None,
        revoked: None,
    };
    Ok((key, record))
}

fn grants(request: &CreateKey) -> Result<Grants, RequestError> {
    let name = &request.name;
    if name.trim().is_empty() || name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) {
        return Err(refused(format!(
            "name: 1 to {NAME_MAX_BYTES} bytes without control characters"
        )));
    }
    let projects = Projects::try_from(request.projects.clone()).map_err(refused)?;
    let is_empty = matches!(&projects, Projects::Only(projects) if projects.is_empty());
    if is_empty || request.scopes.is_empty() {
        let detail = "a key needs one scope and one project at least (projects [\"*\"] are all)";
        return Err(refused(detail.to_owned()));
    }
    Ok(Grants {
        scopes: request.scopes.clone(),
        projects,
    })
}

/// For how many seconds a former secret may still be used.
///
/// # Errors
/// [`RequestError`] when that is too long.
pub fn grace_seconds(request: &RotateKey) -> Result<u64, RequestError> {
    let grace = request.grace_seconds.unwrap_or(GRACE_DEFAULT_SECONDS);
    if grace > GRACE_MAX_SECONDS {
        let detail = format!("grace_seconds: {GRACE_MAX_SECONDS} at most");
        return Err(refused(detail));
    }
    Ok(grace)
}

/// The key with this secret.
#[must_use]
pub fn key(id: KeyId, random: &Randomness) -> ApiKey {
    ApiKey {
        id,
        secret: hex(&random.secret),
    }
}

/// The same key with another secret. The former one may be used for a while, the one before that not
/// any more.
#[must_use]
pub fn rotate(
    record: &KeyRecord,
    grace_seconds: u64,
    random: &Randomness,
    at: Timestamp,
    by: Requester,
) -> KeyRecord {
    KeyRecord {
        hash: hash(&hex(&random.secret)),
        former: Some(FormerSecret {
            hash: record.hash.clone(),
            until: after(at, grace_seconds),
        }),
        rotated: Some(Change { at, by }),
        ..record.clone()
    }
}

/// The key's end; none if it has been revoked before.
#[must_use]
pub fn revoke(record: &KeyRecord, at: Timestamp, by: Requester) -> Option<KeyRecord> {
    record.revoked.is_none().then(|| KeyRecord {
        revoked: Some(Change { at, by }),
        ..record.clone()
    })
}

/// Whether this secret lets anybody in, and until when. How long the comparison takes says nothing
/// about the secret.
///
/// # Errors
/// [`KeyRefused`] says why not.
pub fn check(
    record: &KeyRecord,
    secret: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, KeyRefused> {
    let hash = hash(secret);
    let is = |kept: &str| bool::from(kept.as_bytes().ct_eq(hash.as_bytes()));
    let (is_current, former) = (is(&record.hash), record.former.as_ref());
    let former = former.filter(|former| is(&former.hash));
    if !is_current && former.is_none() {
        return Err(KeyRefused::Wrong);
    }
    if record.revoked.is_some() {
        return Err(KeyRefused::Revoked);
    }
    if record.expires_at.is_some_and(|at| at <= now) {
        return Err(KeyRefused::Expired);
    }
    let until = former.filter(|_| !is_current).map(|former| former.until);
    if until.is_some_and(|until| until <= now) {
        return Err(KeyRefused::Rotated);
    }
    Ok([record.expires_at, until].into_iter().flatten().min())
}

/// Whether the key lets in whoever has its secret.
#[must_use]
pub fn is_usable(record: &KeyRecord, now: Timestamp) -> bool {
    record.revoked.is_none() && record.expires_at.is_none_or(|at| at > now)
}

/// What tells the secrets of a key apart, and tells nothing of them: the beginning of the hash.
#[must_use]
pub fn secret_mark(secret: &str) -> String {
    let mut mark = hash(secret);
    mark.truncate(SECRET_MARK_CHARS);
    mark
}

/// Whether the secret of this mark is the key's, or its former one within the grace.
#[must_use]
pub fn is_marked(record: &KeyRecord, mark: &str, now: Timestamp) -> bool {
    let is = |hash: &str| hash.get(..SECRET_MARK_CHARS) == Some(mark);
    let former = record.former.as_ref();
    is(&record.hash) || former.is_some_and(|former| is(&former.hash) && now < former.until)
}

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// No limit above lets this pass the end of time.
fn after(at: Timestamp, seconds: u64) -> Timestamp {
    let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    at.saturating_add(seconds).unwrap_or(Timestamp::MAX)
}

fn refused(detail: String) -> RequestError {
    RequestError {
        code: "invalid_field",
        detail,
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;

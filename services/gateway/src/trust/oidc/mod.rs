//! Tokens of an OpenID Connect issuer, in the place of keys: signed JWTs whose claims say what may be
//! done, and where.
//!
//! The issuer's keys are read from a file or an address ([`source`]), again every few minutes, and at
//! once when a token names one that is not known. Invariant: only signatures that nobody but the issuer
//! can make are looked at ([`signature`]); a token without an end, for another audience or of another
//! issuer is none.

mod signature;
mod source;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::errors::Error;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use quick_cache::sync::Cache;
use rdev_contract::key::{Grants, Projects, Scope};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::caller::Lease;
use super::pace::{Allowance, Usage};
use super::proxies::Client;
use super::{Caller, Refusal};
use crate::problem::ApiError;

pub(super) use self::source::JwksSource;

/// What the names of those who have a token begin with, so that none is taken for a key.
pub(super) const NAME_PREFIX: &str = "oidc:";
/// The issuer's keys are read so often.
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// However many tokens name keys that are not known.
const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// An issuer that has been away for so long may have withdrawn keys that are still believed.
const TRUSTED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Clocks of issuers differ from ours.
const LEEWAY_SECONDS: u64 = 30;
/// A subject is written into the log.
const SUBJECT_MAX_BYTES: usize = 256;
/// Subjects whose requests are counted; beyond, those that were not here for longest begin anew.
const SUBJECTS_MAX: usize = 10_000;
/// What may stand before the name of a scope, where a claim has scopes of others too.
const SCOPE_PREFIX: &str = "rdev:";

/// Whose tokens are believed, and what they say.
#[derive(Debug, Clone)]
pub(super) struct Issuer {
    pub(super) name: String,
    pub(super) audience: String,
    pub(super) jwks: JwksSource,
    pub(super) scopes_claim: String,
    pub(super) projects_claim: String,
}

/// An issuer and its keys.
pub(super) struct Oidc {
    issuer: Issuer,
    keys: RwLock<Keys>,
    /// One reads at a time.
    reading: Mutex<()>,
    allowance: Allowance,
    usages: Cache<String, Arc<Usage>>,
}

struct Keys {
    set: JwkSet,
    read: Option<Instant>,
    tried: Option<Instant>,
}

impl Oidc {
    /// Nothing was read yet.
    pub(super) fn new(issuer: Issuer, allowance: Allowance) -> Self {
        signature::install();
        Self {
            issuer,
            keys: RwLock::new(Keys {
                set: JwkSet { keys: Vec::new() },
                read: None,
                tried: None,
            }),
            reading: Mutex::new(()),
            allowance,
            usages: Cache::new(SUBJECTS_MAX),
        }
    }

    /// Reads the issuer's keys now and then, for ever.
    pub(super) async fn follow(&self) {
        loop {
            self.refresh(REFRESH_INTERVAL_MIN).await;
            let is_known = self.has_fresh();
            let pause = if is_known {
                REFRESH_INTERVAL
            } else {
                REFRESH_INTERVAL_MIN
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Whoever has this token.
    pub(super) async fn caller(&self, token: &str, address: Client) -> Result<Caller, ApiError> {
        let header = decode_header(token).map_err(|error| invalid(&error))?;
        if !signature::ALGORITHMS.contains(&header.alg) {
            let reason = "this token is not signed in a way that is believed".to_owned();
            return Err(Refusal::Invalid(reason).into());
        }
        if header.crit.is_some() {
            let reason = "this token asks for an extension that is not known (crit)".to_owned();
            return Err(Refusal::Invalid(reason).into());
        }
        let key = self.key(&header).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer.name]);
        validation.set_audience(&[&self.issuer.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECONDS;
        let token = decode::<Map<String, Value>>(token, &key, &validation);
        let claims = Value::Object(token.map_err(|error| invalid(&error))?.claims);
        let subject = claims["sub"].as_str().unwrap_or_default();
        let is_name = !subject.is_empty() && subject.len() <= SUBJECT_MAX_BYTES;
        if !is_name || subject.chars().any(char::is_control) {
            let reason = format!(
                "the sub of a token is 1 to {SUBJECT_MAX_BYTES} bytes without control characters"
            );
            return Err(Refusal::Invalid(reason).into());
        }
        let grants = Grants {
            scopes: scopes(words(&claims, &self.issuer.scopes_claim)),
            projects: projects(words(&claims, &self.issuer.projects_claim)),
        };
        // As the validation reads it: a number, and as late as it is lenient.
        let end = claims["exp"].as_f64().map_or(0, |end| end as i64);
        let end = end.saturating_add(LEEWAY_SECONDS as i64);
        // It is not over, so what no clock can say is later than any.
        let end = Timestamp::from_second(end).unwrap_or(Timestamp::MAX);
        Ok(self.caller_of(format!("{NAME_PREFIX}{subject}"), address, grants, end))
    }

    /// Somebody whose rights end then.
    pub(super) fn caller_of(
        &self,
        name: String,
        address: Client,
        grants: Grants,
        end: Timestamp,
    ) -> Caller {
        let usage = self.usages.get(&name).unwrap_or_else(|| {
            let usage = Arc::new(Usage::new(self.allowance));
            self.usages.insert(name.clone(), Arc::clone(&usage));
            usage
        });
        Caller {
            lease: Lease::new(Some(end), None),
            end: Some(end),
            usage: Some(usage),
            ..Caller::new(name, address, grants)
        }
    }

    async fn key(&self, header: &Header) -> Result<DecodingKey, ApiError> {
        let mut found = self.find(header);
        if found.is_none() {
            self.refresh(REFRESH_INTERVAL_MIN).await;
            found = self.find(header);
        }
        if !self.has_fresh() {
            return Err(Refusal::IssuerAway.into());
        }
        let unknown =
            || Refusal::Invalid("this token is signed with no key of its issuer".to_owned());
        let key = DecodingKey::from_jwk(&found.ok_or_else(unknown)?);
        Ok(key.map_err(|error| invalid(&error))?)
    }

    /// The key that a token names; the only one there is if it names none.
    fn find(&self, header: &Header) -> Option<Jwk> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let is_for_signatures =
            |key: &Jwk| key.common.public_key_use != Some(PublicKeyUse::Encryption);
        // A key that names its algorithm is for no other.
        let is_for = |key: &Jwk, algorithm| {
            let own = key.common.key_algorithm.map(|own| own.to_string().parse());
            own.is_none_or(|own| own.is_ok_and(|own: Algorithm| own == algorithm))
        };
        match (&header.kid, &keys.set.keys[..]) {
            (Some(kid), _) => keys.set.find(kid),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
        .filter(|key| is_for_signatures(key) && is_for(key, header.alg))
        .cloned()
    }

    fn has_fresh(&self) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.read.is_some_and(|read| read.elapsed() < TRUSTED_FOR)
    }

    /// Reads the keys, unless that was tried a moment ago. Those that were read before stay if it does
    /// not work.
    async fn refresh(&self, unless_within: Duration) {
        let _one = self.reading.lock().await;
        let tried = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.tried
        };
        if tried.is_some_and(|tried| tried.elapsed() < unless_within) {
            return;
        }
        let read = self.issuer.jwks.read().await;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.tried = Some(Instant::now());
        match read {
            Ok(set) => {
                keys.set = set;
                keys.read = keys.tried;
            }
            Err(reason) => tracing::warn!(
                issuer = self.issuer.name,
                reason,
                "the keys of the issuer cannot be read (RDEV_OIDC_JWKS)"
            ),
        }
    }
}

fn invalid(error: &Error) -> Refusal {
    Refusal::Invalid(format!("this token is not valid: {error}"))
}

/// A claim that is a list, or words with blanks between them. Its name may be a JSON pointer.
fn words<'a>(claims: &'a Value, name: &str) -> Vec<&'a str> {
    let claim = match name.strip_prefix('/') {
        Some(_) => claims.pointer(name),
        None => claims.get(name),
    };
    match claim {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}

/// What is no scope of ours is one of others'.
fn scopes(words: Vec<&str>) -> BTreeSet<Scope> {
    let ours = words.into_iter().filter_map(|word| {
        let name = word.strip_prefix(SCOPE_PREFIX).unwrap_or(word);
        name.parse().ok()
    });
    ours.collect()
}

fn projects(words: Vec<&str>) -> Projects {
    if words.contains(&"*") {
        return Projects::All;
    }
    Projects::Only(
        words
            .into_iter()
            .filter_map(|word| word.parse().ok())
            .collect(),
    )
}

#[cfg(test)]
mod tests;

//! The keys as this gateway knows them: a copy of the bucket of keys.
//!
//! Invariant: what was stored later wins, whichever way it came to be known; a key that was changed
//! ends everything that was begun with it, and whoever still may begins again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use jiff::Timestamp;
use rdev_bus::keys::KeyNews;
use rdev_contract::envelope::Recorded;
use rdev_contract::id::KeyId;
use rdev_contract::key::{ApiKey, KeyRecord, KeyUse, KeyView};
use rdev_contract::position::StreamSeq;
use rdev_domain::keys::{KeyRefused, check, is_marked, is_usable, secret_mark};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::caller::Lease;
use super::pace::{Allowance, Usage};
use super::proxies::Client;
use super::{Caller, Refusal};
use crate::problem::ApiError;

/// How long keys are trusted while nobody can tell whether they were revoked.
pub(crate) const TRUSTED_FOR: Duration = Duration::from_secs(15 * 60);
/// Uses of a key are written down so often: it is asked whether it is used, not when exactly.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// What is known.
#[derive(Debug)]
pub(crate) struct KeyTable(RwLock<State>);

#[derive(Debug)]
struct State {
    keys: BTreeMap<KeyId, Known>,
    used: HashMap<KeyId, KeyUse>,
    /// Uses that are to be written down.
    uses: HashMap<KeyId, KeyUse>,
    /// What tickets are signed with.
    ticket_secret: Option<Arc<[u8]>>,
    /// What each key may ask for.
    allowance: Allowance,
    /// The place of the last entry that is known.
    seen: StreamSeq,
    /// When nothing was missing for certain.
    confirmed: Instant,
}

#[derive(Debug)]
struct Known {
    record: KeyRecord,
    at: StreamSeq,
    ended: CancellationToken,
    usage: Arc<Usage>,
}

impl KeyTable {
    /// No key is known yet; each may ask for so much.
    pub(super) fn new(allowance: Allowance) -> Self {
        Self(RwLock::new(State {
            keys: BTreeMap::new(),
            used: HashMap::new(),
            uses: HashMap::new(),
            ticket_secret: None,
            allowance,
            seen: StreamSeq(0),
            confirmed: Instant::now(),
        }))
    }

    /// Takes note of what is in the bucket.
    pub(super) fn learn(&self, entry: Recorded<KeyNews>) {
        let mut state = self.write();
        state.seen = state.seen.max(entry.sequence);
        match entry.value {
            KeyNews::Key(record) => state.learn_key(entry.sequence, *record),
            KeyNews::Gone(id) => state.forget_key(entry.sequence, &id),
            KeyNews::Used(id, last) => {
                state.used.insert(id, last);
            }
            KeyNews::TicketSecret(secret) => state.ticket_secret = Some(secret.as_bytes().into()),
            KeyNews::NoTicketSecret => state.ticket_secret = None,
            KeyNews::Other => {}
        }
    }

    /// The last entry was here when this was asked: nothing is missing up to then.
    pub(super) fn confirm(&self, last: StreamSeq, asked_at: Instant) {
        let mut state = self.write();
        if last <= state.seen {
            state.confirmed = asked_at;
        }
    }

    /// Whether no key was ever made.
    pub(super) fn is_empty(&self) -> bool {
        self.read().keys.is_empty()
    }

    /// Whether there is a key that lets anybody in.
    pub(super) fn has_usable(&self, now: Timestamp) -> bool {
        let state = self.read();
        state
            .keys
            .values()
            .any(|known| is_usable(&known.record, now))
    }

    /// The uses that were not written down yet.
    pub(super) fn take_uses(&self) -> HashMap<KeyId, KeyUse> {
        if self.read().uses.is_empty() {
            return HashMap::new();
        }
        std::mem::take(&mut self.write().uses)
    }

    /// Whoever has this key.
    pub(super) fn caller(
        &self,
        key: &ApiKey,
        address: Client,
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        let state = self.fresh()?;
        let invalid = |refused: KeyRefused| Refusal::Invalid(refused.to_string());
        let known = state.keys.get(&key.id).ok_or(KeyRefused::Wrong);
        let known = known.map_err(invalid)?;
        let until = check(&known.record, &key.secret, now).map_err(invalid)?;
        let mut caller = known.caller(address, until);
        caller.secret = secret_mark(&key.secret);
        let is_noted = state.used.get(&key.id).is_some_and(|last| {
            let since = now.duration_since(last.at);
            Duration::try_from(since).unwrap_or_default() < NOTE_INTERVAL
        });
        drop(state);
        if !is_noted {
            let mut state = self.write();
            state.used.insert(key.id.clone(), KeyUse { at: now });
            state.uses.insert(key.id.clone(), KeyUse { at: now });
        }
        Ok(caller)
    }

    /// Whoever has a ticket that was made with this key, when it had the secret of this mark.
    pub(super) fn holder(
        &self,
        id: &KeyId,
        secret: &str,
        address: Client,
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        let state = self.fresh()?;
        let known = state
            .keys
            .get(id)
            .filter(|known| is_usable(&known.record, now) && is_marked(&known.record, secret, now));
        let known = known.ok_or_else(|| {
            Refusal::Invalid("the key that this ticket was made with has ended".to_owned())
        })?;
        Ok(known.caller(address, known.record.expires_at))
    }

    /// What tickets are signed with.
    pub(super) fn ticket_secret(&self) -> Option<Arc<[u8]>> {
        self.read().ticket_secret.clone()
    }

    /// What is known, unless it may be of long ago.
    fn fresh(&self) -> Result<RwLockReadGuard<'_, State>, ApiError> {
        let state = self.read();
        if state.confirmed.elapsed() > TRUSTED_FOR {
            return Err(ApiError::LogUnavailable);
        }
        Ok(state)
    }

    /// The keys that a caller may know of, the oldest first.
    pub(crate) fn visible(&self, caller: &Caller) -> Vec<KeyView> {
        let state = self.read();
        let records = state.keys.values().map(|known| &known.record);
        let records = records.filter(|record| caller.covers(&record.grants.projects));
        let mut views: Vec<_> = records
            .map(|record| record.view(state.used.get(&record.id).copied()))
            .collect();
        views.sort_by_key(|view| view.created_at);
        views
    }

    /// A key as it is shown.
    pub(crate) fn view(&self, record: &KeyRecord) -> KeyView {
        record.view(self.read().used.get(&record.id).copied())
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_key(&mut self, at: StreamSeq, id: &KeyId) {
        if self.keys.get(id).is_some_and(|known| known.at < at)
            && let Some(known) = self.keys.remove(id)
        {
            known.ended.cancel();
        }
    }

    fn learn_key(&mut self, at: StreamSeq, record: KeyRecord) {
        let id = record.id.clone();
        if self.keys.get(&id).is_some_and(|known| known.at >= at) {
            return;
        }
        let usage = match self.keys.get(&id) {
            Some(known) => Arc::clone(&known.usage),
            None => Arc::new(Usage::new(self.allowance)),
        };
        let known = Known {
            record,
            at,
            ended: CancellationToken::new(),
            usage,
        };
        if let Some(former) = self.keys.insert(id, known) {
            former.ended.cancel();
        }
    }
}

impl Known {
    fn caller(&self, address: Client, until: Option<Timestamp>) -> Caller {
        let grants = self.record.grants.clone();
        Caller {
            lease: Lease::new(until, Some(self.ended.clone())),
            usage: Some(Arc::clone(&self.usage)),
            ..Caller::new(self.record.id.to_string(), address, grants)
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

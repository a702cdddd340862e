//! API keys over the API: made, listed, rotated and revoked by whoever has the scope `admin`.
//!
//! Invariant: nobody sees, ends or makes a key for a project that is not among their own; a key is
//! shown in the answer that makes it, and never again.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rand::Rng;
use rdev_bus::keys::{KeyNews, KeyWriteError};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Requester;
use rdev_contract::id::KeyId;
use rdev_contract::key::{
    ApiKey, CreateKey, KeyList, KeyMade, KeyRecord, KeyView, RotateKey, Scope,
};
use rdev_contract::position::StreamSeq;
use rdev_domain::keys::{self, Randomness};
use rdev_domain::request::RequestError;

use crate::problem::ApiError;
use crate::request::{By, InKey, MaybeJson, StrictJson};
use crate::state::{Gateway, now};
use crate::trust::{Caller, Refusal};

/// An answer that shows a key is kept by nobody on its way.
const NO_STORE: (header::HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// `POST /keys`.
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    caller: Caller,
    By(by): By,
    StrictJson(request): StrictJson<CreateKey>,
) -> Result<Response, ApiError> {
    let (key, record) = keys::create(request, &randomness(), now(), by)?;
    if !caller.covers(&record.grants.projects) {
        return Err(Refusal::Beyond.into());
    }
    let bus = gateway.log.connected()?;
    let stored = bus.store_key(&record, StreamSeq(0)).await;
    let sequence = stored.map_err(|error| not_stored(&record.id, &error))?;
    tracing::info!(key.id = %record.id, by = caller.name, "key created");
    let view = learn(&gateway, sequence, record);
    let key = key.to_string();
    Ok((StatusCode::CREATED, [NO_STORE], Json(KeyMade { key, view })).into_response())
}

/// `GET /keys`.
pub(crate) async fn list(State(gateway): State<Gateway>, caller: Caller) -> Json<KeyList> {
    let items = gateway.trust.keys().visible(&caller);
    Json(KeyList { items })
}

/// `POST /keys/{key}/rotate`.
pub(crate) async fn rotate(
    State(gateway): State<Gateway>,
    caller: Caller,
    By(by): By,
    InKey(id): InKey,
    MaybeJson(request): MaybeJson<RotateKey>,
) -> Result<Response, ApiError> {
    let grace_seconds = keys::grace_seconds(&request)?;
    let random = randomness();
    let change = |record: &KeyRecord| {
        let is_open = record.revoked.is_none();
        is_open.then(|| keys::rotate(record, grace_seconds, &random, now(), by.clone()))
    };
    let (sequence, record) = changed(&gateway, &caller, &id, change).await?;
    if record.revoked.is_some() {
        return Err(ApiError::Conflict {
            code: "key_revoked",
            detail: "this key was revoked: make another",
        });
    }
    tracing::info!(key.id = %id, by = caller.name, "key rotated");
    let view = learn(&gateway, sequence, record);
    let key = keys::key(id, &random).to_string();
    Ok(([NO_STORE], Json(KeyMade { key, view })).into_response())
}

/// `DELETE /keys/{key}`. Revoking it twice is revoking it once.
pub(crate) async fn revoke(
    State(gateway): State<Gateway>,
    caller: Caller,
    By(by): By,
    InKey(id): InKey,
) -> Result<Json<KeyView>, ApiError> {
    let change = |record: &KeyRecord| keys::revoke(record, now(), by.clone());
    let (sequence, record) = changed(&gateway, &caller, &id, change).await?;
    tracing::info!(key.id = %id, by = caller.name, "key revoked");
    Ok(Json(learn(&gateway, sequence, record)))
}

async fn changed(
    gateway: &Gateway,
    caller: &Caller,
    id: &KeyId,
    change: impl Fn(&KeyRecord) -> Option<KeyRecord>,
) -> Result<(StreamSeq, KeyRecord), ApiError> {
    // What a key may be used for never changes, so whether it is the caller's does not either.
    let is_ours = |record: &KeyRecord| caller.covers(&record.grants.projects);
    let bus = gateway.log.connected()?;
    let change = |record: &KeyRecord| is_ours(record).then(|| change(record)).flatten();
    let found = bus.change_key(id, change).await;
    let found = found.map_err(|error| not_stored(id, &error))?;
    let found = found.filter(|found| is_ours(&found.value));
    let Recorded { sequence, value } = found.ok_or(Refusal::NoSuchKey)?;
    Ok((sequence, value))
}

fn not_stored(id: &KeyId, error: &KeyWriteError) -> ApiError {
    tracing::warn!(key.id = %id, %error, "key not changed");
    ApiError::OutcomeUnknown
}

/// This gateway knows it before it answers.
fn learn(gateway: &Gateway, sequence: StreamSeq, record: KeyRecord) -> KeyView {
    let view = gateway.trust.keys().view(&record);
    let value = KeyNews::Key(Box::new(record));
    gateway.trust.learn(Recorded { sequence, value });
    view
}

/// Of the operating system's generator, by way of one that is seeded with it.
fn randomness() -> Randomness {
    let mut generator = rand::rng();
    Randomness {
        id: generator.random(),
        secret: generator.random(),
    }
}

/// The first key of all, for whoever starts a gateway that others can reach: everything, everywhere.
pub(crate) fn first() -> Result<(ApiKey, KeyRecord), RequestError> {
    let request = CreateKey {
        name: "first".to_owned(),
        scopes: Scope::ALL.into(),
        projects: vec!["*".to_owned()],
        expires_in_seconds: None,
    };
    let by = Requester {
        agent: "RDEV_MAKE_FIRST_KEY".to_owned(),
        ..Requester::default()
    };
    keys::create(request, &randomness(), now(), by)
}

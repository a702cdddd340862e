//! From an HTTP request to checked values: ids of the path, query, JSON body, who asks.
//!
//! Used by every handler. Invariant: a handler never sees an unchecked id. An id that is none
//! names nothing that exists, hence 404; everything else that is wrong is 400, 408, 413 or 415.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use rdev_contract::event::Requester;
use rdev_contract::id::{ConversationId, ExecId, KeyId, ProjectId, SessionId};
use rdev_readmodel::{PageLimit, PageRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::problem::ApiError;
use crate::routes::parameter;
use crate::trust::{Caller, Ids, Refusal};

/// The longest request body: a prompt or an initial standard input, with room beside it in the
/// 1 MiB that a message of the log may have.
pub(crate) const BODY_MAX_BYTES: usize = 1024 * 1024;
/// How much of a body that is too long is read before it is answered.
const BODY_READ_MAX_BYTES: usize = 32 * 1024 * 1024;
/// A body of that length takes seconds on a slow line; a connection that takes longer is stuck.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// What is kept of a `User-Agent`: it is written into the log.
const AGENT_MAX_BYTES: usize = 256;

/// The other end of the connection: the client's, or that of a proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A path below a project.
pub(crate) struct InProject(pub(crate) ProjectId);

/// A path below a session.
pub(crate) struct InSession(pub(crate) ProjectId, pub(crate) SessionId);

/// A path below an exec.
pub(crate) struct InExec(pub(crate) ExecId);

/// A path of a question of an exec's agent.
pub(crate) struct InApproval(pub(crate) ExecId, pub(crate) String);

/// A path below a conversation.
pub(crate) struct InConversation(pub(crate) ProjectId, pub(crate) ConversationId);

/// A path below a key.
pub(crate) struct InKey(pub(crate) KeyId);

impl<S: Send + Sync> FromRequestParts<S> for InProject {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(Ids::of(parts).await?.project()?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InSession {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let ids = Ids::of(parts).await?;
        Ok(Self(
            ids.project()?,
            ids.get(parameter::SESSION, "session")?,
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InExec {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let ids = Ids::of(parts).await?;
        Ok(Self(ExecId {
            project: ids.project()?,
            session: ids.get(parameter::SESSION, "session")?,
            stream: ids.get(parameter::STREAM, "exec")?,
        }))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InApproval {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let InExec(exec) = InExec::from_request_parts(parts, state).await?;
        let ids = Ids::of(parts).await?;
        Ok(Self(exec, ids.get(parameter::APPROVAL, "approval")?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InConversation {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let ids = Ids::of(parts).await?;
        Ok(Self(
            ids.project()?,
            ids.get(parameter::CONVERSATION, "conversation")?,
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InKey {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let ids = Ids::of(parts).await?;
        let id = ids.get(parameter::KEY, "key");
        id.map(Self).map_err(|_| Refusal::NoSuchKey.into())
    }
}

/// A query string, read strictly where a value is wrong and loosely where one is unknown.
pub(crate) struct Options<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Options<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(options)| Self(options))
            .map_err(|error| ApiError::invalid("invalid_query", error.body_text()))
    }
}

/// Which page of a list.
pub(crate) struct Paging(pub(crate) PageRequest);

#[derive(Deserialize)]
struct PagingOptions {
    limit: Option<u32>,
    cursor: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Options(options) = Options::<PagingOptions>::from_request_parts(parts, state).await?;
        let limit = options.limit.map(PageLimit::try_from).transpose();
        let limit = limit.map_err(|error| ApiError::invalid("invalid_limit", error.to_string()))?;
        Ok(Self(PageRequest {
            limit: limit.unwrap_or_default(),
            cursor: options.cursor,
        }))
    }
}

/// A body of bytes.
pub(crate) struct RawBody(pub(crate) Vec<u8>);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;
    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        // Nothing is unpacked, so no small body can become a large one.
        if request.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(ApiError::UnsupportedEncoding);
        }
        tokio::time::timeout(BODY_TIMEOUT, read_body(request.into_body()))
            .await
            .map_err(|_| ApiError::BodyTimeout)?
            .map(Self)
    }
}

/// A body of JSON, whatever its content type says: clients of the original API send any.
pub(crate) struct AnyJson<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for AnyJson<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let RawBody(body) = RawBody::from_request(request, state).await?;
        parse_json(&body).map(Self)
    }
}

/// The whole body. One that is too long is read on for a while all the same: a client that is still
/// sending when the connection is closed may never see the answer.
async fn read_body(body: Body) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut read_bytes) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| ApiError::invalid("invalid_body", error.to_string()))?;
        read_bytes += chunk.len();
        if read_bytes <= BODY_MAX_BYTES {
            kept.extend_from_slice(&chunk);
        } else if read_bytes > BODY_READ_MAX_BYTES {
            break;
        }
    }
    if read_bytes > BODY_MAX_BYTES {
        return Err(ApiError::BodyTooLarge);
    }
    Ok(kept)
}

/// A body of JSON that does not say to be something else.
pub(crate) struct StrictJson<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !may_be_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType);
        }
        AnyJson::from_request(request, state)
            .await
            .map(|AnyJson(value)| Self(value))
    }
}

/// A body like that, or none at all.
pub(crate) struct MaybeJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MaybeJson<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = may_be_json(request.headers());
        let RawBody(body) = RawBody::from_request(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json {
            return Err(ApiError::UnsupportedMediaType);
        }
        parse_json(&body).map(Self)
    }
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // serde would take an array for the fields in their order, and name our types when it cannot.
    if body.trim_ascii_start().starts_with(b"[") {
        let detail = "the body must be a JSON object, not an array".to_owned();
        return Err(ApiError::invalid("invalid_field", detail));
    }
    serde_json::from_slice(body).map_err(|error| {
        let code = if error.is_data() {
            "invalid_field"
        } else {
            "invalid_json"
        };
        ApiError::invalid(code, format!("the body cannot be read: {error}"))
    })
}

/// The form type is what `curl -d` says of everything.
fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let media_type = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    media_type == "application/json"
        || media_type == "application/x-www-form-urlencoded"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Who asks, for the audit trail.
pub(crate) struct By(pub(crate) Requester);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>();
        let agent = parts
            .headers
            .get(header::USER_AGENT)
            .map(|value| value.as_bytes());
        Ok(Self(Requester {
            key: caller.map(|caller| caller.name.clone()).unwrap_or_default(),
            address: caller
                .map(|caller| caller.address.0.clone())
                .unwrap_or_default(),
            agent: cut(
                &String::from_utf8_lossy(agent.unwrap_or_default()),
                AGENT_MAX_BYTES,
            ),
        }))
    }
}

/// Whoever the guard has let in.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::internal("a route without a guard wants to know who asks"))
    }
}

fn cut(text: &str, max_bytes: usize) -> String {
    text[..text.floor_char_boundary(max_bytes)].to_owned()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

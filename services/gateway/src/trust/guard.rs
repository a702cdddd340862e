//! Stands around every route that needs anything: lets in, and ends what lasts longer than the rights.
//!
//! Invariant: a stream ends with the rights of its reader, at once. It ends as if it were whole, which
//! a client can tell: the last event, the last line or the announced length is missing. Who comes
//! again is told why.

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::caller::Lease;
use super::{Access, Caller, Refusal, Trust};
use crate::problem::ApiError;

/// What stands around a route.
#[derive(Clone)]
pub(crate) struct Guard {
    /// Who is known.
    pub(crate) trust: Trust,
    /// What the route needs.
    pub(crate) access: Access,
}

/// Lets a request in, or answers it.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = match guard.trust.identify(&mut parts, guard.access).await {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    let Some(usage) = caller.usage.clone() else {
        return run(guard.access, caller, parts, body, next).await;
    };
    let (left, refusal) = usage.request();
    let mut response = match refusal {
        Some(refusal) => ApiError::from(refusal).into_response(),
        None => run(guard.access, caller, parts, body, next).await,
    };
    left.tell(response.headers_mut());
    response
}

/// What changes something is carried out as it was begun; who waits for an answer may wait in vain.
async fn run(access: Access, caller: Caller, mut parts: Parts, body: Body, next: Next) -> Response {
    if let Err(error) = access.check(&caller, &mut parts).await {
        return error.into_response();
    }
    let Caller { lease, usage, .. } = caller.clone();
    let is_safe = parts.method.is_safe();
    parts.extensions.insert(caller);
    let answer = next.run(Request::from_parts(parts, body));
    if !is_safe || !lease.can_end() {
        return answer.await;
    }
    let response = tokio::select! {
        response = answer => response,
        () = lease.clone().over() => {
            let reason = "the key was changed or has ended meanwhile".to_owned();
            return ApiError::from(Refusal::Invalid(reason)).into_response();
        }
    };
    // What is ready is sent.
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let permit = match usage.map(|usage| usage.stream()).transpose() {
        Ok(permit) => permit,
        Err(refusal) => return ApiError::from(refusal).into_response(),
    };
    response.map(|body| until_over(body, lease, permit))
}

fn until_over(body: Body, lease: Lease, permit: Option<OwnedSemaphorePermit>) -> Body {
    let over = async move {
        // The stream counts as long as it is waited for.
        let _permit = permit;
        lease.over().await;
    };
    Body::from_stream(body.into_data_stream().take_until(Box::pin(over)))
}

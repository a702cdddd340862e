//! One JSON answer instead of a stream: what there is behind a cursor, or what comes next.
//!
//! For clients that cannot hold a connection. Invariant: `next` is the cursor behind the last
//! event of the answer, so asking again with it misses nothing and repeats nothing.

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::feed::{Farewell, Feed};
use crate::problem::ApiError;

/// An answer ends with the page that reaches this: what a client reads whole into memory.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// Asks the feed until it has something and is up to date, or has waited long enough.
pub(super) async fn answer(mut feed: Feed) -> Result<Response, ApiError> {
    let mut body = b"{\"events\":[".to_vec();
    let begin = body.len();
    while let Some(chunk) = feed.next_chunk().await {
        append(&mut body, &chunk);
        if body.len() >= ANSWER_MAX_BYTES && feed.view().out.is_empty() {
            feed.is_answered();
            break;
        }
    }
    if body.len() == begin && feed.farewell() == Some(Farewell::LogUnavailable) {
        return Err(ApiError::LogUnavailable);
    }
    if body.len() > begin {
        // The comma behind the last one.
        body.pop();
    }
    let view = feed.view();
    let (is_complete, caught_up) = (view.is_over(), view.is_over() || feed.is_caught_up());
    let next = view.progress.shown();
    body.extend_from_slice(
        format!("],\"next\":\"{next}\",\"caught_up\":{caught_up},\"complete\":{is_complete}}}")
            .as_bytes(),
    );
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}

/// Lines become elements of an array.
fn append(body: &mut Vec<u8>, lines: &Bytes) {
    let at = body.len();
    body.extend_from_slice(lines);
    for byte in &mut body[at..] {
        // A line end is the only control character in a line of JSON, and only at its end.
        if *byte == b'\n' {
            *byte = b',';
        }
    }
}

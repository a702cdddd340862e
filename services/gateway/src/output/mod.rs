//! The station `output`: `GET …/execs/{stream}/output` gives the exact bytes that a command
//! printed, from the log and the archive behind it, whole or in ranges.
//!
//! [`range`] knows what is asked for, [`bytes`] reads it. Invariants: lengths, tags and digests are
//! those of the exec's `complete`; what retention removed is refused by name (410), never left out;
//! an answer that cannot be finished is broken off, so that its length tells.
//!
//! Of a command that still runs there are the bytes up to the moment of the request: with their
//! length, without a tag and without a digest, because there will be more.

mod bytes;
mod range;

use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use rdev_contract::event::{Complete, OutputStream};
use rdev_contract::id::ExecId;
use rdev_contract::position::Offsets;
use rdev_domain::exec::ExecState;
use rdev_domain::output::offset;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use self::bytes::{BytesError, OPENING_PATIENCE, OutputBytes, READING_PATIENCE, Source};
use self::range::Selection;
use crate::execs::state_of;
use crate::problem::ApiError;
use crate::request::{InExec, Options};
use crate::state::Gateway;

/// What is read twice for the sake of a digest: far more than a run of an agent prints, and a fraction
/// of a second's reading.
const HASHED_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// RFC 9530: of the bytes of this answer.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// RFC 9530: of all bytes, also where this answer has a part of them.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
/// What is complete never changes, but it expires.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache, no-transform");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store, no-transform");

/// What of an exec's output.
#[derive(Deserialize)]
pub(crate) struct OutputOptions {
    /// Standard output where it is not said.
    stream: Option<OutputStream>,
}

/// What is known of the bytes of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// How many there are by now.
    total: u64,
    /// No more will come.
    is_complete: bool,
    /// Names them, once they are complete.
    etag: Option<String>,
    /// Their hash, from `complete`: lower-case hex.
    sha256: Option<String>,
}

impl Known {
    fn of(tag: &str, to: Offsets, complete: Option<&Complete>, stream: OutputStream) -> Self {
        let total = offset(to, stream);
        let Some(complete) = complete else {
            return Self {
                total,
                is_complete: false,
                etag: None,
                sha256: None,
            };
        };
        let (told, sha256) = match stream {
            OutputStream::Stdout => (complete.stdout_bytes, &complete.stdout_sha256),
            OutputStream::Stderr => (complete.stderr_bytes, &complete.stderr_sha256),
        };
        // Of a command that was lost nobody knows what it printed last; the log has what it has.
        let sha256 = sha256.clone().filter(|_| told == Some(total));
        let etag = match &sha256 {
            Some(sha256) => format!("\"{sha256}\""),
            None => format!("\"{tag}-{total}\""),
        };
        Self {
            total,
            is_complete: true,
            etag: Some(etag),
            sha256,
        }
    }
}

/// `GET …/execs/{stream}/output?stream=stdout|stderr`.
pub(crate) async fn get(
    State(gateway): State<Gateway>,
    InExec(exec): InExec,
    Options(options): Options<OutputOptions>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let stream = options.stream.unwrap_or(OutputStream::Stdout);
    let history = gateway.history()?;
    let Some(state) = state_of(&history, &exec).await? else {
        return Err(gone(&gateway, &exec).await);
    };
    let known = Known::of(&exec.tag(), state.to, state.complete.as_ref(), stream);
    let etag = known.etag.as_deref();
    if range::is_known(&headers, etag) {
        return Ok(with_headers(
            StatusCode::NOT_MODIFIED,
            &known,
            Body::empty(),
        ));
    }
    // A range is only defined for GET.
    let selection = if method == Method::HEAD {
        Selection::Whole
    } else {
        range::select(&headers, etag, known.total)
    };
    let (status, wanted) = match selection {
        Selection::Whole => (StatusCode::OK, 0..known.total),
        Selection::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Selection::BehindEnd => return Err(ApiError::BehindEnd { total: known.total }),
    };
    let source = Source {
        exec: exec.clone(),
        stream,
        command: state.command_seq,
        tail: state.tail,
    };
    let permit = gateway.streams.clone().try_acquire_owned();
    let permit = permit.map_err(|_| ApiError::TooManyStreams)?;
    let sha256 = if stream == OutputStream::Stdout && is_of_agent(&state) {
        let is_whole = status == StatusCode::OK && known.sha256.is_some();
        hash_of_log(&gateway, &source, known.total, is_whole).await?
    } else {
        known.sha256.clone()
    };
    let mut output = OutputBytes::open(&gateway.replays, source, wanted.clone()).await?;
    // What is missing at the beginning can still be told.
    let first = output.next(OPENING_PATIENCE).await?;
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        body(output, first, permit)
    };
    let mut response = with_headers(status, &known, body);
    describe(&mut response, &known, &wanted);
    name(&mut response, &exec, stream);
    digest(&mut response, sha256.as_deref());
    Ok(response)
}

fn is_of_agent(state: &ExecState) -> bool {
    state.command.spec.work.agent().is_some()
}

/// A raw CR between the tokens of an agent's line is a space in the log, so that its bytes may differ
/// from those that `complete` has the hash of. A digest must be of what is sent: it is taken
/// before, of what is neither a part nor too long.
async fn hash_of_log(
    gateway: &Gateway,
    source: &Source,
    total: u64,
    is_whole: bool,
) -> Result<Option<String>, ApiError> {
    if !is_whole || total > HASHED_MAX_BYTES {
        return Ok(None);
    }
    let mut output = OutputBytes::open(&gateway.replays, source.clone(), 0..total).await?;
    let mut hash = Sha256::new();
    while let Some(bytes) = output.next(OPENING_PATIENCE).await? {
        hash.update(&bytes);
    }
    let hash = hash.finalize();
    Ok(Some(
        hash.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}

/// What neither log nor archive holds: expired, or there never was such an exec.
async fn gone(gateway: &Gateway, exec: &ExecId) -> ApiError {
    match gateway.read_model.exec(exec).await {
        Ok(Some(_)) => ApiError::OutputExpired {
            requested: 0,
            first_available: None,
        },
        Ok(None) => ApiError::NotFound("exec"),
        Err(error) => error.into(),
    }
}

impl From<BytesError> for ApiError {
    fn from(error: BytesError) -> Self {
        match error {
            BytesError::Log(error) => error.into(),
            BytesError::Expired {
                position,
                first_available,
            } => Self::OutputExpired {
                requested: position,
                first_available,
            },
            BytesError::Unreadable { .. } => Self::internal(error),
        }
    }
}

/// Nothing runs for a reader that does not read.
fn body(output: OutputBytes, first: Option<Bytes>, permit: OwnedSemaphorePermit) -> Body {
    let state = (output, first, permit);
    Body::from_stream(stream::try_unfold(
        state,
        |(mut output, first, permit)| async move {
            let next = match first {
                Some(first) => Some(first),
                None => output.next(READING_PATIENCE).await.inspect_err(|error| {
                    tracing::warn!(%error, "output broken off");
                })?,
            };
            Ok::<_, BytesError>(next.map(|bytes| (bytes, (output, None, permit))))
        },
    ))
}

fn with_headers(status: StatusCode, known: &Known, body: Body) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, BYTES);
    let cache = if known.is_complete {
        REVALIDATE
    } else {
        NO_STORE
    };
    headers.insert(header::CACHE_CONTROL, cache);
    let etag = known.etag.as_ref();
    if let Some(Ok(etag)) = etag.map(|etag| HeaderValue::from_str(etag)) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// What the bytes of an answer are.
fn describe(response: &mut Response, known: &Known, wanted: &Range<u64>) {
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, BINARY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(
        header::CONTENT_LENGTH,
        HeaderValue::from(wanted.end - wanted.start),
    );
    if status == StatusCode::PARTIAL_CONTENT {
        let total = if known.is_complete {
            known.total.to_string()
        } else {
            "*".to_owned()
        };
        let (first, last) = (wanted.start, wanted.end - 1);
        let range = HeaderValue::try_from(format!("bytes {first}-{last}/{total}"));
        if let Ok(range) = range {
            headers.insert(header::CONTENT_RANGE, range);
        }
    }
}

/// What a browser saves it as. Ids hold nothing that could reshape a header or a path.
fn name(response: &mut Response, exec: &ExecId, stream: OutputStream) {
    let stream = match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    let text = format!("attachment; filename=\"{}.{stream}\"", exec.stream);
    if let Ok(value) = HeaderValue::try_from(text) {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
}

/// Tells the hash of the whole; of an answer that is the whole, as its own too.
fn digest(response: &mut Response, sha256: Option<&str>) {
    let Some(hash) = sha256.and_then(bytes_of_hex) else {
        return;
    };
    let text = format!("sha-256=:{}:", STANDARD.encode(hash));
    let Ok(value) = HeaderValue::try_from(text) else {
        return;
    };
    let is_whole = response.status() == StatusCode::OK;
    let headers = response.headers_mut();
    if is_whole {
        headers.insert(CONTENT_DIGEST, value.clone());
    }
    headers.insert(REPR_DIGEST, value);
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use rdev_contract::event::Outcome;

    use super::*;

    /// Of no bytes at all.
    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const TO: Offsets = Offsets::new(7, 0);

    fn lost() -> Complete {
        Complete::without_process(Outcome::Lost, "gone")
    }

    fn known(complete: Option<&Complete>, stream: OutputStream) -> Known {
        Known::of("9f3a61c2", TO, complete, stream)
    }

    #[test]
    fn more_may_come_while_it_runs() {
        let running = known(None, OutputStream::Stdout);
        assert_eq!((running.total, running.is_complete), (7, false));
        assert_eq!((running.etag, running.sha256), (None, None));
    }

    #[test]
    fn only_what_the_log_has_has_a_hash() {
        let complete = Complete {
            stdout_bytes: Some(8),
            stdout_sha256: Some("ab".repeat(32)),
            stderr_bytes: Some(0),
            stderr_sha256: Some(SHA256.to_owned()),
            ..lost()
        };
        let stderr = known(Some(&complete), OutputStream::Stderr);
        assert_eq!(stderr.sha256.as_deref(), Some(SHA256));
        assert_eq!(stderr.etag, Some(format!("\"{SHA256}\"")));
        for complete in [complete, lost()] {
            let stdout = known(Some(&complete), OutputStream::Stdout);
            assert_eq!((stdout.total, stdout.sha256), (7, None));
            assert_eq!(stdout.etag.as_deref(), Some("\"9f3a61c2-7\""));
        }
    }

    #[test]
    fn a_part_has_the_digest_of_the_whole() {
        let expected = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
        for (status, is_whole) in [(StatusCode::OK, true), (StatusCode::PARTIAL_CONTENT, false)] {
            let mut response = status.into_response();
            digest(&mut response, Some(SHA256));
            assert_eq!(response.headers()[REPR_DIGEST], expected);
            assert_eq!(response.headers().contains_key(CONTENT_DIGEST), is_whole);
        }
        let mut response = StatusCode::OK.into_response();
        digest(&mut response, None);
        assert!(response.headers().is_empty());
    }
}

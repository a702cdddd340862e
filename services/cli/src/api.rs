//! The client of the HTTP API: one gateway, one key, one project.
//!
//! Invariant: what is tried again here is safe to repeat: reading, posting a command under an id of our
//! own, and orders that are the same when they are given twice.

mod error;
pub(crate) mod follow;
pub(crate) mod place;
pub(crate) mod sse;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rand::Rng as _;
use rdev_contract::http::{Page, Problem};
use rdev_contract::id::ProjectId;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub(crate) use self::error::ApiError;
use crate::settings::{Secret, Settings};

/// No request but a stream takes longer, long polls included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A restart of a gateway, a new leader of the log.
const PATIENCE: Duration = Duration::from_secs(45);
/// A longer pause is asked for by nobody of ours.
const PAUSE_MAX: Duration = Duration::from_secs(60);
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
/// What an answer to a write says of its place in the log.
const AS_OF: &str = "rdev-as-of";
/// As many items as the API gives at once.
const PAGE_MAX: usize = 200;

/// Speaks to one gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: Arc<str>,
    authorization: Option<HeaderValue>,
    project: Option<ProjectId>,
    flags: Arc<str>,
    /// It has taken a connection once: when it does not answer, it is being restarted.
    is_there: Arc<AtomicBool>,
}

/// What an answer said besides its body.
#[derive(Debug, Clone)]
pub(crate) struct Heard<T> {
    pub(crate) value: T,
    /// The gateway's clock, to the second.
    pub(crate) date: Option<Timestamp>,
}

impl Api {
    /// A client for these settings. Nothing is sent yet.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(crate) fn new(settings: &Settings) -> Result<Self, ApiError> {
        let unusable = |reason: String| ApiError::Unusable {
            by: settings.url.by.clone(),
            reason,
        };
        let base = settings.url.value.trim_end_matches('/');
        let url = reqwest::Url::parse(base)
            .map_err(|error| unusable(format!("{base:?} is no address: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            let wanted = "expected an address as in https://rdev.example.com";
            return Err(unusable(format!("{base:?}: {wanted}")));
        }
        let mut http = client();
        if is_loopback(&url) {
            http = http.no_proxy();
        }
        http = match &settings.ca_file {
            Some(file) => http.tls_certs_merge(authorities(file.value.as_path())?),
            // Nobody's authorities are read where there is no TLS.
            None if url.scheme() == "http" => http.tls_certs_only([]),
            None => http,
        };
        let authorization = settings.key.as_ref().map(|key| bearer(&key.value));
        Ok(Self {
            http: http.build().map_err(|error| unusable(error.to_string()))?,
            base: base.into(),
            authorization: authorization.transpose()?,
            project: settings
                .project
                .as_ref()
                .map(|project| project.value.clone()),
            flags: settings.flags.as_str().into(),
            is_there: Arc::default(),
        })
    }

    /// Its address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The flags with which another command speaks to the same gateway, each behind a space.
    pub(crate) fn flags(&self) -> &str {
        &self.flags
    }

    /// The project.
    ///
    /// # Errors
    /// When none is set.
    pub(crate) fn project(&self) -> Result<&ProjectId, ApiError> {
        self.project.as_ref().ok_or(ApiError::NoProject)
    }

    /// GET of JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.persist(self.request(Method::GET, path)).await
    }

    /// The same, once, and with the gateway's clock.
    pub(crate) async fn get_once<T: DeserializeOwned>(
        &self,
        path: &str,
        timeout: Duration,
    ) -> Result<Heard<T>, ApiError> {
        let request = self.request(Method::GET, path).timeout(timeout);
        let answer = self.answer(request).await?;
        let date = answer.headers().get(DATE);
        let date = date.and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| {
            let parsed = jiff::fmt::rfc2822::parse(date).ok()?;
            Some(parsed.timestamp())
        });
        let value = read(answer).await?;
        Ok(Heard { value, date })
    }

    /// POST of JSON that is safe to repeat.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.persist(self.request(Method::POST, path).json(body))
            .await
    }

    /// The same, sent once.
    pub(crate) async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    /// POST of something new below a list, sent once. Whoever looks at that list from then on finds it
    /// there, if the tables follow the log within some seconds.
    pub(crate) async fn post_new<T: DeserializeOwned>(
        &self,
        list: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.write(self.request(Method::POST, list).json(body), list)
            .await
    }

    /// DELETE of something of a list, with the same promise.
    pub(crate) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        list: &str,
    ) -> Result<T, ApiError> {
        self.write(self.request(Method::DELETE, path), list).await
    }

    async fn write<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        list: &str,
    ) -> Result<T, ApiError> {
        let answer = self.answer(request.timeout(ANSWER_TIMEOUT)).await?;
        let as_of = answer.headers().get(AS_OF);
        let as_of = as_of
            .and_then(|token| token.to_str().ok())
            .map(str::to_owned);
        let written = read(answer).await?;
        if let Some(as_of) = as_of {
            let request = self.request(Method::GET, list);
            let request = request.query(&[("limit", "1"), ("as_of", as_of.as_str())]);
            // Lists that are away, or late, are no reason to say that it was not done.
            let _ = self.answer(request.timeout(ANSWER_TIMEOUT)).await;
        }
        Ok(written)
    }

    /// POST of bytes that is safe to repeat, for so long.
    pub(crate) async fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
        patience: Duration,
    ) -> Result<T, ApiError> {
        let request = self.request(Method::POST, path);
        let request = request.header(CONTENT_TYPE, "application/octet-stream");
        self.persist_for(patience, request.body(bytes)).await
    }

    /// The newest items of a list, `max` of them at most.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        max: usize,
    ) -> Result<Vec<T>, ApiError> {
        let (mut items, mut cursor) = (Vec::new(), None);
        while items.len() < max {
            let limit = (max - items.len()).min(PAGE_MAX).to_string();
            let request = self.request(Method::GET, path).query(query);
            let mut request = request.query(&[("limit", &limit)]);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: Page<T> = self.persist(request).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(items)
    }

    /// Tries again for a while, if that can help.
    async fn persist<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        self.persist_for(PATIENCE, request).await
    }

    async fn persist_for<T: DeserializeOwned>(
        &self,
        patience: Duration,
        request: RequestBuilder,
    ) -> Result<T, ApiError> {
        let deadline = Instant::now() + patience;
        let mut delay = RETRY_DELAY_MIN;
        loop {
            let Some(attempt) = request.try_clone() else {
                return self.json(request).await;
            };
            let error = match self.json(attempt).await {
                Err(error) if self.may_pass(&error) => error,
                other => return other,
            };
            let wait = pause(delay, error.retry_after());
            if Instant::now() + wait > deadline {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    /// Nobody waits for a gateway that was never there: its address is wrong, or it is not started.
    pub(crate) fn may_pass(&self, error: &ApiError) -> bool {
        let is_unreachable = matches!(error, ApiError::Unreachable { .. });
        error.is_retryable() && (!is_unreachable || self.is_there.load(Ordering::Relaxed))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}/{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        let request = request.header(ACCEPT, "application/json");
        read(self.answer(request.timeout(ANSWER_TIMEOUT)).await?).await
    }

    /// An answer that is no error; its body is still to come.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let answer = request.send().await;
        if !answer
            .as_ref()
            .is_err_and(|error| error.is_connect() || error.is_builder())
        {
            self.is_there.store(true, Ordering::Relaxed);
        }
        let answer = answer.map_err(|error| ApiError::unreachable(&self.base, &error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(self.refusal(answer).await)
    }

    async fn refusal(&self, answer: Response) -> ApiError {
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        let text = answer.text().await.unwrap_or_default();
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => ApiError::Refused {
                problem: Box::new(problem),
                retry_after,
                has_key: self.authorization.is_some(),
            },
            Err(_) => ApiError::strange(&self.base, status, &text),
        }
    }
}

/// How long to wait before another try: as long as was asked for, and not all at the same moment.
fn pause(delay: Duration, asked_for: Option<Duration>) -> Duration {
    let wait = delay.max(asked_for.unwrap_or_default()).min(PAUSE_MAX);
    wait.mul_f64(rand::rng().random_range(1.0..1.25))
}

fn client() -> reqwest::ClientBuilder {
    // Only fails if there is one already, which is this one then.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("rdev/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
}

/// For a gateway of this machine that speaks no TLS.
///
/// # Errors
/// None in practice.
pub(crate) fn local_client() -> Result<reqwest::Client, reqwest::Error> {
    client().no_proxy().tls_certs_only([]).build()
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, ApiError> {
    let url = answer.url().clone();
    let status = answer.status();
    let bytes = answer.bytes().await;
    let bytes = bytes.map_err(|error| ApiError::unreachable(url.as_str(), &error))?;
    // Orders are answered without a body.
    let bytes = if bytes.is_empty() {
        "null".into()
    } else {
        bytes
    };
    serde_json::from_slice(&bytes)
        .map_err(|_| ApiError::strange(url.as_str(), status, &String::from_utf8_lossy(&bytes)))
}

fn bearer(key: &Secret) -> Result<HeaderValue, ApiError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose()))
        .map_err(|_| ApiError::UnusableKey)?;
    value.set_sensitive(true);
    Ok(value)
}

fn authorities(file: &std::path::Path) -> Result<Vec<Certificate>, ApiError> {
    let unusable = |reason: String| ApiError::Unusable {
        by: file.display().to_string(),
        reason,
    };
    let text = fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&text).map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() {
        return Err(unusable(
            "there is no certificate in it: give a file of PEM".to_owned(),
        ));
    }
    Ok(found)
}

/// Proxies are for others than this machine.
pub(crate) fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let address: Result<std::net::IpAddr, _> = host.parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Whether a status says that whoever stands before the gateway cannot reach it.
fn is_of_a_proxy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_as_long_as_was_asked_for_but_ends() {
        let second = Duration::from_secs(1);
        for (asked_for, least) in [(None, second), (Some(Duration::ZERO), second)] {
            assert!(pause(second, asked_for) >= least, "{asked_for:?}");
        }
        assert!(pause(second, Some(20 * second)) >= 20 * second);
        assert!(pause(second, Some(86_400 * second)) <= 2 * PAUSE_MAX);
    }
}

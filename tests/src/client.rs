//! A client of the HTTP API, with a server-sent-events parser that is not ours.

use std::time::Duration;

use eventsource_stream::Eventsource;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::transcript::{SseEvent, Transcript};
use crate::{Failure, Outcome};

/// No answer and no event of a test takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Speaks to one gateway about one project.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// `http://host:port`.
    pub base: String,
    /// The project.
    pub project: String,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// Body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A header as text; empty if it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// An open event stream.
pub struct Stream {
    events: futures::stream::BoxStream<'static, Outcome<SseEvent>>,
    /// Status of the answer.
    pub status: u16,
    /// Headers of the answer.
    pub headers: reqwest::header::HeaderMap,
}

impl Stream {
    /// The next event; none when the server has ended the stream.
    ///
    /// # Errors
    /// When it breaks, or nothing comes for a minute.
    pub async fn next(&mut self) -> Outcome<Option<SseEvent>> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.events.next())
            .await
            .map_err(|_| Failure::from("no event in time"))?
            .transpose()
    }

    /// The next event with this name; others are passed over.
    ///
    /// # Errors
    /// When the stream ends or breaks before.
    pub async fn until(&mut self, name: &str) -> Outcome<SseEvent> {
        while let Some(event) = self.next().await? {
            if event.name == name {
                return Ok(event);
            }
        }
        Err(format!("the stream ended without {name}").into())
    }

    /// Everything up to the end of the stream.
    ///
    /// # Errors
    /// When it breaks.
    pub async fn rest(mut self) -> Outcome<Transcript> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(Transcript { events })
    }
}

impl Client {
    /// A client of the gateway at `base`.
    #[must_use]
    pub fn new(base: String, project: &str) -> Self {
        Self {
            http: in_the_clear().build().unwrap_or_default(),
            base,
            project: project.to_owned(),
        }
    }

    /// The same, with an API key.
    ///
    /// # Errors
    /// When it cannot be sent in a header.
    pub fn with_key(&self, key: &str) -> Outcome<Self> {
        let bearer = format!("Bearer {key}").parse()?;
        let headers = [(reqwest::header::AUTHORIZATION, bearer)];
        Ok(Self {
            http: in_the_clear()
                .default_headers(headers.into_iter().collect())
                .build()?,
            ..self.clone()
        })
    }

    /// The same gateway, another project.
    #[must_use]
    pub fn of_project(&self, project: &str) -> Self {
        Self {
            project: project.to_owned(),
            ..self.clone()
        }
    }

    /// The same project, another gateway.
    #[must_use]
    pub fn at(&self, other: &Self) -> Self {
        Self {
            base: other.base.clone(),
            ..self.clone()
        }
    }

    /// The address of a path below the project.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}/projects/{}{path}", self.base, self.project)
    }

    /// The HTTP client, for what the rest does not cover.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Outcome<Answer> {
        let answer = request.timeout(ANSWER_TIMEOUT).send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer {
            status,
            headers,
            text: answer.text().await?,
        })
    }

    /// GET below the project.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Outcome<Answer> {
        self.send(self.http.get(self.url(path))).await
    }

    /// GET below the project of this content type, behind `cursor` if given.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get_as(&self, path: &str, accept: &str, cursor: Option<&str>) -> Outcome<Answer> {
        let mut request = self.http.get(self.url(path)).header("Accept", accept);
        if let Some(cursor) = cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        self.send(request).await
    }

    /// POST of JSON below the project.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Outcome<Answer> {
        self.send(self.http.post(self.url(path)).json(body)).await
    }

    /// Gives an order to an exec: `cancel`, or `signal` with its body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn order(
        &self,
        session: &str,
        stream: &str,
        what: &str,
        body: &Value,
    ) -> Outcome<Answer> {
        let path = format!("/sessions/{session}/execs/{stream}/{what}");
        self.post(&path, body).await
    }

    /// Cancels an exec.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn cancel(&self, session: &str, stream: &str) -> Outcome<Answer> {
        self.order(session, stream, "cancel", &json!({})).await
    }

    /// Gives a piece of standard input to an exec; `query` says where it is, as in `offset=0&end=true`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn stdin(
        &self,
        session: &str,
        stream: &str,
        query: &str,
        bytes: impl Into<reqwest::Body>,
    ) -> Outcome<Answer> {
        let path = format!("/sessions/{session}/execs/{stream}/stdin?{query}");
        self.send(self.http.post(self.url(&path)).body(bytes)).await
    }

    /// DELETE below the project.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, path: &str) -> Outcome<Answer> {
        self.send(self.http.delete(self.url(path))).await
    }

    /// Creates a session for this pod and returns its id.
    ///
    /// # Errors
    /// With the answer when it is refused.
    pub async fn session(&self, pod: &str) -> Outcome<String> {
        let answer = self.post("/sessions", &json!({ "pod": pod })).await?;
        if answer.status != 201 {
            return Err(format!("{} {}", answer.status, answer.text).into());
        }
        text(&answer.json(), "id")
    }

    /// Posts an exec and returns its stream id.
    ///
    /// # Errors
    /// With the answer when it is refused.
    pub async fn exec(&self, session: &str, body: &Value) -> Outcome<String> {
        let answer = self
            .post(&format!("/sessions/{session}/exec"), body)
            .await?;
        if answer.status != 201 && answer.status != 200 {
            return Err(format!("{} {}", answer.status, answer.text).into());
        }
        text(&answer.json(), "id")
    }

    /// Posts a shell command and reads its events to the end.
    ///
    /// # Errors
    /// When it is refused, or the stream breaks.
    pub async fn shell(&self, session: &str, command: &str) -> Outcome<Transcript> {
        self.run(session, &json!({ "type": "shell", "command": command }))
            .await
    }

    /// Posts an exec and reads its events to the end.
    ///
    /// # Errors
    /// When it is refused, or the stream breaks.
    pub async fn run(&self, session: &str, body: &Value) -> Outcome<Transcript> {
        let stream = self.exec(session, body).await?;
        self.transcript(session, &stream).await
    }

    /// All events of an exec, to the end.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn transcript(&self, session: &str, stream: &str) -> Outcome<Transcript> {
        self.events(session, stream, None).await?.rest().await
    }

    /// Opens the event stream of an exec, behind `cursor` if given.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn events(
        &self,
        session: &str,
        stream: &str,
        cursor: Option<&str>,
    ) -> Outcome<Stream> {
        let path = format!("/sessions/{session}/events?stream_id={stream}");
        self.stream(&path, cursor).await
    }

    /// Opens an event stream at any path below the project, behind `cursor` if given.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn stream(&self, path: &str, cursor: Option<&str>) -> Outcome<Stream> {
        let mut request = self.http.get(self.url(path));
        if let Some(cursor) = cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let events = answer.bytes_stream().eventsource().map(|event| {
            let event = event.map_err(|error| Failure::from(error.to_string()))?;
            Ok(SseEvent {
                id: event.id,
                name: event.event,
                data: event.data,
            })
        });
        Ok(Stream {
            events: events.boxed(),
            status,
            headers,
        })
    }
}

/// What is tested over TLS is tested with clients that others wrote. The one of this process has no
/// authorities then, and needs none.
fn in_the_clear() -> reqwest::ClientBuilder {
    // Refused if there is one already, which is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().tls_certs_only([])
}

fn text(value: &Value, field: &str) -> Outcome<String> {
    let text = value[field]
        .as_str()
        .ok_or_else(|| format!("no {field} in {value}"))?;
    Ok(text.to_owned())
}

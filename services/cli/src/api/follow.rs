//! The events of an exec, or of a session, from any place on, over as many connections as it takes.
//!
//! A task reads and hands on what it got; whoever shows it may be slow. Invariant: an exec's events are
//! given out once each and in order, however often connections break in between: what is given
//! out last is what is asked for behind. Where a proxy holds event streams back, it is done by long polls.

use std::time::Duration;

use rdev_contract::cursor::Cursor;
use rdev_contract::event::event_name;
use rdev_contract::sse::{Gap, Reconnect, frame_name};
use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::error::innermost;
use super::sse::{SseEvent, SseParser};
use super::{Api, ApiError, pause};

/// Gateways say something every 15 s unless told otherwise; after this much silence the connection
/// is taken for dead, and another costs nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A gateway greets at once. Where this passes twice without a greeting, somebody holds the stream back.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
const UNGREETED_MAX: u32 = 2;
/// What a long poll waits for news, in seconds.
const POLL_WAIT_SECONDS: u64 = 20;
const POLL_TIMEOUT: Duration = Duration::from_secs(POLL_WAIT_SECONDS + 20);
const RETRY_DELAY_MIN: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
/// An agent's line has 32 MiB at most, and JSON may escape a byte in six.
const EVENT_MAX_BYTES: usize = 256 * 1024 * 1024;
/// Begins with the last so many events.
pub(crate) const TAIL: &str = "tail";
/// Batches that wait to be shown: then reading stops, and the log keeps the rest.
const WAITING_MAX: usize = 4;

/// What happens on the way.
#[derive(Debug)]
pub(crate) enum News {
    /// Events, in their order.
    Events(Vec<SseEvent>),
    /// The connection is gone, and why; another is made.
    Lost(String),
    /// There is one again.
    Back,
    /// There is nothing behind the place that was asked for: the exec had ended.
    Over,
    /// It cannot be followed.
    Failed(ApiError),
}

/// What is followed, and how.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Below the API's root.
    pub(crate) path: String,
    /// Besides the place.
    pub(crate) query: Vec<(&'static str, String)>,
    /// The id of the event behind which to begin; from the beginning if there is none.
    pub(crate) after: Option<String>,
    /// It ends with its `complete`.
    pub(crate) of_one_exec: bool,
    /// Ask again and again instead of holding a connection.
    pub(crate) poll: bool,
    /// For so long without any answer.
    pub(crate) patience: Duration,
}

/// Begins to follow; ends when whoever listens is gone.
pub(crate) fn follow(api: &Api, plan: Plan) -> mpsc::Receiver<News> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let begins_with_first = plan.query.iter().all(|(name, _)| *name != TAIL);
    let shown = match &plan.after {
        Some(after) => number_of(after),
        None => begins_with_first.then_some(0),
    };
    let follower = Follower {
        api: api.clone(),
        shown,
        after: plan.after.clone(),
        is_strange: false,
        ungreeted: 0,
        retry: None,
        is_lost: false,
        heard_at: Instant::now(),
        plan,
        sender,
    };
    tokio::spawn(follower.run());
    receiver
}

/// Why one connection ended.
enum Ended {
    /// Everything was given out.
    Over,
    /// Whoever listens is gone.
    Unheard,
    /// It broke, or was ended; there may be another.
    Lost(String),
    /// There is no use in another.
    Failed(ApiError),
}

struct Follower {
    api: Api,
    plan: Plan,
    /// The id of the last event that was given out.
    after: Option<String>,
    /// Its number, where that is known.
    shown: Option<u64>,
    /// The first event may have any number: what was before it is told to be gone, or not asked for.
    is_strange: bool,
    /// Connections in a row on which nobody said anything.
    ungreeted: u32,
    /// The pause that the server asked for.
    retry: Option<Duration>,
    is_lost: bool,
    heard_at: Instant,
    sender: mpsc::Sender<News>,
}

impl Follower {
    async fn run(mut self) {
        let mut delay = RETRY_DELAY_MIN;
        loop {
            let heard_before = self.heard_at;
            let ended = if self.plan.poll || self.ungreeted >= UNGREETED_MAX {
                self.poll().await
            } else {
                self.stream().await
            };
            let why = match ended {
                Ended::Unheard => return,
                Ended::Over => {
                    let _ = self.sender.send(News::Over).await;
                    return;
                }
                Ended::Failed(error) => {
                    let _ = self.sender.send(News::Failed(error)).await;
                    return;
                }
                Ended::Lost(why) => why,
            };
            if self.heard_at > heard_before {
                delay = RETRY_DELAY_MIN;
            }
            if self.heard_at.elapsed() > self.plan.patience {
                let error = ApiError::Broken(format!(
                    "there was no connection for {} s: {why}",
                    self.plan.patience.as_secs()
                ));
                let _ = self.sender.send(News::Failed(error)).await;
                return;
            }
            self.is_lost = true;
            if self.sender.send(News::Lost(why)).await.is_err() {
                return;
            }
            tokio::time::sleep(pause(delay, self.retry.take())).await;
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    fn request(&self, accept: &'static str) -> RequestBuilder {
        let mut request = self.api.request(Method::GET, &self.plan.path);
        request = request.query(&self.plan.query).header(ACCEPT, accept);
        if let Some(after) = &self.after {
            request = request.header("last-event-id", after);
        }
        request
    }

    async fn stream(&mut self) -> Ended {
        let request = self.request("text/event-stream");
        let answer = match timeout(GREETING_TIMEOUT, self.api.answer(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.ungreeted += 1;
                return Ended::Lost("no answer in time".to_owned());
            }
        };
        let mut answer = match answer {
            Ok(answer) if answer.status() == StatusCode::NO_CONTENT => return Ended::Over,
            Ok(answer) => answer,
            Err(error) => return self.ended_by(error),
        };
        let (mut parser, mut is_greeted) = (SseParser::default(), false);
        loop {
            let limit = if is_greeted {
                SILENCE_MAX
            } else {
                GREETING_TIMEOUT
            };
            let chunk = match timeout(limit, answer.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ended::Lost("the gateway ended the stream".to_owned()),
                Ok(Err(error)) => return Ended::Lost(innermost(&error)),
                Err(_) if is_greeted => {
                    let silence = SILENCE_MAX.as_secs();
                    return Ended::Lost(format!("nothing was heard for {silence} s"));
                }
                Err(_) => {
                    self.ungreeted += 1;
                    return Ended::Lost("the stream is held back".to_owned());
                }
            };
            is_greeted = true;
            self.ungreeted = 0;
            let mut events = Vec::new();
            parser.feed(&chunk, &mut events);
            if parser.held_bytes() > EVENT_MAX_BYTES {
                return Ended::Failed(ApiError::Broken("an event is too long".to_owned()));
            }
            let retry_ms = parser.retry_ms.take();
            if events
                .iter()
                .any(|event| event.name == frame_name::RECONNECT)
            {
                self.retry = retry_ms.map(Duration::from_millis);
            }
            if let Some(ended) = self.give(events).await {
                return ended;
            }
        }
    }

    async fn poll(&mut self) -> Ended {
        // Nothing is waited for before there was an answer with all that there is, as of a stream.
        let (mut is_caught_up, mut waits) = (false, false);
        loop {
            let request = self.request("application/json").timeout(POLL_TIMEOUT);
            let wait = if waits { POLL_WAIT_SECONDS } else { 0 };
            let wait = wait.to_string();
            let answer = match self.api.answer(request.query(&[("wait", &wait)])).await {
                Ok(answer) if answer.status() == StatusCode::NO_CONTENT => return Ended::Over,
                Ok(answer) => answer,
                Err(error) => match resume_from(&error) {
                    Some((place, gap)) => {
                        self.after = Some(place);
                        self.is_strange = true;
                        if let Some(ended) = self.give(vec![gap]).await {
                            return ended;
                        }
                        continue;
                    }
                    None => return self.ended_by(error),
                },
            };
            let page = match page(answer).await {
                Ok(page) => page,
                Err(why) => return Ended::Lost(why),
            };
            let events = page.events.into_iter().map(PolledEvent::into_event);
            let mut events: Vec<_> = events.collect();
            waits = page.caught_up || events.is_empty();
            if page.caught_up && !is_caught_up && !page.complete {
                is_caught_up = true;
                events.push(SseEvent {
                    id: page.next.clone(),
                    name: frame_name::CAUGHT_UP.to_owned(),
                    data: "{}".to_owned(),
                });
            }
            if let Some(ended) = self.give(events).await {
                return ended;
            }
            self.after = Some(page.next);
            if page.complete {
                return Ended::Over;
            }
        }
    }

    /// Gives out what is new; says when that was the end.
    async fn give(&mut self, events: Vec<SseEvent>) -> Option<Ended> {
        self.heard_at = Instant::now();
        if std::mem::take(&mut self.is_lost) && self.sender.send(News::Back).await.is_err() {
            return Some(Ended::Unheard);
        }
        let (mut fresh, mut ended) = (Vec::with_capacity(events.len()), None);
        for event in events {
            if event.name == frame_name::RECONNECT {
                let why = serde_json::from_str::<Reconnect>(&event.data);
                let why = why.map_or_else(|_| event.data.clone(), |why| why.reason);
                ended = Some(Ended::Lost(format!(
                    "the gateway sends its readers away: {why}"
                )));
                break;
            }
            match self.is_new(&event) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    ended = Some(Ended::Failed(error));
                    break;
                }
            }
            if !event.id.is_empty() {
                self.after = Some(event.id.clone());
            }
            let is_last = self.plan.of_one_exec && event.name == event_name::COMPLETE;
            fresh.push(event);
            if is_last {
                ended = Some(Ended::Over);
                break;
            }
        }
        if !fresh.is_empty() && self.sender.send(News::Events(fresh)).await.is_err() {
            return Some(Ended::Unheard);
        }
        ended
    }

    fn ended_by(&mut self, error: ApiError) -> Ended {
        if error.is_retryable() {
            self.retry = error.retry_after();
            return Ended::Lost(error.to_string());
        }
        Ended::Failed(error)
    }

    /// Whether an event was not given out before. Of one exec the numbers have no gaps.
    fn is_new(&mut self, event: &SseEvent) -> Result<bool, ApiError> {
        if event.name == frame_name::GAP {
            self.is_strange = true;
        }
        if !self.plan.of_one_exec || !is_numbered(&event.name) {
            return Ok(true);
        }
        let Some(number) = number_of(&event.id) else {
            return Ok(true);
        };
        let shown = self.shown.unwrap_or(0);
        if number <= shown {
            return Ok(false);
        }
        let may_begin_anywhere = std::mem::take(&mut self.is_strange) || self.shown.is_none();
        if number != shown + 1 && !may_begin_anywhere {
            return Err(ApiError::Broken(format!(
                "event {number} came where {} should have: this is a bug of the gateway",
                shown + 1
            )));
        }
        self.shown = Some(number);
        Ok(true)
    }
}

/// Frames of the gateway's own have the id in force; all others have a number of their own.
fn is_numbered(name: &str) -> bool {
    let own = [
        frame_name::CONNECTED,
        frame_name::CAUGHT_UP,
        frame_name::HEARTBEAT,
        frame_name::GAP,
        frame_name::QUEUED,
        frame_name::SESSION,
        frame_name::RECONNECT,
    ];
    !own.contains(&name)
}

/// The number in an event's id.
pub(crate) fn number_of(id: &str) -> Option<u64> {
    id.parse::<Cursor>().ok().map(|cursor| cursor.number.0)
}

/// What was asked for is gone; this is where what is left begins, and what says so.
fn resume_from(error: &ApiError) -> Option<(String, SseEvent)> {
    let problem = error.problem()?;
    let place = problem.resume_from.clone()?;
    let gap = Gap {
        stream_id: None,
        requested: None,
        first_available: problem.first_available,
        reason: "expired".to_owned(),
    };
    let event = SseEvent {
        id: place.clone(),
        name: frame_name::GAP.to_owned(),
        data: serde_json::to_string(&gap).ok()?,
    };
    Some((place, event))
}

/// A page whose data stays as it was written.
#[derive(Deserialize)]
struct PolledPage {
    events: Vec<PolledEvent>,
    next: String,
    caught_up: bool,
    complete: bool,
}

#[derive(Deserialize)]
struct PolledEvent {
    id: String,
    event: String,
    data: Box<RawValue>,
}

impl PolledEvent {
    fn into_event(self) -> SseEvent {
        SseEvent {
            id: self.id,
            name: self.event,
            data: String::from(Box::<str>::from(self.data)),
        }
    }
}

async fn page(answer: Response) -> Result<PolledPage, String> {
    let bytes = answer.bytes().await.map_err(|error| innermost(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("not a page of events: {error}"))
}

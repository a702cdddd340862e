//! Reading what one has written. An answer to a write names its place in the log ([`Projection::token`]);
//! a list that is asked for `?as_of=` that place waits until the read model includes it ([`UpToDate`]).
//!
//! Invariants: a list never shows less than what `as_of` names: it includes it, or it is refused. A
//! wait is bounded by [`WAIT_MAX`], and however many wait, PostgreSQL is asked once at a time.
//!
//! The projector passes over output and admissions, so its position may stay behind the id of such an event. The
//! read model includes that event when the log has nothing that makes rows between the two.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};
use futures::future::try_join_all;
use rdev_bus::{Bus, LogStream, ReadError, StreamIdentity};
use rdev_contract::as_of::{AS_OF_HEADER, AsOf, Written, WrittenTo};
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use rdev_readmodel::{LogIdentity, Place, Position};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::problem::ApiError;
use crate::request::Options;
use crate::state::{Gateway, Log};

/// How long a list waits for the read model: the projector is some milliseconds behind, and after
/// a crash the stand-by needs seconds; a client that is told to come again loses nothing.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(3);
/// Between two looks at the positions; what was seen is good for all who wait for so long.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Between two looks for facts in the log, each of which asks its leader once for each kind.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long it is believed which log this is. Asking at each write would cost as much as the write.
const IDENTITY_KEPT: Duration = Duration::from_secs(10);
/// A write is done when its token is made: it is not worth waiting for long.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(1);

/// How far the read model is, and which log it is of, as far as is known. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Projection {
    positions: Arc<Mutex<Option<Seen<Positions>>>>,
    identities: Arc<Mutex<HashMap<LogStream, Seen<StreamIdentity>>>>,
}

/// Those of all streams.
type Positions = Arc<[Position]>;
/// Something, and when it was so.
type Seen<T> = (Instant, T);

/// The token of a write, as a header of its answer.
pub(crate) struct Token(Written);

impl IntoResponseParts for Token {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        if let Ok(value) = HeaderValue::try_from(self.0.to_string()) {
            let name = HeaderName::from_static(AS_OF_HEADER);
            parts.headers_mut().insert(name, value);
        }
        Ok(parts)
    }
}

/// What the handler reads from the read model includes what `?as_of=` names. It stands behind the
/// arguments that may be refused without waiting.
pub(crate) struct UpToDate;

#[derive(Deserialize)]
struct AsOfOptions {
    as_of: Option<String>,
}

impl FromRequestParts<Gateway> for UpToDate {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        let Options(options) = Options::<AsOfOptions>::from_request_parts(parts, gateway).await?;
        let Some(text) = options.as_of else {
            return Ok(Self);
        };
        let as_of: AsOf = text
            .parse()
            .map_err(|error| ApiError::invalid("invalid_as_of", format!("{error}")))?;
        let mut wait = Wait::new(gateway, as_of);
        match tokio::time::timeout(WAIT_MAX, wait.until_included()).await {
            Ok(included) => included.map(|()| Self),
            Err(_) if wait.was_answered => Err(ApiError::NotProjected),
            Err(_) => Err(ApiError::ReadModelUnavailable),
        }
    }
}

/// One request that waits.
struct Wait<'a> {
    gateway: &'a Gateway,
    stream: LogStream,
    sequence: StreamSeq,
    /// Which life of the stream it means; whichever there is, if it does not say.
    log: Option<LogIdentity>,
    /// It may be a message that makes no rows.
    is_event: bool,
    /// PostgreSQL has answered.
    was_answered: bool,
}

impl<'a> Wait<'a> {
    fn new(gateway: &'a Gateway, as_of: AsOf) -> Self {
        let (stream, sequence, created_at, is_event) = match as_of {
            AsOf::Event(cursor) => (LogStream::Exec, cursor.sequence, None, true),
            AsOf::Write(Written {
                to,
                sequence,
                created_at,
            }) => (stream_of(to), sequence, created_at, false),
        };
        Self {
            gateway,
            stream,
            sequence,
            log: created_at.map(LogIdentity::created_at),
            is_event,
            was_answered: false,
        }
    }

    async fn until_included(&mut self) -> Result<(), ApiError> {
        let mut checked = None;
        if self.log.is_none() {
            checked = self.check().await?;
        }
        let mut looked: Option<Seen<Option<Place>>> = None;
        loop {
            let place = self.place().await?;
            if self.is_past(place) {
                return Ok(());
            }
            if checked.is_none() {
                checked = self.check().await?;
            }
            let is_due =
                looked.is_none_or(|(at, before)| before != place && at.elapsed() >= LOOK_INTERVAL);
            if self.is_event && is_due {
                match self.makes_rows_behind(place).await {
                    Some(false) => return Ok(()),
                    Some(true) => looked = Some((Instant::now(), place)),
                    None => {}
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn place(&mut self) -> Result<Option<Place>, ApiError> {
        let positions = self.gateway.projection.positions(self.gateway).await?;
        self.was_answered = true;
        let of_stream = positions
            .iter()
            .find(|position| position.stream == self.stream.name());
        Ok(of_stream.map(|position| position.place))
    }

    fn is_past(&self, place: Option<Place>) -> bool {
        place.is_some_and(|place| is_of(self.log, place) && place.sequence >= self.sequence)
    }

    /// What the log says of a place that the read model has not reached; none if it does not
    /// answer. A place that it never had will never be reached.
    async fn check(&mut self) -> Result<Option<StreamIdentity>, ApiError> {
        let Ok(bus) = self.gateway.log.connected() else {
            return Ok(None);
        };
        let Ok(identity) = bus.identity(self.stream).await else {
            return Ok(None);
        };
        let log = LogIdentity::created_at(identity.created_at);
        if *self.log.get_or_insert(log) != log {
            let detail = "the log that this as_of is of has been replaced: leave it out";
            return Err(ApiError::invalid("as_of_another_log", detail));
        }
        if self.sequence > identity.last {
            let detail = "this as_of is beyond the end of the log: nothing was written there";
            return Err(ApiError::invalid("as_of_beyond_end", detail));
        }
        Ok(Some(identity))
    }

    /// Whether anything between the read model and the event makes rows; none if it cannot be
    /// known now.
    async fn makes_rows_behind(&self, place: Option<Place>) -> Option<bool> {
        let bus = self.gateway.log.connected().ok()?;
        let place = place.filter(|place| is_of(self.log, *place))?;
        let facts = facts_behind(bus, place.sequence).await.ok()?;
        let mut facts = facts.into_iter().flatten();
        Some(facts.any(|fact| fact <= self.sequence))
    }
}

/// A log that was created anew begins at 1 again, so that a place in another one says nothing.
fn is_of(log: Option<LogIdentity>, place: Place) -> bool {
    log.is_none_or(|log| log == place.log)
}

/// The next message of each kind that makes rows, as the leader has it: a replica that lags would
/// say that there is none.
async fn facts_behind(bus: &Bus, after: StreamSeq) -> Result<Vec<Option<StreamSeq>>, ReadError> {
    let facts = Kind::ALL.into_iter().filter(|kind| kind.is_projected());
    try_join_all(facts.map(async |kind| {
        let filter = Filter::kind(kind);
        let next = bus.next_at_leader(LogStream::Exec, &filter, after).await?;
        Ok(next.map(|message| message.sequence))
    }))
    .await
}

const fn stream_of(to: WrittenTo) -> LogStream {
    match to {
        WrittenTo::Execs => LogStream::Exec,
        WrittenTo::Sessions => LogStream::Session,
    }
}

impl Projection {
    /// The token of what was written there.
    pub(crate) async fn token(&self, log: &Log, to: WrittenTo, sequence: StreamSeq) -> Token {
        let identity = self.identity(log, stream_of(to), sequence);
        let identity = tokio::time::timeout(IDENTITY_TIMEOUT, identity).await;
        Token(Written {
            to,
            sequence,
            created_at: identity.ok().flatten(),
        })
    }

    /// When the stream was created that this was written to. A log that goes on behind what was
    /// known of it is the same one.
    async fn identity(
        &self,
        log: &Log,
        stream: LogStream,
        written: StreamSeq,
    ) -> Option<jiff::Timestamp> {
        let mut identities = self.identities.lock().await;
        if let Some((at, known)) = identities.get(&stream)
            && at.elapsed() < IDENTITY_KEPT
            && known.last < written
        {
            return Some(known.created_at);
        }
        let found = log.connected().ok()?.identity(stream).await.ok()?;
        identities.insert(stream, (Instant::now(), found));
        Some(found.created_at)
    }

    /// Up to where the read model is. Whoever asks while another does takes that one's answer.
    async fn positions(&self, gateway: &Gateway) -> Result<Positions, ApiError> {
        let mut last = self.positions.lock().await;
        if let Some((at, positions)) = &*last
            && at.elapsed() < POLL_INTERVAL
        {
            return Ok(Arc::clone(positions));
        }
        let at = Instant::now();
        let positions: Positions = gateway.read_model.positions().await?.into();
        *last = Some((at, Arc::clone(&positions)));
        Ok(positions)
    }
}

#[cfg(test)]
mod tests {
    use rdev_readmodel::ReadModel;
    use rdev_runtime::Shutdown;

    use super::*;

    const CREATED: [&str; 2] = ["2026-11-22T06:21:00.123456Z", "2026-11-22T06:21:00.123457Z"];

    fn gateway() -> Gateway {
        let nowhere = "postgres://rdev@127.0.0.1:1/rdev".parse().unwrap();
        Gateway {
            log: Log(None),
            past: crate::history::Past::default(),
            read_model: ReadModel::new(&nowhere),
            projection: Projection::default(),
            trust: crate::trust::Trust::open(),
            cors: crate::CorsOrigins::Any,
            limits: rdev_domain::request::RequestLimits::default(),
            heartbeat: Duration::from_secs(15),
            tails: crate::events::Tails::default(),
            line: crate::queue::Line::default(),
            project_queue_max: 1,
            replays: crate::events::Replays::new(Log(None), crate::history::Past::default()),
            provisions: Arc::default(),
            lives: crate::lives::Lives::default(),
            known_sessions: Arc::default(),
            screens: crate::screen::Screens::default(),
            streams_max: 1,
            streams: Arc::new(tokio::sync::Semaphore::new(1)),
            shutdown: Shutdown::new(),
        }
    }

    fn place(created_at: &str, sequence: u64) -> Option<Place> {
        Some(Place {
            log: LogIdentity::created_at(created_at.parse().unwrap()),
            sequence: StreamSeq(sequence),
        })
    }

    #[test]
    fn a_place_in_another_log_says_nothing() {
        let gateway = gateway();
        let created_at = Some(CREATED[1].parse().unwrap());
        let written = Written {
            to: WrittenTo::Execs,
            sequence: StreamSeq(5),
            created_at,
        };
        let wait = Wait::new(&gateway, AsOf::Write(written));
        assert!(!wait.is_past(None));
        assert!(!wait.is_past(place(CREATED[1], 4)));
        assert!(wait.is_past(place(CREATED[1], 5)));
        assert!(wait.is_past(place(CREATED[1], 6)));
        assert!(!wait.is_past(place(CREATED[0], 1_000_000)));
    }

    #[tokio::test]
    async fn what_was_seen_is_good_for_a_moment() {
        let gateway = gateway();
        let seen: Positions = Arc::from([Position {
            stream: LogStream::Exec.name().to_owned(),
            place: place(CREATED[0], 7).unwrap(),
        }]);
        let positions = gateway.projection.positions.clone();
        *positions.lock().await = Some((Instant::now(), Arc::clone(&seen)));
        assert_eq!(gateway.projection.positions(&gateway).await.unwrap(), seen);
        let before = Instant::now().checked_sub(POLL_INTERVAL).unwrap();
        *positions.lock().await = Some((before, seen));
        // There is no PostgreSQL here.
        assert!(gateway.projection.positions(&gateway).await.is_err());
    }

    #[tokio::test]
    async fn a_token_says_which_log_it_is_of_if_that_is_known() {
        let projection = Projection::default();
        let log = Log(None);
        let token = projection.token(&log, WrittenTo::Execs, StreamSeq(9)).await;
        assert_eq!(token.0.to_string(), "exec-9");
        let known = StreamIdentity {
            created_at: CREATED[0].parse().unwrap(),
            first: StreamSeq(1),
            last: StreamSeq(8),
            messages: 8,
            bytes: 0,
        };
        let mut identities = projection.identities.lock().await;
        identities.insert(LogStream::Exec, (Instant::now(), known));
        drop(identities);
        let token = projection.token(&log, WrittenTo::Execs, StreamSeq(9)).await;
        assert_eq!(token.0.created_at, Some(known.created_at));
        // A log that is shorter than what was known of it is another one.
        let token = projection.token(&log, WrittenTo::Execs, StreamSeq(8)).await;
        assert_eq!(token.0.created_at, None);
    }
}

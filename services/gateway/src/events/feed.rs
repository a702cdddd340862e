//! One reader's answer: from its place in the log to the present, and on with it.
//!
//! It is the response body itself: nothing runs for a reader that does not read. Invariant: such a
//! reader holds one page of frames and its part in a tail, no more.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::FutureExt;
use futures::stream;
use rand::Rng;
use rdev_bus::live::Scope;
use rdev_bus::{Bus, Pace};
use rdev_contract::position::StreamSeq;
use rdev_contract::sse::{Heartbeat, Reconnect, frame_name};
use rdev_runtime::Shutdown;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::encode::Style;
use super::limits::Limits;
use super::queued::Queued;
use super::replay::{Answer, Page, Replays, Wanted};
use super::ring::Turn;
use super::tail::{LOG_RETRY_DELAY, Subscription, Tails};
use super::view::View;
use crate::flights::Flight;
use crate::lives::Life;
use crate::metrics::{OpenReader, ReaderEnd};
use crate::state::{Gateway, now};

/// How long a reader waits for an exec that nobody has posted yet.
const NOT_STARTED_TIMEOUT: Duration = Duration::from_secs(60);
/// Readers that are sent away come back spread over this time, not all at once.
const RECONNECT_RETRY_MS: std::ops::Range<u64> = 500..5_000;

/// What a reader is told when its connection ends before the exec does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// This gateway is being replaced.
    Draining,
    /// This gateway has as many streams as it may have.
    Overloaded,
    /// Nobody has posted the exec.
    NotStarted,
    /// The log does not answer.
    LogUnavailable,
    /// The connection has lived long enough.
    Lifetime,
}

impl Farewell {
    /// All that there are.
    pub(crate) const ALL: [Self; 5] = [
        Self::Draining,
        Self::Overloaded,
        Self::NotStarted,
        Self::LogUnavailable,
        Self::Lifetime,
    ];

    /// What the reader is told.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
            Self::NotStarted => "not_started",
            Self::LogUnavailable => "log_unavailable",
            Self::Lifetime => "lifetime",
        }
    }

    pub(super) fn write(self, view: &mut View) {
        let retry_ms = rand::rng().random_range(RECONNECT_RETRY_MS);
        let reason = self.reason().to_owned();
        view.own(frame_name::RECONNECT, Some(retry_ms), &Reconnect { reason });
    }
}

/// How far a reader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// On with the present, until the end.
    Follow,
    /// Up to what was the present when it began.
    Replay {
        /// The last message there was.
        until: StreamSeq,
    },
    /// Up to the present, or if there is nothing yet, up to what comes next. Without any frame of
    /// the gateway's own but gaps.
    Poll {
        /// How long what comes next is waited for.
        until: Instant,
    },
}

impl Mode {
    /// For those who count.
    const fn name(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Replay { .. } => "replay",
            Self::Poll { .. } => "poll",
        }
    }
}

/// What a feed is made of.
pub(super) struct Plan {
    pub(super) scope: Scope,
    pub(super) style: Style,
    pub(super) mode: Mode,
    pub(super) view: View,
    /// What becomes of the session, in the feed of a whole one.
    pub(super) life: Option<Box<Life>>,
    /// The log holds something of what is read already.
    pub(super) exists: bool,
    /// Up to where there is something to be read, whatever the tail says: of what the log has
    /// forgotten, that knows nothing.
    pub(super) end: StreamSeq,
    /// Counts this reader among the streams of this gateway.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// A reader, what it was shown, and its limits.
pub(super) struct Feed {
    plan: Plan,
    bus: Arc<Bus>,
    tails: Tails,
    replays: Replays,
    shutdown: Shutdown,
    source: Source,
    /// The log is known to go on up to here.
    floor: StreamSeq,
    subscription: Option<Subscription>,
    /// While the exec may wait for its turn.
    queued: Option<Queued>,
    heartbeat: Duration,
    sent_at: Instant,
    limits: Limits,
    timer: Pin<Box<Sleep>>,
    /// How the log is read.
    pace: Pace,
    is_caught_up: bool,
    is_over: bool,
    farewell: Option<Farewell>,
    /// For those who count readers.
    reader: OpenReader,
}

/// Where the next events come from.
enum Source {
    /// A page of the log.
    Reading(Flight<Answer>),
    /// A page of the log, which has failed to come: it is asked for again after this.
    Resting(Pin<Box<Sleep>>),
    /// What the tail says: where to read the log up to, what is new, or nothing yet.
    Tail,
}

enum Event {
    Page(Answer),
    Rested,
    Changed,
    Ticked,
    /// Something has become of the session; false when it is not known what.
    Lived(bool),
    Timer,
}

/// Data of `caught_up`.
#[derive(Serialize)]
struct CaughtUp {}

impl Feed {
    pub(super) fn new(gateway: &Gateway, bus: &Arc<Bus>, plan: Plan) -> Self {
        let at = Instant::now();
        let queued = match (&plan.scope, plan.mode) {
            (Scope::Exec(exec), Mode::Follow) => Some(Queued::new(&gateway.line, exec.clone())),
            (Scope::Exec(_) | Scope::Session(..), _) => None,
        };
        let scope = match plan.scope {
            Scope::Exec(_) => "exec",
            Scope::Session(..) => "session",
        };
        let reader = OpenReader::new(scope, plan.mode.name());
        let mut feed = Self {
            floor: plan.end,
            plan,
            bus: Arc::clone(bus),
            tails: gateway.tails.clone(),
            replays: gateway.replays.clone(),
            shutdown: gateway.shutdown.clone(),
            source: Source::Tail,
            subscription: None,
            queued,
            heartbeat: gateway.heartbeat,
            sent_at: at,
            limits: Limits::new(at),
            timer: Box::pin(tokio::time::sleep_until(at)),
            pace: Pace::default(),
            is_caught_up: false,
            is_over: false,
            farewell: None,
            reader,
        };
        feed.tell_place();
        feed.tell_life();
        feed.arm();
        feed
    }

    /// The feed as a response body.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(Box::new(self), async |mut feed| {
            let chunk = feed.next_chunk().await?;
            Some((Ok::<Bytes, Infallible>(chunk), feed))
        }))
    }

    /// The next bytes to send; none at the end. May be dropped and called again.
    pub(super) async fn next_chunk(&mut self) -> Option<Bytes> {
        loop {
            if self.shutdown.is_requested() {
                self.say(Farewell::Draining);
            }
            if let Some(chunk) = self.plan.view.out.pop() {
                let events = self.plan.view.progress.take_count();
                self.reader.was_sent(events, chunk.len());
                self.sent_at = Instant::now();
                return Some(chunk);
            }
            if self.is_over {
                let end = self
                    .farewell
                    .map_or(ReaderEnd::Finished, ReaderEnd::SentAway);
                self.reader.ends(end);
                return None;
            }
            self.step().await;
        }
    }

    /// What it has is all that it is asked for, as far as it goes.
    pub(super) fn is_answered(&mut self) {
        self.reader.ends(ReaderEnd::Finished);
    }

    /// What was shown, and how far the reader is.
    pub(super) const fn view(&self) -> &View {
        &self.plan.view
    }

    /// Everything that was stored has been shown.
    pub(super) const fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    /// Why the answer ended before its end, if it did.
    pub(super) const fn farewell(&self) -> Option<Farewell> {
        self.farewell
    }

    /// Does the next thing there is to do, or waits for it.
    async fn step(&mut self) {
        if matches!(self.source, Source::Tail) && self.take_turn() {
            return;
        }
        let event = tokio::select! {
            event = next_event(&mut self.source, &mut self.subscription) => event,
            () = ticked(&mut self.queued) => Event::Ticked,
            is_known = lived(&mut self.plan.life) => Event::Lived(is_known),
            () = self.timer.as_mut() => Event::Timer,
        };
        match event {
            Event::Page(Ok(page)) => self.take_page(page),
            Event::Page(Err(error)) => {
                tracing::debug!(%error, "waiting for the log");
                self.limits.failing_since.get_or_insert_with(Instant::now);
                self.arm();
                let rest = tokio::time::sleep(LOG_RETRY_DELAY);
                self.source = Source::Resting(Box::pin(rest));
            }
            Event::Rested => self.read_on(),
            Event::Changed => {}
            Event::Ticked => self.tell_place(),
            Event::Lived(true) => self.tell_life(),
            Event::Lived(false) => self.say(Farewell::Overloaded),
            Event::Timer => self.on_timer(),
        }
    }

    /// Says where the exec stands while it waits, and nothing any more when it does not.
    fn tell_place(&mut self) {
        let view = &mut self.plan.view;
        self.queued.take_if(|queued| queued.is_over(view));
        let news = self.queued.as_mut();
        if let Some(place) = news.and_then(|queued| queued.news(Instant::now())) {
            view.own(frame_name::QUEUED, None, &place);
        }
    }

    /// Says what has become of the session.
    fn tell_life(&mut self) {
        if let Some(news) = self.plan.life.as_mut().and_then(|life| life.news()) {
            self.plan.view.own(frame_name::SESSION, None, &news);
        }
    }

    fn take_page(&mut self, page: Arc<Page>) {
        self.limits.failing_since = None;
        self.pace = page.pace;
        self.plan.view.take_page(page);
        self.is_over = self.plan.view.is_over();
        self.source = Source::Tail;
    }

    fn read_on(&mut self) {
        self.reader.reads_log(self.is_caught_up);
        let Plan {
            scope, style, view, ..
        } = &mut self.plan;
        let wanted = Wanted {
            scope: scope.clone(),
            style: *style,
            after: view.position(),
            floor: self.floor,
            pace: self.pace,
        };
        let page = self.replays.page(wanted, view.encoder());
        self.source = Source::Reading(page);
    }

    /// Reads the log as far as it is known to go, then takes what the tail has; false if there is
    /// nothing to do but wait.
    fn take_turn(&mut self) -> bool {
        if self.plan.view.position() < self.floor {
            self.read_on();
            return true;
        }
        if matches!(self.plan.mode, Mode::Replay { .. }) {
            return self.caught_up();
        }
        let Plan {
            scope, style, view, ..
        } = &mut self.plan;
        let subscription = self
            .subscription
            .get_or_insert_with(|| self.tails.join(&self.bus, scope, *style));
        let turn = subscription.look(|ring| view.take_turn(ring));
        let state = subscription.state();
        if state.is_restored {
            self.say(Farewell::LogUnavailable);
            return true;
        }
        self.limits.failing_since = state.failing_since;
        if self.limits.failing_since.is_some() {
            self.arm();
        }
        match turn {
            None => false,
            Some(Turn::Log(floor)) => {
                self.floor = floor;
                true
            }
            Some(Turn::Pieces(_)) => {
                self.reader.is_up_to_date();
                self.is_over = self.plan.view.is_over();
                true
            }
            Some(Turn::Wait) => {
                self.reader.is_up_to_date();
                self.caught_up()
            }
        }
    }

    /// Everything is shown; true if that is the end, or something is to be said about it.
    fn caught_up(&mut self) -> bool {
        let is_news = !self.is_caught_up;
        self.is_caught_up = true;
        let view = &mut self.plan.view;
        match self.plan.mode {
            Mode::Follow if is_news => {
                let waits = !self.plan.exists && !view.has_messages();
                self.limits.not_started = waits.then(|| Instant::now() + NOT_STARTED_TIMEOUT);
                view.own(frame_name::CAUGHT_UP, None, &CaughtUp {});
                self.arm();
                return true;
            }
            Mode::Follow => {}
            Mode::Replay { .. } => {
                view.own(frame_name::CAUGHT_UP, None, &CaughtUp {});
                self.is_over = true;
            }
            Mode::Poll { until } => {
                self.is_over = view.progress.has_shown() || until <= Instant::now();
                if is_news {
                    self.arm();
                }
            }
        }
        self.is_over
    }

    fn on_timer(&mut self) {
        let at = Instant::now();
        if self.plan.view.has_messages() {
            self.limits.not_started = None;
        }
        if let Some(farewell) = self.limits.reached(at) {
            self.say(farewell);
        } else if matches!(self.plan.mode, Mode::Poll { until } if self.is_caught_up && until <= at)
        {
            self.is_over = true;
        } else if self.plan.mode == Mode::Follow && at >= self.sent_at + self.heartbeat {
            let data = Heartbeat { timestamp: now() };
            self.plan.view.own(frame_name::HEARTBEAT, None, &data);
            self.sent_at = at;
        }
        self.arm();
    }

    /// Sets the timer to what is due first. A heartbeat that has become later since is found to be
    /// so when the timer fires: setting it anew with each event would cost more.
    fn arm(&mut self) {
        let due = match self.plan.mode {
            Mode::Follow => self.sent_at + self.heartbeat,
            Mode::Poll { until } if self.is_caught_up => until,
            Mode::Poll { .. } | Mode::Replay { .. } => self.limits.lifetime,
        };
        self.timer.as_mut().reset(self.limits.first().min(due));
    }

    /// Ends the answer before its end.
    fn say(&mut self, farewell: Farewell) {
        if self.is_over {
            return;
        }
        let reason = farewell.reason();
        tracing::debug!(scope = ?self.plan.scope, reason, "reader sent away");
        if !matches!(self.plan.mode, Mode::Poll { .. }) {
            farewell.write(&mut self.plan.view);
        }
        self.farewell = Some(farewell);
        self.is_over = true;
    }
}

async fn next_event(source: &mut Source, subscription: &mut Option<Subscription>) -> Event {
    match source {
        Source::Reading(page) => Event::Page(page.await),
        Source::Resting(rest) => rest.as_mut().map(|()| Event::Rested).await,
        Source::Tail => match subscription {
            Some(subscription) => subscription.changed().map(|()| Event::Changed).await,
            None => Event::Changed,
        },
    }
}

async fn ticked(queued: &mut Option<Queued>) {
    match queued {
        Some(queued) => queued.changed().await,
        None => std::future::pending().await,
    }
}

async fn lived(life: &mut Option<Box<Life>>) -> bool {
    match life {
        Some(life) => life.changed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::Feed;

    /// There are thousands that wait. With what the connection needs besides (16 KiB or so), each costs
    /// little more than one of a bare server.
    #[test]
    fn a_waiting_reader_is_small() {
        fn size_of_future<'a, F>(_: impl FnOnce(&'a mut Feed) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size_of::<Feed>() + size_of_future(Feed::next_chunk);
        assert!(bytes <= 1536, "{bytes} bytes");
    }
}

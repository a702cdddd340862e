//! The bytes themselves, page by page from the log and the archive behind it.
//!
//! Invariant: whoever does not read holds one page of the log and the bytes of one message; pages
//! are read with the permits that all replays share. Bytes come in order and without a hole, or
//! not at all.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use axum::body::Bytes;
use rdev_bus::live::Scope;
use rdev_bus::{LogStream, Pace, ReadError, Stored};
use rdev_contract::envelope::{Message, Recorded};
use rdev_contract::event::OutputStream;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use rdev_domain::output::{OutputError, OutputJoiner, ends_before, is_before};
use tokio::time::Instant;

use crate::events::Replays;

/// Between two tries of a log that fails.
const LOG_RETRY_DELAY: Duration = Duration::from_millis(250);
/// How long the log may fail before an answer begins: a replica that lags is up to date by then.
pub(super) const OPENING_PATIENCE: Duration = Duration::from_secs(2);
/// How long the log may fail in the middle of an answer until the answer is broken off. A new
/// leader takes 4–10 s.
pub(super) const READING_PATIENCE: Duration = Duration::from_secs(30);
/// So many messages are rather read than searched: a look costs as much as a message.
const SEARCHED_MIN_MESSAGES: u64 = 4;

/// Why there are no more bytes.
#[derive(Debug, thiserror::Error)]
pub(super) enum BytesError {
    /// The log does not answer.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The next bytes are not in the log any more.
    #[error("the bytes behind {position} have expired")]
    Expired {
        /// Which would have come next.
        position: u64,
        /// The first one that is left.
        first_available: Option<u64>,
    },
    /// A message is not what its writer makes.
    #[error("message {sequence} of the log cannot be read: {reason}")]
    Unreadable {
        /// The message.
        sequence: StreamSeq,
        /// Why.
        reason: String,
    },
}

/// What is read, from where to where.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) exec: ExecId,
    pub(super) stream: OutputStream,
    /// The exec's first message.
    pub(super) command: StreamSeq,
    /// The exec's last message when the request came.
    pub(super) tail: StreamSeq,
}

/// The bytes that are still to come.
pub(super) struct OutputBytes {
    replays: Replays,
    pace: Pace,
    source: Source,
    joiner: OutputJoiner,
    /// Messages up to this one are read.
    after: StreamSeq,
    page: VecDeque<Recorded<Stored>>,
    /// These are to come.
    wanted: Range<u64>,
}

impl OutputBytes {
    /// Finds where the wanted bytes begin.
    pub(super) async fn open(
        replays: &Replays,
        source: Source,
        wanted: Range<u64>,
    ) -> Result<Self, ReadError> {
        let after = match wanted.start {
            // The command itself prints nothing.
            0 => source.command,
            first => search(replays, &source, first).await?,
        };
        Ok(Self {
            replays: replays.clone(),
            pace: Pace::default(),
            joiner: OutputJoiner::new(source.stream),
            source,
            after,
            page: VecDeque::new(),
            wanted,
        })
    }

    /// The next bytes; none when all have come. After an error of the log it may be asked again.
    async fn try_next(&mut self) -> Result<Option<Bytes>, BytesError> {
        while !self.wanted.is_empty() {
            while let Some(message) = self.page.pop_front() {
                self.after = message.sequence;
                if let Some(bytes) = self.take(&message)? {
                    return Ok(Some(bytes));
                }
            }
            if self.after >= self.source.tail {
                return Err(self.expired(None));
            }
            let page = self.read_page().await?;
            if page.is_empty() {
                return Err(self.expired(None));
            }
            self.page.extend(page);
        }
        Ok(None)
    }

    /// The next bytes; none when all have come. An outage of the log is waited for.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, BytesError> {
        let began = Instant::now();
        loop {
            match self.try_next().await {
                Err(BytesError::Log(error)) if began.elapsed() < patience => {
                    tracing::debug!(%error, "waiting for the log");
                    tokio::time::sleep(LOG_RETRY_DELAY).await;
                }
                other => return other,
            }
        }
    }

    /// What follows; nothing if that has expired. Only the leader can say so.
    async fn read_page(&mut self) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let (exec, tail) = (&self.source.exec, self.source.tail);
        let page = self
            .replays
            .log_page(exec, self.after, tail, &mut self.pace);
        let (history, page) = page.await?;
        let scope = Scope::Exec(exec.clone());
        if !history.may_lack(&scope, self.after, &page) {
            return Ok(page);
        }
        // Of what the log lacks, only the wanted bytes.
        let (stream, first) = (self.source.stream, self.wanted.start);
        let before = history.before_output(exec, stream, first).await?;
        let held = page.first().map_or(tail, |first| first.sequence);
        self.after = self
            .after
            .max(before.filter(|before| *before < held).unwrap_or_default());
        history
            .fill(&scope, self.after, tail, page, &mut self.pace)
            .await
    }

    /// What this message has of the wanted bytes.
    fn take(&mut self, message: &Recorded<Stored>) -> Result<Option<Bytes>, BytesError> {
        let Recorded { sequence, value } = message;
        let unreadable = |reason: String| BytesError::Unreadable {
            sequence: *sequence,
            reason,
        };
        let of_json = |error: serde_json::Error| unreadable(error.to_string());
        let of_event = |error: OutputError| unreadable(error.to_string());
        let message = Message::decode(&value.payload).map_err(of_json)?;
        if is_before(&message.head, self.source.stream, self.wanted.start) {
            return Ok(None);
        }
        let Some(stretch) = self.joiner.take(&message).map_err(of_event)? else {
            return Ok(None);
        };
        let end = stretch.end().min(self.wanted.end);
        if end <= self.wanted.start {
            return Ok(None);
        }
        if stretch.begin > self.wanted.start {
            return Err(self.expired(Some(stretch.begin)));
        }
        let within = |place: u64| usize::try_from(place - stretch.begin).unwrap_or(usize::MAX);
        let (from, to) = (within(self.wanted.start), within(end));
        self.wanted.start = end;
        Ok(Some(Bytes::from(stretch.bytes).slice(from..to)))
    }

    fn expired(&self, first_available: Option<u64>) -> BytesError {
        BytesError::Expired {
            position: self.wanted.start,
            first_available,
        }
    }
}

/// A message behind which the byte `first` is to be found: the places of an exec's messages are
/// halved until few are left, so that a range deep in a long output costs a few small reads.
async fn search(replays: &Replays, source: &Source, first: u64) -> Result<StreamSeq, ReadError> {
    let filter = Filter::exec(&source.exec);
    let (mut low, mut high) = (source.command, source.tail);
    while high.0.saturating_sub(low.0) > SEARCHED_MIN_MESSAGES {
        let middle = StreamSeq(low.0.midpoint(high.0));
        let (history, _permit) = replays.turn().await?;
        let next = history
            .bus()
            .next_message(LogStream::Exec, &filter, middle)
            .await?;
        // A replica that lags has no next one yet; then the search goes on before.
        let next = next.filter(|next| next.sequence < high);
        let is_before = next.as_ref().is_some_and(|next| {
            Message::decode(&next.value.payload)
                .is_ok_and(|message| ends_before(&message, source.stream, first))
        });
        match next {
            Some(next) if is_before => low = next.sequence,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

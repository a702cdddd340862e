//! Replays: pages of messages that match, from any replica.
//!
//! Batched direct gets are what the client library lacks; how many messages one asks for is decided
//! by [`Pace`].

use std::time::Duration;

use async_nats::header;
use async_recursion::async_recursion as boxed;
use futures::StreamExt;
use rdev_contract::envelope::Recorded;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use serde::Serialize;

use crate::read::{LAG_DELAY, LAG_LOOKS_MAX, LAGGING, trace_of};
use crate::{Bus, LogStream, Pace, ReadError, Stored};

/// Messages asked for in one batched direct get. The server stops at its own byte limit too.
pub const PAGE_MAX_MESSAGES: usize = 256;
/// Bytes after which a batched direct get ends: with the message that reaches it, this is what each
/// of many replays at a time holds in memory.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;
/// The longest pause between two messages of one page before the page is given up.
const PAGE_PAUSE: Duration = Duration::from_secs(5);
#[derive(Serialize)]
struct NextBatch<'a> {
    seq: u64,
    batch: usize,
    max_bytes: usize,
    next_by_subj: &'a str,
}

/// One page of a replay.
#[derive(Debug, Default)]
pub struct ReadPage {
    /// The messages, in the order of the log.
    pub messages: Vec<Recorded<Stored>>,
    /// Whether more matched when the page was made.
    pub more: bool,
}

impl Bus {
    /// The messages behind `after`, as many as fit one page.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn read_page(
        &self,
        stream: LogStream,
        filter: &Filter,
        after: StreamSeq,
    ) -> Result<ReadPage, ReadError> {
        let messages = PAGE_MAX_MESSAGES;
        self.batch(stream.name(), filter, after, messages).await
    }

    /// The messages behind `after` that come next at this pace; none if a replica has none there.
    /// For a replay that is known to end with the message `end`, as the leader said.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    #[boxed]
    pub async fn read_paced(
        &self,
        stream: LogStream,
        filter: &Filter,
        after: StreamSeq,
        end: StreamSeq,
        pace: &mut Pace,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        self.paced_of(stream.name(), filter, after, end, pace).await
    }

    /// The same of any stream.
    pub(crate) async fn paced_of(
        &self,
        stream: &str,
        filter: &Filter,
        after: StreamSeq,
        end: StreamSeq,
        pace: &mut Pace,
    ) -> Result<Vec<Recorded<Stored>>, ReadError> {
        let found = match pace.messages(after, end) {
            1 => {
                let next = self.next_at_replica(stream, filter, after).await?;
                next.into_iter().collect()
            }
            messages => self.batch(stream, filter, after, messages).await?.messages,
        };
        *pace = pace.behind(after, &found);
        Ok(found)
    }

    /// Hands over every message that matches and was stored before the call, in the order of the log.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer.
    pub async fn read_through(
        &self,
        stream: LogStream,
        filter: &Filter,
        mut take: impl FnMut(Recorded<Stored>),
    ) -> Result<(), ReadError> {
        let (mut after, mut lag_looks) = (StreamSeq(0), 0);
        let mut pace = Pace::default();
        loop {
            let end = match self.last_at_leader(stream, filter).await? {
                Some(last) if last.sequence > after => last.sequence,
                Some(_) | None => return Ok(()),
            };
            let page = self
                .read_paced(stream, filter, after, end, &mut pace)
                .await?;
            if page.is_empty() {
                if lag_looks >= LAG_LOOKS_MAX {
                    return Err(ReadError(LAGGING.to_owned()));
                }
                lag_looks += 1;
                tokio::time::sleep(LAG_DELAY).await;
            }
            for message in page {
                after = message.sequence;
                take(message);
            }
        }
    }

    async fn batch(
        &self,
        stream: &str,
        filter: &Filter,
        after: StreamSeq,
        messages: usize,
    ) -> Result<ReadPage, ReadError> {
        self.reachable()?;
        let request = NextBatch {
            seq: after.0 + 1,
            batch: messages,
            max_bytes: PAGE_BYTES,
            next_by_subj: filter.as_str(),
        };
        let mut connections = self.connections_from_now();
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let payload = serde_json::to_vec(&request).map_err(ReadError::of)?;
        let inbox = self.client.new_inbox();
        let mut answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(ReadError::of)?;
        self.client
            .publish_with_reply(subject, inbox, payload.into())
            .await
            .map_err(ReadError::of)?;
        let mut page = ReadPage::default();
        loop {
            let answer = tokio::select! {
                biased;
                answer = tokio::time::timeout(PAGE_PAUSE, answers.next()) => answer
                    .map_err(|_| ReadError("the server did not answer in time".to_owned()))?
                    .ok_or_else(|| ReadError("the connection was closed".to_owned()))?,
                // The rest of the page went down with the connection.
                _ = connections.changed() => return Err(ReadError("reconnected".to_owned())),
            };
            match answer.status.map(|status| status.as_u16()) {
                None => page.messages.push(direct_message(answer)?),
                Some(204) => {
                    page.more = header_number(&answer, "Nats-Num-Pending").unwrap_or(0) > 0;
                    return Ok(page);
                }
                Some(404) => return Ok(page),
                Some(code) => {
                    let text = answer.description.unwrap_or_default();
                    return Err(ReadError(format!("direct get was answered {code} {text}")));
                }
            }
        }
    }
}

fn header_number(message: &async_nats::Message, name: &str) -> Option<u64> {
    message.headers.as_ref()?.get(name)?.as_str().parse().ok()
}

fn direct_message(message: async_nats::Message) -> Result<Recorded<Stored>, ReadError> {
    let missing = || ReadError("a direct get's answer lacks its headers".to_owned());
    let sequence = header_number(&message, header::NATS_SEQUENCE.as_ref()).ok_or_else(missing)?;
    let headers = message.headers.as_ref().ok_or_else(missing)?;
    let subject = headers
        .get(header::NATS_SUBJECT)
        .ok_or_else(missing)?
        .as_str()
        .to_owned();
    let at = headers
        .get(header::NATS_TIME_STAMP)
        .ok_or_else(missing)?
        .as_str();
    let at = at.parse().map_err(ReadError::of)?;
    let value = Stored {
        subject,
        trace: trace_of(message.headers.as_ref()),
        payload: message.payload,
        at,
    };
    Ok(Recorded {
        sequence: StreamSeq(sequence),
        value,
    })
}

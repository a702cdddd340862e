//! Accepting a command: one atomic publish that creates the exec, or finds that it exists.

use std::time::Duration;

use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use jiff::Timestamp;
use rdev_contract::envelope::{Body, Chain, Head, Message, PAYLOAD_VERSION, Recorded, encode};
use rdev_contract::event::{Command, Kind};
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{Filter, Subject};
use rdev_contract::trace::TraceParent;

use crate::capacity::Room;
use crate::metrics::{METRICS, Written};
use crate::publish::{Fenced, NotStored};
use crate::{Bus, LogStream, ReadError};

/// What became of a command.
#[derive(Debug)]
pub enum Submitted {
    /// It is in the log, here.
    Created(StreamSeq),
    /// The exec existed already, with this command.
    Exists(Recorded<Box<Command>>),
}

/// Why a command was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// Not stored, and it will not be: the log cannot be reached.
    #[error("the log cannot be reached")]
    Unreachable,
    /// Not stored: the log is full.
    #[error("{0}")]
    Full(String),
    /// It may have been stored. Submitting it again under the same id tells.
    #[error("it is not known whether the command was stored: {0}")]
    Unknown(String),
    /// The exec id was used, and its command is no longer in the log.
    #[error("the exec id was used before")]
    Spent,
    /// The command cannot be written as JSON, or is larger than the server takes.
    #[error("cannot encode: {0}")]
    Encoding(String),
}

impl Bus {
    /// Stores `command` as the first message of its exec.
    ///
    /// # Errors
    /// See [`SubmitError`].
    #[boxed]
    pub async fn submit(
        &self,
        exec: &ExecId,
        command: &Command,
        at: Timestamp,
    ) -> Result<Submitted, SubmitError> {
        self.submit_in(exec, command, at, None).await
    }

    /// The same, as a part of this trace.
    ///
    /// # Errors
    /// See [`SubmitError`].
    #[boxed]
    pub async fn submit_in(
        &self,
        exec: &ExecId,
        command: &Command,
        at: Timestamp,
        trace: Option<TraceParent>,
    ) -> Result<Submitted, SubmitError> {
        // The client would keep the publish and send it after a reconnect, when the caller has
        // long been told that it failed.
        if !self.is_connected() {
            return Err(SubmitError::Unreachable);
        }
        if self.room().await != Room::Everybody {
            // A repeat takes no room.
            if let Some(found) = self.submitted(exec).await? {
                return Ok(found);
            }
            METRICS.refused();
            return Err(SubmitError::Full("the log is nearly full".to_owned()));
        }
        let head = head(exec, at);
        let encoding = |error: serde_json::Error| SubmitError::Encoding(error.to_string());
        let data = serde_json::value::to_raw_value(command).map_err(encoding)?;
        let encoded = encode(&head, &Body::Data(&data), &Chain::default()).map_err(encoding)?;
        let payload = Bytes::from(encoded.payload);
        let message = Fenced {
            subject: &Subject::exec(exec, Kind::Command),
            fence: &Filter::exec(exec),
            expected: StreamSeq(0),
            payload: payload.clone(),
            ttl: Some(self.command_ttl()),
            trace,
            written: Written::Exec(Kind::Command),
        };
        match self.publish_fenced(message).await {
            Ok(sequence) => Ok(Submitted::Created(sequence)),
            Err(NotStored::Full(reason)) => {
                self.submitted(exec).await?.ok_or(SubmitError::Full(reason))
            }
            Err(NotStored::TooLarge(reason)) => Err(SubmitError::Encoding(reason)),
            // One publish, refused: what is there is not ours, however equal it looks.
            Err(NotStored::Stale) => match self.submitted(exec).await? {
                Some(found) => Ok(found),
                None => Err(self.refused(exec).await),
            },
            Err(NotStored::Unknown(reason)) => self
                .existing(exec, Some(&payload))
                .await?
                .ok_or(SubmitError::Unknown(reason)),
        }
    }

    /// The exec's command, if one was submitted before and is still there.
    ///
    /// # Errors
    /// [`SubmitError::Unknown`] when the leader does not answer.
    #[boxed]
    pub async fn submitted(&self, exec: &ExecId) -> Result<Option<Submitted>, SubmitError> {
        self.existing(exec, None).await
    }

    /// Why the log refuses a command that it does not hold.
    async fn refused(&self, exec: &ExecId) -> SubmitError {
        match self.tail(exec).await {
            Ok(Some(_)) => SubmitError::Spent,
            // A leader that was just elected refuses what it should not.
            Ok(None) => SubmitError::Unknown("refused, but there is no such exec".to_owned()),
            Err(ReadError(reason)) => SubmitError::Unknown(reason),
        }
    }

    fn command_ttl(&self) -> Duration {
        self.config.facts_ttl
    }

    /// The exec's command at the leader: what we may have stored (the ack was lost), or another's.
    async fn existing(
        &self,
        exec: &ExecId,
        sent: Option<&Bytes>,
    ) -> Result<Option<Submitted>, SubmitError> {
        let unknown = |ReadError(reason): ReadError| SubmitError::Unknown(reason);
        let filter = Subject::exec(exec, Kind::Command).into();
        let Some(found) = self
            .last_at_leader(LogStream::Exec, &filter)
            .await
            .map_err(unknown)?
        else {
            return Ok(None);
        };
        if sent == Some(&found.value.payload) {
            return Ok(Some(Submitted::Created(found.sequence)));
        }
        let decoding = |error: serde_json::Error| SubmitError::Encoding(error.to_string());
        let message = Message::decode(&found.value.payload).map_err(decoding)?;
        let value: Command = message.fact().map_err(decoding)?;
        let value = Box::new(value);
        Ok(Some(Submitted::Exists(Recorded {
            sequence: found.sequence,
            value,
        })))
    }
}

fn head(exec: &ExecId, at: Timestamp) -> Head {
    Head {
        v: PAYLOAD_VERSION,
        project: exec.project.clone(),
        session: exec.session,
        stream: exec.stream.clone(),
        kind: Kind::Command.token().to_owned(),
        claim: None,
        attempt: 0,
        first: None,
        at,
        to: None,
        prev: StreamSeq(0),
    }
}

//! Session facts: appended with compare-and-set, read as the last message of each kind.

use std::time::Duration;

use async_recursion::async_recursion as boxed;
use rdev_contract::envelope::Recorded;
use rdev_contract::id::{ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{SessionFact, SessionKind, SessionMessage};
use rdev_contract::subject::{Filter, Subject};

use crate::metrics::Written;
use crate::publish::{Fenced, NotStored};
use crate::{Bus, LogStream, ReadError, Stored};

/// Tries to replace a fact that others replace at the same time, before giving up.
const RACES_MAX: u32 = 10;
/// Between two tries when the answer to a publish is unknown.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Why a session fact was not stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// The log cannot be reached or did not answer; trying again can help.
    #[error("the log did not answer: {0}")]
    Unavailable(String),
    /// A fact of this kind is there already.
    #[error("the session has this fact already")]
    Exists,
}

impl From<ReadError> for SessionError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(error.0)
    }
}

impl Bus {
    /// The last fact of each kind of a session, in the order of the log; none if there is no
    /// such session in this project (confirmed at the leader). Facts of kinds that only later builds know
    /// are passed over.
    ///
    /// # Errors
    /// [`ReadError`] when the server does not answer, or a fact cannot be read.
    #[boxed]
    pub async fn session_facts(
        &self,
        project: &ProjectId,
        session: SessionId,
    ) -> Result<Vec<Recorded<SessionMessage>>, ReadError> {
        let kinds = SessionKind::ALL.map(|kind| Subject::session(project, session, kind));
        let all = Filter::session(project, session);
        let found = self.last_of_each(LogStream::Session, &all, &kinds).await?;
        let mut facts = Vec::with_capacity(found.len());
        for stored in found.into_iter().filter(is_known) {
            facts.push(Recorded {
                sequence: stored.sequence,
                value: serde_json::from_slice(&stored.value.payload).map_err(ReadError::of)?,
            });
        }
        Ok(facts)
    }

    /// Stores a fact of which a session has at most one (`created`, `ended`). The very same message
    /// again is stored already.
    ///
    /// # Errors
    /// See [`SessionError`].
    #[boxed]
    pub async fn append_session_once(
        &self,
        message: &SessionMessage,
    ) -> Result<StreamSeq, SessionError> {
        if !self.is_connected() {
            return Err(SessionError::Unavailable("not connected".to_owned()));
        }
        let reason = match self.publish_session(message, StreamSeq(0)).await {
            Ok(sequence) => return Ok(sequence),
            Err(reason) => reason.to_string(),
        };
        let subject = subject_of(message).into();
        let Some(found) = self.last_at_leader(LogStream::Session, &subject).await? else {
            return Err(SessionError::Unavailable(reason));
        };
        let known: SessionMessage =
            serde_json::from_slice(&found.value.payload).map_err(ReadError::of)?;
        if known != *message {
            return Err(SessionError::Exists);
        }
        Ok(found.sequence)
    }

    /// Replaces the last fact of this kind, unless `keep` says that the one found is newer.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub async fn replace_session_fact(
        &self,
        message: &SessionMessage,
        keep: impl Fn(&SessionFact) -> bool,
    ) -> Result<(), SessionError> {
        let filter = subject_of(message).into();
        let mut reason = "others replaced it at the same time".to_owned();
        for _ in 0..RACES_MAX {
            let found = self.last_at_leader(LogStream::Session, &filter).await?;
            let mut expected = StreamSeq(0);
            if let Some(found) = found {
                expected = found.sequence;
                let known: SessionMessage =
                    serde_json::from_slice(&found.value.payload).map_err(ReadError::of)?;
                if known.fact == message.fact || keep(&known.fact) {
                    return Ok(());
                }
            }
            match self.publish_session(message, expected).await {
                Ok(_) => return Ok(()),
                Err(NotStored::Stale) => {}
                Err(
                    NotStored::Full(text) | NotStored::TooLarge(text) | NotStored::Unknown(text),
                ) => {
                    reason = text;
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
        Err(SessionError::Unavailable(reason))
    }

    async fn publish_session(
        &self,
        message: &SessionMessage,
        expected: StreamSeq,
    ) -> Result<StreamSeq, NotStored> {
        let subject = subject_of(message);
        let payload =
            serde_json::to_vec(message).map_err(|error| NotStored::Unknown(error.to_string()))?;
        self.publish_fenced(Fenced {
            subject: &subject,
            fence: &subject.clone().into(),
            expected,
            payload: payload.into(),
            ttl: None,
            trace: None,
            written: Written::Session,
        })
        .await
    }
}

fn is_known(stored: &Recorded<Stored>) -> bool {
    let kind = stored.value.subject.rsplit('.').next();
    kind.is_some_and(|kind| kind.parse::<SessionKind>().is_ok())
}

fn subject_of(message: &SessionMessage) -> Subject {
    Subject::session(&message.project, message.session, message.fact.kind())
}

//! Admitting an exec: one fenced publish behind its command, which executors take from there.

use std::time::Duration;

use async_recursion::async_recursion as boxed;
use jiff::Timestamp;
use rdev_contract::envelope::{Body, Chain, Message, Recorded};
use rdev_contract::event::{Admitted, Kind};
use rdev_contract::id::ExecId;
use rdev_contract::subject;

use crate::append::{AppendError, Entry, ExecWriter};
use crate::{Bus, ReadError, Stored};

/// Between two looks at an exec while the log does not answer.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// What became of an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitting {
    /// It is in the log.
    Stored,
    /// Another scheduler has admitted the exec, or it has ended: the log's next messages say which.
    Settled,
    /// The log holds nothing of this exec any more.
    Gone,
}

impl Bus {
    /// Admits the exec of `command`, whose chain value is given; waits until that is stored or never
    /// will be, through outages of any length. An exec that a version without a scheduler has
    /// started is admitted behind what that wrote, which fences its executor: another one goes on.
    #[boxed]
    pub async fn admit(
        &self,
        exec: &ExecId,
        command: Recorded<Chain>,
        scheduler: &str,
        at: Timestamp,
    ) -> Admitting {
        let admitted = Admitted {
            command_seq: command.sequence,
            scheduler: scheduler.to_owned(),
        };
        let data = match serde_json::value::to_raw_value(&admitted) {
            Ok(data) => data,
            Err(error) => return unwritable(exec, &error.to_string()),
        };
        let mut tail = command;
        loop {
            let entry = Entry {
                kind: Kind::Admitted,
                first: None,
                to: None,
                body: Body::Data(&data),
            };
            let mut writer = ExecWriter::new(self.clone(), exec.clone(), None, 0, tail);
            match writer.append(entry, at).await {
                Ok(_) => return Admitting::Stored,
                Err(AppendError::Vanished) => return Admitting::Gone,
                Err(AppendError::Encoding(reason)) => return unwritable(exec, &reason),
                Err(AppendError::Fenced { .. }) => {}
            }
            match self.unadmitted_tail(exec).await {
                Ok(found) => tail = found,
                Err(admitting) => return admitting,
            }
        }
    }

    /// The last message of an exec that was neither admitted nor has ended.
    async fn unadmitted_tail(&self, exec: &ExecId) -> Result<Recorded<Chain>, Admitting> {
        let messages = loop {
            match self.last_of_each_kind(exec).await {
                Ok(messages) => break messages,
                Err(ReadError(reason)) => {
                    tracing::debug!(stream.id = %exec.stream, reason, "exec not read");
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        };
        let is_settled = |message: &Recorded<Stored>| {
            let kind = subject::parse_exec(&message.value.subject).map(|(_, kind)| kind);
            [Ok(Kind::Admitted.token()), Ok(Kind::Complete.token())].contains(&kind)
        };
        if messages.iter().any(is_settled) {
            return Err(Admitting::Settled);
        }
        let tail = messages.last().ok_or(Admitting::Gone)?;
        let message = Message::decode(&tail.value.payload);
        Ok(Recorded {
            sequence: tail.sequence,
            // What cannot be read cannot be linked to either.
            value: message.map(|message| message.chain).unwrap_or_default(),
        })
    }
}

/// Not a state that a few numbers and names can be in; whoever waits for it is told by the log.
fn unwritable(exec: &ExecId, reason: &str) -> Admitting {
    tracing::error!(stream.id = %exec.stream, reason, "an admission cannot be written");
    Admitting::Settled
}

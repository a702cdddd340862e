//! A question that nobody has answered in time: the order that follows from that is given as any other,
//! behind the last one. So of it and an answer that comes late, one is stored, and everybody sees which.

use std::time::Duration;

use rdev_bus::Bus;
use rdev_bus::control::OrderError;
use rdev_contract::control::{ControlMessage, Given};
use rdev_contract::event::{Answer, AnsweredBy, CommandSpec, Decision, OnTimeout, Requester};
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_domain::approval::{NOBODY_ANSWERED, list};
use rdev_domain::control::{self, Addition};

use crate::context::now;

/// Between two tries while the log does not answer.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// What happens to an exec's questions that nobody answers.
#[derive(Debug, Clone, Copy)]
pub struct TimeOut {
    /// What was given to it before its first order.
    at_first: Given,
    on_timeout: OnTimeout,
}

impl TimeOut {
    /// As it was asked for; none if its agent does not ask.
    #[must_use]
    pub fn of(spec: &CommandSpec) -> Option<Self> {
        let policy = spec.approvals?;
        Some(Self {
            at_first: control::given_with(spec),
            on_timeout: policy.on_timeout,
        })
    }

    /// Gives the order, unless somebody was faster. The order is carried out when it comes.
    pub(crate) async fn give(self, bus: Bus, exec: ExecId, approval_id: String) {
        while let Err(error) = self.try_to_give(&bus, &exec, &approval_id).await {
            tracing::debug!(stream.id = %exec.stream, %error, "a time-out is given again");
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    async fn try_to_give(
        self,
        bus: &Bus,
        exec: &ExecId,
        approval_id: &str,
    ) -> Result<(), OrderError> {
        let unavailable = |error: rdev_bus::ReadError| OrderError::Unavailable(error.to_string());
        let orders = bus.kept_orders(exec).await.map_err(unavailable)?;
        if list::is_answered(&orders, approval_id) {
            return Ok(());
        }
        let last = orders.last();
        let after = last.map_or(StreamSeq(0), |last| last.sequence);
        let before = last.map_or(self.at_first, |last| last.value.given);
        let Some(Addition { order, given }) = self.addition(&before, approval_id) else {
            return Ok(());
        };
        let by = Requester {
            agent: "rdev executor".to_owned(),
            ..Requester::default()
        };
        let message = ControlMessage::new(exec, now(), by, given, order);
        bus.give(exec, &message, after).await.map(|_| ())
    }

    /// None if the exec has been canceled.
    fn addition(self, before: &Given, approval_id: &str) -> Option<Addition> {
        match self.on_timeout {
            OnTimeout::Cancel => control::cancel(before, NOBODY_ANSWERED),
            OnTimeout::Deny => {
                let answer = Answer {
                    message: NOBODY_ANSWERED.to_owned(),
                    ..Answer::of(Decision::Deny)
                };
                let by = AnsweredBy::Timeout;
                Some(list::order(before, approval_id, answer, by))
            }
        }
    }
}

//! Executes changes, and the move of the position, in one transaction.
//!
//! Statements are pipelined: a transaction of hundreds of changes costs a few round trips.

mod session;

use async_recursion::async_recursion as boxed;
use deadpool_postgres::Transaction;
use futures::FutureExt as _;
use futures::future::{BoxFuture, try_join_all};
use rdev_contract::agent::Agent;
use rdev_contract::id::ExecId;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Statement;
use tokio_postgres::types::{Json, ToSql};

use crate::change::{
    AgentAnswered, AgentResult, Change, Commanded, Completed, ConversationHeld, Poisoned,
    RunCounted, Started, TokenCounts, ToolAdded,
};
use crate::failure::WriteError;
use crate::pool::Database;
use crate::position::{FOLD_VERSION, Place, moved, signed};
use crate::sql;
use crate::storable;

/// Statements that are under way at once. A future sends its statement when it is first polled,
/// and these are polled in order; so the server executes them in order.
const PIPELINE_STATEMENTS: usize = 30;

type Parameters<'a> = [&'a (dyn ToSql + Sync)];

/// A transaction in the making: the position is moved, rows can be changed, nothing is seen by
/// others until [`Writer::commit`]. Dropped without it, nothing happened.
pub struct Writer<'a> {
    transaction: Transaction<'a>,
    statements: Statements,
}

/// A connection to write with.
pub struct WriterConnection {
    client: deadpool_postgres::Client,
}

/// A part of an agent's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentPart {
    /// 0, 1, 2 …
    pub part: u32,
    /// A piece of JSON text.
    pub content: Vec<u8>,
}

struct Statements {
    session_created: Statement,
    session_linked: Statement,
    session_codex_linked: Statement,
    session_pod_told: Statement,
    session_warned: Statement,
    session_ended: Statement,
    commanded: Statement,
    started: Statement,
    resumed: Statement,
    agent_begun: Statement,
    answered: Statement,
    agent_result: Statement,
    run_counted: Statement,
    tool_added: Statement,
    tools_held: Statement,
    fragment_added: Statement,
    completed: Statement,
    conversation_held: Statement,
    codex_conversation_held: Statement,
    user_message: Statement,
    assistant_message: Statement,
    poisoned: Statement,
}

impl Statements {
    /// Each is prepared once for a connection; from then on this asks nobody.
    async fn of(transaction: &Transaction<'_>) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            session_created: prepare(transaction, sql::SESSION_CREATED).await?,
            session_linked: prepare(transaction, sql::SESSION_LINKED).await?,
            session_codex_linked: prepare(transaction, sql::SESSION_CODEX_LINKED).await?,
            session_pod_told: prepare(transaction, sql::SESSION_POD_TOLD).await?,
            session_warned: prepare(transaction, sql::SESSION_WARNED).await?,
            session_ended: prepare(transaction, sql::SESSION_ENDED).await?,
            commanded: prepare(transaction, sql::EXEC_COMMANDED).await?,
            started: prepare(transaction, sql::EXEC_STARTED).await?,
            resumed: prepare(transaction, sql::EXEC_RESUMED).await?,
            agent_begun: prepare(transaction, sql::AGENT_BEGUN).await?,
            answered: prepare(transaction, sql::EXEC_ANSWERED).await?,
            agent_result: prepare(transaction, sql::EXEC_RESULT).await?,
            run_counted: prepare(transaction, &sql::run_counted()).await?,
            tool_added: prepare(transaction, sql::TOOL_ADDED).await?,
            tools_held: prepare(transaction, sql::TOOLS_HELD).await?,
            fragment_added: prepare(transaction, sql::FRAGMENT_ADDED).await?,
            completed: prepare(transaction, sql::EXEC_COMPLETED).await?,
            conversation_held: prepare(transaction, sql::CONVERSATION_HELD).await?,
            codex_conversation_held: prepare(transaction, sql::CODEX_CONVERSATION_HELD).await?,
            user_message: prepare(transaction, sql::USER_MESSAGE).await?,
            assistant_message: prepare(transaction, sql::ASSISTANT_MESSAGE).await?,
            poisoned: prepare(transaction, sql::POISONED).await?,
        })
    }
}

/// Boxed, because the 22 of [`Statements::of`] would otherwise be 22 copies in one future.
fn prepare<'a>(
    transaction: &'a Transaction<'_>,
    statement: &'a str,
) -> BoxFuture<'a, Result<Statement, tokio_postgres::Error>> {
    transaction.prepare_cached(statement).boxed()
}

impl Database {
    /// A connection to write with.
    ///
    /// # Errors
    /// See [`WriteError`].
    #[boxed]
    pub async fn writing(&self) -> Result<WriterConnection, WriteError> {
        Ok(WriterConnection {
            client: self.client().await?,
        })
    }
}

impl WriterConnection {
    /// Begins a transaction that moves the position of `stream` from `from` to `to`. Either all of
    /// it happens, or nothing.
    ///
    /// # Errors
    /// [`WriteError::Moved`] when the position is not at `from`; see [`WriteError`].
    #[boxed]
    pub async fn begin<'a>(
        &'a mut self,
        stream: &str,
        from: Place,
        to: Place,
    ) -> Result<Writer<'a>, WriteError> {
        let transaction = self.client.transaction().await?;
        let position_move = transaction.prepare_cached(sql::POSITION_MOVE).await?;
        let statements = Statements::of(&transaction).await?;
        let count = transaction
            .execute(
                &position_move,
                &[
                    &stream,
                    &from.log.timestamp(),
                    &signed(from.sequence.0),
                    &to.log.timestamp(),
                    &signed(to.sequence.0),
                    &FOLD_VERSION,
                ],
            )
            .await?;
        moved(count)?;
        Ok(Writer {
            transaction,
            statements,
        })
    }
}

impl Writer<'_> {
    /// Makes all of it happen.
    ///
    /// # Errors
    /// See [`WriteError`]; whether it happened is not known then, and the position tells.
    pub async fn commit(self) -> Result<(), WriteError> {
        Ok(self.transaction.commit().await?)
    }

    /// Executes changes, in order.
    ///
    /// # Errors
    /// See [`WriteError`]; the transaction cannot go on then.
    #[boxed]
    pub async fn apply(&self, changes: &[Change]) -> Result<(), WriteError> {
        for group in changes.chunks(PIPELINE_STATEMENTS) {
            try_join_all(group.iter().map(|change| self.apply_one(change))).await?;
        }
        Ok(())
    }

    /// Takes all parts of the agent's line that an exec has under way, in order.
    ///
    /// # Errors
    /// See [`WriteError`].
    #[boxed]
    pub async fn take_fragments(&self, exec: &ExecId) -> Result<Vec<FragmentPart>, WriteError> {
        let statement = self
            .transaction
            .prepare_cached(sql::FRAGMENTS_TAKEN)
            .await?;
        let key: &Parameters<'_> = &[
            &exec.project.as_str(),
            &exec.session.uuid(),
            &exec.stream.as_str(),
        ];
        let mut parts = Vec::new();
        for row in self.transaction.query(&statement, key).await? {
            let part: i64 = row.try_get("part")?;
            let part = u32::try_from(part).unwrap_or(u32::MAX);
            parts.push(FragmentPart {
                part,
                content: row.try_get("content")?,
            });
        }
        parts.sort_by_key(|found| found.part);
        Ok(parts)
    }

    async fn execute(
        &self,
        statement: &Statement,
        parameters: &Parameters<'_>,
    ) -> Result<(), tokio_postgres::Error> {
        self.transaction
            .execute(statement, parameters)
            .await
            .map(drop)
    }

    async fn apply_one(&self, change: &Change) -> Result<(), tokio_postgres::Error> {
        let statements = &self.statements;
        match change {
            Change::SessionCreated(created) => self.session_created(created).await,
            Change::SessionLinked(linked) => self.session_linked(linked).await,
            Change::SessionPodTold(told) => self.session_pod_told(told).await,
            Change::SessionWarned(warned) => self.session_warned(warned).await,
            Change::SessionEnded(ended) => self.session_ended(ended).await,
            Change::Commanded(commanded) => self.commanded(commanded).await,
            Change::Started(started) => self.started(started).await,
            Change::Resumed(resumed) => {
                let (log, attempt) = (resumed.log.timestamp(), attempts(resumed.attempt));
                let executor = storable::text(&resumed.executor);
                let rest: &Parameters<'_> = &[&log, &resumed.at, &attempt, &executor];
                self.execute_of(&statements.resumed, &resumed.exec, rest)
                    .await
            }
            Change::AgentBegun(begun) => {
                let (log, version) = (begun.log.timestamp(), storable::text(&begun.version));
                let rest: &Parameters<'_> = &[&log, &begun.at, &version, &begun.counts_alone];
                self.execute_of(&statements.agent_begun, &begun.exec, rest)
                    .await
            }
            Change::AgentAnswered(answered) => self.answered(answered).await,
            Change::AgentResult(result) => self.agent_result(result).await,
            Change::RunCounted(counted) => self.run_counted(counted).await,
            Change::ToolAdded(added) => self.tool_added(added).await,
            Change::ToolsHeld(held) => {
                let rest: &Parameters<'_> = &[&held.conversation.uuid()];
                self.execute_of(&statements.tools_held, &held.exec, rest)
                    .await
            }
            Change::FragmentAdded(added) => {
                let rest: &Parameters<'_> = &[&i64::from(added.part), &added.content];
                self.execute_of(&statements.fragment_added, &added.exec, rest)
                    .await
            }
            Change::Completed(completed) => self.completed(completed).await,
            Change::ConversationHeld(held) => self.conversation_held(held).await,
            Change::UserMessage(message) => {
                let rest: &Parameters<'_> = &[&message.id.0, &message.conversation.uuid()];
                self.execute_of(&statements.user_message, &message.exec, rest)
                    .await
            }
            Change::AssistantMessage(message) => {
                let rest: &Parameters<'_> =
                    &[&message.id.0, &message.conversation.uuid(), &message.at];
                self.execute_of(&statements.assistant_message, &message.exec, rest)
                    .await
            }
            Change::Poisoned(poisoned) => self.poisoned(poisoned).await,
        }
    }

    /// A statement whose first three parameters are the exec's id.
    async fn execute_of(
        &self,
        statement: &Statement,
        exec: &ExecId,
        rest: &Parameters<'_>,
    ) -> Result<(), tokio_postgres::Error> {
        let (project, session, stream) = (
            exec.project.as_str(),
            exec.session.uuid(),
            exec.stream.as_str(),
        );
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&project, &session, &stream];
        parameters.extend_from_slice(rest);
        self.execute(statement, &parameters).await
    }

    async fn commanded(&self, commanded: &Commanded) -> Result<(), tokio_postgres::Error> {
        let rest: &Parameters<'_> = &[
            &commanded.log.timestamp(),
            &commanded.at,
            &commanded.kind,
            &storable::optional(commanded.command.as_deref()),
            &storable::optional(commanded.prompt.as_deref()),
            &storable::list(&commanded.args),
            &storable::optional(commanded.cwd.as_deref()),
            &signed(commanded.timeout_seconds),
            &document(&commanded.by),
            &signed(commanded.sequence.0),
        ];
        self.execute_of(&self.statements.commanded, &commanded.exec, rest)
            .await
    }

    async fn started(&self, started: &Started) -> Result<(), tokio_postgres::Error> {
        let rest: &Parameters<'_> = &[
            &started.log.timestamp(),
            &started.at,
            &attempts(started.attempt),
            &storable::text(&started.executor),
            &storable::list(&started.argv),
            &started.resume_id.map(|id| id.uuid()),
            &document(&started.pod),
        ];
        self.execute_of(&self.statements.started, &started.exec, rest)
            .await
    }

    async fn answered(&self, answered: &AgentAnswered) -> Result<(), tokio_postgres::Error> {
        let rest: &Parameters<'_> = &[
            &answered.log.timestamp(),
            &answered.at,
            &storable::optional(answered.text.as_deref()),
        ];
        self.execute_of(&self.statements.answered, &answered.exec, rest)
            .await
    }

    async fn agent_result(&self, result: &AgentResult) -> Result<(), tokio_postgres::Error> {
        let rest: &Parameters<'_> = &[
            &result.log.timestamp(),
            &result.at,
            &storable::text(&result.subtype),
            &result.is_error,
            &result.total_cost_usd,
            &result.usage.as_ref().map(storable::json),
            &result.model_usage.as_ref().map(storable::json),
        ];
        self.execute_of(&self.statements.agent_result, &result.exec, rest)
            .await
    }

    async fn run_counted(&self, counted: &RunCounted) -> Result<(), tokio_postgres::Error> {
        let signed = |tokens: Option<TokenCounts>, of: fn(TokenCounts) -> u64| {
            tokens.map(|tokens| signed(of(tokens)))
        };
        let (total, alone) = (counted.total, counted.alone);
        let rest: &Parameters<'_> = &[
            &signed(total, |tokens| tokens.input),
            &signed(total, |tokens| tokens.output),
            &signed(total, |tokens| tokens.cache_read),
            &signed(total, |tokens| tokens.cache_write),
            &counted.alone_cost_usd,
            &signed(alone, |tokens| tokens.input),
            &signed(alone, |tokens| tokens.output),
            &signed(alone, |tokens| tokens.cache_read),
            &signed(alone, |tokens| tokens.cache_write),
        ];
        self.execute_of(&self.statements.run_counted, &counted.exec, rest)
            .await
    }

    async fn tool_added(&self, added: &ToolAdded) -> Result<(), tokio_postgres::Error> {
        let rest: &Parameters<'_> = &[
            &signed(added.step),
            &added.id.0,
            &added.role,
            &storable::text(&added.tool_use_id),
            &storable::optional(added.tool_name.as_deref()),
            &storable::optional(added.parent_tool_use_id.as_deref()),
            &added.is_error,
            &storable::text(&added.content),
            &added.truncated,
            &added.at,
        ];
        self.execute_of(&self.statements.tool_added, &added.exec, rest)
            .await
    }

    async fn completed(&self, completed: &Completed) -> Result<(), tokio_postgres::Error> {
        let complete = &completed.complete;
        let present = |text: &'_ str| (!text.is_empty()).then(|| storable::text(text).into_owned());
        let rest: &Parameters<'_> = &[
            &completed.log.timestamp(),
            &completed.at,
            &signed(completed.sequence.0),
            &complete.outcome.name(),
            &complete.exit_code,
            &complete.ok,
            &complete.signal,
            &storable::text(&complete.reason),
            &signed(complete.duration_ms),
            &complete.stdout_bytes.map(signed),
            &complete.stderr_bytes.map(signed),
            &storable::optional(complete.stdout_sha256.as_deref()),
            &storable::optional(complete.stderr_sha256.as_deref()),
            &present(&complete.claude_session_id),
            &present(&complete.conversation_id),
            &present(&complete.codex_session_id),
        ];
        self.execute_of(&self.statements.completed, &completed.exec, rest)
            .await
    }

    async fn conversation_held(
        &self,
        held: &ConversationHeld,
    ) -> Result<(), tokio_postgres::Error> {
        let rest: &Parameters<'_> = &[
            &held.conversation.uuid(),
            &held.title,
            &held.agent_session.uuid(),
            &held.at,
        ];
        let statement = match held.agent {
            Agent::Claude => &self.statements.conversation_held,
            Agent::Codex => &self.statements.codex_conversation_held,
        };
        self.execute_of(statement, &held.exec, rest).await
    }

    async fn poisoned(&self, poisoned: &Poisoned) -> Result<(), tokio_postgres::Error> {
        let parameters: &Parameters<'_> = &[
            &poisoned.stream,
            &poisoned.log.timestamp(),
            &signed(poisoned.sequence.0),
            &storable::text(&poisoned.subject),
            &poisoned.payload,
            &poisoned.stored_at,
            &storable::text(&poisoned.reason),
        ];
        self.execute(&self.statements.poisoned, parameters).await
    }
}

fn attempts(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

/// A fact's part as JSON. Types of the contract can always be written.
fn document<T: Serialize>(part: &T) -> Json<Value> {
    Json(storable::json(
        &serde_json::to_value(part).unwrap_or(Value::Null),
    ))
}

//! The gateway's queries. Each names the project it is for.

use std::time::Duration;

use async_recursion::async_recursion as boxed;
use rdev_contract::http::{
    ConversationView, ExecView, MessageView, Page, SessionView, UsageTotals,
};
use rdev_contract::id::{ConversationId, ExecId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::address::{PostgresUrl, STATEMENT_TIMEOUT};
use crate::failure::ReadError;
use crate::filter::{ConversationFilter, ExecFilter, Progress, SessionFilter, TimeRange};
use crate::page::{
    ConversationKey, ExecKey, Key, MessageKey, PageLimit, PageRequest, ProjectExecKey, SessionKey,
};
use crate::poison::PoisonedAt;
use crate::pool::Database;
use crate::position::Position;
use crate::{row, sql};

/// The server ends a statement of its own accord before this ([`STATEMENT_TIMEOUT`]). One that is frozen
/// or cut off without a word does not, and a client should be told before it gives up.
const ANSWER_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(2));

/// The read model, to be read. Cheap to clone.
#[derive(Clone)]
pub struct ReadModel {
    database: Database,
}

impl ReadModel {
    /// Of this database. Connects when it is first asked something.
    #[must_use]
    pub fn new(url: &PostgresUrl) -> Self {
        Self {
            database: Database::for_reading(url),
        }
    }

    /// How many connections there are: see [`Database::connections`].
    #[must_use]
    pub fn connections(&self) -> [(&'static str, usize); 4] {
        self.database.connections()
    }

    /// Whether all connections that there may be are in use, so that whoever asks now has to wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.database.is_busy()
    }

    /// Whether PostgreSQL answers and has the tables.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn check(&self) -> Result<(), ReadError> {
        self.positions().await.map(drop)
    }

    /// The first projects behind `after` by name that have or had a session.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn projects(&self, after: &str, limit: i64) -> Result<Vec<String>, ReadError> {
        let rows = self.query(sql::PROJECTS, &[&after, &limit]).await?;
        let names = rows.iter().map(|row| Ok(row.try_get("project")?));
        names.collect()
    }

    /// A project's sessions, newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn sessions(
        &self,
        project: &ProjectId,
        filter: &SessionFilter,
        request: &PageRequest,
    ) -> Result<Page<SessionView>, ReadError> {
        let key = SessionKey::of_request(request)?.within(&filter.range);
        let rows = self
            .query(
                &sql::sessions(filter.status),
                &[
                    &project.as_str(),
                    &key.created_at,
                    &key.id,
                    &filter.range.since(),
                    &request.limit.rows(),
                ],
            )
            .await?;
        page(&rows, request.limit, |row| row::session(project, row))
    }

    /// Execs of a project or of one of its sessions, newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn execs(
        &self,
        project: &ProjectId,
        filter: &ExecFilter,
        request: &PageRequest,
    ) -> Result<Page<ExecView>, ReadError> {
        let key = match filter.session {
            Some(session) => ExecKey::of_request(request)?.of_session(session),
            None => ProjectExecKey::of_request(request)?,
        };
        let key = key.within(&filter.range);
        let session = filter.session.map_or(key.session, SessionId::uuid);
        let (since, limit) = (filter.range.since(), request.limit.rows());
        let project = project.as_str();
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &project,
            &key.created_at,
            &session,
            &key.stream,
            &since,
            &limit,
        ];
        let outcome;
        if let Progress::Outcome(wanted) = filter.progress {
            outcome = wanted.name();
            parameters.push(&outcome);
        }
        let statement = sql::execs(filter.session.is_some(), filter.progress);
        let rows = self.query(&statement, &parameters).await?;
        match filter.session {
            Some(_) => page(&rows, request.limit, |row| {
                row::exec(row).map(|(key, view)| (key.in_session(), view))
            }),
            None => page(&rows, request.limit, row::exec),
        }
    }

    /// One exec, if it was projected already.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn exec(&self, exec: &ExecId) -> Result<Option<ExecView>, ReadError> {
        let rows = self
            .query(
                &sql::exec(),
                &[
                    &exec.project.as_str(),
                    &exec.session.uuid(),
                    &exec.stream.as_str(),
                ],
            )
            .await?;
        rows.first().map(row::whole_exec).transpose()
    }

    /// What the runs of agents in this time cost: of a project, or of one of its sessions.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn usage(
        &self,
        project: &ProjectId,
        session: Option<SessionId>,
        range: &TimeRange,
    ) -> Result<UsageTotals, ReadError> {
        let (project, since, until) = (project.as_str(), range.since(), range.until());
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&project, &since, &until];
        let id;
        if let Some(session) = session {
            id = session.uuid();
            parameters.push(&id);
        }
        let rows = self
            .query(&sql::usage(session.is_some()), &parameters)
            .await?;
        let row = rows.first().map(row::usage_totals);
        row.unwrap_or_else(|| Ok(UsageTotals::default()))
    }

    /// A project's conversations, newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn conversations(
        &self,
        project: &ProjectId,
        filter: &ConversationFilter,
        request: &PageRequest,
    ) -> Result<Page<ConversationView>, ReadError> {
        let key = ConversationKey::of_request(request)?.within(&filter.range);
        let (since, limit) = (filter.range.since(), request.limit.rows());
        let project_name = project.as_str();
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&project_name, &key.created_at, &key.id, &since, &limit];
        let wanted;
        if let Some(session) = filter.session {
            wanted = session.conversation().uuid();
            parameters.push(&wanted);
        }
        let statement = sql::conversations(filter.session.is_some());
        let rows = self.query(&statement, &parameters).await?;
        page(&rows, request.limit, |row| row::conversation(project, row))
    }

    /// One conversation, with what it cost so far; `None` where no exec of its session yielded one of an agent.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn conversation(
        &self,
        project: &ProjectId,
        conversation: ConversationId,
    ) -> Result<Option<ConversationView>, ReadError> {
        let rows = self
            .query(
                sql::CONVERSATION,
                &[&project.as_str(), &conversation.uuid()],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let (_, view) = row::conversation(project, row)?;
        let session = SessionId::new(row.try_get("session")?);
        let ever = TimeRange::default();
        Ok(Some(ConversationView {
            usage: Some(self.usage(project, Some(session), &ever).await?),
            ..view
        }))
    }

    /// A conversation's messages, oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn messages(
        &self,
        project: &ProjectId,
        conversation: ConversationId,
        request: &PageRequest,
    ) -> Result<Page<MessageView>, ReadError> {
        let key = MessageKey::of_request(request)?;
        let rows = self
            .query(
                sql::MESSAGES,
                &[
                    &project.as_str(),
                    &conversation.uuid(),
                    &key.turn_at,
                    &key.stream,
                    &key.ordinal,
                    &key.tool_step(),
                    &request.limit.rows(),
                ],
            )
            .await?;
        page(&rows, request.limit, row::message)
    }

    /// Up to where each stream of the log is in the tables.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn positions(&self) -> Result<Vec<Position>, ReadError> {
        self.database.positions().await
    }

    /// Whether everything up to this place of a stream is in the tables. A projection that is
    /// caught up is past messages that make no rows, too.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn is_past(&self, stream: &str, sequence: StreamSeq) -> Result<bool, ReadError> {
        let place = self.database.position(stream).await?;
        Ok(place.is_some_and(|place| place.sequence >= sequence))
    }

    /// How many messages of the log could not be projected.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn poison_count(&self) -> Result<u64, ReadError> {
        self.database.poison_count(None).await
    }

    /// The messages that could not be projected, newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[boxed]
    pub async fn poison(&self, limit: PageLimit) -> Result<Vec<PoisonedAt>, ReadError> {
        self.database.poison(limit).await
    }

    async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ReadError> {
        let client = self.database.client().await?;
        let answer = async {
            let statement = client.prepare_cached(statement).await?;
            client.query(&statement, parameters).await
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(rows) => Ok(rows?),
            Err(_) => {
                // Whoever got this connection next would wait behind the same answer.
                drop(deadpool_postgres::Object::take(client));
                Err(ReadError::Unavailable(
                    "PostgreSQL does not answer".to_owned(),
                ))
            }
        }
    }
}

/// The page of rows that were asked for with one more than the limit.
fn page<K: Key, T>(
    rows: &[Row],
    limit: PageLimit,
    read: impl Fn(&Row) -> Result<(K, T), ReadError>,
) -> Result<Page<T>, ReadError> {
    let mut items = Vec::with_capacity(rows.len());
    let mut last = None;
    for row in rows.iter().take(limit.items()) {
        let (key, item) = read(row)?;
        items.push(item);
        last = Some(key);
    }
    let more = rows.len() > limit.items();
    let next_cursor = last.filter(|_| more).map(|key| key.cursor());
    Ok(Page { items, next_cursor })
}

//! The gateway's queries. Each names the project it is for.

use rdev_contract::http::{ConversationView, ExecView, MessageView, Page, SessionView};
use rdev_contract::id::{ConversationId, ExecId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::address::PostgresUrl;
use crate::failure::ReadError;
use crate::page::{ConversationKey, ExecKey, Key, MessageKey, PageLimit, PageRequest, SessionKey};
use crate::pool::Database;
use crate::position::Position;
use crate::{row, sql};

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

    /// Whether PostgreSQL answers and has the tables.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn check(&self) -> Result<(), ReadError> {
        self.positions().await.map(drop)
    }

    /// A project's sessions, newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn sessions(
        &self,
        project: &ProjectId,
        request: &PageRequest,
    ) -> Result<Page<SessionView>, ReadError> {
        let key = SessionKey::of_request(request)?;
        let rows = self
            .query(
                sql::SESSIONS,
                &[
                    &project.as_str(),
                    &key.created_at,
                    &key.id,
                    &request.limit.rows(),
                ],
            )
            .await?;
        page(&rows, request.limit, |row| row::session(project, row))
    }

    /// A session's execs, newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn execs(
        &self,
        project: &ProjectId,
        session: SessionId,
        request: &PageRequest,
    ) -> Result<Page<ExecView>, ReadError> {
        let key = ExecKey::of_request(request)?;
        let rows = self
            .query(
                sql::EXECS,
                &[
                    &project.as_str(),
                    &session.uuid(),
                    &key.created_at,
                    &key.stream,
                    &request.limit.rows(),
                ],
            )
            .await?;
        page(&rows, request.limit, row::exec)
    }

    /// One exec, if it was projected already.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn exec(&self, exec: &ExecId) -> Result<Option<ExecView>, ReadError> {
        let rows = self
            .query(
                sql::EXEC,
                &[
                    &exec.project.as_str(),
                    &exec.session.uuid(),
                    &exec.stream.as_str(),
                ],
            )
            .await?;
        rows.first()
            .map(|row| row::exec(row).map(|(_, view)| view))
            .transpose()
    }

    /// A project's conversations, newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn conversations(
        &self,
        project: &ProjectId,
        request: &PageRequest,
    ) -> Result<Page<ConversationView>, ReadError> {
        let key = ConversationKey::of_request(request)?;
        let rows = self
            .query(
                sql::CONVERSATIONS,
                &[
                    &project.as_str(),
                    &key.created_at,
                    &key.id,
                    &request.limit.rows(),
                ],
            )
            .await?;
        page(&rows, request.limit, |row| row::conversation(project, row))
    }

    /// One conversation; `None` where no exec of its session yielded a claude session.
    ///
    /// # Errors
    /// See [`ReadError`].
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
        rows.first()
            .map(|row| row::conversation(project, row).map(|(_, view)| view))
            .transpose()
    }

    /// A conversation's messages, oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
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
    pub async fn positions(&self) -> Result<Vec<Position>, ReadError> {
        self.database.positions().await
    }

    /// Whether everything up to this place of a stream is in the tables. A projection that is
    /// caught up is past messages that make no rows, too.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn is_past(&self, stream: &str, sequence: StreamSeq) -> Result<bool, ReadError> {
        let place = self.database.position(stream).await?;
        Ok(place.is_some_and(|place| place.sequence >= sequence))
    }

    /// How many messages of the log could not be read.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn poison_count(&self) -> Result<u64, ReadError> {
        let rows = self.query(sql::POISON_COUNT, &[]).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get("messages"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ReadError> {
        let client = self.database.client().await?;
        let statement = client.prepare_cached(statement).await?;
        Ok(client.query(&statement, parameters).await?)
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

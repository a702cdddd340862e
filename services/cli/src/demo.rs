//! A project and a session to try things with, and the first three commands to paste.

use std::path::Path;
use std::time::Duration;

use rdev_contract::http::{CreateSession, SessionView};
use rdev_contract::key::ApiKey;
use tokio::time::Instant;

use crate::api::local_client;

/// The project that the demo session belongs to.
pub(crate) const PROJECT: &str = "demo";
/// Its pod: a directory of this machine.
const POD: &str = "workspace";
/// Remembers the demo session over restarts.
const SESSION_FILE: &str = "demo-session";
/// A start on a slow machine, a first migration included, is well within this.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a gateway that does not answer yet.
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// Asks the gateway, with a key.
pub(crate) struct Demo<'a> {
    /// Its address.
    pub(crate) base: &'a str,
    /// May do everything.
    pub(crate) key: &'a ApiKey,
    /// Whether whoever pastes something needs the key too.
    pub(crate) needs_key: bool,
}

impl Demo<'_> {
    /// Waits until the gateway serves and the read model can be read.
    ///
    /// # Errors
    /// Says what is missing when it takes too long.
    pub(crate) async fn wait_until_ready(&self) -> Result<(), String> {
        let client = local_client().map_err(|error| error.to_string())?;
        let Self { base, key, .. } = self;
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut missing = "the gateway does not answer".to_owned();
        while Instant::now() < deadline {
            // The list is read from PostgreSQL: it is there once the projector has migrated it.
            match client
                .get(format!("{base}/projects/{PROJECT}/sessions"))
                .bearer_auth(key)
                .send()
                .await
            {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => missing = answer.text().await.unwrap_or_default(),
                Err(error) => missing = error.to_string(),
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
        Err(format!(
            "not ready after {} s: {missing}",
            READY_TIMEOUT.as_secs()
        ))
    }

    /// The demo session: the one of the last start if it is still active, else a new one.
    ///
    /// # Errors
    /// Says what the gateway answered.
    pub(crate) async fn session(&self, data_dir: &Path) -> Result<SessionView, String> {
        let client = local_client().map_err(|error| error.to_string())?;
        let Self { base, key, .. } = self;
        let sessions = format!("{base}/projects/{PROJECT}/sessions");
        let file = data_dir.join(SESSION_FILE);
        if let Ok(id) = std::fs::read_to_string(&file) {
            let answer = client.get(format!("{sessions}/{}", id.trim()));
            let answer = answer.bearer_auth(key).send().await;
            if let Ok(answer) = answer
                && let Ok(session) = answer.json::<SessionView>().await
                && session.status == "active"
            {
                return Ok(session);
            }
        }
        let request = CreateSession {
            pod: Some(POD.to_owned()),
            ..CreateSession::default()
        };
        let answer = client
            .post(&sessions)
            .bearer_auth(key)
            .json(&request)
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let session: SessionView =
            serde_json::from_str(&text).map_err(|_| format!("no session was made: {text}"))?;
        std::fs::write(&file, &session.id)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(session)
    }

    /// Three lines to paste: run a command, follow it, read the conversation.
    pub(crate) fn walk_through(&self, session: &SessionView) -> String {
        let root = format!("{}/projects/{PROJECT}", self.base);
        let here = format!("{root}/sessions/{}", session.id);
        let key = if self.needs_key {
            format!(" -H 'authorization: Bearer {}'", self.key)
        } else {
            String::new()
        };
        let body = r#"{"type":"shell","command":"for i in 1 2 3; do date; sleep 1; done","stream_id":"first"}"#;
        format!(
            "  run a command:          curl -sS{key} -H 'content-type: application/json' {here}/exec -d '{body}'\n  \
           follow it:              curl -sSN{key} '{here}/events?stream_id=first'\n  \
           read the conversations: curl -sS{key} {root}/conversations"
        )
    }
}

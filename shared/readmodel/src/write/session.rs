//! Rows of sessions.

use rdev_contract::agent::Agent;

use super::{Parameters, Writer, document};
use crate::change::{SessionCreated, SessionEnded, SessionLinked, SessionPodTold, SessionWarned};
use crate::position::signed;
use crate::storable;

impl Writer<'_> {
    pub(super) async fn session_created(
        &self,
        created: &SessionCreated,
    ) -> Result<(), tokio_postgres::Error> {
        let (project, session, at) = (created.project.as_str(), created.session.uuid(), created.at);
        let created = &created.created;
        let pod = created.pod.as_ref().map_or("", |name| name.as_str());
        let namespace = created.namespace.as_ref().map(|name| name.as_str());
        let container = created.container.as_ref().map(|name| name.as_str());
        let template = created.template.as_ref().map(|name| name.as_str());
        let selector = (!created.selector.is_empty()).then(|| document(&created.selector));
        let idle = created.idle_timeout_seconds.map(signed);
        let parameters: &Parameters<'_> = &[
            &project,
            &session,
            &pod,
            &namespace,
            &container,
            &document(&created.by),
            &at,
            &template,
            &selector,
            &idle,
            &created.expires_at,
        ];
        self.execute(&self.statements.session_created, parameters)
            .await
    }

    pub(super) async fn session_linked(
        &self,
        linked: &SessionLinked,
    ) -> Result<(), tokio_postgres::Error> {
        let (project, session) = (linked.project.as_str(), linked.session.uuid());
        let (linked_to, stream) = (linked.agent_session.uuid(), linked.stream.as_str());
        let sequence = signed(linked.command_seq.0);
        let statements = &self.statements;
        match linked.agent {
            Agent::Claude => {
                let parameters: &Parameters<'_> =
                    &[&project, &session, &linked_to, &stream, &sequence];
                self.execute(&statements.session_linked, parameters).await
            }
            Agent::Codex => {
                let parameters: &Parameters<'_> = &[&project, &session, &linked_to, &sequence];
                self.execute(&statements.session_codex_linked, parameters)
                    .await
            }
        }
    }

    pub(super) async fn session_pod_told(
        &self,
        told: &SessionPodTold,
    ) -> Result<(), tokio_postgres::Error> {
        let (project, session) = (told.project.as_str(), told.session.uuid());
        let (state, message) = (told.state.name(), storable::text(&told.message));
        let parameters: &Parameters<'_> = &[&project, &session, &state, &message, &told.pod];
        self.execute(&self.statements.session_pod_told, parameters)
            .await
    }

    pub(super) async fn session_warned(
        &self,
        warned: &SessionWarned,
    ) -> Result<(), tokio_postgres::Error> {
        let (project, session) = (warned.project.as_str(), warned.session.uuid());
        let parameters: &Parameters<'_> = &[&project, &session, &warned.ends_at];
        self.execute(&self.statements.session_warned, parameters)
            .await
    }

    pub(super) async fn session_ended(
        &self,
        ended: &SessionEnded,
    ) -> Result<(), tokio_postgres::Error> {
        let (project, session) = (ended.project.as_str(), ended.session.uuid());
        let (by, reason) = (
            document(&ended.by),
            ended.reason.map(|reason| reason.name()),
        );
        let parameters: &Parameters<'_> = &[&project, &session, &by, &ended.at, &reason];
        self.execute(&self.statements.session_ended, parameters)
            .await
    }
}

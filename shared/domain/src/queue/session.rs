//! What the queue knows of one session as a whole: whether its pod is ready, and whether anything of
//! it is under way.

use rdev_contract::id::{ExecId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;

use super::Queue;

impl Queue {
    /// Nothing of this session is admitted until it is released: its pod is not ready. A command that
    /// awaits its pod does the same.
    pub fn hold(&mut self, project: &ProjectId, session: SessionId) {
        self.set_held(project, session, true);
    }

    /// The session's commands may be admitted.
    pub fn release(&mut self, project: &ProjectId, session: SessionId) {
        let line = self.projects.get(project);
        if line.is_some_and(|project| project.is_held(session)) {
            self.set_held(project, session, false);
        }
    }

    /// Whether a command of this session waits or runs.
    #[must_use]
    pub fn is_busy(&self, project: &ProjectId, session: SessionId) -> bool {
        let line = self.projects.get(project);
        line.is_some_and(|project| project.is_busy(session))
    }

    /// The execs of this session that have not ended.
    #[must_use]
    pub fn of_session(&self, project: &ProjectId, session: SessionId) -> Vec<ExecId> {
        let execs = self.execs.values().map(|exec| &exec.id);
        execs
            .filter(|exec| exec.session == session && exec.project == *project)
            .cloned()
            .collect()
    }

    /// Whose command this is, if it has not ended.
    #[must_use]
    pub fn exec_of(&self, command_seq: StreamSeq) -> Option<&ExecId> {
        self.execs.get(&command_seq).map(|exec| &exec.id)
    }

    fn set_held(&mut self, project: &ProjectId, session: SessionId, is_held: bool) {
        let limit = self.limits.session_running_max;
        let project = self.projects.entry(project.clone()).or_default();
        project.change(session, limit, |_, line| line.is_held = is_held);
    }
}

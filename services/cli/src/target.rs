//! Which session, and which exec, is meant by what people write.
//!
//! A session is named by its id, by the beginning of it, or by the name of its pod; an exec by its id, or
//! as `SESSION/EXEC`.

use std::time::Duration;

use rdev_contract::http::{CreateSession, ExecView, SessionView};
use rdev_contract::id::{ExecId, SessionId, StreamId};

use crate::api::{Api, place};
use crate::failure::{Done, Failure};
use crate::progress::Progress;
use crate::settings::Settings;

/// Sessions and execs that are looked through for a name.
const LOOKED_THROUGH_MAX: usize = 1_000;
/// One that was asked for just now is in the lists a moment later.
const LIST_TRIES: usize = 4;
const LIST_INTERVAL: Duration = Duration::from_millis(300);
/// Of an id, what tells it from others in practice.
const ID_BEGINNING_MIN_CHARS: usize = 6;

/// The flag of every command that is about one session.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SessionArg {
    /// The session: its id (or how it begins), or the name of its pod [env: RDEV_SESSION]
    #[arg(short, long, value_name = "SESSION")]
    pub(crate) session: Option<String>,
}

/// Whether a session is made where there is none for a pod's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMissing {
    /// With that pod.
    Create,
    /// It is an error.
    Refuse,
}

impl SessionArg {
    /// What is named by the flag, or the settings.
    pub(crate) fn name<'a>(&'a self, settings: &'a Settings) -> Option<&'a str> {
        let usual = settings.session.as_ref().map(|said| said.value.as_str());
        self.session.as_deref().or(usual)
    }

    /// The session that is meant.
    pub(crate) async fn find(
        &self,
        api: &Api,
        settings: &Settings,
        missing: IfMissing,
        progress: &Progress,
    ) -> Done<SessionId> {
        let Some(name) = self.name(settings) else {
            return Err(Failure::new("no session is named").hint(
                "give -s with a session's id or the name of its pod, or set RDEV_SESSION; \
                 `rdev sessions` lists them",
            ));
        };
        session(api, name, missing, progress).await
    }
}

/// The session of this name.
pub(crate) async fn session(
    api: &Api,
    name: &str,
    missing: IfMissing,
    progress: &Progress,
) -> Done<SessionId> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let path = place::sessions(api.project()?);
    let active = [("status", "active".to_owned())];
    let sessions: Vec<SessionView> = api.list(&path, &active, LOOKED_THROUGH_MAX).await?;
    match chosen(name, &sessions) {
        Ok(Some(id)) => parsed(&id),
        Err(found) => Err(
            Failure::new(format!("{name} is the beginning of several sessions"))
                .hint(format!("write more of it: {}", found.join(", "))),
        ),
        Ok(None) if missing == IfMissing::Refuse => Err(Failure::new(format!(
            "there is no active session {name:?}, and none with a pod of that name"
        ))
        .hint("`rdev sessions` lists them, `rdev sessions create --pod NAME` makes one")),
        Ok(None) => {
            let request = CreateSession {
                pod: Some(name.to_owned()),
                ..CreateSession::default()
            };
            let made: SessionView = api.post_new(&path, &request).await?;
            progress.say(&format!("new session {} in the pod {name}", made.id));
            parsed(&made.id)
        }
    }
}

fn parsed(id: &str) -> Done<SessionId> {
    id.parse()
        .map_err(|_| Failure::new(format!("the gateway names a session {id:?}")))
}

/// The newest one with that pod, else the one whose id begins so; several such ids are an error.
fn chosen(name: &str, newest_first: &[SessionView]) -> Result<Option<String>, Vec<String>> {
    let has_pod = |session: &&SessionView| session.pod.as_deref() == Some(name);
    if let Some(session) = newest_first.iter().find(has_pod) {
        return Ok(Some(session.id.clone()));
    }
    if name.len() < ID_BEGINNING_MIN_CHARS {
        return Ok(None);
    }
    let begins = newest_first
        .iter()
        .filter(|session| session.id.starts_with(name));
    let mut found: Vec<_> = begins.map(|session| session.id.clone()).collect();
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(found),
    }
}

/// The exec that is meant, in the session that is named, or in any of the project.
pub(crate) async fn exec(
    api: &Api,
    settings: &Settings,
    session_arg: &SessionArg,
    name: &str,
    progress: &Progress,
) -> Done<ExecId> {
    let project = api.project()?.clone();
    let (named_session, stream) = match name.rsplit_once('/') {
        Some((session, stream)) => (Some(session), stream),
        None => (session_arg.session.as_deref(), name),
    };
    let wanted = match named_session {
        Some(name) => Some(session(api, name, IfMissing::Refuse, progress).await?),
        None => None,
    };
    let usual = match (&settings.session, wanted) {
        (Some(usual), None) => session(api, &usual.value, IfMissing::Refuse, progress)
            .await
            .ok(),
        (_, wanted) => wanted,
    };
    // Read from the log itself: it is there however far the lists are.
    if let (Some(session), Ok(stream)) = (usual, stream.parse::<StreamId>()) {
        let exec = ExecId {
            project: project.clone(),
            session,
            stream,
        };
        match api.get::<ExecView>(&place::one(&exec)).await {
            Ok(_) => return Ok(exec),
            Err(error) if error.status() == Some(404) && wanted.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let path = place::execs(&project, wanted);
    for _ in 0..LIST_TRIES {
        let execs: Vec<ExecView> = api.list(&path, &[], LOOKED_THROUGH_MAX).await?;
        if let Some(found) = execs.iter().find(|exec| exec.id == stream) {
            return of_view(api, found);
        }
        tokio::time::sleep(LIST_INTERVAL).await;
    }
    Err(Failure::new(format!(
        "there is no exec {name:?} among the latest of {project}"
    ))
    .hint("`rdev execs` lists them; SESSION/EXEC names one that is older"))
}

/// The newest exec of the named session, or of the project, of which this is true.
pub(crate) async fn newest(
    api: &Api,
    session: Option<SessionId>,
    query: &[(&str, String)],
) -> Done<Option<ExecId>> {
    let path = place::execs(api.project()?, session);
    let execs: Vec<ExecView> = api.list(&path, query, 1).await?;
    execs.first().map(|exec| of_view(api, exec)).transpose()
}

/// What a list calls it.
pub(crate) fn of_view(api: &Api, view: &ExecView) -> Done<ExecId> {
    let odd = || Failure::new(format!("the gateway names an exec {:?}", view.id));
    Ok(ExecId {
        project: api.project()?.clone(),
        session: view.session_id.parse().map_err(|_| odd())?,
        stream: view.id.parse().map_err(|_| odd())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Vec<SessionView> {
        let of = |id: &str, pod: &str| SessionView {
            id: id.to_owned(),
            pod: Some(pod.to_owned()),
            ..SessionView::default()
        };
        vec![
            of("019ac2-3333", "web"),
            of("019ac2-2222", "web"),
            of("019ac1-1111", "api"),
        ]
    }

    #[test]
    fn a_name_is_a_pod_or_how_an_id_begins() {
        let id = |id: &str| Ok(Some(id.to_owned()));
        assert_eq!(chosen("web", &sessions()), id("019ac2-3333"));
        assert_eq!(chosen("api", &sessions()), id("019ac1-1111"));
        assert_eq!(chosen("019ac1", &sessions()), id("019ac1-1111"));
        assert_eq!(chosen("019ac2-2", &sessions()), id("019ac2-2222"));
        assert_eq!(
            chosen("019ac2", &sessions()).map_err(|found| found.len()),
            Err(2)
        );
        assert_eq!(chosen("019", &sessions()), Ok(None));
        assert_eq!(chosen("other", &sessions()), Ok(None));
    }
}

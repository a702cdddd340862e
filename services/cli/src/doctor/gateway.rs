//! The gateway: is it there, does it let us in, what does its clock say, and does a command run.

use std::time::Duration;

use jiff::Timestamp;
use rdev_contract::event::{Complete, Outcome};
use rdev_contract::http::{ExecAccepted, ExecRequest, ExecView, Page, SessionView};
use rdev_contract::id::{ExecId, SessionId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::{Finding, Options, Report};
use crate::api::{Api, ApiError, Heard, place};
use crate::exec::new::drawn_id;
use crate::exec::watch::queued;
use crate::failure::Done;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::target::{self, IfMissing};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A command that only ends, in a pod that is there, takes milliseconds.
const RUN_TIMEOUT_SECONDS: u64 = 20;
/// The API's clock is read to the second, and an answer takes a while.
const SKEW_FINE_SECONDS: i64 = 2;
/// Tokens of an issuer are judged with so much leave.
const SKEW_MAX_SECONDS: i64 = 30;

pub(super) async fn look(options: &Options, settings: &Settings, report: &mut Report) -> Done<()> {
    for warning in &settings.warnings {
        report.add(Finding::warn("settings", warning))?;
    }
    report.add(Finding::ok("settings", where_from(settings)))?;
    let api = match Api::new(settings) {
        Ok(api) => api,
        Err(error) => return Ok(report.add(refused("gateway", &error))?),
    };
    let asked = Instant::now();
    let ready: Result<Heard<Value>, _> = api.get_once(place::READY, ANSWER_TIMEOUT).await;
    let took = asked.elapsed().as_millis();
    match &ready {
        Ok(_) => report.add(Finding::ok(
            "gateway",
            format!("{} is ready ({took} ms)", api.base()),
        ))?,
        Err(error) => {
            report.add(not_ready(&api, error))?;
            if error.status().is_none() {
                return Ok(());
            }
        }
    }
    if let Ok(ready) = &ready {
        report.add(clock(ready.date))?;
        report.add(tables(&ready.value))?;
    }
    if let Some(finding) = in_the_clear(settings) {
        report.add(finding)?;
    }
    let Some(project) = &settings.project else {
        let finding = Finding::warn("project", "none is set");
        return Ok(report.add(finding.advice("give -p, or set RDEV_PROJECT"))?);
    };
    match first_of::<SessionView>(&api, &place::sessions(&project.value)).await {
        Ok(()) => report.add(Finding::ok("key", let_in(settings)))?,
        Err(error) => {
            report.add(refused("key", &error))?;
            return Ok(());
        }
    }
    if let Err(error) = first_of::<ExecView>(&api, &place::execs(&project.value, None)).await {
        report.add(refused("execs", &error))?;
    }
    look_at_session(options, settings, &api, report).await
}

/// Whether a list can be read.
async fn first_of<T: DeserializeOwned>(api: &Api, list: &str) -> Result<(), ApiError> {
    let path = format!("{list}?limit=1");
    let listed: Heard<Page<T>> = api.get_once(&path, ANSWER_TIMEOUT).await?;
    drop(listed);
    Ok(())
}

fn where_from(settings: &Settings) -> String {
    let mut parts = vec![format!("url {} ({})", settings.url.value, settings.url.by)];
    if let Some(project) = &settings.project {
        parts.push(format!("project {} ({})", project.value, project.by));
    }
    if let Some(session) = &settings.session {
        parts.push(format!("session {} ({})", session.value, session.by));
    }
    if let Some(key) = &settings.key {
        parts.push(format!("a key ({})", key.by));
    }
    parts.join(", ")
}

fn refused(what: &'static str, error: &ApiError) -> Finding {
    let finding = Finding::fail(what, error.to_string());
    match error.hint() {
        Some(hint) => finding.advice(hint),
        None => finding,
    }
}

fn not_ready(api: &Api, error: &ApiError) -> Finding {
    if let ApiError::Strange { status, text, .. } = error
        && text.contains("\"nats\"")
    {
        let seen = format!("{} is not ready ({status}): {text}", api.base());
        let finding = Finding::fail("gateway", seen);
        return finding.advice("it cannot reach NATS, or is being stopped: its log says more");
    }
    refused("gateway", error)
}

fn clock(date: Option<Timestamp>) -> Finding {
    let Some(date) = date else {
        return Finding::skip("clock", "the gateway does not say what time it is");
    };
    skew(Timestamp::now().as_second() - date.as_second())
}

fn skew(seconds: i64) -> Finding {
    let apart = seconds.abs();
    if apart <= SKEW_FINE_SECONDS {
        return Finding::ok("clock", "this machine and the gateway agree");
    }
    let which = if seconds > 0 { "ahead of" } else { "behind" };
    let seen = format!("this machine is {apart} s {which} the gateway");
    let finding = if apart > SKEW_MAX_SECONDS {
        Finding::fail("clock", seen)
    } else {
        Finding::warn("clock", seen)
    };
    finding.advice("set both clocks by NTP: times of keys, tokens and --since depend on them")
}

fn tables(ready: &Value) -> Finding {
    if ready["postgres"] == "up" {
        return match ready["poisoned"].as_u64() {
            Some(count @ 1..) => Finding::warn(
                "lists",
                format!("{count} messages could not be read into the tables"),
            )
            .advice("they are in the table `poison`; rdev audit compares"),
            Some(0) | None => Finding::ok("lists", "the gateway reads its tables"),
        };
    }
    let finding = Finding::warn(
        "lists",
        "the gateway cannot reach PostgreSQL: commands run, lists do not",
    );
    finding.advice("look at PostgreSQL, and at RDEV_POSTGRES_URL of the gateway")
}

/// A key that goes over a network for all to see.
fn in_the_clear(settings: &Settings) -> Option<Finding> {
    let url = reqwest::Url::parse(&settings.url.value).ok()?;
    let is_open =
        settings.key.is_some() && url.scheme() == "http" && !crate::api::is_loopback(&url);
    is_open.then(|| {
        let finding = Finding::warn("tls", "the key is sent in the clear");
        finding.advice("give the gateway a certificate (RDEV_TLS_CERT), or a proxy that has one")
    })
}

fn let_in(settings: &Settings) -> String {
    match (&settings.key, &settings.project) {
        (Some(key), Some(project)) => {
            format!(
                "the key of {} is good for project {}",
                key.by, project.value
            )
        }
        _ => "no key is needed from this machine".to_owned(),
    }
}

async fn look_at_session(
    options: &Options,
    settings: &Settings,
    api: &Api,
    report: &mut Report,
) -> Done<()> {
    let Some(name) = options.session.name(settings) else {
        let finding = Finding::skip("session", "none is set, so no command was tried");
        return Ok(report.add(finding.advice("give -s with a session to try one"))?);
    };
    let progress = Progress::new(false);
    let session = match target::session(api, name, IfMissing::Refuse, &progress).await {
        Ok(session) => session,
        Err(failure) => {
            let finding = Finding::fail("session", failure.reason);
            let hint = failure.hint.unwrap_or_default();
            return Ok(report.add(finding.advice(hint))?);
        }
    };
    let path = place::session(api.project()?, session);
    let found: Result<SessionView, _> = api.get(&path).await;
    let view = match found {
        Ok(view) => view,
        Err(error) => return Ok(report.add(refused("session", &error))?),
    };
    let is_active = view.status == "active";
    report.add(of_session(name, &view))?;
    if is_active && !options.no_run {
        let finding = try_one(api, session).await?;
        report.add(finding)?;
    }
    Ok(())
}

fn of_session(name: &str, view: &SessionView) -> Finding {
    if view.status != "active" {
        let why = view.ended_reason.as_deref().unwrap_or("nobody says why");
        let finding = Finding::fail("session", format!("{name} has ended ({why})"));
        return finding
            .advice("`rdev sessions create` makes another; rdev dev makes one at its start");
    }
    let pod = view.pod.as_deref().unwrap_or("none yet");
    let state = view
        .pod_state
        .as_deref()
        .unwrap_or("named by whoever made it");
    if state == "pending" {
        let message = view.pod_message.as_deref().unwrap_or_default();
        let finding = Finding::warn("session", format!("{name} has no pod yet: {message}"));
        return finding.advice("commands wait until it is there; kubectl describe pod says more");
    }
    Finding::ok(
        "session",
        format!("{name} is active, its pod is {pod} ({state})"),
    )
}

/// Runs `true`: whatever is between here and the pod has to work for that.
async fn try_one(api: &Api, session: SessionId) -> Done<Finding> {
    let exec = ExecId {
        project: api.project()?.clone(),
        session,
        stream: drawn_id()?,
    };
    let request = ExecRequest {
        kind: "shell".to_owned(),
        command: Some("true".to_owned()),
        stream_id: Some(exec.stream.to_string()),
        timeout_seconds: Some(RUN_TIMEOUT_SECONDS),
        queue_timeout_seconds: Some(RUN_TIMEOUT_SECONDS),
        ..ExecRequest::default()
    };
    let asked = Instant::now();
    let posted: Result<ExecAccepted, _> = api
        .post_once(&place::exec(&exec.project, session), &request)
        .await;
    if let Err(error) = posted {
        return Ok(refused("run", &error));
    }
    let path = format!("{}?wait={RUN_TIMEOUT_SECONDS}", place::one(&exec));
    let limit = Duration::from_secs(RUN_TIMEOUT_SECONDS + 10);
    match api.get_once::<ExecView>(&path, limit).await {
        Ok(found) => Ok(ran(&found.value, asked.elapsed())),
        Err(error) => Ok(refused("run", &error)),
    }
}

fn ran(view: &ExecView, took: Duration) -> Finding {
    let complete = view.complete.clone();
    let complete = complete.and_then(|complete| serde_json::from_value::<Complete>(complete).ok());
    match complete {
        Some(complete) if complete.outcome == Outcome::Exited && complete.exit_code == 0 => {
            let ms = took.as_millis();
            Finding::ok(
                "run",
                format!("a command ran in the pod ({ms} ms): executor and shim work"),
            )
        }
        Some(complete) => {
            let seen = format!(
                "`true` ended as {}: {}",
                complete.outcome.name(),
                complete.reason
            );
            Finding::fail("run", seen).advice("the executor's log says more")
        }
        None => {
            let why = view
                .queue
                .as_ref()
                .map_or_else(|| view.status.clone(), queued);
            let finding = Finding::fail("run", format!("`true` has not ended: {why}"));
            finding.advice("is an executor running, and does it reach NATS and the pod?")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn clocks_may_be_a_little_apart() {
        assert_eq!(skew(0).health, Health::Ok);
        assert_eq!(skew(-SKEW_FINE_SECONDS).health, Health::Ok);
        assert_eq!(skew(SKEW_FINE_SECONDS + 1).health, Health::Warn);
        let far = skew(-SKEW_MAX_SECONDS - 1);
        assert_eq!(far.health, Health::Fail);
        assert_eq!(far.seen, "this machine is 31 s behind the gateway");
    }

    #[test]
    fn a_session_is_told_as_it_is() {
        let session = SessionView {
            status: "active".to_owned(),
            pod: Some("web-1".to_owned()),
            ..SessionView::default()
        };
        assert_eq!(of_session("web", &session).health, Health::Ok);
        let pending = SessionView {
            pod_state: Some("pending".to_owned()),
            ..session.clone()
        };
        assert_eq!(of_session("web", &pending).health, Health::Warn);
        let ended = SessionView {
            status: "ended".to_owned(),
            ..session
        };
        assert_eq!(of_session("web", &ended).health, Health::Fail);
    }
}

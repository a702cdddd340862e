//! What a session may ask for: a pod, the labels of one, or a template to make one from; and how long it
//! may be idle and live.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rdev_contract::event::Requester;
use rdev_contract::http::CreateSession;
use rdev_contract::id::{DnsLabel, InvalidId, PodName, SessionId};
use rdev_contract::session::Created;
use rdev_domain::life;
use rdev_domain::template::{Template, Templates};

use crate::problem::ApiError;

/// More labels than pods have.
const SELECTOR_MAX_LABELS: usize = 16;
/// As Kubernetes limits the name of a label and its value, and the prefix of the name.
const LABEL_MAX_BYTES: usize = 63;
const LABEL_PREFIX_MAX_BYTES: usize = 253;

/// Templates and limits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Provisions {
    pub(crate) templates: Templates,
    pub(crate) idle_max_seconds: u64,
    pub(crate) life_max_seconds: u64,
}

impl Provisions {
    /// The fact that a request comes to.
    pub(crate) fn created(
        &self,
        request: CreateSession,
        session: SessionId,
        at: Timestamp,
        by: Requester,
    ) -> Result<Created, ApiError> {
        let template = self.template(&request)?;
        let label = |field, text: Option<String>| -> Result<Option<DnsLabel>, ApiError> {
            let parsed = text.map(|text| text.parse()).transpose();
            parsed.map_err(|error| invalid_id(field, &error))
        };
        let (name, namespace) = match (&template, request.pod) {
            (Some((_, template)), _) => {
                // Of a sandbox that is claimed, the pod has a name already.
                let is_made = template.sandbox.is_none();
                let name = is_made.then(|| own_pod(session)).transpose()?;
                (name, template.namespace.clone())
            }
            (None, pod) => {
                let pod = pod.map(|pod| pod.parse::<PodName>()).transpose();
                let pod = pod.map_err(|error| invalid_id("pod", &error))?;
                if pod.as_ref().is_some_and(is_own_pod) {
                    let detail =
                        "pod: it is another session's own, and goes with that: run in it there";
                    return Err(invalid(detail.to_owned()));
                }
                (pod, label("namespace", request.namespace)?)
            }
        };
        let of_template = template.as_ref().map(|(_, template)| *template);
        let idle = request.idle_timeout_seconds;
        let idle = idle.or(of_template.and_then(|template| template.idle_timeout_seconds));
        let life = request.expires_in_seconds;
        let life = life.or(of_template.and_then(|template| template.expires_in_seconds));
        within("idle_timeout_seconds", idle, self.idle_max_seconds)?;
        within("expires_in_seconds", life, self.life_max_seconds)?;
        let selector = request.selector.unwrap_or_default();
        check_selector(&selector)?;
        Ok(Created {
            pod: name,
            namespace,
            container: label("container", request.container)?,
            template: template.map(|(name, _)| name),
            selector,
            idle_timeout_seconds: idle,
            expires_at: life.map(|life| life::plus(at, std::time::Duration::from_secs(life))),
            by,
        })
    }

    /// The template that is asked for, if one is; and that one thing only is asked for.
    fn template(&self, request: &CreateSession) -> Result<Option<(DnsLabel, &Template)>, ApiError> {
        let labels = request.selector.as_ref();
        let wanted = [
            request.pod.is_some(),
            labels.is_some_and(|labels| !labels.is_empty()),
            request.template.is_some(),
        ];
        if wanted.into_iter().filter(|is_wanted| *is_wanted).count() != 1 {
            return Err(invalid("give one of pod, selector and template".to_owned()));
        }
        let Some(name) = &request.template else {
            return Ok(None);
        };
        if request.namespace.is_some() {
            let detail = "namespace: the template says where its pods are".to_owned();
            return Err(invalid(detail));
        }
        let unknown = || {
            let names = self.templates.names();
            ApiError::invalid("unknown_template", format!("no such template; {names}"))
        };
        let template = self.templates.get(name).ok_or_else(unknown)?;
        let name = name.parse().map_err(|_| unknown())?;
        Ok(Some((name, template)))
    }
}

/// Nobody else can have it: the id is new.
fn own_pod(session: SessionId) -> Result<PodName, ApiError> {
    format!("rdev-{session}")
        .parse()
        .map_err(ApiError::internal)
}

fn is_own_pod(pod: &PodName) -> bool {
    let session = pod.as_str().strip_prefix("rdev-");
    session.is_some_and(|session| session.parse::<SessionId>().is_ok())
}

fn within(field: &str, seconds: Option<u64>, max: u64) -> Result<(), ApiError> {
    match seconds {
        Some(seconds) if !(1..=max).contains(&seconds) => {
            Err(invalid(format!("{field}: give 1 to {max}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// What passes can be put into a selector and means itself there.
fn check_selector(labels: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if labels.len() > SELECTOR_MAX_LABELS {
        let detail = format!("selector: give {SELECTOR_MAX_LABELS} labels at most");
        return Err(invalid(detail));
    }
    for (name, value) in labels {
        let (prefix, rest) = match name.split_once('/') {
            Some((prefix, rest)) => (Some(prefix), rest),
            None => (None, name.as_str()),
        };
        let is_prefix =
            |text: &str| text.len() <= LABEL_PREFIX_MAX_BYTES && text.parse::<PodName>().is_ok();
        if !is_label(rest) || !prefix.is_none_or(is_prefix) {
            return Err(invalid(format!(
                "selector: {name:?} is not the name of a label"
            )));
        }
        if !value.is_empty() && !is_label(value) {
            return Err(invalid(format!(
                "selector: {value:?} is not the value of a label"
            )));
        }
    }
    Ok(())
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= LABEL_MAX_BYTES
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(is_inner)
}

fn invalid(detail: String) -> ApiError {
    ApiError::invalid("invalid_field", detail)
}

fn invalid_id(field: &str, error: &InvalidId) -> ApiError {
    invalid(format!("{field}: {error}"))
}

#[cfg(test)]
mod tests {
    use rdev_contract::http::CreateSession;
    use serde_json::{Value, json};

    use super::*;

    fn provisions() -> Provisions {
        let text = "box: {idle_timeout_seconds: 60, namespace: team}\nbare: {}";
        Provisions {
            templates: Templates::parse(text).unwrap(),
            idle_max_seconds: 100,
            life_max_seconds: 1000,
        }
    }

    fn created(body: Value) -> Result<Created, String> {
        let request: CreateSession = serde_json::from_value(body).unwrap();
        let session = "01935bd0-7a3c-7000-8000-5f1e2d3c4b5a".parse().unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let created = provisions().created(request, session, at, Requester::default());
        created.map_err(|error| error.to_string())
    }

    #[test]
    fn a_template_gives_what_the_request_leaves_open() {
        let of_template = created(json!({"template": "box"})).unwrap();
        let name = "rdev-01935bd0-7a3c-7000-8000-5f1e2d3c4b5a";
        assert_eq!(of_template.pod.unwrap().as_str(), name);
        assert_eq!(of_template.namespace.unwrap().as_str(), "team");
        assert_eq!(of_template.idle_timeout_seconds, Some(60));
        let body = json!({"template": "box", "idle_timeout_seconds": 5, "expires_in_seconds": 9});
        let asked = created(body).unwrap();
        assert_eq!(asked.idle_timeout_seconds, Some(5));
        assert_eq!(asked.expires_at, Some(Timestamp::from_second(9).unwrap()));
        let plain = created(json!({"pod": "mine"})).unwrap();
        assert_eq!(
            plain,
            Created::of_pod("mine".parse().unwrap(), Requester::default())
        );
    }

    #[test]
    fn labels_are_those_of_kubernetes() {
        let labels = |name: &str, value: &str| created(json!({"selector": {name: value}}));
        for (name, value) in [("app", "web"), ("a.example/app", "Web_1.2"), ("app", "")] {
            assert!(labels(name, value).unwrap().pod.is_none(), "{name}={value}");
        }
        let long = "a".repeat(64);
        for (name, value) in [
            ("", "web"),
            ("app", "web,tier=dev"),
            ("app,tier", "x"),
            ("app=x", "y"),
            ("!app", "x"),
            ("a b", "x"),
            ("/app", "x"),
            ("UP/app", "x"),
            ("app", "-x"),
            (long.as_str(), "x"),
            ("app", long.as_str()),
        ] {
            assert!(labels(name, value).is_err(), "{name}={value}");
        }
        let many: BTreeMap<_, _> = (0..17).map(|n| (format!("a{n}"), "x")).collect();
        assert!(created(json!({"selector": many})).is_err());
    }

    #[test]
    fn one_thing_is_asked_for_and_within_the_limits() {
        for (body, words) in [
            (json!({}), "one of pod, selector and template"),
            (json!({"selector": {}}), "one of pod"),
            (json!({"pod": "a", "template": "box"}), "one of pod"),
            (json!({"template": "rust"}), "there are bare, box"),
            (json!({"template": "box", "namespace": "x"}), "namespace"),
            (json!({"pod": "A"}), "pod: not a"),
            (
                json!({"pod": "rdev-01935bd0-7a3c-7000-8000-5f1e2d3c4b5a"}),
                "another session's own",
            ),
            (
                json!({"pod": "a", "idle_timeout_seconds": 101}),
                "give 1 to 100",
            ),
            (
                json!({"pod": "a", "idle_timeout_seconds": 0}),
                "give 1 to 100",
            ),
            (
                json!({"pod": "a", "expires_in_seconds": 1001}),
                "give 1 to 1000",
            ),
        ] {
            let error = created(body).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(created(json!({"pod": "a", "idle_timeout_seconds": 100})).is_ok());
        assert!(created(json!({"pod": "rdev-1"})).is_ok());
    }
}

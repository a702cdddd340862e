//! Pods of the cluster that are made or chosen for sessions.
//!
//! Invariants: a pod is created by name, so that the API server refuses a second one; it is looked at
//! before it is deleted, and deleted only if it is still the one that was looked at.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::PodError;
use super::super::provide::{Choice, Owned, Provide, Provided};
use super::object::{self, LOG_LABEL, SESSION_LABEL};
use super::{KubeBackend, identity, in_time, trouble};
use rdev_domain::template::Template;

#[async_trait]
impl Provide for KubeBackend {
    fn check(&self, template: &Template) -> Result<(), String> {
        match template.sandbox {
            Some(_) => Ok(()),
            None => object::spec_of(template).map(drop),
        }
    }

    async fn provide(&self, owned: &Owned, template: &Template) -> Result<Provided, PodError> {
        if owned.is_claim != template.sandbox.is_some() {
            // What is made otherwise than the log says would not be found again.
            let why = "the template has changed between a pod and a sandbox since, or is not the \
                       same for gateways and executors";
            return Ok(Provided::Failed(why.to_owned()));
        }
        if let Some(sandbox) = &template.sandbox {
            return self.provide_claimed(owned, sandbox).await;
        }
        let pods = self.pods(&owned.namespace);
        let found = in_time(pods.get_opt(&owned.name)).await;
        if let Some(pod) = found.map_err(|error| trouble::api_error(&error))? {
            return Ok(if is_of(&pod, owned) {
                progress(&pod, &owned.container)
            } else {
                let name = &owned.name;
                Provided::Failed(format!("there is a pod {name} that is not of this session"))
            });
        }
        let making = object::Making {
            owned,
            template,
            project_label: self.inner.project_label.as_deref(),
            shim_image: self.inner.shim_image.as_deref(),
        };
        let pod = match making.pod() {
            Ok(pod) => pod,
            Err(reason) => return Ok(Provided::Failed(reason)),
        };
        let made = create(&pods, &pod, "it is there already", "the pod was not made").await?;
        Ok(made.map_or_else(|not_made| not_made, |pod| progress(&pod, &owned.container)))
    }

    async fn choose(&self, choice: &Choice) -> Result<Provided, PodError> {
        let project_label = self.inner.project_label.as_ref();
        let project = project_label.map(|key| (key.clone(), choice.project.to_string()));
        let labels = choice.labels.clone().into_iter().chain(project);
        let selector: Vec<_> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let selector = selector.join(",");
        // A pod that was made for a session goes with it, whoever else is in it.
        let wish = ListParams::default().labels(&format!("{selector},!{SESSION_LABEL}"));
        let found = in_time(self.pods(&choice.namespace).list(&wish)).await;
        let mut found = match found.map_err(|error| trouble::api_error(&error)) {
            Ok(found) => found.items,
            Err(error @ PodError::Unavailable(_)) => return Err(error),
            Err(error) => return Ok(Provided::Failed(error.to_string())),
        };
        // The oldest first: several sessions of the same labels share it, and so its channel.
        found.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.name_any()));
        let mut why = format!("no pod has the labels {selector}");
        for pod in &found {
            match progress(pod, &choice.container) {
                Provided::Ready(pod) => return Ok(Provided::Ready(pod)),
                Provided::Pending(reason) | Provided::Failed(reason) => why = reason,
            }
        }
        Ok(Provided::Pending(why))
    }

    async fn discard(&self, owned: &Owned) -> Result<bool, PodError> {
        if owned.is_claim {
            return self.discard_claim(owned).await;
        }
        let pods = self.pods(&owned.namespace);
        let found = in_time(pods.get_opt(&owned.name)).await;
        let found = found.map_err(|error| trouble::api_error(&error))?;
        let Some(pod) = found.filter(|pod| is_of(pod, owned)) else {
            return Ok(true);
        };
        delete(&pods, &pod).await?;
        Ok(false)
    }

    async fn owned(
        &self,
        log: &str,
        namespace: &str,
        claims: bool,
    ) -> Result<Vec<Owned>, PodError> {
        let wish = ListParams::default().labels(&format!("{LOG_LABEL}={log}"));
        let found = in_time(self.pods(namespace).list(&wish)).await;
        let found = found.map_err(|error| trouble::api_error(&error))?;
        let pods = found.items.iter().filter_map(|pod| owner(pod, log));
        let mut all: Vec<_> = pods.collect();
        if claims {
            all.extend(self.owned_claims(log, namespace).await?);
        }
        Ok(all)
    }
}

impl KubeBackend {
    pub(super) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.inner.client.clone(), self.namespace(namespace))
    }

    pub(super) fn namespace<'a>(&'a self, namespace: &'a str) -> &'a str {
        if namespace.is_empty() {
            self.inner.namespace.as_str()
        } else {
            namespace
        }
    }
}

/// Creates an object under its name: as it is then, or how things stand where it was not created now.
pub(super) async fn create<K>(
    objects: &Api<K>,
    object: &K,
    is_there: &str,
    was_refused: &str,
) -> Result<Result<K, Provided>, PodError>
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    match in_time(objects.create(&PostParams::default(), object)).await {
        Ok(created) => Ok(Ok(created)),
        // Somebody else has made it: the next look sees whose it is.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            Ok(Err(Provided::Pending(is_there.to_owned())))
        }
        Err(error) => match trouble::api_error(&error) {
            error @ PodError::Unavailable(_) => Err(error),
            error @ (PodError::NotFound(_)
            | PodError::Refused(_)
            | PodError::NotRunning(_)
            | PodError::Replaced(_)
            | PodError::NoShim(_)) => Ok(Err(Provided::Failed(format!("{was_refused}: {error}")))),
        },
    }
}

/// Begins to delete the object that was looked at, and no other of its name.
pub(super) async fn delete<K>(objects: &Api<K>, object: &K) -> Result<(), PodError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    if object.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    let wish = DeleteParams::default().preconditions(Preconditions {
        uid: object.uid(),
        resource_version: None,
    });
    match in_time(objects.delete(&object.name_any(), &wish)).await {
        Ok(_) => Ok(()),
        // Gone, or another one by now: the next look tells.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(trouble::api_error(&error)),
    }
}

/// Whose it is, as its labels say; a pod.
pub(super) fn owner(object: &impl ResourceExt, log: &str) -> Option<Owned> {
    let label = |key: &str| object.labels().get(key);
    Some(Owned {
        project: label(object::PROJECT_LABEL)?.parse().ok()?,
        session: label(SESSION_LABEL)?.parse().ok()?,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        is_claim: false,
        container: String::new(),
        log: log.to_owned(),
    })
}

pub(super) fn is_of(object: &impl ResourceExt, owned: &Owned) -> bool {
    let found = owner(object, &owned.log);
    let is_same_log = object.labels().get(LOG_LABEL) == Some(&owned.log);
    is_same_log
        && found
            .is_some_and(|found| found.project == owned.project && found.session == owned.session)
}

/// How far a pod is, from its object.
pub(super) fn progress(pod: &Pod, container: &str) -> Provided {
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        return Provided::Failed(format!("the pod {name} is being deleted"));
    }
    let status = pod.status.clone().unwrap_or_default();
    if let Some(phase @ ("Failed" | "Succeeded")) = status.phase.as_deref() {
        let why = [status.reason, status.message].map(Option::unwrap_or_default);
        let why = format!("the pod {name} is {phase} {}", why.join(" "));
        return Provided::Failed(why.trim_end().to_owned());
    }
    let conditions = status.conditions.unwrap_or_default();
    let condition = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
    if let Some(unscheduled) = condition("PodScheduled").filter(|one| one.status == "False") {
        let why = unscheduled.message.clone().unwrap_or_default();
        return Provided::Pending(format!("the pod {name} has no node: {why}"));
    }
    match identity::identify(pod, container) {
        Ok(identity) if condition("Ready").is_some_and(|one| one.status == "True") => {
            Provided::Ready(identity)
        }
        Ok(_) => Provided::Pending(format!("the pod {name} runs and is not ready yet")),
        Err(PodError::Refused(reason)) => Provided::Failed(reason),
        Err(error) => Provided::Pending(error.to_string()),
    }
}

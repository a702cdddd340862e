//! Pods that are claimed: the `SandboxClaim` of kubernetes-sigs/agent-sandbox. Its controller gives the
//! claim a sandbox of a warm pool, and the sandbox's pod our labels; with the claim both go.
//!
//! Invariant: as of pods that are made: a claim is created by name and deleted by uid, and is this
//! session's only if its labels say so.

use kube::ResourceExt as _;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams, Preconditions,
};
use rdev_domain::template::Sandbox;
use serde_json::json;

use super::super::PodError;
use super::super::provide::{Owned, Provided};
use super::object::{self, LOG_LABEL, SESSION_LABEL};
use super::provide::{is_of, owner, progress};
use super::{KubeBackend, in_time, trouble};

fn resource() -> ApiResource {
    let (group, version) = ("extensions.agents.x-k8s.io", "v1beta1");
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: "SandboxClaim".to_owned(),
        plural: "sandboxclaims".to_owned(),
    }
}

impl KubeBackend {
    pub(super) async fn provide_claimed(
        &self,
        owned: &Owned,
        sandbox: &Sandbox,
    ) -> Result<Provided, PodError> {
        let found = in_time(self.claims(&owned.namespace).get_opt(&owned.name)).await;
        let Some(claim) = found.map_err(|error| trouble::api_error(&error))? else {
            return self.claim(owned, sandbox).await;
        };
        let name = &owned.name;
        if !is_of(&claim, owned) {
            let why = format!("there is a claim {name} that is not of this session");
            return Ok(Provided::Failed(why));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Ok(Provided::Failed(format!(
                "the claim {name} is being deleted"
            )));
        }
        match self.claimed_pods(owned).await?.first() {
            Some(pod) => Ok(progress(pod, &owned.container)),
            None => Ok(Provided::Pending(format!(
                "the claim {name} has no pod yet{}",
                why_not_ready(&claim)
            ))),
        }
    }

    async fn claim(&self, owned: &Owned, sandbox: &Sandbox) -> Result<Provided, PodError> {
        let labels = object::labels_of(owned, self.inner.project_label.as_deref());
        let mut claim = DynamicObject::new(&owned.name, &resource()).data(json!({"spec": {
            "warmPoolRef": {"name": sandbox.warm_pool},
            "additionalPodMetadata": {"labels": labels},
        }}));
        claim.metadata.labels = Some(labels);
        let claims = self.claims(&owned.namespace);
        match in_time(claims.create(&PostParams::default(), &claim)).await {
            Ok(_) => Ok(Provided::Pending("a sandbox is claimed".to_owned())),
            // Somebody else has claimed it: the next look sees whose it is.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Ok(Provided::Pending("it is claimed already".to_owned()))
            }
            Err(error) => match trouble::api_error(&error) {
                error @ PodError::Unavailable(_) => Err(error),
                error @ (PodError::NotFound(_)
                | PodError::Refused(_)
                | PodError::NotRunning(_)
                | PodError::Replaced(_)
                | PodError::NoShim(_)) => {
                    Ok(Provided::Failed(format!("no sandbox was claimed: {error}")))
                }
            },
        }
    }

    /// Begins to give a claim back; whether it and its pod are gone.
    pub(super) async fn discard_claim(&self, owned: &Owned) -> Result<bool, PodError> {
        let claims = self.claims(&owned.namespace);
        let found = in_time(claims.get_opt(&owned.name)).await;
        let found = found.map_err(|error| trouble::api_error(&error))?;
        let Some(claim) = found.filter(|claim| is_of(claim, owned)) else {
            return Ok(self.claimed_pods(owned).await?.is_empty());
        };
        if claim.metadata.deletion_timestamp.is_none() {
            let wish = DeleteParams::default().preconditions(Preconditions {
                uid: claim.uid(),
                resource_version: None,
            });
            match in_time(claims.delete(&owned.name, &wish)).await {
                Ok(_) => {}
                // Gone, or another one by now: the next look tells.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => return Err(trouble::api_error(&error)),
            }
        }
        Ok(false)
    }

    pub(super) async fn owned_claims(
        &self,
        log: &str,
        namespace: &str,
    ) -> Result<Vec<Owned>, PodError> {
        let wish = ListParams::default().labels(&format!("{LOG_LABEL}={log}"));
        let found = in_time(self.claims(namespace).list(&wish)).await;
        let found = found.map_err(|error| trouble::api_error(&error))?;
        let owners = found.items.iter().filter_map(|claim| owner(claim, log));
        let claims = owners.map(|owned| Owned {
            is_claim: true,
            ..owned
        });
        Ok(claims.collect())
    }

    async fn claimed_pods(
        &self,
        owned: &Owned,
    ) -> Result<Vec<k8s_openapi::api::core::v1::Pod>, PodError> {
        let (log, session) = (&owned.log, owned.session);
        let labels = format!("{LOG_LABEL}={log},{SESSION_LABEL}={session}");
        let pods = self.pods(&owned.namespace);
        let found = in_time(pods.list(&ListParams::default().labels(&labels))).await;
        let found = found.map_err(|error| trouble::api_error(&error))?;
        Ok(found.items)
    }

    fn claims(&self, namespace: &str) -> Api<DynamicObject> {
        let client = self.inner.client.clone();
        Api::namespaced_with(client, self.namespace(namespace), &resource())
    }
}

/// What the claim's controller says, if it says something.
fn why_not_ready(claim: &DynamicObject) -> String {
    let conditions = claim.data["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let message = ready.and_then(|condition| condition["message"].as_str());
    message.map_or_else(String::new, |message| format!(": {message}"))
}

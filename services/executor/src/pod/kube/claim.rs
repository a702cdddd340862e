//! Pods that are claimed: the `SandboxClaim` of kubernetes-sigs/agent-sandbox. Its controller gives the
//! claim a sandbox of a warm pool, and the sandbox's pod our labels; with the claim both go.
//!
//! Invariant: as of pods that are made: a claim is created by name and deleted by uid, and is this
//! session's only if its labels say so.

use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use rdev_domain::template::Sandbox;
use serde_json::json;

use super::super::PodError;
use super::super::provide::{Owned, Provided};
use super::object::{self, LOG_LABEL, SESSION_LABEL};
use super::provide::{create, delete, is_of, owner, progress};
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
        let is_there = "it is claimed already";
        let claimed = create(&claims, &claim, is_there, "no sandbox was claimed").await?;
        Ok(claimed.map_or_else(
            |not_claimed| not_claimed,
            |_| Provided::Pending("a sandbox is claimed".to_owned()),
        ))
    }

    /// Begins to give a claim back; whether it and its pod are gone.
    pub(super) async fn discard_claim(&self, owned: &Owned) -> Result<bool, PodError> {
        let claims = self.claims(&owned.namespace);
        let found = in_time(claims.get_opt(&owned.name)).await;
        let found = found.map_err(|error| trouble::api_error(&error))?;
        let Some(claim) = found.filter(|claim| is_of(claim, owned)) else {
            return Ok(self.claimed_pods(owned).await?.is_empty());
        };
        delete(&claims, &claim).await?;
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

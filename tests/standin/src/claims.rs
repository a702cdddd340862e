//! `SandboxClaim`s of kubernetes-sigs/agent-sandbox: its API, and its controller, as far as a claim
//! gets a pod that carries its labels, and loses it.
//!
//! Invariant: as for pods: a name is given once, and a claim is deleted only if its uid is the one that
//! the client expects.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Cluster;
use crate::made;
use crate::query::{Query, Selector};
use crate::refusal::Refusal;
use crate::serve::{Body, answered, created, refused};

/// The group and version that claims are of.
pub(crate) const GROUP: &str = "extensions.agents.x-k8s.io";
pub(crate) const VERSION: &str = "v1beta1";
/// What the API calls them.
pub(crate) const RESOURCE: &str = "sandboxclaims";

/// What is asked of claims: of all of a namespace, or of one.
pub(crate) async fn answer(
    cluster: &Arc<Cluster>,
    request: Request<Incoming>,
    namespace: &str,
    name: Option<&str>,
) -> Response<Body> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    match (request.method().clone(), name) {
        (Method::POST, None) => create(cluster, request, namespace).await,
        (Method::GET, name) => read(cluster, namespace, name, &query),
        (Method::DELETE, Some(name)) => delete(cluster, request, namespace, name).await,
        _ => refused(&Refusal::method_not_allowed()),
    }
}

/// `POST …/sandboxclaims`.
async fn create(
    cluster: &Arc<Cluster>,
    request: Request<Incoming>,
    namespace: &str,
) -> Response<Body> {
    let claimed = match made::body(cluster, request).await {
        Ok(object) => cluster.claim(namespace, object),
        Err(refusal) => Err(refusal),
    };
    claimed.map_or_else(|refusal| refused(&refusal), |claim| created(&claim))
}

/// `GET …/sandboxclaims`, `GET …/sandboxclaims/{name}`.
fn read(cluster: &Cluster, namespace: &str, name: Option<&str>, query: &Query) -> Response<Body> {
    let claims = cluster.claims();
    let Some(name) = name else {
        let selector = match Selector::parse(query) {
            Ok(selector) => selector,
            Err(refusal) => return refused(&refusal),
        };
        let here = claims.iter().filter(|((at, _), _)| at == namespace);
        let found: Vec<_> = here.map(|(_, claim)| claim.clone()).collect();
        let items: Vec<_> = found
            .into_iter()
            .filter(|claim| selector.matches(claim))
            .collect();
        return answered(&json!({
            "kind": "SandboxClaimList", "apiVersion": format!("{GROUP}/{VERSION}"),
            "metadata": {"resourceVersion": "1"}, "items": items,
        }));
    };
    match claims.get(&(namespace.to_owned(), name.to_owned())) {
        Some(claim) => answered(claim),
        None => refused(&Refusal::not_found(RESOURCE, name)),
    }
}

/// `DELETE …/sandboxclaims/{name}`: its pod goes with it.
async fn delete(
    cluster: &Arc<Cluster>,
    request: Request<Incoming>,
    namespace: &str,
    name: &str,
) -> Response<Body> {
    let options = match made::body(cluster, request).await {
        Ok(options) => options,
        Err(refusal) => return refused(&refusal),
    };
    let key = (namespace.to_owned(), name.to_owned());
    let claim = {
        let mut claims = cluster.claims();
        let Some(claim) = claims.get(&key) else {
            return refused(&Refusal::not_found(RESOURCE, name));
        };
        let found = claim["metadata"]["uid"].as_str().unwrap_or_default();
        if let Some(uid) = options["preconditions"]["uid"].as_str()
            && uid != found
        {
            return refused(&Refusal::other_uid(name, uid, found));
        }
        claims.remove(&key).unwrap_or_default()
    };
    let (cluster, pod) = (Arc::clone(cluster), pod_of(&claim));
    tokio::spawn(async move { cluster.delete(&key.0, &pod).await });
    answered(&claim)
}

/// The sandbox had its name before it was claimed.
fn pod_of(claim: &Value) -> String {
    let uid = claim["metadata"]["uid"].as_str().unwrap_or_default();
    let pool = claim["spec"]["warmPoolRef"]["name"].as_str();
    format!("{}-{}", pool.unwrap_or_default(), &uid[..uid.len().min(5)])
}

impl Cluster {
    fn claim(&self, namespace: &str, mut claim: Value) -> Result<Value, Refusal> {
        let name = claim["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if claim["spec"]["warmPoolRef"]["name"]
            .as_str()
            .is_none_or(str::is_empty)
        {
            return Err(Refusal::invalid(
                &name,
                "spec.warmPoolRef",
                "Required value",
            ));
        }
        claim["metadata"]["namespace"] = json!(namespace);
        claim["metadata"]["uid"] = json!(Uuid::new_v4().to_string());
        claim["metadata"]["resourceVersion"] = json!("1");
        let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        claim["metadata"]["creationTimestamp"] = json!(at);
        {
            let mut claims = self.claims();
            let key = (namespace.to_owned(), name.clone());
            if claims.contains_key(&key) {
                return Err(Refusal::already_exists(&name));
            }
            claims.insert(key, claim.clone());
        }
        self.make(
            namespace,
            &json!({
                "metadata": {
                    "name": pod_of(&claim),
                    "labels": claim["spec"]["additionalPodMetadata"]["labels"],
                },
                "spec": {"containers": [{"name": "main", "image": "sandbox:1"}]},
            }),
        )?;
        Ok(claim)
    }
}

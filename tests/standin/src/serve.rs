//! The HTTP side: one listener, its connections, and the few routes that clients of pods use.
//!
//! Read by kubectl, kube-rs and anything else that speaks to an API server. Invariant: stopping the
//! API closes every connection, as killing the API server does, and touches no process and no pod.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Cluster;
use crate::claims;
use crate::exec;
use crate::made;
use crate::query::Query;
use crate::refusal::Refusal;
use crate::watch;

/// The version that the stand-in claims: the older of the two whose behaviour it imitates.
const GIT_VERSION: &str = "v1.34.9";

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One life of the API server, from start to stop.
pub(crate) struct Api {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) stopped: CancellationToken,
    pub(crate) connections: TaskTracker,
}

impl Api {
    /// Listens on an address (port 0: any) and serves until [`Api::stop`].
    pub(crate) async fn start(
        cluster: Arc<Cluster>,
        address: SocketAddr,
    ) -> io::Result<(Arc<Self>, SocketAddr)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let api = Arc::new(Self {
            cluster,
            stopped: CancellationToken::new(),
            connections: TaskTracker::new(),
        });
        api.connections.spawn(Arc::clone(&api).accept(listener));
        Ok((api, address))
    }

    /// Closes the listener and every connection and waits until they are gone.
    pub(crate) async fn stop(&self) {
        self.stopped.cancel();
        self.connections.close();
        self.connections.wait().await;
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            tokio::select! {
                () = self.stopped.cancelled() => return,
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        self.connections.spawn(Arc::clone(&self).connection(stream));
                    }
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        // Without it small frames would wait for the client's acknowledgement; Go sets it, too.
        let _ = stream.set_nodelay(true);
        let stopped = self.stopped.clone();
        let service = service_fn(move |request| {
            let api = Arc::clone(&self);
            async move { Ok::<_, io::Error>(api.answer(request).await) }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            () = stopped.cancelled() => {}
            // A client that breaks off is no concern of the server.
            _ = serving.with_upgrades() => {}
        }
    }

    /// Whether the request brings the token, if one is required.
    fn knows(&self, request: &Request<Incoming>) -> bool {
        let given = request.headers().get(AUTHORIZATION);
        let given = given.map(HeaderValue::as_bytes);
        let wanted = &self.cluster.behaviour().token;
        let wanted = wanted.as_ref().map(|token| format!("Bearer {token}"));
        wanted.is_none_or(|wanted| given == Some(wanted.as_bytes()))
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        if !self.knows(&request) {
            return refused(&Refusal::unauthorized());
        }
        let path = request.uri().path().trim_matches('/').to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method(), parts.as_slice()) {
            (
                &Method::GET | &Method::POST,
                ["api", "v1", "namespaces", namespace, "pods", name, "exec"],
            ) => {
                let verb = if request.method() == Method::GET {
                    "get"
                } else {
                    "create"
                };
                match self.allowed(verb, "pods/exec", namespace, name) {
                    Ok(()) => exec::exec(self, request, namespace, name),
                    Err(refusal) => refused(&refusal),
                }
            }
            (&Method::POST, ["api", "v1", "namespaces", namespace, "pods"]) => {
                match self.allowed("create", "pods", namespace, "") {
                    Ok(()) => made::create(&self.cluster, request, namespace).await,
                    Err(refusal) => refused(&refusal),
                }
            }
            (
                &Method::POST,
                [
                    "apis",
                    "authorization.k8s.io",
                    "v1",
                    "selfsubjectaccessreviews",
                ],
            ) => self.review(request).await,
            (&Method::DELETE, ["api", "v1", "namespaces", namespace, "pods", name]) => {
                match self.allowed("delete", "pods", namespace, name) {
                    Ok(()) => made::delete(&self.cluster, request, namespace, name).await,
                    Err(refusal) => refused(&refusal),
                }
            }
            (&Method::PATCH, ["api", "v1", "namespaces", namespace, "pods", name]) => {
                match self.allowed("patch", "pods", namespace, name) {
                    Ok(()) => made::label(&self.cluster, request, namespace, name).await,
                    Err(refusal) => refused(&refusal),
                }
            }
            (
                _,
                [
                    "apis",
                    claims::GROUP,
                    claims::VERSION,
                    "namespaces",
                    namespace,
                    claims::RESOURCE,
                    name @ ..,
                ],
            ) => claims::answer(&self.cluster, request, namespace, name.first().copied()).await,
            (&Method::GET, parts) => self.read(
                parts,
                &Query::parse(request.uri().query().unwrap_or_default()),
            ),
            _ => refused(&Refusal::method_not_allowed()),
        }
    }

    fn read(self: &Arc<Self>, parts: &[&str], query: &Query) -> Response<Body> {
        match parts {
            ["version"] => answered(&version()),
            ["api"] => answered(
                &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
            ),
            ["apis"] => {
                answered(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}))
            }
            ["api", "v1"] => answered(&resources()),
            ["healthz" | "readyz" | "livez"] => text(StatusCode::OK, "ok".to_owned()),
            ["api", "v1", "namespaces", namespace] => {
                match self.cluster.store.list(Some(namespace)).0.as_slice() {
                    [] => refused(&Refusal::namespace_not_found(namespace)),
                    _ => answered(
                        &json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}, "status": {"phase": "Active"}}),
                    ),
                }
            }
            ["api", "v1", "pods"] => watch::list_or_watch(self, None, query),
            ["api", "v1", "namespaces", namespace, "pods"] => {
                let verb = if query.is_true("watch") {
                    "watch"
                } else {
                    "list"
                };
                match self.allowed(verb, "pods", namespace, "") {
                    Ok(()) => watch::list_or_watch(self, Some(namespace), query),
                    Err(refusal) => refused(&refusal),
                }
            }
            ["api", "v1", "namespaces", namespace, "pods", name] => {
                match self.one_pod(namespace, name) {
                    Ok(pod) => answered(&pod),
                    Err(refusal) => refused(&refusal),
                }
            }
            ["api", "v1", "namespaces", namespace, "secrets", name] => {
                match self.one_secret(namespace, name) {
                    Ok(secret) => answered(&secret),
                    Err(refusal) => refused(&refusal),
                }
            }
            _ => refused(&Refusal::no_such_path()),
        }
    }

    fn one_secret(&self, namespace: &str, name: &str) -> Result<Value, Refusal> {
        self.allowed("get", "secrets", namespace, name)?;
        let secrets = &self.cluster.behaviour().secrets;
        let found = secrets.iter().find(|secret| {
            let metadata = &secret["metadata"];
            metadata["namespace"] == *namespace && metadata["name"] == *name
        });
        found
            .cloned()
            .ok_or_else(|| Refusal::secret_not_found(name))
    }

    fn one_pod(&self, namespace: &str, name: &str) -> Result<Value, Refusal> {
        self.allowed("get", "pods", namespace, name)?;
        let (pod, version) = self
            .cluster
            .store
            .get(namespace, name)
            .ok_or_else(|| Refusal::pod_not_found(name))?;
        Ok(pod.object(version))
    }

    /// Whether whoever asks may do what is asked about.
    async fn review(&self, request: Request<Incoming>) -> Response<Body> {
        let mut review = match made::body(&self.cluster, request).await {
            Ok(review) => review,
            Err(refusal) => return refused(&refusal),
        };
        let asked = &review["spec"]["resourceAttributes"];
        let text = |name: &str| asked[name].as_str().unwrap_or_default();
        let resource = match text("subresource") {
            "" => text("resource").to_owned(),
            subresource => format!("{}/{subresource}", text("resource")),
        };
        let is_allowed = self
            .allowed(text("verb"), &resource, text("namespace"), "")
            .is_ok();
        review["status"] = json!({"allowed": is_allowed});
        created(&review)
    }

    fn allowed(
        &self,
        verb: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), Refusal> {
        let mut behaviour = self.cluster.behaviour();
        behaviour.used.insert(format!("{verb} {resource}"));
        let refused = behaviour
            .forbidden
            .iter()
            .any(|(in_namespace, of)| in_namespace == namespace && of == resource);
        if refused {
            Err(Refusal::forbidden(verb, resource, name, namespace))
        } else {
            Ok(())
        }
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64",
    })
}

fn resources() -> Value {
    json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["create", "delete", "get", "list", "watch"], "shortNames": ["po"]},
        {"name": "pods/exec", "singularName": "", "namespaced": true, "kind": "PodExecOptions", "verbs": ["create", "get"]},
        {"name": "namespaces", "singularName": "namespace", "namespaced": false, "kind": "Namespace", "verbs": ["get"], "shortNames": ["ns"]},
    ]})
}

pub(crate) fn empty() -> Body {
    Full::default()
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn with_body(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut answer = Response::new(
        Full::from(body)
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

pub(crate) fn text(status: StatusCode, body: String) -> Response<Body> {
    with_body(status, "text/plain; charset=utf-8", body)
}

pub(crate) fn created(body: &Value) -> Response<Body> {
    with_body(StatusCode::CREATED, "application/json", body.to_string())
}

pub(crate) fn answered(body: &Value) -> Response<Body> {
    with_body(StatusCode::OK, "application/json", body.to_string())
}

pub(crate) fn refused(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_body(status, "application/json", refusal.body.to_string())
}

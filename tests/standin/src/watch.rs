//! List and watch of pods.
//!
//! Read by clients that follow pods. Invariants: a list and a watch from its version together miss
//! nothing; an object that leaves the selection is told as DELETED; a version that is compacted is
//! answered by one ERROR event with 410, inside a 200, as the API server does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use crate::query::{Query, Selector};
use crate::refusal::Refusal;
use crate::serve::{Api, Body, answered, refused};
use crate::store::Change;

/// How long a watch lasts when the client names no time; the real one picks 30 to 60 minutes.
const WATCH_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Answers a list, or a watch when the query asks for one.
pub(crate) fn list_or_watch(
    api: &Arc<Api>,
    namespace: Option<&str>,
    query: &Query,
) -> Response<Body> {
    match Selector::parse(query) {
        Err(refusal) => refused(&refusal),
        Ok(selector) if query.is_true("watch") => watch(api, namespace, query, selector),
        Ok(selector) => {
            let (mut pods, version) = api.cluster.store.list(namespace);
            pods.retain(|pod| selector.matches(pod));
            answered(
                &json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}, "items": pods}),
            )
        }
    }
}

fn watch(
    api: &Arc<Api>,
    namespace: Option<&str>,
    query: &Query,
    selector: Selector,
) -> Response<Body> {
    let from = match query.first("resourceVersion") {
        None | Some("" | "0") => None,
        Some(version) => match version.parse() {
            Ok(version) => Some(version),
            Err(_) => {
                return refused(&Refusal::bad_request(&format!(
                    "invalid resource version {version:?}"
                )));
            }
        },
    };
    let limit = query
        .first("timeoutSeconds")
        .and_then(|seconds| seconds.parse().ok())
        .map_or(WATCH_LIMIT, Duration::from_secs);
    let (lines, body) = mpsc::unbounded();
    let watching = Watching {
        api: Arc::clone(api),
        namespace: namespace.map(str::to_owned),
        selector,
        lines,
    };
    api.connections.spawn(async move {
        // The stream ends without a word when its time is over, when the client goes, or the API.
        let _ = tokio::time::timeout(limit, watching.follow(from)).await;
    });
    let frames = body.map(|line: Bytes| Ok::<_, io::Error>(Frame::data(line)));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

struct Watching {
    api: Arc<Api>,
    namespace: Option<String>,
    selector: Selector,
    lines: mpsc::UnboundedSender<Bytes>,
}

impl Watching {
    async fn follow(self, from: Option<u64>) {
        let store = &self.api.cluster.store;
        let mut news = store.subscribe();
        let mut seen = from.unwrap_or_else(|| self.present());
        loop {
            news.mark_unchanged();
            match store.changes_after(seen) {
                Err(oldest) => return self.tell("ERROR", &Refusal::expired(seen, oldest).body),
                Ok(changes) => {
                    for change in changes {
                        seen = change.version;
                        self.tell_change(&change);
                    }
                }
            }
            if self.lines.is_closed() {
                return;
            }
            tokio::select! {
                () = self.api.stopped.cancelled() => return,
                changed = news.changed() => if changed.is_err() { return },
            }
        }
    }

    /// A watch without a version begins with what is there, as ADDED.
    fn present(&self) -> u64 {
        let (pods, version) = self.api.cluster.store.list(self.namespace.as_deref());
        for pod in pods.iter().filter(|pod| self.selector.matches(pod)) {
            self.tell("ADDED", pod);
        }
        version
    }

    fn tell_change(&self, change: &Change) {
        let before = change.before.as_ref().filter(|pod| self.selects(pod));
        let after = change.after.as_ref().filter(|pod| self.selects(pod));
        match (before, after) {
            (None, None) => {}
            (None, Some(pod)) => self.tell("ADDED", pod),
            (Some(_), Some(pod)) => self.tell("MODIFIED", pod),
            (Some(pod), None) => {
                let mut last = pod.clone();
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                self.tell("DELETED", &last);
            }
        }
    }

    fn selects(&self, pod: &Value) -> bool {
        let here = self
            .namespace
            .as_deref()
            .is_none_or(|namespace| pod["metadata"]["namespace"] == namespace);
        here && self.selector.matches(pod)
    }

    fn tell(&self, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        // A client that has gone is noticed by the loop.
        let _ = self.lines.unbounded_send(line.into());
    }
}

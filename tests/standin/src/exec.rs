//! `…/pods/{name}/exec`: what is checked before the switch to WebSocket, and what only after it.
//!
//! Read by every client that runs something. Invariant, as in a real cluster: the API server knows
//! pods and container names and refuses before the 101; everything that the node finds out comes
//! after it on v5 (the API server answers for the node) and before it on v4 (the node itself does).

use std::os::fd::OwnedFd;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::channel::{self, Protocol, Session, Socket, Surroundings};
use crate::pod::{Container, Pod};
use crate::process;
use crate::query::Query;
use crate::refusal::Refusal;
use crate::serve::{Api, Body, empty, refused, text};

const UNREACHABLE: &str =
    "error dialing backend: dial tcp 10.0.0.1:10250: connect: no route to host";

/// What the client asked for in the query.
struct Wish {
    argv: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    terminal: bool,
}

/// Answers an exec request, and lets the exec run on after the answer.
pub(crate) fn exec(
    api: &Arc<Api>,
    mut request: Request<Incoming>,
    namespace: &str,
    name: &str,
) -> Response<Body> {
    match prepare(api, &request, namespace, name) {
        Err(refusal) => refused(&refusal),
        Ok((pod, container, wish, protocol)) => {
            let node = check_node(&pod, &container);
            if let (Protocol::V4, Err(trouble)) = (protocol, &node) {
                return trouble.before_switch();
            }
            let answer = switching(request.headers(), protocol);
            let upgrade = hyper::upgrade::on(&mut request);
            let exec = Exec {
                api: Arc::clone(api),
                pod,
                wish,
                protocol,
            };
            api.connections.spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
                    return;
                };
                let stream = parts.io.into_inner();
                let socket = WebSocketStream::from_partially_read(
                    stream,
                    parts.read_buf.to_vec(),
                    Role::Server,
                    None,
                )
                .await;
                exec.serve(socket, node).await;
            });
            answer
        }
    }
}

/// Everything that the API server itself checks.
fn prepare(
    api: &Api,
    request: &Request<Incoming>,
    namespace: &str,
    name: &str,
) -> Result<(Pod, String, Wish, Protocol), Refusal> {
    let (pod, _) = api
        .cluster
        .store
        .get(namespace, name)
        .ok_or_else(|| Refusal::pod_not_found(name))?;
    if let Some(code) = api.cluster.behaviour().refuse_execs {
        return Err(Refusal::told(code));
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let container = choose_container(&pod, query.first("container").unwrap_or_default())?;
    let wish = Wish {
        argv: query.all("command"),
        stdin: query.is_true("stdin"),
        stdout: query.is_true("stdout"),
        stderr: query.is_true("stderr"),
        terminal: query.is_true("tty"),
    };
    if !(wish.stdin || wish.stdout || wish.stderr) {
        return Err(Refusal::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    let wants_websocket = request
        .headers()
        .get(UPGRADE)
        .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !wants_websocket {
        return Err(Refusal::bad_request("Upgrade request required"));
    }
    let protocol = negotiate(request.headers(), api.cluster.behaviour().without_v5)
        .ok_or_else(|| Refusal::bad_request("unable to upgrade: unable to negotiate protocol: the stand-in speaks v5 and v4.channel.k8s.io"))?;
    Ok((pod, container, wish, protocol))
}

fn choose_container(pod: &Pod, wanted: &str) -> Result<String, Refusal> {
    if wanted.is_empty() {
        return match pod.containers.as_slice() {
            [only] => Ok(only.name.clone()),
            several => {
                let names: Vec<&str> = several
                    .iter()
                    .map(|container| container.name.as_str())
                    .collect();
                Err(Refusal::container_needed(&pod.name, &names))
            }
        };
    }
    if pod
        .containers
        .iter()
        .any(|container| container.name == wanted)
    {
        return Ok(wanted.to_owned());
    }
    Err(Refusal::bad_container(wanted, &pod.name))
}

/// What only the node finds out.
enum NodeTrouble {
    Unreachable,
    NoContainer(String),
}

impl NodeTrouble {
    /// v4: the API server only passes on, so a kubelet's refusal comes as the kubelet's plain text.
    fn before_switch(&self) -> Response<Body> {
        match self {
            Self::Unreachable => refused(&Refusal::internal(UNREACHABLE)),
            Self::NoContainer(name) => text(
                StatusCode::NOT_FOUND,
                format!("container not found ({name:?})"),
            ),
        }
    }

    /// v5: the API server has switched already and tells it on the status channel.
    fn after_switch(&self) -> Refusal {
        match self {
            Self::Unreachable => Refusal::internal(UNREACHABLE),
            Self::NoContainer(name) => Refusal::internal(&format!(
                "unable to upgrade connection: container not found ({name:?})"
            )),
        }
    }
}

/// The node may be away, and the container may not run.
fn check_node(pod: &Pod, container: &str) -> Result<Container, NodeTrouble> {
    if pod.unreachable {
        return Err(NodeTrouble::Unreachable);
    }
    let found = pod
        .containers
        .iter()
        .find(|found| found.name == container && found.is_running());
    found
        .cloned()
        .ok_or_else(|| NodeTrouble::NoContainer(container.to_owned()))
}

fn negotiate(headers: &HeaderMap, without_v5: bool) -> Option<Protocol> {
    let offered: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if offered.contains(&"v5.channel.k8s.io") && !without_v5 {
        return Some(Protocol::V5);
    }
    offered
        .contains(&"v4.channel.k8s.io")
        .then_some(Protocol::V4)
}

fn switching(headers: &HeaderMap, protocol: Protocol) -> Response<Body> {
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let name = match protocol {
        Protocol::V4 => "v4.channel.k8s.io",
        Protocol::V5 => "v5.channel.k8s.io",
    };
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let added = answer.headers_mut();
    added.insert(UPGRADE, HeaderValue::from_static("websocket"));
    added.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    added.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
        added.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}

struct Exec {
    api: Arc<Api>,
    pod: Pod,
    wish: Wish,
    protocol: Protocol,
}

impl Exec {
    async fn serve(self, mut socket: Socket, node: Result<Container, NodeTrouble>) {
        let key = (self.pod.namespace.clone(), self.pod.name.clone());
        let execs = Arc::clone(&self.api.cluster.execs);
        let mut registered = execs.register(key.clone());
        channel::greet(&mut socket, self.wish.stdout, self.wish.stderr).await;
        match node
            .map_err(|trouble| trouble.after_switch())
            .and_then(|container| self.start(&container))
        {
            Err(refusal) => channel::finish(socket, Some(refusal.on_channel())).await,
            Ok(session) => {
                execs.count_start();
                let around = Surroundings {
                    execs: Arc::clone(&execs),
                    pod: key,
                    protocol: self.protocol,
                    api: self.api.stopped.clone(),
                };
                channel::run(socket, session, &around, &mut registered).await;
            }
        }
        execs.release(&registered);
    }

    fn start(&self, container: &Container) -> Result<Session, Refusal> {
        let terminal = if self.wish.terminal {
            Some(process::open_terminal().map_err(|error| self.cannot_start(&error))?)
        } else {
            None
        };
        let (ours, theirs) = terminal.unzip();
        let child = process::spawn(&self.pod.name, container, &self.wish.argv, theirs.as_ref());
        let mut child = child.map_err(|error| self.cannot_start(&error))?;
        // The container may have gone while its process was made; nothing would end that one.
        let now = self
            .api
            .cluster
            .store
            .get(&self.pod.namespace, &self.pod.name);
        if !now.is_some_and(|(pod, _)| {
            pod.containers
                .iter()
                .any(|there| there.id == container.id && there.is_running())
        }) {
            process::kill_container(&container.id);
        }
        let wish = &self.wish;
        let (stdin, stdout, stderr) = match &ours {
            None => (
                child.stdin.take().map(writer),
                child.stdout.take().map(reader),
                child.stderr.take().map(reader),
            ),
            Some(terminal) => (
                terminal_file(terminal).map(writer),
                terminal_file(terminal).map(reader),
                None,
            ),
        };
        Ok(Session {
            argv: wish.argv.clone(),
            child,
            stdin: stdin.filter(|_| wish.stdin),
            stdout: stdout.filter(|_| wish.stdout),
            stderr: stderr.filter(|_| wish.stderr),
            terminal: ours,
        })
    }

    /// The words of kubelet, containerd and runc, one around the other.
    fn cannot_start(&self, error: &std::io::Error) -> Refusal {
        let program = self.wish.argv.first().map_or("", String::as_str);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the kinds grow; runc has words of its own for few"
        )]
        let why = match error.kind() {
            std::io::ErrorKind::NotFound if program.contains('/') => {
                format!("stat {program}: no such file or directory")
            }
            std::io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        let exec_id = format!(
            "{}{}",
            uuid::Uuid::new_v4().simple(),
            uuid::Uuid::new_v4().simple()
        );
        let cause = format!(
            "error executing command in container: failed to exec in container: failed to start exec {exec_id:?}: OCI runtime exec failed: \
             exec failed: unable to start container process: exec: {program:?}: {why}: unknown"
        );
        match self.protocol {
            Protocol::V4 => Refusal::internal(&cause),
            // The API server wraps what the node said into the same words once more.
            Protocol::V5 => Refusal::internal(&format!("Internal error occurred: {cause}")),
        }
    }
}

fn reader(from: impl AsyncRead + Send + Unpin + 'static) -> Box<dyn AsyncRead + Send + Unpin> {
    Box::new(from)
}

fn writer(to: impl AsyncWrite + Send + Unpin + 'static) -> Box<dyn AsyncWrite + Send + Unpin> {
    Box::new(to)
}

fn terminal_file(terminal: &OwnedFd) -> Option<tokio::fs::File> {
    Some(tokio::fs::File::from_std(std::fs::File::from(
        terminal.try_clone().ok()?,
    )))
}

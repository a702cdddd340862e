//! The `local` backend and its channels with the real shim: this program, run again as one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other event fails the test"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rdev_executor::pod::channel::{Channels, ExecEvent, ExecHandle};
use rdev_executor::pod::local::LocalBackend;
use rdev_executor::pod::{Backend, PodError, PodIdentity, PodRef};
use rdev_frames::{Acknowledged, End, Exit, Offsets, RefusalCode, Spec};
use rdev_shim::Program;

const WINDOW_BYTES: u64 = 256 * 1024;

/// Longer than anything here takes: when it passes, something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Machine {
    root: tempfile::TempDir,
    backend: Arc<dyn Backend>,
}

impl Machine {
    fn new() -> Self {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_rdev-executor"));
        let program = Program {
            file: program,
            prefix: vec!["shim".into()],
        };
        let root = tempfile::tempdir().unwrap();
        let backend = LocalBackend::new(
            root.path().to_owned(),
            root.path().join(".secrets"),
            program,
        );
        Self {
            root,
            backend: Arc::new(backend),
        }
    }

    async fn pod(&self, name: &str) -> PodIdentity {
        self.backend.inspect(&pod_ref("demo", name)).await.unwrap()
    }

    fn channels(&self) -> Channels {
        Channels::new(Arc::clone(&self.backend))
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.root.path().join("demo").join(name)
    }
}

fn pod_ref(project: &str, name: &str) -> PodRef {
    PodRef {
        project: project.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        container: String::new(),
    }
}

fn shell(script: &str) -> Spec {
    Spec::new(["sh", "-c", script].map(str::to_owned).to_vec())
}

async fn next(exec: &mut ExecHandle) -> ExecEvent {
    tokio::time::timeout(PATIENCE, exec.next())
        .await
        .unwrap_or_else(|_| panic!("nothing comes any more"))
}

/// Reads to the end, acknowledging as it goes; gives what was printed from `from` on.
async fn finish(exec: &mut ExecHandle, from: Offsets) -> (Vec<u8>, Box<End>) {
    let mut output = Vec::new();
    let mut to = from;
    loop {
        match next(exec).await {
            ExecEvent::Accepted { .. } | ExecEvent::Controlled { .. } => {}
            ExecEvent::Output(chunk) => {
                output.extend_from_slice(&chunk.bytes);
                to.set(chunk.stream, chunk.end_offset());
                acknowledge(exec, to).await;
            }
            ExecEvent::End(end) => return (output, end),
            other => panic!("{other:?}"),
        }
    }
}

async fn acknowledge(exec: &ExecHandle, offsets: Offsets) {
    exec.acknowledge(Acknowledged {
        offsets,
        next_event_number: 0,
    })
    .await;
}

#[tokio::test]
async fn a_command_runs_in_the_directory_of_its_pod_which_is_empty() {
    let machine = Machine::new();
    let pod = machine.pod("pod-1").await;
    let channel = machine.channels().get(&pod).await.unwrap();
    let spec = shell("pwd; ls -A; echo \"[$RDEV_SHIM_DIR]\" >&2");
    let mut exec = channel
        .launch("one".to_owned(), spec, Offsets::default(), WINDOW_BYTES)
        .await;
    let (output, end) = finish(&mut exec, Offsets::default()).await;
    let directory = machine.directory("pod-1").canonicalize().unwrap();
    let output = String::from_utf8(output).unwrap();
    assert!(
        output.contains(&format!("{}\n", directory.display())),
        "{output}"
    );
    assert!(
        output.contains("[]\n") && output.lines().count() == 2,
        "{output}"
    );
    assert_eq!(end.exit, Exit::Code(0));
}

#[tokio::test]
async fn many_execs_share_one_channel_and_a_stalled_one_holds_up_no_other() {
    let machine = Machine::new();
    let pod = machine.pod("pod-1").await;
    let channels = machine.channels();
    let channel = channels.get(&pod).await.unwrap();
    let bulk = shell("head -c 20000000 /dev/zero");
    let mut stalled = channel
        .launch("stalled".to_owned(), bulk, Offsets::default(), WINDOW_BYTES)
        .await;
    let mut others = Vec::new();
    for number in 0..20 {
        let channel = channels.get(&pod).await.unwrap();
        let spec = shell(&format!("echo {number}; exit {number}"));
        let key = format!("exec/{number}");
        others.push(
            channel
                .launch(key, spec, Offsets::default(), WINDOW_BYTES)
                .await,
        );
    }
    for (number, exec) in others.iter_mut().enumerate() {
        let (output, end) = finish(exec, Offsets::default()).await;
        assert_eq!(String::from_utf8(output).unwrap(), format!("{number}\n"));
        assert_eq!(end.exit, Exit::Code(i32::try_from(number).unwrap()));
    }
    assert_eq!(children_named("serve", &pod), 1, "one connection for all");
    // Only a window of the stalled one waits; acknowledged, it goes on.
    let mut to = Offsets::default();
    while to.stdout < WINDOW_BYTES {
        if let ExecEvent::Output(chunk) = next(&mut stalled).await {
            to.stdout = chunk.end_offset();
        }
    }
    acknowledge(&stalled, to).await;
    let (rest, end) = finish(&mut stalled, to).await;
    assert_eq!(to.stdout + rest.len() as u64, 20_000_000);
    assert_eq!(end.stdout_bytes, 20_000_000);
}

/// How many processes have the shim state of `pod` in their environment and `word` as an argument.
fn children_named(word: &str, pod: &PodIdentity) -> usize {
    serves(word, pod).len()
}

fn serves(word: &str, pod: &PodIdentity) -> Vec<i32> {
    let holds = |path: &Path, text: &str| {
        std::fs::read(path).is_ok_and(|bytes| {
            bytes
                .split(|byte| *byte == 0)
                .any(|part| part.ends_with(text.as_bytes()))
        })
    };
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter(|process| holds(&process.path().join("cmdline"), word))
        .filter(|process| {
            holds(
                &process.path().join("environ"),
                &format!(".shim/{}", pod.uid),
            )
        })
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}

#[tokio::test]
async fn when_the_channel_is_killed_the_exec_is_followed_from_its_offset() {
    let machine = Machine::new();
    let pod = machine.pod("pod-1").await;
    let channels = machine.channels();
    let script =
        "echo $$ >> started; echo before; while [ ! -e go-on ]; do sleep 0.02; done; echo after";
    let channel = channels.get(&pod).await.unwrap();
    let key = || "exec".to_owned();
    let mut exec = channel
        .launch(key(), shell(script), Offsets::default(), WINDOW_BYTES)
        .await;
    assert!(matches!(
        next(&mut exec).await,
        ExecEvent::Accepted {
            existing: false,
            ..
        }
    ));
    assert!(matches!(next(&mut exec).await, ExecEvent::Output(chunk) if chunk.bytes == "before\n"));
    for serve in serves("serve", &pod) {
        let kill = std::process::Command::new("kill")
            .args(["-9", &serve.to_string()])
            .status();
        assert!(kill.unwrap().success());
    }
    assert!(matches!(next(&mut exec).await, ExecEvent::Disconnected(_)));
    let from = Offsets::new(7, 0);
    let channel = channels.get(&pod).await.unwrap();
    let mut exec = channel.follow(key(), from, WINDOW_BYTES).await;
    assert!(matches!(
        next(&mut exec).await,
        ExecEvent::Accepted { existing: true, .. }
    ));
    let directory = machine.directory("pod-1");
    std::fs::write(directory.join("go-on"), "").unwrap();
    let (output, end) = finish(&mut exec, from).await;
    assert_eq!((output.as_slice(), end.stdout_bytes), (&b"after\n"[..], 13));
    let started = std::fs::read_to_string(directory.join("started")).unwrap();
    assert_eq!(started.lines().count(), 1);
    // Collected, it is not run again.
    channel.collect(key()).await;
    let mut again = channel
        .launch(key(), shell(script), from, WINDOW_BYTES)
        .await;
    assert!(matches!(
        next(&mut again).await,
        ExecEvent::Refused {
            code: RefusalCode::Collected,
            ..
        }
    ));
}

#[tokio::test]
async fn a_cancelled_exec_ends() {
    let machine = Machine::new();
    let pod = machine.pod("pod-1").await;
    let channel = machine.channels().get(&pod).await.unwrap();
    let spec = shell("echo ready; sleep 300");
    let mut exec = channel
        .launch("exec".to_owned(), spec, Offsets::default(), WINDOW_BYTES)
        .await;
    while !matches!(next(&mut exec).await, ExecEvent::Output(_)) {}
    exec.cancel(1).await;
    let (_, end) = finish(&mut exec, Offsets::default()).await;
    assert!(end.canceled);
    assert_eq!(end.exit, Exit::Signal(15));
}

#[tokio::test]
async fn a_directory_that_was_made_again_is_another_pod() {
    let machine = Machine::new();
    let before = machine.pod("pod-1").await;
    assert_eq!(machine.pod("pod-1").await, before);
    std::fs::remove_dir(machine.directory("pod-1")).unwrap();
    assert!(matches!(
        machine.channels().get(&before).await,
        Err(PodError::Replaced(_))
    ));
    let after = machine.pod("pod-1").await;
    assert_ne!(after, before);
    assert!(matches!(
        machine.channels().get(&before).await,
        Err(PodError::Replaced(_))
    ));
    assert!(machine.channels().get(&after).await.is_ok());
}

#[tokio::test]
async fn names_that_are_no_ids_make_no_path() {
    let machine = Machine::new();
    for (project, name) in [
        ("..", "pod"),
        ("demo", "../x"),
        ("demo", ".."),
        ("a/b", "pod"),
        ("", "p"),
    ] {
        let refused = machine.backend.inspect(&pod_ref(project, name)).await;
        assert!(
            matches!(refused, Err(PodError::Refused(_))),
            "{project} {name}"
        );
    }
    assert_eq!(std::fs::read_dir(machine.root.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_program_that_is_no_shim_fails_with_a_reason_and_once_for_all_who_wait() {
    let root = tempfile::tempdir().unwrap();
    let tries = root.path().join("tries");
    let script = format!("echo tried >> {}; sleep 0.3; exit 3", tries.display());
    let program = Program {
        file: "sh".into(),
        prefix: vec!["-c".into(), script.into()],
    };
    let backend = LocalBackend::new(
        root.path().to_owned(),
        root.path().join(".secrets"),
        program,
    );
    let channels = Channels::new(Arc::new(backend));
    let pod = channels
        .backend()
        .inspect(&pod_ref("demo", "pod-1"))
        .await
        .unwrap();
    let (first, second) = tokio::join!(channels.get(&pod), channels.get(&pod));
    for result in [first, second] {
        match result {
            Err(PodError::Unavailable(reason)) => {
                assert!(reason.contains("exit status: 3"), "{reason}");
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("a channel without a shim"),
        }
    }
    assert_eq!(std::fs::read_to_string(tries).unwrap(), "tried\n");
}

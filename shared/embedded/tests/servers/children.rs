use rdev_embedded::{Output, Program, Signal, SpawnError};
use std::fs;
use std::time::Duration;

/// Longer than any wait of these tests.
const GRACE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn input_output_and_environment_are_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("input");
    fs::write(&input, "from a file\n").unwrap();
    let program = Program::new("sh")
        .arguments([
            "-c",
            "cat; echo \"$1 $A ${HOME:-none}\"; pwd; echo problem >&2; exit 3",
            "sh",
        ])
        .argument("argument")
        .without_our_environment()
        .variable("A", "variable")
        .directory(directory.path())
        .stdin(&input)
        .stdout(Output::Append(directory.path().join("out")))
        .stderr(Output::Append(directory.path().join("err")));
    let child = program.spawn().unwrap();
    assert_eq!(child.wait().await.code(), Some(3));
    let out = fs::read_to_string(directory.path().join("out")).unwrap();
    let place = directory.path().canonicalize().unwrap();
    assert_eq!(
        out,
        format!("from a file\nargument variable none\n{}\n", place.display())
    );
    assert_eq!(
        fs::read_to_string(directory.path().join("err")).unwrap(),
        "problem\n"
    );

    // The same value starts another one, which adds to the same log.
    let again = program.spawn().unwrap();
    assert_eq!(again.wait().await.code(), Some(3));
    let twice = fs::read_to_string(directory.path().join("out")).unwrap();
    assert_eq!(twice.len(), 2 * out.len());
}

#[tokio::test]
async fn a_child_outlives_the_thread_that_asked_for_it() {
    let start = || Program::new("sleep").argument("100").spawn().unwrap();
    let child = std::thread::spawn(start).join().unwrap();
    // A second child of a second thread: were the first one tied to its thread, it would be gone.
    let second = std::thread::spawn(start).join().unwrap();
    second.kill().await;
    assert_eq!(child.status(), None);
    child.kill().await;
    assert!(child.status().is_some());
}

#[tokio::test]
async fn stop_is_polite_first_and_firm_then() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let polite = Program::new("sh")
        .arguments([
            "-c",
            "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done",
        ])
        .log(&log)
        .spawn()
        .unwrap();
    wait_for(&log, "up").await;
    assert!(polite.stop(Signal::TERM, GRACE).await.success());
    assert!(fs::read_to_string(&log).unwrap().contains("bye"));

    let stubborn = directory.path().join("stubborn");
    let child = Program::new("sh")
        .arguments(["-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"])
        .log(&stubborn)
        .spawn()
        .unwrap();
    wait_for(&stubborn, "up").await;
    let status = child.stop(Signal::TERM, Duration::from_millis(300)).await;
    assert_eq!(status.code(), None, "killed");
    child.signal(Signal::TERM).unwrap();
}

async fn wait_for(file: &std::path::Path, text: &str) {
    while !fs::read_to_string(file).unwrap_or_default().contains(text) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_dropped_child_is_signalled() {
    let child = Program::new("sleep").argument("100").spawn().unwrap();
    let process = crate::handle(child.pid());
    drop(child);
    assert!(crate::ends_within(&process, 10));
}

#[test]
fn what_is_missing_is_named() {
    let missing = Program::new("/no/such/program").spawn().unwrap_err();
    assert!(matches!(missing, SpawnError::NoProgram { .. }));
    assert!(missing.to_string().contains("/no/such/program"));
    let missing = Program::new("no-such-program-on-path").spawn().unwrap_err();
    assert!(missing.to_string().contains("PATH"), "{missing}");
    let input = Program::new("cat")
        .stdin("/no/such/input")
        .spawn()
        .unwrap_err();
    assert!(input.to_string().contains("/no/such/input"), "{input}");
}

#[test]
fn without_setpriv_the_error_says_what_to_install() {
    let directory = tempfile::tempdir().unwrap();
    let output = crate::myself("children::spawns_cat")
        .env("PATH", directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("util-linux"), "{said}");
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn spawns_cat() {
    println!(
        "{:?}",
        Program::new("/bin/cat")
            .spawn()
            .map_err(|error| error.to_string())
    );
}

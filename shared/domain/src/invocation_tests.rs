//! Invocations: given a command and its session, then what is executed.

use jiff::Timestamp;
use rdev_contract::event::Requester;
use rdev_contract::session::{Created, Linked};

use super::*;

const RESUMED: &str = "f1f4509e-1d42-4e14-a6d2-37bbe0556b4b";

fn session_id() -> SessionId {
    "01930000-0000-7000-8000-000000000001".parse().unwrap()
}

fn context(resume_id: Option<&str>) -> InvocationContext {
    InvocationContext {
        claude_bin: "/opt/claude".to_owned(),
        home: Some("/home/agent".to_owned()),
        session: session_id(),
        stream: "s-1".parse().unwrap(),
        command_seq: StreamSeq(42),
        resume_id: resume_id.map(|id| id.parse().unwrap()),
    }
}

fn spec(work: Work) -> CommandSpec {
    CommandSpec {
        args: vec!["a b".to_owned(), "-x".to_owned()],
        env: BTreeMap::from([("KEY".to_owned(), "value".to_owned())]),
        cwd: Some("/work".to_owned()),
        merge: true,
        ..CommandSpec::new(work, 60)
    }
}

fn claude(continue_conversation: bool, conversation_id: Option<&str>) -> CommandSpec {
    spec(Work::Claude {
        prompt: "--help".to_owned(),
        continue_conversation,
        conversation_id: conversation_id.map(str::to_owned),
    })
}

fn linked_session(claude_session: Option<&str>) -> SessionState {
    let session = session_id();
    SessionState {
        project: "demo".parse().unwrap(),
        session,
        created: Created {
            pod: "pod-1".parse().unwrap(),
            namespace: None,
            container: None,
            by: Requester::default(),
        },
        created_at: Timestamp::UNIX_EPOCH,
        linked: claude_session.map(|id| Linked {
            claude_session_id: id.parse().unwrap(),
            conversation_id: session.conversation(),
            stream: "s-0".parse().unwrap(),
            command_seq: StreamSeq(1),
        }),
        ended: None,
        ended_at: None,
    }
}

#[test]
fn shell_gets_its_arguments_from_one() {
    let spec = CommandSpec {
        stdin: Some("in".to_owned()),
        ..spec(Work::Shell {
            command: "echo \"$1\"".to_owned(),
        })
    };
    let invocation = invocation(&spec, &context(None));
    assert_eq!(
        invocation.argv,
        ["sh", "-c", "echo \"$1\"", "sh", "a b", "-x"]
    );
    assert_eq!(invocation.stdin, b"in");
    assert_eq!(invocation.env["KEY"], "value");
    assert_eq!(invocation.env["HOME"], "/home/agent");
    assert_eq!(invocation.env.len(), 2);
    assert_eq!(invocation.cwd.as_deref(), Some("/work"));
    assert_eq!(invocation.timeout, Duration::from_secs(60));
    assert_eq!(
        invocation.stop,
        [StopStep {
            signal: 15,
            wait: STOP_STEP_WAIT
        }]
    );
    assert!(invocation.merge && invocation.held_back);
    assert_eq!(invocation.format, Format::Lines { merge: true });
}

#[test]
fn git_never_sees_a_shell() {
    let spec = spec(Work::Git {
        command: "commit; rm".to_owned(),
    });
    let invocation = invocation(&spec, &context(None));
    assert_eq!(invocation.argv, ["git", "commit; rm", "a b", "-x"]);
}

#[test]
fn claude_gets_its_prompt_by_stdin_and_a_session_of_its_own() {
    let invocation = invocation(&claude(false, None), &context(None));
    let new = new_claude_session(session_id(), &"s-1".parse().unwrap(), StreamSeq(42)).to_string();
    let expected = [
        "/opt/claude",
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        "a b",
        "-x",
        "--session-id",
        new.as_str(),
    ];
    assert_eq!(invocation.argv, expected);
    assert_eq!(invocation.stdin, b"--help");
    assert!(!invocation.merge && !invocation.held_back);
    let signals: Vec<i32> = invocation.stop.iter().map(|step| step.signal).collect();
    assert_eq!(signals, [2, 15]);
    assert_eq!(invocation.format, Format::Claude);
}

#[test]
fn claude_runs_in_an_environment_that_its_reader_relies_on() {
    let mut spec = claude(false, None);
    spec.env.insert(
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS".to_owned(),
        "0".to_owned(),
    );
    spec.env.insert("HOME".to_owned(), "/elsewhere".to_owned());
    spec.env.insert("IS_SANDBOX".to_owned(), "0".to_owned());
    let env = invocation(&spec, &context(None)).env;
    for name in [
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        "CLAUDE_CODE_STARTUP_FAILURE_RESULTS",
    ] {
        assert_eq!(env[name], "1", "{name}");
    }
    assert_eq!(env["HOME"], "/elsewhere");
    assert_eq!(env["IS_SANDBOX"], "0");
}

#[test]
fn claude_resumes_instead_of_beginning() {
    let argv = invocation(&claude(true, None), &context(Some(RESUMED))).argv;
    assert_eq!(argv[argv.len() - 2..], ["--resume", RESUMED]);
    assert!(!argv.iter().any(|argument| argument == "--session-id"));
}

#[test]
fn what_is_resumed() {
    let fresh = linked_session(None);
    let linked = linked_session(Some(RESUMED));
    let own_record = session_id().conversation().to_string();
    let other = "0ddba11e-1d42-4e14-a6d2-37bbe0556b4b";
    let of = |spec: &CommandSpec, session| resume_id(spec, session).map(|id| id.to_string());
    assert_eq!(of(&claude(false, None), &linked), None);
    assert_eq!(of(&claude(true, None), &fresh), None);
    assert_eq!(of(&claude(true, None), &linked).as_deref(), Some(RESUMED));
    assert_eq!(
        of(&claude(false, Some(&own_record)), &linked).as_deref(),
        Some(RESUMED)
    );
    assert_eq!(of(&claude(false, Some(&own_record)), &fresh), None);
    assert_eq!(
        of(&claude(true, Some(other)), &linked).as_deref(),
        Some(other)
    );
    let shell = spec(Work::Shell {
        command: "true".to_owned(),
    });
    assert_eq!(of(&shell, &linked), None);
}

#[test]
fn a_new_claude_session_is_the_same_for_every_attempt() {
    let stream = "s-1".parse().unwrap();
    let id = new_claude_session(session_id(), &stream, StreamSeq(42));
    assert_eq!(id, new_claude_session(session_id(), &stream, StreamSeq(42)));
    assert_ne!(id, new_claude_session(session_id(), &stream, StreamSeq(43)));
}

//! Invocations: given a command and its session, then what is executed.

use jiff::Timestamp;
use rdev_contract::agent::Agent;
use rdev_contract::event::Requester;
use rdev_contract::session::{CodexLinked, Created, Linked};

use super::*;

const CLAUDE: Format = Format::Agent(Agent::Claude);

const RESUMED: &str = "f1f4509e-1d42-4e14-a6d2-37bbe0556b4b";

fn session_id() -> SessionId {
    "01930000-0000-7000-8000-000000000001".parse().unwrap()
}

fn context(resume_id: Option<&str>) -> InvocationContext {
    InvocationContext {
        programs: AgentPrograms {
            claude: "/opt/claude".to_owned(),
            codex: "/opt/codex".to_owned(),
        },
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
        created: Created::of_pod("pod-1".parse().unwrap(), Requester::default()),
        created_at: Timestamp::UNIX_EPOCH,
        linked: claude_session.map(|id| Linked {
            claude_session_id: id.parse().unwrap(),
            conversation_id: session.conversation(),
            stream: "s-0".parse().unwrap(),
            command_seq: StreamSeq(1),
        }),
        codex_linked: None,
        pod: None,
        idle_ends_at: None,
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
fn a_terminal_has_a_name_and_is_hung_up() {
    let size = TerminalSize {
        cols: 120,
        rows: 40,
    };
    let mut spec = spec(Work::Git {
        command: "log".to_owned(),
    });
    spec.tty = Some(size);
    let with = invocation(&spec, &context(None));
    assert_eq!((with.terminal, with.format), (Some(size), Format::Terminal));
    assert_eq!(with.env["TERM"], "xterm-256color");
    let steps = with.stop.iter().map(|step| (step.signal, step.wait));
    let expected = [(SIGHUP, STOP_STEP_WAIT), (SIGTERM, STOP_STEP_WAIT)];
    assert!(steps.eq(expected));
    spec.env.insert("TERM".to_owned(), "dumb".to_owned());
    let with = invocation(&spec, &context(None));
    assert_eq!(with.env["TERM"], "dumb");
    spec.tty = None;
    let without = invocation(&spec, &context(None));
    assert_eq!((without.terminal, without.stop.len()), (None, 1));
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
    assert_eq!(invocation.format, CLAUDE);
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

fn codex(continue_conversation: bool, conversation_id: Option<&str>) -> CommandSpec {
    spec(Work::Codex {
        prompt: "resume --last".to_owned(),
        continue_conversation,
        conversation_id: conversation_id.map(str::to_owned),
    })
}

#[test]
fn codex_gets_its_prompt_by_stdin() {
    let fixed = ["/opt/codex", "exec", "--json", "--skip-git-repo-check"];
    let fresh = invocation(&codex(false, None), &context(None));
    let expected: Vec<_> = fixed.into_iter().chain(["a b", "-x", "-"]).collect();
    assert_eq!(fresh.argv, expected);
    assert_eq!(fresh.stdin, b"resume --last");
    assert!(!fresh.merge && !fresh.held_back);
    assert_eq!(fresh.format, Format::Agent(Agent::Codex));
    let signals: Vec<i32> = fresh.stop.iter().map(|step| step.signal).collect();
    assert_eq!(signals, [2, 15]);

    let resumed = invocation(&codex(true, None), &context(Some(RESUMED)));
    let ends = ["a b", "-x", "resume", RESUMED, "-"];
    let expected: Vec<_> = fixed.into_iter().chain(ends).collect();
    assert_eq!(resumed.argv, expected);
}

/// Claude and codex each go on with their own session.
#[test]
fn agents_do_not_resume_each_others_sessions() {
    let claude_session = "11111111-2222-4333-8444-555555555555";
    let mut session = linked_session(Some(claude_session));
    assert_eq!(resume_id(&codex(true, None), &session), None);
    session.codex_linked = Some(CodexLinked {
        codex_session_id: RESUMED.parse().unwrap(),
        conversation_id: session.session.conversation(),
        stream: "s-0".parse().unwrap(),
        command_seq: StreamSeq(2),
    });
    let of = |spec: &CommandSpec| resume_id(spec, &session).map(|id| id.to_string());
    let conversation = session.session.conversation().to_string();
    assert_eq!(of(&codex(true, None)).as_deref(), Some(RESUMED));
    assert_eq!(
        of(&codex(false, Some(&conversation))).as_deref(),
        Some(RESUMED)
    );
    assert_eq!(of(&claude(true, None)).as_deref(), Some(claude_session));
    assert_eq!(
        of(&codex(false, Some(claude_session))).as_deref(),
        Some(claude_session)
    );
    assert_eq!(of(&codex(false, None)), None);
}

#[test]
fn an_agent_that_asks_is_given_its_prompt_in_a_line_and_kept_open() {
    let mut spec = claude(false, None);
    spec.approvals = Some(rdev_contract::event::ApprovalPolicy {
        timeout_seconds: None,
        on_timeout: rdev_contract::event::OnTimeout::Deny,
    });
    let invocation = invocation(&spec, &context(None));
    assert_eq!(
        invocation.argv[1..11],
        [
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--input-format",
            "stream-json",
            "--permission-prompt-tool",
            "stdio",
            "a b",
            "-x"
        ]
    );
    assert!(invocation.stdin_open);
    assert!(invocation.stdin.ends_with(b"\n") && invocation.stdin.starts_with(b"{"));
}

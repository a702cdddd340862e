//! What commands print and how they end, seen by a reader.

use rdev_tests::Outcome;
use rdev_tests::transcript::sha256;
use rdev_tests::world::World;
use serde_json::{Value, json};

use super::{options, world};

#[tokio::test]
async fn a_first_command_is_seen_from_start_to_end() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("first").await?;
    let body = json!({"type": "shell", "command": "echo hi"});
    let answer = client
        .post(&format!("/sessions/{session}/exec"), &body)
        .await?;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let accepted = answer.json();
    let stream = accepted["id"].as_str().unwrap_or_default();
    assert!(stream.starts_with("session-"), "{accepted}");
    let url = format!("/projects/demo/sessions/{session}/events?stream_id={stream}");
    let wanted = json!({
        "id": stream, "session_id": session, "type": "shell", "status": "running",
        "stream_url": url,
    });
    assert_eq!(accepted, wanted);
    assert_eq!(answer.header("location"), url);

    let transcript = client.transcript(&session, stream).await?;
    transcript.check()?;
    let names: Vec<_> = transcript
        .names()
        .into_iter()
        .filter(|name| *name != "caught_up")
        .collect();
    assert_eq!(names, ["connected", "output", "complete"]);
    let connected = transcript.events[0].json();
    let wanted = json!({"session_id": session, "stream_id": stream, "reconnecting": false});
    assert_eq!(connected, wanted);
    let output = transcript.numbered()[0].json();
    assert_eq!(output, json!({"line": "hi", "stream": "stdout"}));
    let complete = transcript.complete();
    assert_eq!(complete["exit_code"], 0);
    assert_eq!(complete["ok"], true);
    assert_eq!(complete["outcome"], "exited");
    assert_eq!(complete["stdout_sha256"], sha256(b"hi\n"));
    Ok(())
}

#[tokio::test]
async fn every_way_to_end_is_one_terminal_event() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("endings").await?;
    let shell = |command: &str| json!({"type": "shell", "command": command});
    let cases = [
        (shell("exit 0"), 0, "exited"),
        (shell("exit 1"), 1, "exited"),
        (shell("/etc/passwd"), 126, "exited"),
        (shell("no-such-program-here"), 127, "exited"),
        (shell("exit 143"), 143, "exited"),
        (shell("kill -9 $$"), 137, "signaled"),
        (shell("kill -TERM $$"), 143, "signaled"),
        (
            json!({"type": "shell", "command": "sleep 60", "timeout_seconds": 1}),
            -1,
            "timed_out",
        ),
        (
            json!({"type": "git", "command": "no-such-subcommand"}),
            1,
            "exited",
        ),
        (
            json!({"type": "shell", "command": "true", "cwd": "/no/such/directory"}),
            126,
            "exited",
        ),
    ];
    for (body, exit_code, outcome) in cases {
        let transcript = client.run(&session, &body).await?;
        transcript
            .check()
            .map_err(|wrong| format!("{body}: {wrong}"))?;
        let complete = transcript.complete();
        assert_eq!(complete["exit_code"], exit_code, "{body}: {complete}");
        assert_eq!(complete["outcome"], outcome, "{body}: {complete}");
        assert_eq!(complete["ok"], exit_code == 0, "{body}: {complete}");
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_program_is_told() -> Outcome<()> {
    let options = options().variable("RDEV_CLAUDE_BIN", "/no/such/claude");
    let (_world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("missing").await?;
    let transcript = client
        .run(&session, &json!({"type": "claude", "prompt": "hello"}))
        .await?;
    transcript.check()?;
    let complete = transcript.complete();
    assert_eq!(complete["exit_code"], 127, "{complete}");
    assert_eq!(complete["ok"], false);
    let reason = complete["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("/no/such/claude"), "{complete}");
    Ok(())
}

#[tokio::test]
async fn the_bytes_are_exact() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("bytes").await?;
    // Every byte value, a character cut in two by a pause, carriage returns, text that looks like
    // an event, and no newline at the end.
    let command = r#"
        i=0; while [ $i -lt 256 ]; do printf "\\$(printf %03o $i)"; i=$((i+1)); done
        printf '\303'; sleep 0.3; printf '\251\n'
        printf '10%%\r20%%\r100%%\n'
        printf 'data: x\n\nevent: complete\ndata: {}\n\n'
        printf 'to stderr\n' >&2
        printf 'no newline'"#;
    let transcript = client.shell(&session, command).await?;
    transcript.check()?;
    let mut wanted: Vec<u8> = (0..=255).collect();
    wanted.extend("é\n10%\r20%\r100%\ndata: x\n\nevent: complete\ndata: {}\n\nno newline".bytes());
    assert_eq!(transcript.bytes("stdout"), wanted);
    assert_eq!(transcript.bytes("stderr"), b"to stderr\n");
    Ok(())
}

#[tokio::test]
async fn a_line_of_fifty_megabytes_is_exact() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("long").await?;
    let command = "head -c 52428800 /dev/zero | tr '\\0' x; echo; echo behind";
    let transcript = client.shell(&session, command).await?;
    // The hash in `complete` is the supervisor's own; `check` compares it with what came.
    transcript.check()?;
    assert_eq!(transcript.complete()["stdout_bytes"], 52_428_800 + 8);
    Ok(())
}

#[tokio::test]
async fn many_lines_are_exact_and_numbered() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("many").await?;
    let transcript = client.shell(&session, "seq 1 100000").await?;
    transcript.check()?;
    let wanted: String = (1..=100_000).map(|line| format!("{line}\n")).collect();
    assert_eq!(transcript.stdout(), wanted);
    Ok(())
}

#[tokio::test]
async fn environment_directory_arguments_input_and_merge() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("details").await?;
    let body = json!({
        "type": "shell",
        "command": "pwd; echo \"$GREETING\"; printf '%s|' \"$@\"; cat; env | grep ^RDEV_; true",
        "args": ["a b", "$(id)", "-x"],
        "env": {"GREETING": "hello; world"},
        "cwd": "/usr",
        "stdin": "from stdin\n",
    });
    let transcript = client.run(&session, &body).await?;
    transcript.check()?;
    assert_eq!(
        transcript.stdout(),
        "/usr\nhello; world\na b|$(id)|-x|from stdin\n"
    );

    let transcript = client.shell(&session, "pwd").await?;
    let pod = world.pods().join("demo").join("details");
    assert_eq!(
        transcript.stdout().trim(),
        pod.canonicalize()?.display().to_string()
    );

    let command = "for i in 1 2 3; do echo out$i; echo err$i >&2; done";
    let body = json!({"type": "shell", "command": command, "merge": true});
    let transcript = client.run(&session, &body).await?;
    transcript.check()?;
    assert_eq!(transcript.stdout(), "out1\nerr1\nout2\nerr2\nout3\nerr3\n");
    Ok(())
}

#[tokio::test]
async fn git_runs_without_a_shell() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("git").await?;
    let setup = "git init -q -b main origin.git --bare && git init -q -b main work && cd work && \
        git config user.email a@b.c && git config user.name a && echo x > f && git add f && \
        git commit -q -m first && git push -q ../origin.git main";
    let transcript = client.shell(&session, setup).await?;
    assert_eq!(transcript.complete()["ok"], true, "{transcript:?}");

    let git = |command: &str, args: Value, cwd: &str| {
        json!({"type": "git", "command": command, "args": args, "env": {"GIT_TERMINAL_PROMPT": "0"},
               "cwd": cwd})
    };
    let pod = client
        .shell(&session, "pwd")
        .await?
        .stdout()
        .trim()
        .to_owned();
    let transcript = client
        .run(
            &session,
            &git("clone", json!(["origin.git", "my clone; id"]), &pod),
        )
        .await?;
    assert_eq!(transcript.complete()["ok"], true, "{transcript:?}");
    let clone = format!("{pod}/my clone; id");
    let transcript = client
        .run(
            &session,
            &git("status", json!(["--short", "--branch"]), &clone),
        )
        .await?;
    assert_eq!(transcript.stdout(), "## main...origin/main\n");
    let transcript = client
        .run(
            &session,
            &git("push", json!(["/no/such/repository", "main"]), &clone),
        )
        .await?;
    transcript.check()?;
    assert_eq!(transcript.complete()["exit_code"], 128);
    assert!(String::from_utf8_lossy(&transcript.bytes("stderr")).contains("fatal:"));
    Ok(())
}

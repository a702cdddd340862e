//! What runs when not everything may: limits, order, places, floods, and who resumes claude.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use rdev_bus::{Bus, LogStream};
use rdev_contract::event::{Complete, Kind, Outcome as Ending};
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::log::{ExecLog, end, exec_id};
use rdev_tests::transcript::SseEvent;
use rdev_tests::world::World;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::options;

/// Nothing that is waited for here takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that ends when its gate is opened: a file in the directory of its pod.
fn gated(stream: &str) -> Value {
    let command = "while ! [ -e gate ]; do sleep 0.02; done";
    json!({"type": "shell", "command": command, "stream_id": stream})
}

fn open_gate(world: &World, pod: &str) -> Outcome<()> {
    Ok(std::fs::write(world.pod(pod).join("gate"), "")?)
}

/// One exec as the API shows it.
async fn shown(client: &Client, session: &str, stream: &str) -> Outcome<Value> {
    let path = format!("/sessions/{session}/execs/{stream}");
    Ok(client.get(&path).await?.json())
}

/// Waits until an exec is as wanted.
async fn until(
    client: &Client,
    session: &str,
    stream: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Outcome<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let exec = shown(client, session, stream).await?;
        if wanted(&exec) {
            return Ok(exec);
        }
        if Instant::now() > deadline {
            return Err(format!("it stays {exec}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_running(client: &Client, session: &str, stream: &str) -> Outcome<()> {
    let is_running = |exec: &Value| exec["status"] == "running";
    until(client, session, stream, is_running).await.map(|_| ())
}

async fn until_waits_for(
    client: &Client,
    session: &str,
    stream: &str,
    reason: &str,
) -> Outcome<Value> {
    let waits = |exec: &Value| exec["queue"]["reason"] == reason;
    until(client, session, stream, waits).await
}

/// Each of them was admitted behind the end of the one before.
async fn check_line(
    world: &World,
    client: &Client,
    session: &str,
    first: &str,
    line: &[String],
) -> Outcome<()> {
    let bus = world.bus().await?;
    let mut ended = 0;
    for stream in std::iter::once(first).chain(line.iter().map(String::as_str)) {
        let log = ExecLog::read(&bus, &exec_id(client, session, stream)?).await?;
        log.check()?;
        let admitted = log.of(Kind::Admitted).next().ok_or("not admitted")?;
        assert!(
            admitted.sequence > ended,
            "{stream} began before the one before had ended"
        );
        ended = log.of(Kind::Complete).next().ok_or("no end")?.sequence;
    }
    Ok(())
}

/// One at a time, in the order of the POSTs, whatever comes first to an executor.
#[tokio::test]
async fn a_session_with_one_at_a_time_is_a_line() -> Outcome<()> {
    let options = options().variable("RDEV_SESSION_RUNNING_MAX", "1");
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("line").await?;
    client.exec(&session, &gated("gate")).await?;
    for number in 1..=12 {
        let command = format!(
            "mkdir busy || echo overlap >> order; echo {number} >> order; sleep 0.01; rmdir busy"
        );
        let body = json!({"type": "shell", "command": command, "stream_id": format!("s{number}")});
        client.exec(&session, &body).await?;
    }
    until_running(client, &session, "gate").await?;
    let last = until_waits_for(client, &session, "s12", "session_limit").await?;
    assert_eq!(last["status"], "queued");
    let expected = json!({"position": 12, "ahead_in_session": 11, "reason": "session_limit"});
    assert_eq!(last["queue"], expected);
    // The list says the same, and of who runs nothing.
    let listed = async || {
        let path = format!("/sessions/{session}/execs?status=queued");
        let list = client.get(&path).await?.json();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Outcome::Ok(items.into_iter().find(|exec| exec["id"] == "s12"))
    };
    let in_list = loop {
        if let Some(exec) = listed().await? {
            break exec;
        }
    };
    assert_eq!(in_list["queue"], expected);
    let mut events = client.events(&session, "s12", None).await?;
    let mut places = vec![events.until("queued").await?];
    assert_eq!(places[0].json(), expected);
    open_gate(&world, "line")?;
    while let Some(event) = events.next().await? {
        match event.name.as_str() {
            "queued" => places.push(event),
            "complete" => break,
            _ => assert!(event.name != "output", "{event:?}"),
        }
    }
    let position = |event: &SseEvent| event.json()["position"].as_u64();
    let positions: Vec<_> = places.iter().map(position).collect();
    assert!(
        positions.windows(2).all(|two| two[0] > two[1]),
        "{positions:?}"
    );
    assert!(places.iter().all(|event| event.id.starts_with("0-0-")));
    let order = std::fs::read_to_string(world.pod("line").join("order"))?;
    let expected: String = (1..=12).map(|number| format!("{number}\n")).collect();
    assert_eq!(order, expected);
    let line: Vec<_> = (1..=12).map(|number| format!("s{number}")).collect();
    check_line(&world, client, &session, "gate", &line).await?;
    let done = shown(client, &session, "s12").await?;
    assert_eq!(
        (&done["status"], &done["queue"]),
        (&json!("complete"), &Value::Null)
    );
    Ok(())
}

#[tokio::test]
async fn a_project_at_its_limit_holds_up_no_other() -> Outcome<()> {
    let options = options().variable("RDEV_PROJECT_RUNNING_MAX", "2");
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let sessions = [client.session("one").await?, client.session("two").await?];
    for session in &sessions {
        client.exec(session, &gated("a")).await?;
        client.exec(session, &gated("b")).await?;
    }
    until_running(client, &sessions[0], "a").await?;
    until_running(client, &sessions[0], "b").await?;
    let first = until_waits_for(client, &sessions[1], "a", "project_limit").await?;
    assert_eq!(first["queue"]["position"], 1);
    assert_eq!(
        shown(client, &sessions[1], "b").await?["queue"]["position"],
        2
    );
    let other = client.of_project("other");
    let session = other.session("three").await?;
    other.shell(&session, "true").await?.check()?;
    open_gate(&world, "one")?;
    until_running(client, &sessions[1], "b").await?;
    open_gate(&world, "two")?;
    for session in &sessions {
        for stream in ["a", "b"] {
            client.transcript(session, stream).await?.check()?;
        }
    }
    Ok(())
}

/// What another project has posted before does not come first.
#[tokio::test]
async fn a_flood_leaves_others_their_start() -> Outcome<()> {
    const FLOOD: usize = 300;
    let options = options().variable("RDEV_EXECUTOR_SLOTS", "16");
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("flood").await?;
    let body = |number: usize| json!({"type": "shell", "command": "sleep 0.2", "stream_id": format!("f{number}")});
    futures::stream::iter(0..FLOOD)
        .map(async |number| client.exec(&session, &body(number)).await)
        .buffer_unordered(32)
        .try_collect::<Vec<_>>()
        .await?;
    let other = client.of_project("other");
    let quiet = other.session("quiet").await?;
    let bus = world.bus().await?;
    let mut waited = Vec::new();
    for number in 0..5 {
        let stream = format!("q{number}");
        let body = json!({"type": "shell", "command": "true", "stream_id": stream});
        other.run(&quiet, &body).await?.check()?;
        let log = ExecLog::read(&bus, &exec_id(&other, &quiet, &stream)?).await?;
        waited.push(log.0[0].sequence..log.0[1].sequence);
    }
    let last = shown(client, &session, &format!("f{}", FLOOD - 1)).await?;
    assert_eq!(
        last["status"], "queued",
        "the flood was over too soon: {last}"
    );
    let admitted = all_admitted(&bus).await?;
    for waited in waited {
        // Those that were on their way already, and no more.
        let passed = admitted.iter().filter(|sequence| waited.contains(sequence));
        assert!(passed.count() <= 16, "{waited:?} of {admitted:?}");
    }
    Ok(())
}

/// Where everything that was admitted so far stands in the log.
async fn all_admitted(bus: &Bus) -> Outcome<Vec<u64>> {
    let (mut sequences, mut after) = (Vec::new(), StreamSeq(0));
    loop {
        let filter = Filter::kind(Kind::Admitted);
        let page = bus.read_page(LogStream::Exec, &filter, after).await?;
        sequences.extend(page.messages.iter().map(|message| message.sequence.0));
        match page.messages.last() {
            Some(last) if page.more => after = last.sequence,
            Some(_) | None => return Ok(sequences),
        }
    }
}

/// A stand-in for the CLI that notes when it begins and ends, and waits for its gate.
fn slow_claude(directory: &Path) -> Outcome<String> {
    let path = directory.join("claude");
    let script = format!(
        "#!/bin/sh\ncd '{}' || exit 8\nprompt=$(cat)\necho \"begin $prompt\" >> calls\n\
         while ! [ -e gate ]; do sleep 0.02; done\necho \"end $prompt\" >> calls\n\
         cat '{}/simple.jsonl'\n",
        directory.display(),
        super::claude::FIXTURES
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

/// Two `--resume` at a time would fork the history. What is not claude's does not wait for it.
#[tokio::test]
async fn who_resumes_claude_waits_for_its_predecessors() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let claude = slow_claude(directory.path())?;
    let options = options().variable("RDEV_CLAUDE_BIN", claude);
    let (_world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("agent").await?;
    let ask = |number: usize| {
        let stream = format!("c{number}");
        json!({"type": "claude", "prompt": number.to_string(), "continue_conversation": number > 0,
            "stream_id": stream})
    };
    for number in 0..5 {
        client.exec(&session, &ask(number)).await?;
    }
    until_running(client, &session, "c0").await?;
    until_waits_for(client, &session, "c4", "agent_session").await?;
    client.shell(&session, "true").await?.check()?;
    std::fs::write(directory.path().join("gate"), "")?;
    for number in 0..5 {
        let transcript = client.transcript(&session, &format!("c{number}")).await?;
        transcript.check()?;
        assert_eq!(transcript.complete()["ok"], true);
    }
    let calls = std::fs::read_to_string(directory.path().join("calls"))?;
    let expected: String = (0..5).map(|n| format!("begin {n}\nend {n}\n")).collect();
    assert_eq!(calls, expected);
    Ok(())
}

/// Whatever runs before it, and without anybody who could run it.
#[tokio::test]
async fn a_command_that_waits_for_too_long_ends() -> Outcome<()> {
    let options = options().variable("RDEV_SESSION_RUNNING_MAX", "1");
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("patience").await?;
    client.exec(&session, &gated("runs")).await?;
    let mut late = gated("late");
    late["queue_timeout_seconds"] = json!(1);
    client.exec(&session, &late).await?;
    client.exec(&session, &gated("behind")).await?;
    let transcript = client.transcript(&session, "late").await?;
    assert_eq!(transcript.complete()["outcome"], "timed_out");
    until_running(client, &session, "runs").await?;
    let is_next = |exec: &Value| exec["queue"]["position"] == 1;
    until(client, &session, "behind", is_next).await?;
    open_gate(&world, "patience")?;
    client.transcript(&session, "behind").await?.check()?;
    let log = ExecLog::read(&world.bus().await?, &exec_id(client, &session, "late")?).await?;
    let kinds: Vec<_> = log.0.iter().map(rdev_tests::log::Line::kind).collect();
    assert_eq!(kinds, ["command", "complete"]);
    Ok(())
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_and_stores_nothing() -> Outcome<()> {
    let options = options()
        .variable("RDEV_SESSION_RUNNING_MAX", "1")
        .variable("RDEV_PROJECT_QUEUE_MAX", "3");
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("full").await?;
    client.exec(&session, &gated("runs")).await?;
    until_running(client, &session, "runs").await?;
    let post = async |stream: &str| {
        let path = format!("/sessions/{session}/exec");
        client.post(&path, &gated(stream)).await
    };
    for stream in ["w1", "w2", "w3"] {
        assert_eq!(post(stream).await?.status, 201);
    }
    let refused = post("w4").await?;
    assert_eq!(refused.status, 429, "{}", refused.text);
    let problem = refused.json();
    assert_eq!(
        (&problem["code"], &problem["stream_id"]),
        (&json!("queue_full"), &json!("w4"))
    );
    assert!(!refused.header("retry-after").is_empty());
    let bus = world.bus().await?;
    let exec = exec_id(client, &session, "w4")?;
    assert!(ExecLog::read(&bus, &exec).await?.0.is_empty());
    // What is there already is no more than that.
    assert_eq!(post("w3").await?.status, 200);
    // Another project has a queue of its own.
    let other = client.of_project("other");
    let another = other.session("other").await?;
    other.shell(&another, "true").await?.check()?;
    open_gate(&world, "full")?;
    client.transcript(&session, "w3").await?.check()?;
    assert_eq!(post("w4").await?.status, 201);
    client.transcript(&session, "w4").await?.check()?;
    Ok(())
}

/// Whoever ends an exec that waits does it by its `complete`, behind the command. It never starts.
#[tokio::test]
async fn an_exec_that_was_ended_while_it_waited_never_starts() -> Outcome<()> {
    let options = options().variable("RDEV_SESSION_RUNNING_MAX", "1");
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("ended").await?;
    client.exec(&session, &gated("runs")).await?;
    for stream in ["ended", "behind"] {
        client.exec(&session, &gated(stream)).await?;
    }
    let behind = until_waits_for(client, &session, "behind", "session_limit").await?;
    assert_eq!(behind["queue"]["position"], 2);
    let (bus, exec) = (world.bus().await?, exec_id(client, &session, "ended")?);
    let canceled = Complete::without_process(Ending::Canceled, "a test");
    end(&bus, &exec, &canceled).await?;
    let is_next = |exec: &Value| exec["queue"]["position"] == 1;
    until(client, &session, "behind", is_next).await?;
    open_gate(&world, "ended")?;
    client.transcript(&session, "behind").await?.check()?;
    let log = ExecLog::read(&bus, &exec).await?;
    let kinds: Vec<_> = log.0.iter().map(rdev_tests::log::Line::kind).collect();
    assert_eq!(kinds, ["command", "complete"]);
    Ok(())
}

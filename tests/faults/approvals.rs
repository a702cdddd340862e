//! Questions and answers while executors die: each question is told once, and its answer is given once.

use rdev_contract::event::Kind;
use rdev_tests::Outcome;
use rdev_tests::asking::{AskingClaude, asks};
use rdev_tests::client::{Client, Stream};
use rdev_tests::log::{ExecLog, exec_id, until};
use rdev_tests::world::{Services, World};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::options;
use super::trial::{child, signal};

const EXEC: &str = "asking";

async fn begin(
    claude: &AskingClaude,
    steps: &str,
    more: &Value,
) -> Outcome<(World, Services, String, Stream)> {
    let options = options().variable("RDEV_CLAUDE_BIN", claude.program());
    let (world, services) = World::start(options).await?;
    let client = &services.client;
    let session = client.session("agent").await?;
    client.exec(&session, &asks(EXEC, steps, more)).await?;
    let mut events = client.events(&session, EXEC, None).await?;
    events.until("approval").await?;
    Ok((world, services, session, events))
}

async fn allow(client: &Client, session: &str, id: &str) -> Outcome<()> {
    let body = json!({"decision": "allow"});
    let answer = client.answer(session, EXEC, id, &body).await?;
    assert_eq!(answer.status, 202, "{}", answer.text);
    Ok(())
}

/// It has ended well, under so many attempts; each question is in the log once, and so is its answer.
async fn ended(
    world: &World,
    client: &Client,
    session: &str,
    questions: usize,
    attempts: u32,
) -> Outcome<()> {
    let transcript = client.transcript(session, EXEC).await?;
    transcript.check()?;
    assert_eq!(transcript.complete()["ok"], true, "{transcript:?}");
    for name in ["approval", "approval_answered"] {
        let events = transcript.events.iter().filter(|event| event.name == name);
        assert_eq!(events.count(), questions, "{name}");
    }
    let log = ExecLog::read(&world.bus().await?, &exec_id(client, session, EXEC)?).await?;
    log.check()?;
    assert_eq!(log.attempts(), (1..=attempts).collect::<Vec<_>>());
    let exec = format!("demo/{session}/{EXEC}");
    world.audit(&["--exec", &exec], &[]).await?.expect_equal()
}

#[tokio::test]
async fn an_executor_killed_before_the_answer_is_replaced() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let steps = "ask a echo one\nask b echo two";
    let (mut world, services, session, mut events) = begin(&claude, steps, &json!({})).await?;
    let client = &services.client;
    services.executor.kill().await;
    let second = world.executor()?;
    let bus = world.bus().await?;
    let exec = exec_id(client, &session, EXEC)?;
    rdev_tests::log::until_kind(&bus, &exec, Kind::Resumed).await?;
    allow(client, &session, "a").await?;
    events.until("approval").await?;
    // This one is answered while nobody has the exec.
    second.kill().await;
    allow(client, &session, "b").await?;
    let again = json!({"decision": "allow"});
    let again = client.answer(&session, EXEC, "b", &again).await?;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(
        client.approvals(&session, EXEC).await?[1]["status"],
        "allowed"
    );
    let _third = world.executor()?;
    ended(&world, client, &session, 2, 3).await?;
    assert_eq!(claude.given()?.len(), 3, "each answer is given once");
    Ok(())
}

/// The answer is in the log, and the agent has not got it: its shim does not read.
#[tokio::test]
async fn an_executor_killed_between_answer_and_delivery_is_replaced() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let steps = "both a b\nask c echo three";
    let (mut world, services, session, mut events) = begin(&claude, steps, &json!({})).await?;
    let client = &services.client;
    events.until("approval").await?;
    let serve = child(services.executor.pid(), "serve").ok_or("no shim")?;
    signal(serve, Signal::STOP)?;
    for id in ["b", "a"] {
        allow(client, &session, id).await?;
        events.until("approval_answered").await?;
    }
    services.executor.kill().await;
    assert_eq!(claude.given()?.len(), 1, "only the prompt");
    let _second = world.executor()?;
    events.until("approval").await?;
    allow(client, &session, "c").await?;
    ended(&world, client, &session, 3, 2).await?;
    let given = claude.given()?;
    let ids = given[1..]
        .iter()
        .map(|line| &line["response"]["request_id"]);
    assert_eq!(ids.collect::<Vec<_>>(), ["b", "a", "c"]);
    Ok(())
}

/// The time of a question goes on while nobody has the exec.
#[tokio::test]
async fn a_time_out_is_kept_by_who_takes_the_exec_over() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let more = json!({"approval_timeout_seconds": 3});
    let (mut world, services, session, _) = begin(&claude, "ask a echo one", &more).await?;
    let client = &services.client;
    services.executor.kill().await;
    let asked = client.approvals(&session, EXEC).await?;
    let _second = world.executor()?;
    ended(&world, client, &session, 1, 2).await?;
    let listed = client.approvals(&session, EXEC).await?;
    assert_eq!(listed[0]["expires_at"], asked[0]["expires_at"]);
    assert_eq!(listed[0]["answered_by"], "timeout");
    assert_eq!(claude.given()?.len(), 2);
    Ok(())
}

/// The question is printed while nobody has the exec, and the result as well.
#[tokio::test]
async fn an_end_of_input_is_given_by_who_takes_the_exec_over() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (mut world, services, session, mut events) = begin(
        &claude,
        "ask a while ! test -e go; do sleep 0.02; done",
        &json!({}),
    )
    .await?;
    let client = &services.client;
    allow(client, &session, "a").await?;
    events.until("approval_answered").await?;
    let bus = world.bus().await?;
    let exec = exec_id(client, &session, EXEC)?;
    until(&bus, &exec, |line| line.kind() == Kind::Approval.token()).await?;
    until_given(&claude, 2).await?;
    services.executor.kill().await;
    std::fs::write(world.pod("agent").join("go"), "")?;
    let _second = world.executor()?;
    ended(&world, client, &session, 1, 2).await?;
    Ok(())
}

async fn until_given(claude: &AskingClaude, lines: usize) -> Outcome<()> {
    let waiting = async {
        while claude.given()?.len() < lines {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await?
}

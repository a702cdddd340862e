//! Agents that ask before they use tools, with a stand-in for the CLI that ends when it is given
//! anything that it has not asked for.

use rdev_tests::Outcome;
use rdev_tests::asking::{AskingClaude, asks};
use rdev_tests::client::{Answer, Client, Stream};
use rdev_tests::transcript::Transcript;
use rdev_tests::world::{Services, World};
use serde_json::{Value, json};

use super::options;

const EXEC: &str = "asking";

async fn world(claude: &AskingClaude) -> Outcome<(World, Services)> {
    World::start(options().variable("RDEV_CLAUDE_BIN", claude.program())).await
}

/// A run with these steps, and its events.
async fn begin(client: &Client, steps: &str, more: &Value) -> Outcome<(String, Stream)> {
    let session = client.session("agent").await?;
    client.exec(&session, &asks(EXEC, steps, more)).await?;
    let events = client.events(&session, EXEC, None).await?;
    Ok((session, events))
}

fn answered(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.json()["status"], what, "{}", answer.text);
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.json()["code"], code, "{}", answer.text);
}

/// Ends it well, and finds nothing wrong with it: neither in the log nor in what it printed.
async fn ended(world: &World, client: &Client, session: &str, ok: bool) -> Outcome<Transcript> {
    let transcript = client.transcript(session, EXEC).await?;
    transcript.check()?;
    let complete = transcript.complete();
    assert_eq!(complete["ok"], ok, "{complete}");
    assert!(transcript.bytes("stderr").is_empty(), "{transcript:?}");
    let exec = format!("demo/{session}/{EXEC}");
    world.audit(&["--exec", &exec], &[]).await?.expect_equal()?;
    Ok(transcript)
}

fn of_name(transcript: &Transcript, name: &str) -> Vec<Value> {
    let events = transcript.events.iter().filter(|event| event.name == name);
    events.map(|event| event.json()).collect()
}

#[tokio::test]
async fn a_tool_is_used_when_somebody_allows_it() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (world, services) = world(&claude).await?;
    let client = &services.client;
    let steps = "ask a echo one > used; cat used\nask b true";
    let (session, mut events) = begin(client, steps, &json!({})).await?;
    let asked = events.until("approval").await?.json();
    assert_eq!(asked["approval_id"], "a");
    assert_eq!(asked["tool_name"], "Bash");
    assert_eq!(asked["tool_use_id"], "toolu_a");
    let command = json!({"command": "echo one > used; cat used"});
    assert_eq!(asked["input"], command);
    assert!(asked.get("expires_at").is_none(), "{asked}");
    let used = world.pod("agent").join("used");
    assert!(!used.exists());
    let listed = client.approvals(&session, EXEC).await?;
    assert_eq!((listed.len(), &listed[0]["status"]), (1, &json!("pending")));

    let (allow, deny) = (json!({"decision": "allow"}), json!({"decision": "deny"}));
    let answer = async |id: &'static str, body| client.answer(&session, EXEC, id, body).await;
    answered(&answer("a", &allow).await?, 202, "allowed");
    let again = async || {
        answered(&answer("a", &allow).await?, 200, "allowed");
        refused(&answer("a", &deny).await?, 409, "already_answered");
        Outcome::Ok(())
    };
    again().await?;
    events.until("approval").await?;
    again().await?;
    assert_eq!(std::fs::read_to_string(&used)?, "one\n");
    answered(&answer("b", &allow).await?, 202, "allowed");
    let transcript = ended(&world, client, &session, true).await?;
    let said = of_name(&transcript, "approval_answered");
    assert_eq!((said.len(), &said[0]["approval_id"]), (2, &json!("a")));
    let (decision, by) = (&said[0]["decision"], &said[0]["by"]);
    assert_eq!((decision, by), (&json!("allow"), &json!("client")));
    let given = claude.given()?;
    assert_eq!(given.len(), 3, "{given:?}");
    assert_eq!(given[0]["message"]["content"], steps);
    assert_eq!(given[1]["response"]["response"]["updatedInput"], command);
    refused(&answer("b", &allow).await?, 409, "exec_complete");
    let listed = client.approvals(&session, EXEC).await?;
    assert_eq!((listed.len(), &listed[1]["status"]), (2, &json!("allowed")));
    Ok(())
}

#[tokio::test]
async fn a_tool_is_used_as_the_answer_says() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (world, services) = world(&claude).await?;
    let client = &services.client;
    let (session, mut events) = begin(client, "ask a echo one", &json!({})).await?;
    let asked = events.until("approval").await?.json();
    let body = json!({"decision": "allow", "updated_input": {"command": "echo two"},
        "updated_permissions": asked["suggestions"]});
    let answer = client.answer(&session, EXEC, "a", &body).await?;
    answered(&answer, 202, "allowed");
    assert_eq!(answer.json()["answer"], body);
    let transcript = ended(&world, client, &session, true).await?;
    let said = of_name(&transcript, "approval_answered");
    assert_eq!(said[0]["updated_input"], json!({"command": "echo two"}));
    let given = &claude.given()?[1]["response"]["response"];
    assert_eq!(given["updatedInput"], json!({"command": "echo two"}));
    assert_eq!(given["updatedPermissions"], asked["suggestions"]);
    assert!(transcript.stdout().contains(r#""content":"two\n""#));
    Ok(())
}

#[tokio::test]
async fn a_tool_that_is_denied_is_not_used() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (world, services) = world(&claude).await?;
    let client = &services.client;
    let steps = "ask a touch used\nwithdraw b\nask c touch used\nask d touch used";
    let (session, mut events) = begin(client, steps, &json!({})).await?;
    events.until("approval").await?;
    let deny = json!({"decision": "deny", "message": "not \"today\"\n"});
    answered(
        &client.answer(&session, EXEC, "a", &deny).await?,
        202,
        "denied",
    );
    // What the agent takes back needs no answer.
    assert_eq!(events.until("approval").await?.json()["approval_id"], "b");
    let denied = json!({"decision": "deny"});
    assert_eq!(events.until("approval").await?.json()["approval_id"], "c");
    refused(
        &client.answer(&session, EXEC, "b", &denied).await?,
        409,
        "already_answered",
    );
    let stop = json!({"decision": "deny", "interrupt": true});
    answered(
        &client.answer(&session, EXEC, "c", &stop).await?,
        202,
        "denied",
    );
    let transcript = ended(&world, client, &session, false).await?;
    let said = of_name(&transcript, "approval_answered");
    let decisions: Vec<_> = said.iter().map(|said| said["decision"].clone()).collect();
    assert_eq!(decisions, ["deny", "withdrawn", "deny"]);
    assert_eq!(said[1]["by"], "agent");
    let given = claude.given()?;
    assert_eq!(
        given[1]["response"]["response"]["message"],
        "not \"today\"\n"
    );
    assert_eq!(given.len(), 3);
    assert!(!world.pod("agent").join("used").exists());
    Ok(())
}

#[tokio::test]
async fn what_nobody_answers_is_denied() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (world, services) = world(&claude).await?;
    let client = &services.client;
    let more = json!({"approval_timeout_seconds": 1});
    let (session, mut events) = begin(client, "ask a touch used", &more).await?;
    let asked = events.until("approval").await?.json();
    let time = |name: &str| {
        asked[name]
            .as_str()
            .unwrap_or_default()
            .parse::<jiff::Timestamp>()
    };
    assert_eq!(
        time("expires_at")?
            .duration_since(time("asked_at")?)
            .as_millis(),
        1000
    );
    let said = events.until("approval_answered").await?.json();
    assert_eq!(
        (&said["decision"], &said["by"]),
        (&json!("deny"), &json!("timeout"))
    );
    ended(&world, client, &session, true).await?;
    assert_eq!(claude.given()?.len(), 2);
    assert!(!world.pod("agent").join("used").exists());
    let listed = client.approvals(&session, EXEC).await?;
    assert_eq!(
        (&listed[0]["status"], &listed[0]["answered_by"]),
        (&json!("denied"), &json!("timeout"))
    );
    Ok(())
}

#[tokio::test]
async fn an_answer_behind_the_time_out_is_refused() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (world, services) = world(&claude).await?;
    let client = &services.client;
    let more = json!({"approval_timeout_seconds": 1});
    let (session, mut events) = begin(client, "ask a true\nask b true", &more).await?;
    events.until("approval_answered").await?;
    let deny = json!({"decision": "deny"});
    refused(
        &client.answer(&session, EXEC, "a", &deny).await?,
        409,
        "already_answered",
    );
    ended(&world, client, &session, true).await?;
    Ok(())
}

#[tokio::test]
async fn what_nobody_answers_can_end_the_exec() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (world, services) = world(&claude).await?;
    let client = &services.client;
    let more = json!({"approval_timeout_seconds": 1, "approval_on_timeout": "cancel"});
    let (session, _) = begin(client, "ask a touch used", &more).await?;
    let transcript = ended(&world, client, &session, false).await?;
    let complete = transcript.complete();
    assert_eq!(complete["outcome"], "canceled", "{complete}");
    let reason = complete["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("approval_timeout_seconds"), "{complete}");
    let listed = client.approvals(&session, EXEC).await?;
    assert_eq!(listed[0]["status"], "unanswered");
    Ok(())
}

#[tokio::test]
async fn a_cancel_does_not_wait_for_an_answer() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (world, services) = world(&claude).await?;
    let client = &services.client;
    let (session, mut events) = begin(client, "ask a touch used", &json!({})).await?;
    events.until("approval").await?;
    let canceled = client.cancel(&session, EXEC).await?;
    assert_eq!(canceled.status, 202, "{}", canceled.text);
    // Now, while the agent ends, and behind its end.
    let late = || async {
        let allow = json!({"decision": "allow"});
        loop {
            let late = client.answer(&session, EXEC, "a", &allow).await?;
            assert_eq!(late.status, 409, "{}", late.text);
            if late.json()["code"] == "exec_complete" {
                return Outcome::Ok(());
            }
        }
    };
    tokio::try_join!(late(), late(), late(), late())?;
    let transcript = ended(&world, client, &session, false).await?;
    assert_eq!(transcript.complete()["outcome"], "canceled");
    // The CLI has told how far it got: it was interrupted, not killed.
    assert!(transcript.stdout().contains("error_during_execution"));
    Ok(())
}

#[tokio::test]
async fn questions_at_once_are_answered_in_any_order() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (world, services) = world(&claude).await?;
    let client = &services.client;
    // The second one is longer than a message of the log.
    let (session, mut events) = begin(client, "both a b\nlong c 1500000", &json!({})).await?;
    events.until("approval").await?;
    events.until("approval").await?;
    let allow = json!({"decision": "allow"});
    for id in ["b", "a"] {
        answered(
            &client.answer(&session, EXEC, id, &allow).await?,
            202,
            "allowed",
        );
    }
    let asked = events.until("approval").await?.json();
    assert!(asked.get("input").is_none(), "it is long");
    assert!(asked["input_bytes"].as_u64() > Some(1_500_000), "{asked}");
    answered(
        &client.answer(&session, EXEC, "c", &allow).await?,
        202,
        "allowed",
    );
    let transcript = ended(&world, client, &session, true).await?;
    assert!(transcript.stdout().contains(r#""content":"1500000""#));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (world, services) = world(&claude).await?;
    let client = &services.client;
    let (session, mut events) = begin(client, "ask a true", &json!({})).await?;
    events.until("approval").await?;
    let allow = json!({"decision": "allow"});
    refused(
        &client.answer(&session, EXEC, "z", &allow).await?,
        404,
        "not_found",
    );
    refused(
        &client.answer(&session, "none", "a", &allow).await?,
        404,
        "not_found",
    );
    let other = client.of_project("other");
    refused(
        &other.answer(&session, EXEC, "a", &allow).await?,
        404,
        "not_found",
    );
    let perhaps = json!({"decision": "perhaps"});
    refused(
        &client.answer(&session, EXEC, "a", &perhaps).await?,
        400,
        "invalid_answer",
    );
    let more = json!({"decision": "allow", "until": "tomorrow"});
    refused(
        &client.answer(&session, EXEC, "a", &more).await?,
        400,
        "invalid_field",
    );
    // Its input is for answers alone.
    let stdin = client.stdin(&session, EXEC, "offset=0", "{}\n").await?;
    refused(&stdin, 409, "stdin_closed");
    let path = format!("/sessions/{session}/exec");
    let shell = json!({"type": "shell", "command": "true", "permissions": "ask"});
    refused(
        &client.post(&path, &shell).await?,
        400,
        "invalid_permissions",
    );
    let plain = json!({"type": "shell", "command": "sleep 300", "stream_id": "plain"});
    client.exec(&session, &plain).await?;
    refused(
        &client.answer(&session, "plain", "a", &allow).await?,
        404,
        "not_found",
    );
    assert!(client.approvals(&session, "plain").await?.is_empty());
    answered(
        &client.answer(&session, EXEC, "a", &allow).await?,
        202,
        "allowed",
    );
    ended(&world, client, &session, true).await?;
    Ok(())
}

#[tokio::test]
async fn the_questions_of_a_session_are_in_one_list() -> Outcome<()> {
    let claude = AskingClaude::new()?;
    let (_world, services) = world(&claude).await?;
    let client = &services.client;
    let session = client.session("agent").await?;
    let begin = async |exec: &str| {
        let body = asks(exec, "ask a true\nask b true", &json!({}));
        client.exec(&session, &body).await?;
        let mut events = client.events(&session, exec, None).await?;
        events.until("approval").await?;
        Outcome::Ok(events)
    };
    let mut first = begin("first").await?;
    begin("second").await?;
    let allow = json!({"decision": "allow"});
    answered(
        &client.answer(&session, "first", "a", &allow).await?,
        202,
        "allowed",
    );
    first.until("approval").await?;
    let list = async |query: &str| {
        let path = format!("/sessions/{session}/approvals{query}");
        let items = client.get(&path).await?.json()["items"].clone();
        let items = items.as_array().cloned().unwrap_or_default();
        let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let shown = items.iter().map(|item| {
            let names = ["stream_id", "approval_id", "status"];
            names.map(|name| text(item, name)).join(" ")
        });
        Outcome::Ok(shown.collect::<Vec<_>>())
    };
    let wanted = ["first a allowed", "second a pending", "first b pending"];
    assert_eq!(list("").await?, wanted);
    assert_eq!(list("?status=pending").await?, wanted[1..]);
    client.cancel(&session, "second").await?;
    client.transcript(&session, "second").await?.check()?;
    assert_eq!(list("?status=pending").await?, wanted[2..]);
    assert_eq!(list("?status=unanswered").await?, ["second a unanswered"]);
    client.cancel(&session, "first").await?;
    Ok(())
}

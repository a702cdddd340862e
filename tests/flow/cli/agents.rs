//! Agents, asked from the command line: stand-ins for their programs that print recorded outputs, or ask.

use rdev_tests::Outcome;
use rdev_tests::world::World;
use serde_json::Value;

use super::super::claude::stand_in;
use super::super::options;
use super::Person;
use super::pty::AtTerminal;

#[tokio::test]
async fn a_turn_is_shown_as_a_turn() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let options = options().variable("RDEV_CLAUDE_BIN", stand_in(directory.path())?);
    let (_world, services) = World::start(options).await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "agent");
    let said = person.says(&["claude", "tool_allowed"]).await?.expect(0)?;
    // What it says is for pipes; what it does is for people.
    assert_eq!(said.text(), "I will run it.\nTool result seen.\n");
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(
        lines[1..3],
        ["● Bash touch /workspace/x.txt; echo hi", "  ⎿ hi"],
        "{}",
        said.stderr
    );
    let summary = lines.last().copied().unwrap_or_default();
    assert!(
        summary.starts_with("done · ") && summary.ends_with("$0.1005"),
        "{summary}"
    );

    let said = person
        .says_given(&["claude", "-"], b"simple".to_vec())
        .await?
        .expect(0)?;
    assert_eq!(said.text(), "mock reply: hello world\n");
    let said = person.says(&["claude", "err_401"]).await?.expect(1)?;
    assert!(said.stderr.contains("failed: "), "{}", said.stderr);
    // Every line of its own, for programs.
    let said = person
        .says(&["claude", "--json", "simple"])
        .await?
        .expect(0)?;
    let events: Result<Vec<Value>, _> = said.text().lines().map(serde_json::from_str).collect();
    let events = events?;
    assert_eq!(events[0]["data"]["event"]["subtype"], "init");
    assert_eq!(
        events.last().map(|event| event["event"].clone()),
        Some("complete".into())
    );

    let listed = person.says(&["conversations", "--json"]).await?.expect(0)?;
    let listed: Vec<Value> = serde_json::from_str(&listed.text())?;
    let id = listed[0]["id"].as_str().unwrap_or_default();
    let shown = person.says(&["conversations", id]).await?.expect(0)?.text();
    assert!(shown.starts_with("> tool_allowed\n"), "{shown}");
    assert!(
        shown.contains("● Bash touch /workspace/x.txt; echo hi\n  ⎿ hi\n"),
        "{shown}"
    );
    let table = person.says(&["conversations"]).await?.expect(0)?.text();
    assert!(
        table.lines().nth(1).is_some_and(|row| row.starts_with(id)),
        "{table}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sits_there_is_asked() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let options = options().variable("RDEV_CLAUDE_BIN", stand_in(directory.path())?);
    let (_world, services) = World::start(options).await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "agent");
    let steps = "ask one touch made-one\nask two touch made-two\nask three touch made-three";
    let mut seat = AtTerminal::start(person.rdev(&["claude", "--id", "asks", steps]))?;
    seat.until("touch made-one")?;
    seat.until("yes, always, no, or stop?")?;
    seat.types("perhaps\r")?;
    seat.until("yes, always, no, or stop?")?;
    seat.types("yes\r")?;
    seat.until("touch made-two")?;
    seat.until("or stop?")?;
    seat.types("n\r")?;
    // This one is answered elsewhere.
    seat.until("touch made-three")?;
    seat.until("or stop?")?;
    // Ctrl-D.
    seat.types("\x04")?;
    seat.until("nothing can be typed here any more")?;
    let session = services.client.get("/sessions").await?.json();
    let session = session["items"][0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let allow = serde_json::json!({"decision": "allow"});
    services
        .client
        .answer(&session, "asks", "three", &allow)
        .await?;
    let (code, shown) = seat.end().await?;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("done"), "{shown}");
    let made = person.says(&["exec", "--", "ls"]).await?.expect(0)?.text();
    assert!(
        made.contains("made-one") && made.contains("made-three"),
        "{made}"
    );
    assert!(!made.contains("made-two"), "{made}");
    Ok(())
}

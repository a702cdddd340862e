//! Standard input while a command runs: by offset, with an explicit end, and never without bound.

use rdev_tests::Outcome;
use rdev_tests::client::{Answer, Client};
use rdev_tests::transcript::sha256;
use serde_json::{Value, json};

use super::world;

/// The most that one piece may have.
const PIECE_BYTES: usize = 512 * 1024;

fn open(command: &str, stream: &str) -> Value {
    json!({"type": "shell", "command": command, "stream_id": stream, "stdin_open": true})
}

fn refused(answer: &Answer, status: u16, code: &str, next_offset: u64) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.json()["code"], code, "{}", answer.text);
    assert_eq!(answer.json()["next_offset"], next_offset, "{}", answer.text);
}

fn taken(answer: &Answer, next_offset: u64, ended: bool) {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let wanted = json!({"next_offset": next_offset, "ended": ended});
    assert_eq!(answer.json(), wanted);
}

#[tokio::test]
async fn input_is_taken_by_offset_and_ends_when_told() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("typing").await?;
    let command = "cat; echo end; while ! test -e go; do sleep 0.05; done";
    let mut body = open(command, "cat");
    body["stdin"] = json!("é\n");
    client.exec(&session, &body).await?;
    let mut events = client.events(&session, "cat", None).await?;
    assert_eq!(events.until("output").await?.json()["line"], "é");
    let give =
        async |query: &str, bytes: &'static [u8]| client.stdin(&session, "cat", query, bytes).await;
    taken(&give("offset=3", b"one\n").await?, 7, false);
    assert_eq!(events.until("output").await?.json()["line"], "one");
    // Again, and again with more behind it; only what is new counts.
    taken(&give("offset=3", b"one\n").await?, 7, false);
    taken(&give("offset=0", b"").await?, 7, false);
    taken(&give("offset=3", b"one\n\xff\0\n").await?, 10, false);
    refused(&give("offset=11", b"too far").await?, 409, "stdin_gap", 10);
    refused(
        &give("offset=3&end=true", b"one").await?,
        409,
        "stdin_gap",
        10,
    );
    taken(&give("offset=10&end=true", b"").await?, 10, true);
    taken(&give("offset=10&end=true", b"").await?, 10, true);
    refused(&give("offset=10", b"more").await?, 409, "stdin_closed", 10);
    client.shell(&session, "touch go").await?.check()?;
    let transcript = client.transcript(&session, "cat").await?;
    transcript.check()?;
    assert_eq!(transcript.bytes("stdout"), b"\xc3\xa9\none\n\xff\0\nend\n");
    assert_eq!(transcript.complete()["exit_code"], 0);
    Ok(())
}

#[tokio::test]
async fn input_is_only_for_execs_that_were_asked_for_with_it() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("closed").await?;
    let body = json!({"type": "shell", "command": "cat; sleep 300", "stream_id": "closed",
        "stdin": "abc"});
    client.exec(&session, &body).await?;
    let answer = client.stdin(&session, "closed", "offset=3", "more").await?;
    refused(&answer, 409, "stdin_closed", 3);
    let answer = client
        .stdin(&session, "closed", "offset=3&end=true", "")
        .await?;
    refused(&answer, 409, "stdin_closed", 3);
    client.cancel(&session, "closed").await?;
    Ok(())
}

#[tokio::test]
async fn a_piece_is_taken_up_to_its_limit() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("pieces").await?;
    client.exec(&session, &open("sha256sum", "sum")).await?;
    let bytes: Vec<u8> = (0..=PIECE_BYTES).map(|at| (at % 251) as u8).collect();
    let answer = client
        .stdin(&session, "sum", "offset=0", bytes.clone())
        .await?;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_eq!(answer.json()["code"], "stdin_too_large");
    let most = bytes[..PIECE_BYTES].to_vec();
    taken(
        &client.stdin(&session, "sum", "offset=0", most).await?,
        PIECE_BYTES as u64,
        false,
    );
    let last = bytes[PIECE_BYTES..].to_vec();
    let query = format!("offset={PIECE_BYTES}&end=true");
    taken(
        &client.stdin(&session, "sum", &query, last).await?,
        bytes.len() as u64,
        true,
    );
    let transcript = client.transcript(&session, "sum").await?;
    transcript.check()?;
    assert_eq!(transcript.stdout(), format!("{}  -\n", sha256(&bytes)));
    Ok(())
}

/// Fills what is kept for a command that does not read, and tells how far that is.
async fn fill(client: &Client, session: &str, piece: &[u8]) -> Outcome<(u64, Answer)> {
    let mut next = 0;
    loop {
        let query = format!("offset={next}");
        let answer = client
            .stdin(session, "deaf", &query, piece.to_vec())
            .await?;
        if answer.status != 202 {
            return Ok((next, answer));
        }
        next += piece.len() as u64;
    }
}

#[tokio::test]
async fn input_that_is_not_read_does_not_pile_up() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("deaf").await?;
    let command = "while ! test -e go; do sleep 0.05; done; sha256sum";
    client.exec(&session, &open(command, "deaf")).await?;
    let piece = vec![b'x'; PIECE_BYTES];
    let (filled, full) = fill(client, &session, &piece).await?;
    refused(&full, 429, "stdin_full", filled);
    assert_eq!(full.header("retry-after"), "2");
    // 4 MiB in the log, and what pipe and shim hold.
    assert!(filled >= 4 << 20, "{filled}");
    assert!(filled <= 6 << 20, "{filled}");
    // A full input stands in the way of nothing else.
    let body = json!({"signal": "WINCH"});
    let signaled = client.order(&session, "deaf", "signal", &body).await?;
    assert_eq!(signaled.status, 202, "{}", signaled.text);
    client.shell(&session, "touch go").await?.check()?;
    let query = format!("offset={filled}&end=true");
    taken(
        &client.stdin(&session, "deaf", &query, "").await?,
        filled,
        true,
    );
    let transcript = client.transcript(&session, "deaf").await?;
    transcript.check()?;
    let all = vec![b'x'; usize::try_from(filled)?];
    assert_eq!(transcript.stdout(), format!("{}  -\n", sha256(&all)));
    Ok(())
}

#[tokio::test]
async fn a_command_that_does_not_want_more_input_ends_all_the_same() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("head").await?;
    let command = "head -c 5; exec <&-; while ! test -e go; do sleep 0.05; done; echo end";
    client.exec(&session, &open(command, "head")).await?;
    let bytes = vec![b'x'; 300_000];
    let mut next = 0;
    // As into a closed pipe: it is taken, and goes nowhere.
    for _ in 0..40 {
        let query = format!("offset={next}");
        let answer = client
            .stdin(&session, "head", &query, bytes.clone())
            .await?;
        next += bytes.len() as u64;
        taken(&answer, next, false);
    }
    client.shell(&session, "touch go").await?.check()?;
    let transcript = client.transcript(&session, "head").await?;
    transcript.check()?;
    assert_eq!(transcript.stdout(), "xxxxxend\n");
    Ok(())
}

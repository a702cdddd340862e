//! Commands in a terminal: real programs, typed into and resized over the API; and what they show, drawn
//! again by emulators that we did not write.

use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::seat::Seat;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::clients::{CLIENTS, exists, install, python_packages};
use super::world;

const SHELL: &str = "exec bash --norc -i";

/// Runs a program that takes JSON and answers in JSON.
async fn ask(mut program: Command, question: &Value) -> Outcome<Value> {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no input")?;
    stdin.write_all(question.to_string().as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The screens that pyte makes of what was seen, one for each event.
async fn pyte(seat: &Seat) -> Outcome<Vec<Value>> {
    let packages = python_packages("pyte", &["pyte==0.8.2"])?;
    let mut program = Command::new("python3");
    program.arg(format!("{CLIENTS}/pyte_screens.py"));
    program.env("PYTHONPATH", packages);
    let screens = ask(program, &json!(seat.items())).await?;
    Ok(screens.as_array().cloned().unwrap_or_default())
}

async fn same_as_pyte(seat: &Seat) -> Outcome<()> {
    let theirs = pyte(seat).await?;
    let id = seat.ids().pop().ok_or("nothing was seen")?;
    let ours = seat.screen(&id).await?;
    assert_eq!(Some(&ours["lines"]), theirs.last(), "after {id}");
    Ok(())
}

#[tokio::test]
async fn a_person_works_in_a_shell() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("shell").await?;
    let mut seat = Seat::take(client, &session, SHELL).await?;
    seat.until("PROMPT> ").await?;
    seat.type_in("stty size; tput cols; echo $TERM; test -t 0 && echo 'é界' $?\n")
        .await?;
    seat.until("\r40 120\r\n120\r\nxterm-256color\r\né界 0\r\n")
        .await?;
    seat.until("PROMPT> ").await?;
    same_as_pyte(&seat).await?;

    seat.resize(90, 30).await?;
    seat.type_in("stty size; echo $COLUMNS\n").await?;
    seat.until("\r30 90\r\n90\r\n").await?;
    // Interrupted, not ended.
    seat.type_in("echo go; sleep 1000\n").await?;
    seat.until("\rgo\r\n").await?;
    seat.type_in("\x03").await?;
    seat.until("^C").await?;
    seat.type_in("echo status $?\n").await?;
    seat.until("status 130\r\n").await?;

    seat.type_in("python3 -q\n").await?;
    seat.until(">>> ").await?;
    seat.type_in("6*7\n").await?;
    seat.until("42\r\n").await?;
    seat.until(">>> ").await?;
    seat.type_in("\x04").await?;
    seat.until("PROMPT> ").await?;

    // The prompt of less, which is not what was typed.
    seat.type_in("seq 500 | less -X -P'rea''dy'\n").await?;
    for key in [" ", " ", "b", "G"] {
        seat.until("ready").await?;
        seat.type_in(key).await?;
    }
    seat.until("ready").await?;
    same_as_pyte(&seat).await?;
    seat.resize(100, 20).await?;
    seat.until("ready").await?;
    same_as_pyte(&seat).await?;
    seat.type_in("q").await?;
    seat.until("PROMPT> ").await?;

    seat.type_in("exit 3\n").await?;
    let stream = seat.stream.clone();
    let transcript = seat.end().await?;
    transcript.check()?;
    assert_eq!(transcript.complete()["exit_code"], 3);
    let sizes = transcript
        .events
        .iter()
        .filter(|event| event.name == "resized");
    let sizes: Vec<_> = sizes.map(|event| (event.number(), event.json())).collect();
    assert_eq!(sizes.len(), 3);
    assert_eq!(sizes[0], (1, json!({"cols": 120, "rows": 40})));
    world
        .audit(&["--exec", &format!("demo/{session}/{stream}")], &[])
        .await?
        .expect_equal()
}

#[tokio::test]
async fn the_end_of_input_ends_who_reads_it() -> Outcome<()> {
    let (_world, services) = world().await?;
    let session = services.client.session("end").await?;
    let mut seat = Seat::take(&services.client, &session, "cat; echo done").await?;
    seat.type_in("typed\n").await?;
    seat.until("typed\r\ntyped\r\n").await?;
    seat.end_input().await?;
    let transcript = seat.end().await?;
    transcript.check()?;
    assert!(transcript.stdout().ends_with("typed\r\ndone\r\n"));
    assert_eq!(transcript.complete()["ok"], true);
    Ok(())
}

#[tokio::test]
async fn a_cancel_hangs_up_a_shell_and_what_it_has_stopped() -> Outcome<()> {
    let (_world, services) = world().await?;
    let (client, session) = (&services.client, services.client.session("cancel").await?);
    let mut seat = Seat::take(client, &session, SHELL).await?;
    seat.until("PROMPT> ").await?;
    seat.type_in("sh -c 'echo o''n $$; exec sleep 1000'\n")
        .await?;
    seat.until("\ron ").await?;
    seat.type_in("\x1a").await?;
    seat.until("Stopped").await?;
    assert_eq!(client.cancel(&session, &seat.stream).await?.status, 202);
    let transcript = seat.end().await?;
    transcript.check()?;
    let complete = transcript.complete();
    assert_eq!(
        (&complete["outcome"], &complete["signal"]),
        (&json!("canceled"), &json!(1))
    );
    // No grace had to run out.
    assert!(
        complete["duration_ms"].as_u64() < Some(30_000),
        "{complete}"
    );
    Ok(())
}

fn xterm() -> Outcome<PathBuf> {
    install("xterm-headless", |directory| {
        let mut npm = std::process::Command::new("npm");
        npm.args(["install", "--silent", "--prefix"])
            .arg(directory)
            .arg("@xterm/headless@6.0.0");
        npm
    })
}

/// Whoever draws the screen after any event, and goes on behind it, sees what who was always there
/// sees: in xterm.js, which draws most of the terminals that people have in a browser.
async fn comes_back_in_xterm(seat: &Seat) -> Outcome<()> {
    let packages = xterm()?;
    let ids = seat.ids();
    let mut screens = Vec::new();
    for (after, id) in ids.iter().enumerate() {
        let mut screen = seat.screen(id).await?;
        screen["after"] = json!(after + 1);
        if let Some(ansi) = screen["ansi_base64"].as_str() {
            let bytes = STANDARD.decode(ansi)?;
            // Only in front of what completes the character; none of these programs splits one.
            return Err(format!("{id}: {}", bytes.escape_ascii()).into());
        }
        screens.push(screen);
    }
    let mut program = Command::new("node");
    program
        .arg(format!("{CLIENTS}/xterm_screens.mjs"))
        .arg(packages);
    let question = json!({"items": seat.items(), "screens": screens});
    let answer = ask(program, &question).await?;
    let stayed = answer["stayed"].as_array().ok_or("no states")?;
    for (at, screen) in screens.iter().enumerate() {
        let rows = &stayed[at]["rows"];
        assert_eq!(&screen["lines"], rows, "after {}", ids[at]);
        let came = answer["came"][at].as_array().ok_or("no states")?;
        assert_eq!(came[..], stayed[at..], "came after {}", ids[at]);
    }
    Ok(())
}

#[tokio::test]
async fn a_full_screen_comes_back_in_another_terminal() -> Outcome<()> {
    if !exists("npm") || !exists("vim") || !exists("top") {
        return Ok(());
    }
    let (_world, services) = world().await?;
    let session = services.client.session("vim").await?;
    let mut seat = Seat::take(&services.client, &session, SHELL).await?;
    seat.until("PROMPT> ").await?;
    seat.type_in("ls --color=always /etc | head -20; echo -e '\\e(0lqk\\e(B \\e[1;44mblue\\e[m'\n")
        .await?;
    seat.until("PROMPT> ").await?;
    seat.type_in("top -b -n1 | head -60 > text; vim -u NONE -N text\n")
        .await?;
    let edits = [
        "10Gdd",
        "yyp",
        ":set number ruler hlsearch\r",
        "/root\r",
        "vjjd",
        "ihello \u{e9}\u{754c}\x1b",
    ];
    for (step, keys) in edits.into_iter().enumerate() {
        seat.type_in(keys).await?;
        // What vim shows is not what was typed.
        seat.type_in(&format!(":echo 'step'.{step}\r")).await?;
        seat.until(&format!("step{step}")).await?;
    }
    comes_back_in_xterm(&seat).await
}

#[tokio::test]
async fn any_replica_shows_any_screen() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let client = &services.client;
    let session = client.session("replicas").await?;
    let mut seat = Seat::take(client, &session, "seq 60; echo last; cat").await?;
    seat.until("last\r\n").await?;
    let ids = seat.ids();
    let (_gateway, other) = world.gateway()?;
    world.ready(&other).await?;
    // In any order: what was drawn before must not show.
    for at in [ids.len() - 1, 0, ids.len() / 2, 1, ids.len() - 1] {
        let path = seat.path(&format!("/screen?at={}", ids[at]));
        let (here, there) = (client.get(&path).await?, other.get(&path).await?);
        assert_eq!((here.status, &here.json()), (200, &there.json()));
        assert_eq!(here.json()["next"], json!(ids[at]));
    }
    let text = other
        .get_as(&seat.path("/screen"), "text/plain", None)
        .await?;
    assert_eq!(text.header("rdev-next"), ids[ids.len() - 1]);
    let rows: Vec<&str> = text.text.lines().collect();
    assert_eq!((rows.len(), rows[0], rows[38]), (40, "23", "last"));
    assert_eq!(client.cancel(&session, &seat.stream).await?.status, 202);
    let path = seat.path("/screen");
    let end = seat.end().await?.events.pop().ok_or("no end")?;
    let screen = client.get(&path).await?.json();
    assert_eq!(
        (&screen["next"], &screen["lines"][38]),
        (&json!(end.id), &json!("last"))
    );
    Ok(())
}

async fn refused(client: &Client, path: &str, body: Option<&Value>) -> Outcome<(u16, Value)> {
    let answer = match body {
        Some(body) => client.post(path, body).await?,
        None => client.get(path).await?,
    };
    Ok((answer.status, answer.json()["code"].clone()))
}

#[tokio::test]
async fn what_cannot_be_done_with_a_terminal_is_said() -> Outcome<()> {
    let (_world, services) = world().await?;
    let (client, session) = (&services.client, services.client.session("refused").await?);
    let exec = format!("/sessions/{session}/exec");
    let size = json!({"cols": 80, "rows": 24});
    for (body, code) in [
        (
            json!({"type": "claude", "prompt": "x", "tty": size}),
            "invalid_tty",
        ),
        (
            json!({"type": "shell", "command": "x", "tty": {"cols": 80, "rows": 0}}),
            "invalid_tty",
        ),
        (
            json!({"type": "git", "command": "log", "tty": {"cols": 1001, "rows": 1}}),
            "invalid_tty",
        ),
        (
            json!({"type": "shell", "command": "x", "tty": {"cols": 80}}),
            "invalid_field",
        ),
        (
            json!({"type": "shell", "command": "x", "tty": true}),
            "invalid_field",
        ),
    ] {
        assert_eq!(
            refused(client, &exec, Some(&body)).await?,
            (400, json!(code)),
            "{body}"
        );
    }
    let list = client.get(&format!("/sessions/{session}/execs")).await?;
    assert_eq!(list.json()["items"], json!([]), "nothing was executed");

    let plain = client
        .exec(
            &session,
            &json!({"type": "shell", "command": "cat", "stdin_open": true}),
        )
        .await?;
    let path = |stream: &str, rest: &str| format!("/sessions/{session}/execs/{stream}/{rest}");
    let no_terminal = (409, json!("no_terminal"));
    assert_eq!(
        refused(client, &path(&plain, "resize"), Some(&size)).await?,
        no_terminal
    );
    assert_eq!(
        refused(client, &path(&plain, "screen"), None).await?,
        no_terminal
    );
    let unknown = (404, json!("not_found"));
    assert_eq!(
        refused(client, &path("none", "resize"), Some(&size)).await?,
        unknown
    );
    assert_eq!(
        refused(client, &path("none", "screen"), None).await?,
        unknown
    );
    let other = client.of_project("other");
    assert_eq!(refused(&other, &path(&plain, "screen"), None).await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn wrong_sizes_and_places_are_refused() -> Outcome<()> {
    let (_world, services) = world().await?;
    let (client, session) = (&services.client, services.client.session("refused").await?);
    let mut seat = Seat::take(client, &session, "echo on; cat").await?;
    seat.until("on\r\n").await?;
    for (size, code) in [
        (json!({"cols": 0, "rows": 24}), "invalid_tty"),
        (json!({"cols": 80, "rows": 1001}), "invalid_tty"),
        (json!({"cols": 80}), "invalid_field"),
        (json!({"cols": 80, "rows": 24, "depth": 3}), "invalid_field"),
    ] {
        let answer = refused(client, &seat.path("/resize"), Some(&size)).await?;
        assert_eq!(answer, (400, json!(code)), "{size}");
    }
    let last = seat.ids().pop().ok_or("nothing was seen")?;
    let (place, tag) = last.rsplit_once('-').ok_or("no tag")?;
    for (at, code) in [
        ("nonsense".to_owned(), "invalid_event_id"),
        (format!("{place}-00000000"), "event_id_of_another_exec"),
        (format!("99-99-{tag}"), "event_id_beyond_end"),
    ] {
        let answer = refused(client, &seat.path(&format!("/screen?at={at}")), None).await?;
        assert_eq!(answer, (400, json!(code)), "{at}");
    }
    let (path, size) = (seat.path("/resize"), json!({"cols": 80, "rows": 24}));
    assert_eq!(client.cancel(&session, &seat.stream).await?.status, 202);
    seat.end().await?;
    assert_eq!(
        refused(client, &path, Some(&size)).await?,
        (409, json!("exec_complete"))
    );
    Ok(())
}

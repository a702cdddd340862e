//! Commands, as if they ran here.

use std::net::Ipv4Addr;
use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::proxy::Proxy;
use rdev_tests::world::PROJECT;
use rustix::process::Signal;
use tokio::net::TcpListener;

use super::super::world;
use super::{PATIENCE, Person, Running};

/// Between two looks at what a command has written.
const INTERVAL: Duration = Duration::from_millis(20);

/// All bytes, a colour, no newline at the end; something else on standard error.
const ALL_BYTES: &str = r#"printf '\033[31mred\033[0m\n'
awk 'BEGIN { for (i = 0; i < 256; i++) printf "%c", i }' LC_ALL=C
printf 'one\ntwo' >&2
exit 7"#;

#[tokio::test]
async fn bytes_and_codes_are_those_of_the_command() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    // The session is made, since there is none with that pod; and found the next time.
    let script = ["exec", "-e", "LC_ALL=C", "--", ALL_BYTES];
    let said = person.says(&script).await?.expect(7)?;
    let mut wanted = b"\x1b[31mred\x1b[0m\n".to_vec();
    wanted.extend(0..=255);
    assert_eq!(said.stdout, wanted);
    assert_eq!(said.stderr, "one\ntwo");
    let listed = services.client.get("/sessions").await?.json();
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );

    // Arguments are passed on as they are, and so is nothing else.
    let odd = [
        "exec", "--", "printf", "[%s]", "a  b", "$HOME", "*", "-n", "'",
    ];
    let said = person.says(&odd).await?.expect(0)?;
    assert_eq!(
        (said.text().as_str(), said.stderr.as_str()),
        ("[a  b][$HOME][*][-n][']", "")
    );
    let here = ["exec", "-e", "A=1 2", "-w", "/", "--", "echo $A; pwd"];
    assert_eq!(person.says(&here).await?.expect(0)?.text(), "1 2\n/\n");
    let merged = ["exec", "--merge", "--", "echo a; echo b >&2; echo c"];
    assert_eq!(person.says(&merged).await?.expect(0)?.text(), "a\nb\nc\n");

    for (command, code) in [
        ("kill -9 $$", 137),
        ("no-such-program", 127),
        ("exit 255", 255),
    ] {
        person.says(&["exec", "--", command]).await?.expect(code)?;
    }
    // What a shell would say, too.
    let nowhere = ["exec", "-w", "/nowhere", "--", "pwd"];
    let said = person.says(&nowhere).await?.expect(126)?;
    assert!(said.stderr.contains("/nowhere"), "{}", said.stderr);
    let late = ["exec", "--timeout", "1s", "--", "echo begun; sleep 100"];
    let said = person.says(&late).await?.expect(124)?;
    assert_eq!(said.text(), "begun\n");
    assert!(said.stderr.contains("timeout_seconds"), "{}", said.stderr);
    let never = ["exec", "--timeout", "0s", "--", "echo begun"];
    let said = person.says(&never).await?.expect(125)?;
    assert!(said.stderr.contains("timeout_seconds"), "{}", said.stderr);
    Ok(())
}

#[tokio::test]
async fn input_is_handed_on_byte_for_byte() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    let input: Vec<u8> = (0..1_500_000_u32)
        .map(|number| number.to_le_bytes()[0] ^ 0x5a)
        .collect();
    let said = person
        .says_given(&["exec", "-i", "--", "cat"], input.clone())
        .await?;
    assert!(said.expect(0)?.stdout == input);
    // Without being asked, nothing is.
    let said = person
        .says_given(&["exec", "--", "cat"], b"x".to_vec())
        .await?;
    assert_eq!(said.expect(0)?.text(), "");
    // A command that has read enough is no trouble.
    let said = person
        .says_given(&["exec", "-i", "--", "head -c 5"], input)
        .await?;
    assert_eq!(said.expect(0)?.stdout.len(), 5);

    // Whoever reads no more ends the command, too.
    let endless = "while echo y; do sleep 0.01; done";
    let id = ["exec", "--id", "endless", "--", endless];
    let mut running = person.begins(&id)?;
    running.until("y").await?;
    let super::Running { child, stdout, .. } = running;
    drop(stdout);
    let output = child.wait_with_output().await?;
    assert_eq!(output.status.code(), Some(141));
    let session = person
        .says(&["sessions", "--json"])
        .await?
        .expect(0)?
        .text();
    let session: serde_json::Value = serde_json::from_str(&session)?;
    let session = session[0]["id"].as_str().unwrap_or_default().to_owned();
    let exec = services
        .client
        .get(&format!("/sessions/{session}/execs/endless?wait=30"))
        .await?;
    assert_eq!(
        exec.json()["complete"]["outcome"],
        "canceled",
        "{}",
        exec.text
    );
    Ok(())
}

#[tokio::test]
async fn an_interrupt_cancels_and_two_leave() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    let polite = "trap 'echo bye; exit 3' TERM; echo on; while :; do sleep 0.05; done";
    let mut running = person.begins(&["exec", "-v", "--", polite])?;
    running.until("on").await?;
    running.signal(Signal::INT)?;
    let said = running.end().await?.expect(130)?;
    assert_eq!(said.text(), "on\nbye\n");
    assert_eq!(
        said.status.code(),
        None,
        "it ends by the signal, so that scripts do"
    );
    assert!(said.stderr.contains("was canceled"), "{}", said.stderr);

    // One that does not want to end is left to its cancel.
    let stubborn = "trap '' TERM; echo on; sleep 1000 & wait; sleep 1000";
    let mut running = person.begins(&["exec", "-v", "--id", "stubborn", "--", stubborn])?;
    running.until("on").await?;
    running.signal(Signal::INT)?;
    running.until_it_says("canceling").await?;
    running.signal(Signal::INT)?;
    let said = running.end().await?.expect(130)?;
    assert!(said.stderr.contains("rdev attach "), "{}", said.stderr);

    // Left alone, it goes on; who comes back sees the rest and nothing twice.
    let command = "echo one; until [ -e go ]; do sleep 0.05; done; echo two";
    let mut running = person.begins(&["exec", "-p", PROJECT, "--id", "long", "--", command])?;
    running.until("one").await?;
    running.signal(Signal::QUIT)?;
    let said = running.end().await?.expect(123)?;
    let (_, attach) = said.stderr.split_once("rdev attach ").ok_or("no hint")?;
    let attach: Vec<&str> = std::iter::once("attach")
        .chain(attach.split_whitespace())
        .collect();
    assert!(attach.ends_with(&["--project", PROJECT]), "{attach:?}");
    let running = person.begins(&attach)?;
    person.says(&["exec", "--", "touch go"]).await?.expect(0)?;
    let said = running.end().await?.expect(0)?;
    assert_eq!(said.text(), "two\n");
    person
        .says(&["cancel", "stubborn", "long"])
        .await?
        .expect(0)?;
    person.says(&["attach", "stubborn"]).await?.expect(122)?;
    Ok(())
}

#[tokio::test]
async fn what_is_refused_is_told_with_what_to_do() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?;
    let said = person.says(&["exec", "--", "true"]).await?.expect(125)?;
    assert!(said.stderr.contains("hint: give -s"), "{}", said.stderr);
    let too_long = ["exec", "-s", "pod", "--timeout", "9days", "--", "true"];
    let said = person.says(&too_long).await?.expect(125)?;
    assert!(said.stderr.contains("(invalid_timeout)"), "{}", said.stderr);
    let said = person.says(&["attach", "-s", "pod", "nothing"]).await?;
    let said = said.expect(125)?;
    assert!(said.stderr.contains("hint:"), "{}", said.stderr);
    let nobody = Person::new()?
        .with("RDEV_URL", "http://127.0.0.1:1")
        .with("RDEV_PROJECT", "demo");
    let said = nobody.says(&["sessions"]).await?.expect(125)?;
    assert!(
        said.stderr
            .contains("cannot reach the gateway at http://127.0.0.1:1"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("rdev dev"), "{}", said.stderr);
    // Wrong arguments are told as of any program.
    person.says(&["exec", "--no-such-flag"]).await?.expect(2)?;
    Ok(())
}

#[tokio::test]
async fn whatever_is_left_of_a_command_tells_its_end() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    let command = ["exec", "--json", "--id", "ended", "--", "echo one; exit 7"];
    let said = person.says(&command).await?.expect(7)?.text();
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap_or_default())?;
    let last = last["id"].as_str().unwrap_or_default();
    // There is nothing more to be seen, but an end to be told.
    let said = person.says(&["attach", "--after", last, "ended"]).await?;
    assert_eq!(said.expect(7)?.text(), "");

    // Polls know the present, too.
    let begin = ["exec", "-d", "--id", "runs", "--", "echo two; sleep 1000"];
    person.says(&begin).await?.expect(0)?;
    let shown = async {
        loop {
            let said = person.says(&["logs", "--poll", "runs"]).await?.expect(0)?;
            if said.text() == "two\n" {
                return Outcome::Ok(());
            }
        }
    };
    tokio::time::timeout(super::PATIENCE, shown).await??;
    let mut feed = person.begins(&["logs", "-f", "--poll"])?;
    feed.until("two").await?;
    person
        .says(&["exec", "--", "echo three"])
        .await?
        .expect(0)?;
    feed.until("three").await?;
    feed.signal(Signal::INT)?;
    feed.end().await?;
    person.says(&["cancel", "runs"]).await?.expect(0)?;
    let said = person.says(&["logs", "-f", "-n", "3"]).await?.expect(125)?;
    assert!(said.stderr.contains("name the exec"), "{}", said.stderr);
    Ok(())
}

#[tokio::test]
async fn a_command_whose_input_is_lost_is_canceled() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    // A directory can be opened, and not be read.
    let mut command = person.rdev(&["exec", "-i", "--id", "starved", "--", "cat"]);
    command.stdin(std::fs::File::open(person.home())?);
    let said = super::ended(command).await?.expect(125)?;
    assert!(
        said.stderr.contains("could not be read to its end"),
        "{}",
        said.stderr
    );
    person.says(&["attach", "starved"]).await?.expect(122)?;
    Ok(())
}

/// A script's `&` and `nohup` ignore signals for what they start.
#[tokio::test]
async fn who_is_to_ignore_signals_does() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    let script = "trap '' HUP INT QUIT; exec \"$0\" \"$@\"";
    let command = "echo on; until [ -e go ]; do sleep 0.05; done; echo off";
    let rdev = person.rdev_below(&["sh", "-c", script], &["exec", "--", command]);
    let mut running = Running::start(rdev)?;
    running.until("on").await?;
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT] {
        running.signal(signal)?;
    }
    person.says(&["exec", "--", "touch go"]).await?.expect(0)?;
    assert_eq!(running.end().await?.expect(0)?.text(), "on\noff\n");
    Ok(())
}

/// What was asked for may be in the log, so it is asked for again under its id.
#[tokio::test]
async fn a_first_request_that_breaks_is_made_again() -> Outcome<()> {
    let (world, services) = world().await?;
    let session = services.client.session("box").await?;
    let address = services.client.base.trim_start_matches("http://").parse()?;
    let proxy = Proxy::start(address).await?;
    let through = Client::new(format!("http://{}", proxy.address()), PROJECT);
    let person = Person::of(&through)?.with("RDEV_SESSION", &session);
    proxy.withhold_answers_behind("POST");
    let running = person.begins(&["exec", "--", "echo ran | tee -a runs"])?;
    proxy.until_withholding().await;
    let runs = world.pod("box").join("runs");
    let ran = async {
        while !runs.exists() {
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, ran).await?;
    proxy.reset_connections();
    proxy.pass();
    assert_eq!(running.end().await?.expect(0)?.text(), "ran\n");
    assert_eq!(std::fs::read_to_string(runs)?, "ran\n");
    Ok(())
}

#[tokio::test]
async fn whoever_waits_for_an_answer_is_told_so() -> Outcome<()> {
    // What takes connections, and is no gateway.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", silent.local_addr()?);
    let person = Person::new()?
        .with("RDEV_URL", &url)
        .with("RDEV_PROJECT", PROJECT);
    let mut running = person.begins(&["exec", "-v", "-s", "pod", "--", "true"])?;
    running
        .until_it_says(&format!("waiting for an answer of {url}"))
        .await?;
    Ok(())
}

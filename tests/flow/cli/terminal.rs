//! A command in a terminal, at a terminal.

use std::time::Duration;

use rdev_tests::Outcome;
use rdev_tests::world::World;

use super::super::keys::{key_of, keys};
use super::super::{options, world};
use super::pty::AtTerminal;
use super::{PATIENCE, Person};

/// Between two looks at what is listed.
const INTERVAL: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_person_works_in_a_shell_and_comes_back_to_it() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    let shell = [
        "exec",
        "-t",
        "--id",
        "shell",
        "-e",
        "PS1=PROMPT> ",
        "--",
        "exec bash --norc -i",
    ];
    let mut seat = AtTerminal::start(person.rdev(&shell))?;
    seat.until("PROMPT> ")?;
    seat.types("stty size; test -t 0 && echo 'is a terminal'\r")?;
    seat.until("30 100\r\nis a terminal\r\n")?;
    seat.until("PROMPT> ")?;
    seat.resize(90, 20)?;
    let pid = seat.child.id().ok_or("it ended")?;
    let pid = rustix::process::Pid::from_raw(pid.try_into()?).ok_or("no pid")?;
    // Whoever has the terminal as its own is told; this is told by hand.
    rustix::process::kill_process(pid, rustix::process::Signal::WINCH)?;
    seat.types("until [ \"$(stty size)\" = '20 90' ]; do :; done; echo re''sized\r")?;
    seat.until("resized\r\n")?;
    // The command is interrupted, and nothing else.
    seat.until("PROMPT> ")?;
    seat.types("echo g''o; sleep 1000\r")?;
    seat.until("go\r\n")?;
    seat.types("\x03")?;
    seat.until("PROMPT> ")?;
    seat.types("\r~.")?;
    let (code, shown) = seat.end().await?;
    assert_eq!(code, Some(123), "{shown}");
    assert!(shown.contains("rdev attach "), "{shown}");

    let mut seat = AtTerminal::start(person.rdev(&["attach", "shell"]))?;
    // The screen as it was left, and the size of the one who looks now.
    seat.until("is a terminal")?;
    seat.until("PROMPT> ")?;
    seat.types("until [ \"$(stty size)\" = '30 100' ]; do :; done; echo ba''ck\r")?;
    seat.until("back\r\n")?;
    seat.types("exit 6\r")?;
    let (code, shown) = seat.end().await?;
    assert_eq!(code, Some(6), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_at_a_terminal_is_told_what_for() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    person.says(&["exec", "--", "true"]).await?.expect(0)?;
    services.executor.stop().await;
    let mut seat = AtTerminal::start(person.rdev(&["exec", "--", "printf 'no line end'"]))?;
    seat.until("queued, number 1: no executor is there")?;
    // Where lines cannot be wiped, nothing is told.
    let mut plain = person.rdev(&["exec", "--id", "plain", "--", "printf plain"]);
    plain.env("TERM", "dumb");
    let dumb = AtTerminal::start(plain)?;
    let listed = async {
        let execs = ["execs", "--json"];
        while !person.says(&execs).await?.text().contains(r#""plain""#) {
            tokio::time::sleep(INTERVAL).await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(PATIENCE, listed).await??;
    let _executor = world.executor()?;
    // The line is wiped before anything else is shown.
    seat.until("\r\x1b[Kno line end")?;
    let (code, shown) = seat.end().await?;
    assert_eq!(code, Some(0), "{shown}");
    let (code, shown) = dumb.end().await?;
    assert_eq!((code, shown.as_str()), (Some(0), "plain"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_type_can_leave() -> Outcome<()> {
    let mut world = World::bare(options().variable("RDEV_REQUIRE_KEYS", "true")).await?;
    let create = |scopes| {
        [
            "create",
            "--name",
            "k",
            "--project",
            "demo",
            "--scope",
            scopes,
        ]
    };
    let writer = keys(&world, &create("exec,read")).await?;
    let reader = keys(&world, &create("read")).await?;
    let (_gateway, client) = world.gateway()?;
    let client = client.with_key(key_of(&writer)?)?;
    let _others = [world.projector()?, world.executor()?];
    world.ready(&client).await?;
    let session = client.session("pod").await?;
    let person = |key| -> Outcome<Person> {
        let person = Person::of(&client)?.with("RDEV_SESSION", &session);
        Ok(person.with("RDEV_API_KEY", key_of(key)?))
    };
    let shell = ["exec", "-t", "--id", "looked-at", "--", "echo re''ady; cat"];
    let mut seat = AtTerminal::start(person(&writer)?.rdev(&shell))?;
    seat.until("ready")?;
    let mut looks = AtTerminal::start(person(&reader)?.rdev(&["attach", "looked-at"]))?;
    looks.until("what is typed is not handed on any more")?;
    looks.types("\x03")?;
    let (code, shown) = looks.end().await?;
    assert_eq!(code, Some(123), "{shown}");
    let mut looks = AtTerminal::start(person(&reader)?.rdev(&["attach", "looked-at"]))?;
    looks.until("what is typed is not handed on any more")?;
    looks.types("x\r~.")?;
    let (code, shown) = looks.end().await?;
    assert_eq!(code, Some(123), "{shown}");
    // It goes on for whoever may.
    seat.types("still here\r")?;
    seat.until("still here\r\nstill here\r\n")?;
    seat.types("\x04")?;
    let (code, shown) = seat.end().await?;
    assert_eq!(code, Some(0), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_script_types_into_a_terminal_to_its_end() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    let command = ["exec", "-t", "--", "stty -echo; echo re''ady; cat; exit 4"];
    let said = person.says_given(&command, b"one\ntwo\n".to_vec()).await?;
    let text = said.expect(4)?.text();
    assert!(text.ends_with("one\r\ntwo\r\n"), "{text:?}");
    Ok(())
}

//! Cancel and signals, of what runs, of what waits, and of whole sessions.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use jiff::Timestamp;
use rdev_contract::event::{Command, CommandSpec, Kind, Requester, Work};
use rdev_contract::subject::CONTROL_STREAM;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::world::World;
use serde_json::{Value, json};

use super::{options, world};

/// Prints the ids of three processes: a shell that ignores SIGTERM, a child of it in a session of its
/// own, and a grandchild whose parent is gone.
const STUBBORN_TREE: &str = "trap '' TERM
setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 300' &
sh -c '(trap \"\" TERM; sh -c \"echo \\$PPID\"; sleep 300) & exit' &
echo $$
while :; do sleep 300; done";
/// Longer than all steps of an end.
const ENDED_WITHIN: Duration = Duration::from_secs(40);
const RACES: usize = 24;
const EXECS_OF_A_SESSION: usize = 6;

/// The process is there and no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim());
    !state.is_empty() && !state.starts_with('Z')
}

fn shell(command: &str, stream: &str) -> Value {
    json!({"type": "shell", "command": command, "stream_id": stream})
}

/// Messages left in the stream of orders.
async fn orders_left(world: &World) -> Outcome<u64> {
    let client = async_nats::connect(world.nats.url()).await?;
    let stream = async_nats::jetstream::new(client)
        .get_stream(CONTROL_STREAM)
        .await?;
    Ok(stream.get_info().await?.state.messages)
}

/// Waits until no order is left: they are removed behind the end.
async fn until_no_orders(world: &World) -> Outcome<()> {
    let gone = async {
        while orders_left(world).await? > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(ENDED_WITHIN, gone).await?
}

#[tokio::test]
async fn cancel_ends_the_whole_tree() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("tree").await?;
    client.exec(&session, &shell(STUBBORN_TREE, "tree")).await?;
    let mut events = client.events(&session, "tree", None).await?;
    let mut pids = Vec::new();
    while pids.len() < 3 {
        let line = events.until("output").await?.json()["line"].clone();
        pids.push(line.as_str().ok_or("no line")?.to_owned());
    }
    assert!(pids.iter().all(|pid| lives(pid)), "{pids:?}");
    for _ in 0..2 {
        let canceled = client.cancel(&session, "tree").await?;
        assert_eq!(canceled.status, 202, "twice is fine: {}", canceled.text);
        assert_eq!(canceled.json()["id"], "tree");
    }
    let complete = events.until("complete").await?.json();
    assert_eq!(complete["outcome"], "canceled", "{complete}");
    assert_eq!(
        (&complete["exit_code"], &complete["ok"]),
        (&json!(-1), &json!(false))
    );
    for pid in &pids {
        assert!(!lives(pid), "{pid} is still there when the end is told");
    }
    after_the_end(client, &session, "tree").await?;
    until_no_orders(&world).await?;
    let transcript = client.transcript(&session, "tree").await?;
    transcript.check()?;
    let exec = format!("demo/{session}/tree");
    world.audit(&["--exec", &exec], &[]).await?.expect_equal()
}

async fn after_the_end(client: &Client, session: &str, stream: &str) -> Outcome<()> {
    let refused = [
        client.cancel(session, stream).await?,
        client
            .order(session, stream, "signal", &json!({"signal": "INT"}))
            .await?,
        client.stdin(session, stream, "offset=0", "x").await?,
    ];
    for refused in refused {
        assert_eq!(refused.status, 409, "{}", refused.text);
        assert_eq!(refused.json()["code"], "exec_complete");
    }
    Ok(())
}

#[tokio::test]
async fn a_command_that_ends_when_asked_is_canceled_at_once() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("polite").await?;
    let command = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    client.exec(&session, &shell(command, "polite")).await?;
    let mut events = client.events(&session, "polite", None).await?;
    events.until("output").await?;
    let began = tokio::time::Instant::now();
    client.cancel(&session, "polite").await?;
    assert_eq!(events.until("output").await?.json()["line"], "bye");
    let complete = events.until("complete").await?.json();
    assert_eq!(complete["outcome"], "canceled", "{complete}");
    // Its grace is five seconds, and none of it is waited for.
    assert!(began.elapsed() < Duration::from_secs(4));
    Ok(())
}

#[tokio::test]
async fn orders_for_what_is_not_there_are_refused() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("nothing").await?;
    client.exec(&session, &shell("sleep 300", "one")).await?;
    let mut missing = vec![client.cancel(&session, "other").await?];
    missing.push(client.of_project("another").cancel(&session, "one").await?);
    missing.push(client.stdin(&session, "other", "offset=0", "").await?);
    for missing in missing {
        assert_eq!(missing.status, 404, "{}", missing.text);
    }
    for wrong in ["SIGINT", "int", "9", "SEGV", ""] {
        let body = json!({ "signal": wrong });
        let refused = client.order(&session, "one", "signal", &body).await?;
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.text);
        assert_eq!(refused.json()["code"], "invalid_signal");
    }
    let refused = client.stdin(&session, "one", "end=true", "x").await?;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (400, &json!("invalid_query"))
    );
    client.cancel(&session, "one").await?;
    client.transcript(&session, "one").await?.check()?;
    Ok(())
}

#[tokio::test]
async fn signals_reach_every_process_once() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("signals").await?;
    let command = "exec 2>/dev/null; (trap 'echo child' USR1; while :; do sleep 0.05; done) &
        trap 'echo got' USR1; sleep 0.3; echo ready; while :; do sleep 0.05; done";
    client.exec(&session, &shell(command, "two")).await?;
    let mut events = client.events(&session, "two", None).await?;
    events.until("output").await?;
    let signal = async |name: &str| {
        let body = json!({ "signal": name });
        let answer = client.order(&session, "two", "signal", &body).await?;
        assert_eq!(answer.status, 202, "{}", answer.text);
        Outcome::Ok(())
    };
    for _ in 0..3 {
        signal("USR1").await?;
        let mut heard = Vec::new();
        for _ in 0..2 {
            heard.push(events.until("output").await?.json()["line"].clone());
        }
        heard.sort_by_key(ToString::to_string);
        assert_eq!(heard, ["child", "got"]);
    }
    // What stands still hears the next one when it goes on.
    signal("STOP").await?;
    signal("USR1").await?;
    signal("CONT").await?;
    events.until("output").await?;
    events.until("output").await?;
    // What was carried out does not stay: only the last order does.
    assert_eq!(orders_left(&world).await?, 1);
    signal("KILL").await?;
    let complete = events.until("complete").await?.json();
    assert_eq!(complete["outcome"], "signaled", "{complete}");
    assert_eq!(complete["signal"], 9);
    let lines = client.transcript(&session, "two").await?.stdout();
    assert_eq!(lines.lines().count(), 9, "{lines}");
    Ok(())
}

#[tokio::test]
async fn a_queued_exec_is_canceled_without_being_started() -> Outcome<()> {
    let (mut world, gateways) = World::of_readers(options(), 1).await?;
    let client = &gateways.clients[0];
    let session = client.session("queued").await?;
    let body = json!({"type": "shell", "command": "touch started", "stream_id": "never",
        "stdin_open": true});
    client.exec(&session, &body).await?;
    let body = json!({"signal": "INT"});
    let refused = client.order(&session, "never", "signal", &body).await?;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &json!("exec_not_started"))
    );
    // Input for it may come before its start.
    let given = client.stdin(&session, "never", "offset=0", "early").await?;
    assert_eq!(given.status, 202, "{}", given.text);
    let canceled = client.cancel(&session, "never").await?;
    assert_eq!(canceled.status, 202, "{}", canceled.text);
    assert_eq!(canceled.json()["status"], "complete");
    assert_eq!(canceled.json()["complete"]["outcome"], "canceled");
    let as_of = canceled.header("rdev-as-of").to_owned();
    let listed = client
        .get(&format!("/sessions/{session}/execs?as_of={as_of}"))
        .await?;
    assert_eq!(listed.json()["items"][0]["complete"]["outcome"], "canceled");
    assert_eq!(orders_left(&world).await?, 0);
    after_the_end(client, &session, "never").await?;
    let transcript = client.transcript(&session, "never").await?;
    assert_eq!(transcript.numbered().len(), 1, "{transcript:?}");
    let _executor = world.executor()?;
    client.shell(&session, "true").await?.check()?;
    assert!(!world.pod("queued").join("started").exists());
    world.audit(&["--execs"], &[]).await?.expect_equal()?;
    world.audit(&[], &[]).await?.expect_equal()
}

/// Whoever wins, the executor with its claim or the gateway with the end: there is one end, and
/// nothing is left running.
#[tokio::test]
async fn a_cancel_that_races_the_start_ends_the_exec() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("race").await?;
    client.shell(&session, "true").await?.check()?;
    let mut unstarted = 0;
    for race in 0..RACES {
        let stream = format!("race-{race}");
        client
            .exec(&session, &shell("exec sleep 300", &stream))
            .await?;
        // From well before the claim to well behind it.
        tokio::time::sleep(Duration::from_micros(race as u64 * 300)).await;
        let canceled = client.cancel(&session, &stream).await?;
        assert_eq!(canceled.status, 202, "{}", canceled.text);
        let end = client.transcript(&session, &stream);
        let transcript = tokio::time::timeout(ENDED_WITHIN, end).await??;
        transcript.check()?;
        let complete = transcript.complete();
        assert_eq!(complete["outcome"], "canceled", "{complete}");
        let bus = world.bus().await?;
        let log = ExecLog::read(&bus, &exec_id(client, &session, &stream)?).await?;
        log.check()?;
        unstarted += usize::from(log.count(Kind::Started) == 0);
    }
    assert!(unstarted < RACES, "none was canceled while it ran");
    until_no_orders(&world).await
}

/// Whether a process has this among its arguments.
fn is_running(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut commands =
        processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    commands.any(|command| {
        command
            .split(|byte| *byte == 0)
            .any(|word| word == marker.as_bytes())
    })
}

/// Commands and the end of their session, at once, again and again: when the answer to the end is
/// here, every command that was accepted has ended or is about to, and none is started any more.
#[tokio::test]
async fn a_session_that_ends_with_cancel_leaves_nothing_running() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let marker = format!("30{}", std::process::id());
    let running = client.session("runs").await?;
    client
        .exec(
            &running,
            &shell(&format!("echo on; exec sleep {marker}"), "runs"),
        )
        .await?;
    client
        .events(&running, "runs", None)
        .await?
        .until("output")
        .await?;
    // The shell has said so, and becomes it.
    let found = async {
        while !is_running(&marker) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(ENDED_WITHIN, found).await?;
    client.cancel(&running, "runs").await?;
    client.transcript(&running, "runs").await?.check()?;
    for round in 0..8_u64 {
        let session = client.session(&format!("ended-{round}")).await?;
        let posts = (0..EXECS_OF_A_SESSION).map(async |number| {
            tokio::time::sleep(Duration::from_millis(number as u64)).await;
            let body = shell(&format!("exec sleep {marker}"), &format!("exec-{number}"));
            client
                .post(&format!("/sessions/{session}/exec"), &body)
                .await
        });
        let end = async {
            tokio::time::sleep(Duration::from_millis(round * 2)).await;
            client
                .delete(&format!("/sessions/{session}?cancel=true"))
                .await
        };
        let (posted, ended) = tokio::join!(join_all(posts), end);
        let ended = ended?;
        assert_eq!(ended.status, 200, "{}", ended.text);
        assert_eq!(ended.json()["status"], "ended");
        let mut accepted = Vec::new();
        for (number, answer) in posted.into_iter().enumerate() {
            let answer = answer?;
            match answer.status {
                201 => accepted.push(format!("exec-{number}")),
                400 => assert_eq!(answer.json()["code"], "session_not_active"),
                _ => return Err(answer.text.into()),
            }
        }
        let ends = accepted.iter().map(async |stream| {
            let transcript = client.transcript(&session, stream).await?;
            transcript.check()?;
            let outcome = transcript.complete()["outcome"].clone();
            assert!(outcome == "canceled" || outcome == "rejected", "{outcome}");
            Outcome::Ok(())
        });
        tokio::time::timeout(ENDED_WITHIN, try_join_all(ends)).await??;
    }
    assert!(!is_running(&marker));
    until_no_orders(&world).await?;
    world.audit(&["--execs"], &[]).await?.expect_equal()
}

/// A gateway may have looked at the session before its end and store the command behind it, when
/// whoever cancels has looked for commands: it is not started then.
#[tokio::test]
async fn a_command_that_is_stored_behind_the_end_is_rejected() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let session = client.session("behind").await?;
    client
        .delete(&format!("/sessions/{session}?cancel=true"))
        .await?;
    let work = Work::Shell {
        command: "touch started".to_owned(),
    };
    let command = Command {
        spec: CommandSpec::new(work, 60),
        accept_until: Timestamp::MAX,
        awaits_pod: false,
        by: Requester::default(),
    };
    let exec = exec_id(client, &session, "behind")?;
    world
        .bus()
        .await?
        .submit(&exec, &command, Timestamp::now())
        .await?;
    let transcript = client.transcript(&session, "behind").await?;
    transcript.check()?;
    let complete = transcript.complete();
    assert_eq!(complete["outcome"], "rejected", "{complete}");
    assert_eq!(complete["reason"], "the session has ended");
    assert!(!world.pod("behind").join("started").exists());
    Ok(())
}

#[tokio::test]
async fn a_session_that_ends_without_cancel_leaves_its_commands_alone() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("left").await?;
    let command = "echo on; while ! test -e go; do sleep 0.05; done; echo off";
    client.exec(&session, &shell(command, "left")).await?;
    let mut events = client.events(&session, "left", None).await?;
    events.until("output").await?;
    let path = format!("/sessions/{session}");
    assert_eq!(client.delete(&path).await?.status, 200);
    assert_eq!(client.delete(&path).await?.status, 200, "twice is fine");
    // What runs may still be canceled, also by ending the session once more.
    let ended = client.delete(&format!("{path}?cancel=true")).await?;
    assert_eq!(ended.status, 200, "{}", ended.text);
    let complete = events.until("complete").await?.json();
    assert_eq!(complete["outcome"], "canceled", "{complete}");
    assert_eq!(complete["reason"], "the session was ended");
    Ok(())
}

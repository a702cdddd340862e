//! What a later build may write into the log, met by this one: kinds, events, fields, facts and orders
//! that it does not know. Nothing is lost and nobody stops; readers are shown what has a number as it
//! stands. docs/upgrading.md has the rules.

use async_nats::jetstream::{self, Context};
use jiff::Timestamp;
use rdev_bus::Bus;
use rdev_contract::control::{ControlMessage, Given, Order};
use rdev_contract::envelope::{Head, Message, PAYLOAD_VERSION};
use rdev_contract::event::{
    Admitted, Complete, Kind, Outcome as Ending, PodIdentity, Requester, Started,
};
use rdev_contract::id::{ClaimId, ExecId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::subject::{KeyEntry, Subject};
use rdev_tests::client::Client;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::world::World;
use rdev_tests::{Outcome, transcript};
use serde_json::{Value, json};
use uuid::Uuid;

use super::options;

/// A kind that no build has had yet.
const KIND: &str = "hologram";

/// Writes messages behind an exec's last one, of whatever kind.
struct Later {
    log: Context,
    head: Head,
    chain: String,
}

impl Later {
    /// Behind what the log holds of an exec, under the claim of whoever has it.
    async fn behind(world: &World, bus: &Bus, exec: &ExecId) -> Outcome<Self> {
        let tail = bus.tail(exec).await?.ok_or("no such exec")?;
        let message = Message::decode(&tail.value.payload)?;
        let mut head = message.head;
        head.prev = tail.sequence;
        Ok(Self {
            log: jetstream::new(async_nats::connect(world.nats.url()).await?),
            head,
            chain: message.chain.as_str().to_owned(),
        })
    }

    /// A new exec whose command has members that nobody knows.
    async fn command(world: &World, exec: &ExecId) -> Outcome<Self> {
        let mut later = Self {
            log: jetstream::new(async_nats::connect(world.nats.url()).await?),
            head: Head {
                v: PAYLOAD_VERSION,
                project: exec.project.clone(),
                session: exec.session,
                stream: exec.stream.clone(),
                kind: String::new(),
                claim: None,
                attempt: 0,
                first: None,
                at: Timestamp::now(),
                to: None,
                prev: StreamSeq(0),
            },
            chain: String::new(),
        };
        let data = json!({
            "type": "shell", "command": "true", "args": [], "env": {}, "timeout_seconds": 60,
            "accept_until": "2100-01-01T00:00:00Z", "by": {"planet": "Mars"}, "colour": "red",
        });
        later.fact(Kind::Command.token(), &data).await?;
        Ok(later)
    }

    async fn fact(&mut self, kind: &str, data: &Value) -> Outcome<()> {
        self.append(kind, None, None, &format!("\"data\":{data}"))
            .await
    }

    async fn events(&mut self, kind: &str, first: u64, to: Offsets, of: &[Value]) -> Outcome<()> {
        let events: Vec<_> = of.iter().map(Value::to_string).collect();
        let body = format!("\"events\":[{}]", events.join(","));
        self.append(kind, Some(first), Some(to), &body).await
    }

    /// As docs/consumers.md says that a payload is written: the chain value is the hash of the one before
    /// it and of this payload with an empty one.
    async fn append(
        &mut self,
        kind: &str,
        first: Option<u64>,
        to: Option<Offsets>,
        body: &str,
    ) -> Outcome<()> {
        self.head.kind = kind.to_owned();
        self.head.first = first.map(EventNo);
        self.head.to = to;
        self.head.at = Timestamp::now();
        let head = serde_json::to_string(&self.head)?;
        let head = head.trim_end_matches('}');
        let payload = |chain: &str| format!("{head},\"mood\":[],\"chain\":\"{chain}\",{body}}}");
        self.chain = transcript::sha256((self.chain.clone() + &payload("")).as_bytes());
        let known = Subject::exec(&self.head.exec(), Kind::Command);
        let (place, _) = known.as_str().rsplit_once('.').ok_or("no kind")?;
        let subject = format!("{place}.{kind}");
        let payload = payload(&self.chain);
        let stored = self.log.publish(subject, payload.into()).await?.await?;
        self.head.prev = StreamSeq(stored.sequence);
        Ok(())
    }
}

fn line(text: &str) -> Value {
    json!({"type": "output", "data": {"line": text, "stream": "stdout", "colour": 1}})
}

/// The same with a member that nobody knows.
fn with(mut data: Value, name: &str) -> Value {
    data[name] = json!(7);
    data
}

fn unknown() -> Value {
    json!({"type": KIND, "data": {"depth": 3}})
}

async fn expect_equal(world: &World, what: &[&str]) -> Outcome<Value> {
    let audited = world.audit(what, &[]).await?;
    audited.expect_equal()?;
    Ok(audited.report)
}

/// Names and numbers of what readers are shown of the log.
fn shown(events: &[transcript::SseEvent]) -> Vec<(&str, u64)> {
    let of_the_log = |event: &&transcript::SseEvent| {
        !["connected", "caught_up", "queued", "heartbeat"].contains(&event.name.as_str())
    };
    let events = events.iter().filter(of_the_log);
    events
        .map(|event| (event.name.as_str(), event.number()))
        .collect()
}

/// An exec with all of that, written by nobody's executor.
async fn write(world: &World, exec: &ExecId) -> Outcome<()> {
    let mut later = Later::command(world, exec).await?;
    let admitted = Admitted {
        command_seq: later.head.prev,
        scheduler: "a scheduler".to_owned(),
    };
    let admitted = with(json!(admitted), "luck");
    later.fact(Kind::Admitted.token(), &admitted).await?;
    let claim = ClaimId::new(Uuid::new_v4());
    (later.head.claim, later.head.attempt) = (Some(claim), 1);
    let started = Started {
        claim,
        attempt: 1,
        executor: "an executor".to_owned(),
        argv: Vec::new(),
        resume_id: None,
        pod: PodIdentity {
            namespace: "default".to_owned(),
            name: "box".to_owned(),
            uid: "1".to_owned(),
            container: "main".to_owned(),
            container_id: "1".to_owned(),
            restarts: 0,
        },
        shim: "a shim".to_owned(),
    };
    let started = with(json!(started), "weather");
    later.fact(Kind::Started.token(), &started).await?;
    let (output, end) = (Kind::Output.token(), Kind::Complete.token());
    let to = Offsets::new(4, 0);
    later
        .events(output, 1, to, &[line("one"), unknown()])
        .await?;
    later.fact("remark", &json!({"of": "nobody"})).await?;
    later.events(KIND, 3, to, &[unknown(), unknown()]).await?;
    let to = Offsets::new(8, 0);
    later.events(output, 5, to, &[line("two")]).await?;
    let complete = Complete {
        exit_code: 0,
        ok: true,
        stdout_bytes: Some(8),
        stderr_bytes: Some(0),
        stdout_sha256: Some(transcript::sha256(b"one\ntwo\n")),
        stderr_sha256: Some(transcript::sha256(b"")),
        ..Complete::without_process(Ending::Exited, "")
    };
    let complete = with(json!(complete), "energy_joules");
    let complete = json!({"type": "complete", "data": complete});
    later.events(end, 6, to, &[complete]).await
}

async fn check_shown(client: &Client, session: &str, stream: &str) -> Outcome<()> {
    let whole = client.transcript(session, stream).await?;
    let all = [
        ("output", 1),
        (KIND, 2),
        (KIND, 3),
        (KIND, 4),
        ("output", 5),
        ("complete", 6),
    ];
    assert_eq!(shown(&whole.events), all);
    let holograms = whole.events.iter().filter(|event| event.name == KIND);
    assert!(
        holograms
            .map(|event| event.data.as_str())
            .all(|data| data == r#"{"depth":3}"#)
    );
    assert_eq!(whole.complete()["energy_joules"], 7);
    for (index, event) in whole
        .events
        .iter()
        .enumerate()
        .filter(|(_, one)| one.name == KIND)
    {
        let behind = client.events(session, stream, Some(&event.id)).await?;
        let rest = behind.rest().await?;
        let place = all.iter().position(|(_, number)| *number == event.number());
        let place = place.ok_or("no such number")?;
        assert_eq!(
            shown(&rest.events),
            all[place + 1..],
            "behind event {index}"
        );
    }
    let path = format!("/sessions/{session}/execs/{stream}/output?stream=stdout");
    assert_eq!(client.get(&path).await?.text, "one\ntwo\n");
    Ok(())
}

/// What no part of an exec is: a fact of its session, an entry among the keys.
async fn write_beside(world: &World, exec: &ExecId) -> Outcome<()> {
    let log = jetstream::new(async_nats::connect(world.nats.url()).await?);
    let (project, session) = (&exec.project, exec.session);
    let ended = rdev_contract::session::SessionKind::Ended;
    let known = Subject::session(project, session, ended);
    let (place, _) = known.as_str().rsplit_once('.').ok_or("no kind")?;
    let fact = json!({"v": 1, "project": project, "session": session, "at": Timestamp::now(),
        "kind": "renamed", "data": {"to": "another"}});
    log.publish(format!("{place}.renamed"), fact.to_string().into())
        .await?
        .await?;
    let key = Subject::key(&KeyEntry::TicketSecret);
    let (bucket, _) = key.as_str().rsplit_once('.').ok_or("no entry")?;
    log.publish(format!("{bucket}.team.one"), "{}".into())
        .await?
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_later_builds_write_is_shown_and_audited() -> Outcome<()> {
    let (mut world, services) = World::of_readers(options(), 1).await?;
    let client = &services.clients[0];
    let session = client.session("box").await?;
    let exec = exec_id(client, &session, "later")?;
    write_beside(&world, &exec).await?;
    write(&world, &exec).await?;
    check_shown(client, &session, "later").await?;
    // A gateway that finds all of it there.
    let (_another, another) = world.gateway()?;
    world.ready(&another).await?;
    check_shown(&another, &session, "later").await?;
    let view = client.get(&format!("/sessions/{session}")).await?.json();
    assert_eq!(view["status"], "active", "{view}");

    let report = expect_equal(&world, &["--exec", &exec.to_string()]).await?;
    assert_eq!(report["events"], 6, "{report}");
    // Which bytes the unknown events stand for is not known here.
    assert_eq!(report["hashed"], false, "{report}");
    expect_equal(&world, &[]).await?;
    let path = format!("/sessions/{session}/execs");
    let list = client.get(&path).await?.json();
    assert_eq!(list["items"][0]["complete"]["outcome"], "exited", "{list}");

    // Another version is another language: it is kept aside, and what comes behind it is not held up.
    let stranger = exec_id(client, &session, "stranger")?;
    let mut later = Later::command(&world, &stranger).await?;
    later.head.v = PAYLOAD_VERSION + 1;
    later
        .fact(Kind::Started.token(), &json!({"by": "nobody"}))
        .await?;
    let behind = exec_id(client, &session, "behind")?;
    write(&world, &behind).await?;
    let report = world.audit(&["--exec", &stranger.to_string()], &[]).await?;
    assert!(
        report.report.to_string().contains("version 2"),
        "{report:?}"
    );
    until_listed(client, &path, "behind").await?;
    let readyz = client.http().get(format!("{}/readyz", client.base));
    let ready = client.send(readyz).await?.text;
    assert!(ready.contains("\"poisoned\":1"), "{ready}");
    Ok(())
}

async fn until_listed(client: &Client, path: &str, stream: &str) -> Outcome<()> {
    let listed = async {
        loop {
            let list = client.get(path).await?.json();
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let mut items = items.iter().filter(|item| item["status"] == "complete");
            if items.any(|item| item["id"] == stream) {
                return Outcome::Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), listed).await?
}

/// The executor that had it was of a later build, and ended behind something that this one does not
/// know.
#[tokio::test]
async fn an_exec_of_a_later_build_is_taken_over() -> Outcome<()> {
    let (mut world, services) = World::start(options()).await?;
    let client = &services.client;
    let session = client.session("box").await?;
    let command = "echo one; until [ -e go ]; do sleep 0.02; done; echo two";
    let stream = client
        .exec(&session, &json!({"type": "shell", "command": command}))
        .await?;
    let mut events = client.events(&session, &stream, None).await?;
    events.until("output").await?;
    services.executor.kill().await;
    let (bus, exec) = (world.bus().await?, exec_id(client, &session, &stream)?);
    let mut later = Later::behind(&world, &bus, &exec).await?;
    let to = later.head.to.ok_or("no offsets")?;
    later.events(KIND, 2, to, &[unknown(), unknown()]).await?;
    let _another = world.executor()?;
    std::fs::write(world.pod("box").join("go"), "")?;
    let rest = events.rest().await?;
    let expected = [(KIND, 2), (KIND, 3), ("output", 4), ("complete", 5)];
    assert_eq!(shown(&rest.events), expected);
    assert_eq!(rest.stdout(), "two\n");
    assert_eq!(ExecLog::read(&bus, &exec).await?.attempts(), [1, 2]);
    expect_equal(&world, &["--exec", &exec.to_string()]).await?;
    Ok(())
}

/// An order that is not known is passed over, and the next one is carried out.
#[tokio::test]
async fn an_order_of_a_later_build_holds_up_no_other() -> Outcome<()> {
    let (world, services) = super::world().await?;
    let client = &services.client;
    let session = client.session("box").await?;
    let stream = client
        .exec(
            &session,
            &json!({"type": "shell", "command": "echo up; exec sleep 300"}),
        )
        .await?;
    let mut events = client.events(&session, &stream, None).await?;
    events.until("output").await?;
    let exec = exec_id(client, &session, &stream)?;
    let given = Given {
        number: 1,
        ..Given::default()
    };
    let cancel = Order::Cancel {
        reason: String::new(),
    };
    let order = ControlMessage::new(&exec, Timestamp::now(), Requester::default(), given, cancel);
    let mut order = serde_json::to_value(order)?;
    order["order"] = json!({"type": "freeze", "celsius": -40});
    let log = jetstream::new(async_nats::connect(world.nats.url()).await?);
    let subject = Subject::control(&exec).as_str().to_owned();
    log.publish(subject, order.to_string().into())
        .await?
        .await?;
    services
        .executor
        .until_it_says("an order of a newer version is passed over")
        .await?;
    let answer = client.cancel(&session, &stream).await?;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(
        events.until("complete").await?.json()["outcome"],
        "canceled"
    );
    Ok(())
}

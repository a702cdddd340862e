//! The services, each trying what is not its own.

use async_nats::jetstream::{self, consumer};
use rdev_bus::access::{Access, Role};
use rdev_bus::{Bus, ConnectError, Credentials, LogStream};
use rdev_contract::event::Kind;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::session::SessionKind;
use rdev_contract::subject::{
    ADMITTED_CONSUMER, EXEC_STREAM, Filter, KEYS_BUCKET, LIVE_DESTINATION, SCHEDULER_BUCKET,
    SLOTS_ANNOUNCED, Subject,
};
use rdev_embedded::{NatsOptions, NatsServer};

use crate::{Guarded, config, exec_of, login};

const SERVICES: [Role; 4] = [
    Role::Gateway,
    Role::Executor,
    Role::Projector,
    Role::Auditor,
];

/// The keys are not for everybody to look at.
const KEYS_READ: [&str; 4] = [
    "$JS.API.STREAM.MSG.GET.KV_RDEV_KEYS",
    "$JS.API.DIRECT.GET.KV_RDEV_KEYS",
    "$JS.API.DIRECT.GET.KV_RDEV_KEYS.$KV.RDEV_KEYS.ticket",
    "$JS.API.CONSUMER.CREATE.KV_RDEV_KEYS",
];

/// What is whose to write; nobody else may.
fn written_by(role: Role, exec: &ExecId) -> Vec<String> {
    let kinds: &[Kind] = match role {
        Role::Gateway => &[Kind::Command, Kind::Complete],
        Role::Executor => &Kind::ALL[1..],
        Role::Projector | Role::Auditor | Role::Operator => &[],
    };
    let facts: &[SessionKind] = match role {
        Role::Gateway => &[SessionKind::Created, SessionKind::Ended],
        Role::Executor => &SessionKind::ALL[1..],
        Role::Projector | Role::Auditor | Role::Operator => &[],
    };
    let bucket = |name| format!("$KV.{name}.key");
    let queue = format!("{EXEC_STREAM}.{ADMITTED_CONSUMER}");
    let others = match role {
        Role::Gateway => vec![
            Subject::control(exec).to_string(),
            bucket(KEYS_BUCKET),
            Subject::trail(exec).to_string(),
            "$JS.API.STREAM.PURGE.RDEV_CONTROL".to_owned(),
        ],
        Role::Executor => vec![
            Subject::control(exec).to_string(),
            bucket(SCHEDULER_BUCKET),
            SLOTS_ANNOUNCED.to_owned(),
            "$JS.API.STREAM.PURGE.RDEV_CONTROL".to_owned(),
            format!("$JS.API.CONSUMER.MSG.NEXT.{queue}"),
            format!("$JS.ACK.{queue}.1.1.1.1.0"),
        ],
        Role::Auditor => vec!["$JS.API.CONSUMER.CREATE.RDEV_TRAIL".to_owned()],
        Role::Projector | Role::Operator => vec![],
    };
    let kinds = kinds.iter().map(|kind| Subject::exec(exec, *kind));
    let facts = facts
        .iter()
        .map(|fact| Subject::session(&exec.project, exec.session, *fact));
    let subjects = kinds.chain(facts).map(|subject| subject.to_string());
    let reads_keys = matches!(role, Role::Gateway | Role::Auditor);
    let keys = KEYS_READ.into_iter().filter(|_| reads_keys);
    let others = others.into_iter().chain(keys.map(str::to_owned));
    subjects.chain(others).collect()
}

/// What the server's API offers that no service needs: it is for people.
fn for_operators() -> Vec<String> {
    let streams = [EXEC_STREAM, "RDEV_SESSION", "RDEV_CONTROL", "KV_RDEV_KEYS"];
    let whats = [
        "UPDATE",
        "DELETE",
        "MSG.DELETE",
        "SNAPSHOT",
        "RESTORE",
        "LEADER.STEPDOWN",
    ];
    let of_streams = |what| streams.map(|stream| format!("$JS.API.STREAM.{what}.{stream}"));
    let mut all: Vec<_> = whats.into_iter().flat_map(of_streams).collect();
    all.extend(
        [
            "$JS.API.STREAM.PURGE.RDEV_EXEC",
            "$JS.API.STREAM.PURGE.RDEV_SESSION",
            "$JS.API.STREAM.PURGE.KV_RDEV_KEYS",
            "$JS.API.STREAM.CREATE.OTHER",
            "$JS.API.CONSUMER.DELETE.RDEV_EXEC.admitted",
            "$JS.API.CONSUMER.DURABLE.CREATE.RDEV_EXEC.other",
            "$JS.API.CONSUMER.CREATE.RDEV_EXEC.other",
            "$JS.API.CONSUMER.CREATE.RDEV_EXEC.other.rdev.exec.demo.>",
            "$SYS.REQ.SERVER.PING",
        ]
        .map(str::to_owned),
    );
    // Nobody says that something is stored but the server.
    all.push(LIVE_DESTINATION.replace('>', "demo.session.exec.command"));
    all
}

#[tokio::test]
async fn nobody_writes_what_is_another_services() {
    let guarded = Guarded::start().await;
    let exec = exec_of("demo");
    let mut refused = 0;
    for role in SERVICES {
        let own = written_by(role, &exec);
        let mut raw = guarded.raw(role).await;
        let others = SERVICES
            .into_iter()
            .flat_map(|other| written_by(other, &exec));
        for subject in others
            .chain(for_operators())
            .filter(|one| !own.contains(one))
        {
            assert!(raw.cannot_publish(&subject).await, "{role}: {subject}");
            refused += 1;
        }
        for subject in own.iter().filter(|subject| subject.starts_with("rdev.")) {
            assert!(!raw.cannot_publish(subject).await, "{role}: {subject}");
        }
    }
    assert!(refused > 150, "{refused}");
}

#[tokio::test]
async fn nobody_hears_what_is_anothers() {
    let guarded = Guarded::start().await;
    let key_of = |role| {
        let text = std::fs::read_to_string(guarded.access.seed_of(role)).expect("a file");
        let seed = rdev_bus::access::Seed::find(&text).expect("a seed");
        seed.public_key()
    };
    for role in SERVICES {
        let mut raw = guarded.raw(role).await;
        let others = SERVICES.into_iter().filter(|other| *other != role);
        for other in others {
            let inboxes = format!("_INBOX.{}.>", key_of(other));
            assert!(raw.cannot_subscribe(&inboxes).await, "{role}: {other}");
        }
        let execs = Filter::execs().to_string();
        for subject in [">", "_INBOX.>", "rdev.>", "$JS.>", &execs] {
            assert!(raw.cannot_subscribe(subject).await, "{role}: {subject}");
        }
        let own = format!("_INBOX.{}.>", key_of(role));
        assert!(!raw.cannot_subscribe(&own).await, "{role}");
        let hears_live = !raw.cannot_subscribe(LIVE_DESTINATION).await;
        assert_eq!(hears_live, role == Role::Gateway, "{role}");
    }
}

/// The subject of a request says no name, so its body must not either.
#[tokio::test]
async fn a_follower_cannot_pose_as_the_work_queue() {
    let guarded = Guarded::start().await;
    let projector = guarded.raw(Role::Projector).await.client;
    let log = jetstream::new(projector);
    for (name, durable) in [(Some(ADMITTED_CONSUMER), false), (Some("other"), true)] {
        let config = serde_json::json!({
            "stream_name": EXEC_STREAM,
            "config": {
                "name": name,
                "durable_name": durable.then_some(name),
                "filter_subject": Filter::kind(Kind::Complete).as_str(),
                "ack_policy": "none",
            },
        });
        let subject = format!("CONSUMER.CREATE.{EXEC_STREAM}");
        let answer: jetstream::response::Response<consumer::Info> =
            log.request(subject, &config).await.expect("an answer");
        let refused = matches!(answer, jetstream::response::Response::Err { .. });
        assert!(refused, "{name:?}: {answer:?}");
    }
    let executor = guarded.bus(Role::Executor).await;
    executor.ensure_topology().await.expect("as it was");
}

/// Reading needs no more than was given.
#[tokio::test]
async fn who_only_reads_can_follow() {
    let guarded = Guarded::start().await;
    for role in [Role::Projector, Role::Auditor] {
        let bus = guarded.bus(role).await;
        for stream in [LogStream::Exec, LogStream::Session] {
            let filters = vec![Filter::execs()];
            let filters = match stream {
                LogStream::Exec => filters,
                LogStream::Session => vec![Filter::sessions()],
            };
            bus.follow(stream, filters, StreamSeq(0))
                .await
                .expect("a follower");
            bus.identity(stream).await.expect("an answer");
        }
    }
}

#[tokio::test]
async fn strangers_are_told_which_setting_to_look_at() {
    let guarded = Guarded::start().await;
    let url = guarded.server.url();
    let refused = async |url: &str, credentials| {
        let connected = Bus::connect(config(url, credentials), "stranger").await;
        match connected {
            Ok(_) => panic!("it was let in"),
            Err(error @ ConnectError::Refused { .. }) => error.to_string(),
            Err(error) => panic!("{error}"),
        }
    };
    let nobody = refused(&url, None).await;
    assert!(nobody.contains("RDEV_NATS_CREDS"), "{nobody}");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let other = Access::kept_in(elsewhere.path()).expect("keys");
    let path = other.seed_of(Role::Gateway);
    let foreign = Credentials::read(&path.to_string_lossy()).expect("a seed");
    let foreign = refused(&url, Some(foreign)).await;
    assert!(foreign.contains("RDEV_NATS_CREDS"), "{foreign}");
    let with_password = url.replace("//", "//rdev:secret@");
    let password = refused(&with_password, None).await;
    assert!(password.contains("RDEV_NATS_URL"), "{password}");
    assert!(!password.contains("secret"), "{password}");
}

/// Of `rdev dev` and of tests: what a server without users stored is the log's account's.
#[tokio::test]
async fn a_log_from_before_there_were_users_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = NatsOptions::new(directory.path().join("nats"));
    let mut server = NatsServer::start(options.clone()).await.expect("a server");
    let bus = Bus::connect(config(&server.url(), None), "before").await;
    let bus = bus.expect("a connection");
    bus.ensure_topology().await.expect("the streams");
    let before = bus.identity(LogStream::Exec).await.expect("a stream");
    server.stop().await;
    drop(server);

    let access = Access::kept_in(&directory.path().join("access")).expect("keys");
    options.heir = Some(Access::ACCOUNT.to_owned());
    options.extra_config = access.configuration(Some(&login(true)));
    let server = NatsServer::start(options).await.expect("a server");
    let bus = Bus::connect(config(&server.url(), None), "after").await;
    let after = bus.expect("a connection").identity(LogStream::Exec).await;
    assert_eq!(after.expect("the stream"), before);
}

#[test]
fn credentials_are_looked_at_when_they_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing");
    assert!(Credentials::read(&missing.to_string_lossy()).is_err());
    let path = directory.path().join("seed");
    // A truncated one, a public key, an account's.
    for wrong in [
        "",
        "SUAC",
        "UAAWQ5UHGVJSCLJ4P2QSVJ5GJ5U3QYBQXCYC3AQJWG5ZDX6V7U3YBAJH",
        "SAANWFZ3JINNPERWT3ALE45U7GYT2ZDW6GJUIVPDKUF6GKAX6AISZJMAS4",
    ] {
        std::fs::write(&path, wrong).expect("a file");
        let error = Credentials::read(&path.to_string_lossy()).expect_err(wrong);
        assert!(error.contains("seed of a user"), "{error}");
    }
    let access = Access::kept_in(directory.path()).expect("keys");
    let seed = access.seed_of(Role::Gateway);
    let credentials = Credentials::read(&seed.to_string_lossy()).expect("a seed");
    let text = std::fs::read_to_string(&seed).expect("a file");
    assert!(!format!("{credentials:?}").contains(text.trim()));
    // They stay.
    Access::kept_in(directory.path()).expect("keys");
    assert_eq!(std::fs::read_to_string(&seed).expect("a file"), text);
}

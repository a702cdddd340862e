//! The exact bytes of what a command printed: whole, in ranges, while it runs, and when a part of
//! them has expired.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_nats::jetstream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use rdev_contract::event::Kind;
use rdev_contract::subject::{EXEC_STREAM, Subject};
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::log::{ExecLog, exec_id};
use rdev_tests::transcript::sha256;
use rdev_tests::world::World;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{options, world};

/// More than a dozen messages of the log.
const OUTPUT_BYTES: usize = 5 * 1024 * 1024;

/// An answer with the bytes of its body.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// One exec's output.
struct Output<'a> {
    client: &'a Client,
    session: &'a str,
    stream: &'a str,
}

impl Output<'_> {
    async fn ask(&self, method: Method, which: &str, headers: &[(&str, &str)]) -> Outcome<Answer> {
        let (session, exec) = (self.session, self.stream);
        let path = format!("/sessions/{session}/execs/{exec}/output?stream={which}");
        let mut request = self.client.http().request(method, self.client.url(&path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await?.to_vec(),
        })
    }

    async fn get(&self, which: &str, headers: &[(&str, &str)]) -> Outcome<Answer> {
        self.ask(Method::GET, which, headers).await
    }

    async fn range(&self, range: &str) -> Outcome<Answer> {
        self.get("stdout", &[("range", range)]).await
    }
}

/// Every byte, half a character, and whatever else: no generator of the outside is needed for that.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend("half of é".bytes().take("half of é".len() - 1));
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(count - 1);
    bytes.push(b'x');
    bytes
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)))
}

/// A session whose pod has this file.
async fn pod_with(world: &World, client: &Client, name: &str, bytes: &[u8]) -> Outcome<String> {
    let session = client.session(name).await?;
    client.shell(&session, "true").await?;
    std::fs::write(world.pod(name).join("noise"), bytes)?;
    Ok(session)
}

#[tokio::test]
async fn bytes_come_as_they_were_printed() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let noise = noise(OUTPUT_BYTES);
    let session = pod_with(&world, client, "exact", &noise).await?;
    let stream = "exact";
    let command = "cat noise; printf 'a\\0b\\r\\377' >&2; exit 3";
    let body = json!({"type": "shell", "command": command, "stream_id": stream});
    let complete = client.run(&session, &body).await?.complete();
    let output = Output {
        client,
        session: &session,
        stream,
    };

    let whole = output.get("stdout", &[]).await?;
    assert_eq!(whole.status, 200);
    assert!(whole.body == noise, "{} bytes", whole.body.len());
    assert_eq!(complete["stdout_sha256"], sha256(&whole.body));
    let etag = format!("\"{}\"", sha256(&noise));
    for (name, value) in [
        ("content-length", noise.len().to_string().as_str()),
        ("content-digest", &digest_of(&noise)),
        ("repr-digest", &digest_of(&noise)),
        ("etag", &etag),
        ("accept-ranges", "bytes"),
        ("content-type", "application/octet-stream"),
        ("x-content-type-options", "nosniff"),
        (
            "content-disposition",
            "attachment; filename=\"exact.stdout\"",
        ),
    ] {
        assert_eq!(whole.header(name), value, "{name}");
    }
    let stderr = output.get("stderr", &[]).await?;
    assert_eq!(stderr.body, b"a\0b\r\xFF");
    assert_eq!(stderr.header("content-digest"), digest_of(b"a\0b\r\xFF"));

    let head = output.ask(Method::HEAD, "stdout", &[]).await?;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in ["content-length", "content-digest", "etag"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
    let known = output.get("stdout", &[("if-none-match", &etag)]).await?;
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(known.header("etag"), etag);
    Ok(())
}

#[tokio::test]
async fn ranges_are_parts_of_the_whole() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let noise = noise(OUTPUT_BYTES);
    let session = pod_with(&world, client, "ranges", &noise).await?;
    let body =
        json!({"type": "shell", "command": "cat noise; echo; printf ab >&2", "stream_id": "s"});
    // Others write into the same log meanwhile.
    let other = client.session("other").await?;
    let busy = json!({"type": "shell", "command": "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.05; done"});
    let (ran, others) = tokio::join!(client.run(&session, &body), client.run(&other, &busy));
    ran?.check()?;
    others?.check()?;
    let output = Output {
        client,
        session: &session,
        stream: "s",
    };
    let mut all = noise;
    all.push(b'\n');
    let total = all.len();

    let bus = world.bus().await?;
    let log = ExecLog::read(&bus, &exec_id(client, &session, "s")?).await?;
    let edges = log.0.iter().filter_map(|line| line.head.to);
    let edges: Vec<_> = edges
        .filter_map(|to| usize::try_from(to.stdout).ok())
        .collect();
    assert!(edges.len() > 12, "{}", edges.len());
    let around = edges
        .iter()
        .flat_map(|edge| [(edge.saturating_sub(2), edge + 1), (*edge, *edge)]);
    let mut cases: Vec<_> = around.collect();
    cases.extend([
        (0, 0),
        (total - 1, total - 1),
        (1, total + 5),
        (0, total - 1),
        (1_000_000, 4_000_000),
    ]);
    for (first, last) in cases.into_iter().filter(|(first, _)| *first < total) {
        let part = output.range(&format!("bytes={first}-{last}")).await?;
        let last = last.min(total - 1);
        assert_eq!(part.status, 206, "{first}-{last}");
        assert!(part.body == all[first..=last], "{first}-{last}");
        assert_eq!(
            part.header("content-range"),
            format!("bytes {first}-{last}/{total}")
        );
        assert_eq!(part.header("repr-digest"), digest_of(&all));
        assert_eq!(part.header("content-digest"), "");
    }
    other_ranges(&output, &all).await
}

async fn other_ranges(output: &Output<'_>, all: &[u8]) -> Outcome<()> {
    let total = all.len();
    let suffix = output.range("bytes=-3").await?;
    assert_eq!((suffix.status, &suffix.body[..]), (206, &all[total - 3..]));
    let open = output.range(&format!("bytes={}-", total - 9)).await?;
    assert_eq!((open.status, &open.body[..]), (206, &all[total - 9..]));

    let behind = output.range(&format!("bytes={total}-")).await?;
    assert_eq!(
        (behind.status, behind.json()["code"].as_str()),
        (416, Some("range_not_satisfiable"))
    );
    assert_eq!(behind.header("content-range"), format!("bytes */{total}"));
    let several = output.range("bytes=0-1,5-6").await?;
    assert_eq!((several.status, several.body.len()), (200, total));

    let etag = open.header("etag").to_owned();
    for (condition, status) in [(etag.as_str(), 206), ("\"other\"", 200)] {
        let headers = [("range", "bytes=1-2"), ("if-range", condition)];
        assert_eq!(
            output.get("stdout", &headers).await?.status,
            status,
            "{condition}"
        );
    }
    Ok(())
}

/// Neither is the log read from its beginning for a part at the end, nor does an answer break off
/// because the log is away for a moment.
#[tokio::test]
async fn long_outputs_are_read_where_they_are_wanted() -> Outcome<()> {
    let (mut world, services) = world().await?;
    let client = &services.client;
    let session = client.session("long").await?;
    let command = "head -c 24000000 /dev/zero | tr '\\0' x | fold -w 50000";
    let body = json!({"type": "shell", "command": command, "stream_id": "l"});
    client.run(&session, &body).await?.check()?;
    let proxy = world.nats_proxy().await?;
    let (_gateway, through) = world.gateway_through(&proxy)?;
    world.ready(&through).await?;
    let output = Output {
        client: &through,
        session: &session,
        stream: "l",
    };
    let known = output.ask(Method::HEAD, "stdout", &[]).await?;
    let total: u64 = known.header("content-length").parse()?;
    assert!(total > 24_000_000, "{total}");

    for first in [total / 2, total - 1000] {
        let before = proxy.answered_bytes();
        let part = output
            .range(&format!("bytes={first}-{}", first + 999))
            .await?;
        assert_eq!((part.status, part.body.len()), (206, 1000));
        let read = proxy.answered_bytes() - before;
        assert!(read < total / 4, "{read} bytes of {total} for a thousand");
    }

    let path = format!("/sessions/{session}/execs/l/output");
    let answer = through.http().get(through.url(&path)).send().await?;
    let mut chunks = answer.bytes_stream();
    let mut hash = Sha256::new();
    let mut read = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let is_due = read < total / 8 && read + chunk.len() as u64 >= total / 8;
        if is_due {
            proxy.reset_connections();
        }
        read += chunk.len() as u64;
        hash.update(&chunk);
    }
    let digest = format!("sha-256=:{}:", STANDARD.encode(hash.finalize()));
    assert_eq!(
        (read, digest.as_str()),
        (total, known.header("content-digest"))
    );
    Ok(())
}

#[tokio::test]
async fn of_a_running_command_there_is_what_there_is_by_now() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("running").await?;
    let command = "echo one; while ! test -e go; do sleep 0.05; done; echo two";
    let body = json!({"type": "shell", "command": command, "stream_id": "r"});
    client.exec(&session, &body).await?;
    let mut events = client.events(&session, "r", None).await?;
    events.until("output").await?;
    let output = Output {
        client,
        session: &session,
        stream: "r",
    };

    let now = output.get("stdout", &[]).await?;
    assert_eq!((now.status, &now.body[..]), (200, &b"one\n"[..]));
    for name in ["etag", "content-digest", "repr-digest"] {
        assert_eq!(now.header(name), "", "{name}");
    }
    assert!(now.header("cache-control").contains("no-store"));
    let part = output.range("bytes=2-").await?;
    assert_eq!((part.status, &part.body[..]), (206, &b"e\n"[..]));
    assert_eq!(part.header("content-range"), "bytes 2-3/*");
    assert_eq!(output.range("bytes=4-").await?.status, 416);
    assert_eq!(
        output.get("stderr", &[]).await?.header("content-length"),
        "0"
    );

    client.shell(&session, "touch go").await?;
    events.until("complete").await?;
    // As `tail` would: from where it was.
    let rest = output.range("bytes=4-").await?;
    assert_eq!((rest.status, &rest.body[..]), (206, &b"two\n"[..]));
    assert_ne!(rest.header("etag"), "");
    Ok(())
}

#[tokio::test]
async fn what_has_expired_is_named() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let noise = noise(OUTPUT_BYTES / 4);
    let session = pod_with(&world, client, "old", &noise).await?;
    let body = json!({"type": "shell", "command": "cat noise; echo err >&2", "stream_id": "o"});
    client.run(&session, &body).await?;
    let bus = world.bus().await?;
    let exec = exec_id(client, &session, "o")?;
    let log = ExecLog::read(&bus, &exec).await?;
    let outputs: Vec<_> = log.of(Kind::Output).collect();
    let (gone, left) = (outputs[1], outputs[2].sequence);
    let first_left = gone.head.to.ok_or("no offsets")?.stdout;
    let retention = jetstream::new(async_nats::connect(world.nats.url()).await?);
    let stream = retention.get_stream(EXEC_STREAM).await?;
    let subject = Subject::exec(&exec, Kind::Output);
    stream
        .purge()
        .filter(subject.as_str())
        .sequence(left)
        .await?;

    let output = Output {
        client,
        session: &session,
        stream: "o",
    };
    for asked in [
        None,
        Some("bytes=0-9".to_owned()),
        Some(format!("bytes={}-", first_left - 1)),
    ] {
        let asked: Vec<_> = asked
            .iter()
            .map(|range| ("range", range.as_str()))
            .collect();
        let answer = output.get("stdout", &asked).await?;
        assert_eq!(answer.status, 410, "{asked:?}");
        let problem = answer.json();
        assert_eq!(problem["code"], "output_expired");
        assert_eq!(problem["first_available"], first_left, "{asked:?}");
    }
    let rest = output.range(&format!("bytes={first_left}-")).await?;
    assert_eq!(rest.status, 206);
    assert!(rest.body == noise[usize::try_from(first_left)?..]);

    stream.purge().filter(subject.as_str()).await?;
    let answer = output.get("stdout", &[]).await?;
    assert_eq!(
        (answer.status, answer.json().get("first_available")),
        (410, None)
    );
    let answer = output.get("stderr", &[]).await?;
    assert_eq!(answer.status, 410);
    Ok(())
}

/// A stand-in for the CLI that prints a file.
fn stand_in(directory: &Path, printed: &[u8]) -> Outcome<String> {
    let (path, file) = (directory.join("claude"), directory.join("printed"));
    std::fs::write(&file, printed)?;
    let script = format!(
        "#!/bin/sh\ncat > /dev/null\necho warning >&2\ncat '{}'\n",
        file.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

#[tokio::test]
async fn lines_of_claude_come_whole_however_long() -> Outcome<()> {
    let long = format!("{{\"type\":\"x\",\"text\":\"{}\"}}", "é\\n".repeat(300_000));
    for (name, printed, is_exact) in [
        (
            "long",
            format!("{{\"a\":1}}\nno json\n{long}\n{{\"last\":true}}"),
            true,
        ),
        ("returns", "{\"a\":1}\r\n{\"b\":2}\n".to_owned(), false),
    ] {
        let directory = tempfile::tempdir()?;
        let claude = stand_in(directory.path(), printed.as_bytes())?;
        let options = options().variable("RDEV_CLAUDE_BIN", claude);
        let (_world, services) = World::start(options).await?;
        let client = &services.client;
        let session = client.session("agent").await?;
        let body = json!({"type": "claude", "prompt": "x", "stream_id": name});
        let complete = client.run(&session, &body).await?.complete();
        let output = Output {
            client,
            session: &session,
            stream: name,
        };

        let whole = output.get("stdout", &[]).await?;
        let expected = if is_exact {
            printed
        } else {
            printed.replace('\r', " ")
        };
        assert_eq!(whole.status, 200);
        assert!(whole.body == expected.as_bytes(), "{name}");
        // Of what is sent, also where that is not quite what was printed.
        assert_eq!(
            whole.header("content-digest"),
            digest_of(expected.as_bytes())
        );
        assert_eq!(complete["stdout_sha256"] == sha256(&whole.body), is_exact);
        let (first, last) = (expected.len() / 2, expected.len() - 3);
        let part = output.range(&format!("bytes={first}-{last}")).await?;
        assert_eq!(part.status, 206);
        assert!(part.body == expected.as_bytes()[first..=last]);
        assert_eq!(output.get("stderr", &[]).await?.body, b"warning\n");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_404() -> Outcome<()> {
    let (_world, services) = world().await?;
    let client = &services.client;
    let session = client.session("mine").await?;
    let body = json!({"type": "shell", "command": "echo secret", "stream_id": "m"});
    client.run(&session, &body).await?;
    let other = client.of_project("other");
    for (client, stream) in [(client, "unknown"), (client, "a.b"), (&other, "m")] {
        let output = Output {
            client,
            session: &session,
            stream,
        };
        assert_eq!(output.get("stdout", &[]).await?.status, 404, "{stream}");
    }
    let output = Output {
        client,
        session: &session,
        stream: "m",
    };
    let answer = output.get("stdin", &[]).await?;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (400, Some("invalid_query"))
    );
    Ok(())
}

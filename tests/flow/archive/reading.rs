//! Readers of execs that expire under their eyes: in every form they get the same bytes.

use futures::future::try_join_all;
use rdev_contract::id::ExecId;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use rdev_tests::log::exec_id;
use rdev_tests::transcript::{Transcript, sha256};
use serde_json::{Value, json};

use super::{Kept, Short, feed, held};

/// Some megabytes on both streams, in dozens of messages, and bytes that are no text.
const LOUD: &str = "for i in $(seq 1 40); do head -c 60000 /dev/zero | tr '\\0' a; echo $i; \
    echo err $i >&2; done; printf '\\377\\000 no end'; exit 3";

/// What is asked for, and what was answered.
type Shown = Vec<(String, String)>;

/// An exec and its session.
struct Asked<'a> {
    client: &'a Client,
    session: &'a str,
    stream: &'a str,
}

impl Asked<'_> {
    /// The events of as many answers as it takes: where each of them ends is nobody's business.
    async fn polled(&self, events: &str) -> Outcome<String> {
        let (mut polled, mut cursor) = (String::new(), None::<String>);
        loop {
            let accept = "application/json";
            let answer = self
                .client
                .get_as(events, accept, cursor.as_deref())
                .await?;
            let answer = answer.json();
            for event in answer["events"].as_array().ok_or("no events")? {
                polled += &format!("{event}\n");
            }
            if answer["complete"] == true {
                return Ok(polled);
            }
            cursor = Some(answer["next"].as_str().ok_or("no next")?.to_owned());
        }
    }

    /// All forms in which an exec can be read.
    async fn show(&self) -> Outcome<Shown> {
        let Self {
            session, stream, ..
        } = self;
        let events = format!("/sessions/{session}/events?stream_id={stream}");
        let exec = format!("/sessions/{session}/execs/{stream}");
        let mut shown = Vec::new();
        for (path, accept) in [
            (events.clone(), "text/event-stream"),
            (
                format!("{events}&strict=true&stderr=output"),
                "text/event-stream",
            ),
            (format!("{events}&tail=3"), "text/event-stream"),
            (events.clone(), "application/x-ndjson"),
            (exec.clone(), "application/json"),
            (format!("{exec}/timeline"), "application/json"),
        ] {
            let answer = self.client.get_as(&path, accept, None).await?;
            shown.push((
                format!("{accept} {path}"),
                format!("{} {}", answer.status, answer.text),
            ));
        }
        shown.push((format!("polls of {events}"), self.polled(&events).await?));
        for (which, range) in [
            ("stdout", None),
            ("stderr", None),
            ("stdout", Some("bytes=1500000-1700000")),
            ("stdout", Some("bytes=-7")),
            ("stderr", Some("bytes=5-9")),
        ] {
            let path = format!("{exec}/output?stream={which}");
            let mut request = self.client.http().get(self.client.url(&path));
            if let Some(range) = range {
                request = request.header("range", range);
            }
            let answer = request.send().await?;
            let mut text = format!("{}", answer.status());
            for name in [
                "etag",
                "content-length",
                "content-range",
                "content-digest",
                "repr-digest",
            ] {
                let value = answer.headers().get(name);
                text += &format!("\n{name}: {value:?}");
            }
            let is_refused = !answer.status().is_success();
            let mut body = answer.bytes().await?.to_vec();
            if is_refused {
                // Each refusal has a trace of its own.
                let mut problem: Value = serde_json::from_slice(&body)?;
                problem["trace_id"] = json!(null);
                body = problem.to_string().into_bytes();
            }
            text += &format!("\n{}", sha256(&body));
            shown.push((format!("{path} {range:?}"), text));
        }
        Ok(shown)
    }
}

/// Names what differs: bodies are too long to be printed.
fn same(now: &[(String, String)], before: &[(String, String)], when: &str) {
    for ((asked, now), (_, before)) in now.iter().zip(before) {
        if now == before {
            continue;
        }
        let at = now
            .bytes()
            .zip(before.bytes())
            .take_while(|(one, other)| one == other)
            .count();
        let part = |text: &str| {
            let bytes = text.as_bytes();
            let end = bytes.len().min(at + 200);
            String::from_utf8_lossy(&bytes[at.saturating_sub(80)..end]).into_owned()
        };
        panic!(
            "{when}: {asked} differs at byte {at} of {} and {}:\n{}\nwas\n{}",
            now.len(),
            before.len(),
            part(now),
            part(before)
        );
    }
}

/// An exec, and how it was shown when it had just ended.
struct Ran {
    stream: &'static str,
    exec: ExecId,
    transcript: Transcript,
    shown: Shown,
}

/// Execs of all kinds in one session, at once: their messages lie among each other.
async fn run_all(client: &Client, session: &str) -> Outcome<Vec<Ran>> {
    let shell = |command: &str| json!({"type": "shell", "command": command});
    let all = [
        ("loud", shell(LOUD)),
        ("other", shell(LOUD)),
        ("silent", shell("true")),
        ("missing", shell("exec /no/such/program")),
        ("long", json!({"type": "claude", "prompt": "long"})),
        (
            "merged",
            json!({"type": "shell", "command": "echo a; echo b >&2", "merge": true}),
        ),
    ];
    try_join_all(all.into_iter().map(async |(stream, mut body)| {
        body["stream_id"] = json!(stream);
        let transcript = client.run(session, &body).await?;
        transcript.check()?;
        let asked = Asked {
            client,
            session,
            stream,
        };
        Ok(Ran {
            stream,
            exec: exec_id(client, session, stream)?,
            transcript,
            shown: asked.show().await?,
        })
    }))
    .await
}

/// Reads everything again and again while it expires, and once more when it has.
async fn nobody_notices(short: Short) -> Outcome<()> {
    let kept = Kept::start(short).await?;
    let client = kept.client();
    let session = client.session("kept").await?;
    let ran = run_all(client, &session).await?;
    let whole = [feed(client, &session).await?];
    let events: usize = ran.iter().map(|ran| ran.transcript.numbered().len()).sum();
    assert_eq!(whole[0].1.lines().count(), events + 1);
    let mut round = 0;
    loop {
        let mut left = 0;
        for Ran { exec, .. } in &ran {
            left += held(&kept.bus, exec, short).await?;
        }
        let when = format!("round {round}, {left} messages left");
        same(&[feed(client, &session).await?], &whole, &when);
        for Ran { stream, shown, .. } in &ran {
            let asked = Asked {
                client,
                session: &session,
                stream,
            };
            same(&asked.show().await?, shown, &when);
        }
        if left == 0 {
            break;
        }
        round += 1;
    }
    for Ran {
        stream, transcript, ..
    } in &ran
    {
        resumes(&kept, &session, stream, transcript).await?;
    }
    Ok(())
}

/// A reader that comes back behind any event gets what follows, alone or in the session's feed.
async fn resumes(kept: &Kept, session: &str, stream: &str, whole: &Transcript) -> Outcome<()> {
    let client = kept.client();
    let numbered: Vec<_> = whole.numbered().into_iter().cloned().collect();
    let last = numbered.len() - 1;
    for at in (0..last).step_by(last / 7 + 1).chain(last.checked_sub(1)) {
        let cursor = &numbered[at].id;
        let rest = client.events(session, stream, Some(cursor)).await?;
        assert_eq!(rest.status, 200);
        let rest = rest.rest().await?;
        let names: Vec<_> = rest.names();
        assert!(
            !names.contains(&"gap"),
            "{stream} behind {cursor}: {names:?}"
        );
        let rest: Vec<_> = rest.numbered().into_iter().cloned().collect();
        assert_eq!(rest, numbered[at + 1..], "{stream} behind {cursor}");

        let feed = format!("/sessions/{session}/events");
        let mut feed = client.stream(&feed, Some(cursor)).await?;
        assert_eq!(feed.status, 200, "{stream} behind {cursor}");
        for expected in &numbered[at + 1..] {
            // Those of other execs stand between.
            let event = loop {
                let event = feed.next().await?.ok_or("the feed ended")?;
                assert_ne!(
                    event.name, "gap",
                    "{stream} behind {cursor}: {}",
                    event.data
                );
                if event.is_numbered() && event.json()["stream_id"] == stream {
                    break event;
                }
            };
            assert_eq!(event.id, expected.id);
        }
    }
    let end = client
        .events(session, stream, Some(&numbered[last].id))
        .await?;
    assert_eq!(end.status, 204);
    Ok(())
}

#[tokio::test]
async fn nobody_notices_that_output_has_expired() -> Outcome<()> {
    nobody_notices(Short::Output).await
}

#[tokio::test]
async fn nobody_notices_that_execs_are_gone_from_the_log() -> Outcome<()> {
    nobody_notices(Short::Everything).await
}

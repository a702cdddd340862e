//! A person at the terminal of an exec, who types and watches.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Answer, Client, Stream};
use crate::transcript::{SseEvent, Transcript};
use crate::{Failure, Outcome};

/// Watches an exec from its first event on.
pub struct Seat {
    client: Client,
    session: String,
    /// The exec.
    pub stream: String,
    events: Stream,
    seen: Vec<SseEvent>,
    /// Everything that came out of the terminal.
    text: Vec<u8>,
    /// Up to where it was waited for.
    awaited: usize,
    typed: u64,
}

impl Seat {
    /// Posts a shell command in a terminal of 120 columns and 40 rows, and watches it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn take(client: &Client, session: &str, command: &str) -> Outcome<Self> {
        let body = json!({
            "type": "shell", "command": command, "tty": {"cols": 120, "rows": 40},
            "env": {"PS1": "PROMPT> ", "LANG": "C.UTF-8"},
        });
        let stream = client.exec(session, &body).await?;
        let mut events = client.events(session, &stream, None).await?;
        events.until("connected").await?;
        Ok(Self {
            client: client.clone(),
            session: session.to_owned(),
            stream,
            events,
            seen: Vec::new(),
            text: Vec::new(),
            awaited: 0,
            typed: 0,
        })
    }

    /// What is below the exec's path.
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        format!("/sessions/{}/execs/{}{rest}", self.session, self.stream)
    }

    /// Types this.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn type_in(&mut self, keys: &str) -> Outcome<()> {
        self.give(keys, "").await
    }

    /// Says that nothing more will be typed.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn end_input(&mut self) -> Outcome<()> {
        self.give("", "&end=true").await
    }

    async fn give(&mut self, keys: &str, rest: &str) -> Outcome<()> {
        let query = format!("offset={}{rest}", self.typed);
        let stdin = self
            .client
            .stdin(&self.session, &self.stream, &query, keys.to_owned());
        expect(202, &stdin.await?)?;
        self.typed += keys.len() as u64;
        Ok(())
    }

    /// Makes the terminal this large, and waits until it is.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn resize(&mut self, cols: u16, rows: u16) -> Outcome<()> {
        let size = json!({"cols": cols, "rows": rows});
        let answer = self.client.post(&self.path("/resize"), &size).await?;
        expect(202, &answer)?;
        while !self.seen.iter().any(|event| event.json() == size) {
            self.next().await?;
        }
        Ok(())
    }

    /// Waits until this comes out of the terminal, behind what was waited for before.
    ///
    /// # Errors
    /// When the exec ends before.
    pub async fn until(&mut self, text: &str) -> Outcome<()> {
        loop {
            let rest = &self.text[self.awaited..];
            let at = rest
                .windows(text.len())
                .position(|part| part == text.as_bytes());
            if let Some(at) = at {
                self.awaited += at + text.len();
                return Ok(());
            }
            if self.next().await? {
                let rest = self.text[self.awaited..].escape_ascii();
                return Err(Failure::from(format!("{text:?} never came: {rest}")));
            }
        }
    }

    /// Takes the next event; whether it was the last one.
    async fn next(&mut self) -> Outcome<bool> {
        let event = self.events.next().await?.ok_or("the stream broke")?;
        if event.is_numbered() {
            self.text.extend(bytes(&event));
            self.seen.push(event);
        }
        Ok(self.seen.last().is_some_and(|last| last.name == "complete"))
    }

    /// Watches until the end.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn end(mut self) -> Outcome<Transcript> {
        while !self.next().await? {}
        Ok(Transcript { events: self.seen })
    }

    /// The ids of the events that were seen.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.seen.iter().map(|event| event.id.clone()).collect()
    }

    /// What was seen, as [`items`] of other emulators.
    #[must_use]
    pub fn items(&self) -> Vec<Value> {
        items(&self.seen)
    }

    /// What the terminal showed after this event.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn screen(&self, at: &str) -> Outcome<Value> {
        let path = self.path(&format!("/screen?at={at}"));
        let answer = self.client.get(&path).await?;
        expect(200, &answer)?;
        let screen = answer.json();
        if screen["next"] != at {
            return Err(format!("{} after {at}", screen["next"]).into());
        }
        Ok(screen)
    }
}

/// What other emulators take, an item for each event: a size, or what came out of the terminal.
#[must_use]
pub fn items(events: &[SseEvent]) -> Vec<Value> {
    let item = |event: &SseEvent| match event.name.as_str() {
        "resized" => event.json(),
        _ => json!({"base64": STANDARD.encode(bytes(event))}),
    };
    events.iter().map(item).collect()
}

fn bytes(event: &SseEvent) -> Vec<u8> {
    let events = vec![event.clone()];
    Transcript { events }.bytes("stdout")
}

fn expect(status: u16, answer: &Answer) -> Outcome<()> {
    if answer.status == status {
        return Ok(());
    }
    Err(format!("{} {}", answer.status, answer.text).into())
}

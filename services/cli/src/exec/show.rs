//! Events of an exec, shown: the command's bytes as they are, an agent's turn for people, or every event
//! as a line of JSON.

use std::borrow::Cow;
use std::io;
use std::io::IsTerminal as _;

use rdev_contract::agent::Agent;
use rdev_contract::event::{Approval, Complete, OutputStream, Text, event_name};
use rdev_contract::sse::{Gap, frame_name};

use super::sink::Standard;
use crate::agent::turn::{Piece, Turn};
use crate::api::sse::SseEvent;
use crate::progress::Progress;
use crate::style::harmless;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people and pipes.
    Plain,
    /// `{"id","event","data"}`, a line each.
    Json,
}

impl Form {
    /// As the flag `--json` asks for.
    pub(crate) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Plain }
    }
}

/// What matters of an event to whoever follows.
#[derive(Debug)]
pub(crate) enum Shown {
    /// Nothing but that it was shown.
    Nothing,
    /// An agent asks.
    Asked(Box<Approval>),
    /// It was answered: the id of its question.
    Answered(String),
    /// The end.
    Complete(Box<Complete>),
}

/// Shows events.
pub(crate) struct Show {
    sink: Standard,
    form: Form,
    turn: Turn,
    progress: Progress,
    /// Where the cursor of a terminal would be seen.
    is_on_terminal: [bool; 2],
    /// Every byte from the first one on was shown.
    is_whole: bool,
    /// The id of the last event of which everything was written.
    pub(crate) last_id: Option<String>,
    /// That of the last one that is gathered to be written.
    gathered_id: Option<String>,
    /// Events with a number.
    pub(crate) count: u64,
}

impl Show {
    /// Nothing was shown yet; `is_whole` if it begins with the first event.
    pub(crate) fn new(form: Form, turn: Turn, progress: &Progress, is_whole: bool) -> Self {
        Self {
            sink: Standard::standard(),
            form,
            turn,
            progress: progress.clone(),
            is_on_terminal: [io::stdout().is_terminal(), io::stderr().is_terminal()],
            is_whole,
            last_id: None,
            gathered_id: None,
            count: 0,
        }
    }

    /// Shows one event; `flush` makes it seen.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn event(&mut self, event: &SseEvent) -> io::Result<Shown> {
        let shown = match self.form {
            Form::Json => self.json(event).await?,
            Form::Plain => self.plain(event).await?,
        };
        self.gathered_id = Some(event.id.clone());
        Ok(shown)
    }

    async fn json(&mut self, event: &SseEvent) -> io::Result<Shown> {
        let own = [
            frame_name::CONNECTED,
            frame_name::CAUGHT_UP,
            frame_name::HEARTBEAT,
        ];
        if !own.contains(&event.name.as_str()) {
            let (id, name) = (serde_json::to_string(&event.id)?, &event.name);
            let line = format!(
                "{{\"id\":{id},\"event\":\"{name}\",\"data\":{}}}\n",
                event.data
            );
            self.sink
                .put_own(OutputStream::Stdout, line.as_bytes())
                .await?;
            self.count += 1;
        }
        self.is_whole = false;
        Ok(meaning(event))
    }

    async fn plain(&mut self, event: &SseEvent) -> io::Result<Shown> {
        match event.name.as_str() {
            event_name::OUTPUT => self.text(event, OutputStream::Stdout).await?,
            event_name::ERROR => self.text(event, OutputStream::Stderr).await?,
            frame_name::GAP => self.gap(event).await?,
            name => {
                if let Some(agent) = Agent::of_event(name) {
                    // Its own lines are shown in other words, so there is nothing to compare.
                    self.is_whole = false;
                    let pieces = self.turn.event(agent, &event.data);
                    self.own(&pieces).await?;
                    self.count += 1;
                }
            }
        }
        Ok(meaning(event))
    }

    /// Shows words of our own.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) async fn own(&mut self, pieces: &[Piece]) -> io::Result<()> {
        for piece in pieces {
            // What goes to standard error has our colours, and was looked through before.
            let is_for_eyes = piece.to == OutputStream::Stdout && self.is_on_terminal[0];
            let text = if is_for_eyes {
                Cow::Owned(harmless(&piece.text))
            } else {
                Cow::Borrowed(piece.text.as_str())
            };
            self.sink.put_own(piece.to, text.as_bytes()).await?;
        }
        Ok(())
    }

    async fn text(&mut self, event: &SseEvent, usual: OutputStream) -> io::Result<()> {
        let text: Text<'_> = serde_json::from_str(&event.data)?;
        let of = text.stream.unwrap_or(usual);
        let bytes = text.bytes().map_err(io::Error::other)?;
        self.count += 1;
        if bytes.is_empty() {
            return Ok(());
        }
        self.progress.clear();
        self.sink.put(of, &bytes).await?;
        if self.is_on_terminal[usize::from(of == OutputStream::Stderr)] {
            self.progress.set_within_line(bytes.last() != Some(&b'\n'));
        }
        Ok(())
    }

    async fn gap(&mut self, event: &SseEvent) -> io::Result<()> {
        self.is_whole = false;
        self.sink.flush().await?;
        let gap: Gap = serde_json::from_str(&event.data)?;
        let words = match gap.first_available {
            Some(first) => format!(
                "what was before event {first} is no longer kept ({})",
                gap.reason
            ),
            None => format!("nothing of it is kept any more ({})", gap.reason),
        };
        self.progress.note(&words);
        Ok(())
    }

    /// Whether an agent has said what its turn came to.
    pub(crate) fn has_account(&self) -> bool {
        self.turn.has_account()
    }

    /// What an agent's turn came to.
    pub(crate) fn summary(&self, cost: Option<f64>) -> Option<String> {
        self.turn.summary(cost)
    }

    /// Makes everything seen.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.sink.flush().await?;
        if let Some(id) = self.gathered_id.take() {
            self.last_id = Some(id);
        }
        Ok(())
    }

    /// Compares what was shown with what was read in the pod.
    pub(crate) fn differs(&self, complete: &Complete) -> Option<&'static str> {
        self.is_whole.then(|| self.sink.differs(complete)).flatten()
    }
}

fn meaning(event: &SseEvent) -> Shown {
    match event.name.as_str() {
        event_name::COMPLETE => match serde_json::from_str(&event.data) {
            Ok(complete) => Shown::Complete(Box::new(complete)),
            Err(_) => Shown::Nothing,
        },
        event_name::APPROVAL => match serde_json::from_str(&event.data) {
            Ok(approval) => Shown::Asked(Box::new(approval)),
            Err(_) => Shown::Nothing,
        },
        event_name::APPROVAL_ANSWERED => {
            let answered: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
            let id = answered["approval_id"].as_str().unwrap_or_default();
            Shown::Answered(id.to_owned())
        }
        _ => Shown::Nothing,
    }
}

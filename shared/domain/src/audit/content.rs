//! The bytes that the events stand for: their offsets, totals and hashes.

use std::fmt::Write as _;

use rdev_contract::envelope::Message;
use rdev_contract::event::{
    AgentLine, Complete, Outcome, OutputStream, RawEvent, Text, event_name,
};
use rdev_contract::position::Offsets;
use sha2::{Digest, Sha256};

use super::Problem;
use crate::fragment::FragmentJoiner;

type Wrong = (Problem, String);

/// Everything that was printed so far.
#[derive(Debug, Default)]
pub(super) struct Content {
    to: Offsets,
    /// Bytes are missing since the last message whose `to` was taken.
    is_lost: bool,
    /// Bytes are missing somewhere: the sums cannot be compared.
    is_part: bool,
    sums: [Sha256; 2],
    joiner: FragmentJoiner,
    may_lack_carriage_returns: bool,
}

/// What the end was compared with.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) is_hashed: bool,
}

impl Content {
    /// Something is missing behind the last message.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
        self.is_part = true;
        self.joiner = FragmentJoiner::default();
    }

    pub(super) const fn is_lost(&self) -> bool {
        self.is_lost
    }

    pub(super) const fn offsets(&self) -> Offsets {
        self.to
    }

    pub(super) fn take(&mut self, message: &Message<'_>) -> Result<(), Wrong> {
        let mut result = Ok(());
        for event in &message.events {
            if let Err(wrong) = self.event(event) {
                self.is_lost = true;
                self.is_part = true;
                result = Err(wrong);
                break;
            }
        }
        let Some(said) = message.head.to else {
            return result.and(Err((Problem::Offsets, "it lacks `to`".to_owned())));
        };
        let reached = std::mem::replace(&mut self.to, said);
        let is_lost = std::mem::replace(&mut self.is_lost, false);
        let fits = if is_lost {
            said == said.max(reached)
        } else {
            said == reached
        };
        if fits {
            return result;
        }
        self.is_part = true;
        let detail = format!(
            "`to` says {} and {} bytes, but the events end at {} and {}",
            said.stdout, said.stderr, reached.stdout, reached.stderr
        );
        result.and(Err((Problem::Offsets, detail)))
    }

    fn event(&mut self, event: &RawEvent<'_>) -> Result<(), Wrong> {
        let unreadable = |detail: String| (Problem::Unreadable, detail);
        match event.name.as_ref() {
            event_name::OUTPUT | event_name::ERROR => {
                let data = event
                    .data
                    .ok_or_else(|| unreadable("an event without data".to_owned()))?;
                let text: Text<'_> = serde_json::from_str(data.get())
                    .map_err(|error| unreadable(error.to_string()))?;
                let is_stderr =
                    event.name == event_name::ERROR || text.stream == Some(OutputStream::Stderr);
                let bytes = text
                    .bytes()
                    .map_err(|error| unreadable(error.to_string()))?;
                self.add(is_stderr, &bytes);
            }
            event_name::CLAUDE_EVENT | event_name::CODEX_EVENT => self.agent(event)?,
            event_name::RESIZED => self.to.resizes += 1,
            event_name::APPROVAL | event_name::APPROVAL_ANSWERED | event_name::COMPLETE => {}
            // Of a newer build: what bytes it stands for is not known here.
            _ => {
                self.is_lost = true;
                self.is_part = true;
            }
        }
        Ok(())
    }

    fn agent(&mut self, event: &RawEvent<'_>) -> Result<(), Wrong> {
        let Some(fragment) = &event.fragment else {
            let data = event.data.map_or("", |data| data.get());
            return self.agent_line(data);
        };
        match self.joiner.push(fragment) {
            Ok(None) => Ok(()),
            Ok(Some(data)) => self.agent_line(&data),
            // The beginning of the line is what is missing.
            Err(_) if self.is_part => {
                self.is_lost = true;
                Ok(())
            }
            Err(error) => Err((Problem::Numbers, error.to_string())),
        }
    }

    fn agent_line(&mut self, data: &str) -> Result<(), Wrong> {
        let line = AgentLine::of_data(data).ok_or_else(|| {
            let detail = "an agent's event whose data is no line".to_owned();
            (Problem::Unreadable, detail)
        })?;
        self.add(false, &line.bytes());
        self.may_lack_carriage_returns |= has_blank_between_tokens(line.text());
        Ok(())
    }

    fn add(&mut self, is_stderr: bool, bytes: &[u8]) {
        self.sums[usize::from(is_stderr)].update(bytes);
        let total = if is_stderr {
            &mut self.to.stderr
        } else {
            &mut self.to.stdout
        };
        *total += bytes.len() as u64;
    }

    /// Compares the end with what came before it.
    pub(super) fn end(
        &self,
        message: &Message<'_>,
        is_agent: Option<bool>,
    ) -> Result<Ended, Wrong> {
        let [event] = message.events.as_slice() else {
            let detail = format!("{} events in the last message", message.events.len());
            return Err((Problem::Order, detail));
        };
        let data = event
            .data
            .filter(|_| event.name == event_name::COMPLETE)
            .ok_or_else(|| (Problem::Order, "an end without its event".to_owned()))?;
        let complete: Complete = serde_json::from_str(data.get())
            .map_err(|error| (Problem::Unreadable, error.to_string()))?;
        let told = (complete.stdout_bytes, complete.stderr_bytes);
        let (Some(stdout), Some(stderr)) = told else {
            return Ok(ended(&complete, false));
        };
        if (stdout, stderr) != (self.to.stdout, self.to.stderr) {
            let detail = format!(
                "the command printed {stdout} and {stderr} bytes, but the events hold {} and {}",
                self.to.stdout, self.to.stderr
            );
            return Err((Problem::Totals, detail));
        }
        if self.is_part {
            return Ok(ended(&complete, false));
        }
        let told = [&complete.stdout_sha256, &complete.stderr_sha256];
        let mut is_hashed = true;
        for (index, (sum, told)) in self.sums.iter().zip(told).enumerate() {
            let found = hex(sum);
            if told.as_deref() == Some(found.as_str()) {
                continue;
            }
            // Of an agent's JSON, a carriage return between tokens is kept as a blank: then the bytes
            // are not those that were hashed, and nobody can tell which blank it was.
            if index == 0 && is_agent == Some(true) && self.may_lack_carriage_returns {
                is_hashed = false;
                continue;
            }
            let name = ["stdout", "stderr"][index];
            let told = told.as_deref().unwrap_or("nothing");
            let detail = format!("SHA-256 of {name} is {told}, but the events have {found}");
            return Err((Problem::Totals, detail));
        }
        Ok(ended(&complete, is_hashed))
    }
}

const fn ended(complete: &Complete, is_hashed: bool) -> Ended {
    Ended {
        outcome: complete.outcome,
        is_hashed,
    }
}

fn has_blank_between_tokens(json: &str) -> bool {
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_string,
            b'"' => is_string = !is_string,
            b' ' if !is_string => return true,
            _ => {}
        }
    }
    false
}

fn hex(sum: &Sha256) -> String {
    let mut text = String::with_capacity(64);
    for byte in sum.clone().finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

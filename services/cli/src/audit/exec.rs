//! All messages of one exec, from the log through the checks of the domain.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdev_bus::{Bus, BusConfig, LogStream, ReadError};
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use rdev_domain::audit::{ExecAudit, Finding, Held, Report, Retention};
use serde::Serialize;

use super::Failure;
use super::report::{Told, per_second, verdict};

/// Between two looks at a replica that has not yet stored what its leader has.
const LAG_DELAY: Duration = Duration::from_millis(50);
/// Looks at a replica that lags before it is given up: 5 s.
const LAG_LOOKS_MAX: u32 = 100;

/// What was found out about an exec.
#[derive(Debug, Serialize)]
pub(super) struct ExecReport {
    exec: String,
    verdict: &'static str,
    #[serde(flatten)]
    found: Report,
    messages_per_second: u64,
}

/// Verifies what the log holds of this exec at this moment.
pub(super) async fn audit(
    bus: &Bus,
    config: &BusConfig,
    exec: ExecId,
) -> Result<ExecReport, Failure> {
    let began = Instant::now();
    let Some(tail) = bus.tail(&exec).await? else {
        return Err(Failure::Nothing(exec));
    };
    let mut audit = ExecAudit::new(exec.clone(), retention(config));
    read(bus, &exec, tail.sequence, &mut audit).await?;
    let found = audit.finish();
    Ok(ExecReport {
        exec: exec.to_string(),
        verdict: verdict(found.differences.is_empty()),
        messages_per_second: per_second(found.messages, began.elapsed()),
        found,
    })
}

/// What the log may have forgotten by now.
pub(super) fn retention(config: &BusConfig) -> Retention {
    Retention {
        now: Timestamp::now(),
        output_ttl: config.output_ttl,
        facts_ttl: config.facts_ttl,
    }
}

/// Reads up to the message that was the last one when this began.
async fn read(
    bus: &Bus,
    exec: &ExecId,
    last: StreamSeq,
    audit: &mut ExecAudit,
) -> Result<(), Failure> {
    let filter = Filter::exec(exec);
    let (mut after, mut looks) = (StreamSeq(0), 0);
    while after < last {
        let page = bus.read_page(LogStream::Exec, &filter, after).await?;
        if page.messages.is_empty() {
            // The replica that answers lags, or the last message has just expired.
            let held = bus.at_leader(LogStream::Exec, last).await?;
            if held.is_none() {
                return Ok(());
            }
            looks += 1;
            if looks == LAG_LOOKS_MAX {
                return Err(ReadError("a replica lags behind its leader".to_owned()).into());
            }
            tokio::time::sleep(LAG_DELAY).await;
        }
        for message in page.messages {
            if message.sequence > last {
                return Ok(());
            }
            after = message.sequence;
            audit.take(Held {
                sequence: message.sequence,
                stored_at: message.value.at,
                subject: message.value.subject,
                payload: message.value.payload.into(),
            });
        }
    }
    Ok(())
}

impl Told for ExecReport {
    fn is_equal(&self) -> bool {
        self.found.differences.is_empty()
    }

    fn text(&self) -> String {
        let found = &self.found;
        let ended = match &found.outcome {
            Some(outcome) => format!("ended: {outcome}"),
            None => "not ended".to_owned(),
        };
        let hashed = if found.hashed {
            "hashes compared"
        } else {
            "hashes not compared"
        };
        let mut text = format!(
            "{}: {}\n  {} messages, {} vouched for by the chain; {} events; {} bytes of stdout, {} \
             of stderr; {} claims; {ended}; {hashed}\n",
            self.exec,
            self.verdict,
            found.messages,
            found.chained,
            found.events,
            found.bytes.stdout,
            found.bytes.stderr,
            found.attempts,
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  chain: {}", found.chain);
        for expired in &found.expired {
            let _ = writeln!(
                text,
                "  expired: before message {}: {}",
                expired.before, expired.detail
            );
        }
        for finding in &found.differences {
            let _ = writeln!(text, "  different: {}", line(finding));
        }
        let _ = writeln!(text, "  {} messages/s", self.messages_per_second);
        text
    }
}

/// One line about one finding.
pub(super) fn line(finding: &Finding) -> String {
    let events = match (finding.first_event, finding.last_event) {
        (Some(first), Some(last)) if first == last => format!(", event {first}"),
        (Some(first), Some(last)) => format!(", events {first} to {last}"),
        _ => String::new(),
    };
    let problem = serde_json::to_value(finding.problem).unwrap_or_default();
    let problem = problem.as_str().unwrap_or_default();
    format!(
        "message {}{events}: {problem}: {}",
        finding.sequence, finding.detail
    )
}

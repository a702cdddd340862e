//! The report about one exec.

use std::fmt::Write as _;
use std::time::Instant;

use rdev_contract::id::ExecId;
use rdev_domain::audit::{Finding, Report};
use serde::Serialize;

use super::messages::{self, ArchivePart};
use super::report::{Told, per_second, verdict};
use super::{Failure, Sources};

/// What was found out about an exec.
#[derive(Debug, Serialize)]
pub(super) struct ExecReport {
    exec: String,
    verdict: &'static str,
    #[serde(flatten)]
    found: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<ArchivePart>,
    messages_per_second: u64,
}

/// Verifies what log and archive hold of this exec at this moment.
pub(super) async fn audit(sources: &Sources, exec: ExecId) -> Result<ExecReport, Failure> {
    let began = Instant::now();
    let Some(found) = messages::audit(sources, &exec).await? else {
        return Err(Failure::Nothing(exec));
    };
    Ok(ExecReport {
        exec: exec.to_string(),
        verdict: verdict(found.is_equal()),
        messages_per_second: per_second(found.report.messages, began.elapsed()),
        found: found.report,
        archive: found.archive,
    })
}

impl Told for ExecReport {
    fn is_equal(&self) -> bool {
        let archive = self.archive.as_ref();
        self.found.differences.is_empty()
            && archive.is_none_or(|archive| archive.differences.is_empty())
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
        if let Some(archive) = &self.archive {
            let (object, only_here) = (&archive.object, archive.only_here);
            let _ = writeln!(
                text,
                "  archived: {object}; {only_here} messages are only there"
            );
            for difference in &archive.differences {
                let _ = writeln!(text, "  different: {object}: {difference}");
            }
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

//! All execs of the log in one pass, each through the checks of the domain.
//!
//! Memory: of an exec that has ended only its name is kept, of one that has not its last message.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rdev_bus::{Bus, BusConfig, LogStream, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Kind;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{Filter, parse_exec};
use rdev_domain::audit::{ExecAudit, Finding, Held, Problem, Report, Retention};
use serde::Serialize;

use super::Failure;
use super::exec::{line, retention};
use super::report::{Told, per_second, verdict};

/// A report is read by people: behind so many findings the counts say the rest.
const FINDINGS_MAX_COUNT: usize = 1000;
/// A follower whose consumer had to be made anew, and has nothing left to bring, says so only when
/// it is asked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What was found out about all execs.
#[derive(Debug, Default, Serialize)]
pub(super) struct ExecsReport {
    verdict: &'static str,
    position: StreamSeq,
    execs: u64,
    ended: u64,
    /// Execs of which something is wrong.
    different: u64,
    /// Execs of which something has expired.
    expired: u64,
    hashed: u64,
    messages: u64,
    chained: u64,
    events: u64,
    messages_per_second: u64,
    differences: Vec<OfExec>,
}

#[derive(Debug, Serialize)]
struct OfExec {
    exec: String,
    #[serde(flatten)]
    finding: Finding,
}

struct Pass {
    retention: Retention,
    open: HashMap<ExecId, ExecAudit>,
    ended: HashSet<ExecId>,
    report: ExecsReport,
}

/// Verifies everything that the log holds at this moment.
pub(super) async fn audit(bus: &Bus, config: &BusConfig) -> Result<ExecsReport, Failure> {
    let began = Instant::now();
    let last = bus.identity(LogStream::Exec).await?.last;
    let mut pass = Pass {
        retention: retention(config),
        open: HashMap::new(),
        ended: HashSet::new(),
        report: ExecsReport::default(),
    };
    let mut follower = bus
        .follow(LogStream::Exec, vec![Filter::execs()], StreamSeq(0))
        .await?;
    while follower.position() < last && !follower.is_caught_up() {
        tokio::select! {
            message = follower.next() => {
                if message.sequence > last {
                    break;
                }
                pass.take(message);
            }
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
    let mut report = pass.finish();
    report.position = last;
    report.verdict = verdict(report.different == 0);
    report.messages_per_second = per_second(report.messages, began.elapsed());
    Ok(report)
}

impl Pass {
    fn take(&mut self, message: Recorded<Stored>) {
        let Recorded { sequence, value } = message;
        let Ok((exec, kind)) = parse_exec(&value.subject) else {
            self.strange(value.subject, sequence, "the subject names no exec");
            return;
        };
        if self.ended.contains(&exec) {
            self.strange(
                exec.to_string(),
                sequence,
                "it comes behind the end of the exec",
            );
            return;
        }
        let is_end = kind == Kind::Complete.token();
        let retention = self.retention;
        let audit = self
            .open
            .entry(exec.clone())
            .or_insert_with(|| ExecAudit::new(exec.clone(), retention));
        audit.take(Held {
            sequence,
            stored_at: value.at,
            subject: value.subject,
            payload: value.payload.into(),
        });
        if is_end && let Some(audit) = self.open.remove(&exec) {
            self.note(&exec, audit.finish());
            self.ended.insert(exec);
        }
    }

    /// A message that belongs to nothing.
    fn strange(&mut self, exec: String, sequence: StreamSeq, detail: &str) {
        self.report.messages += 1;
        self.report.different += 1;
        self.find(
            exec,
            Finding {
                sequence,
                first_event: None,
                last_event: None,
                problem: Problem::Added,
                detail: detail.to_owned(),
            },
        );
    }

    fn find(&mut self, exec: String, finding: Finding) {
        if self.report.differences.len() < FINDINGS_MAX_COUNT {
            self.report.differences.push(OfExec { exec, finding });
        }
    }

    fn note(&mut self, exec: &ExecId, found: Report) {
        let report = &mut self.report;
        report.execs += 1;
        report.ended += u64::from(found.outcome.is_some());
        report.different += u64::from(!found.differences.is_empty());
        report.expired += u64::from(!found.expired.is_empty());
        report.hashed += u64::from(found.hashed);
        report.messages += found.messages;
        report.chained += found.chained;
        report.events += found.events;
        for finding in found.differences {
            self.find(exec.to_string(), finding);
        }
    }

    fn finish(mut self) -> ExecsReport {
        let open: BTreeMap<_, _> = self.open.drain().collect();
        for (exec, audit) in open {
            self.note(&exec, audit.finish());
        }
        self.report
    }
}

impl Told for ExecsReport {
    fn is_equal(&self) -> bool {
        self.different == 0
    }

    fn text(&self) -> String {
        let mut text = format!(
            "execs: {}\n  {} execs up to {}, {} ended; {} different, {} with parts that have \
             expired\n  {} messages, {} vouched for by the chain; {} events; the hashes of {} \
             execs compared; {} messages/s\n",
            self.verdict,
            self.execs,
            self.position,
            self.ended,
            self.different,
            self.expired,
            self.messages,
            self.chained,
            self.events,
            self.hashed,
            self.messages_per_second
        );
        for OfExec { exec, finding } in &self.differences {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  different: {exec}: {}", line(finding));
        }
        text
    }
}

//! All execs, each through the checks of the domain: those of the log in one pass, and then those of
//! which the log has forgotten something or everything, together with what the archive has of them.
//!
//! Memory: of an exec that has ended only its name is kept, of one that has not its last message.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{Stream, TryStreamExt, stream};
use rdev_archive::{Archive, ArchiveError};
use rdev_bus::{Bus, LogStream, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Kind;
use rdev_contract::id::ExecId;
use rdev_contract::position::{LogIdentity, StreamSeq};
use rdev_contract::subject::{Filter, parse_exec};
use rdev_domain::audit::{ExecAudit, Finding, Problem, Report, Retention};
use serde::Serialize;

use super::exec::line;
use super::messages::{self, held, retention};
use super::report::{Told, per_second, verdict};
use super::{Failure, Sources};

/// A report is read by people: behind so many findings the counts say the rest.
const FINDINGS_MAX_COUNT: usize = 1000;
/// Execs that are read at a time beside the pass over the log.
const EXECS_AT_ONCE: usize = 8;
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
    /// Execs of which the archive has something that the log does not have.
    archived: u64,
    archive_differences: Vec<OfObject>,
}

/// What is wrong with an object of the archive.
#[derive(Debug, Serialize)]
struct OfObject {
    exec: String,
    detail: String,
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
    /// Of which something has expired from the log.
    expired: HashSet<ExecId>,
    report: ExecsReport,
}

/// Verifies everything that log and archive hold at this moment.
pub(super) async fn audit(sources: &Sources) -> Result<ExecsReport, Failure> {
    let began = Instant::now();
    let mut pass = Pass {
        retention: retention(&sources.config),
        open: HashMap::new(),
        ended: HashSet::new(),
        expired: HashSet::new(),
        report: ExecsReport::default(),
    };
    let identity = sources.bus.identity(LogStream::Exec).await?;
    pass.read(&sources.bus, identity.last).await?;
    pass.finish();
    if let Some(archive) = &sources.archive {
        let log = LogIdentity::created_at(identity.created_at);
        pass.read_archive(sources, archive, log).await?;
    }
    let rest = std::mem::take(&mut pass.expired);
    pass.verify(sources, stream::iter(rest.into_iter().map(Ok)))
        .await?;
    let mut report = pass.report;
    report.position = identity.last;
    report.verdict = verdict(report.is_equal());
    report.messages_per_second = per_second(report.messages, began.elapsed());
    Ok(report)
}

impl Pass {
    async fn read(&mut self, bus: &Bus, last: StreamSeq) -> Result<(), Failure> {
        let mut follower = bus
            .follow(LogStream::Exec, vec![Filter::execs()], StreamSeq(0))
            .await?;
        while follower.position() < last && !follower.is_caught_up() {
            tokio::select! {
                message = follower.next() => {
                    if message.sequence > last {
                        break;
                    }
                    self.take(message);
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
        Ok(())
    }

    /// Execs of which the archive has more than the log.
    async fn read_archive(
        &mut self,
        sources: &Sources,
        archive: &Archive,
        log: LogIdentity,
    ) -> Result<(), Failure> {
        let (mut expired, mut ended) = (
            std::mem::take(&mut self.expired),
            std::mem::take(&mut self.ended),
        );
        let wanted = archive.keys().try_filter_map(|key| {
            let is_first =
                key.log == log && (expired.remove(&key.exec) || !ended.contains(&key.exec));
            if is_first {
                ended.insert(key.exec.clone());
            }
            std::future::ready(Ok(is_first.then_some(key.exec)))
        });
        self.verify(sources, wanted).await?;
        self.expired = expired;
        Ok(())
    }

    async fn verify(
        &mut self,
        sources: &Sources,
        execs: impl Stream<Item = Result<ExecId, ArchiveError>>,
    ) -> Result<(), Failure> {
        let found = execs.map_err(Failure::from).map_ok(async |exec| {
            let found = messages::audit(sources, &exec).await?;
            Ok(found.map(|found| (exec, found)))
        });
        let mut found = pin!(found.try_buffer_unordered(EXECS_AT_ONCE));
        while let Some(found) = found.try_next().await? {
            let Some((exec, found)) = found else { continue };
            if let Some(archive) = found.archive {
                self.report.archived += u64::from(archive.only_here > 0);
                for detail in archive.differences {
                    let exec = exec.to_string();
                    self.report
                        .archive_differences
                        .push(OfObject { exec, detail });
                }
            }
            self.note(&exec, found.report);
        }
        Ok(())
    }

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
        audit.take(held(Recorded { sequence, value }));
        if is_end && let Some(audit) = self.open.remove(&exec) {
            self.close(&exec, audit);
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

    /// An exec of which something has expired is looked at again, with what the archive has of it.
    fn close(&mut self, exec: &ExecId, audit: ExecAudit) {
        let found = audit.finish();
        if found.expired.is_empty() {
            self.note(exec, found);
        } else {
            self.expired.insert(exec.clone());
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

    fn finish(&mut self) {
        let open: BTreeMap<_, _> = self.open.drain().collect();
        for (exec, audit) in open {
            self.close(&exec, audit);
            self.ended.insert(exec);
        }
    }
}

impl Told for ExecsReport {
    fn is_equal(&self) -> bool {
        self.different == 0 && self.archive_differences.is_empty()
    }

    fn text(&self) -> String {
        let mut text = format!(
            "execs: {}\n  {} execs up to {}, {} ended; {} different, {} with parts that have \
             expired, {} from the archive\n  {} messages, {} vouched for by the chain; {} events; the hashes of {} \
             execs compared; {} messages/s\n",
            self.verdict,
            self.execs,
            self.position,
            self.ended,
            self.different,
            self.expired,
            self.archived,
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
        for OfObject { exec, detail } in &self.archive_differences {
            let _ = writeln!(text, "  different: archive of {exec}: {detail}");
        }
        text
    }
}

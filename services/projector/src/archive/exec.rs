//! One exec: from the log through the checks of an audit into an object that is read back.

use jiff::Timestamp;
use rdev_archive::{ArchiveError, Archived, Export, Exported};
use rdev_bus::{LogStream, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::ExecId;
use rdev_contract::position::{LogIdentity, StreamSeq};
use rdev_contract::subject::{Filter, parse_exec};
use rdev_domain::audit::{ExecAudit, Held, Report, Retention};

use super::{Archiver, Interrupted};

/// What an object says of itself that it lacks; behind so many findings the rest says nothing new.
const LACKS_MAX_COUNT: usize = 20;

impl Archiver {
    /// Archives the exec that ended with this message. One that is there already is only read back.
    pub(super) async fn archive_exec(
        &self,
        log: LogIdentity,
        end: &Recorded<Stored>,
    ) -> Result<(), Interrupted> {
        let Ok((exec, _)) = parse_exec(&end.value.subject) else {
            tracing::error!(
                subject = end.value.subject,
                "an end of no exec is not archived"
            );
            return Ok(());
        };
        self.is_same(log, end.sequence).await?;
        if self.is_there(&exec, log, end.sequence).await? {
            return Ok(());
        }
        for is_part in [false, true] {
            let export = self.archive.export(&exec, log, end.sequence, is_part);
            match self.write(export, &exec, end.sequence).await? {
                Exported::Kept(kept) => {
                    self.progress.archived(&kept);
                    tell(&kept);
                    break;
                }
                Exported::NotWhole => {}
                Exported::Nothing => {
                    tracing::error!(%exec, "an exec expired before it was archived: nothing is left");
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether the archive has it, as could be read just now.
    async fn is_there(
        &self,
        exec: &ExecId,
        log: LogIdentity,
        last: StreamSeq,
    ) -> Result<bool, ArchiveError> {
        for key in self.archive.keys_of(exec).await? {
            if key.log != log || key.last != last {
                continue;
            }
            match self.archive.check(&key).await {
                Ok(_) => return Ok(true),
                Err(error @ ArchiveError::Damaged { .. }) => {
                    tracing::error!(%error, "it is archived anew, from what the log still holds");
                }
                Err(error @ ArchiveError::Unavailable(_)) => return Err(error),
            }
        }
        Ok(false)
    }

    async fn write(
        &self,
        mut export: Export,
        exec: &ExecId,
        last: StreamSeq,
    ) -> Result<Exported, Interrupted> {
        match self.copy(&mut export, exec, last).await {
            Ok(report) => Ok(export.finish(lacks(&report)).await?),
            Err(error) => {
                export.abort().await;
                Err(error)
            }
        }
    }

    /// Everything that the log holds of the exec, up to its end.
    async fn copy(
        &self,
        export: &mut Export,
        exec: &ExecId,
        last: StreamSeq,
    ) -> Result<Report, Interrupted> {
        let retention = Retention {
            now: Timestamp::now(),
            output_ttl: self.config.bus.output_ttl,
            facts_ttl: self.config.bus.facts_ttl,
        };
        let mut audit = ExecAudit::new(exec.clone(), retention);
        let filter = Filter::exec(exec);
        let mut after = StreamSeq(0);
        while after < last {
            let page = self.bus.read_page(LogStream::Exec, &filter, after).await?;
            if page.messages.is_empty() {
                let is_held = self.bus.at_leader(LogStream::Exec, last).await?.is_some();
                if is_held {
                    return Err(ReadError("a replica lags behind its leader".to_owned()).into());
                }
                break;
            }
            for message in page.messages {
                after = message.sequence;
                if after > last {
                    break;
                }
                export.push(&message).await?;
                audit.take(Held {
                    sequence: message.sequence,
                    stored_at: message.value.at,
                    subject: message.value.subject,
                    payload: message.value.payload.into(),
                });
            }
        }
        Ok(audit.finish())
    }
}

fn tell(kept: &Archived) {
    let (key, footer, bytes) = (kept.key(), kept.footer(), kept.size());
    let messages = footer.messages;
    if footer.whole {
        tracing::debug!(object = %key, messages, bytes, "exec archived");
    } else {
        tracing::error!(object = %key, messages, lacks = ?footer.lacks,
            "an exec is archived in part: the rest expired before it was archived, or is not as it \
             was written");
    }
}

/// What an audit of the object would say against it.
fn lacks(report: &Report) -> Vec<String> {
    let expired = report
        .expired
        .iter()
        .map(|expired| format!("before message {}: {}", expired.before, expired.detail));
    let different = report
        .differences
        .iter()
        .map(|finding| format!("message {}: {}", finding.sequence, finding.detail));
    let endless = report.outcome.is_none().then(|| "it has no end".to_owned());
    expired
        .chain(different)
        .chain(endless)
        .take(LACKS_MAX_COUNT)
        .collect()
}

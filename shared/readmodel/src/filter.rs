//! Which rows of a list are wanted. Checked where they are made, so that no query is sent that
//! cannot be answered.

use jiff::Timestamp;
use rdev_contract::event::Outcome;
use rdev_contract::id::SessionId;

use crate::page::{EARLIEST, LATEST};

/// No such filter. Says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// Not a name of its kind.
    #[error("{what} must be one of {expected}")]
    Name {
        /// The filter.
        what: &'static str,
        /// Its names.
        expected: &'static str,
    },
    /// Not a time.
    #[error(
        "{0} must be a time like 2026-11-22T06:21:00Z (in a query string, write + as %2B), not \
         before the year 1"
    )]
    Time(&'static str),
    /// No time is in it.
    #[error("since must be before until")]
    EmptyRange,
    /// Nothing can match.
    #[error("only execs whose status is complete have an outcome: leave status or outcome out")]
    OutcomeOfOpen,
}

/// From one time on, and before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    since: Timestamp,
    until: Timestamp,
}

impl Default for TimeRange {
    fn default() -> Self {
        Self {
            since: EARLIEST,
            until: LATEST,
        }
    }
}

impl TimeRange {
    /// `since`, included, to `until`, excluded; what is absent does not bound.
    ///
    /// # Errors
    /// [`InvalidFilter`] when one is no time, or none is between them.
    pub fn parse(since: Option<&str>, until: Option<&str>) -> Result<Self, InvalidFilter> {
        let everything = Self::default();
        let since = time("since", since)?.unwrap_or(everything.since);
        let until = time("until", until)?.unwrap_or(everything.until);
        if since < until {
            Ok(Self { since, until })
        } else {
            Err(InvalidFilter::EmptyRange)
        }
    }

    /// The first time in it.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// The first time behind it.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }
}

fn time(what: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, InvalidFilter> {
    let Some(text) = text else {
        return Ok(None);
    };
    let at: Timestamp = text.parse().map_err(|_| InvalidFilter::Time(what))?;
    if (EARLIEST..=LATEST).contains(&at) {
        Ok(Some(at))
    } else {
        Err(InvalidFilter::Time(what))
    }
}

/// How far an exec is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecStatus {
    /// Nobody has claimed it.
    Queued,
    /// It was claimed and has not ended.
    Running,
    /// It has ended.
    Complete,
}

impl ExecStatus {
    /// As in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Complete => "complete",
        }
    }

    /// The status of this name.
    ///
    /// # Errors
    /// [`InvalidFilter`] when there is none.
    pub fn parse(name: &str) -> Result<Self, InvalidFilter> {
        [Self::Queued, Self::Running, Self::Complete]
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or(InvalidFilter::Name {
                what: "status",
                expected: "queued, running, complete",
            })
    }
}

/// Whether a session takes commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatus {
    /// It does.
    Active,
    /// It does not any more.
    Ended,
}

impl SessionStatus {
    /// As in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Ended => "ended",
        }
    }

    /// The status of this name.
    ///
    /// # Errors
    /// [`InvalidFilter`] when there is none.
    pub fn parse(name: &str) -> Result<Self, InvalidFilter> {
        [Self::Active, Self::Ended]
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or(InvalidFilter::Name {
                what: "status",
                expected: "active, ended",
            })
    }
}

/// The outcome of this name.
///
/// # Errors
/// [`InvalidFilter`] when there is none.
pub fn parse_outcome(name: &str) -> Result<Outcome, InvalidFilter> {
    serde_json::from_value(name.into()).map_err(|_| InvalidFilter::Name {
        what: "outcome",
        expected: "exited, signaled, timed_out, canceled, lost, rejected",
    })
}

/// Which execs. The times are those at which they were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecFilter {
    pub(crate) session: Option<SessionId>,
    pub(crate) progress: Progress,
    pub(crate) range: TimeRange,
}

/// How far they are, and how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    #[default]
    Any,
    Status(ExecStatus),
    Outcome(Outcome),
}

impl ExecFilter {
    /// Execs with this status or outcome, in this range.
    ///
    /// # Errors
    /// [`InvalidFilter`] when status and outcome contradict each other.
    pub fn new(
        status: Option<ExecStatus>,
        outcome: Option<Outcome>,
        range: TimeRange,
    ) -> Result<Self, InvalidFilter> {
        let progress = match (status, outcome) {
            (None | Some(ExecStatus::Complete), Some(outcome)) => Progress::Outcome(outcome),
            (Some(ExecStatus::Queued | ExecStatus::Running), Some(_)) => {
                return Err(InvalidFilter::OutcomeOfOpen);
            }
            (Some(status), None) => Progress::Status(status),
            (None, None) => Progress::Any,
        };
        Ok(Self {
            session: None,
            progress,
            range,
        })
    }

    /// Of these, the execs of this session.
    #[must_use]
    pub fn of_session(self, session: SessionId) -> Self {
        Self {
            session: Some(session),
            ..self
        }
    }
}

/// Which sessions. The times are those at which they were created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only with this status.
    pub status: Option<SessionStatus>,
    /// Only of this time.
    pub range: TimeRange,
}

/// Which conversations. The times are those of their first message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConversationFilter {
    /// Only the one of this session.
    pub session: Option<SessionId>,
    /// Only of this time.
    pub range: TimeRange,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open_and_not_empty() {
        let at = "2026-11-22T06:21:00Z";
        let later = "2026-11-22T06:21:00.000001Z";
        let range = TimeRange::parse(Some(at), Some(later)).unwrap();
        assert_eq!(range.since(), at.parse().unwrap());
        assert_eq!(range.until(), later.parse().unwrap());
        assert_eq!(
            TimeRange::parse(Some(at), Some(at)),
            Err(InvalidFilter::EmptyRange)
        );
        assert_eq!(
            TimeRange::parse(Some(later), Some(at)),
            Err(InvalidFilter::EmptyRange)
        );
        assert_eq!(TimeRange::parse(None, None), Ok(TimeRange::default()));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-11-22T06:21:00",
            "2026-11-22T06:21:00 01:00",
            "-000001-01-01T00:00:00Z",
        ] {
            assert_eq!(
                TimeRange::parse(None, Some(text)),
                Err(InvalidFilter::Time("until")),
                "{text}"
            );
        }
        assert!(TimeRange::parse(Some("2026-11-22T06:21:00+01:00"), None).is_ok());
    }

    #[test]
    fn names_are_those_of_the_api() {
        assert_eq!(ExecStatus::parse("running"), Ok(ExecStatus::Running));
        assert!(ExecStatus::parse("Running").is_err());
        assert_eq!(SessionStatus::parse("ended"), Ok(SessionStatus::Ended));
        assert!(SessionStatus::parse("").is_err());
        assert_eq!(parse_outcome("timed_out"), Ok(Outcome::TimedOut));
        let refused = parse_outcome("failed").unwrap_err().to_string();
        assert!(refused.contains("timed_out"), "{refused}");
    }

    #[test]
    fn an_outcome_is_of_what_has_ended() {
        let of = |status, outcome| ExecFilter::new(status, outcome, TimeRange::default());
        let lost = Some(Outcome::Lost);
        assert_eq!(
            of(Some(ExecStatus::Complete), lost).unwrap().progress,
            Progress::Outcome(Outcome::Lost)
        );
        assert_eq!(
            of(Some(ExecStatus::Queued), lost),
            Err(InvalidFilter::OutcomeOfOpen)
        );
    }
}

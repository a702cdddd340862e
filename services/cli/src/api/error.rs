//! What goes wrong with the API, and what to do about it, in words.

use std::error::Error as _;
use std::time::Duration;

use rdev_contract::http::Problem;
use reqwest::StatusCode;

use super::is_of_a_proxy;
use crate::style::one_line;

/// Of an answer that is none of ours, as much as says whose it is.
const STRANGE_MAX_CHARS: usize = 200;

/// Why there is no answer to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The settings lead nowhere.
    #[error("{by}: {reason}")]
    Unusable {
        /// Who says so.
        by: String,
        /// What is wrong.
        reason: String,
    },
    /// The key has characters that no key has.
    #[error("the API key has characters that cannot be sent")]
    UnusableKey,
    /// No project is set.
    #[error("no project is named")]
    NoProject,
    /// Nobody answers.
    #[error("cannot reach the gateway at {base}: {reason}")]
    Unreachable {
        /// Where.
        base: String,
        /// The innermost reason.
        reason: String,
    },
    /// The gateway says no.
    #[error("{}", .problem.detail)]
    Refused {
        /// As it says it.
        problem: Box<Problem>,
        /// When to ask again.
        retry_after: Option<Duration>,
        /// A key was sent.
        has_key: bool,
    },
    /// Somebody answers, but no gateway.
    #[error("{base} answers {status}, but not as a gateway of rdev: {text}")]
    Strange {
        /// Where.
        base: String,
        /// What.
        status: StatusCode,
        /// The beginning of what is said.
        text: String,
    },
    /// The connection ended in the middle of an answer.
    #[error("{0}")]
    Broken(String),
}

impl ApiError {
    pub(super) fn unreachable(base: &str, error: &reqwest::Error) -> Self {
        Self::Unreachable {
            base: base.to_owned(),
            reason: innermost(error),
        }
    }

    pub(super) fn strange(base: &str, status: StatusCode, text: &str) -> Self {
        let mut text = one_line(text, STRANGE_MAX_CHARS);
        if text.is_empty() {
            text = "nothing else".to_owned();
        }
        Self::Strange {
            base: base.to_owned(),
            status,
            text,
        }
    }

    /// The problem, of what the gateway refuses.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        if let Self::Refused { problem, .. } = self {
            Some(problem)
        } else {
            None
        }
    }

    /// The stable code, of what the gateway refuses.
    pub(crate) fn code(&self) -> Option<&str> {
        self.problem().map(|problem| problem.code.as_str())
    }

    /// The status, of whatever was answered.
    pub(crate) fn status(&self) -> Option<u16> {
        if let Self::Strange { status, .. } = self {
            return Some(status.as_u16());
        }
        self.problem().map(|problem| problem.status)
    }

    /// When the gateway wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        if let Self::Refused { retry_after, .. } = self {
            *retry_after
        } else {
            None
        }
    }

    /// Whether asking again can help.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken(_) => true,
            Self::Refused { retry_after, .. } => retry_after.is_some(),
            Self::Strange { status, .. } => is_of_a_proxy(*status),
            Self::Unusable { .. } | Self::UnusableKey | Self::NoProject => false,
        }
    }

    /// What to do, where the error does not say it.
    pub(crate) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoProject => {
                "give -p PROJECT, or set RDEV_PROJECT, or project in the configuration file"
            }
            Self::UnusableKey => "copy it anew: a key is rdev_ID_SECRET",
            Self::Unusable { .. } | Self::Broken(_) => return None,
            Self::Unreachable { reason, .. } => unreachable_hint(reason),
            Self::Strange { .. } => {
                "is the address right, and is a proxy in between that cannot reach the gateway? \
                 rdev doctor looks closer"
            }
            Self::Refused {
                problem, has_key, ..
            } => return refused_hint(problem, *has_key),
        };
        Some(text.to_owned())
    }
}

fn unreachable_hint(reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    if reason.contains("certificate") || reason.contains("unknownissuer") {
        "the certificate is not one that this machine trusts: give its authority with --ca-file"
    } else if reason.contains("refused") {
        "is it running? `rdev dev` starts everything on this machine; --url or RDEV_URL says where \
         it is; rdev doctor looks closer"
    } else {
        "--url or RDEV_URL says where it is; rdev doctor looks closer"
    }
}

fn refused_hint(problem: &Problem, has_key: bool) -> Option<String> {
    let text = match problem.code.as_str() {
        "unauthenticated" => {
            "give an API key in RDEV_API_KEY, or a file that holds it with --key-file; \
             `rdev keys create` makes one"
        }
        "invalid_credential" if has_key => {
            "the key may be expired, revoked, or of another installation: `rdev keys list` shows \
             those that there are"
        }
        "insufficient_scope" => "this needs another key: scopes are read, exec and admin",
        "not_found" => {
            "it may be in another project (-p), or the key is not for this one; \
             `rdev sessions` and `rdev execs` list what there is"
        }
        "events_expired" => "`rdev execs` still tells how it ended",
        "session_not_active" => "`rdev sessions` lists those that are active",
        "log_full" => {
            "the log holds as much as it may: its operator makes room (docs/operating.md); for \
             `rdev dev`, --fresh begins anew"
        }
        "queue_full" => "commands of this project wait already: `rdev execs --status queued`",
        "stream_id_in_use" => "leave --id out, and one is chosen",
        _ => return None,
    };
    Some(text.to_owned())
}

/// The reason at the bottom says most: "connection refused", not "error sending request".
pub(super) fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut found = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        found = inner.to_string();
        source = inner.source();
    }
    found
}

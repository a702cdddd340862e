//! Why somebody is not let in, and how that is told: the part of `problem` that is about rights.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use rdev_contract::key::Scope;

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is no credential.
    #[error("this needs a key: send it as Authorization: Bearer rdev_…")]
    Unauthenticated,
    /// There is one, and it is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The project is not one of the caller's.
    #[error("there is no such project for this key")]
    OtherProject,
    /// There is none, or it has projects that are not the caller's.
    #[error("there is no such key")]
    NoSuchKey,
    /// The caller may not do this.
    #[error("this needs a key with the scope {}", .0.name())]
    Scope(Scope),
    /// A key for projects that are not the caller's.
    #[error("a key may be given projects that your own has, and no others")]
    Beyond,
    /// More requests than the key may make.
    #[error("this key asks too much of this gateway: wait for {0} s")]
    TooFast(u64),
    /// More streams than the key may read at a time.
    #[error("this key has {0} streams open at this gateway, and may not have more")]
    TooManyStreams(u32),
    /// The keys that tokens are signed with are not known, or from long ago.
    #[error("the keys of the issuer of tokens cannot be read: try again")]
    IssuerAway,
    /// Without a key, by a name that is not of this machine.
    #[error(
        "without a key only what is addressed to this machine is answered (localhost, 127.0.0.1, \
         [::1]): a name of others could be one that a page in your browser was given"
    )]
    ForeignHost,
    /// Without a key, by a page of another site.
    #[error(
        "without a key, pages of other sites can only read: send a key, or name the site in \
         RDEV_CORS_ORIGINS"
    )]
    ForeignOrigin,
}

impl Refusal {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::Invalid(_) => StatusCode::UNAUTHORIZED,
            Self::OtherProject | Self::NoSuchKey => StatusCode::NOT_FOUND,
            Self::Scope(_) | Self::Beyond | Self::ForeignHost | Self::ForeignOrigin => {
                StatusCode::FORBIDDEN
            }
            Self::TooFast(_) | Self::TooManyStreams(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::IssuerAway => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Invalid(_) => "invalid_credential",
            Self::OtherProject | Self::NoSuchKey => "not_found",
            Self::Scope(_) => "insufficient_scope",
            Self::Beyond => "beyond_own_projects",
            Self::TooFast(_) => "rate_limited",
            Self::TooManyStreams(_) => "too_many_streams_of_key",
            Self::IssuerAway => "issuer_unavailable",
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
        }
    }

    /// Whether the same request may be let in later.
    pub(crate) const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::TooFast(_) | Self::TooManyStreams(_) | Self::IssuerAway
        )
    }

    /// What RFC 6750 wants to be said besides.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let challenge = match self {
            Self::Unauthenticated => r#"Bearer realm="rdev""#.to_owned(),
            Self::Invalid(_) => r#"Bearer realm="rdev", error="invalid_token""#.to_owned(),
            Self::Scope(scope) => format!(
                r#"Bearer realm="rdev", error="insufficient_scope", scope="{}""#,
                scope.name()
            ),
            Self::TooFast(seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
                return;
            }
            Self::OtherProject
            | Self::NoSuchKey
            | Self::Beyond
            | Self::TooManyStreams(_)
            | Self::IssuerAway
            | Self::ForeignHost
            | Self::ForeignOrigin => return,
        };
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
    }
}

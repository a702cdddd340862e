//! Settings about who is let in.

use std::time::Duration;

use rdev_runtime::parse_duration;

use super::oidc::{Issuer, JwksSource};
use super::pace::Allowance;
use super::proxies::Proxies;

/// Far more than people and agents ask for, and far less than a gateway can answer.
const KEY_RATE_DEFAULT: u32 = 500;
/// Two seconds of that at once.
const KEY_BURST_DEFAULT: u32 = 1_000;
/// A sixteenth of what a gateway has.
const KEY_STREAMS_DEFAULT: u32 = 1_000;
const SCOPES_CLAIM_DEFAULT: &str = "rdev_scopes";
const PROJECTS_CLAIM_DEFAULT: &str = "rdev_projects";
/// A day: who is away for longer gets another ticket.
const TICKET_RESUME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Whether keys are needed everywhere; of the gateway and of whoever starts one.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct RequireKeys {
    /// Let nobody in without a key, on 127.0.0.1 neither. (Elsewhere nobody ever is.)
    #[arg(
        id = "require_keys",
        long = "require-keys",
        env = "RDEV_REQUIRE_KEYS",
        value_name = "RDEV_REQUIRE_KEYS",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub everywhere: bool,
}

/// Settings about who is let in.
#[derive(Debug, Clone, clap::Args)]
pub struct TrustArgs {
    /// Whether keys are needed everywhere.
    #[command(flatten)]
    pub require_keys: RequireKeys,
    /// Where a key is needed and there is none yet: make one that may do everything, print it once to
    /// standard output, and go on.
    #[arg(
        long,
        env = "RDEV_MAKE_FIRST_KEY",
        value_name = "RDEV_MAKE_FIRST_KEY",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub make_first_key: bool,
    /// Addresses and networks of proxies, joined by commas: their X-Forwarded-For says where a
    /// request comes from, in the audit trail.
    #[arg(
        long,
        env = "RDEV_TRUSTED_PROXIES",
        value_name = "RDEV_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true
    )]
    pub trusted_proxies: Proxies,
    /// Requests a second that one key may make at this gateway.
    #[arg(
        long,
        env = "RDEV_KEY_RATE",
        value_name = "RDEV_KEY_RATE",
        default_value_t = KEY_RATE_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub key_rate: u32,
    /// Requests that one key may make at once, after it made none for a while.
    #[arg(
        long,
        env = "RDEV_KEY_BURST",
        value_name = "RDEV_KEY_BURST",
        default_value_t = KEY_BURST_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub key_burst: u32,
    /// Streams that one key may read at a time at this gateway.
    #[arg(
        long,
        env = "RDEV_KEY_STREAMS",
        value_name = "RDEV_KEY_STREAMS",
        default_value_t = KEY_STREAMS_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub key_streams: u32,
    /// For how long a browser that has begun to read with a ticket can come back with it.
    #[arg(
        long,
        env = "RDEV_TICKET_RESUME",
        value_name = "RDEV_TICKET_RESUME",
        default_value = "1h",
        value_parser = ticket_resume
    )]
    pub ticket_resume: Duration,
    /// Issuer (`iss`) whose tokens are taken in the place of keys.
    #[arg(
        long,
        env = "RDEV_OIDC_ISSUER",
        value_name = "RDEV_OIDC_ISSUER",
        requires_all = ["oidc_audience", "oidc_jwks"]
    )]
    pub oidc_issuer: Option<String>,
    /// Audience (`aud`) that its tokens must be for.
    #[arg(
        long,
        env = "RDEV_OIDC_AUDIENCE",
        value_name = "RDEV_OIDC_AUDIENCE",
        requires = "oidc_issuer"
    )]
    pub oidc_audience: Option<String>,
    /// Its keys: a file, or an https:// address, with a JSON Web Key Set.
    #[arg(
        long,
        env = "RDEV_OIDC_JWKS",
        value_name = "RDEV_OIDC_JWKS",
        requires = "oidc_issuer"
    )]
    pub oidc_jwks: Option<JwksSource>,
    /// Claim with scopes: a list or words, each read, exec or admin, or the same behind rdev:; its name,
    /// or a JSON pointer.
    #[arg(
        long,
        env = "RDEV_OIDC_SCOPES_CLAIM",
        value_name = "RDEV_OIDC_SCOPES_CLAIM",
        default_value = SCOPES_CLAIM_DEFAULT
    )]
    pub oidc_scopes_claim: String,
    /// Claim with projects: a list or words, * for all; its name, or a JSON pointer.
    #[arg(
        long,
        env = "RDEV_OIDC_PROJECTS_CLAIM",
        value_name = "RDEV_OIDC_PROJECTS_CLAIM",
        default_value = PROJECTS_CLAIM_DEFAULT
    )]
    pub oidc_projects_claim: String,
}

fn ticket_resume(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration <= TICKET_RESUME_MAX {
        Ok(duration)
    } else {
        Err("give 24h at most".to_owned())
    }
}

impl TrustArgs {
    /// Whose tokens are taken.
    pub(super) fn issuer(&self) -> Option<Issuer> {
        Some(Issuer {
            name: self.oidc_issuer.clone()?,
            audience: self.oidc_audience.clone()?,
            jwks: self.oidc_jwks.clone()?,
            scopes_claim: self.oidc_scopes_claim.clone(),
            projects_claim: self.oidc_projects_claim.clone(),
        })
    }

    /// What one key may.
    pub(super) const fn allowance(&self) -> Allowance {
        Allowance {
            rate: self.key_rate,
            burst: self.key_burst,
            streams: self.key_streams,
        }
    }
}

impl Default for TrustArgs {
    fn default() -> Self {
        Self {
            require_keys: RequireKeys::default(),
            make_first_key: false,
            trusted_proxies: Proxies::default(),
            key_rate: KEY_RATE_DEFAULT,
            key_burst: KEY_BURST_DEFAULT,
            key_streams: KEY_STREAMS_DEFAULT,
            ticket_resume: Duration::from_secs(3600),
            oidc_issuer: None,
            oidc_audience: None,
            oidc_jwks: None,
            oidc_scopes_claim: SCOPES_CLAIM_DEFAULT.to_owned(),
            oidc_projects_claim: PROJECTS_CLAIM_DEFAULT.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        trust: TrustArgs,
    }

    fn parse(arguments: &[&str]) -> Result<TrustArgs, String> {
        let parsed = Arguments::try_parse_from([&["test"], arguments].concat());
        parsed
            .map(|arguments| arguments.trust)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_tests_too() {
        let (parsed, default) = (parse(&[]).unwrap(), TrustArgs::default());
        assert_eq!(format!("{parsed:?}"), format!("{default:?}"));
        let required = |arguments| parse(arguments).unwrap().require_keys.everywhere;
        assert!(required(&["--require-keys"]));
        assert!(!required(&["--require-keys", "false"]));
    }

    #[test]
    fn limits_at_their_edges() {
        for limit in ["--key-rate", "--key-burst", "--key-streams"] {
            assert!(parse(&[limit, "1"]).is_ok(), "{limit}");
            let refused = parse(&[limit, "0"]).unwrap_err();
            assert!(refused.contains("RDEV_KEY_"), "{refused}");
        }
        for (text, is_taken) in [("0s", true), ("24h", true), ("86401s", false), ("1", false)] {
            let parsed = parse(&["--ticket-resume", text]);
            assert_eq!(parsed.is_ok(), is_taken, "{text}");
        }
    }

    #[test]
    fn an_issuer_has_an_audience_and_keys() {
        let whole = [
            "--oidc-issuer",
            "https://issuer.example",
            "--oidc-audience",
            "rdev",
            "--oidc-jwks",
            "jwks.json",
        ];
        assert!(parse(&whole).unwrap().issuer().is_some());
        assert!(parse(&[]).unwrap().issuer().is_none());
        for part in [&whole[..2], &whole[..4], &whole[2..], &whole[4..]] {
            assert!(parse(part).is_err(), "{part:?}");
        }
    }
}

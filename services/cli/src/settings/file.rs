//! The configuration file: `rdev/config.toml` below `XDG_CONFIG_HOME`. Written by people.
//!
//! Values stand at its top, or in a profile, which wins: `[profiles.NAME]`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{SettingsError, Surroundings};

const NAME: &str = "rdev/config.toml";
/// Permissions of others than the owner.
const OTHERS: u32 = 0o077;

/// What may be said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Values {
    /// Address of the API.
    pub(crate) url: Option<String>,
    /// The key itself.
    pub(crate) key: Option<String>,
    /// A file that holds it.
    pub(crate) key_file: Option<PathBuf>,
    /// The project.
    pub(crate) project: Option<String>,
    /// The session where none is named.
    pub(crate) session: Option<String>,
    /// A certificate authority.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Values {
    /// Paths are relative to the file's directory, or to the home directory behind `~/`.
    pub(super) fn within(mut self, directory: &Path, around: &impl Surroundings) -> Self {
        self.ca_file = self
            .ca_file
            .map(|path| place(&path, Some(directory), around));
        self
    }
}

#[derive(Debug, Deserialize)]
struct Content {
    profile: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Values>,
    #[serde(flatten)]
    top: BTreeMap<String, toml::Value>,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    profile: Option<String>,
    profiles: BTreeMap<String, Values>,
    top: Values,
    mode: u32,
}

/// Where it is unless somebody says otherwise.
pub(crate) fn usual_path(around: &impl Surroundings) -> Option<PathBuf> {
    directory(around, "XDG_CONFIG_HOME", ".config").map(|directory| directory.join(NAME))
}

/// A directory of the XDG specification: the variable if it is an absolute path, or this below HOME.
pub(super) fn directory(
    around: &impl Surroundings,
    variable: &str,
    below_home: &str,
) -> Option<PathBuf> {
    let set = around.variable(variable).map(PathBuf::from);
    if let Some(path) = set.filter(|path| path.is_absolute()) {
        return Some(path);
    }
    let home = around.variable("HOME").map(PathBuf::from);
    home.map(|home| home.join(below_home))
}

/// Where a path of the file leads.
pub(super) fn place(path: &Path, directory: Option<&Path>, around: &impl Surroundings) -> PathBuf {
    if let (Ok(rest), Some(home)) = (path.strip_prefix("~"), around.variable("HOME")) {
        return Path::new(&home).join(rest);
    }
    directory.map_or_else(|| path.to_owned(), |directory| directory.join(path))
}

impl ConfigFile {
    /// The file at `path`, which must be there then, or the usual one, if it is.
    pub(super) fn read(
        path: Option<&Path>,
        around: &impl Surroundings,
    ) -> Result<Option<Self>, SettingsError> {
        let (path, must_be_there) = match path {
            Some(path) => (path.to_owned(), true),
            None => match usual_path(around) {
                Some(path) => (path, false),
                None => return Ok(None),
            },
        };
        let failed = |reason: String| SettingsError::File {
            path: path.display().to_string(),
            reason,
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_be_there => {
                return Ok(None);
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let metadata = std::fs::metadata(&path);
        let mode = metadata.map_or(0, |metadata| metadata.permissions().mode());
        let content: Content = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let top = toml::Table::from_iter(content.top);
        let top = Values::deserialize(top).map_err(|error| failed(error.to_string()))?;
        Ok(Some(Self {
            path,
            profile: content.profile,
            profiles: content.profiles,
            top,
            mode,
        }))
    }

    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// A key that others can read is none for long.
    pub(super) fn warning(&self) -> Option<String> {
        let has_key =
            self.top.key.is_some() || self.profiles.values().any(|values| values.key.is_some());
        let path = self.path.display();
        (has_key && self.mode & OTHERS != 0)
            .then(|| format!("{path} holds a key and others may read it: chmod 600 {path}"))
    }

    /// The chosen profile, and what stands at the top; with what each is called.
    pub(super) fn layers(
        &self,
        profile: Option<&str>,
    ) -> Result<Vec<(String, Values)>, SettingsError> {
        let path = self.path.display();
        let mut layers = Vec::new();
        if let Some(name) = profile.or(self.profile.as_deref()) {
            let Some(values) = self.profiles.get(name) else {
                let known: Vec<_> = self.profiles.keys().map(String::as_str).collect();
                return Err(SettingsError::NoProfile {
                    name: name.to_owned(),
                    path: path.to_string(),
                    known: if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    },
                });
            };
            layers.push((format!("profile {name} of {path}"), values.clone()));
        }
        layers.push((path.to_string(), self.top.clone()));
        Ok(layers)
    }
}

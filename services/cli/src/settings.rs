//! Where the gateway is, who asks, and about what: flags with the profile that they name, then the
//! environment, then the configuration file, then what `rdev dev` on this machine says of itself.
//!
//! Invariant: a key is sent only to an address that somebody names: beside it or further away, or, of
//! a key in the environment without an address, to whatever is asked for just now. No flag takes a
//! key: arguments are seen by all.

pub(crate) mod file;
pub(crate) mod note;

use std::fmt;
use std::path::{Path, PathBuf};

use rdev_contract::id::ProjectId;

use file::{ConfigFile, Values};
use note::DevNote;

pub(crate) const URL_VARIABLE: &str = "RDEV_URL";
pub(crate) const PROJECT_VARIABLE: &str = "RDEV_PROJECT";
pub(crate) const SESSION_VARIABLE: &str = "RDEV_SESSION";
pub(crate) const KEY_VARIABLE: &str = "RDEV_API_KEY";
const KEY_FILE_VARIABLE: &str = "RDEV_API_KEY_FILE";
const CA_FILE_VARIABLE: &str = "RDEV_CA_FILE";
const PROFILE_VARIABLE: &str = "RDEV_PROFILE";
const CONFIG_VARIABLE: &str = "RDEV_CONFIG";
/// Where `rdev dev` and a gateway listen unless they are told otherwise.
const USUAL_URL: &str = "http://127.0.0.1:8080";

/// Where these flags stand in help texts.
const HEADING: &str = "Where and who";

/// Flags of every command that speaks to a gateway.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConnectionArgs {
    /// Address of the API, as in <https://rdev.example.com> [env: RDEV_URL]
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    pub(crate) url: Option<String>,
    /// The project [env: RDEV_PROJECT]
    #[arg(short, long, value_name = "PROJECT", help_heading = HEADING)]
    pub(crate) project: Option<String>,
    /// A file that holds the API key; the key itself goes into RDEV_API_KEY [env: RDEV_API_KEY_FILE]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) key_file: Option<PathBuf>,
    /// Certificate authority of the API (PEM), besides those of this machine [env: RDEV_CA_FILE]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Profile of the configuration file [env: RDEV_PROFILE]
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(crate) profile: Option<String>,
    /// The configuration file [env: RDEV_CONFIG]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) config: Option<PathBuf>,
    /// Say on standard error what happens, also where that is no terminal.
    #[arg(short, long, help_heading = HEADING)]
    pub(crate) verbose: bool,
}

impl ConnectionArgs {
    /// The flags that say where, as a shell takes them, each behind a space.
    fn again(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let given = [
            ("url", self.url.clone()),
            ("project", self.project.clone()),
            ("key-file", path(&self.key_file)),
            ("ca-file", path(&self.ca_file)),
            ("profile", self.profile.clone()),
            ("config", path(&self.config)),
        ];
        let given = given.into_iter();
        let given = given.filter_map(|(name, value)| Some(format!(" --{name} {}", word(&value?))));
        given.collect()
    }
}

/// A text as one word of a shell.
fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// An API key, or a token of an issuer. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// As it is read from a variable or a file: without the newline at its end.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// For the header.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// A value, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said<T> {
    pub(crate) value: T,
    pub(crate) by: String,
}

/// What all of them come to.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) url: Said<String>,
    pub(crate) key: Option<Said<Secret>>,
    pub(crate) project: Option<Said<ProjectId>>,
    /// The session where none is named.
    pub(crate) session: Option<Said<String>>,
    pub(crate) ca_file: Option<Said<PathBuf>>,
    /// The `rdev dev` of this machine, if the address is its.
    pub(crate) dev: Option<DevNote>,
    pub(crate) verbose: bool,
    /// The flags that said some of it, for whoever is to say so again: ` --project demo`.
    pub(crate) flags: String,
    /// What is odd about the settings, for people.
    pub(crate) warnings: Vec<String>,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A file cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The configuration file has no such profile.
    #[error("there is no profile {name} in {path}; it has {known}")]
    NoProfile {
        /// Which is wanted.
        name: String,
        /// The file.
        path: String,
        /// Those that it has.
        known: String,
    },
    /// A value is none.
    #[error("{by}: {reason}")]
    Value {
        /// Who says so.
        by: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is read besides the flags; tests give their own.
pub(crate) trait Surroundings {
    /// A variable that is set to something.
    fn variable(&self, name: &str) -> Option<String>;
}

/// This process's own.
pub(crate) struct Process;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// Values from one place. What is nearer to whoever asks stands before, and wins.
struct Layer {
    by: String,
    values: Values,
    key: Option<KeyAt>,
    is_environment: bool,
}

/// A key, which is read only if it is the one that is meant.
#[derive(Debug, Clone)]
enum KeyAt {
    Here(Secret),
    File { path: PathBuf, by: String },
}

impl KeyAt {
    fn read(self) -> Result<Secret, SettingsError> {
        match self {
            Self::Here(key) => Ok(key),
            Self::File { path, by } => read_key(&path, &by),
        }
    }
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub(crate) fn read(args: &ConnectionArgs) -> Result<Self, SettingsError> {
        Self::of(args, &Process)
    }

    fn of(args: &ConnectionArgs, around: &impl Surroundings) -> Result<Self, SettingsError> {
        let mut warnings = Vec::new();
        let mut layers = vec![flags(args), environment(around)];
        let path = args.config.clone();
        let path = path.or_else(|| around.variable(CONFIG_VARIABLE).map(PathBuf::from));
        let is_asked_for = args.profile.is_some();
        let profile = args.profile.clone();
        let profile = profile.or_else(|| around.variable(PROFILE_VARIABLE));
        if let Some(config) = ConfigFile::read(path.as_deref(), around)? {
            warnings.extend(config.warning());
            let chosen = config.layers(profile.as_deref())?;
            for (at, (by, values)) in chosen.into_iter().enumerate() {
                let layer = Layer {
                    key: key_of(&by, &values, config.directory(), around),
                    values: values.within(config.directory(), around),
                    by,
                    is_environment: false,
                };
                // A profile that a flag names is the first of them, and is as near as a flag.
                let is_near = is_asked_for && at == 0;
                layers.insert(if is_near { 1 } else { layers.len() }, layer);
            }
        } else if let Some(name) = profile {
            return Err(SettingsError::NoProfile {
                name,
                path: file::usual_path(around)
                    .map_or_else(String::new, |path| path.display().to_string()),
                known: "none: there is no such file".to_owned(),
            });
        }
        let mut settings = Self::from_layers(&layers, around, warnings)?;
        settings.verbose = args.verbose;
        settings.flags = args.again();
        Ok(settings)
    }

    fn from_layers(
        layers: &[Layer],
        around: &impl Surroundings,
        mut warnings: Vec<String>,
    ) -> Result<Self, SettingsError> {
        let url = first(layers, |layer| layer.values.url.clone());
        let Some((url, url_at)) = url else {
            return Self::of_this_machine(layers, around, warnings);
        };
        let key = match first(layers, |layer| layer.key.clone()) {
            Some((key, key_at)) if may_go(layers, key_at, url_at) => Some(read(key)?),
            Some((key, _)) => {
                warnings.push(format!(
                    "the key of {} is not sent to {}, which {} names: give its own by --key-file, or \
                     {URL_VARIABLE} and {KEY_VARIABLE} together",
                    key.by, url.value, url.by
                ));
                None
            }
            None => None,
        };
        Ok(Self {
            url,
            key,
            project: project(layers)?,
            session: first(layers, |layer| layer.values.session.clone()).map(|(said, _)| said),
            ca_file: first(layers, |layer| layer.values.ca_file.clone()).map(|(said, _)| said),
            dev: None,
            verbose: false,
            flags: String::new(),
            warnings,
        })
    }

    /// Nothing says where the gateway is: on this machine, then.
    fn of_this_machine(
        layers: &[Layer],
        around: &impl Surroundings,
        mut warnings: Vec<String>,
    ) -> Result<Self, SettingsError> {
        let dev = DevNote::read(around);
        let said = said_by_dev::<String>;
        let url = match &dev {
            Some(dev) => said(dev.url.clone()),
            None => Said {
                value: USUAL_URL.to_owned(),
                by: "nothing else is set".to_owned(),
            },
        };
        let note = dev.as_ref();
        let key = match (note, first(layers, |layer| layer.key.clone())) {
            // One that was set just now is meant.
            (Some(_), Some((key, at))) if at == 0 || layers[at].is_environment => Some(read(key)?),
            (Some(dev), _) => Secret::new(&dev.key).map(said_by_dev),
            // Anybody on this machine could listen there.
            (None, Some((key, _))) => {
                warnings.push(format!(
                    "the key of {} is not sent to {USUAL_URL}, which nobody names: set {URL_VARIABLE}",
                    key.by
                ));
                None
            }
            (None, None) => None,
        };
        let mut own = project(layers)?;
        let mut session = first(layers, |layer| layer.values.session.clone()).map(|(said, _)| said);
        // Its session is of its project.
        if let Some(dev) = note
            && own
                .as_ref()
                .is_none_or(|own| own.value.as_str() == dev.project)
        {
            session = session.or_else(|| dev.session.clone().map(said));
            own = own.or(Some(project_of(said(dev.project.clone()))?));
        }
        Ok(Self {
            url,
            key,
            project: own,
            session,
            ca_file: first(layers, |layer| layer.values.ca_file.clone()).map(|(said, _)| said),
            dev,
            verbose: false,
            flags: String::new(),
            warnings,
        })
    }
}

fn said_by_dev<T>(value: T) -> Said<T> {
    Said {
        value,
        by: "rdev dev on this machine".to_owned(),
    }
}

fn flags(args: &ConnectionArgs) -> Layer {
    let key = args.key_file.clone().map(|path| KeyAt::File {
        path,
        by: "--key-file".to_owned(),
    });
    Layer {
        by: "the command line".to_owned(),
        values: Values {
            url: args.url.clone(),
            project: args.project.clone(),
            ca_file: args.ca_file.clone(),
            ..Values::default()
        },
        key,
        is_environment: false,
    }
}

fn environment(around: &impl Surroundings) -> Layer {
    let key = around.variable(KEY_VARIABLE);
    let key = key.and_then(|text| Secret::new(&text)).map(KeyAt::Here);
    let in_file = || {
        Some(KeyAt::File {
            path: around.variable(KEY_FILE_VARIABLE)?.into(),
            by: KEY_FILE_VARIABLE.to_owned(),
        })
    };
    Layer {
        by: "the environment".to_owned(),
        values: Values {
            url: around.variable(URL_VARIABLE),
            project: around.variable(PROJECT_VARIABLE),
            session: around.variable(SESSION_VARIABLE),
            ca_file: around.variable(CA_FILE_VARIABLE).map(PathBuf::from),
            ..Values::default()
        },
        key: key.or_else(in_file),
        is_environment: true,
    }
}

fn key_of(
    by: &str,
    values: &Values,
    directory: &Path,
    around: &impl Surroundings,
) -> Option<KeyAt> {
    if let Some(key) = &values.key {
        return Secret::new(key).map(KeyAt::Here);
    }
    let path = values.key_file.as_ref()?;
    Some(KeyAt::File {
        path: file::place(path, Some(directory), around),
        by: by.to_owned(),
    })
}

/// Whether the key of one layer is for the address of another. Who gives a key is nearer than the
/// address that it is for, but for one in the environment that has no address beside it.
fn may_go(layers: &[Layer], key_at: usize, url_at: usize) -> bool {
    let of_key = &layers[key_at];
    key_at <= url_at || of_key.is_environment && of_key.values.url.is_none()
}

fn read(key: Said<KeyAt>) -> Result<Said<Secret>, SettingsError> {
    let Said { value, by } = key;
    value.read().map(|value| Said { value, by })
}

fn read_key(path: &Path, by: &str) -> Result<Secret, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|error| SettingsError::File {
        path: format!("{by}: {}", path.display()),
        reason: error.to_string(),
    })?;
    Secret::new(&text).ok_or_else(|| SettingsError::File {
        path: format!("{by}: {}", path.display()),
        reason: "there is no key in it".to_owned(),
    })
}

/// The nearest one that says it, and which layer that is.
fn first<T>(layers: &[Layer], value: impl Fn(&Layer) -> Option<T>) -> Option<(Said<T>, usize)> {
    layers.iter().enumerate().find_map(|(at, layer)| {
        let by = layer.by.clone();
        value(layer).map(|value| (Said { value, by }, at))
    })
}

fn project(layers: &[Layer]) -> Result<Option<Said<ProjectId>>, SettingsError> {
    let said = first(layers, |layer| layer.values.project.clone());
    said.map(|(said, _)| project_of(said)).transpose()
}

fn project_of(said: Said<String>) -> Result<Said<ProjectId>, SettingsError> {
    let Said { value, by } = said;
    match value.parse() {
        Ok(value) => Ok(Said { value, by }),
        Err(error) => Err(SettingsError::Value {
            by,
            reason: format!("{error}, not {value:?}"),
        }),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;

//! Whose word counts, and where keys go.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

const KEY: &str = "rdev_0123456789abcdef_of-the-file";

/// A home directory, and variables.
struct Around {
    home: TempDir,
    variables: BTreeMap<String, String>,
}

impl Surroundings for Around {
    fn variable(&self, name: &str) -> Option<String> {
        if name == "HOME" {
            return Some(self.home.path().display().to_string());
        }
        self.variables.get(name).cloned()
    }
}

impl Around {
    fn new(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            home: tempfile::tempdir().unwrap(),
            variables: variables.iter().map(owned).collect(),
        }
    }

    fn write(&self, path: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn with_config(self, text: &str) -> Self {
        self.write(".config/rdev/config.toml", text, 0o600);
        self
    }

    fn with_note(self, mode: u32) -> Self {
        self.with_note_of(std::process::id(), mode)
    }

    fn with_note_of(self, pid: u32, mode: u32) -> Self {
        let note = DevNote {
            pid,
            url: "http://127.0.0.1:9999".to_owned(),
            key: "key-of-dev".to_owned(),
            project: "demo".to_owned(),
            session: Some("0198".to_owned()),
            data_dir: PathBuf::from("data"),
            nats_url: String::new(),
            postgres_url: String::new(),
        };
        let text = serde_json::to_string(&note).unwrap();
        self.write(".local/state/rdev/dev.json", &text, mode);
        self
    }

    fn read(&self, args: &ConnectionArgs) -> Settings {
        Settings::of(args, self).unwrap()
    }

    fn refused(&self, args: &ConnectionArgs) -> String {
        Settings::of(args, self).unwrap_err().to_string()
    }
}

fn key(settings: &Settings) -> Option<&str> {
    settings.key.as_ref().map(|key| key.value.expose())
}

fn url(url: &str) -> ConnectionArgs {
    ConnectionArgs {
        url: Some(url.to_owned()),
        ..ConnectionArgs::default()
    }
}

fn profile(name: &str) -> ConnectionArgs {
    ConnectionArgs {
        profile: Some(name.to_owned()),
        ..ConnectionArgs::default()
    }
}

fn config() -> String {
    format!(
        "url = \"https://file\"\nkey = \"{KEY}\"\nproject = \"of-file\"\nsession = \"web\"\n\
         [profiles.staging]\nurl = \"https://staging\"\nkey_file = \"keys/staging\"\n\
         [profiles.bare]\nurl = \"https://bare\"\n[profiles.other]\nproject = \"other\"\n"
    )
}

#[test]
fn flags_can_be_given_again() {
    assert_eq!(ConnectionArgs::default().again(), "");
    let given = ConnectionArgs {
        project: Some("demo".to_owned()),
        key_file: Some("it's/a key".into()),
        ..url("https://flag")
    };
    let again = r" --url https://flag --project demo --key-file 'it'\''s/a key'";
    assert_eq!(given.again(), again);
    assert_eq!(
        Around::new(&[]).read(&url("https://flag")).flags,
        url("https://flag").again()
    );
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let none = Around::new(&[]).with_config(&config());
    let settings = none.read(&ConnectionArgs::default());
    assert_eq!(settings.url.value, "https://file");
    assert_eq!(settings.project.unwrap().value.as_str(), "of-file");
    assert_eq!(settings.session.unwrap().value, "web");

    let set = [(URL_VARIABLE, "https://env"), (PROJECT_VARIABLE, "of-env")];
    let around = Around::new(&set).with_config(&config());
    let settings = around.read(&ConnectionArgs::default());
    assert_eq!(settings.url.value, "https://env");
    assert_eq!(settings.project.unwrap().value.as_str(), "of-env");

    let settings = around.read(&url("https://flag"));
    assert_eq!(
        (settings.url.value.as_str(), settings.url.by.as_str()),
        ("https://flag", "the command line")
    );
}

#[test]
fn a_profile_wins_over_the_top_of_the_file() {
    let around = Around::new(&[]).with_config(&config());
    around.write(".config/rdev/keys/staging", "key-of-staging\n", 0o600);
    let staging = around.read(&profile("staging"));
    assert_eq!(staging.url.value, "https://staging");
    assert_eq!(key(&staging), Some("key-of-staging"));
    // Where a profile says nothing, the top does.
    let other = around.read(&profile("other"));
    assert_eq!(
        (other.url.value.as_str(), key(&other)),
        ("https://file", Some(KEY))
    );
    let refused = around.refused(&profile("none"));
    assert!(
        refused.contains("no profile none") && refused.contains("bare, other, staging"),
        "{refused}"
    );
    let around = Around::new(&[(PROFILE_VARIABLE, "other")]).with_config(&config());
    let by_variable = around.read(&ConnectionArgs::default());
    assert_eq!(by_variable.project.unwrap().value.as_str(), "other");
}

#[test]
fn a_key_goes_only_where_it_belongs() {
    let around = Around::new(&[]).with_config(&config());
    let settings = around.read(&url("https://elsewhere"));
    assert_eq!(key(&settings), None);
    assert!(
        settings.warnings[0].contains("not sent to https://elsewhere"),
        "{:?}",
        settings.warnings
    );
    assert_eq!(key(&around.read(&profile("bare"))), None);

    // One that is given together with it does.
    let around = Around::new(&[(KEY_VARIABLE, "key-of-env")]).with_config(&config());
    assert_eq!(
        key(&around.read(&url("https://elsewhere"))),
        Some("key-of-env")
    );
    let file = around.write("key", "key-of-flag\n", 0o600);
    let args = ConnectionArgs {
        key_file: Some(file),
        ..url("https://elsewhere")
    };
    assert_eq!(key(&around.read(&args)), Some("key-of-flag"));
    // Not if it has an address of its own.
    let set = [(KEY_VARIABLE, "key-of-env"), (URL_VARIABLE, "https://env")];
    let around = Around::new(&set).with_config(&config());
    assert_eq!(
        key(&around.read(&ConnectionArgs::default())),
        Some("key-of-env")
    );
    assert_eq!(key(&around.read(&url("https://elsewhere"))), None);
    // A profile that is asked for is as near as a flag, with its key.
    around.write(".config/rdev/keys/staging", "key-of-staging\n", 0o600);
    let staging = around.read(&profile("staging"));
    assert_eq!(
        (staging.url.value.as_str(), key(&staging)),
        ("https://staging", Some("key-of-staging"))
    );
    assert_eq!(key(&around.read(&profile("bare"))), None);
    // Nobody has said where it goes.
    let around = Around::new(&[(KEY_VARIABLE, "key-of-env")]);
    let settings = around.read(&ConnectionArgs::default());
    assert_eq!(key(&settings), None);
    assert!(
        settings.warnings[0].contains(USUAL_URL),
        "{:?}",
        settings.warnings
    );
    // That of `rdev dev` is for `rdev dev`.
    let around = Around::new(&[]).with_note(0o600);
    assert_eq!(key(&around.read(&url("https://elsewhere"))), None);
}

#[test]
fn without_settings_it_is_this_machine() {
    let settings = Around::new(&[])
        .with_note(0o600)
        .read(&ConnectionArgs::default());
    assert_eq!(settings.url.value, "http://127.0.0.1:9999");
    assert_eq!(key(&settings), Some("key-of-dev"));
    assert_eq!(settings.session.as_ref().unwrap().value, "0198");
    assert_eq!(settings.project.unwrap().value.as_str(), "demo");
    // Somebody else could have written it.
    let settings = Around::new(&[])
        .with_note(0o644)
        .read(&ConnectionArgs::default());
    assert_eq!(
        (settings.url.value.as_str(), key(&settings)),
        (USUAL_URL, None)
    );
    // Its process is gone, and anybody may listen there. No process has the largest number.
    let around = Around::new(&[]).with_note_of(i32::MAX.cast_unsigned(), 0o600);
    let settings = around.read(&ConnectionArgs::default());
    assert_eq!(
        (settings.url.value.as_str(), key(&settings)),
        (USUAL_URL, None)
    );
    // Its session is of its project.
    for (project, session) in [("mine", None), ("demo", Some("0198"))] {
        let around = Around::new(&[(PROJECT_VARIABLE, project)]).with_note(0o600);
        let settings = around.read(&ConnectionArgs::default());
        assert_eq!(settings.session.map(|said| said.value).as_deref(), session);
        assert_eq!(settings.project.unwrap().value.as_str(), project);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let around = Around::new(&[]).with_config("ulr = \"x\"\n");
    let refused = around.refused(&ConnectionArgs::default());
    assert!(
        refused.contains("config.toml") && refused.contains("ulr"),
        "{refused}"
    );
    let refused = Around::new(&[(PROJECT_VARIABLE, "No.")]).refused(&url("http://x"));
    assert!(
        refused.contains("the environment") && refused.contains("No."),
        "{refused}"
    );
    let args = ConnectionArgs {
        key_file: Some(PathBuf::from("missing")),
        ..ConnectionArgs::default()
    };
    let named = Around::new(&[(URL_VARIABLE, "http://x")]);
    let refused = named.refused(&args);
    assert!(refused.contains("--key-file: missing"), "{refused}");
    // One that is not meant is not read.
    let set = [(URL_VARIABLE, "http://x"), (KEY_FILE_VARIABLE, "missing")];
    let around = Around::new(&set).with_config(&config());
    around.write(".config/rdev/keys/staging", "key-of-staging\n", 0o600);
    assert_eq!(
        key(&around.read(&profile("staging"))),
        Some("key-of-staging")
    );
    let args = ConnectionArgs {
        config: Some(PathBuf::from("missing.toml")),
        ..ConnectionArgs::default()
    };
    assert!(Around::new(&[]).refused(&args).contains("missing.toml"));
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    let around = Around::new(&[]);
    around.write(".config/rdev/config.toml", &config(), 0o644);
    let settings = around.read(&ConnectionArgs::default());
    assert!(
        settings.warnings[0].contains("chmod 600"),
        "{:?}",
        settings.warnings
    );
    assert_eq!(format!("{:?}", settings.key.unwrap().value), "Secret(…)");
}

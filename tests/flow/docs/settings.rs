//! The reference of settings is made of what the programs say of themselves with `--help`.

use std::collections::BTreeMap;

use rdev_tests::Outcome;
use tokio::process::Command;

use super::{RDEV, ROOT};

const PAGE: &str = "docs/settings.md";
/// What is between these lines is made; the rest of the page is written by hand.
const BEGIN: &str = "<!-- made of --help: begin -->\n";
const END: &str = "<!-- made of --help: end -->\n";
/// Writes the page anew.
const WRITE_ANEW: &str = "RDEV_WRITE_DOCS";
/// The programs, and what they are called in the table.
const PROGRAMS: [(&str, &str); 4] = [
    ("gateway", "gateway"),
    ("executor", "executor"),
    ("projector", "projector"),
    ("dev", "`rdev dev`"),
];

/// One setting, as a program tells it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Setting {
    variable: String,
    default: String,
    about: String,
}

/// The settings in a help text that have a variable.
fn settings(help: &str) -> Vec<Setting> {
    let mut found = Vec::new();
    let mut setting = Setting::default();
    for line in help.lines().map(str::trim) {
        if line.starts_with('-') {
            found.push(std::mem::take(&mut setting));
        } else if let Some(rest) = line.strip_prefix("[env: ") {
            let name = rest.split(['=', ']']).next().unwrap_or_default();
            name.clone_into(&mut setting.variable);
        } else if let Some(value) = line.strip_prefix("[default: ") {
            value.trim_end_matches(']').clone_into(&mut setting.default);
        } else if !line.is_empty() && !line.starts_with('[') {
            if !setting.about.is_empty() {
                setting.about.push(' ');
            }
            setting.about.push_str(line);
        }
    }
    found.push(setting);
    found.retain(|setting| !setting.variable.is_empty());
    found
}

async fn table() -> Outcome<String> {
    let mut order = Vec::new();
    let mut rows: BTreeMap<String, (Setting, Vec<&str>)> = BTreeMap::new();
    for (program, name) in PROGRAMS {
        let mut help = Command::new(RDEV);
        help.args([program, "--help"]).env_clear();
        let help = String::from_utf8(help.output().await?.stdout)?;
        for setting in settings(&help) {
            let variable = setting.variable.clone();
            let row = rows.entry(variable.clone()).or_insert_with(|| {
                order.push(variable);
                (setting, Vec::new())
            });
            row.1.push(name);
        }
    }
    let mut text = "| variable | default | of | what |\n|---|---|---|---|\n".to_owned();
    for variable in order {
        let (Setting { default, about, .. }, of) = &rows[&variable];
        let default = if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        let about = about.replace('|', "\\|");
        let of = of.join(", ");
        text += &format!("| `{variable}` | {default} | {of} | {about} |\n");
    }
    Ok(text)
}

#[tokio::test]
async fn settings_are_those_of_the_programs() -> Outcome<()> {
    let path = format!("{ROOT}/{PAGE}");
    let page = std::fs::read_to_string(&path)?;
    let (head, rest) = page.split_once(BEGIN).ok_or("no beginning")?;
    let (_, tail) = rest.split_once(END).ok_or("no end")?;
    let wanted = format!("{head}{BEGIN}{}{END}{tail}", table().await?);
    if std::env::var_os(WRITE_ANEW).is_some() {
        std::fs::write(&path, &wanted)?;
    } else if page != wanted {
        let how = "cargo test -p rdev-tests --test flow settings_are";
        return Err(format!("settings have changed: run {WRITE_ANEW}=1 {how}").into());
    }
    Ok(())
}

#[test]
fn a_help_text_is_read() {
    let help = "Options:\n      --a <A>\n          What a\n          does\n          \n          \
        [env: A=]\n          [default: 1]\n\n      --fresh\n          No variable\n  -h, --help\n          \
        Print help\n";
    let wanted = Setting {
        variable: "A".to_owned(),
        default: "1".to_owned(),
        about: "What a does".to_owned(),
    };
    assert_eq!(settings(help), [wanted]);
}

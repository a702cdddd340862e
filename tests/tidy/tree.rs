//! The tree as it lies on disk: its files, and what its manifests say.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace").to_owned()
}

/// A text file, with its path from the root.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is_test(&self) -> bool {
        let in_tests = |part| part == "tests" || part == "tests.rs" || part == "examples";
        self.path.split('/').any(in_tests) || self.path.ends_with("_tests.rs")
    }

    /// Lines that hold one of `needles`, as `path:line: text`.
    pub(crate) fn lines_with(&self, needles: &[&str]) -> Vec<String> {
        let numbered = self.text.lines().enumerate();
        let found = numbered.filter(|(_, line)| needles.iter().any(|needle| line.contains(needle)));
        found
            .map(|(index, line)| format!("{}:{}: {}", self.path, index + 1, line.trim()))
            .collect()
    }

    /// The same without comments and without the tests at the file's end.
    pub(crate) fn code_with(&self, needles: &[&str]) -> Vec<String> {
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let blanked = |line| if is_code(&line) { line } else { "" };
        let code = self
            .text
            .lines()
            .take_while(|line| line.trim() != "#[cfg(test)]");
        let text: Vec<_> = code.map(blanked).collect();
        let source = Self {
            path: self.path.clone(),
            text: text.join("\n"),
        };
        source.lines_with(needles)
    }
}

pub(crate) fn sources() -> Vec<Source> {
    files(&["rs"])
}

/// Every file of the repository that ends so, but what tools have made.
pub(crate) fn files(endings: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let made = name.starts_with('.')
                || ["target", "node_modules", "__pycache__"].contains(&name.as_str());
            if path.is_dir() && !made {
                directories.push(path);
            } else if endings
                .iter()
                .any(|ending| name.ends_with(&format!(".{ending}")))
            {
                let text = fs::read_to_string(&path).expect("a text");
                let path = path.strip_prefix(&root).expect("below the root");
                found.push(Source {
                    path: path.to_string_lossy().into_owned(),
                    text,
                });
            }
        }
    }
    assert!(!found.is_empty(), "no files below {}", root.display());
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// What a crate uses.
pub(crate) struct Manifest {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) for_tests: bool,
}

impl Manifest {
    /// As much of TOML as our manifests use: section heads and `key = value` lines.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let (mut name, mut dependencies) = (String::new(), Vec::new());
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(head) = line.strip_prefix('[') {
                section = head.trim_end_matches(']').to_owned();
                if let Some((kind, used)) = section.rsplit_once('.')
                    && kind.ends_with("dependencies")
                {
                    dependencies.push(dependency(used, kind));
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            if section == "package" && key.trim() == "name" {
                value.trim().trim_matches('"').clone_into(&mut name);
            }
            if section.ends_with("dependencies") && !line.starts_with('#') {
                let used = key.split('.').next().unwrap_or(key);
                dependencies.push(dependency(used.trim(), &section));
            }
        }
        Self {
            path: path.to_owned(),
            name,
            dependencies,
        }
    }
}

fn dependency(name: &str, section: &str) -> Dependency {
    Dependency {
        name: name.to_owned(),
        for_tests: section.ends_with("dev-dependencies"),
    }
}

/// The manifests of all members of the workspace.
pub(crate) fn manifests() -> Vec<Manifest> {
    let is_member =
        |source: &Source| source.path.ends_with("Cargo.toml") && source.path != "Cargo.toml";
    let members = files(&["toml"]).into_iter().filter(is_member);
    members
        .map(|source| Manifest::parse(&source.path, &source.text))
        .collect()
}

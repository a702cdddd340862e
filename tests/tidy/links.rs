//! The documentation holds together: every link leads somewhere, every page can be found from the
//! index, and code is in fences, so that it can be run.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::none;
use crate::tree::{Source, files, root};

const INDEX: &str = "docs/README.md";

/// The text of a page without its blocks of code, line by line, with the number of each line.
fn prose(page: &Source) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line.to_owned()));
        }
    }
    lines
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The targets of `[…](target)`.
fn targets(line: &str) -> Vec<String> {
    let line = without_code(line);
    let parts = line.split("](").skip(1);
    let closed = parts.filter_map(|part| part.split_once(')'));
    closed.map(|(target, _)| target.to_owned()).collect()
}

/// What a heading is called in links, as GitHub calls it.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ if letter.is_alphanumeric() => Some(letter.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

fn anchors(page: &Source) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line) in prose(page) {
        if let Some(heading) = line.trim_start_matches('#').strip_prefix(' ')
            && line.starts_with('#')
        {
            found.insert(slug(heading));
        }
        if let Some((_, rest)) = line.split_once("<a name=\"") {
            found.extend(rest.split_once('"').map(|(name, _)| name.to_owned()));
        }
    }
    found
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => plain.push(part),
        }
    }
    plain
}

#[test]
fn links_lead_somewhere() {
    let pages = files(&["md"]);
    let mut wrong = Vec::new();
    for page in &pages {
        for (line, text) in prose(page) {
            for target in targets(&text) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
                let at = Path::new(&page.path);
                let there = if path.is_empty() {
                    at.to_owned()
                } else {
                    plain(&at.parent().unwrap_or(Path::new("")).join(path))
                };
                let page_there = pages.iter().find(|page| Path::new(&page.path) == there);
                let has_anchor = anchor.is_empty()
                    || page_there.is_some_and(|page| anchors(page).contains(anchor));
                if !root().join(&there).exists() || !has_anchor {
                    wrong.push(format!("{}:{line}: {target}", page.path));
                }
            }
        }
    }
    none(
        &wrong,
        "a link that leads nowhere: mend it, or what it leads to",
    );
}

/// Files that a line names between backticks, from the root of the checkout.
fn named_files(line: &str) -> Vec<&str> {
    const PLACES: [&str; 5] = ["tests/", "services/", "shared/", "deploy/", "docs/"];
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/".contains(letter);
    let code = line.split('`').skip(1).step_by(2);
    code.filter(|text| PLACES.iter().any(|place| text.starts_with(place)))
        .filter(|text| text.chars().all(is_plain))
        .collect()
}

#[test]
fn files_that_pages_name_are_there() {
    let mut wrong = Vec::new();
    for page in &files(&["md"]) {
        for (line, text) in prose(page) {
            for named in named_files(&text) {
                if !root().join(named).exists() {
                    wrong.push(format!("{}:{line}: {named}", page.path));
                }
            }
        }
    }
    none(&wrong, "a file that is not there: mend its name");
}

#[test]
fn every_page_is_in_the_index() {
    let pages = files(&["md"]);
    let index = pages
        .iter()
        .find(|page| page.path == INDEX)
        .expect("the index");
    let linked: BTreeSet<_> = prose(index)
        .iter()
        .flat_map(|(_, line)| targets(line))
        .map(|target| format!("docs/{target}"))
        .collect();
    let is_missing = |page: &&Source| {
        page.path.starts_with("docs/") && page.path != INDEX && !linked.contains(&page.path)
    };
    let wrong: Vec<_> = pages
        .iter()
        .filter(is_missing)
        .map(|page| page.path.clone())
        .collect();
    none(
        &wrong,
        "a page that nobody finds: name it in docs/README.md, where it belongs",
    );
}

#[test]
fn code_is_in_fences() {
    let mut wrong = Vec::new();
    for page in files(&["md"]) {
        let mut before = String::new();
        let mut in_list = false;
        for (line, text) in prose(&page) {
            let starts_item = text.trim_start().starts_with(['-', '*'])
                || text
                    .trim_start()
                    .starts_with(|first: char| first.is_ascii_digit());
            in_list = starts_item || in_list && (text.is_empty() || text.starts_with("  "));
            if text.starts_with("    ") && before.is_empty() && !in_list {
                wrong.push(format!("{}:{line}: {}", page.path, text.trim()));
            }
            before = text;
        }
    }
    none(
        &wrong,
        "code by its indent alone: put it between fences, which say whether it is run",
    );
}

#[test]
fn links_are_read_as_readers_do() {
    assert_eq!(targets("a [b](c.md#d) `[x](y)` [e](f)"), ["c.md#d", "f"]);
    assert_eq!(
        slug("What is `promised`, and what is not"),
        "what-is-promised-and-what-is-not"
    );
    assert_eq!(plain(Path::new("docs/../a/./b.md")), Path::new("a/b.md"));
}

//! A page of the documentation, as what of it can be run.
//!
//! What the fences say, which is also told in docs/README.md:
//!
//! | fence | is |
//! |---|---|
//! | `sh` | run, and must succeed |
//! | `console` | lines behind `$ ` are run (`> ` goes on), what follows is what they print |
//! | `… not-run: REASON` | not run |
//! | `sh until: TEXT` | started in the background; the page goes on when it has printed TEXT |
//!
//! In what is printed `…` stands for anything within a line, and alone on a line for any lines. A
//! comment `<!-- sh` is run and not shown. All of a page is one shell.

use rdev_tests::Outcome;

/// A piece that is run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Where it stands.
    pub(super) line: usize,
    /// For the shell.
    pub(super) script: String,
    /// How it is run.
    pub(super) kind: Kind,
}

/// How a piece is run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It must succeed.
    Run,
    /// It must succeed and print this.
    Prints(String),
    /// It goes on in the background, and has begun when it has printed this.
    Until(String),
}

/// What can be run of a page.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// In order.
    pub(super) steps: Vec<Step>,
    /// Blocks that are not run, with the reason.
    pub(super) not_run: Vec<String>,
}

/// Languages that a reader would paste into a shell.
const SHELLS: [&str; 5] = ["sh", "shell", "bash", "zsh", "console"];

impl Page {
    /// Reads the Markdown of a page.
    ///
    /// # Errors
    /// At a block that can neither be run nor says why not.
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        let mut page = Self::default();
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let at = index + 1;
            let (info, end) = if let Some(info) = line.trim_start().strip_prefix("```") {
                (info.trim(), "```")
            } else if line == "<!-- sh" {
                ("sh", "-->")
            } else {
                continue;
            };
            let indent = line.len() - line.trim_start().len();
            let mut block = Vec::new();
            loop {
                let (_, line) = lines.next().ok_or(format!("line {at}: it does not end"))?;
                if line.trim() == end {
                    break;
                }
                block.push(line.get(indent..).unwrap_or_default());
            }
            page.add(at, info, &block)?;
        }
        Ok(page)
    }

    fn add(&mut self, at: usize, info: &str, block: &[&str]) -> Outcome<()> {
        let (language, how) = info.split_once(' ').unwrap_or((info, ""));
        if !SHELLS.contains(&language) {
            return Ok(());
        }
        if let Some(reason) = how.strip_prefix("not-run: ") {
            self.not_run.push(reason.to_owned());
            return Ok(());
        }
        let step = |kind| Step {
            line: at,
            script: block.join("\n"),
            kind,
        };
        match (language, how.strip_prefix("until: ")) {
            ("sh", Some(text)) => self.steps.push(step(Kind::Until(text.to_owned()))),
            ("sh", None) if how.is_empty() => self.steps.push(step(Kind::Run)),
            ("console", None) if how.is_empty() => self.dialogue(at, block)?,
            _ => return Err(format!("line {at}: {info:?} is no fence that can be run").into()),
        }
        Ok(())
    }

    /// Commands and what they print, in turn.
    fn dialogue(&mut self, at: usize, block: &[&str]) -> Outcome<()> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, line) in block.iter().enumerate() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    line: at + index + 1,
                    script: command.to_owned(),
                    kind: Kind::Prints(String::new()),
                });
                continue;
            }
            let Some(Step {
                script,
                kind: Kind::Prints(printed),
                ..
            }) = steps.last_mut()
            else {
                return Err(format!("line {at}: it begins with no command").into());
            };
            let more = line.strip_prefix('>').filter(|_| printed.is_empty());
            if let Some(more) = more {
                script.push('\n');
                script.push_str(more.strip_prefix(' ').unwrap_or(more));
            } else {
                printed.push_str(line);
                printed.push('\n');
            }
        }
        self.steps.append(&mut steps);
        Ok(())
    }
}

/// Whether this was printed, and not something else.
pub(super) fn is_printed(pattern: &str, printed: &str) -> bool {
    let patterns: Vec<_> = pattern.trim_end().lines().collect();
    let lines: Vec<_> = printed.trim_end().lines().collect();
    lines_match(&patterns, &lines)
}

fn lines_match(patterns: &[&str], lines: &[&str]) -> bool {
    match (patterns, lines) {
        ([], []) => true,
        (["…", rest @ ..], _) => {
            (0..=lines.len()).any(|skipped| lines_match(rest, &lines[skipped..]))
        }
        ([pattern, patterns @ ..], [line, lines @ ..]) => {
            line_matches(pattern, line) && lines_match(patterns, lines)
        }
        _ => false,
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.trim_end().split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.trim_end().strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[test]
fn a_page_is_what_can_be_run_of_it() -> Outcome<()> {
    let text = "# Page\n```sh\na=1\nb\n```\n```sh not-run: no docker\ndocker\n```\n<!-- sh\nhidden\n-->\n\
        ```json\n{}\n```\n```console\n$ one \\\n> two\nprinted …\n$ three\n```\n```sh until: ready\nserve\n```\n";
    let page = Page::parse(text)?;
    assert_eq!(page.not_run, ["no docker"]);
    let scripts: Vec<_> = page.steps.iter().map(|step| &*step.script).collect();
    let wanted = ["a=1\nb", "hidden", "one \\\ntwo", "three", "serve"];
    assert_eq!(scripts, wanted);
    assert_eq!(page.steps[2].kind, Kind::Prints("printed …\n".to_owned()));
    assert_eq!(page.steps[4].kind, Kind::Until("ready".to_owned()));
    for wrong in [
        "```bash\nx\n```",
        "```sh maybe\nx\n```",
        "```console\nx\n```",
        "```sh\nx",
    ] {
        assert!(Page::parse(wrong).is_err(), "{wrong}");
    }
    Ok(())
}

#[test]
fn what_is_printed_is_compared() {
    for (pattern, printed) in [
        ("a\nb\n", "a\nb\n"),
        ("a…c", "abbc"),
        ("…", ""),
        ("…\nlast", "1\n2\nlast"),
        ("first\n…\nlast", "first\nlast"),
        ("{\"id\":\"…\",\"n\":1}", "{\"id\":\"x\",\"n\":1}"),
    ] {
        assert!(is_printed(pattern, printed), "{pattern} {printed}");
    }
    for (pattern, printed) in [
        ("a\n", "a\nb\n"),
        ("a", "ab"),
        ("", "a"),
        ("a…c", "abd"),
        ("…\nlast", "last\nmore"),
        ("a…b…c", "acb"),
    ] {
        assert!(!is_printed(pattern, printed), "{pattern} {printed}");
    }
}

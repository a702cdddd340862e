//! A command that counts: what it prints is known beforehand, and it notes its process, so that
//! every byte lost or repeated and every second launch shows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::transcript::Transcript;

/// So many lines are printed at once, then comes a line on stderr and the pause.
const LINES_AT_ONCE: u32 = 10;

/// How to count.
#[derive(Debug, Clone)]
pub struct Count {
    /// Names its files; unique in its pod.
    pub name: String,
    /// How far.
    pub lines: u32,
    /// Between ten lines and the next ten.
    pub pause: Duration,
    /// Behind this line it waits until [`Count::open_gate`].
    pub gate: Option<u32>,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// Bytes that it printed and the reader did not get.
    pub bytes_lost: usize,
    /// Bytes that the reader got more than once.
    pub bytes_repeated: usize,
    /// How often it was launched.
    pub launches: usize,
    /// What else is wrong.
    pub wrong: Option<String>,
}

impl Finding {
    /// Whether nothing was lost, repeated, re-run or invented.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self
            == Self {
                launches: 1,
                ..Self::default()
            }
    }
}

impl Count {
    /// Counts to `lines` without a pause or a gate.
    #[must_use]
    pub fn to(name: &str, lines: u32) -> Self {
        Self {
            name: name.to_owned(),
            lines,
            pause: Duration::ZERO,
            gate: None,
        }
    }

    /// The same with a pause after every ten lines.
    #[must_use]
    pub fn pausing(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// The same with a gate behind a line.
    #[must_use]
    pub fn gated(self, line: u32) -> Self {
        Self {
            gate: Some(line),
            ..self
        }
    }

    /// The body of its POST; the stream id is the name.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({"type": "shell", "command": self.command(), "stream_id": self.name})
    }

    fn command(&self) -> String {
        let Self {
            name, lines, pause, ..
        } = self;
        let pause = match pause.as_secs_f64() {
            0.0 => "true".to_owned(),
            seconds => format!("sleep {seconds:.3}"),
        };
        let gate = self.gate.unwrap_or(u32::MAX);
        format!(
            "echo $$ >> pids-{name}; i=0; while test $i -lt {lines}; do i=$((i+1)); echo line $i; \
             if test $((i % {LINES_AT_ONCE})) = 0; then echo error $i >&2; {pause}; fi; \
             if test $i = {gate}; then while ! test -e go-{name}; do sleep 0.02; done; fi; done"
        )
    }

    /// What it prints on stdout.
    #[must_use]
    pub fn stdout(&self) -> String {
        (1..=self.lines)
            .map(|line| format!("line {line}\n"))
            .collect()
    }

    /// What it prints on stderr.
    #[must_use]
    pub fn stderr(&self) -> String {
        (1..=self.lines)
            .filter(|line| line % LINES_AT_ONCE == 0)
            .map(|line| format!("error {line}\n"))
            .collect()
    }

    /// How many events it makes, `complete` included.
    #[must_use]
    pub fn events(&self) -> usize {
        self.stdout().lines().count() + self.stderr().lines().count() + 1
    }

    /// Lets it go on behind its gate. `pod` is the directory it runs in.
    ///
    /// # Errors
    /// When the directory is gone.
    pub fn open_gate(&self, pod: &Path) -> std::io::Result<()> {
        std::fs::write(pod.join(format!("go-{}", self.name)), "")
    }

    /// The processes that ran it.
    #[must_use]
    pub fn pids(&self, pod: &Path) -> Vec<u32> {
        let path: PathBuf = pod.join(format!("pids-{}", self.name));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Compares what a reader got with what an undisturbed run gives.
    #[must_use]
    pub fn judge(&self, seen: &Transcript, pod: &Path) -> Finding {
        let mut finding = Finding {
            launches: self.pids(pod).len(),
            ..Finding::default()
        };
        for (name, wanted) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            let found = seen.bytes(name);
            if found == wanted.as_bytes() {
                continue;
            }
            let (lost, repeated) = compare(&wanted, &String::from_utf8_lossy(&found));
            finding.bytes_lost += lost;
            finding.bytes_repeated += repeated;
            finding.wrong = Some(format!("{name} differs"));
        }
        if let Err(wrong) = seen.check() {
            finding.wrong = Some(wrong);
        } else if seen.complete()["ok"] != true {
            finding.wrong = Some(seen.complete().to_string());
        }
        finding
    }
}

fn compare(wanted: &str, found: &str) -> (usize, usize) {
    let mut counts: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    for line in found.split_inclusive('\n') {
        *counts.entry(line).or_default() += 1;
    }
    let lost = wanted
        .split_inclusive('\n')
        .filter(|line| !counts.contains_key(line))
        .map(str::len)
        .sum();
    let repeated = counts
        .iter()
        .map(|(line, count)| line.len() * (count - 1))
        .sum();
    (lost, repeated)
}

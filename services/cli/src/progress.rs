//! What happens meanwhile, on standard error: as a line that comes and goes on a terminal, as lines
//! with `--verbose` elsewhere, and else not at all.

use std::io::{IsTerminal as _, Write as _};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::style::{Style, harmless, is_dumb, one_line};

/// Wipes the line that the cursor is in.
const WIPE: &str = "\r\x1b[K";
/// A line that breaks cannot be wiped.
const LINE_MAX_CHARS: usize = 78;

/// What takes longer is told of: by then somebody wonders.
const SLOW: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    shown: Arc<Mutex<Shown>>,
    manner: Manner,
    pub(crate) style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A line that is wiped when there is something else to show.
    Transient,
    /// A line each.
    Lines,
    /// Nothing.
    Silent,
}

#[derive(Debug, Default)]
struct Shown {
    line: Option<String>,
    /// The terminal does not go back to its first column by itself.
    is_raw: bool,
    /// The cursor is behind something that a command has printed: not ours to wipe.
    is_within_line: bool,
}

impl Progress {
    /// For this process.
    pub(crate) fn new(verbose: bool) -> Self {
        let manner = match (verbose, std::io::stderr().is_terminal()) {
            (true, _) => Manner::Lines,
            (false, true) if !is_dumb() => Manner::Transient,
            (false, _) => Manner::Silent,
        };
        Self {
            shown: Arc::default(),
            manner,
            style: Style::of(&std::io::stderr()),
        }
    }

    /// Whether anybody sees it: nothing has to be found out otherwise.
    pub(crate) fn is_seen(&self) -> bool {
        self.manner != Manner::Silent
    }

    /// Whether everything is said that can be.
    pub(crate) fn is_verbose(&self) -> bool {
        self.manner == Manner::Lines
    }

    /// Says what is waited for now.
    pub(crate) fn say(&self, text: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.line.as_deref() == Some(text) {
            return;
        }
        let line = self.style.dim(&one_line(text, LINE_MAX_CHARS));
        match self.manner {
            Manner::Transient if shown.is_within_line => return,
            Manner::Transient => tell(&format!("{WIPE}{line}")),
            Manner::Lines => tell(&format!("rdev: {line}{}", shown.end())),
            Manner::Silent => return,
        }
        shown.line = Some(text.to_owned());
    }

    /// Waits for it, and says what for if it takes long.
    pub(crate) async fn wait_for<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Ok(done) = tokio::time::timeout(SLOW, &mut work).await {
            return done;
        }
        self.say(&format!("waiting for {what}"));
        let done = work.await;
        self.clear();
        done
    }

    /// Nothing is waited for any more; before anything else is shown.
    pub(crate) fn clear(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.line.take().is_some() && self.manner == Manner::Transient {
            tell(WIPE);
        }
    }

    /// Says something that stays, also where nothing else is said.
    pub(crate) fn note(&self, text: &str) {
        self.note_styled(&harmless(text));
    }

    /// The same, of a text that has its colours, and nothing else that a terminal would obey.
    pub(crate) fn note_styled(&self, text: &str) {
        self.clear();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let end = shown.end();
        let begin = if std::mem::take(&mut shown.is_within_line) {
            end
        } else {
            ""
        };
        tell(&format!("{begin}{} {text}{end}", self.style.dim("rdev:")));
    }

    /// Whether the terminal's cursor is behind something that a command has printed.
    pub(crate) fn set_within_line(&self, is_within_line: bool) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.is_within_line = is_within_line;
    }

    /// The same, but nothing that comes and goes: for where the screen is somebody else's.
    pub(crate) fn without_lines(&self) -> Self {
        Self {
            manner: match self.manner {
                Manner::Lines => Manner::Lines,
                Manner::Transient | Manner::Silent => Manner::Silent,
            },
            ..self.clone()
        }
    }

    /// Whether the terminal is in raw mode.
    pub(crate) fn set_raw(&self, is_raw: bool) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.is_raw = is_raw;
    }
}

impl Shown {
    const fn end(&self) -> &'static str {
        if self.is_raw { "\r\n" } else { "\n" }
    }
}

/// Whoever has closed standard error does not want to know.
fn tell(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

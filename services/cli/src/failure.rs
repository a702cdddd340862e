//! How a command of this program ends when it could not be done, and what is said then.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::process::ExitCode;

use crate::api::ApiError;
use crate::settings::SettingsError;
use crate::style::{Style, harmless};

/// It could not be done. As of `docker run`: apart from what commands end with by themselves.
pub(crate) const FAILED: u8 = 125;

/// Why it could not be done, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) hint: Option<String>,
    /// Whoever reads the answer is gone: there is nobody to tell.
    pub(crate) is_unread: bool,
}

/// What commands of this program return.
pub(crate) type Done<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
            is_unread: false,
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Says it, and is the code to end with.
    pub(crate) fn tell(&self) -> ExitCode {
        let mut out = std::io::stderr();
        let text = self.text(Style::of(&out));
        // Whoever has closed standard error does not want to know.
        let _ = out.write_all(text.as_bytes());
        ExitCode::from(FAILED)
    }

    fn text(&self, style: Style) -> String {
        let mut text = format!("{} {}\n", style.red("error:"), harmless(&self.reason));
        if let Some(hint) = &self.hint {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {}", style.cyan("hint:"), harmless(hint));
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let reason = match error.code() {
            Some(code) => format!("{error} ({code})"),
            None => error.to_string(),
        };
        Self {
            reason,
            hint: error.hint(),
            is_unread: false,
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self {
            is_unread: error.kind() == std::io::ErrorKind::BrokenPipe,
            ..Self::new(error.to_string())
        }
    }
}

//! Colours and emphasis, where somebody looks.

use std::io::IsTerminal;

/// What a text is put between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    is_on: bool,
}

impl Style {
    /// Nothing but text.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { is_on: false };
    /// Colours, whoever looks.
    #[cfg(test)]
    pub(crate) const COLOURED: Self = Self { is_on: true };

    /// For this file descriptor: plain unless it is a terminal, and where `NO_COLOR` is set.
    pub(crate) fn of(file: &impl IsTerminal) -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            is_on: file.is_terminal() && !is_unwanted,
        }
    }

    fn between(self, code: &str, text: &str) -> String {
        if self.is_on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// What matters most.
    pub(crate) fn bold(self, text: &str) -> String {
        self.between("1", text)
    }

    /// What matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.between("2", text)
    }

    /// What went wrong.
    pub(crate) fn red(self, text: &str) -> String {
        self.between("31", text)
    }

    /// What went well.
    pub(crate) fn green(self, text: &str) -> String {
        self.between("32", text)
    }

    /// What is odd.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.between("33", text)
    }

    /// What is done.
    pub(crate) fn cyan(self, text: &str) -> String {
        self.between("36", text)
    }
}

/// A text on one line of at most so many characters, without anything that a terminal would obey.
pub(crate) fn one_line(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    let mut last_blank = true;
    for (count, character) in text.chars().enumerate() {
        if count >= max_chars {
            line.push('…');
            break;
        }
        let is_blank = character.is_whitespace() || character.is_control();
        if !is_blank {
            line.push(character);
        } else if !last_blank {
            line.push(' ');
        }
        last_blank = is_blank;
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_added_where_nobody_looks() {
        assert_eq!(Style::PLAIN.red("x"), "x");
        assert_eq!(Style::COLOURED.red("x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn a_line_is_one_line_and_no_order_to_a_terminal() {
        assert_eq!(one_line(" a\n\tb\x1b[2J c ", 80), "a b [2J c");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("abc", 3), "abc");
    }
}

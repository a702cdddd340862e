//! Colours and emphasis, where somebody looks.

use std::io::IsTerminal;

/// Whether terminals here know nothing but text.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}

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

    /// For this file descriptor: plain unless it is a terminal that knows colours, and where `NO_COLOR`
    /// is set.
    pub(crate) fn of(file: &impl IsTerminal) -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            is_on: file.is_terminal() && !is_unwanted && !is_dumb(),
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

/// A text of many lines, without anything that a terminal would obey or that turns what people read
/// around: what others wrote.
pub(crate) fn harmless(text: &str) -> String {
    let is_harmless = |character: &char| {
        matches!(character, '\n' | '\t') || !character.is_control() && !is_unseen(*character)
    };
    text.chars().filter(is_harmless).collect()
}

/// Marks that have no width, or change the direction of what is beside them.
const fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// The same on one line of at most so many characters.
pub(crate) fn one_line(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    let mut last_blank = true;
    let seen = text.chars().filter(|character| !is_unseen(*character));
    for (count, character) in seen.enumerate() {
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
    fn lines_of_others_stay_lines_and_nothing_more() {
        assert_eq!(harmless("a\tb\nc"), "a\tb\nc");
        assert_eq!(harmless("\x1b]0;x\x07\r\u{9b}2Jü\u{202e}界"), "]0;x2Jü界");
    }

    #[test]
    fn a_line_is_one_line_and_no_order_to_a_terminal() {
        assert_eq!(one_line(" a\n\tb\x1b[2J c ", 80), "a b [2J c");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("abc", 3), "abc");
        assert_eq!(one_line("a\u{202e}b\u{200b}c", 3), "abc");
    }
}

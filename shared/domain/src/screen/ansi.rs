//! The emulator's own dump in the words that every terminal understands: not all of them repeat a
//! character, take colours with colons, or set tabulators as the dump does. And blanks behind the end
//! of a row are not written: a terminal that breaks rows anew when it is resized would take them for
//! text.

use unicode_width::UnicodeWidthChar;

const CSI: &str = "\x1b[";
const NEXT_ROW: &str = "\r\n";

/// The dump of a terminal with so many columns, in plain words.
pub(super) fn plain(dump: &str, cols: usize) -> String {
    let mut writer = Writer {
        out: String::with_capacity(dump.len()),
        pen: Pen::default(),
        cols,
        width: 0,
    };
    let mut rest = dump;
    while let Some(at) = rest.find(CSI) {
        let (text, sequence) = rest.split_at(at);
        writer.text(text);
        let body = &sequence[CSI.len()..];
        let Some(end) = body.find(|character| ('@'..='~').contains(&character)) else {
            rest = sequence;
            break;
        };
        let (parameters, after) = body.split_at(end);
        writer.sequence(parameters, &after[..1]);
        rest = &after[1..];
    }
    writer.text(rest);
    writer.out
}

struct Writer {
    out: String,
    pen: Pen,
    cols: usize,
    /// Columns that were written since the row began, or since the first of several rows that are
    /// one line.
    width: usize,
}

impl Writer {
    fn text(&mut self, text: &str) {
        let mut rows = text.split(NEXT_ROW);
        self.part(rows.next().unwrap_or_default());
        for row in rows {
            self.end_row();
            self.out.push_str(NEXT_ROW);
            self.part(row);
        }
    }

    fn part(&mut self, text: &str) {
        self.out.push_str(text);
        self.width += text.chars().map(width).sum::<usize>();
    }

    /// Drops the blanks at the end of the row; of one that goes on where another was full, all but
    /// one.
    fn end_row(&mut self) {
        let most = if self.width > self.cols {
            self.cols - 1
        } else {
            self.cols
        };
        if self.pen == Pen::default() {
            let blanks = self.out.len() - self.out.trim_end_matches(' ').len();
            self.out.truncate(self.out.len() - blanks.min(most));
        }
        self.width = 0;
    }

    fn sequence(&mut self, parameters: &str, last: &str) {
        if last == "b" {
            let repeated = self.out.chars().next_back().unwrap_or(' ');
            let count = parameters.parse().unwrap_or(0);
            self.out.extend(std::iter::repeat_n(repeated, count));
            self.width += count * width(repeated);
            return;
        }
        if last != "m" {
            // What is not about the pen comes behind the last row.
            self.end_row();
        }
        match (last, parameters) {
            ("W", "5") => self.out.push_str("\x1b[3g"),
            ("W", "0") => self.out.push_str("\x1bH"),
            ("m", colours) => {
                colours
                    .split(';')
                    .for_each(|colour| self.pen.change(colour));
                self.put(&colours.replace(':', ";"), last);
            }
            _ => self.put(parameters, last),
        }
    }

    fn put(&mut self, parameters: &str, last: &str) {
        self.out.extend([CSI, parameters, last]);
    }
}

fn width(character: char) -> usize {
    character.width().unwrap_or(0).max(1)
}

/// In what a character differs from plain text: a bit for each of its attributes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pen(u16);

impl Pen {
    const FOREGROUND: u16 = 1 << 10;
    const BACKGROUND: u16 = 1 << 11;

    /// As a parameter of the sequence says, of those that the dump has.
    fn change(&mut self, parameter: &str) {
        let code = parameter.split(':').next().unwrap_or_default();
        match code.parse::<u16>().unwrap_or_default() {
            0 => self.0 = 0,
            // Both of these are off with 22.
            1 | 2 => self.0 |= 1 << 2,
            on @ 3..=9 => self.0 |= 1 << on,
            off @ 22..=29 => self.0 &= !(1 << (off - 20)),
            30..=38 | 90..=97 => self.0 |= Self::FOREGROUND,
            39 => self.0 &= !Self::FOREGROUND,
            40..=48 | 100..=107 => self.0 |= Self::BACKGROUND,
            49 => self.0 &= !Self::BACKGROUND,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_behind_a_row_go_unless_they_are_seen() {
        assert_eq!(plain("a \x1b[8b\r\nb c   ", 12), "a\r\nb c   ");
        assert_eq!(plain("a  \x1b[0m  \x1b[2;3H", 12), "a  \x1b[0m\x1b[2;3H");
        // Blanks of a colour, and blanks that are underlined.
        for pen in ["44", "7", "4", "48:5:200", "1;38:2:1:2:3"] {
            let colour = pen.replace(':', ";");
            let dump = format!("\x1b[{pen}m  \r\n\x1b[22;24;27;39;49m  \r\n");
            let expected = format!("\x1b[{colour}m  \r\n\x1b[22;24;27;39;49m\r\n");
            assert_eq!(plain(&dump, 12), expected);
        }
    }

    #[test]
    fn a_row_that_goes_on_in_the_next_one_stays_full() {
        assert_eq!(plain("    \x1b[4b\r\nx", 4), "     \r\nx");
        assert_eq!(plain("ab\u{754c}c   \r\nx", 4), "ab\u{754c}c\r\nx");
    }
}

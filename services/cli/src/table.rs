//! Tables, for people.

use std::io::{self, Write};

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr as _;

use crate::style::{Style, one_line};

/// Between two columns.
const GAP: usize = 2;
/// A cell that is longer tells no more.
const CELL_MAX_CHARS: usize = 120;

/// Rows below a head; every row has as many cells.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    head: [&'static str; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// Without rows yet.
    pub(crate) const fn new(head: [&'static str; COLUMNS]) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.map(|cell| {
            let cell = one_line(&cell, CELL_MAX_CHARS);
            if cell.is_empty() {
                "-".to_owned()
            } else {
                cell
            }
        }));
    }

    /// As text.
    pub(crate) fn text(&self, style: Style) -> String {
        let mut widths = self.head.map(str::len);
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(widths).map(|(cell, width)| {
                let blanks = width - cell.width().min(width) + GAP;
                format!("{cell}{}", " ".repeat(blanks))
            });
            padded.collect::<String>().trim_end().to_owned()
        };
        let mut text = style.bold(&line(&self.head.map(str::to_owned)));
        for row in &self.rows {
            text.push('\n');
            text += &line(row);
        }
        text.push('\n');
        text
    }

    /// Prints it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout();
        let text = self.text(Style::of(&out));
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// How long ago: `12s`, `5m`, `3h`, `2d`.
pub(crate) fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(at.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.add(["界界界".to_owned(), "ok".to_owned()]);
        table.add([String::new(), "a\nb".to_owned()]);
        assert_eq!(
            table.text(Style::PLAIN),
            "NAME    STATE\n界界界  ok\n-       a b\n"
        );
    }

    #[test]
    fn ages_have_one_unit() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let ages = [0, 59, 60, 3599, 3600, 86_399, 86_400, -5];
        let ages = ages.map(|second| age(at(1_000_000), at(1_000_000 + second)));
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "0s"]);
    }
}

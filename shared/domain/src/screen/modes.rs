//! What a program has said about input: which keys, clicks and pastes are told to it, and how. The
//! screen does not show it, but who comes back and types must know it.

/// The private modes that only matter for input: where clicks are told and how (9 and 1000 to 1016),
/// whether a window's focus is, and whether a paste is marked (2004).
const KEPT: [u16; 11] = [
    9, 1000, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016, 2004,
];
const CSI: [&str; 2] = ["\x1b[", "\u{9b}"];

/// The modes that are on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Modes {
    /// Those of [`KEPT`].
    private: [bool; KEPT.len()],
    /// The keypad sends other codes.
    keypad: bool,
    /// The shape of the cursor: the sequence's parameter.
    cursor_shape: Option<u8>,
}

impl Modes {
    /// Takes in a whole sequence.
    pub(super) fn note(&mut self, sequence: &str) {
        match sequence {
            "\x1b=" => self.keypad = true,
            "\x1b>" => self.keypad = false,
            // A reset, hard or soft.
            "\x1bc" | "\x1b[!p" => *self = Self::default(),
            _ => self.note_parameters(sequence),
        }
    }

    fn note_parameters(&mut self, sequence: &str) {
        let Some(rest) = CSI.iter().find_map(|csi| sequence.strip_prefix(csi)) else {
            return;
        };
        if let Some(shape) = rest.strip_suffix(" q") {
            self.cursor_shape = shape.parse().ok();
            return;
        }
        let Some(modes) = rest.strip_prefix('?') else {
            return;
        };
        let (modes, is_on) = match (modes.strip_suffix('h'), modes.strip_suffix('l')) {
            (Some(modes), _) => (modes, true),
            (None, Some(modes)) => (modes, false),
            (None, None) => return,
        };
        for mode in modes.split(';').filter_map(|mode| mode.parse::<u16>().ok()) {
            if let Some(at) = KEPT.iter().position(|kept| *kept == mode) {
                self.private[at] = is_on;
            }
        }
    }

    /// Writes what turns them on in a terminal that has been reset.
    pub(super) fn write(&self, out: &mut String) {
        for (mode, is_on) in KEPT.iter().zip(self.private) {
            if is_on {
                out.push_str(&format!("\x1b[?{mode}h"));
            }
        }
        if self.keypad {
            out.push_str("\x1b=");
        }
        if let Some(shape) = self.cursor_shape {
            out.push_str(&format!("\x1b[{shape} q"));
        }
    }
}

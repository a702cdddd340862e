//! Screens that were drawn, so that who asks again waits only for what has come since.
//!
//! Invariant: together they have at most [`CELLS_MAX`] cells. Whoever draws on takes the screen out,
//! and puts it back when nothing further has been put there meanwhile.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdev_contract::id::ExecId;
use rdev_contract::position::EventNo;
use rdev_domain::screen::Screen;

/// Two hundred terminals of 120 by 40, or one of the largest: with its second buffer, a cell takes
/// 32 bytes, so this is 32 MiB.
const CELLS_MAX: usize = 1_000_000;

/// What was drawn, the least recently used first.
#[derive(Debug, Default)]
pub(super) struct Drawn(Mutex<VecDeque<(ExecId, Screen)>>);

impl Drawn {
    /// Takes out the screen of this exec, if it does not include more than the event `until`.
    pub(super) fn take(&self, exec: &ExecId, until: EventNo) -> Option<Screen> {
        let mut screens = self.screens();
        let at = screens.iter().position(|(of, _)| of == exec)?;
        if screens[at].1.through().1 > until {
            return None;
        }
        screens.remove(at).map(|(_, screen)| screen)
    }

    /// Keeps a screen, as long as there is room.
    pub(super) fn keep(&self, exec: ExecId, screen: Screen) {
        let mut screens = self.screens();
        if let Some(at) = screens.iter().position(|(of, _)| *of == exec) {
            if screens[at].1.through() > screen.through() {
                return;
            }
            screens.remove(at);
        }
        screens.push_back((exec, screen));
        let mut cells: usize = screens.iter().map(|(_, screen)| cells(screen)).sum();
        while cells > CELLS_MAX
            && let Some((_, oldest)) = screens.pop_front()
        {
            cells -= self::cells(&oldest);
        }
    }

    fn screens(&self) -> MutexGuard<'_, VecDeque<(ExecId, Screen)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cells(screen: &Screen) -> usize {
    let size = screen.size();
    usize::from(size.cols) * usize::from(size.rows)
}

#[cfg(test)]
mod tests {
    use rdev_contract::event::TerminalSize;

    use super::*;

    fn exec(number: usize) -> ExecId {
        ExecId {
            project: "demo".parse().unwrap(),
            session: rdev_contract::id::SessionId::new(uuid::Uuid::nil()),
            stream: format!("s{number}").parse().unwrap(),
        }
    }

    fn screen(cols: u16, rows: u16) -> Screen {
        Screen::new(TerminalSize { cols, rows })
    }

    fn known(drawn: &Drawn) -> Vec<usize> {
        let screens = drawn.screens();
        let known = screens
            .iter()
            .map(|(exec, _)| exec.stream.as_str()[1..].parse());
        known.map(Result::unwrap).collect()
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let drawn = Drawn::default();
        for number in 0..4 {
            drawn.keep(exec(number), screen(500, 500));
        }
        assert_eq!(known(&drawn), [0, 1, 2, 3]);
        let used = drawn.take(&exec(0), EventNo(0)).unwrap();
        drawn.keep(exec(0), used);
        drawn.keep(exec(4), screen(1, 1));
        assert_eq!(known(&drawn), [2, 3, 0, 4]);
        drawn.keep(exec(5), screen(1000, 1000));
        assert_eq!(known(&drawn), [5]);
        drawn.keep(exec(5), screen(1000, 1000));
        assert_eq!(known(&drawn), [5], "an exec has one screen");
        assert!(drawn.take(&exec(9), EventNo(0)).is_none());
    }
}

//! From the pod to the log: an executor reads the journal and makes events of it.

use std::time::Duration;

use rdev_contract::event::{Complete, Outcome};
use rdev_contract::id::ConversationId;
use rdev_contract::position::Offsets;
use rdev_domain::exec::ExecState;
use rdev_domain::run::{Format, Run};
use uuid::Uuid;

use crate::executor::{Around, Work};
use crate::pod::{Follower, Heard};

/// A claimed exec of which output is read.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) run: Run,
    pub(crate) follower: Option<Follower>,
    pub(crate) last: Option<Complete>,
    /// Up to where the output is in the log.
    pub(crate) to: Offsets,
}

impl Pump {
    pub(crate) fn read(&mut self, around: &mut Around<'_>) -> Work {
        if around.dice.one_in(4) {
            self.run.flush_partials(Duration::from_secs(3600));
        }
        if self.follower.is_none() {
            self.follower = around.pod.follow(self.run.received());
        }
        let Some(follower) = &mut self.follower else {
            self.lose();
            return Work::GoesOn;
        };
        match around.pod.read(follower, around.dice) {
            Heard::Nothing => {}
            Heard::Lost => self.lose(),
            Heard::Output(stream, offset, bytes) => {
                let fed = self.run.feed(stream, offset, &bytes, Duration::ZERO);
                if fed.is_err() {
                    return Work::Dropped;
                }
            }
            Heard::End(end) if end.totals == self.run.received() => {
                self.run.finish();
                self.last = Some(self.run.complete(&end, ConversationId::new(Uuid::nil())));
            }
            Heard::End(_) => return Work::Dropped,
        }
        Work::GoesOn
    }

    fn lose(&mut self) {
        self.run.finish();
        self.last = Some(Complete::without_process(Outcome::Lost, "gone"));
    }
}

/// Launches or follows the claimed command.
pub(crate) fn reach(state: &ExecState, around: &mut Around<'_>) -> Pump {
    // Once something was logged of it there must be something to follow.
    let follower = match state.may_launch() {
        true => around.pod.launch(state.to),
        false => around.pod.follow(state.to),
    };
    let mut pump = Pump {
        run: Run::new(Format::of(&state.command.spec), state.to, state.next),
        follower,
        last: None,
        to: state.to,
    };
    if pump.follower.is_none() {
        pump.lose();
    }
    pump
}

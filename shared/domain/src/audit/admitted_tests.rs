//! Execs that waited for their turn.

use rdev_contract::event::{Admitted, Kind, OutputStream};

use super::super::Problem;
use super::{Log, first};

impl Log {
    fn admit(&mut self) {
        let (claim, attempt) = (self.claim.take(), std::mem::take(&mut self.attempt));
        let admitted = Admitted {
            command_seq: self.held[0].sequence,
            scheduler: "e".to_owned(),
        };
        self.fact(Kind::Admitted, &admitted);
        (self.claim, self.attempt) = (claim, attempt);
    }
}

#[test]
fn an_exec_is_admitted_once_and_by_nobody_who_claims() {
    let mut log = Log::shell();
    log.admit();
    log.claim();
    log.print(&[("one", OutputStream::Stdout)]);
    let ended = {
        let mut log = log.clone();
        log.end();
        log
    };
    assert_eq!(ended.audit().differences, []);
    // As an upgrade does it: behind a claim of an executor that knew no scheduler.
    let mut upgraded = Log::shell();
    upgraded.claim();
    upgraded.print(&[("one", OutputStream::Stdout)]);
    upgraded.admit();
    upgraded.claim();
    upgraded.print(&[("two", OutputStream::Stdout)]);
    upgraded.end();
    assert_eq!(upgraded.audit().differences, []);

    let mut twice = log.clone();
    twice.admit();
    assert_eq!(first(&twice.audit()).0, Problem::Claim);
    let mut claimed = Log::shell();
    claimed.claim();
    let admitted = Admitted {
        command_seq: claimed.held[0].sequence,
        scheduler: "e".to_owned(),
    };
    claimed.fact(Kind::Admitted, &admitted);
    assert_eq!(first(&claimed.audit()).0, Problem::Claim);
}

//! Subjects, as consumers get them from NATS, and ids, as paths bring them.

use rdev_contract::event::Kind;
use rdev_contract::id::{DnsLabel, PodName, ProjectId, StreamId};
use rdev_contract::subject::{Filter, Subject, parse_exec};

pub(crate) const SEEDS: &[&[u8]] = &[
    b"rdev.exec.demo.01935bd0-7a3c-7000-8000-5f1e2d3c4b5a.session-1.output",
    b"rdev.live.demo.01935bd0-7a3c-7000-8000-5f1e2d3c4b5a.a_B-9.complete",
    b"rdev.exec.demo.*.>.command",
    b"demo",
    b"pod-0.pods.svc",
];

/// Tokens before the kind in the subject of an exec.
const EXEC_TOKENS: usize = 5;

/// No id can reshape a subject or a path, and what is read as an exec's subject is that exec's.
pub fn subject(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok((exec, kind)) = parse_exec(text) {
        let own = Subject::exec(&exec, Kind::Output);
        let own = own.as_str().trim_end_matches(Kind::Output.token());
        let read = text.replacen("rdev.live.", "rdev.exec.", 1);
        assert_eq!(read, format!("{own}{kind}"));
        let filter = Filter::exec(&exec);
        assert_eq!(filter.as_str().split('.').count(), EXEC_TOKENS + 1);
        assert!(!filter.as_str().contains('*'), "{filter}");
    }
    let is_plain = |id: &str| !id.contains(['.', '*', '>', '/', '\\', '%', '\r', '\n', '\0', ' ']);
    if text.parse::<ProjectId>().is_ok() || text.parse::<StreamId>().is_ok() {
        assert!(is_plain(text), "{text:?}");
    }
    if text.parse::<DnsLabel>().is_ok() {
        assert!(is_plain(text), "{text:?}");
    }
    if text.parse::<PodName>().is_ok() {
        assert!(text.split('.').all(is_plain), "{text:?}");
        assert!(text.split('.').all(|label| !label.is_empty()), "{text:?}");
    }
}

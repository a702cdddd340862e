//! Ids, subjects and cursors: what is one is read back as it was, what is none is refused, and no
//! id reshapes what it is put into.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashSet;

use proptest::prelude::*;
use rdev_contract::cursor::{CURSOR_MAX_BYTES, Cursor, InvalidCursor};
use rdev_contract::event::Kind;
use rdev_contract::id::{
    AgentSessionId, DNS_LABEL_MAX_BYTES, DnsLabel, ExecId, POD_NAME_MAX_BYTES, PodName, ProjectId,
    STREAM_ID_MAX_BYTES, SessionId, StreamId,
};
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_contract::session::SessionKind;
use rdev_contract::subject::{Filter, Subject, parse_exec};
use uuid::Uuid;

const SESSION: &str = "01935bd0-7a3c-7000-8000-5f1e2d3c4b5a";

fn exec(stream: &str) -> ExecId {
    ExecId {
        project: "demo".parse().unwrap(),
        session: SESSION.parse().unwrap(),
        stream: stream.parse().unwrap(),
    }
}

#[test]
fn ids_at_below_and_above_their_lengths() {
    let text = |bytes| "a".repeat(bytes);
    assert!(text(STREAM_ID_MAX_BYTES).parse::<StreamId>().is_ok());
    assert!(text(STREAM_ID_MAX_BYTES + 1).parse::<StreamId>().is_err());
    assert!(text(DNS_LABEL_MAX_BYTES).parse::<ProjectId>().is_ok());
    assert!(text(DNS_LABEL_MAX_BYTES + 1).parse::<ProjectId>().is_err());
    let pod = |bytes| format!("{}a", "a.".repeat((bytes - 1) / 2));
    assert!(pod(POD_NAME_MAX_BYTES).parse::<PodName>().is_ok());
    assert!(pod(POD_NAME_MAX_BYTES + 2).parse::<PodName>().is_err());
}

#[test]
fn what_could_reshape_a_subject_or_a_path_is_no_id() {
    let bad = [
        "",
        ".",
        "..",
        "a.b",
        "*",
        ">",
        "a*",
        "a>",
        "/",
        "../a",
        "a/b",
        "a b",
        " a",
        "a\n",
        "a\0",
        "é",
        "a\u{200b}",
    ];
    for text in bad {
        assert!(text.parse::<ProjectId>().is_err(), "{text:?}");
        assert!(text.parse::<StreamId>().is_err(), "{text:?}");
        assert!(text.parse::<SessionId>().is_err(), "{text:?}");
        assert!(text.parse::<DnsLabel>().is_err(), "{text:?}");
        let json = serde_json::to_string(text).unwrap();
        assert!(serde_json::from_str::<StreamId>(&json).is_err(), "{text:?}");
        assert!(
            serde_json::from_str::<SessionId>(&json).is_err(),
            "{text:?}"
        );
    }
    for text in ["A", "-a", "a-", "a_b"] {
        assert!(text.parse::<ProjectId>().is_err(), "{text:?}");
    }
    for text in ["a..b", ".a", "a.", "A.b", "a/b"] {
        assert!(text.parse::<PodName>().is_err(), "{text:?}");
    }
    for text in ["A_b-9", "-", "_"] {
        assert!(text.parse::<StreamId>().is_ok(), "{text:?}");
    }
}

#[test]
fn a_uuid_has_one_spelling() {
    assert_eq!(SESSION.parse::<SessionId>().unwrap().to_string(), SESSION);
    for other in [
        SESSION.to_uppercase(),
        SESSION.replace('-', ""),
        format!("{{{SESSION}}}"),
        format!("urn:uuid:{SESSION}"),
    ] {
        assert!(other.parse::<SessionId>().is_err(), "{other}");
    }
    assert!("--help".parse::<AgentSessionId>().is_err());
}

#[test]
fn derived_ids_are_stable() {
    let session: SessionId = SESSION.parse().unwrap();
    assert_eq!(session.conversation(), session.conversation());
    let project: ProjectId = "demo".parse().unwrap();
    let of = |key| StreamId::of_idempotency_key(&project, session, key);
    assert_eq!(of("k"), of("k"));
    assert_ne!(of("k"), of("l"));
    assert_eq!(
        of("../*.>").as_str().parse::<StreamId>().unwrap(),
        of("../*.>")
    );
    let generated = StreamId::generated(Uuid::nil());
    assert_eq!(
        generated.as_str(),
        "session-00000000-0000-0000-0000-000000000000"
    );
    // Stored in clients' cursors: it must not change.
    assert_eq!(exec("s-1").tag(), TAG_OF_S_1);
    assert_eq!(session.conversation().to_string(), CONVERSATION);
}

const TAG_OF_S_1: &str = "ae3a1bbf";
const CONVERSATION: &str = "c1bbaf85-1f29-51d3-8d36-c696315f2a63";

#[test]
fn subjects_are_as_documented() {
    let exec = exec("s-1");
    let expected = format!("rdev.exec.demo.{SESSION}.s-1.command");
    assert_eq!(Subject::exec(&exec, Kind::Command).as_str(), expected);
    let session = Subject::session(&exec.project, exec.session, SessionKind::Linked);
    assert_eq!(
        session.as_str(),
        format!("rdev.session.demo.{SESSION}.linked")
    );
    assert_eq!(
        Subject::control(&exec).as_str(),
        format!("rdev.control.demo.{SESSION}.s-1")
    );
    assert_eq!(
        Filter::ordered(&exec).as_str(),
        format!("rdev.ordered.demo.{SESSION}.s-1")
    );
    assert_eq!(
        Filter::exec(&exec).as_str(),
        format!("rdev.exec.demo.{SESSION}.s-1.>")
    );
    assert_eq!(
        Filter::live_exec(&exec).as_str(),
        format!("rdev.live.demo.{SESSION}.s-1.>")
    );
    assert_eq!(
        Filter::kind(Kind::Admitted).as_str(),
        "rdev.exec.*.*.*.admitted"
    );
    assert_eq!(
        Filter::kind(Kind::Complete).as_str(),
        "rdev.exec.*.*.*.complete"
    );
}

#[test]
fn subjects_of_anything_else_are_no_exec_subjects() {
    for subject in [
        "",
        "rdev.exec",
        "rdev.exec.",
        "rdev.exec.demo",
        "rdev.session.demo.x.created",
        "rdev.exec.demo.01935bd0-7a3c-7000-8000-5f1e2d3c4b5a.s-1",
        "rdev.exec.demo.01935bd0-7a3c-7000-8000-5f1e2d3c4b5a.s-1.output.more",
        "rdev.exec.demo.01935bd0-7a3c-7000-8000-5f1e2d3c4b5a.*.output",
        "rdev.exec.*.01935bd0-7a3c-7000-8000-5f1e2d3c4b5a.s-1.output",
        "rdev.exec.demo.no-uuid.s-1.output",
        "other.exec.demo.01935bd0-7a3c-7000-8000-5f1e2d3c4b5a.s-1.output",
    ] {
        assert!(parse_exec(subject).is_err(), "{subject}");
    }
}

#[test]
fn kinds_are_their_tokens() {
    for kind in Kind::ALL {
        assert_eq!(kind.token().parse::<Kind>(), Ok(kind));
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
    for kind in SessionKind::ALL {
        assert_eq!(kind.token().parse::<SessionKind>(), Ok(kind));
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
    assert!("Output".parse::<Kind>().is_err());
}

#[test]
fn cursors_that_are_none() {
    let max = u64::MAX;
    let tag = exec("s-1").tag();
    let fine = format!("{max}-{max}-{tag}");
    assert_eq!(fine.len(), CURSOR_MAX_BYTES);
    assert_eq!(fine.parse::<Cursor>().unwrap().to_string(), fine);
    let too_large = "18446744073709551616";
    for bad in [
        String::new(),
        "-".to_owned(),
        "-1".to_owned(),
        "1".to_owned(),
        "1-2".to_owned(),
        "--".to_owned(),
        too_large.to_owned(),
        format!("-1-2-{tag}"),
        format!("1--2-{tag}"),
        format!("+1-2-{tag}"),
        format!("01-2-{tag}"),
        format!("1-02-{tag}"),
        format!("{too_large}-1-{tag}"),
        format!("1-{too_large}-{tag}"),
        format!("1-2-{tag}-"),
        format!("1-2-{tag} "),
        format!(" 1-2-{tag}"),
        format!("1-2-{}", &tag[1..]),
        format!("1-2-{tag}0"),
        format!("1-2-{}", "ABCDEF01"),
        format!("1-2-{}", "0000000g"),
        format!("1-2-{}", "0é00000"),
        format!("1.0-2-{tag}"),
        format!("1e3-2-{tag}"),
        format!("1-2-{tag}\r\n"),
        format!("\u{661}-2-{tag}"),
        "1".repeat(8 * 1024),
        format!("{}1-2-{tag}", "0".repeat(8 * 1024)),
    ] {
        assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad:.60}");
    }
}

#[test]
fn a_cursor_says_whose_it_is() {
    let beginning = Cursor::beginning(&exec("s-1"));
    assert_eq!(beginning.to_string(), format!("0-0-{}", exec("s-1").tag()));
    assert_eq!(beginning.to_string().parse::<Cursor>(), Ok(beginning));
    let tags: HashSet<_> = (0..1000)
        .map(|index| exec(&format!("s-{index}")).tag())
        .collect();
    assert_eq!(tags.len(), 1000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_cursor_is_read_back(sequence in any::<u64>(), number in any::<u64>(), stream in "[A-Za-z0-9_-]{1,64}") {
        let cursor = Cursor {
            sequence: StreamSeq(sequence),
            number: EventNo(number),
            tag: exec(&stream).tag(),
        };
        prop_assert!(cursor.to_string().len() <= CURSOR_MAX_BYTES);
        prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
    }

    #[test]
    fn any_text_is_a_cursor_in_its_one_spelling_or_none(text in "[0-9a-f-]{0,24}|.{0,60}") {
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text);
        }
    }

    #[test]
    fn ids_are_read_back_from_text_and_json(
        project in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", stream in "[A-Za-z0-9_-]{1,64}", uuid in any::<u128>(),
    ) {
        let exec = ExecId {
            project: project.parse().unwrap(),
            session: SessionId::new(Uuid::from_u128(uuid)),
            stream: stream.parse().unwrap(),
        };
        prop_assert_eq!(exec.project.as_str(), &project);
        prop_assert_eq!(exec.session.to_string().parse(), Ok(exec.session));
        let json = serde_json::to_string(&exec).unwrap();
        prop_assert_eq!(serde_json::from_str::<ExecId>(&json).unwrap(), exec);
    }

    /// Whatever is accepted as an id is exactly one token of a subject, for every kind.
    #[test]
    fn no_id_reshapes_a_subject(project in ".{0,12}|[a-z.*>-]{1,9}", stream in ".{0,12}|[A-Za-z.*> _-]{1,9}") {
        let (Ok(project), Ok(stream)) = (project.parse::<ProjectId>(), stream.parse::<StreamId>()) else {
            return Ok(());
        };
        let exec = ExecId { project, session: SESSION.parse().unwrap(), stream };
        for kind in Kind::ALL {
            let subject = Subject::exec(&exec, kind);
            prop_assert_eq!(subject.as_str().split('.').count(), 6);
            prop_assert!(!subject.as_str().contains(['*', '>', ' ']));
            prop_assert_eq!(parse_exec(subject.as_str()), Ok((exec.clone(), kind.token())));
            let live = subject.as_str().replacen("rdev.exec.", "rdev.live.", 1);
            prop_assert_eq!(parse_exec(&live), Ok((exec.clone(), kind.token())));
        }
    }
}

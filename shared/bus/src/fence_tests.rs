//! The four verdicts on a publish that was not acknowledged.

use rdev_contract::envelope::Body;
use rdev_contract::event::Kind;

use super::*;

const PREV: StreamSeq = StreamSeq(40);

fn claim(number: u128) -> Option<ClaimId> {
    let text = format!("00000000-0000-4000-8000-{number:012x}");
    Some(text.parse().expect("a claim id"))
}

fn chain(text: &str) -> Chain {
    serde_json::from_value(text.into()).expect("a chain value")
}

fn payload(claim: Option<ClaimId>, prev: StreamSeq, at: &str, previous: &Chain) -> Bytes {
    let session = "0192f0c1-2345-7abc-8def-0123456789ab";
    let head = Head {
        v: PAYLOAD_VERSION,
        project: "demo".parse().expect("a project id"),
        session: session.parse().expect("a session id"),
        stream: "exec".parse().expect("a stream id"),
        kind: Kind::Resumed.token().to_owned(),
        claim,
        attempt: 2,
        first: None,
        at: at.parse().expect("a time"),
        to: None,
        prev,
    };
    let data = serde_json::value::to_raw_value(&serde_json::json!({})).expect("JSON");
    let encoded = encode(&head, &Body::Data(&data), previous).expect("a payload");
    encoded.payload.into()
}

const NOW: &str = "2026-11-22T06:21:00Z";

fn sent(follows_own: bool) -> Attempt {
    Attempt {
        payload: payload(claim(1), PREV, NOW, &chain("aa")),
        expected: PREV,
        chain: Chain::default(),
        claim: claim(1),
        follows_own,
    }
}

fn tail(sequence: u64, payload: &Bytes) -> Option<Recorded<&[u8]>> {
    Some(Recorded {
        sequence: StreamSeq(sequence),
        value: payload,
    })
}

fn fenced(tail: u64) -> Verdict {
    let tail = StreamSeq(tail);
    Verdict::Over(AppendError::Fenced { tail })
}

#[test]
fn what_was_sent_is_stored() {
    let sent = sent(true);
    let tail = tail(41, &sent.payload);
    assert_eq!(sent.verdict(tail), Verdict::Stored(StreamSeq(41)));
}

#[test]
fn what_was_there_before_means_again() {
    let before = payload(claim(2), StreamSeq(39), NOW, &chain("bb"));
    let tail = tail(40, &before);
    assert_eq!(sent(false).verdict(tail.clone()), Verdict::SendAgain);
    assert_eq!(sent(true).verdict(tail), Verdict::SendAgain);
}

#[test]
fn anything_else_behind_it_is_a_fence() {
    let foreign = payload(claim(2), PREV, NOW, &chain("aa"));
    let foreign = tail(41, &foreign);
    assert_eq!(sent(true).verdict(foreign), fenced(41));
    let other_time = payload(claim(1), PREV, "2026-11-22T06:21:01Z", &chain("aa"));
    assert_eq!(sent(true).verdict(tail(41, &other_time)), fenced(41));
    let unreadable = Bytes::from_static(b"not JSON");
    let unreadable = tail(41, &unreadable);
    assert_eq!(sent(true).verdict(unreadable), fenced(41));
}

#[test]
fn a_lower_tail_of_ours_is_continued_and_linked_to() {
    let ours = payload(claim(1), StreamSeq(20), NOW, &chain("cc"));
    let value = Message::decode(&ours).expect("a message").chain;
    let sequence = StreamSeq(30);
    let again = Verdict::SendAgainAfter(Recorded { sequence, value });
    assert_eq!(sent(true).verdict(tail(30, &ours)), again);
}

#[test]
fn a_lower_tail_of_another_claim_is_continued_by_a_claim_only() {
    let foreign = payload(claim(2), StreamSeq(20), NOW, &chain("cc"));
    let foreign = tail(30, &foreign);
    let first = sent(false).verdict(foreign.clone());
    assert!(matches!(first, Verdict::SendAgainAfter(tail) if tail.sequence == StreamSeq(30)));
    assert_eq!(sent(true).verdict(foreign), fenced(30));
    let unreadable = Bytes::from_static(b"not JSON");
    let unreadable = tail(30, &unreadable);
    assert_eq!(sent(true).verdict(unreadable), fenced(30));
}

#[test]
fn nothing_at_all_is_the_end() {
    let vanished = Verdict::Over(AppendError::Vanished);
    assert_eq!(sent(true).verdict(None), vanished);
}

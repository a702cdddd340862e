//! What a request's words mean.

use axum::http::HeaderValue;
use rdev_contract::id::ExecId;

use super::*;

fn exec_id() -> ExecId {
    ExecId {
        project: "demo".parse().unwrap(),
        session: "0192f0c1-0000-7000-8000-000000000001".parse().unwrap(),
        stream: "one".parse().unwrap(),
    }
}

fn session() -> Scope {
    let exec = exec_id();
    Scope::Session(exec.project, exec.session)
}

fn header(name: &'static str, value: &[u8]) -> HeaderMap {
    HeaderMap::from_iter([(
        header::HeaderName::from_static(name),
        HeaderValue::from_bytes(value).unwrap(),
    )])
}

fn reader(headers: &HeaderMap, last_event_id: Option<&str>) -> Result<Reader, &'static str> {
    let options = EventsOptions {
        last_event_id: last_event_id.map(str::to_owned),
        ..EventsOptions::default()
    };
    Reader::new(Scope::Exec(exec_id()), &options, headers).map_err(|error| error.code())
}

fn cursor_of(headers: &HeaderMap, last_event_id: Option<&str>) -> Option<String> {
    let cursor = reader(headers, last_event_id).unwrap().cursor;
    cursor.map(|cursor| cursor.to_string())
}

#[test]
fn the_header_wins_and_empty_is_none() {
    let tag = exec_id().tag();
    let (seven, nine) = (format!("7-7-{tag}"), format!("9-9-{tag}"));
    let found = cursor_of(&header(LAST_EVENT_ID, seven.as_bytes()), Some(&nine));
    assert_eq!(found, Some(seven));
    assert_eq!(
        cursor_of(&header(LAST_EVENT_ID, b""), Some(&nine)),
        Some(nine)
    );
    assert_eq!(cursor_of(&header(LAST_EVENT_ID, b""), Some("")), None);
    assert_eq!(cursor_of(&HeaderMap::new(), None), None);
}

#[test]
fn what_is_no_cursor_of_this_exec_is_refused() {
    let tag = exec_id().tag();
    let long = "1".repeat(8192);
    let malformed = [
        "-1",
        "1",
        "1-1",
        "x-1-00000000",
        "18446744073709551616-1-00000000",
        &long,
        &format!("01-1-{tag}"),
        &format!("1-1-{tag}-"),
        &format!("+1-1-{tag}"),
    ];
    for text in malformed {
        let refused = reader(&HeaderMap::new(), Some(text)).unwrap_err();
        assert_eq!(refused, "invalid_event_id", "{text}");
    }
    let refused = reader(&header(LAST_EVENT_ID, b"\xFF"), None).unwrap_err();
    assert_eq!(refused, "invalid_event_id");
    let other = reader(&HeaderMap::new(), Some("1-1-00000000")).unwrap_err();
    assert_eq!(other, "event_id_of_another_exec");
}

#[test]
fn the_form_is_asked_for_by_accept() {
    let answer = |accept: &'static str| {
        let headers = header("accept", accept.as_bytes());
        let reader = reader(&headers, None).unwrap();
        (reader.answer, reader.strict)
    };
    let wait = Duration::ZERO;
    assert_eq!(answer("application/json"), (Answer::Poll { wait }, true));
    assert_eq!(answer("application/x-ndjson"), (Answer::Lines, false));
    let several = "text/event-stream, application/json";
    assert_eq!(answer(several), (Answer::Stream, false));
    assert_eq!(answer("*/*"), (Answer::Stream, false));
    let none = reader(&HeaderMap::new(), None).unwrap();
    assert_eq!(none.answer, Answer::Stream);
}

#[test]
fn limits_are_told() {
    let ask = |scope: Scope, tail, wait| {
        let options = EventsOptions {
            tail,
            wait,
            ..EventsOptions::default()
        };
        let reader = Reader::new(scope, &options, &HeaderMap::new());
        reader
            .map(|reader| reader.tail)
            .map_err(|error| error.code())
    };
    let exec = || Scope::Exec(exec_id());
    assert_eq!(ask(exec(), Some(0), None), Ok(Some(0)));
    assert_eq!(ask(exec(), Some(TAIL_MAX_EVENTS), None), Ok(Some(1_000)));
    let too_many = ask(exec(), Some(TAIL_MAX_EVENTS + 1), None);
    assert_eq!(too_many, Err("invalid_query"));
    assert_eq!(ask(session(), Some(0), None), Ok(Some(0)));
    assert_eq!(ask(session(), Some(1), None), Err("invalid_query"));
    assert_eq!(ask(exec(), None, Some(WAIT_MAX_SECONDS)), Ok(None));
    let too_long = ask(exec(), None, Some(WAIT_MAX_SECONDS + 1));
    assert_eq!(too_long, Err("invalid_query"));
}

#[test]
fn a_session_begins_at_an_id_of_its_own() {
    let reader = Reader::new(session(), &EventsOptions::default(), &HeaderMap::new()).unwrap();
    assert!(reader.style.with_stream);
    let beginning = reader.beginning();
    assert_eq!(beginning.sequence, StreamSeq(0));
    assert_ne!(beginning.tag, exec_id().tag());
}

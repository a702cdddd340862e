//! Properties of the codec: whatever is written comes back, however the bytes are split.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rdev_frames::journal::{self, Frame, Step};
use rdev_frames::{
    Acknowledged, Chunk, End, ExecState, Exit, FrameError, Offsets, Overflow, RefusalCode, Reply,
    Request, Resize, Spec, StopStep, Stream, TerminalSize,
};

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn offsets() -> impl Strategy<Value = Offsets> {
    any::<(u64, u64, u64)>().prop_map(|(stdout, stderr, resizes)| Offsets {
        stdout,
        stderr,
        resizes,
    })
}

fn acknowledged() -> impl Strategy<Value = Acknowledged> {
    (offsets(), any::<u64>()).prop_map(|(offsets, next_event_number)| Acknowledged {
        offsets,
        next_event_number,
    })
}

fn stream() -> impl Strategy<Value = Stream> {
    prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)]
}

fn chunk() -> impl Strategy<Value = Chunk> {
    (stream(), any::<u64>(), any::<u64>(), bytes()).prop_map(
        |(stream, offset, time_micros, bytes)| Chunk {
            stream,
            offset,
            time_micros,
            bytes,
        },
    )
}

fn size() -> impl Strategy<Value = TerminalSize> {
    any::<(u16, u16)>().prop_map(|(columns, rows)| TerminalSize { columns, rows })
}

fn resize() -> impl Strategy<Value = Resize> {
    (any::<(u64, u64, u64)>(), size()).prop_map(|((number, offset, time_micros), size)| Resize {
        number,
        offset,
        time_micros,
        size,
    })
}

fn spec() -> impl Strategy<Value = Box<Spec>> {
    let env = btree_map(".{0,8}", ".{0,8}", 0..3);
    let stop = vec(any::<(i32, u64)>(), 0..3);
    let overflow = prop_oneof![Just(Overflow::Backpressure), Just(Overflow::Terminate)];
    (
        (
            vec(".{0,20}", 0..4),
            env,
            proptest::option::of(".{0,20}"),
            bytes(),
        ),
        (
            any::<(bool, bool)>(),
            proptest::option::of(size()),
            any::<(Option<u64>, Option<u64>)>(),
            stop,
            overflow,
            any::<u64>(),
        ),
    )
        .prop_map(|((argv, env, cwd, stdin), rest)| {
            let ((stdin_open, merge), terminal, timeouts, stop, overflow, journal_max_bytes) = rest;
            let (timeout_ms, idle_timeout_ms) = timeouts;
            let env: BTreeMap<String, String> = env;
            let stop = stop
                .into_iter()
                .map(|(signal, wait_ms)| StopStep { signal, wait_ms })
                .collect();
            Box::new(Spec {
                argv,
                env,
                cwd,
                stdin,
                stdin_open,
                merge,
                terminal,
                timeout_ms,
                idle_timeout_ms,
                stop,
                overflow,
                journal_max_bytes,
            })
        })
}

fn end() -> impl Strategy<Value = End> {
    let exit = prop_oneof![
        any::<i32>().prop_map(Exit::Code),
        any::<i32>().prop_map(Exit::Signal)
    ];
    let text = || proptest::option::of(".{0,20}");
    (
        (exit, any::<[bool; 4]>(), text(), text()),
        any::<(u64, u64, u64)>(),
        ".{0,64}",
    )
        .prop_map(|((exit, flags, spawn_error, error), numbers, hash)| End {
            exit,
            timed_out: flags[0],
            was_idle: flags[1],
            canceled: flags[2],
            has_survivors: flags[3],
            spawn_error,
            error,
            stdout_bytes: numbers.0,
            stderr_bytes: numbers.1,
            stdout_sha256: hash.clone(),
            stderr_sha256: hash,
            duration_ms: numbers.2,
        })
}

fn request() -> impl Strategy<Value = Request> {
    let tag = any::<u32>;
    let key = || "[a-z/0-9]{0,40}";
    prop_oneof![
        (tag(), key(), ".{0,9}", spec(), offsets(), any::<u64>()).prop_map(
            |(tag, key, instance, spec, from, window_bytes)| {
                Request::Launch {
                    tag,
                    key,
                    instance,
                    spec,
                    from,
                    window_bytes,
                }
            }
        ),
        (tag(), key(), ".{0,9}", offsets(), any::<u64>()).prop_map(
            |(tag, key, instance, from, window_bytes)| {
                Request::Follow {
                    tag,
                    key,
                    instance,
                    from,
                    window_bytes,
                }
            }
        ),
        (tag(), acknowledged())
            .prop_map(|(tag, acknowledged)| Request::Acknowledge { tag, acknowledged }),
        tag().prop_map(|tag| Request::Release { tag }),
        (tag(), any::<u64>(), any::<i32>()).prop_map(|(tag, control_seq, signal)| {
            Request::Signal {
                tag,
                control_seq,
                signal,
            }
        }),
        (tag(), any::<u64>()).prop_map(|(tag, control_seq)| Request::Cancel { tag, control_seq }),
        (tag(), any::<u64>(), bytes(), any::<bool>()).prop_map(|(tag, offset, bytes, end)| {
            Request::Stdin {
                tag,
                offset,
                bytes,
                end,
            }
        }),
        (tag(), any::<u64>(), size()).prop_map(|(tag, control_seq, size)| Request::Resize {
            tag,
            control_seq,
            size
        }),
        key().prop_map(|key| Request::Status { key }),
        key().prop_map(|key| Request::Collect { key }),
        any::<u64>().prop_map(|number| Request::Ping { number }),
    ]
}

fn code() -> impl Strategy<Value = RefusalCode> {
    prop_oneof![
        Just(RefusalCode::WrongInstance),
        Just(RefusalCode::NoClaim),
        Just(RefusalCode::Collected),
        Just(RefusalCode::Gone),
        Just(RefusalCode::Invalid),
        Just(RefusalCode::Failed),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let tag = any::<u32>;
    let text = || ".{0,30}";
    prop_oneof![
        (any::<(u32, bool)>(), text(), text()).prop_map(
            |((protocol, terminals), instance, shim)| Reply::Hello {
                protocol,
                instance,
                shim,
                terminals
            }
        ),
        (tag(), any::<bool>(), acknowledged(), any::<u32>()).prop_map(
            |(tag, existing, acknowledged, pid)| Reply::Accepted {
                tag,
                existing,
                acknowledged,
                pid
            }
        ),
        (tag(), chunk()).prop_map(|(tag, chunk)| Reply::Output { tag, chunk }),
        (tag(), resize()).prop_map(|(tag, resize)| Reply::Resized { tag, resize }),
        (tag(), end()).prop_map(|(tag, end)| Reply::End { tag, end }),
        (tag(), code(), text()).prop_map(|(tag, code, message)| Reply::Refused {
            tag,
            code,
            message
        }),
        (tag(), text()).prop_map(|(tag, reason)| Reply::Lost { tag, reason }),
        any::<u64>().prop_map(|number| Reply::Pong { number }),
        (text(), acknowledged()).prop_map(|(key, acknowledged)| Reply::StatusIs {
            key,
            state: ExecState::Ended,
            acknowledged
        }),
        (text(), proptest::option::of(text()))
            .prop_map(|(key, error)| Reply::Collected { key, error }),
        any::<(u32, u64, bool)>().prop_map(|(tag, control_seq, applied)| Reply::Controlled {
            tag,
            control_seq,
            applied
        }),
        any::<(u32, u64, bool, bool)>().prop_map(|(tag, offset, full, closed)| Reply::StdinIs {
            tag,
            offset,
            full,
            closed
        }),
        (tag(), text()).prop_map(|(tag, message)| Reply::Unsupported { tag, message }),
    ]
}

/// Feeds `encoded` in pieces of the given sizes (over and over) and decodes whatever is whole.
fn decode_in_pieces<T>(
    encoded: &[u8],
    sizes: &[usize],
    decode: impl Fn(&mut BytesMut) -> Result<Option<T>, FrameError>,
) -> Vec<T> {
    let mut decoded = Vec::new();
    let mut buffer = BytesMut::new();
    let mut rest = encoded;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).clamp(1, rest.len()));
        buffer.put_slice(piece);
        rest = after;
        while let Some(value) = decode(&mut buffer).unwrap() {
            decoded.push(value);
        }
    }
    assert!(buffer.is_empty(), "{} bytes were left over", buffer.len());
    decoded
}

proptest! {
    #[test]
    fn requests_survive_any_split(
        requests in vec(request(), 1..8),
        sizes in vec(1usize..64, 1..8),
    ) {
        let mut encoded = BytesMut::new();
        for request in &requests {
            request.encode(&mut encoded).unwrap();
        }
        prop_assert_eq!(decode_in_pieces(&encoded, &sizes, Request::decode), requests);
    }

    #[test]
    fn replies_survive_any_split(
        replies in vec(reply(), 1..8),
        sizes in vec(1usize..64, 1..8),
    ) {
        let mut encoded = BytesMut::new();
        for reply in &replies {
            reply.encode(&mut encoded).unwrap();
        }
        prop_assert_eq!(decode_in_pieces(&encoded, &sizes, Reply::decode), replies);
    }

    #[test]
    fn a_journal_comes_back_frame_by_frame(
        resize in resize(),
        chunks in vec(chunk(), 0..8),
        end in end(),
    ) {
        let mut written = BytesMut::new();
        journal::put_resize(&mut written, &resize).unwrap();
        let first = Step::Frame(Frame::Resize(resize), written.len());
        prop_assert_eq!(journal::step(&written.split().freeze()).unwrap(), first);
        for chunk in &chunks {
            journal::put_chunk(&mut written, chunk).unwrap();
        }
        journal::put_end(&mut written, &end).unwrap();
        let mut rest = written.freeze();
        for chunk in chunks {
            let Step::Frame(frame, length) = journal::step(&rest).unwrap() else {
                panic!("no frame where one was written");
            };
            prop_assert_eq!(frame, Frame::Chunk(chunk));
            rest = rest.slice(length..);
        }
        prop_assert_eq!(journal::step(&rest).unwrap(), Step::Frame(Frame::End(end), rest.len()));
    }

    #[test]
    fn noise_is_an_error_or_ignored_but_never_a_panic(noise in vec(any::<u8>(), 0..200)) {
        let mut buffer = BytesMut::from(&noise[..]);
        while let Ok(Some(_)) = Request::decode(&mut buffer) {}
        let mut buffer = BytesMut::from(&noise[..]);
        while let Ok(Some(_)) = Reply::decode(&mut buffer) {}
        let _ = journal::step(&Bytes::from(noise));
    }
}

/// A frame of `kind` around a payload that is shorter than 256 bytes.
fn frame(kind: u8, payload: &[u8]) -> BytesMut {
    let mut buffer = BytesMut::from(&[kind, 0, 0, 0, payload.len() as u8][..]);
    buffer.put_slice(payload);
    buffer
}

#[test]
fn what_a_newer_peer_added_is_ignored() {
    let mut buffer = frame(63, b"who knows");
    buffer.put_slice(&frame(1, br#"{"type":"ping","number":5,"mood":"good"}"#));
    buffer.put_slice(&frame(1, br#"{"type":"teleport","tag":5}"#));
    assert_eq!(
        Request::decode(&mut buffer).unwrap(),
        Some(Request::Ping { number: 5 })
    );
    assert_eq!(
        Request::decode(&mut buffer).unwrap(),
        Some(Request::Unknown)
    );
    assert_eq!(Request::decode(&mut buffer).unwrap(), None);
}

#[test]
fn a_refusal_with_a_code_from_a_newer_shim_is_still_a_refusal() {
    let refused = br#"{"type":"refused","tag":3,"code":"too_late","message":"no"}"#;
    let reply = Reply::decode(&mut frame(64, refused)).unwrap().unwrap();
    assert_eq!(
        reply,
        Reply::Refused {
            tag: 3,
            code: RefusalCode::Unknown,
            message: "no".to_owned()
        }
    );
}

#[test]
fn a_launch_without_its_optional_fields_gets_the_defaults() {
    let json = br#"{"type":"launch","tag":1,"key":"k","spec":{"argv":["true"]},"window_bytes":9}"#;
    let mut payload = vec![0, 0, 0, json.len() as u8];
    payload.extend_from_slice(json);
    payload.extend_from_slice(b"in");
    let Some(Request::Launch { spec, .. }) = Request::decode(&mut frame(2, &payload)).unwrap()
    else {
        panic!("no launch");
    };
    assert_eq!(spec.stdin, Bytes::from_static(b"in"));
    assert_eq!(
        spec.stop,
        vec![StopStep {
            signal: 15,
            wait_ms: 5_000
        }]
    );
    assert_eq!(spec.overflow, Overflow::Backpressure);
}

#[test]
fn malformed_payloads_are_typed_errors() {
    let cases: [(u8, &[u8]); 5] = [
        (1, b"{"),
        (1, b"{}"),
        (1, br#"{"type":"release"}"#),
        (2, &[0, 0]),
        (2, &[0, 0, 0, 9]),
    ];
    for (kind, payload) in cases {
        let error = Request::decode(&mut frame(kind, payload)).unwrap_err();
        assert!(matches!(error, FrameError::Malformed { .. }), "{error}");
    }
    let error = Reply::decode(&mut frame(65, &[0, 0, 0, 1])).unwrap_err();
    assert!(matches!(error, FrameError::Malformed { kind: 65, .. }));
}

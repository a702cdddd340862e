//! A channel over a connection whose other end is played by the test.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other event fails the test"
)]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use rdev_frames::{
    Acknowledged, Chunk, ExecState, MAX_UNACKNOWLEDGED_RESIZES, Offsets, RefusalCode, Reply,
    Request, Resize, Spec, Stream, Tag, TerminalSize,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{Channel, ExecEvent};
use crate::pod::{PodError, Transport};

const WINDOW_BYTES: u64 = 1_000;

/// The shim's end of a connection.
struct Shim {
    stream: DuplexStream,
    buffer: BytesMut,
}

impl Shim {
    async fn say(&mut self, reply: &Reply) {
        let mut frame = BytesMut::new();
        reply.encode(&mut frame).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next request that is no ping; pings are answered.
    async fn hear(&mut self) -> Request {
        loop {
            match Request::decode(&mut self.buffer).unwrap() {
                Some(Request::Ping { number }) => self.say(&Reply::Pong { number }).await,
                Some(request) => return request,
                None => {
                    assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0);
                }
            }
        }
    }

    async fn print(&mut self, tag: Tag, offset: u64, bytes: &'static [u8]) {
        let bytes = Bytes::from_static(bytes);
        let chunk = Chunk {
            stream: Stream::Stdout,
            offset,
            time_micros: 1,
            bytes,
        };
        self.say(&Reply::Output { tag, chunk }).await;
    }
}

fn connection() -> (Shim, Transport) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (reader, writer) = tokio::io::split(ours);
    let transport = Transport {
        reader: Box::new(reader),
        writer: Box::new(writer),
        ended: futures::future::pending().boxed(),
    };
    (
        Shim {
            stream: theirs,
            buffer: BytesMut::new(),
        },
        transport,
    )
}

async fn open() -> (Shim, Channel) {
    let (mut shim, transport) = connection();
    let instance = "life".to_owned();
    shim.say(&Reply::Hello {
        protocol: 1,
        instance,
        shim: String::new(),
        terminals: true,
    })
    .await;
    let channel = Channel::start(transport).await.unwrap();
    assert_eq!(channel.instance(), "life");
    (shim, channel)
}

fn stdout(stdout: u64) -> Offsets {
    Offsets::new(stdout, 0)
}

#[tokio::test]
async fn execs_get_their_own_replies_and_the_launch_names_the_instance() {
    let (mut shim, channel) = open().await;
    let spec = Spec::new(vec!["true".to_owned()]);
    let mut first = channel
        .launch("a".to_owned(), spec, stdout(0), WINDOW_BYTES)
        .await;
    let Request::Launch {
        tag: a, instance, ..
    } = shim.hear().await
    else {
        panic!()
    };
    assert_eq!(instance, "life");
    let mut second = channel
        .follow("b".to_owned(), stdout(7), WINDOW_BYTES)
        .await;
    let Request::Follow { tag: b, from, .. } = shim.hear().await else {
        panic!()
    };
    assert_eq!((from, a == b), (stdout(7), false));
    shim.print(b, 7, b"for b").await;
    shim.print(a, 0, b"for a").await;
    let message = "not here".to_owned();
    shim.say(&Reply::Refused {
        tag: b,
        code: RefusalCode::NoClaim,
        message,
    })
    .await;
    assert!(matches!(first.next().await, ExecEvent::Output(chunk) if chunk.bytes == "for a"));
    assert!(matches!(second.next().await, ExecEvent::Output(chunk) if chunk.bytes == "for b"));
    assert!(matches!(
        second.next().await,
        ExecEvent::Refused {
            code: RefusalCode::NoClaim,
            ..
        }
    ));
    // The second has ended: dropping it tells the shim nothing. The first has not.
    drop(second);
    drop(first);
    assert_eq!(shim.hear().await, Request::Release { tag: a });
}

#[tokio::test]
async fn what_was_acknowledged_is_told_for_the_exec_that_was_asked_for() {
    let (mut shim, channel) = open().await;
    let asking = |key: &str| {
        let (channel, key) = (channel.clone(), key.to_owned());
        tokio::spawn(async move { channel.acknowledged(key).await })
    };
    let (first, second) = (asking("a"), asking("b"));
    for _ in 0..2 {
        assert!(matches!(shim.hear().await, Request::Status { .. }));
    }
    let acknowledged = Acknowledged {
        offsets: stdout(600),
        next_event_number: 2,
    };
    shim.say(&Reply::StatusIs {
        key: "b".to_owned(),
        state: ExecState::Running,
        acknowledged,
    })
    .await;
    assert_eq!(second.await.unwrap().unwrap(), acknowledged);
    drop(shim);
    let unanswered = first.await.unwrap();
    assert!(matches!(unanswered, Err(PodError::Unavailable(_))));
    let too_late = channel.acknowledged("c".to_owned()).await;
    assert!(matches!(too_late, Err(PodError::Unavailable(_))));
}

#[tokio::test]
async fn a_shim_that_sends_more_than_the_window_is_cut_off() {
    let (mut shim, channel) = open().await;
    let mut exec = channel
        .follow("a".to_owned(), stdout(0), WINDOW_BYTES)
        .await;
    let Request::Follow { tag, .. } = shim.hear().await else {
        panic!()
    };
    shim.print(tag, 0, &[b'x'; 1_000]).await;
    assert!(matches!(exec.next().await, ExecEvent::Output(_)));
    let acknowledged = Acknowledged {
        offsets: stdout(600),
        next_event_number: 2,
    };
    exec.acknowledge(acknowledged).await;
    assert_eq!(
        shim.hear().await,
        Request::Acknowledge { tag, acknowledged }
    );
    shim.print(tag, 1_000, &[b'x'; 600]).await;
    assert!(matches!(exec.next().await, ExecEvent::Output(_)));
    shim.print(tag, 1_600, b"x").await;
    match exec.next().await {
        ExecEvent::Disconnected(reason) => assert!(reason.contains("1000 are allowed"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// An order may be answered, and a piece of input twice: once for it, and once when there is room.
#[tokio::test]
async fn a_shim_that_answers_what_was_not_asked_is_cut_off() {
    let (mut shim, channel) = open().await;
    let mut exec = channel
        .follow("a".to_owned(), stdout(0), WINDOW_BYTES)
        .await;
    let Request::Follow { tag, .. } = shim.hear().await else {
        panic!()
    };
    exec.cancel(7).await;
    let bytes = Bytes::from_static(b"in");
    exec.stdin(3, bytes.clone(), true).await;
    let control_seq = 7;
    assert_eq!(shim.hear().await, Request::Cancel { tag, control_seq });
    let (offset, end) = (3, true);
    let stdin = Request::Stdin {
        tag,
        offset,
        bytes,
        end,
    };
    assert_eq!(shim.hear().await, stdin);
    shim.say(&Reply::Controlled {
        tag,
        control_seq,
        applied: true,
    })
    .await;
    for full in [true, false, false] {
        shim.say(&Reply::StdinIs {
            tag,
            offset: 4,
            full,
            closed: false,
        })
        .await;
    }
    let control_seq = match exec.next().await {
        ExecEvent::Controlled { control_seq } => control_seq,
        other => panic!("{other:?}"),
    };
    assert_eq!(control_seq, 7);
    for full in [true, false] {
        assert!(matches!(
            exec.next().await,
            ExecEvent::Stdin { offset: 4, full: is, closed: false } if is == full
        ));
    }
    match exec.next().await {
        ExecEvent::Disconnected(reason) => assert!(reason.contains("not asked"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// A size of a terminal of 80 columns and so many rows, before any output.
fn resized(tag: Tag, number: u64) -> Reply {
    let size = TerminalSize {
        columns: 80,
        rows: 24,
    };
    let resize = Resize {
        number,
        offset: 0,
        time_micros: 1,
        size,
    };
    Reply::Resized { tag, resize }
}

#[tokio::test]
async fn sizes_come_in_order_and_within_their_window() {
    for (sent, wrong) in [(0, 2), (MAX_UNACKNOWLEDGED_RESIZES + 3, 0)] {
        let (mut shim, channel) = open().await;
        let from = Offsets {
            resizes: 5,
            ..stdout(0)
        };
        let mut exec = channel.follow("a".to_owned(), from, WINDOW_BYTES).await;
        let Request::Follow { tag, .. } = shim.hear().await else {
            panic!()
        };
        let resizes = from.resizes + 3;
        let acknowledged = Acknowledged {
            offsets: Offsets { resizes, ..from },
            next_event_number: 2,
        };
        exec.acknowledge(acknowledged).await;
        shim.hear().await;
        for number in 1..=sent {
            shim.say(&resized(tag, from.resizes + number)).await;
            let event = exec.next().await;
            assert!(matches!(event, ExecEvent::Resized(_)), "{event:?}");
        }
        shim.say(&resized(tag, from.resizes + sent + 1 + wrong))
            .await;
        match exec.next().await {
            ExecEvent::Disconnected(reason) => assert!(reason.contains("size"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_gap_and_noise_end_the_channel_for_everyone_on_it() {
    for noise in [false, true] {
        let (mut shim, channel) = open().await;
        let mut first = channel
            .follow("a".to_owned(), stdout(0), WINDOW_BYTES)
            .await;
        let mut second = channel
            .follow("b".to_owned(), stdout(0), WINDOW_BYTES)
            .await;
        let Request::Follow { tag, .. } = shim.hear().await else {
            panic!()
        };
        if noise {
            shim.stream
                .write_all(b"\0HTTP/1.1 400 no\r\n")
                .await
                .unwrap();
        } else {
            shim.print(tag, 1, b"x").await;
        }
        assert!(matches!(first.next().await, ExecEvent::Disconnected(_)));
        assert!(matches!(second.next().await, ExecEvent::Disconnected(_)));
        // Whoever comes later hears it too.
        let mut third = channel
            .follow("c".to_owned(), stdout(0), WINDOW_BYTES)
            .await;
        assert!(matches!(third.next().await, ExecEvent::Disconnected(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_channel_and_answered_pings_keep_it() {
    let (mut shim, channel) = open().await;
    let mut exec = channel
        .follow("a".to_owned(), stdout(0), WINDOW_BYTES)
        .await;
    assert!(matches!(shim.hear().await, Request::Follow { .. }));
    // Answers pings for two minutes.
    let answering = tokio::time::timeout(Duration::from_secs(120), shim.hear());
    tokio::select! {
        event = exec.next() => panic!("{event:?}"),
        result = answering => assert!(result.is_err()),
    }
    let before = tokio::time::Instant::now();
    assert!(matches!(exec.next().await, ExecEvent::Disconnected(_)));
    let silence = before.elapsed().as_secs();
    assert!((20..=40).contains(&silence), "{silence} s");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_nobody_uses_is_closed_after_a_minute() {
    let (mut shim, channel) = open().await;
    let exec = channel
        .follow("a".to_owned(), stdout(0), WINDOW_BYTES)
        .await;
    assert!(matches!(shim.hear().await, Request::Follow { .. }));
    drop(exec);
    assert!(matches!(shim.hear().await, Request::Release { .. }));
    let before = tokio::time::Instant::now();
    while let Ok(request) = Request::decode(&mut shim.buffer) {
        if let Some(Request::Ping { number }) = request {
            shim.say(&Reply::Pong { number }).await;
        } else if shim.stream.read_buf(&mut shim.buffer).await.unwrap() == 0 {
            break;
        }
    }
    let idle = before.elapsed().as_secs();
    assert!((60..=75).contains(&idle), "{idle} s");
}

#[tokio::test]
async fn a_command_that_fits_into_no_frame_is_refused_and_harms_no_other() {
    let (mut shim, channel) = open().await;
    let mut spec = Spec::new(vec!["cat".to_owned()]);
    spec.stdin = Bytes::from(vec![0; rdev_frames::MAX_FRAME_BYTES]);
    let mut large = channel
        .launch("a".to_owned(), spec, stdout(0), WINDOW_BYTES)
        .await;
    assert!(matches!(
        large.next().await,
        ExecEvent::Refused {
            code: RefusalCode::Invalid,
            ..
        }
    ));
    let _other = channel
        .follow("b".to_owned(), stdout(0), WINDOW_BYTES)
        .await;
    assert!(matches!(shim.hear().await, Request::Follow { .. }));
}

#[tokio::test]
async fn what_says_no_proper_hello_is_no_shim() {
    let (mut shim, transport) = connection();
    shim.say(&Reply::Hello {
        protocol: 2,
        instance: String::new(),
        shim: String::new(),
        terminals: true,
    })
    .await;
    assert!(matches!(
        Channel::start(transport).await,
        Err(PodError::NoShim(_))
    ));

    let (mut shim, transport) = connection();
    shim.stream
        .write_all(b"sh: rdev-shim: not found\n")
        .await
        .unwrap();
    assert!(matches!(
        Channel::start(transport).await,
        Err(PodError::Unavailable(_))
    ));

    let (shim, mut transport) = connection();
    drop(shim);
    transport.ended = async { "exit code 137".to_owned() }.boxed();
    match Channel::start(transport).await {
        Err(PodError::Unavailable(reason)) => assert!(reason.contains("137"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

//! Commands in a terminal: what they see of it, what comes out of it, and how it ends.

use std::path::Path;

use bytes::Bytes;
use rdev_frames::{Exit, Offsets, Reply, Request, Spec, StopStep, TerminalSize};

use crate::channel::{Channel, Finished, Pod, Received, argv, lives, shell};

const SIZE: TerminalSize = TerminalSize {
    columns: 120,
    rows: 40,
};

fn in_terminal(spec: Spec) -> Spec {
    Spec {
        terminal: Some(SIZE),
        ..spec
    }
}

fn size(columns: u16, rows: u16) -> TerminalSize {
    TerminalSize { columns, rows }
}

fn resize(control_seq: u64, size: TerminalSize) -> Request {
    Request::Resize {
        tag: 1,
        control_seq,
        size,
    }
}

/// Launches `spec` in a terminal, as tag 1.
fn launch(channel: &mut Channel, spec: Spec) -> Received {
    channel.launch(1, "exec", in_terminal(spec));
    assert!(!channel.accepted(1).existing);
    Received::new(Offsets::default())
}

/// Takes what comes until what has come ends with `text`.
fn until(channel: &mut Channel, received: &mut Received, text: &str) {
    while !received.stdout.ends_with(text.as_bytes()) {
        match channel.receive() {
            Reply::Output { chunk, .. } => received.take(&chunk),
            Reply::Resized { resize, .. } => received.resize(&resize),
            Reply::StdinIs { .. } => {}
            other => panic!("{other:?} after {}", received.stdout.escape_ascii()),
        }
    }
}

fn finish(channel: &mut Channel, mut received: Received) -> Finished {
    loop {
        match channel.receive() {
            Reply::Output { chunk, .. } => {
                received.take(&chunk);
                channel.acknowledge(1, received.to);
            }
            Reply::Resized { resize, .. } => received.resize(&resize),
            Reply::StdinIs { .. } => {}
            Reply::End { end, .. } => {
                let finished = Finished { received, end };
                finished.check();
                return finished;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn type_in(channel: &mut Channel, offset: u64, text: &str, end: bool) {
    channel.send(&Request::Stdin {
        tag: 1,
        offset,
        bytes: Bytes::copy_from_slice(text.as_bytes()),
        end,
    });
}

#[test]
fn a_command_has_a_terminal_that_controls_its_session() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size && echo err >&2
set -- $(cat /proc/$$/stat); test $6 = $$ && test $8 = $$ && echo leads; : < /dev/tty
ls -l /proc/$$/fd | grep -c pts; exit 7";
    let finished = channel.run("exec", in_terminal(shell(script)));
    // 3: nothing but the standard descriptors is handed down.
    assert_eq!(finished.stdout(), "40 120\r\nerr\r\nleads\r\n3\r\n");
    assert_eq!(finished.end.exit, Exit::Code(7));
    assert_eq!(finished.end.stderr_bytes, 0);
    assert_eq!(finished.received.sizes, [(120, 40, 0)]);
}

#[test]
fn a_size_is_set_once_and_stands_in_its_place() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let script = "trap 'stty size; echo .' WINCH; echo ready; while :; do sleep 0.02; done";
    let mut received = launch(&mut channel, shell(script));
    until(&mut channel, &mut received, "ready\r\n");
    assert!(channel.order(&resize(5, size(132, 50))));
    until(&mut channel, &mut received, ".\r\n");
    let before = received.to;
    assert!(!channel.order(&resize(5, size(80, 24))), "it came before");
    assert!(!channel.order(&resize(4, size(80, 24))), "a later one came");
    assert!(channel.order(&resize(6, size(132, 50))), "the same size");
    assert!(channel.order(&resize(7, size(1, 1000))));
    until(&mut channel, &mut received, "1000 1\r\n.\r\n");
    assert_eq!(received.sizes[..2], [(120, 40, 0), (132, 50, 7)]);
    let (columns, rows, offset) = received.sizes[2];
    assert_eq!((columns, rows), (1, 1000));
    assert_eq!(
        received.stdout[offset as usize..],
        *b"1000 1\r\n.\r\n",
        "no output stands on the wrong side of it"
    );
    channel.kill();
    // Whoever follows gets what it has not, whatever the offsets of the bytes are.
    for (resizes, expected) in [(1, vec![(132, 50, 7)]), (2, vec![])] {
        let mut channel = pod.channel();
        let from = Offsets {
            resizes,
            ..Offsets::new(7, 0)
        };
        channel.follow(1, "exec", from);
        assert!(channel.accepted(1).existing);
        let mut again = Received::new(from);
        while again.to.stdout < before.stdout {
            match channel.receive() {
                Reply::Output { chunk, .. } => again.take(&chunk),
                Reply::Resized { resize, .. } => again.resize(&resize),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(again.sizes, expected);
    }
    let mut channel = pod.channel();
    channel.follow(1, "exec", received.to);
    channel.accepted(1);
    assert!(channel.order(&Request::Signal {
        tag: 1,
        control_seq: 8,
        signal: 9,
    }));
    assert_eq!(channel.rest(1, received.to).end.exit, Exit::Signal(9));
}

#[test]
fn what_is_typed_is_echoed_and_interrupts() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let spec = Spec {
        stdin: Bytes::from_static(b"first\n"),
        ..argv(&["cat"])
    };
    let mut received = launch(&mut channel, spec);
    until(&mut channel, &mut received, "first\r\nfirst\r\n");
    // Backspace takes the whole character away.
    type_in(&mut channel, 6, "h\u{e9}\x7fi\n", false);
    until(&mut channel, &mut received, "hi\r\n");
    type_in(&mut channel, 12, "\x03", false);
    let finished = finish(&mut channel, received);
    assert!(finished.stdout().ends_with("\r\nhi\r\n^C"));
    assert_eq!(finished.end.exit, Exit::Signal(2));
}

#[test]
fn the_end_of_input_is_typed() {
    let pod = Pod::new();
    // By lines, behind one that is ended and one that is not; and byte by byte.
    let raw =
        "stty raw -echo; printf ready; printf \"<$(dd bs=1 count=2 2>/dev/null | od -An -tx1)>\"";
    let cases = [
        ("exec cat", "", "one\n", "one\r\none\r\n"),
        ("exec cat", "", "two", "twotwo"),
        (raw, "ready", "x", "ready< 78 04>"),
    ];
    for (number, (script, ready, input, expected)) in cases.into_iter().enumerate() {
        let mut channel = pod.channel();
        channel.launch(1, &format!("exec {number}"), in_terminal(shell(script)));
        channel.accepted(1);
        let mut received = Received::new(Offsets::default());
        until(&mut channel, &mut received, ready);
        type_in(&mut channel, 0, input, true);
        let finished = finish(&mut channel, received);
        assert_eq!(finished.stdout(), expected);
        assert_eq!(finished.end.exit, Exit::Code(0));
    }
}

#[test]
fn a_command_may_close_its_terminal_and_open_it_again() {
    let pod = Pod::new();
    let script = "exec <&- >&- 2>&-; sleep 0.3; echo late >/dev/tty";
    let finished = pod.channel().run("exec", in_terminal(shell(script)));
    assert_eq!(finished.stdout(), "late\r\n");
    assert_eq!(finished.end.exit, Exit::Code(0));
}

#[test]
fn who_keeps_the_terminal_open_delays_the_end_and_others_are_hung_up() {
    let pod = Pod::new();
    let script = "trap '' HUP; (sleep 0.5; echo late) & exit 3";
    let finished = pod.channel().run("stays", in_terminal(shell(script)));
    assert_eq!(finished.stdout(), "late\r\n");
    assert_eq!(finished.end.exit, Exit::Code(3));
    assert!(finished.end.duration_ms >= 500);
    let finished = pod
        .channel()
        .run("goes", in_terminal(shell("sleep 300 & exit 4")));
    assert_eq!(finished.end.exit, Exit::Code(4));
}

#[test]
fn an_interactive_shell_is_hung_up_with_what_it_has_stopped() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let hangup = StopStep {
        signal: 1,
        wait_ms: 20_000,
    };
    let spec = Spec {
        stop: vec![hangup],
        env: [("PS1".to_owned(), "> ".to_owned())].into(),
        ..argv(&["bash", "--norc", "--noediting", "-i"])
    };
    let mut received = launch(&mut channel, spec);
    until(&mut channel, &mut received, "> ");
    let job = "sh -c 'echo o''n; exec sleep 300'\n";
    type_in(&mut channel, 0, job, false);
    until(&mut channel, &mut received, "\non\r\n");
    type_in(&mut channel, 34, "\x1a", false);
    until(&mut channel, &mut received, "> ");
    type_in(&mut channel, 35, "echo $(jobs -p):\n", false);
    until(&mut channel, &mut received, ":\r\n");
    until(&mut channel, &mut received, "> ");
    let text = String::from_utf8(received.stdout.clone()).unwrap();
    let stopped = text.lines().rev().nth(1).unwrap().trim_end_matches(':');
    let stopped: u32 = stopped.parse().unwrap();
    assert!(lives(stopped));
    assert!(channel.order(&Request::Cancel {
        tag: 1,
        control_seq: 1,
    }));
    let finished = finish(&mut channel, received);
    assert!(finished.end.canceled && finished.end.duration_ms < 15_000);
    assert_eq!(finished.end.exit, Exit::Signal(1));
    assert!(!lives(stopped));
}

#[test]
fn a_command_that_cannot_begin_in_a_terminal_is_named() {
    let pod = Pod::new();
    let cases = [("/no/such/program", 127), ("/etc/passwd", 126)];
    for (number, (program, code)) in cases.into_iter().enumerate() {
        let spec = in_terminal(argv(&[program, "x"]));
        let finished = pod.channel().run(&number.to_string(), spec);
        assert_eq!(finished.end.exit, Exit::Code(code));
        let error = finished.end.spawn_error.unwrap();
        assert!(error.starts_with(program), "{error}");
        assert_eq!(finished.end.stdout_bytes, 0);
    }
}

#[test]
fn a_full_journal_holds_a_terminal_back() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let done = pod.path("done");
    let script = format!("stty raw; head -c 3000000 /dev/zero | tr '\\0' x; echo > {done}");
    let mut spec = shell(&script);
    spec.journal_max_bytes = 1_000_000;
    let mut received = launch(&mut channel, spec);
    while received.to.stdout < 900_000 {
        match channel.receive() {
            Reply::Output { chunk, .. } => received.take(&chunk),
            Reply::Resized { resize, .. } => received.resize(&resize),
            other => panic!("{other:?}"),
        }
    }
    assert!(!Path::new(&done).exists());
    // It is resized all the same.
    assert!(channel.order(&resize(1, size(80, 24))));
    assert!(received.to.stdout < 1_100_000, "{}", received.to.stdout);
    channel.acknowledge(1, received.to);
    let finished = finish(&mut channel, received);
    assert_eq!(finished.end.stdout_bytes, 3_000_000);
    assert_eq!(finished.received.sizes.len(), 2);
}

#[test]
fn sizes_are_sent_within_their_window() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut received = launch(&mut channel, argv(&["sleep", "300"]));
    for number in 1..=100 {
        assert!(channel.order(&resize(number, size(80, number as u16))));
    }
    channel.send(&Request::Ping { number: 9 });
    loop {
        match channel.receive() {
            Reply::Resized { resize, .. } => received.resize(&resize),
            Reply::Pong { number: 9 } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received.to.resizes, 64);
    channel.acknowledge(1, received.to);
    while received.to.resizes < 101 {
        match channel.receive() {
            Reply::Resized { resize, .. } => received.resize(&resize),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received.sizes.last(), Some(&(80, 100, 0)));
}

#[test]
fn a_command_without_a_terminal_has_no_size() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    channel.launch(1, "exec", argv(&["sleep", "300"]));
    channel.accepted(1);
    channel.send(&resize(1, SIZE));
    match channel.receive() {
        Reply::Unsupported { tag: 1, message } => assert!(message.contains("no terminal")),
        other => panic!("{other:?}"),
    }
}

//! Signals, cancellation, time-outs, input.

use bytes::Bytes;
use rdev_frames::{Exit, MAX_STDIN_BYTES, Offsets, Reply, Request, StopStep};

use crate::channel::{Pod, Received, argv, lives, shell, status_of};

/// Prints the ids of three processes: a shell that ignores SIGTERM, a child of it, and a grandchild
/// in a session of its own whose parent is gone.
const STUBBORN_TREE: &str = "trap '' TERM
setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 300' &
sh -c '(trap \"\" TERM; sh -c \"echo \\$PPID\"; sleep 300) & exit' &
echo $$
while :; do sleep 300; done";

fn pids(channel: &mut crate::channel::Channel, count: usize) -> (Vec<u32>, Offsets) {
    let mut text = Vec::new();
    let mut to = Offsets::default();
    while text.iter().filter(|byte| **byte == b'\n').count() < count {
        let chunk = channel.output(1);
        to.stdout = chunk.end_offset();
        text.extend_from_slice(&chunk.bytes);
    }
    let lines = str::from_utf8(&text).unwrap().lines();
    (lines.map(|line| line.parse().unwrap()).collect(), to)
}

#[test]
fn a_time_out_ends_the_whole_tree() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = shell(STUBBORN_TREE);
    spec.timeout_ms = Some(700);
    spec.stop = vec![StopStep {
        signal: 15,
        wait_ms: 200,
    }];
    channel.launch(1, "exec", spec);
    channel.accepted(1);
    let (pids, to) = pids(&mut channel, 3);
    assert!(pids.iter().all(|pid| lives(*pid)));
    let finished = channel.rest(1, to);
    assert!(finished.end.timed_out && !finished.end.canceled);
    assert_eq!(finished.end.exit, Exit::Signal(9));
    assert!(
        finished.end.duration_ms >= 900,
        "{} ms",
        finished.end.duration_ms
    );
    assert!(
        finished.end.duration_ms < 5_000,
        "{} ms",
        finished.end.duration_ms
    );
    for pid in pids {
        assert!(!lives(pid), "{pid} survived");
    }
}

#[test]
fn a_cancellation_ends_the_whole_tree_and_twice_is_fine() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = shell(STUBBORN_TREE);
    spec.stop = vec![StopStep {
        signal: 15,
        wait_ms: 100,
    }];
    channel.launch(1, "exec", spec);
    channel.accepted(1);
    let (pids, to) = pids(&mut channel, 3);
    for (control_seq, expected) in [(4, true), (4, false), (3, false)] {
        assert_eq!(
            channel.order(&Request::Cancel {
                tag: 1,
                control_seq
            }),
            expected
        );
    }
    let finished = channel.rest(1, to);
    assert!(finished.end.canceled && !finished.end.timed_out);
    for pid in pids {
        assert!(!lives(pid), "{pid} survived");
    }
}

#[test]
fn a_command_that_stops_when_asked_is_not_killed() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = shell("trap 'echo bye; exit 9' INT; echo ready; while :; do sleep 0.05; done");
    spec.stop = vec![StopStep {
        signal: 2,
        wait_ms: 20_000,
    }];
    channel.launch(1, "exec", spec);
    channel.accepted(1);
    assert_eq!(channel.output(1).bytes, "ready\n");
    assert!(channel.order(&Request::Cancel {
        tag: 1,
        control_seq: 1,
    }));
    let finished = channel.rest(1, Offsets::new(6, 0));
    assert_eq!(finished.stdout(), "bye\n");
    assert_eq!(finished.end.exit, Exit::Code(9));
    assert!(finished.end.canceled && finished.end.duration_ms < 10_000);
}

#[test]
fn a_signal_is_applied_once_across_channels() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let script = "exec 2>/dev/null; trap 'echo got' USR1; echo ready; while :; do sleep 0.02; done";
    channel.launch(1, "exec", shell(script));
    channel.accepted(1);
    assert_eq!(channel.output(1).bytes, "ready\n");
    let usr1 = Request::Signal {
        tag: 1,
        control_seq: 10,
        signal: 10,
    };
    assert!(channel.order(&usr1));
    let mut at = Offsets::new(channel.output(1).end_offset(), 0);
    channel.kill();
    let mut channel = pod.channel();
    channel.follow(1, "exec", at);
    channel.accepted(1);
    assert!(!channel.order(&usr1));
    assert!(channel.order(&Request::Signal {
        tag: 1,
        control_seq: 11,
        signal: 10,
    }));
    let chunk = channel.output(1);
    assert_eq!((chunk.offset, &chunk.bytes[..]), (10, &b"got\n"[..]));
    at.stdout = chunk.end_offset();
    assert!(channel.order(&Request::Signal {
        tag: 1,
        control_seq: 12,
        signal: 9,
    }));
    assert_eq!(channel.rest(1, at).end.exit, Exit::Signal(9));
}

#[test]
fn input_comes_in_order_once_and_ends() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = argv(&["cat"]);
    spec.stdin = Bytes::from_static(b"ab");
    spec.stdin_open = true;
    channel.launch(1, "exec", spec);
    channel.accepted(1);
    assert_eq!(channel.output(1).bytes, "ab");
    let cases = [
        (2, "cd", false),
        (0, "abcd", false),
        (9, "too early", false),
        (3, "def", true),
        (6, "too late", false),
    ];
    for (offset, bytes, end) in cases {
        let bytes = Bytes::from(bytes);
        channel.send(&Request::Stdin {
            tag: 1,
            offset,
            bytes,
            end,
        });
    }
    let mut output = Vec::new();
    let mut answers = Vec::new();
    let end = loop {
        match channel.receive() {
            Reply::Output { chunk, .. } => output.extend_from_slice(&chunk.bytes),
            Reply::StdinIs { offset, closed, .. } => answers.push((offset, closed)),
            Reply::End { end, .. } => break end,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(output, b"cdef");
    assert_eq!(end.exit, Exit::Code(0));
    let first = [(4, false), (4, false), (4, false), (6, true)];
    assert_eq!(&answers[..4], &first);
}

#[test]
fn much_input_waits_for_the_command_and_is_asked_for_again() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = shell("sleep 0.2; cat");
    spec.stdin_open = true;
    channel.launch(1, "exec", spec);
    channel.accepted(1);
    let input: Vec<u8> = (0..4_000_000u32).map(|number| (number / 7) as u8).collect();
    let piece = |offset: usize| {
        let to = (offset + MAX_STDIN_BYTES).min(input.len());
        Request::Stdin {
            tag: 1,
            offset: offset as u64,
            bytes: Bytes::copy_from_slice(&input[offset..to]),
            end: to == input.len(),
        }
    };
    channel.send(&piece(0));
    let mut output = Vec::new();
    loop {
        match channel.receive() {
            Reply::Output { chunk, .. } => {
                output.extend_from_slice(&chunk.bytes);
                let stdout = chunk.end_offset();
                channel.acknowledge(1, Offsets::new(stdout, 0));
            }
            Reply::StdinIs {
                offset,
                full: false,
                closed: false,
                ..
            } => {
                channel.send(&piece(usize::try_from(offset).unwrap()));
            }
            Reply::StdinIs { .. } => {}
            Reply::End { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(output == input, "{} of {} bytes", output.len(), input.len());
}

/// Forks and exits, again and again: what a walk has seen of it is gone when it is signalled.
const RUNAWAY: &str = "import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
print(os.getpid(), flush=True)
while True:
    if os.fork():
        os._exit(0)";

#[test]
fn what_forks_while_it_is_killed_is_caught() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = argv(&["sh", "-c", "python3 -c \"$1\" & wait", "sh", RUNAWAY]);
    spec.stop = vec![StopStep {
        signal: 15,
        wait_ms: 50,
    }];
    channel.launch(1, "exec", spec);
    channel.accepted(1);
    let chunk = channel.output(1);
    assert!(channel.order(&Request::Cancel {
        tag: 1,
        control_seq: 1,
    }));
    let to = Offsets::new(chunk.end_offset(), 0);
    let end = channel.rest(1, to).end;
    assert!(end.canceled && !end.has_survivors, "{end:?}");
    println!("caught after {} ms", end.duration_ms);
}

#[test]
fn what_stands_still_is_asked_politely_all_the_same() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = shell(
        "trap 'echo bye; exit 3' TERM; echo ready; kill -STOP $$; while :; do sleep 0.02; done",
    );
    spec.stop = vec![StopStep {
        signal: 15,
        wait_ms: 30_000,
    }];
    channel.launch(1, "exec", spec);
    let pid = channel.accepted(1).pid;
    let chunk = channel.output(1);
    while !status_of(pid).unwrap()["State"].starts_with('T') {
        std::thread::yield_now();
    }
    assert!(channel.order(&Request::Cancel {
        tag: 1,
        control_seq: 1,
    }));
    let to = Offsets::new(chunk.end_offset(), 0);
    let finished = channel.rest(1, to);
    assert_eq!(finished.stdout(), "bye\n");
    assert_eq!(finished.end.exit, Exit::Code(3));
    assert!(finished.end.canceled && finished.end.duration_ms < 20_000);
}

#[test]
fn silence_ends_a_command_and_output_keeps_it() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = shell("for i in 1 2 3 4 5 6; do sleep 0.2; echo $i; done; exec sleep 300");
    spec.idle_timeout_ms = Some(800);
    spec.timeout_ms = Some(60_000);
    let finished = channel.run("exec", spec);
    let end = finished.end.clone();
    assert!(end.timed_out && end.was_idle && !end.canceled, "{end:?}");
    assert_eq!(finished.stdout(), "1\n2\n3\n4\n5\n6\n");
    assert!(end.duration_ms >= 2_000, "{} ms", end.duration_ms);
    assert!(end.duration_ms < 20_000, "{} ms", end.duration_ms);
}

/// A command that is not read cannot be heard: that is not its silence.
#[test]
fn a_command_that_is_held_back_is_not_silent() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = shell("head -c 4000000 /dev/zero; echo end; exec sleep 300");
    spec.journal_max_bytes = 256 * 1024;
    spec.idle_timeout_ms = Some(300);
    channel.launch(1, "exec", spec);
    channel.accepted(1);
    let first = channel.output(1);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let mut received = Received::new(Offsets::default());
    received.take(&first);
    channel.acknowledge(1, received.to);
    let finished = channel.rest_eagerly(1, received);
    assert!(finished.end.was_idle, "{:?}", finished.end);
    assert_eq!(finished.end.stdout_bytes, 4_000_004);
}

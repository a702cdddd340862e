//! Flow control: windows, the journal's limit, and the disk space that acknowledging frees.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rdev_frames::{Exit, Offsets, Overflow, RefusalCode, Reply, Request, Tag};

use crate::channel::{Channel, Pod, Received, shell};

fn launch_with_window(channel: &mut Channel, tag: Tag, key: &str, script: &str, window: u64) {
    channel.send(&Request::Launch {
        tag,
        key: key.to_owned(),
        instance: String::new(),
        spec: Box::new(shell(script)),
        from: Offsets::default(),
        window_bytes: window,
    });
}

fn stdout(stdout: u64) -> Offsets {
    Offsets::new(stdout, 0)
}

/// Files named `journal` below the pod's directory.
fn journals(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(journals(&path));
        } else if path.ends_with("journal") {
            found.push(path);
        }
    }
    found
}

#[test]
fn nothing_is_sent_beyond_the_window_and_others_are_not_held_up() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    launch_with_window(&mut channel, 1, "bulk", "head -c 100000 /dev/zero", 1_000);
    channel.accepted(1);
    let mut received = Received::new(Offsets::default());
    while received.to.stdout < 1_000 {
        received.take(&channel.output(1));
    }
    assert_eq!(received.to.stdout, 1_000);
    // The first exec waits for an acknowledgement; a second one on the same channel does not.
    launch_with_window(&mut channel, 2, "other", "seq 10000", 1_000_000);
    channel.accepted(2);
    assert_eq!(channel.rest(2, Offsets::default()).end.exit, Exit::Code(0));
    channel.acknowledge(1, stdout(1_000));
    while received.to.stdout < 2_000 {
        received.take(&channel.output(1));
    }
    channel.acknowledge(1, stdout(2_000));
    channel.send(&Request::Release { tag: 1 });
    // After a release nothing more of it comes, and the tag is free.
    channel.send(&Request::Ping { number: 1 });
    while channel.receive() != (Reply::Pong { number: 1 }) {}
    channel.follow(1, "bulk", stdout(2_000));
    assert!(channel.accepted(1).existing);
    let rest = channel.rest(1, stdout(2_000));
    assert_eq!(rest.received.stdout.len(), 98_000);
}

#[test]
fn what_another_channel_acknowledges_does_not_widen_the_window() {
    let pod = Pod::new();
    let (mut first, mut second) = (pod.channel(), pod.channel());
    launch_with_window(
        &mut first,
        1,
        "exec",
        "head -c 50000 /dev/zero; sleep 60",
        100_000,
    );
    first.accepted(1);
    let mut to = 0;
    while to < 50_000 {
        to = first.output(1).end_offset();
    }
    first.acknowledge(1, stdout(40_000));
    first.send(&Request::Ping { number: 1 });
    assert_eq!(first.receive(), Reply::Pong { number: 1 });
    second.send(&Request::Follow {
        tag: 1,
        key: "exec".to_owned(),
        instance: String::new(),
        from: Offsets::default(),
        window_bytes: 1_000,
    });
    assert_eq!(second.accepted(1).acknowledged.offsets, stdout(40_000));
    assert_eq!(second.output(1).end_offset(), 1_000);
    second.acknowledge(1, stdout(500));
    assert_eq!(second.output(1).end_offset(), 1_500);
    second.send(&Request::Ping { number: 2 });
    assert_eq!(second.receive(), Reply::Pong { number: 2 });
}

#[test]
fn execs_take_turns() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let total = 4_000_000;
    for (tag, key) in [(1, "first"), (2, "second")] {
        let done = pod.path(key);
        let script = format!("head -c {total} /dev/zero; echo > {done}");
        launch_with_window(&mut channel, tag, key, &script, 1);
    }
    let mut accepted = 0;
    while accepted < 2 {
        accepted += u32::from(matches!(channel.receive(), Reply::Accepted { .. }));
    }
    // Both have printed everything before either is followed.
    let (first, second) = (pod.path("first"), pod.path("second"));
    let wait = format!("while [ ! -e {first} ] || [ ! -e {second} ]; do sleep 0.02; done");
    drop(channel);
    pod.channel().run("wait", shell(&wait));
    let mut channel = pod.channel();
    channel.follow(1, "first", Offsets::default());
    channel.follow(2, "second", Offsets::default());
    let (mut accepted, mut last, mut ended) = (0, 0, false);
    while !ended {
        match channel.receive() {
            Reply::Accepted { .. } => accepted += 1,
            Reply::Output { tag, .. } if accepted == 2 => {
                assert_ne!(tag, last, "twice in a row while the other waits");
                last = tag;
            }
            Reply::End { .. } => ended = true,
            _ => {}
        }
    }
}

#[test]
fn a_full_journal_holds_the_command_back_until_something_is_acknowledged() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let done = pod.path("done");
    let mut spec = shell(&format!("head -c 20000000 /dev/zero; echo > {done}"));
    spec.journal_max_bytes = 1_000_000;
    channel.launch(1, "exec", spec);
    channel.accepted(1);
    let mut received = Received::new(Offsets::default());
    // The journal's frames count too: a little less than its limit is output.
    while received.to.stdout < 900_000 {
        received.take(&channel.output(1));
    }
    channel.send(&Request::Ping { number: 2 });
    loop {
        match channel.receive() {
            Reply::Output { chunk, .. } => received.take(&chunk),
            Reply::Pong { number: 2 } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        received.to.stdout < 1_300_000,
        "the journal took {}",
        received.to.stdout
    );
    assert!(!Path::new(&done).exists());
    channel.acknowledge(1, received.to);
    let rest = channel.rest_eagerly(1, received);
    assert_eq!(rest.end.stdout_bytes, 20_000_000);
    assert_eq!(rest.end.error, None);
    rest.check();
}

#[test]
fn what_is_acknowledged_is_freed_on_disk_and_offsets_stay() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    channel.launch(1, "exec", shell("seq 2000000; sleep 60; echo end"));
    channel.accepted(1);
    let total = 14_888_896;
    let mut received = Received::new(Offsets::default());
    while received.to.stdout < total {
        received.take(&channel.output(1));
        channel.acknowledge(1, received.to);
    }
    // A signal is answered by the supervisor itself, after the acknowledgements before it.
    assert!(channel.order(&Request::Signal {
        tag: 1,
        control_seq: 1,
        signal: 0,
    }));
    let journal = journals(pod.directory.path()).pop().unwrap();
    let metadata = std::fs::metadata(journal).unwrap();
    assert!(metadata.len() > total);
    let on_disk = metadata.blocks() * 512;
    assert!(on_disk < 3_000_000, "{on_disk} bytes are still on disk");
    // What is gone is refused, what is not is there.
    let mut other = pod.channel();
    other.follow(1, "exec", Offsets::default());
    other.accepted(1);
    assert_eq!(other.refused(1), RefusalCode::Gone);
    other.follow(2, "exec", received.to);
    other.accepted(2);
    channel.send(&Request::Signal {
        tag: 1,
        control_seq: 2,
        signal: 9,
    });
    other.rest(2, received.to);
}

#[test]
fn a_command_that_must_not_wait_is_ended_when_its_journal_is_full() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut spec = shell("head -c 20000000 /dev/zero; sleep 300");
    spec.journal_max_bytes = 1_000_000;
    spec.overflow = Overflow::Terminate;
    channel.launch(1, "exec", spec);
    channel.accepted(1);
    let finished = channel.rest(1, Offsets::default());
    finished.check();
    let error = finished.end.error.unwrap();
    assert!(error.contains("1000000 bytes"), "{error}");
    assert_eq!(finished.end.exit, Exit::Signal(15));
}

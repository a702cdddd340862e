//! Processes that are killed, requests that come twice or to the wrong place.

use std::process::Command;

use rdev_frames::{ExecState, Exit, Offsets, RefusalCode, Reply, Request, TerminalSize};

use crate::channel::{
    Channel, Finished, Pod, Received, WIDE_BYTES, argv, kill, lives, sha256, shell, supervisor_of,
};

#[test]
fn when_serve_is_killed_the_same_process_goes_on_and_no_byte_is_missing() {
    let pod = Pod::new();
    let (started, file) = (pod.path("started"), pod.path("bytes"));
    let script =
        format!("echo $$ >> {started}; head -c 20000000 /dev/urandom > {file}; cat {file}; exit 5");
    let mut channel = pod.channel();
    channel.launch(1, "exec", shell(&script));
    let pid = channel.accepted(1).pid;
    let mut received = Received::new(Offsets::default());
    for round in 0..5 {
        // Without an acknowledgement the window closes at 8 MiB: stay below it.
        for _ in 0..7 {
            let chunk = channel.output(1);
            received.take(&chunk);
        }
        channel.acknowledge(1, received.to);
        channel.kill();
        channel = pod.channel();
        channel.follow(1, "exec", received.to);
        let accepted = channel.accepted(1);
        assert!(accepted.existing);
        assert_eq!(accepted.pid, pid, "round {round}");
    }
    let rest = channel.rest(1, received.to);
    received.stdout.extend_from_slice(&rest.received.stdout);
    let finished = Finished {
        received,
        end: rest.end,
    };
    finished.check();
    assert_eq!(finished.end.exit, Exit::Code(5));
    assert_eq!(
        sha256(&finished.received.stdout),
        sha256(&std::fs::read(file).unwrap())
    );
    assert_eq!(
        std::fs::read_to_string(started).unwrap(),
        format!("{pid}\n"),
        "one launch"
    );
}

#[test]
fn what_was_acknowledged_is_there_for_a_take_over() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    channel.launch(1, "exec", shell("printf 0123456789; sleep 60"));
    channel.accepted(1);
    assert_eq!(channel.output(1).bytes, "0123456789");
    let told = rdev_frames::Acknowledged {
        offsets: Offsets::new(4, 0),
        next_event_number: 17,
    };
    channel.send(&Request::Acknowledge {
        tag: 1,
        acknowledged: told,
    });
    // Requests are answered in order: once this is, the one before has been applied.
    channel.send(&Request::Ping { number: 9 });
    assert_eq!(channel.receive(), Reply::Pong { number: 9 });
    channel.kill();
    let mut channel = pod.channel();
    channel.follow(7, "exec", told.offsets);
    assert_eq!(channel.accepted(7).acknowledged, told);
    assert_eq!(channel.output(7).bytes, "456789");
    assert!(channel.order(&Request::Cancel {
        tag: 7,
        control_seq: 1,
    }));
    channel.rest(7, Offsets::new(10, 0));
}

#[test]
fn a_killed_supervisor_is_lost_and_is_not_started_again() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    channel.launch(1, "exec", shell("echo here; exec sleep 300"));
    let pid = channel.accepted(1).pid;
    assert_eq!(channel.output(1).bytes, "here\n");
    kill(supervisor_of(pid));
    assert!(matches!(channel.receive(), Reply::Lost { tag: 1, .. }));
    // Later, on another channel, it is the same.
    let mut channel = pod.channel();
    channel.launch(1, "exec", shell("echo never"));
    assert!(channel.accepted(1).existing);
    assert_eq!(channel.output(1).bytes, "here\n");
    assert!(matches!(channel.receive(), Reply::Lost { tag: 1, .. }));
    channel.send(&Request::Status {
        key: "exec".to_owned(),
    });
    assert!(matches!(
        channel.receive(),
        Reply::StatusIs {
            state: ExecState::Lost,
            ..
        }
    ));
    kill(pid);
}

#[test]
fn launched_many_times_at_once_it_runs_once() {
    let pod = Pod::new();
    let file = pod.path("launches");
    let script = format!("echo launched >> {file}; echo $$");
    let mut channels: Vec<Channel> = (0..4).map(|_| pod.channel()).collect();
    for channel in &mut channels {
        for tag in 1..=5 {
            channel.launch(tag, "exec", shell(&script));
        }
    }
    let mut firsts = 0;
    let mut outputs = Vec::new();
    for channel in &mut channels {
        let mut ends = 0;
        while ends < 5 {
            match channel.receive() {
                Reply::Accepted { existing, .. } => firsts += u32::from(!existing),
                Reply::Output { chunk, .. } => outputs.push(chunk.bytes),
                Reply::End { .. } => ends += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "launched\n");
    assert_eq!((firsts, outputs.len()), (1, 20));
    assert!(outputs.iter().all(|output| *output == outputs[0]));
}

#[test]
fn two_followers_see_the_same() {
    let pod = Pod::new();
    let (mut first, mut second) = (pod.channel(), pod.channel());
    first.launch(1, "exec", shell("seq 100000; echo problem >&2"));
    first.accepted(1);
    second.follow(2, "exec", Offsets::default());
    second.accepted(2);
    // The window is wider than the output: neither acknowledges, neither waits for the other.
    let second = second.rest(2, Offsets::default());
    let first = first.rest(1, Offsets::default());
    first.check();
    second.check();
    assert_eq!(first.end, second.end);
}

#[test]
fn another_instance_refuses() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let request = |tag, instance: &str| Request::Launch {
        tag,
        key: "exec".to_owned(),
        instance: instance.to_owned(),
        spec: Box::new(argv(&["true"])),
        from: Offsets::default(),
        window_bytes: WIDE_BYTES,
    };
    channel.send(&request(1, "another"));
    assert_eq!(channel.refused(1), RefusalCode::WrongInstance);
    let instance = channel.instance.clone();
    channel.send(&request(1, &instance));
    assert!(!channel.accepted(1).existing);
    assert_eq!(
        pod.channel().instance,
        instance,
        "every serve of a container is one instance"
    );
    assert_ne!(Pod::new().channel().instance, instance);
}

#[test]
fn a_follow_never_launches() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    channel.follow(1, "exec", Offsets::default());
    assert_eq!(channel.refused(1), RefusalCode::NoClaim);
    channel.send(&Request::Status {
        key: "exec".to_owned(),
    });
    assert!(matches!(
        channel.receive(),
        Reply::StatusIs {
            state: ExecState::Missing,
            ..
        }
    ));
}

#[test]
fn requests_that_make_no_sense_are_refused_and_noise_ends_the_channel() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    channel.launch(1, "", argv(&["true"]));
    assert_eq!(channel.refused(1), RefusalCode::Invalid);
    channel.launch(1, &"k".repeat(513), argv(&["true"]));
    assert_eq!(channel.refused(1), RefusalCode::Invalid);
    channel.launch(1, &"../".repeat(170), argv(&["true"]));
    assert!(!channel.accepted(1).existing);
    channel.rest(1, Offsets::default());
    channel.send(&Request::Resize {
        tag: 1,
        control_seq: 1,
        size: TerminalSize {
            columns: 1,
            rows: 1,
        },
    });
    assert!(matches!(
        channel.receive(),
        Reply::Unsupported { tag: 1, .. }
    ));
    channel.send(&Request::Cancel {
        tag: 55,
        control_seq: 1,
    });
    assert!(matches!(
        channel.receive(),
        Reply::Unsupported { tag: 55, .. }
    ));
    channel.send_noise();
    assert_eq!(channel.try_receive(), None);
    assert!(!channel.serve.wait().unwrap().success());
}

#[test]
fn the_end_of_a_channel_leaves_the_command_alone_and_nothing_holds_its_pipes() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    channel.launch(1, "exec", shell("echo here; exec sleep 300"));
    let pid = channel.accepted(1).pid;
    channel.output(1);
    // This returns only when nobody holds the other end of the channel's pipes.
    assert!(channel.close());
    assert!(lives(pid));
    let mut channel = pod.channel();
    channel.follow(1, "exec", Offsets::new(5, 0));
    assert_eq!(channel.accepted(1).pid, pid);
    assert!(channel.order(&Request::Signal {
        tag: 1,
        control_seq: 1,
        signal: 9,
    }));
    assert_eq!(
        channel.rest(1, Offsets::new(5, 0)).end.exit,
        Exit::Signal(9)
    );
}

#[test]
fn a_full_disk_is_told_and_what_was_kept_is_whole() {
    let pod = Pod::new();
    let mount = pod.path("small");
    std::fs::create_dir(&mount).unwrap();
    let shim = env!("CARGO_BIN_EXE_rdev-shim");
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(format!(
            "mount -t tmpfs -o size=2m none {mount} && RDEV_SHIM_DIR={mount} exec {shim} serve"
        ));
    let may_mount = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "mount",
            "-t",
            "tmpfs",
            "none",
            &mount,
        ])
        .output();
    if !may_mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this machine does not let us mount a small file system");
        return;
    }
    let mut channel = Channel::over(command);
    channel.launch(1, "exec", shell("head -c 10000000 /dev/zero; sleep 300"));
    channel.accepted(1);
    let mut received = Received::new(Offsets::default());
    let end = loop {
        match channel.receive() {
            Reply::Output { chunk, .. } => received.take(&chunk),
            Reply::End { end, .. } => break end,
            other => panic!("{other:?}"),
        }
    };
    let finished = Finished { received, end };
    finished.check();
    let error = finished.end.error.unwrap();
    assert!(error.contains("No space left"), "{error}");
    assert!(finished.end.stdout_bytes > 1_000_000);
}

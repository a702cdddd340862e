//! How commands end, and that every byte of theirs arrives.

use std::collections::BTreeMap;

use bytes::Bytes;
use rdev_frames::{Exit, Offsets, RefusalCode, Request, TerminalSize};

use crate::channel::{Pod, argv, sha256, shell};

#[test]
fn every_way_to_exit_is_told() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let not_executable = pod.path("not-executable");
    std::fs::write(&not_executable, "echo never\n").unwrap();
    let cases = [
        ("true".to_owned(), Exit::Code(0)),
        ("exit 1".to_owned(), Exit::Code(1)),
        (not_executable, Exit::Code(126)),
        ("there-is-no-such-program".to_owned(), Exit::Code(127)),
        ("exit 143".to_owned(), Exit::Code(143)),
        ("kill -TERM $$".to_owned(), Exit::Signal(15)),
        ("kill -KILL $$".to_owned(), Exit::Signal(9)),
    ];
    for (script, exit) in cases {
        let finished = channel.run(&script, shell(&script));
        assert_eq!(finished.end.exit, exit, "{script}");
        assert_eq!(finished.end.spawn_error, None);
        assert!(!finished.end.timed_out && !finished.end.canceled);
    }
}

#[test]
fn a_command_ignores_no_signal_that_others_ignore() {
    let pod = Pod::new();
    let mut channel = pod.channel_ignoring("HUP INT QUIT TERM USR1");
    for (key, terminal) in [("pipes", false), ("terminal", true)] {
        let mut spec = shell("grep SigIgn: /proc/self/status");
        spec.terminal = terminal.then_some(TerminalSize {
            columns: 80,
            rows: 24,
        });
        let finished = channel.run(key, spec);
        let mask = finished.stdout().trim().trim_start_matches("SigIgn:\t");
        // Above are those that mean nothing, and the C library's own, which nobody can handle.
        let standard = u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff;
        assert_eq!(standard, 0, "{key}: {mask}");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let not_executable = pod.path("not-executable");
    std::fs::write(&not_executable, "").unwrap();
    let cases = [
        (argv(&["no-such-program", "x"]), 127, "no-such-program"),
        (argv(&["/nowhere/at/all"]), 127, "/nowhere/at/all"),
        (argv(&[&not_executable]), 126, &not_executable),
        (argv(&[]), 126, "argv is empty"),
    ];
    for (number, (spec, code, named)) in cases.into_iter().enumerate() {
        let finished = channel.run(&format!("spawn/{number}"), spec);
        assert_eq!(finished.end.exit, Exit::Code(code));
        let message = finished.end.spawn_error.unwrap();
        assert!(message.contains(named), "{message}");
    }
    let mut elsewhere = argv(&["true"]);
    elsewhere.cwd = Some("/nowhere".to_owned());
    let finished = channel.run("cwd", elsewhere);
    assert_eq!(finished.end.exit, Exit::Code(126));
    assert!(finished.end.spawn_error.unwrap().contains("/nowhere"));
}

#[test]
fn environment_directory_and_first_input_reach_the_command() {
    let pod = Pod::new();
    let mut spec = shell("pwd; echo \"$GREETING|$RDEV_SHIM_DIR|\"; cat");
    spec.cwd = Some("/usr".to_owned());
    spec.env = BTreeMap::from([("GREETING".to_owned(), "hello $there".to_owned())]);
    spec.stdin = Bytes::from_static(b"one\0two");
    let finished = pod.channel().run("env", spec);
    assert_eq!(finished.stdout(), "/usr\nhello $there||\none\0two");
}

#[test]
fn without_input_standard_input_is_at_its_end() {
    let finished = Pod::new().channel().run("cat", argv(&["cat"]));
    assert_eq!((finished.end.exit, finished.stdout()), (Exit::Code(0), ""));
}

#[test]
fn a_large_first_input_passes() {
    let pod = Pod::new();
    let mut spec = argv(&["cat"]);
    spec.stdin = Bytes::from(
        (0..3_000_000u32)
            .map(|number| number as u8)
            .collect::<Vec<u8>>(),
    );
    let input = spec.stdin.clone();
    let finished = pod.channel().run("cat", spec);
    assert!(finished.received.stdout == input);
}

#[test]
fn all_bytes_pass_unchanged_on_both_streams() {
    let pod = Pod::new();
    let bytes: Vec<u8> = (0..=255).collect();
    let file = pod.path("bytes");
    std::fs::write(&file, &bytes).unwrap();
    let finished = pod
        .channel()
        .run("bytes", shell(&format!("cat {file}; cat {file} >&2")));
    assert_eq!(finished.received.stdout, bytes);
    assert_eq!(finished.received.stderr, bytes);
}

#[test]
fn fifty_megabytes_arrive_byte_for_byte() {
    let pod = Pod::new();
    let file = pod.path("random");
    let script = format!("head -c 50000000 /dev/urandom > {file}; cat {file}; exit 7");
    let finished = pod.channel().run("bulk", shell(&script));
    assert_eq!(finished.end.exit, Exit::Code(7));
    assert_eq!(finished.end.stdout_bytes, 50_000_000);
    assert_eq!(
        finished.end.stdout_sha256,
        sha256(&std::fs::read(file).unwrap())
    );
}

#[test]
fn merged_output_keeps_its_true_order() {
    let mut spec =
        shell("i=0; while [ $i -lt 500 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done");
    spec.merge = true;
    let finished = Pod::new().channel().run("merge", spec);
    let expected: String = (0..500)
        .map(|number| format!("out{number}\nerr{number}\n"))
        .collect();
    assert_eq!(finished.stdout(), expected);
    assert!(finished.received.stderr.is_empty());
}

#[test]
fn the_first_bytes_come_at_once_without_a_newline() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let go_on = pod.path("go-on");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &*go_on,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    channel.launch(1, "prompt", shell(&format!("printf 'name? '; cat {go_on}")));
    channel.accepted(1);
    assert_eq!(channel.output(1).bytes, "name? ");
    std::fs::write(&go_on, "done").unwrap();
    assert_eq!(channel.output(1).bytes, "done");
}

#[test]
fn a_grandchild_that_keeps_standard_output_open_delays_the_end() {
    let finished = Pod::new().channel().run(
        "grandchild",
        shell("(sleep 0.3; echo late) & echo early; exit 3"),
    );
    assert_eq!(finished.stdout(), "early\nlate\n");
    assert_eq!(finished.end.exit, Exit::Code(3));
    assert!(finished.end.duration_ms >= 300);
}

#[test]
fn a_collected_exec_leaves_a_tombstone() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    channel.run("once", shell("echo ran"));
    for _ in 0..2 {
        channel.send(&Request::Collect {
            key: "once".to_owned(),
        });
        let reply = channel.receive();
        let expected = rdev_frames::Reply::Collected {
            key: "once".to_owned(),
            error: None,
        };
        assert_eq!(reply, expected, "twice is as good as once");
    }
    channel.launch(2, "once", shell("echo again"));
    assert_eq!(channel.refused(2), RefusalCode::Collected);
    channel.follow(3, "once", Offsets::default());
    assert_eq!(channel.refused(3), RefusalCode::Collected);
}

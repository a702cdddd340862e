//! How fast it is, beside the same bytes through a bare pipe. Ignored by default: numbers belong to
//! an optimised build on a quiet machine (`cargo test --profile dist -p rdev-shim -- --ignored --nocapture`).

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdev_frames::{Offsets, Reply};

use crate::channel::{Pod, argv, shell};

const BULK_BYTES: u64 = 1_000_000_000;
const STARTS: usize = 200;

#[test]
#[ignore = "a measurement"]
fn throughput() {
    let pod = Pod::new();
    let bulk = format!("head -c {BULK_BYTES} /dev/zero");
    let start = Instant::now();
    let mut bare = Command::new("sh")
        .args(["-c", &bulk])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut scratch = vec![0; 256 * 1024];
    let mut stdout = bare.stdout.take().unwrap();
    while stdout.read(&mut scratch).unwrap() > 0 {}
    bare.wait().unwrap();
    report("1 GB through a bare pipe", start.elapsed());

    let mut channel = pod.channel();
    let start = Instant::now();
    channel.launch(1, "bulk", shell(&bulk));
    channel.accepted(1);
    let mut to = Offsets::default();
    let mut acknowledged = 0;
    let end = loop {
        match channel.receive() {
            Reply::Output { chunk, .. } => {
                to.set(chunk.stream, chunk.end_offset());
                if to.total() - acknowledged >= 1024 * 1024 {
                    acknowledged = to.total();
                    channel.acknowledge(1, to);
                }
            }
            Reply::End { end, .. } => break end,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end.stdout_bytes, BULK_BYTES);
    report("1 GB through supervisor and serve", start.elapsed());

    let start = Instant::now();
    channel.launch(2, "lines", shell("seq 10000000"));
    channel.accepted(2);
    let finished = channel.rest(2, Offsets::default());
    let rate = 10.0 / start.elapsed().as_secs_f64();
    println!(
        "10,000,000 short lines: {rate:.1} million lines/s, {} bytes",
        finished.end.stdout_bytes
    );
}

fn report(what: &str, elapsed: Duration) {
    let rate = BULK_BYTES as f64 / 1e6 / elapsed.as_secs_f64();
    println!("{what}: {rate:.0} MB/s");
}

#[test]
#[ignore = "a measurement"]
fn latency_from_launch_to_first_output() {
    let pod = Pod::new();
    let mut channel = pod.channel();
    let mut bare: Vec<Duration> = Vec::new();
    let mut ours: Vec<Duration> = Vec::new();
    let mut whole: Vec<Duration> = Vec::new();
    for number in 0..STARTS {
        let start = Instant::now();
        let mut child = Command::new("echo")
            .arg("hi")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        child.stdout.take().unwrap().read_exact(&mut byte).unwrap();
        bare.push(start.elapsed());
        child.wait().unwrap();

        let start = Instant::now();
        channel.launch(1, &format!("exec/{number}"), argv(&["echo", "hi"]));
        channel.accepted(1);
        channel.output(1);
        ours.push(start.elapsed());
        while !matches!(channel.receive(), Reply::End { .. }) {}
        whole.push(start.elapsed());
    }
    for (what, times) in [("bare spawn", bare), ("first output", ours), ("end", whole)] {
        let mut times = times;
        times.sort();
        println!(
            "{what}: p50 {:?}, p99 {:?}",
            times[STARTS / 2],
            times[STARTS * 99 / 100]
        );
    }
}

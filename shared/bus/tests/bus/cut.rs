//! The network between the bus and its server is cut, again and again; the server knows nothing
//! of it and goes on sending into connections that nobody reads any more.

use rdev_bus::live::{LogReader, Scope};
use rdev_bus::{Bus, LogStream};
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::{
    Log, assert_chained, complete, now, numbers, output, read_to_end, stored, tail_of, within,
    writer,
};

const MESSAGES: u64 = 600;
const CUT_EVERY: u64 = 100;
const LARGE_MESSAGES: u64 = 150;
const LARGE_CUT_EVERY: usize = 15;

/// A wire to the server that can be cut.
pub(crate) struct Wire {
    url: String,
    cuts: watch::Sender<u32>,
}

impl Wire {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (cuts, seen) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut seen = seen.clone();
                seen.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(client, port) => {}
                        _ = seen.changed() => {}
                    }
                });
            }
        });
        Self {
            url: format!("nats://{address}"),
            cuts,
        }
    }

    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }
}

async fn carry(mut client: TcpStream, port: u16) {
    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
        // Either side may be cut off at any time; that is what the wire is for.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

pub(crate) async fn wired(log: &Log) -> (Wire, Bus) {
    let wire = Wire::to(log.server.port()).await;
    let mut config = log.config.clone();
    config.url.clone_from(&wire.url);
    let bus = Bus::connect(config, "wired").await.expect("a connection");
    (wire, bus)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_and_reading_go_on_over_cuts() {
    let log = Log::start().await;
    let (wire, bus) = wired(&log).await;
    let (exec, _) = log.exec().await;
    let mut reader = LogReader::open(&bus, Scope::Exec(exec.clone()), StreamSeq(0))
        .await
        .expect("a reader");
    let reading = tokio::spawn(async move { read_to_end(&mut reader).await.0 });
    let tail = tail_of(&bus, &exec).await;
    let mut writer = writer(&bus, &exec, crate::claim(), tail);
    for number in 1..=MESSAGES {
        if number % CUT_EVERY == 0 {
            wire.cut();
        }
        output(&mut writer, number, "line", now())
            .await
            .expect("stored");
    }
    complete(&mut writer, MESSAGES + 1).await.expect("stored");
    let all = stored(&log.bus, &exec).await;
    assert_eq!(numbers(&all), (1..=MESSAGES + 1).collect::<Vec<_>>());
    assert_chained(&all);
    assert_eq!(within(reading).await.expect("no panic"), all);
}

/// What is under way to a follower when the wire is cut is lost, and delivered again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_goes_on_over_cuts() {
    let log = Log::start().await;
    let (_, mut writer) = log.written().await;
    // Large, so that a pull is still under way when its first messages are here.
    let line = "x".repeat(200 * 1024);
    let mut expected = Vec::new();
    for number in 1..=LARGE_MESSAGES {
        let sequence = output(&mut writer, number, &line, now()).await;
        expected.push(sequence.expect("stored"));
    }
    let (wire, bus) = wired(&log).await;
    let filters = vec![Filter::kind(Kind::Output)];
    let follower = bus.follow(LogStream::Exec, filters, StreamSeq(0)).await;
    let mut follower = follower.expect("a follower");
    let mut followed = Vec::new();
    while followed.len() < expected.len() {
        followed.push(within(follower.next()).await.sequence);
        if followed.len() % LARGE_CUT_EVERY == 0 {
            wire.cut();
        }
    }
    assert_eq!(followed, expected);
    assert!(follower.is_caught_up());
}

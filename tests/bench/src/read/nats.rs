//! NATS without any of ours: the second floor of the fan-out, and other people's messages in the
//! log, many and fast. It speaks the protocol itself: a subscriber that counts marks is as cheap
//! as the readers that it is compared with.

use std::net::{Ipv4Addr, SocketAddr};

use rdev_contract::subject::Subject;
use rdev_tests::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::client::{Reader, connect};

const SUBJECT: &str = "bench.fanout";
const INBOX: &str = "bench.inbox";
/// The server drops what waits to be stored beyond 10,000 messages.
const WINDOW_MESSAGES: u64 = 4_000;

fn holds(said: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(said, word).is_some()
}

async fn greet(port: u16, subscribe: Option<&str>) -> Outcome<TcpStream> {
    let mut stream = connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let mut hello = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n".to_owned();
    if let Some(subject) = subscribe {
        hello += &format!("SUB {subject} 1\r\n");
    }
    hello += "PING\r\n";
    stream.write_all(hello.as_bytes()).await?;
    let mut said = Vec::new();
    while !holds(&said, b"PONG\r\n") {
        if stream.read_buf(&mut said).await? == 0 {
            return Err(format!("NATS hung up: {}", String::from_utf8_lossy(&said)).into());
        }
    }
    Ok(stream)
}

/// A bare subscriber.
pub(crate) async fn subscriber(port: u16) -> Outcome<Reader> {
    Ok(Reader::of(greet(port, Some(SUBJECT)).await?))
}

/// Publishes to the bare subscribers.
#[derive(Debug)]
pub(crate) struct Publisher(TcpStream);

impl Publisher {
    pub(crate) async fn open(port: u16) -> Outcome<Self> {
        Ok(Self(greet(port, None).await?))
    }

    pub(crate) async fn publish(&mut self, payload: &[u8]) -> Outcome<()> {
        let head = format!("PUB {SUBJECT} {}\r\n", payload.len());
        self.0.write_all(head.as_bytes()).await?;
        self.0.write_all(payload).await?;
        self.0.write_all(b"\r\n").await?;
        Ok(())
    }
}

/// Stores messages without a fence and waits for an acknowledgement only now and then.
#[derive(Debug)]
pub(crate) struct Filler {
    to: BufWriter<OwnedWriteHalf>,
    from: BufReader<OwnedReadHalf>,
    waiting: u64,
}

impl Filler {
    pub(crate) async fn open(port: u16) -> Outcome<Self> {
        let (from, to) = greet(port, Some(INBOX)).await?.into_split();
        Ok(Self {
            to: BufWriter::new(to),
            from: BufReader::new(from),
            waiting: 0,
        })
    }

    /// Sends one message, and catches up with the server when a window is full.
    pub(crate) async fn put(&mut self, subject: &Subject, payload: &[u8]) -> Outcome<()> {
        self.waiting += 1;
        if self.waiting >= WINDOW_MESSAGES {
            return self.settle(subject, payload).await;
        }
        self.send(subject, "", payload).await
    }

    /// Sends one message and waits until it is stored, and with it all before it.
    pub(crate) async fn settle(&mut self, subject: &Subject, payload: &[u8]) -> Outcome<()> {
        self.waiting = 0;
        self.send(subject, INBOX, payload).await?;
        self.to.flush().await?;
        let mut said = Vec::new();
        // The acknowledgement is a message that is a JSON object, with a line end behind it.
        while !(holds(&said, b"MSG ") && said.ends_with(b"}\r\n")) {
            if self.from.read_buf(&mut said).await? == 0 {
                return Err("NATS hung up".into());
            }
            if holds(&said, b"-ERR") {
                return Err(String::from_utf8_lossy(&said).into_owned().into());
            }
            if said.ends_with(b"PING\r\n") {
                said.clear();
                self.to.write_all(b"PONG\r\n").await?;
                self.to.flush().await?;
            }
        }
        if holds(&said, b"\"error\"") {
            return Err(String::from_utf8_lossy(&said).into_owned().into());
        }
        Ok(())
    }

    async fn send(&mut self, subject: &Subject, reply: &str, payload: &[u8]) -> Outcome<()> {
        let head = format!("PUB {} {reply} {}\r\n", subject.as_str(), payload.len());
        self.to.write_all(head.as_bytes()).await?;
        self.to.write_all(payload).await?;
        self.to.write_all(b"\r\n").await?;
        Ok(())
    }
}

//! A reader as cheap as it gets, because it shares the machine with what it measures: it looks
//! for the mark of each line in whatever comes, and parses nothing else. The same code reads from
//! all that are measured.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Poll, ready};

use rdev_tests::Outcome;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Stands once in each line and nowhere else in a stream.
pub(crate) const MARK: u8 = b'@';
/// Behind the mark: when the line was made, in microseconds.
pub(crate) const STAMP_DIGITS: usize = 12;
/// As much as one read takes. One buffer for each thread: ten thousand readers have none.
const READ_BYTES: usize = 256 * 1024;
/// Heads of requests and answers are a few hundred bytes.
const HEAD_MAX_BYTES: usize = 16 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Microseconds on the clock of the stamps.
pub(crate) fn now_us() -> u64 {
    u64::try_from(BEGINNING.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Where something can be read.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

/// One open stream, and how many lines came on it.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: TcpStream,
    lines: u64,
    stamps: Option<Stamps>,
}

/// How long each line took.
#[derive(Debug, Default)]
struct Stamps {
    delays_us: Vec<u32>,
    /// The beginning of a stamp whose end has not come yet, the mark included.
    cut: Vec<u8>,
}

impl Reader {
    /// Opens a stream; it is there when the head of the answer is.
    pub(crate) async fn open(place: &Place, headers: &str) -> Outcome<Self> {
        Self::ask(connect(place.address).await?, place, headers).await
    }

    /// The same on a connection that is open already.
    pub(crate) async fn ask(mut stream: TcpStream, place: &Place, headers: &str) -> Outcome<Self> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{headers}\r\n",
            place.path, place.address
        );
        stream.write_all(request.as_bytes()).await?;
        let (head, rest) = head(&mut stream).await?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(format!("{}: {head}", place.path).into());
        }
        let mut reader = Self::of(stream);
        reader.take(&rest);
        Ok(reader)
    }

    /// Reads a stream on which everything has been said that must be.
    pub(crate) const fn of(stream: TcpStream) -> Self {
        Self {
            stream,
            lines: 0,
            stamps: None,
        }
    }

    /// From now on, notes how long each line took.
    pub(crate) fn with_stamps(mut self) -> Self {
        self.stamps = Some(Stamps::default());
        self
    }

    /// How long each line took, in microseconds.
    pub(crate) fn into_delays(self) -> Vec<u32> {
        self.stamps.map_or_else(Vec::new, |stamps| stamps.delays_us)
    }

    /// Reads until this many lines came since the opening; says when that was.
    pub(crate) async fn until(&mut self, lines: u64) -> Outcome<Instant> {
        while self.lines < lines {
            if self.read().await? == 0 {
                let came = self.lines;
                return Err(format!("the stream ended after {came} of {lines} lines").into());
            }
        }
        Ok(Instant::now())
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        std::future::poll_fn(|context| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
                self.take(buffer.filled());
                Poll::Ready(Ok(buffer.filled().len()))
            })
        })
        .await
    }

    fn take(&mut self, bytes: &[u8]) {
        match &mut self.stamps {
            None => self.lines += memchr::memchr_iter(MARK, bytes).count() as u64,
            Some(stamps) => self.lines += stamps.take(bytes),
        }
    }
}

impl Stamps {
    /// How many stamps ended in these bytes.
    fn take(&mut self, mut bytes: &[u8]) -> u64 {
        let now = now_us();
        let mut ended = 0;
        if !self.cut.is_empty() {
            let missing = (STAMP_DIGITS + 1 - self.cut.len()).min(bytes.len());
            self.cut.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.cut.len() <= STAMP_DIGITS {
                return 0;
            }
            let cut = std::mem::take(&mut self.cut);
            self.note(now, &cut[1..]);
            ended += 1;
        }
        for at in memchr::memchr_iter(MARK, bytes) {
            match bytes.get(at + 1..at + 1 + STAMP_DIGITS) {
                Some(digits) => {
                    self.note(now, digits);
                    ended += 1;
                }
                None => self.cut = bytes[at..].to_vec(),
            }
        }
        ended
    }

    /// What is no number is left out: the line counts, its delay does not.
    fn note(&mut self, now: u64, digits: &[u8]) {
        let made = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse::<u64>().ok());
        if let Some(made) = made {
            self.delays_us
                .push(u32::try_from(now.saturating_sub(made)).unwrap_or(u32::MAX));
        }
    }
}

/// Sends one request after the other on one connection.
#[derive(Debug)]
pub(crate) struct Poster {
    stream: TcpStream,
    place: Place,
}

impl Poster {
    pub(crate) async fn open(place: Place) -> Outcome<Self> {
        Ok(Self {
            stream: connect(place.address).await?,
            place,
        })
    }

    /// Sends JSON and waits for the answer, which must be a success.
    pub(crate) async fn send(&mut self, method: &str, body: &[u8]) -> Outcome<()> {
        let mut request = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.place.path,
            self.place.address,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        let (head, mut rest) = head(&mut self.stream).await?;
        let length: usize = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(Ok(0), |(_, value)| value.trim().parse())?;
        while rest.len() < length {
            if self.stream.read_buf(&mut rest).await? == 0 {
                return Err("an answer was cut".into());
            }
        }
        if head.starts_with("HTTP/1.1 2") {
            Ok(())
        } else {
            Err(format!("{head}{}", String::from_utf8_lossy(&rest)).into())
        }
    }
}

pub(crate) async fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The head of an answer, and what came with it.
async fn head(stream: &mut TcpStream) -> Outcome<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = memchr::memmem::find(&bytes, HEAD_END) {
            let rest = bytes.split_off(end + HEAD_END.len());
            return Ok((String::from_utf8(bytes)?, rest));
        }
        if bytes.len() > HEAD_MAX_BYTES || stream.read_buf(&mut bytes).await? == 0 {
            return Err("no head of an answer came".into());
        }
    }
}

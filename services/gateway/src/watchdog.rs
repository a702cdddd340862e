//! Ends connections whose client has stopped reading, or never began to write.
//!
//! It stands below HTTP, on the socket itself: a timer inside a response body does not fire
//! while hyper waits for the socket. Invariant: a write that makes no progress for
//! `RDEV_STALL_TIMEOUT` fails, and with it the connection; whoever reads, however slowly, goes on.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::metrics::{METRICS, Stall};

/// A connection with a limit on how long its peer may refuse to read, or be silent at first.
pub(crate) struct Watched<IO> {
    io: IO,
    timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Until the first byte came: only from then on HTTP has limits of its own.
    silent: Option<Pin<Box<Sleep>>>,
}

impl<IO> Drop for Watched<IO> {
    fn drop(&mut self) {
        METRICS.connections.dec();
    }
}

impl<IO> Watched<IO> {
    pub(crate) fn new(io: IO, timeout: Duration) -> Self {
        METRICS.connections.inc();
        Self {
            io,
            timeout,
            stalled: None,
            silent: Some(Box::pin(tokio::time::sleep(timeout))),
        }
    }

    /// `poll` is that of a write: starts the clock when it waits, stops it when it does not.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let timeout = self.timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if stalled.as_mut().poll(context).is_ready() {
            METRICS.cut(Stall::Reading);
            return Poll::Ready(Err(timed_out("the client has stopped reading")));
        }
        Poll::Pending
    }
}

fn timed_out(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_read(context, buffer);
        if poll.is_ready() {
            self.silent = None;
        } else if let Some(silent) = &mut self.silent
            && silent.as_mut().poll(context).is_ready()
        {
            METRICS.cut(Stall::Silent);
            return Poll::Ready(Err(timed_out("the client has not asked for anything")));
        }
        poll
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watch(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.watch(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const STALL_TIMEOUT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_reads_is_cut() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let mut ours = Watched::new(ours, STALL_TIMEOUT);
        let begin = tokio::time::Instant::now();
        let error = ours.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed(), STALL_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_writes_is_cut() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut ours = Watched::new(ours, STALL_TIMEOUT);
        let error = ours.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        theirs.write_all(&[7]).await.unwrap();
        assert_eq!(ours.read_u8().await.unwrap(), 7);
        // From its first byte on, silence is allowed.
        let later = tokio::time::timeout(2 * STALL_TIMEOUT, ours.read_u8()).await;
        assert!(later.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_not_cut() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut ours = Watched::new(ours, STALL_TIMEOUT);
        let reader = tokio::spawn(async move {
            for _ in 0..64 {
                tokio::time::sleep(STALL_TIMEOUT / 2).await;
                theirs.read_u8().await.unwrap();
            }
        });
        ours.write_all(&[0; 64]).await.unwrap();
        reader.await.unwrap();
    }
}

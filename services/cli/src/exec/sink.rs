//! Where output goes: standard output and standard error, exactly as it was printed, and in the order
//! in which it came.

use std::io;

use rdev_contract::event::{Complete, OutputStream};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// So much is gathered of one stream before it is written.
const GATHER_MAX_BYTES: usize = 64 * 1024;

/// Two files and what went into them. Nothing is written before `flush`, or before much is gathered.
#[derive(Debug)]
pub(crate) struct Sink<Out, Err> {
    out: Written<Out>,
    err: Written<Err>,
    gathered: Vec<u8>,
    of: OutputStream,
}

#[derive(Debug)]
struct Written<File> {
    file: File,
    hash: Sha256,
}

/// Standard output and standard error of this process.
pub(crate) type Standard = Sink<tokio::io::Stdout, tokio::io::Stderr>;

impl Standard {
    /// Of this process.
    pub(crate) fn standard() -> Self {
        Self::new(tokio::io::stdout(), tokio::io::stderr())
    }
}

impl<Out: AsyncWrite + Unpin, Err: AsyncWrite + Unpin> Sink<Out, Err> {
    /// Nothing was written yet.
    pub(crate) fn new(out: Out, err: Err) -> Self {
        Self {
            out: Written::new(out),
            err: Written::new(err),
            gathered: Vec::new(),
            of: OutputStream::Stdout,
        }
    }

    /// Adds the command's bytes.
    ///
    /// # Errors
    /// When what was gathered before cannot be written.
    pub(crate) async fn put(&mut self, of: OutputStream, bytes: &[u8]) -> io::Result<()> {
        self.hash(of).update(bytes);
        self.put_own(of, bytes).await
    }

    /// Adds bytes of our own, which the command did not print.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn put_own(&mut self, of: OutputStream, bytes: &[u8]) -> io::Result<()> {
        if of != self.of || self.gathered.len() >= GATHER_MAX_BYTES {
            self.flush().await?;
            self.of = of;
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        match self.of {
            OutputStream::Stdout => write(&mut self.out.file, &self.gathered).await,
            OutputStream::Stderr => write(&mut self.err.file, &self.gathered).await,
        }?;
        self.gathered.clear();
        Ok(())
    }

    /// Which stream is not what the supervisor in the pod has read, for whom everything from the first
    /// byte on was shown.
    pub(crate) fn differs(&self, complete: &Complete) -> Option<&'static str> {
        let said = [
            ("stdout", &complete.stdout_sha256, &self.out.hash),
            ("stderr", &complete.stderr_sha256, &self.err.hash),
        ];
        let differs = |said: &Option<String>, hash: &Sha256| {
            said.as_ref().is_some_and(|said| *said != hex(hash))
        };
        let found = said.into_iter().find(|(_, said, hash)| differs(said, hash));
        found.map(|(name, ..)| name)
    }

    fn hash(&mut self, of: OutputStream) -> &mut Sha256 {
        match of {
            OutputStream::Stdout => &mut self.out.hash,
            OutputStream::Stderr => &mut self.err.hash,
        }
    }
}

impl<File> Written<File> {
    fn new(file: File) -> Self {
        Self {
            file,
            hash: Sha256::new(),
        }
    }
}

async fn write(file: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes).await?;
    file.flush().await
}

fn hex(hash: &Sha256) -> String {
    let digest = hash.clone().finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rdev_contract::event::Outcome;

    use super::*;

    #[tokio::test]
    async fn bytes_go_where_they_belong_and_are_compared() -> io::Result<()> {
        let mut sink = Sink::new(Vec::new(), Vec::new());
        sink.put(OutputStream::Stdout, b"a\0").await?;
        sink.put(OutputStream::Stderr, b"e\n").await?;
        sink.put(OutputStream::Stdout, b"\xff").await?;
        sink.put_own(OutputStream::Stderr, b"ours").await?;
        sink.flush().await?;
        assert_eq!(sink.out.file, b"a\0\xff");
        assert_eq!(sink.err.file, b"e\nours");

        let of = |bytes: &[u8]| Some(hex(&Sha256::new_with_prefix(bytes)));
        let mut complete = Complete {
            stdout_sha256: of(b"a\0\xff"),
            stderr_sha256: of(b"e\n"),
            ..Complete::without_process(Outcome::Exited, "")
        };
        assert_eq!(sink.differs(&complete), None);
        complete.stderr_sha256 = of(b"");
        assert_eq!(sink.differs(&complete), Some("stderr"));
        complete.stderr_sha256 = None;
        assert_eq!(sink.differs(&complete), None);
        Ok(())
    }
}

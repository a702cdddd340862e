//! What every server here has: a process that is waited for, signalled, stopped and started again
//! on the same files and ports.

use crate::child::Child;
use crate::start::{PORT_ATTEMPTS, StartError};
use rustix::process::Signal;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// What is there before the process is, and how the process is started on it.
pub trait Home: Sized + Send + Sync + 'static {
    /// The name for people.
    const NAME: &'static str;
    /// What ends it in good order.
    const STOP_SIGNAL: Signal;
    /// How long that may take.
    const STOP_GRACE: Duration;
    /// The ports that it listens on.
    type Ports: Copy + Send + Sync + std::fmt::Debug;

    /// The server's log.
    fn log(&self) -> PathBuf;

    /// Whether its main port is drawn anew when somebody else was faster.
    fn may_draw_again(&self) -> bool;

    /// Draws the ports that nobody asked for by number.
    ///
    /// # Errors
    /// There is none.
    fn draw_ports(&self) -> io::Result<Self::Ports>;

    /// Starts the process, and returns when it takes connections.
    fn launch(&self, ports: Self::Ports) -> impl Future<Output = Result<Child, StartError>> + Send;
}

/// A server that runs, or ran and can be restarted.
#[derive(Debug)]
pub struct Server<H: Home> {
    pub(crate) home: H,
    pub(crate) ports: H::Ports,
    child: Child,
}

impl<H: Home> Server<H> {
    pub(crate) async fn launch(home: H) -> Result<Self, StartError> {
        let mut attempt = 1;
        loop {
            let ports = home.draw_ports();
            let ports = ports.map_err(|source| StartError::NoPort { source })?;
            let may_draw_again = home.may_draw_again() && attempt < PORT_ATTEMPTS;
            match home.launch(ports).await {
                Err(StartError::PortTaken { .. }) if may_draw_again => attempt += 1,
                Err(error) => return Err(error),
                Ok(child) => return Ok(Self { home, ports, child }),
            }
        }
    }

    /// The number of the process (of the last one, when it has ended).
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.home.log()
    }

    /// Waits until the server ends, for whatever reason.
    pub async fn wait(&self) -> ExitStatus {
        self.child.wait().await
    }

    /// Sends a signal, for tests that stop and continue it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.child.signal(signal)
    }

    /// Kills the server (SIGKILL) and waits for its end. Children of its own end by themselves, soon.
    pub async fn kill(&mut self) -> ExitStatus {
        self.child.kill().await
    }

    /// Stops the server in good order and waits for its end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.child.stop(H::STOP_SIGNAL, H::STOP_GRACE).await
    }

    /// Stops the server if it runs, and starts it again on the same files and ports.
    ///
    /// # Errors
    /// As at its first start.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.stop().await;
        self.child = self.home.launch(self.ports).await?;
        Ok(())
    }
}

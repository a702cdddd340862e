//! Who a process is to NATS: what `RDEV_NATS_CREDS` names.

use std::io;

use crate::access::{self, Seed};

/// The setting.
pub(crate) const CREDENTIALS_VARIABLE: &str = "RDEV_NATS_CREDS";
/// A file with it has a token of the server's operator besides the seed, as the `nsc` tool writes it.
const TOKEN_MARK: &str = "BEGIN NATS USER JWT";

/// A user of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    seed: Seed,
    /// The whole file, if it has a token.
    file: Option<File>,
}

/// Never shown.
#[derive(Clone, PartialEq, Eq)]
struct File(String);

impl std::fmt::Debug for File {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("File")
    }
}

impl Credentials {
    /// Reads them from a file.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn read(path: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let seed = Seed::find(&text).map_err(|error| error.to_string())?;
        let file = text.contains(TOKEN_MARK).then_some(File(text));
        Ok(Self { seed, file })
    }

    /// Logs in with them, and reads answers where nobody else does.
    pub(crate) fn apply(
        &self,
        options: async_nats::ConnectOptions,
    ) -> io::Result<async_nats::ConnectOptions> {
        let options = match &self.file {
            Some(File(text)) => options.credentials(text)?,
            None => options.nkey(self.seed.reveal().to_owned()),
        };
        Ok(options.custom_inbox_prefix(access::inbox(&self.seed.public_key())))
    }
}
